"""How much each place of a scene is like a query: a raster on the scene's own grid."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rasterio.errors import RasterioError
from rasterio.windows import Window
from tqdm import tqdm

from graft.cog import check_sums, create_raster, to_cog
from graft.errors import GraftError, first_line
from graft.files import atomic_path
from graft.imagery.remote import path_of
from graft.index.rasters import look_at
from graft.index.schema import SourceCard
from graft.index.table import quoted
from graft.scene import SceneReader, SceneView, read_scene
from graft.search.query import Query
from graft.search.views import look_of

if TYPE_CHECKING:
    from graft.index.table import Index

logger = logging.getLogger(__name__)

_BLOCK = 1024
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WindowScores:
    """Cosines of the windows of a scene, which stand in rows and columns.

    Attributes:
        x: float64 [W], columns of the centres in pixels of the scene, edges at integers, ascending.
        y: float64 [H], rows of the centres, ascending.
        cosines: float32 [H, W]; 0 where there is no window.
        there: float32 [H, W], 1 where there is a window, else 0: those without data are not in an index.
    """

    x: Floats
    y: Floats
    cosines: npt.NDArray[np.float32]
    there: npt.NDArray[np.float32]

    def block(self, rows: tuple[int, int], columns: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Cosines of a block of pixels, bilinear between the centres of windows.

        With n windows around a pixel centre, s = sum w_n c_n / sum w_n over those that are there; outside the outermost
        centres the nearest ones hold. At a stride of half a window this is the mean of all windows that cover a pixel,
        each weighted by a tent over its centre.

        Args:
            rows: first and one past the last row.
            columns: first and one past the last column.

        Returns:
            float32 [rows, columns], NaN where no window around is there.
        """
        down, near_rows = _between(np.arange(*rows, dtype=np.float64) + 0.5, self.y)
        across, near_columns = _between(np.arange(*columns, dtype=np.float64) + 0.5, self.x)
        near = near_rows, near_columns
        weight = down @ self.there[near] @ across.T
        summed = down @ (self.cosines[near] * self.there[near]) @ across.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 0, summed / weight, np.float32(np.nan)).astype(np.float32)


def write_heatmap(index: "Index", query: Query, source: SourceCard, out: Path) -> None:
    """Write the cosine of a query with every place of an indexed scene.

    A Cloud-Optimised GeoTIFF of one float32 band in the scene's CRS, transform, width and height; NaN where the scene
    has no data. It is made of the vectors in the index; of the scene itself only the mask is read, block by block.

    Args:
        index: holds the scene's windows.
        query: of the width of its vectors.
        source: the scene.
        out: file to write, whole or not at all; one that is there is replaced.

    Raises:
        GraftError: no raster, one that has changed or does not open, no windows of it, or a disk that is full.
    """
    view = scene_view(index, source)
    scores = read_scores(index, query, source)
    tags = {
        "GRAFT_QUERY": str(query),
        "GRAFT_MODEL_SHA256": str(index.card.model["sha256"]),
        "GRAFT_TEACHER": f"{index.card.teacher['name']} {index.card.teacher['identity']}",
        "GRAFT_WINDOW_PX": str(source.settings["window"]),
        "GRAFT_STRIDE_PX": str(source.settings["stride"]),
    }
    try:
        with atomic_path(out) as partial:
            raw = partial.with_name(f"{partial.name}.raw.tif")
            try:
                _write(raw, partial, view, scores, tags)
            finally:
                raw.unlink(missing_ok=True)
    except (OSError, RasterioError) as error:
        raise GraftError(f"{out} cannot be written: {first_line(error)}. Give another --heatmap.") from error


