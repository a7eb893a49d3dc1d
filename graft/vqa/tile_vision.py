"""Many small images in full batches: an encoder takes three to five times as long for a window of a batch of three."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from graft.sliding import ScoreAccumulator, WindowGrid, default_stride, token_data, weigh_by_data
from graft.vqa.ground import GroundGrid
from graft.vqa.looking import Eyes
from graft.vqa.scoring import LEAST_PATCHES, SceneVision

Tile = tuple[npt.NDArray[np.uint8], GroundGrid]
"""Display values uint8 [H, W, 3], black where there is no data, and their grid."""


def visions_of_tiles(
    tiles: Sequence[Tile], eyes: Eyes, *, stride: int | None = None, batch_size: int = 16
) -> Iterator[SceneVision]:
    """What `graft.vqa.scoring.vision_of_array` sees in each tile, in their order; windows of several share a batch.

    Args:
        tiles: the scores of all are in memory at a time.
        eyes: the model.
        stride: between windows in pixels; half a window if None.
        batch_size: windows at a time.

    Raises:
        GraftError: window and stride that do not fit.
    """
    for _, same in groupby(tiles, key=lambda tile: tile[0].shape):
        yield from _of_one_size(list(same), eyes, stride, batch_size)


def _of_one_size(tiles: list[Tile], eyes: Eyes, stride: int | None, batch_size: int) -> Iterator[SceneVision]:
    scorer = eyes.scorer
    stride = default_stride(scorer.window, scorer.patch) if stride is None else stride
    height, width = tiles[0][0].shape[:2]
    windows = WindowGrid(height, width, scorer.window, stride, scorer.patch)
    below, right = windows.padded[0] - height, windows.padded[1] - width
    canvas = np.stack([np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge") for pixels, _ in tiles])
    images, side = torch.from_numpy(canvas).permute(0, 3, 1, 2), scorer.window
    cut = [images[:, :, y : y + side, x : x + side] for y in windows.rows for x in windows.columns]
    scores = torch.cat([scorer(batch) for batch in torch.split(torch.cat(cut), batch_size)])
    # One window after another of all tiles to [rows, columns, tiles, h, w, C].
    placed = scores.reshape(len(windows.rows), len(windows.columns), len(tiles), *scores.shape[1:])
    for number, (pixels, grid) in enumerate(tiles):
        accumulator = ScoreAccumulator(windows, scores.shape[-1])
        tokens = torch.cat([accumulator.add(placed[row, :, number]) for row in range(len(windows.rows))])
        seen: npt.NDArray[np.bool_] = np.asarray(pixels.any(axis=2))
        share = token_data(np.pad(seen, ((0, below), (0, right))), scorer.patch)
        weighed, least_px = weigh_by_data(tokens, share), LEAST_PATCHES * scorer.patch**2
        yield SceneVision(grid, seen, least_px, (), weighed, windows, eyes.words, eyes.calibration)
