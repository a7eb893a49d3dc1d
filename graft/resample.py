"""Resampling along one axis as a small matrix: exact area means, or linear between pixel centres."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class AxisWeights:
    """How pixels first..last of a canvas axis are made of the pixels start..stop of the source.

    Attributes:
        start: first source pixel needed.
        stop: one past the last.
        matrix: float32 [last - first, stop - start], rows sum to 1; None where canvas and source are the same.
    """

    start: int
    stop: int
    matrix: npt.NDArray[np.float32] | None


def axis_weights(source: int, canvas: int, first: int, last: int) -> AxisWeights:
    """Weights of one axis.

    A canvas pixel that is larger than a source pixel is the mean over its own area; a smaller one lies on the line
    between the two nearest pixel centres. Neither depends on where the canvas is cut into blocks.

    Args:
        source: length of the source in pixels.
        canvas: length of the canvas in pixels; both cover the same ground.
        first: first canvas pixel wanted.
        last: one past the last.
    """
    if source == canvas:
        return AxisWeights(first, last, None)
    step = source / canvas
    if step > 1:
        begin = np.arange(first, last) * step
        end = np.minimum(begin + step, source)
        start, stop = int(begin[0]), int(np.ceil(end[-1]))
        pixel = np.arange(start, stop)
        overlap = np.minimum(end[:, None], pixel + 1) - np.maximum(begin[:, None], pixel)
        weights = np.maximum(overlap, 0)
    else:
        place = np.clip((np.arange(first, last) + 0.5) * step - 0.5, 0, source - 1)
        start, stop = int(place[0]), min(int(place[-1]) + 2, source)
        weights = np.maximum(1 - np.abs(place[:, None] - np.arange(start, stop)), 0)
    return AxisWeights(start, stop, (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))
