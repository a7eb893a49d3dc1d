"""Segmentation of whole scenes into georeferenced files, and of arrays."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from graft.errors import GraftError
from graft.files import write_json
from graft.refine import RefineName, Refiner, make_refiner
from graft.scene import SceneView, read_scene
from graft.segment.blocks import count_blocks, score_blocks
from graft.segment.engine import STATE, TOKENS, score_scene
from graft.segment.output import check_target, clear_unfinished, name_output, publish, working_folder
from graft.segment.polygons import write_polygons
from graft.segment.provenance import describe, determine, title
from graft.segment.quicklook import write_quicklook
from graft.segment.rasters import label_type, write_rasters
from graft.segment.summary import Summary, measure
from graft.sliding import DenseScorer, WindowGrid, default_stride, score_array, token_data, weigh_by_data


@dataclass(frozen=True)
class Segmentation:
    """An array in classes.

    Attributes:
        labels: index of the best class, uint8 [H, W] (uint16 from 256 classes on); the type's largest number where
            data lacks.
        scores: float32 [C, H, W], cosines; None unless asked for.
    """

    labels: npt.NDArray[np.unsignedinteger[Any]]
    scores: npt.NDArray[np.float32] | None


def segment_array(
    pixels: npt.NDArray[np.uint8],
    scorer: DenseScorer,
    *,
    stride: int | None = None,
    batch_size: int = 16,
    refine: RefineName = "none",
    sam_checkpoint: Path | None = None,
    valid: npt.NDArray[np.bool_] | None = None,
    scores: bool = False,
) -> Segmentation:
    """Segment an image in memory.

    Args:
        pixels: uint8 [H, W, 3], display values at the model's GSD; black where data lacks, as in training.
        scorer: encoder, words and window.
        stride: pixels between windows; half a window if None.
        batch_size: windows at a time.
        refine: how borders are sharpened.
        sam_checkpoint: weights of SAM for `refine="sam"`.
        valid: bool [H, W], where there is data; everywhere if None.
        scores: keep the scores too.

    Raises:
        GraftError: an array of another form, or window and stride that do not fit.
    """
    there = np.ones(pixels.shape[:2], bool) if valid is None else valid
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or there.shape != pixels.shape[:2]:
        raise GraftError(
            f"The picture is {pixels.dtype} {list(pixels.shape)} with a mask {list(there.shape)}; expected display "
            "values uint8 [height, width, 3] and a mask [height, width]."
        )
    height, width = pixels.shape[:2]
    stride = default_stride(scorer.window, scorer.patch) if stride is None else stride
    grid = WindowGrid(height, width, scorer.window, stride, scorer.patch)
    below, right = grid.padded[0] - height, grid.padded[1] - width
    data = token_data(np.pad(there, ((0, below), (0, right))), grid.patch)
    tokens = weigh_by_data(score_array(pixels, scorer, stride=stride, batch_size=batch_size), data)
    refiner = _refiner(refine, scorer, scorer.patch, sam_checkpoint)
    kind = label_type(len(scorer.words.ids))
    labels = np.empty((height, width), kind)
    kept = np.empty((len(scorer.words.ids), height, width), np.float32) if scores else None

    def look(rows: tuple[int, int], columns: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        here = slice(*rows), slice(*columns)
        return pixels[here], there[here]

    for block in score_blocks(tokens, grid, (height, width), look, refiner):
        here = slice(*block.rows), slice(*block.columns)
        labels[here] = block.labels(kind)
        if kept is not None:
            kept[:, *here] = block.scores
    return Segmentation(labels, kept)


def segment_scene(
    view: SceneView,
    scorer: DenseScorer,
    out: Path | str,
    *,
    stride: int | None = None,
    batch_size: int = 16,
    refine: RefineName = "none",
    sam_checkpoint: Path | None = None,
    scores: bool = False,
    min_area_m2: float = 0.0,
    overwrite: bool = False,
    provenance: Mapping[str, str] | None = None,
) -> Summary:
    """Segment a scene of any size in bounded memory.

    Writes NAME.classes.tif, NAME.geojson (unless the scene has no CRS), NAME.quicklook.png, NAME.json and on request
    NAME.scores.tif, all together when all are complete. A run that was stopped goes on when it is started again with
    the same settings.

    Args:
        view: the scene, from `graft.scene.view_scene`.
        scorer: encoder, words and window.
        out: a folder (one that exists, or with a slash at the end), where NAME is the scene's; or a prefix.
        stride: pixels between windows; half a window if None.
        batch_size: windows at a time.
        refine: how borders are sharpened.
        sam_checkpoint: weights of SAM for `refine="sam"`.
        scores: write the score of each class too.
        min_area_m2: polygons smaller than this are left out of the GeoJSON.
        overwrite: replace files that are there already.
        provenance: further tags, such as the model's sha256.

    Raises:
        GraftError: files in the way, a damaged scene, a disk that is full or not writable.
    """
    begin = time.monotonic()
    ids, size = scorer.words.ids, (view.height, view.width)
    label_type(len(ids))
    patch_px = scorer.patch * (view.height / view.canvas[0] + view.width / view.canvas[1]) / 2
    refiner = _refiner(refine, scorer, patch_px, sam_checkpoint)
    stride = default_stride(scorer.window, scorer.patch) if stride is None else stride
    grid = WindowGrid(*view.canvas, scorer.window, stride, scorer.patch)
    output = name_output(out, view.path)
    check_target(output, view.path, overwrite=overwrite)
    tags = describe(view, scorer, grid, refine) | dict(provenance or {})
    if view.nan_share:
        print(f"About {view.nan_share:.1%} of the scene's pixels are NaN and count as no data.")
    with working_folder(output), read_scene(view) as reader:
        tokens = score_scene(reader, scorer, grid, output.work, determine(view, scorer, grid), batch_size)
        clear_unfinished(output, keep=(TOKENS, STATE))
        blocks = score_blocks(tokens, grid, size, reader.block, refiner)
        told = tqdm(blocks, total=count_blocks(size, len(ids)), desc="Writing", unit=" blocks")
        class_map, score_map = output.unfinished(output.class_map), output.unfinished(output.score_map)
        counts = write_rasters(told, view, ids, tags, class_map, score_map if scores else None)
        regions = None
        if view.crs is not None:
            regions = write_polygons(class_map, view, ids, output.unfinished(output.polygons), min_area_m2)
        classes = measure(view, ids, counts, regions)
        shares = [found.share for found in classes]
        write_quicklook(reader, class_map, ids, shares, title(view, grid, tags), output.unfinished(output.quicklook))
        summary = Summary(
            scene=view.path,
            classes=classes,
            no_data=counts.no_data / (view.width * view.height),
            regions=None if regions is None else {"written": regions.written, "dropped": regions.dropped},
            seconds=round(time.monotonic() - begin, 1),
            files=(*output.finished(), output.summary),
            settings=tags,
        )
        write_json(output.unfinished(output.summary), summary.plain())
        publish(output)
    return summary


def _refiner(name: RefineName, scorer: DenseScorer, patch_px: float, sam_checkpoint: Path | None) -> Refiner | None:
    """A refiner on the device of the encoder."""
    device = str(next(scorer.encoder.parameters()).device)
    return make_refiner(name, patch_px=patch_px, sam_checkpoint=sam_checkpoint, device=device)
