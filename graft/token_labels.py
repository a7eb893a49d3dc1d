"""Truth on the token grid: what a model that names whole patches can know of a label map."""

import numpy as np
import numpy.typing as npt

from graft.segmentation_metrics import IGNORED
from graft.sliding import WindowGrid


def _tokens_of(length: int, canvas: int, patch: int) -> npt.NDArray[np.int64]:
    """The token that each of `length` pixels lies in, by its centre."""
    return (((np.arange(length) + 0.5) * canvas / length) // patch).astype(np.int64)


def token_counts(label: npt.NDArray[np.uint8], grid: WindowGrid, classes: int) -> npt.NDArray[np.int64]:
    """Pixels of each class in each token's patch.

    Args:
        label: uint8 [H, W], class indices or `IGNORED`, of any GSD, covering the unpadded canvas.
        grid: the windows over the canvas.
        classes: C.

    Returns:
        int64 [h, w, C + 1], ignored pixels last; all zero where a token lies in the padding.
    """
    height, width = grid.token_shape
    counts = np.zeros((height, width * (classes + 1)), np.int64)
    across = _tokens_of(label.shape[1], grid.width, grid.patch) * (classes + 1)
    down = _tokens_of(label.shape[0], grid.height, grid.patch)
    for row in np.unique(down):
        seen = np.minimum(label[down == row], classes) + across
        counts[row] = np.bincount(seen.ravel(), minlength=counts.shape[1])
    return counts.reshape(height, width, classes + 1)


def token_majority(counts: npt.NDArray[np.int64], *, strict: bool) -> npt.NDArray[np.uint8]:
    """The most frequent class of each token, the lowest index where several are.

    Args:
        counts: int64 [h, w, C + 1] of `token_counts`.
        strict: whether a token is ignored if more than half of its pixels are; else only if all are.

    Returns:
        uint8 [h, w], class indices or `IGNORED`.
    """
    labelled, ignored = counts[..., :-1], counts[..., -1]
    known = labelled.sum(-1)
    dropped = (known == 0) | (strict & (ignored > known))
    return np.where(dropped, IGNORED, labelled.argmax(-1)).astype(np.uint8)


def paint_tokens(tokens: npt.NDArray[np.uint8], grid: WindowGrid, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Each token's class over its whole patch: uint8 [h, w] to uint8 [H, W], pixels of an image of `size`."""
    down, across = _tokens_of(size[0], grid.height, grid.patch), _tokens_of(size[1], grid.width, grid.patch)
    painted: npt.NDArray[np.uint8] = tokens[down[:, None], across]
    return painted
