"""Windows over a scene of any size: scores are blended on the token grid, a row of windows at a time."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from graft.dense import DenseMode, dense_features, remove_global_bias
from graft.errors import GraftError
from graft.words import ClassWords

_FLOOR = 1e-3
"""Weight left at the edge of a window: without it a Hann taper underflows where only one window looks."""


@dataclass(frozen=True)
class WindowGrid:
    """Windows over a canvas: the scene in pixels of the model's GSD.

    The canvas is padded at the right and at the bottom to whole patches and at least one window. The last window is
    shifted inside, so every window is full.

    Attributes:
        height: of the canvas in pixels, without padding.
        width: of the canvas in pixels, without padding.
        window: side of a window in pixels, a multiple of `patch`.
        stride: between windows in pixels, a multiple of `patch`, at most `window`.
        patch: side of a patch token in pixels.
    """

    height: int
    width: int
    window: int
    stride: int
    patch: int

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            GraftError: window or stride are not whole patches, or windows would leave gaps.
        """
        whole = self.window % self.patch == 0 and self.stride % self.patch == 0
        if not whole or not 0 < self.stride <= self.window:
            raise GraftError(
                f"Window {self.window} and stride {self.stride} px: expected multiples of the patch of {self.patch} px "
                "with the stride between one patch and the window."
            )

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the padded canvas."""
        return self._pad(self.height), self._pad(self.width)

    @property
    def token_shape(self) -> tuple[int, int]:
        """Rows and columns of the token grid of the padded canvas."""
        return self.padded[0] // self.patch, self.padded[1] // self.patch

    @property
    def rows(self) -> tuple[int, ...]:
        """Upper pixel of each row of windows."""
        return self._offsets(self.padded[0])

    @property
    def columns(self) -> tuple[int, ...]:
        """Left pixel of each column of windows."""
        return self._offsets(self.padded[1])

    def _pad(self, length: int) -> int:
        return max(math.ceil(length / self.patch) * self.patch, self.window)

    def _offsets(self, length: int) -> tuple[int, ...]:
        last = length - self.window
        return (*range(0, last, self.stride), last)


class ScoreAccumulator:
    """Blends the scores of overlapping windows, before any softmax, with a taper towards the edges of a window.

    Holds the token rows that a later window can still touch, so memory does not grow with the height of a scene.

    Attributes:
        grid: the windows.
        next_row: index of the row of windows that `add` takes next.
    """

    def __init__(self, grid: WindowGrid, classes: int) -> None:
        """Start above the first row of windows.

        Args:
            grid: the windows.
            classes: C.
        """
        self.grid, self.next_row = grid, 0
        self._side = grid.window // grid.patch
        place = (torch.arange(self._side) + 0.5) / self._side
        taper = (math.pi * place).sin().square() + _FLOOR
        self._taper = (taper[:, None] * taper)[..., None]
        columns = grid.token_shape[1]
        self._sums = torch.zeros(self._side, columns, classes)
        self._weights = torch.zeros(self._side, columns, 1)

    def add(self, scores: Tensor) -> Tensor:
        """Add the next row of windows.

        Args:
            scores: float32 [windows, h, w, C] in the order of `grid.columns`.

        Returns:
            float32 [r, W, C]: the blended token rows that no later window touches, from the upper end on; all that is
            left after the last row of windows.
        """
        weighted = scores * self._taper
        for column, window in zip(self.grid.columns, weighted, strict=True):
            first = column // self.grid.patch
            self._sums[:, first : first + self._side] += window
            self._weights[:, first : first + self._side] += self._taper
        rows, here = self.grid.rows, self.next_row
        self.next_row += 1
        done = self._side if self.next_row == len(rows) else (rows[here + 1] - rows[here]) // self.grid.patch
        finished = self._sums[:done] / self._weights[:done]
        for held in (self._sums, self._weights):
            held[: self._side - done] = held[done:].clone()
            held[self._side - done :] = 0
        return finished

    def state(self) -> dict[str, Tensor]:
        """What is needed to go on after `next_row` rows of windows."""
        return {"next_row": torch.tensor(self.next_row), "sums": self._sums.clone(), "weights": self._weights.clone()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()` of an accumulator of the same grid and number of classes."""
        self.next_row = int(state["next_row"])
        self._sums.copy_(state["sums"])
        self._weights.copy_(state["weights"])


@dataclass(frozen=True)
class DenseScorer:
    """Windows to class scores.

    Call with uint8 [B, 3, S, S]; returns cosines float32 [B, S / patch, S / patch, C] on the CPU.

    Attributes:
        encoder: in eval mode, on any device and in any precision.
        words: the classes.
        mode: how patch tokens are made.
        patch: side of a patch in pixels.
        window: side S of a window in pixels.
        bias_removal: see `graft.dense.remove_global_bias`; 0 leaves scores as they are.
    """

    encoder: nn.Module
    words: ClassWords
    mode: DenseMode
    patch: int
    window: int
    bias_removal: float = 0.0

    @torch.inference_mode()
    def __call__(self, tile: Tensor) -> Tensor:
        """Score the patch tokens of a batch of windows."""
        device = next(self.encoder.parameters()).device
        text = self.words.vectors.to(device).T
        seen = dense_features(self.encoder, tile.to(device), self.mode, pooled=bool(self.bias_removal))
        scores = seen.tokens @ text
        if seen.pooled is not None:
            scores = remove_global_bias(scores, seen.pooled @ text, self.bias_removal)
        return self.words.class_scores(scores.cpu())


