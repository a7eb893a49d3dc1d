"""Figures of a segmentation: pooled over all pixels of a set, averages always stated.

Every figure is a fraction of 1 and made of one confusion matrix, or one histogram of scores, over the whole set; a mean
of per-image figures would be another number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from graft.errors import GraftError
from graft.metrics import per_class_accuracy

IGNORED = 255
"""Label of pixels that are not scored."""
BINS = 1 << 14
"""Bins of scores in [-1, 1]: 1.2e-4 each. Scores in one bin count as equal."""


def per_class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each class.

    Args:
        confusion: int64 [C, C], rows are the true class, columns the predicted one.

    Returns:
        float64 [C]; 0 for a class that is only predicted, NaN for one that is in neither prediction nor truth.
    """
    both = confusion.diagonal().double()
    return both / (confusion.sum(dim=0) + confusion.sum(dim=1) - both)


def named(prefix: str, ids: Sequence[str], values: Tensor) -> dict[str, float]:
    """`<prefix>_<class>` for float [C] values, without those that are NaN."""
    return {f"{prefix}_{label}": v for label, v in zip(ids, values.tolist(), strict=True) if v == v}


def segmentation_metrics(confusion: Tensor) -> dict[str, float]:
    """Pooled figures.

    Args:
        confusion: int64 [C, C] pixels, rows are the true class, columns the predicted one.

    Returns:
        `miou` (mean over the classes that occur in prediction or truth), `accuracy` (micro: share of pixels),
        `accuracy_macro` (mean over the classes that occur in the truth) and `classes_skipped`, the number of classes
        that occur in neither.

    Raises:
        GraftError: the matrix is empty.
    """
    total = confusion.sum()
    if int(total) == 0:
        raise GraftError(
            "No pixel was scored: every scene was left out, or all of its labels are ignored. "
            "Check the data folder, the split and the label profile."
        )
    iou = per_class_iou(confusion)
    return {
        "miou": float(iou.nanmean()),
        "accuracy": float(confusion.diagonal().sum().double() / total),
        "accuracy_macro": float(per_class_accuracy(confusion).nanmean()),
        "classes_skipped": float(iou.isnan().sum()),
    }


def uniform_chance(pixels: Tensor) -> dict[str, float]:
    """What guessing gives that draws each pixel's class independently and uniformly from all C.

    With p the share of a class in the truth, p / C of all pixels are right and p + 1 / C - p / C are in the union, so
    that IoU = p / (1 + p (C - 1)), exact over many pixels. A class that is not in the truth is predicted and scores 0.

    Args:
        pixels: int64 [C], pixels of each class in the truth; at least one.

    Returns:
        `miou` (mean over all classes), `accuracy`, `accuracy_macro` and `map_macro` (mean share of the classes that
        occur: the average precision of a ranking that knows nothing).
    """
    classes = len(pixels)
    share = pixels.double() / pixels.sum()
    return {
        "miou": float((share / (1 + share * (classes - 1))).mean()),
        "accuracy": 1 / classes,
        "accuracy_macro": 1 / classes,
        "map_macro": float(share[share > 0].mean()),
    }


def histogram_average_precisions(positive: Tensor, negative: Tensor) -> Tensor:
    """Average precision of each class over the ranking of all pixels, without interpolation.

    AP = sum over bins from the highest score down of (recall gained) * (precision there), as scikit-learn's
    `average_precision_score` of scores rounded to their bin.

    Args:
        positive: int64 [C, BINS], pixels of the class by score.
        negative: int64 [C, BINS], pixels of other classes by score.

    Returns:
        float64 [C]; NaN for a class without pixels.
    """
    gained = positive.flip(1).double()
    right = gained.cumsum(dim=1)
    precision = right / (positive + negative).flip(1).double().cumsum(dim=1).clamp(min=1)
    return (gained * precision).sum(dim=1) / right[:, -1]


