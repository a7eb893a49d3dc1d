"""Confidence intervals by the percentile bootstrap: images are drawn again, with replacement (Efron, 1979).

95 % of the resampled figures lie inside an interval. It speaks of the choice of test images alone: not of prompts,
seeds of training or ground that the benchmark does not cover.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor

RESAMPLES, LEVEL, SEED = 1_000, 0.95, 0
_LEAST, _WORK = 100, 2_000_000_000
Interval = tuple[float, float]


def accuracy_intervals(confusion: Tensor) -> dict[str, Interval]:
    """Intervals of `top1` and `top1_macro`.

    Drawing N images again is drawing cells of the confusion matrix by their shares: nothing need be kept of an image.

    Args:
        confusion: counts [C, C], truth in rows.
    """
    counts = confusion.double().cpu().numpy()
    total, classes = int(counts.sum()), len(counts)
    if not total:
        return {}
    drawn = np.random.default_rng(SEED).multinomial(total, (counts / counts.sum()).ravel(), RESAMPLES)
    drawn = drawn.reshape(RESAMPLES, classes, classes)
    right, images = np.einsum("rcc->rc", drawn).astype(float), drawn.sum(axis=2)
    per_class = np.divide(right, images, out=np.full_like(right, np.nan), where=images > 0)
    return {"top1": _interval(right.sum(axis=1) / total), "top1_macro": _interval(np.nanmean(per_class, axis=1))}


def ranking_intervals(scores: Tensor, relevant: Tensor) -> dict[str, Interval]:
    """Interval of `map_macro`, over the classes that have positives.

    Args:
        scores: float [N, C].
        relevant: bool [N, C].
    """
    truth = relevant.cpu().numpy()
    truth, ranked = truth[:, truth.any(axis=0)], scores.float().cpu().numpy()[:, truth.any(axis=0)]
    images, classes = truth.shape
    if not truth.size:
        return {}
    resamples = int(np.clip(_WORK // (images * classes), _LEAST, RESAMPLES))
    rng = np.random.default_rng(SEED)
    orders = [_Order(ranked[:, k], truth[:, k]) for k in range(classes)]
    even = np.full(images, 1 / images)
    found = []
    for _ in range(resamples):
        weights = rng.multinomial(images, even)
        values = [order.average_precision(weights) for order in orders]
        found.append(np.nanmean(values) if not np.isnan(values).all() else np.nan)
    return {"map_macro": _interval(np.array(found))}


class _Order:
    """A class's ranking; ties count as one threshold, as in `graft.metrics`."""

    def __init__(self, scores: npt.NDArray[np.float32], relevant: npt.NDArray[np.bool_]) -> None:
        self.order = np.argsort(-scores, kind="stable")
        falling = scores[self.order]
        self.last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
        self.relevant = relevant[self.order]

    def average_precision(self, weights: npt.NDArray[np.int64]) -> float:
        """Of images that count as often as `weights` says; nan where no positive was drawn."""
        drawn = weights[self.order]
        seen = np.cumsum(drawn)[self.last]
        hits = np.cumsum(drawn * self.relevant)[self.last]
        if not hits[-1]:
            return float("nan")
        precision = hits / np.maximum(seen, 1)
        return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def _interval(values: npt.NDArray[np.float64]) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return float(low), float(high)
