"""Class map and scores as Cloud-Optimised GeoTIFFs in the scene's own grid."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from graft.cog import check_sums, create_raster, to_cog
from graft.errors import GraftError
from graft.palette import NO_DATA, palette
from graft.scene import SceneView
from graft.segment.blocks import Block

MAX_CLASSES = 65_535


@dataclass(frozen=True)
class Counts:
    """Pixels of a class map.

    Attributes:
        classes: int64 [C].
        no_data: pixels without data.
    """

    classes: npt.NDArray[np.int64]
    no_data: int


def label_type(classes: int) -> type[np.unsignedinteger[Any]]:
    """Number type of a class map; its largest number means no data."""
    if classes > MAX_CLASSES:
        raise GraftError(f"{classes} classes; a class map holds up to {MAX_CLASSES}. Give fewer --prompts.")
    return np.uint8 if classes < 256 else np.uint16


def write_rasters(
    blocks: Iterable[Block],
    view: SceneView,
    ids: Sequence[str],
    tags: Mapping[str, str],
    class_map: Path,
    score_map: Path | None,
) -> Counts:
    """Write the class map, and the scores if a path is given, each as COG; both are read back before this returns.

    Args:
        blocks: whole tiles of the scene, each once.
        view: whose grid the maps take.
        ids: C class names.
        tags: provenance.
        class_map: file to write; unsigned integers with colour table.
        score_map: file to write; C float32 bands of cosines, NaN without data, described by class.

    Raises:
        GraftError: the scene is damaged.
        OSError: the disk is full or not writable, or what was written does not read back.
    """
    kind = label_type(len(ids))
    no_data = int(np.iinfo(kind).max)
    raw_classes, raw_scores = class_map.with_suffix(".raw.tif"), class_map.with_suffix(".scores.raw.tif")
    counts = np.zeros(no_data + 1, np.int64)
    sums = np.zeros(len(ids))
    with warnings.catch_warnings(), ExitStack() as files:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        labels = files.enter_context(create_raster(raw_classes, view, 1, kind, no_data, predictor=2))
        labels.write_colormap(1, dict(enumerate(palette(ids))) | {no_data: NO_DATA})
        labels.set_band_description(1, "class")
        labels.update_tags(**tags)
        scores = None
        if score_map is not None:
            scores = files.enter_context(create_raster(raw_scores, view, len(ids), np.float32, np.nan, predictor=3))
            scores.descriptions = tuple(ids)
            scores.update_tags(**tags)
        for block in blocks:
            window = Window.from_slices(block.rows, block.columns)
            best = block.labels(kind)
            labels.write(best, 1, window=window)
            counts += np.bincount(best.ravel(), minlength=no_data + 1)
            if scores is not None:
                scores.write(np.where(block.valid, block.scores, np.float32(np.nan)), window=window)
                sums += block.scores[:, block.valid].sum(axis=1, dtype=np.float64)
    to_cog(raw_classes, class_map, overviews="mode")
    _check_counts(class_map, counts)
    if score_map is not None:
        to_cog(raw_scores, score_map, overviews="average")
        check_sums(score_map, sums)
    return Counts(counts[: len(ids)], int(counts[no_data]))


def _check_counts(path: Path, expected: npt.NDArray[np.int64]) -> None:
    """What was counted on the way in must be there, whatever GDAL said when it closed the file."""
    found = np.zeros_like(expected)
    with rasterio.open(path) as dataset:
        for _, window in dataset.block_windows(1):
            found += np.bincount(dataset.read(1, window=window).ravel(), minlength=len(expected))
    if not np.array_equal(found, expected):
        raise OSError(f"{path.name} does not read back as it was written")