def scene_view(index: "Index", source: SourceCard) -> SceneView:
    """The scene of a heat map, opened as the model saw it; that its content has changed is told.

    Raises:
        GraftError: no raster, or one that has another grid or does not open.
    """
    if source.kind != "raster":
        raise GraftError(
            f"{source.name} is {'a folder of tiles' if source.kind == 'folder' else 'a set of shards'}, and a heat map "
            "lies on the grid of a raster. Give a raster of the index as --scene."
        )
    view, facts = look_at(path_of(source.name), look_of(index.card, source))
    if (view.width, view.height, *view.transform[:6]) != (source.width, source.height, *source.transform):
        raise GraftError(f"The scene {source.name} has another grid than when it was indexed. Run graft index again.")
    if facts.fingerprint != source.fingerprint:
        logger.warning("%s has changed since it was indexed; the heat map shows what it was then.", source.name)
    return view


def read_scores(index: "Index", query: Query, source: SourceCard) -> WindowScores:
    """Cosines of a scene's windows with a query, on the grid of their centres.

    Raises:
        GraftError: the index holds no window of the scene.
    """
    vector = query.vector.numpy().astype(np.float32)
    centres, cosines = [np.zeros((0, 2))], [np.zeros(0, np.float32)]
    for batch in index.batches(["window", "vector"], f"source_id = {quoted(source.id)}"):
        window = batch["window"]
        left, top, width, height = (window.field(name).to_numpy() for name in ("column", "row", "width", "height"))
        centres.append(np.stack([left + width / 2, top + height / 2], axis=1))
        bank = batch["vector"].flatten().to_numpy().reshape(len(left), -1)
        cosines.append(bank.astype(np.float32) @ vector)
    places, values = np.concatenate(centres), np.concatenate(cosines)
    if not len(values):
        raise GraftError(f"The index at {index.address} holds no window of {source.name}. Run graft index on it again.")
    x, column = np.unique(places[:, 0], return_inverse=True)
    y, row = np.unique(places[:, 1], return_inverse=True)
    grid, there = np.zeros((len(y), len(x)), np.float32), np.zeros((len(y), len(x)), np.float32)
    grid[row, column], there[row, column] = values, 1
    return WindowScores(x, y, grid, there)


def _write(raw: Path, out: Path, view: SceneView, scores: WindowScores, tags: dict[str, Any]) -> None:
    total = np.zeros(1)
    with read_scene(view) as reader, create_raster(raw, view, 1, np.float32, np.nan, predictor=3) as dataset:
        dataset.set_band_description(1, "cosine")
        dataset.update_tags(**tags)
        for rows, columns in tqdm(list(_blocks(view)), desc="Heat map", unit=" blocks", delay=2):
            values = _masked(reader, scores, rows, columns)
            dataset.write(values, 1, window=Window.from_slices(rows, columns))
            total += np.nansum(values, dtype=np.float64)
    to_cog(raw, out, overviews="average")
    check_sums(out, total)


def _blocks(view: SceneView) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    for top in range(0, view.height, _BLOCK):
        for left in range(0, view.width, _BLOCK):
            yield (top, min(top + _BLOCK, view.height)), (left, min(left + _BLOCK, view.width))


def _masked(
    reader: SceneReader, scores: WindowScores, rows: tuple[int, int], columns: tuple[int, int]
) -> npt.NDArray[np.float32]:
    _, valid = reader.block(rows, columns)
    return np.where(valid, scores.block(rows, columns), np.float32(np.nan))


def _between(places: Floats, centres: Floats) -> tuple[npt.NDArray[np.float32], slice]:
    """Weights float32 [n, c] that interpolate between the c ascending centres of the slice; each row sums to 1."""
    after = np.searchsorted(centres, places, side="right").clip(1, max(len(centres) - 1, 1))
    before, after = after - 1, np.minimum(after, len(centres) - 1)
    gap = np.where(after > before, centres[after] - centres[before], 1)
    share = ((places - centres[before]) / gap).clip(0, 1).astype(np.float32)
    near = slice(int(before.min()), int(after.max()) + 1)
    weights = np.zeros((len(places), near.stop - near.start), np.float32)
    line = np.arange(len(places))
    weights[line, before - near.start] = 1 - share
    weights[line, after - near.start] += share
    return weights, near