def score_windows(
    scorer: DenseScorer,
    row: npt.NDArray[np.uint8],
    grid: WindowGrid,
    batch_size: int = 16,
    seen: npt.NDArray[np.bool_] | None = None,
) -> Tensor:
    """Score one row of windows.

    Args:
        scorer: see `DenseScorer`.
        row: uint8 [window, padded width, 3], the canvas under these windows.
        grid: the windows.
        batch_size: windows at a time.
        seen: bool [window, padded width], where there is data; a window without any is left at 0.

    Returns:
        float32 [windows, h, w, C].
    """
    canvas = torch.from_numpy(np.ascontiguousarray(row)).permute(2, 0, 1)
    wanted = [number for number, x in enumerate(grid.columns) if seen is None or seen[:, x : x + grid.window].any()]
    side = grid.window // grid.patch
    scores = torch.zeros(len(grid.columns), side, side, len(scorer.words.ids))
    if wanted:
        left = [grid.columns[number] for number in wanted]
        windows = torch.stack([canvas[:, :, x : x + grid.window] for x in left])
        scores[wanted] = torch.cat([scorer(batch) for batch in torch.split(windows, batch_size)])
    return scores


def score_array(
    pixels: npt.NDArray[np.uint8], scorer: DenseScorer, *, stride: int | None = None, batch_size: int = 16
) -> Tensor:
    """Class scores of an image in memory, on its token grid.

    Args:
        pixels: uint8 [H, W, 3], display values at the model's GSD.
        scorer: see `DenseScorer`.
        stride: between windows in pixels; half a window if None.
        batch_size: windows at a time.

    Returns:
        float32 [h, w, C], cosines; `upsample` brings them to pixels.
    """
    height, width = pixels.shape[:2]
    stride = default_stride(scorer.window, scorer.patch) if stride is None else stride
    grid = WindowGrid(height, width, scorer.window, stride, scorer.patch)
    missing = grid.padded[0] - height, grid.padded[1] - width
    padded = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    canvas = torch.from_numpy(np.ascontiguousarray(padded)).permute(2, 0, 1)
    places = list(product(grid.rows, grid.columns))
    accumulator = ScoreAccumulator(grid, len(scorer.words.ids))
    finished: list[Tensor] = []
    waiting: list[Tensor] = []  # a small image is one batch: rows of few windows each would take several times as long
    for first in range(0, len(places), batch_size):
        part = places[first : first + batch_size]
        waiting += scorer(torch.stack([canvas[:, y : y + grid.window, x : x + grid.window] for y, x in part]))
        while len(waiting) >= len(grid.columns):
            row, waiting = waiting[: len(grid.columns)], waiting[len(grid.columns) :]
            finished.append(accumulator.add(torch.stack(row)))
    return torch.cat(finished)


def default_stride(window: int, patch: int) -> int:
    """Half a window in whole patches."""
    return max(window // 2 // patch, 1) * patch


def token_data(seen: npt.NDArray[np.bool_], patch: int) -> Tensor:
    """Share of each patch that has data: bool [H, W] of whole patches to float32 [H / patch, W / patch]."""
    rows, columns = seen.shape[0] // patch, seen.shape[1] // patch
    return torch.from_numpy(seen.reshape(rows, patch, columns, patch).mean((1, 3), dtype=np.float32))


def weigh_by_data(tokens: Tensor, data: Tensor) -> Tensor:
    """Scores [h, w, C] and shares [h, w] as [h, w, C + 1] for `upsample_data`: scores times share, then the share."""
    return torch.cat([tokens * data[..., None], data[..., None]], dim=-1)


def upsample_data(
    weighed: Tensor, grid: WindowGrid, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> Tensor:
    """`upsample` of what `weigh_by_data` made: tokens without data have no say in the pixels beside them.

    Returns:
        float32 [C, rows, columns]; 0 where no token near has data.
    """
    planes = upsample(weighed, grid, size, rows, columns)
    data = planes[-1]
    return planes[:-1] / torch.where(data > 0, data, 1)


def upsample(
    tokens: Tensor, grid: WindowGrid, size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> Tensor:
    """Scores of a block of pixels, bilinear between the centres of tokens.

    Args:
        tokens: float32 [h, w, C], the token grid of `grid`.
        grid: whose unpadded canvas covers the image exactly.
        size: (H, W) of the image in its own pixels, of any GSD.
        rows: first and last (exclusive) pixel row of the block.
        columns: first and last (exclusive) pixel column.

    Returns:
        float32 [C, rows, columns].
    """
    upper, lower, down = _neighbours(rows, size[0], grid.height, grid.patch)
    left, right, across = _neighbours(columns, size[1], grid.width, grid.patch)
    first, last = int(upper[0]), int(lower[-1]) + 1
    near = tokens[first:last, int(left[0]) : int(right[-1]) + 1].permute(2, 0, 1)
    upper, lower, left, right = upper - first, lower - first, left - left[0], right - left[0]
    wide = torch.lerp(near[:, :, left], near[:, :, right], across)
    return torch.lerp(wide[:, upper], wide[:, lower], down[:, None])


def _neighbours(span: tuple[int, int], pixels: int, canvas: int, patch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens before and after each pixel centre, int64 [n] each, and the weight of the latter, float32 [n]."""
    centre = (torch.arange(*span, dtype=torch.float64) + 0.5) * canvas / pixels
    place = (centre / patch - 0.5).clamp(0, math.ceil(canvas / patch) - 1)
    before = place.floor()
    after = (before + 1).clamp(max=math.ceil(canvas / patch) - 1)
    return before.long(), after.long(), (place - before).float()
