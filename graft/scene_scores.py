"""A scene in memory scored against its truth: pixels and tokens, with several prompt families in one pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from graft.errors import GraftError
from graft.labelmaps import LabelledScene
from graft.raster import MAX_MISMATCH, canvas_length
from graft.resample import axis_weights
from graft.segmentation_metrics import SegmentationScore
from graft.sliding import DenseScorer, WindowGrid, score_array, upsample
from graft.token_labels import paint_tokens, token_counts, token_majority
from graft.words import ClassWords

_BLOCK = 256
_BAND = 1 << 22
"""Values of class scores held at once: 16 MiB of float32."""


def to_size(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resample a picture as `graft segment` does: area means, or linear where pixels become smaller.

    Args:
        image: uint8 [H, W, 3].
        height: rows of the result, which covers the same ground.
        width: columns of the result.

    Returns:
        uint8 [height, width, 3].
    """
    canvas = np.empty((height, width, 3), np.uint8)
    for y, x in product(range(0, height, _BLOCK), range(0, width, _BLOCK)):
        down = axis_weights(image.shape[0], height, y, min(y + _BLOCK, height))
        across = axis_weights(image.shape[1], width, x, min(x + _BLOCK, width))
        block = image[down.start : down.stop, across.start : across.stop].astype(np.float32)
        if down.matrix is not None:
            block = np.tensordot(down.matrix, block, 1)
        if across.matrix is not None:
            block = np.tensordot(across.matrix, block, (1, 1)).swapaxes(0, 1)
        canvas[y : y + _BLOCK, x : x + _BLOCK] = np.rint(block)
    return canvas


def canvas_of(scene: LabelledScene, want_m: float | None) -> npt.NDArray[np.uint8]:
    """The pixels of a scene that models are shown.

    Args:
        scene: of any GSD.
        want_m: metres a pixel that the model was trained on; None shows pixels as they are, and so does an axis of the
            scene that is within `graft.raster.GSD_TOLERANCE` of it.

    Returns:
        uint8 [height, width, 3].

    Raises:
        GraftError: the scene does not say its own GSD, or its pixels would have to be blown up more than twice.
    """
    if want_m is None:
        return scene.image
    if scene.gsd_m is None:
        raise GraftError(
            f"Scene {scene.name} does not say its GSD. Give data.init_args.gsd_m, or set model.init_args.resample to "
            "native."
        )
    across, down = scene.gsd_m
    if round(max(across, down) / want_m, 1) > MAX_MISMATCH:
        raise GraftError(
            f"Scene {scene.name} has pixels of {across:.3g} x {down:.3g} m, the encoder's sensor {want_m:g} m: more "
            "than twice as large is guessing. Give a checkpoint of a sensor that fits, or set "
            "model.init_args.resample to native."
        )
    rows, columns = scene.image.shape[:2]
    height, width = canvas_length(rows, down, want_m), canvas_length(columns, across, want_m)
    return scene.image if (height, width) == (rows, columns) else to_size(scene.image, height, width)


def join_families(words: Sequence[ClassWords]) -> ClassWords:
    """Several prompt families of the same C classes as one list of F * C classes, so that pictures are seen once."""
    counts = [len(family.ids) for family in words]
    owners = [family.owner + sum(counts[:number]) for number, family in enumerate(words)]
    ids = tuple(f"{number}/{label}" for number, family in enumerate(words) for label in family.ids)
    vectors = torch.cat([family.vectors for family in words])
    return ClassWords(ids, vectors, torch.cat(owners), words[0].card, words[0].teacher)


def pixel_bands(tokens: Tensor, grid: WindowGrid, size: tuple[int, int]) -> Iterator[tuple[slice, Tensor]]:
    """Scores of a scene's pixels, as many rows at a time as bounded memory allows.

    Args:
        tokens: float32 [h, w, C], the token grid of `grid`.
        grid: whose unpadded canvas covers the scene exactly.
        size: (H, W) of the scene in pixels.

    Yields:
        Rows of the scene and their scores, float32 [C, rows, W].
    """
    height, width = size
    step = max(_BAND // (width * tokens.shape[-1]), 1)
    for first in range(0, height, step):
        last = min(first + step, height)
        yield slice(first, last), upsample(tokens, grid, size, (first, last), (0, width))


@dataclass(frozen=True)
class SceneTruth:
    """What the predictions for a scene are held against.

    Attributes:
        grid: the windows over the scene's canvas.
        pixels: uint8 [H, W], class indices or 255.
        tokens: uint8 [h, w], majority of each token's patch; 255 where more than half of it is not scored.
        rounded: uint8 [H, W], the majority of each patch over the whole patch: as right as whole patches can be.
    """

    grid: WindowGrid
    pixels: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.uint8]
    rounded: npt.NDArray[np.uint8]


def scene_truth(label: npt.NDArray[np.uint8], grid: WindowGrid, classes: int) -> SceneTruth:
    """The truth of a scene at every level that is scored.

    Args:
        label: uint8 [H, W], class indices or 255, covering the unpadded canvas.
        grid: the windows over the canvas.
        classes: C.
    """
    counts = token_counts(label, grid, classes)
    rounded = paint_tokens(token_majority(counts, strict=False), grid, label.shape)
    return SceneTruth(grid, label, token_majority(counts, strict=True), rounded)


def add_labels(
    confusion: MulticlassConfusionMatrix, named: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8]
) -> None:
    """Count named pixels against the truth, uint8 [H, W] each, in bounded memory."""
    step = max(_BAND // truth.shape[1], 1)
    for first in range(0, len(truth), step):
        pair = (torch.from_numpy(labels[first : first + step]).long() for labels in (named, truth))
        confusion.update(*(labels.to(confusion.device) for labels in pair))


def score_scene(
    canvas: npt.NDArray[np.uint8],
    scorer: DenseScorer,
    truth: SceneTruth,
    scores: Sequence[SegmentationScore],
    batch_size: int = 16,
) -> npt.NDArray[np.uint8]:
    """Look at a scene once and count what each prompt family makes of it.

    Args:
        canvas: uint8 [height, width, 3] of `truth.grid`.
        scorer: its words are the F families of `join_families`.
        truth: of the scene.
        scores: F counts that are added to, all on one device.
        batch_size: windows at a time.

    Returns:
        uint8 [H, W], the class that the first family gives each pixel.
    """
    device, families = scores[0].device, len(scores)
    tokens = score_array(canvas, scorer, stride=truth.grid.stride, batch_size=batch_size)
    of_tokens = torch.from_numpy(truth.tokens).long().to(device)
    for score, part in zip(scores, tokens.to(device).chunk(families, dim=-1), strict=True):
        score.add_tokens(part, of_tokens)
    named = np.empty(truth.pixels.shape, np.uint8)
    for rows, band in pixel_bands(tokens, truth.grid, truth.pixels.shape):
        label = torch.from_numpy(truth.pixels[rows]).long().to(device)
        parts = zip(scores, band.to(device).chunk(families), strict=True)
        first, *_ = [score.add_pixels(part, label) for score, part in parts]
        named[rows] = first.cpu().numpy()
    return named