class ScoreHistogram(Metric):
    """Counts pixels by class and score, so that memory does not grow with their number; processes join by sum.

    `compute()` gives (positive, negative), int64 [C, BINS] each, for `histogram_average_precisions`.
    """

    full_state_update = False
    positive: Tensor
    negative: Tensor

    def __init__(self, classes: int) -> None:
        """Set up empty states.

        Args:
            classes: C.
        """
        super().__init__()
        for name in ("positive", "negative"):
            empty = torch.zeros(classes, BINS, dtype=torch.int64)
            self.add_state(name, default=empty, dist_reduce_fx="sum")

    def update(self, scores: Tensor, truth: Tensor) -> None:
        """Add pixels.

        Args:
            scores: float [C, ...] in [-1, 1]; what lies outside counts as the end of the range.
            truth: int64 [...], class indices or `IGNORED`.
        """
        known = truth != IGNORED
        label = truth[known]
        for index, values in enumerate(scores):
            place = ((values[known].float() + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)
            every = torch.bincount(place, minlength=BINS)
            own = torch.bincount(place[label == index], minlength=BINS)
            self.positive[index] += own
            self.negative[index] += every - own

    def compute(self) -> tuple[Tensor, Tensor]:
        """Counts of all pixels seen so far, by all processes."""
        return self.positive, self.negative


@dataclass(frozen=True)
class SegmentationFigures:
    """Counts of a whole set, and what they say.

    Attributes:
        pixels: int64 [C, C] confusion of pixels, rows are the true class.
        tokens: int64 [C, C] confusion of patch tokens.
        average_precision: float64 [C] over pixels; NaN for a class without pixels.
    """

    pixels: Tensor
    tokens: Tensor
    average_precision: Tensor

    def metrics(self) -> dict[str, float]:
        """Figures over all classes.

        Returns:
            `segmentation_metrics` of the pixels; `map_macro`, the mean over the classes that occur in the truth;
            `miou_token` and `accuracy_token`, of the tokens, unless all of them are ignored.
        """
        figures = segmentation_metrics(self.pixels) | {"map_macro": float(self.average_precision.nanmean())}
        if int(self.tokens.sum()):
            of_tokens = segmentation_metrics(self.tokens)
            figures |= {f"{name}_token": of_tokens[name] for name in ("miou", "accuracy")}
        return figures

    def per_class(self, ids: Sequence[str]) -> dict[str, float]:
        """`iou_<class>` and `ap_<class>` of the classes that have one."""
        return named("iou", ids, per_class_iou(self.pixels)) | named("ap", ids, self.average_precision)

    def details(self, ids: Sequence[str]) -> dict[str, list[Any]]:
        """Lists over classes for a JSON file; None where a class has no figure."""
        columns = {"iou": per_class_iou(self.pixels), "average_precision": self.average_precision}
        figures = {name: [None if v != v else v for v in values.tolist()] for name, values in columns.items()}
        pixels, confusion = self.pixels.sum(dim=1).tolist(), self.pixels.tolist()
        return {"classes": list(ids), "pixels": pixels, "confusion": confusion, **figures}


class SegmentationScore(nn.Module):
    """Everything that is counted of one model: pixels, tokens and rankings; processes join by sum."""

    def __init__(self, classes: int) -> None:
        """Start from zero.

        Args:
            classes: C.
        """
        super().__init__()
        self.pixels, self.tokens = pixel_confusion(classes), pixel_confusion(classes)
        self.ranked = ScoreHistogram(classes)

    @property
    def device(self) -> torch.device:
        """Where the counts are."""
        return self.ranked.positive.device

    def add_pixels(self, scores: Tensor, truth: Tensor) -> Tensor:
        """Add float [C, ...] scores in [-1, 1] and int64 [...] labels of pixels; returns the best classes, [...]."""
        best = scores.argmax(dim=0)
        self.pixels.update(best, truth)
        self.ranked.update(scores, truth)
        return best

    def add_tokens(self, scores: Tensor, truth: Tensor) -> None:
        """Add float [..., C] scores and int64 [...] labels of tokens."""
        self.tokens.update(scores.argmax(dim=-1), truth)

    def compute(self) -> SegmentationFigures:
        """Counts of all scenes seen so far, by all processes: a collective call."""
        precision = histogram_average_precisions(*self.ranked.compute())
        return SegmentationFigures(self.pixels.compute().cpu(), self.tokens.compute().cpu(), precision.cpu())


def pixel_confusion(classes: int) -> MulticlassConfusionMatrix:
    """Counts int64 [C, C] over a whole set, without the pixels labelled `IGNORED`; processes join by sum."""
    return MulticlassConfusionMatrix(classes, ignore_index=IGNORED, validate_args=False)
