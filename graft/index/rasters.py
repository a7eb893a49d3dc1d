"""Rasters of any size as a source of an index: windows over the ground at the model's GSD."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from affine import Affine
from rasterio.io import DatasetReader
from rasterio.windows import Window

from graft.errors import GraftError, first_line
from graft.imagery.geometry import compose
from graft.imagery.read import UNCLEAR_CLASSES
from graft.imagery.remote import is_remote, path_of, persist
from graft.index.footprint import crs_name, place_of
from graft.index.sources import (
    GROUP,
    LEAST_VALID,
    NO_DATA,
    Group,
    Look,
    Source,
    TileFacts,
    fingerprint_of,
    make_card,
    stack,
    utc,
)
from graft.raster import time_taken
from graft.scene import SceneReader, SceneView, open_raster, read_scene, view_scene
from graft.sliding import WindowGrid
from graft.tally import Tally

Result = TypeVar("Result")

DAMAGED = "damaged, cannot be read"
Picture = tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]

_SAMPLE_SIDE = 256


@dataclass(frozen=True)
class RasterFacts:
    """What a raster says of itself besides its grid.

    Attributes:
        crs: its coordinate reference system, as PROJ reads it.
        epsg: code of that.
        taken: when.
        remote: whether it lies at an address, or is a VRT of files that do.
        classification: number of the band of Sentinel-2's scene classification, described as SCL.
        fingerprint: sizes and times of change of its files; of addresses, header and the middle of the pixels.
    """

    crs: str | None
    epsg: int | None
    taken: datetime | None
    remote: bool
    classification: int | None
    fingerprint: str


@dataclass(frozen=True)
class RasterSource(Source):
    """A raster; see `Source`."""

    view: SceneView
    facts: RasterFacts

    @property
    def grid(self) -> WindowGrid:
        """The windows over the canvas, numbered row by row."""
        return self.look.grid(*self.view.canvas)

    @property
    def groups(self) -> int:
        """Whole rows of windows make a group."""
        return math.ceil(len(self.grid.rows) / self._rows_a_group)

    @property
    def _rows_a_group(self) -> int:
        return max(GROUP // len(self.grid.columns), 1)

    def numbers(self, group: int) -> range:
        """Numbers of the windows of a group."""
        rows, columns, step = len(self.grid.rows), len(self.grid.columns), self._rows_a_group
        return range(group * step * columns, min((group + 1) * step, rows) * columns)

    def read(self, group: int) -> Group:
        """Read the windows of a group; where a row of windows is damaged, each window of it for itself."""
        return _persistently(self.view.path, self.facts.remote, lambda: self._read(group))

    def _read(self, group: int) -> Group:
        tiles, pixels, skipped = [], [], Tally()
        numbers, grid = self.numbers(group), self.grid
        rows, columns = grid.rows, grid.columns
        with read_scene(self.view) as reader, open_raster(self.view.path) as dataset:
            for number, (shown, seen) in zip(numbers, self._windows(reader, numbers), strict=True):
                row, column = divmod(number, len(columns))
                name = f"{self.card.name}, window {number}"
                if not seen.size:
                    skipped.add(DAMAGED, name)
                elif seen.mean() < LEAST_VALID:
                    skipped.add(NO_DATA, name)
                else:
                    tiles.append(self._facts(dataset, number, columns[column], rows[row], seen))
                    pixels.append(torch.from_numpy(mirrored(shown, grid.window)).permute(2, 0, 1))
        return Group(stack(pixels, grid.window), tuple(tiles), skipped)

    def _windows(self, reader: SceneReader, numbers: range) -> Iterator[Picture]:
        """Display values and mask of each window, clipped to the canvas; empty ones where it is damaged."""
        grid = self.grid
        tops, spans = grid.rows, [(left, min(left + grid.window, grid.width)) for left in grid.columns]
        for first in range(numbers.start, numbers.stop, len(spans)):
            top = tops[first // len(spans)]
            rows = top, min(top + grid.window, grid.height)
            try:
                shown, seen = reader.canvas_rows(*rows)
                yield from ((shown[:, slice(*span)], seen[:, slice(*span)]) for span in spans)
            except GraftError:
                if self.facts.remote:
                    raise  # the network may be what failed, and the next run may find it whole
                yield from (_unless_damaged(reader, rows, span) for span in spans)

    def _facts(
        self, dataset: DatasetReader, number: int, left: int, top: int, seen: npt.NDArray[np.bool_]
    ) -> TileFacts:
        view, facts = self.view, self.facts
        across, down = view.width / view.canvas[1], view.height / view.canvas[0]
        window = (left * across, top * down, seen.shape[1] * across, seen.shape[0] * down)
        return TileFacts(
            number,
            self.card.name,
            window,
            taken=facts.taken,
            gsd_m=math.sqrt(view.gsd_m[0] * view.gsd_m[1]),
            valid=float(seen.mean()),
            cloud=cloud_share(dataset, facts.classification, window),
            place=place_of(
                facts.crs, facts.epsg, compose(view.transform, Affine.translation(*window[:2])), window[2], window[3]
            ),
        )


def open_raster_source(name: str, look: Look) -> RasterSource:
    """Check a raster against a model.

    Args:
        name: path, or address (`s3://`, `https://`, `/vsi…`).
        look: how the model looks at it.

    Raises:
        GraftError: it does not open or does not fit.
    """
    path = path_of(name)
    view, facts = _persistently(path, is_remote(name), lambda: look_at(path, look))
    grid = look.grid(*view.canvas)
    settings = look.settings(bands=list(view.bands), gsd_m=None if view.crs else look.gsd_m)
    card = make_card(
        name,
        "raster",
        facts.fingerprint,
        settings,
        len(grid.rows) * len(grid.columns),
        crs="" if view.crs is None else view.crs.to_wkt(),
        transform=tuple(float(value) for value in view.transform[:6]),
        width=view.width,
        height=view.height,
    )
    return RasterSource(card, look, view, facts)


def look_at(path: Path, look: Look) -> tuple[SceneView, RasterFacts]:
    """A raster as the model sees it, and what it says of itself.

    Raises:
        GraftError: it does not open or does not fit.
    """
    with open_raster(path) as dataset:
        tags = {name.upper(): value for name, value in dataset.tags().items()}
        described = [(name or "").strip().upper() for name in dataset.descriptions]
        facts = RasterFacts(
            *crs_name(None if dataset.crs is None else dataset.crs.to_wkt()),
            utc(time_taken(tags)),
            _reads_addresses(dataset),
            described.index("SCL") + 1 if "SCL" in described else None,
            _fingerprint(dataset),
        )
        gsd_m = look.gsd_m if dataset.crs is None else None
    view = view_scene(
        path,
        look.sensor,
        look.model_gsd_m,
        gsd_m=gsd_m,
        bands=look.bands,
        display=look.display,
        any_gsd=look.any_gsd,
    )
    return view, facts


def cloud_share(
    dataset: DatasetReader, classification: int | None, window: tuple[float, float, float, float]
) -> float | None:
    """Share of a window's pixels with data that the scene classification calls cloud, shadow or unusable.

    Args:
        dataset: the open raster.
        classification: number of its band; None gives None.
        window: column, row, width and height in pixels.

    Raises:
        GraftError: an address that fails.
    """
    if classification is None:
        return None
    left, top = math.floor(window[0] + 1e-6), math.floor(window[1] + 1e-6)
    right, bottom = math.ceil(window[0] + window[2] - 1e-6), math.ceil(window[1] + window[3] - 1e-6)
    try:
        classes = dataset.read(classification, window=Window(left, top, right - left, bottom - top))
    except rasterio.RasterioIOError as error:
        if _reads_addresses(dataset):
            raise GraftError(f"The scene {dataset.name} cannot be read: {first_line(error)}") from error
        return None
    known = classes[classes > 0]
    return float(np.isin(known, UNCLEAR_CLASSES).mean()) if known.size else None


def mirrored(shown: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """A picture uint8 [H, W, 3] of at most `side` pixels, mirrored at its right and lower edge up to `side`."""
    below, right = side - shown.shape[0], side - shown.shape[1]
    return np.ascontiguousarray(np.pad(shown, ((0, below), (0, right), (0, 0)), mode="reflect"))


def _persistently(path: Path, remote: bool, work: Callable[[], Result]) -> Result:
    """What `work` returns; where it reads an address and fails, it is tried again."""
    if not remote:
        return work()

    def attempt() -> Result:
        try:
            return work()
        except GraftError as error:
            if isinstance(error.__cause__, OSError):
                raise OSError(str(error)) from error
            raise

    try:
        return persist([str(path)], attempt)
    except OSError as error:
        raise GraftError(str(error)) from error


def _unless_damaged(reader: SceneReader, rows: tuple[int, int], columns: tuple[int, int]) -> Picture:
    try:
        return reader.canvas_block(rows, columns)
    except GraftError:
        return np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.bool_)


def _reads_addresses(dataset: DatasetReader) -> bool:
    return any(map(is_remote, (dataset.name, *dataset.files)))


def _fingerprint(dataset: DatasetReader) -> str:
    """Of all files that the raster is made of, as a VRT names others; without the statistics that GIS leave there."""
    names = {name for name in dataset.files if not name.endswith(".aux.xml")}
    files = sorted(file for file in map(Path, names) if file.is_file())
    about = [(str(file.resolve()), file.stat()) for file in files]
    facts: list[object] = [[file, stat.st_size, stat.st_mtime_ns] for file, stat in about]
    if not _reads_addresses(dataset):
        return fingerprint_of(facts or [dataset.name])
    facts += sorted(name for name in names if is_remote(name) and name != dataset.name)
    return fingerprint_of([*facts, *_content(dataset)])


def _content(dataset: DatasetReader) -> list[object]:
    """Header and the middle of the pixels."""
    width, height = min(dataset.width, _SAMPLE_SIDE), min(dataset.height, _SAMPLE_SIDE)
    middle = Window((dataset.width - width) // 2, (dataset.height - height) // 2, width, height)
    try:
        sample = hashlib.sha256(dataset.read(1, window=middle).tobytes()).hexdigest()
    except rasterio.RasterioIOError as error:
        raise GraftError(f"The scene {dataset.name} cannot be read: {first_line(error)}") from error
    header = [dataset.width, dataset.height, dataset.count, list(dataset.dtypes), list(dataset.transform[:6])]
    return [*header, str(dataset.crs), sorted(dataset.tags().items()), sample]
