"""From the token grid to the pixels of a scene, block by block."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from graft.cog import TILE
from graft.refine import Refiner
from graft.sliding import WindowGrid, upsample_data

Span = tuple[int, int]
Look = Callable[[Span, Span], tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]]
"""Picture uint8 [H, W, 3] and data mask bool [H, W] of the pixels in (rows, columns)."""

_MAX_SIDE = 1024
_MAX_FLOATS = 4 << 20


@dataclass(frozen=True)
class Block:
    """A part of a scene in its own grid.

    Attributes:
        rows: first and one past the last row.
        columns: first and one past the last column.
        scores: float32 [C, H, W], cosines.
        valid: bool [H, W], where the scene has data.
    """

    rows: Span
    columns: Span
    scores: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]

    def labels(self, kind: npt.DTypeLike) -> npt.NDArray[np.unsignedinteger]:
        """Index of the best class, unsigned integers [H, W] of type `kind`; its largest number where data lacks."""
        best: npt.NDArray[np.unsignedinteger] = self.scores.argmax(axis=0).astype(kind)
        best[~self.valid] = np.iinfo(kind).max
        return best


def count_blocks(size: tuple[int, int], classes: int) -> int:
    """How many blocks `score_blocks` yields."""
    side = _side(classes)
    return math.ceil(size[0] / side) * math.ceil(size[1] / side)


def score_blocks(
    tokens: Tensor, grid: WindowGrid, size: tuple[int, int], look: Look, refiner: Refiner | None
) -> Iterator[Block]:
    """Scores of every pixel, refined, in blocks of whole 256-pixel tiles.

    Args:
        tokens: float32 [h, w, C + 1], the token grid of `grid` as `graft.sliding.weigh_by_data` makes it.
        grid: the windows; its canvas covers the scene.
        size: (H, W) of the scene in its own pixels.
        look: reads a block of the scene.
        refiner: sharpens the borders of a block by its picture, and sees `refiner.halo` pixels round it.
    """
    side = _side(tokens.shape[-1] - 1)
    halo = refiner.halo if refiner else 0
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            rows, columns = (top, min(top + side, size[0])), (left, min(left + side, size[1]))
            wide_rows, wide_columns = _widen(rows, halo, size[0]), _widen(columns, halo, size[1])
            picture, valid = look(wide_rows, wide_columns)
            scores: npt.NDArray[np.float32] = upsample_data(tokens, grid, size, wide_rows, wide_columns).numpy()
            if refiner and valid.any():
                scores = refiner(scores, picture, valid)
            down = slice(rows[0] - wide_rows[0], rows[1] - wide_rows[0])
            across = slice(columns[0] - wide_columns[0], columns[1] - wide_columns[0])
            yield Block(rows, columns, scores[:, down, across], valid[down, across])


def _side(classes: int) -> int:
    """Side of a block: whole tiles, at most 4 million scores."""
    largest = math.isqrt(_MAX_FLOATS // classes) // TILE * TILE
    return min(max(largest, TILE), _MAX_SIDE)


def _widen(span: Span, halo: int, length: int) -> Span:
    return max(span[0] - halo, 0), min(span[1] + halo, length)
