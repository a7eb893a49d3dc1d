"""Zero-shot scores and the figures made of them: averages always stated, absent classes skipped and counted.

Every figure is a fraction of 1. Nothing here depends on the sign or the scale of a score, only on their order.
"""

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from graft.errors import GraftError


def zero_shot_scores(image_vectors: Tensor, text_vectors: Tensor) -> Tensor:
    """Cosine similarity of every image with every class.

    Args:
        image_vectors: float [N, D], any length and precision; normalised here.
        text_vectors: float [C, D], one vector per class; normalised here.

    Returns:
        float32 [N, C] in [-1, 1], in full precision also under autocast, where rounding would make ties.

    Raises:
        GraftError: the widths differ, or an image vector is not finite.
    """
    if image_vectors.shape[-1] != text_vectors.shape[-1]:
        raise GraftError(
            f"Image vectors have {image_vectors.shape[-1]} values and text vectors {text_vectors.shape[-1]}: they come "
            "from different models. Give the teacher or the text-vector file that the encoder was aligned to."
        )
    bad = int((~image_vectors.isfinite().all(dim=-1)).sum())
    if bad:
        raise GraftError(
            f"{bad} of {len(image_vectors)} image vectors hold values that are not finite, so they have no class. "
            "The weights are probably damaged or their training diverged: give another checkpoint."
        )
    with torch.autocast(image_vectors.device.type, enabled=False):
        image = functional.normalize(image_vectors.float(), dim=-1)
        text = functional.normalize(text_vectors.float(), dim=-1)
        return image @ text.T


def mean_direction(vectors: Tensor, mask: Tensor) -> Tensor:
    """Mean of the unit vectors of each row, renormalised: the photo ensemble of a place.

    Args:
        vectors: float [B, K, D], unit length.
        mask: bool [B, K], which vectors count; at least one per row.

    Returns:
        float32 [B, D], unit length.
    """
    return functional.normalize((vectors.float() * mask.unsqueeze(-1)).sum(dim=1), dim=-1)


def per_class_accuracy(confusion: Tensor) -> Tensor:
    """Share of each class's images that were given that class (recall).

    Args:
        confusion: int64 [C, C], rows are the true class, columns the predicted one.

    Returns:
        float64 [C]; NaN for a class without images.
    """
    return confusion.diagonal().double() / confusion.sum(dim=1)


def single_label_metrics(confusion: Tensor) -> dict[str, float]:
    """Top-1 accuracy under both averages.

    Args:
        confusion: int64 [C, C], rows are the true class, columns the predicted one.

    Returns:
        `top1` (micro: every image counts the same), `top1_macro` (every class that has images counts the same; this is
        balanced accuracy) and `classes_skipped`, the number of classes without images.

    Raises:
        GraftError: the matrix is empty.
    """
    if int(confusion.sum()) == 0:
        raise GraftError("No image was scored, so there is no accuracy. Check the data folder and the split file.")
    accuracy = per_class_accuracy(confusion)
    return {
        "top1": float(confusion.diagonal().sum().double() / confusion.sum()),
        "top1_macro": float(accuracy.nanmean()),
        "classes_skipped": float(accuracy.isnan().sum()),
    }


def average_precisions(scores: Tensor, relevant: Tensor) -> Tensor:
    """Average precision of each class over the full ranking of the images, without interpolation.

    AP = sum over distinct scores of (recall gained) * (precision there): images with equal scores stand at one place,
    whatever their order in the file (scikit-learn's `average_precision_score`).

    Args:
        scores: float [N, C].
        relevant: bool [N, C], which images have which class.

    Returns:
        float64 [C]; NaN for a class without positives.
    """
    columns = zip(scores.T.cpu().numpy(), relevant.bool().T.cpu().numpy(), strict=True)
    return torch.tensor(
        [average_precision_score(truth, score) if truth.any() else np.nan for score, truth in columns],
        dtype=torch.float64,
    )


def multilabel_metrics(scores: Tensor, relevant: Tensor) -> dict[str, float]:
    """Mean average precision under both averages.

    Args:
        scores: float [N, C].
        relevant: bool [N, C].

    Returns:
        `map_macro` (mean over the classes that have positives), `map_micro` (one ranking of all image-class pairs;
        classes without positives stay in it as wrong answers) and `classes_skipped`, the number without positives.

    Raises:
        GraftError: no image has any of the classes.
    """
    if not bool(relevant.any()):
        raise GraftError(
            f"None of the {len(relevant)} scored images has any of the classes, so there is no average precision. "
            "Check the data folder, the split file and the class ids of the prompt set."
        )
    precision = average_precisions(scores, relevant)
    return {
        "map_macro": float(precision.nanmean()),
        "map_micro": float(
            average_precision_score(relevant.bool().cpu().numpy().ravel(), scores.cpu().numpy().ravel())
        ),
        "classes_skipped": float(precision.isnan().sum()),
    }


def single_label_chance(classes: int) -> dict[str, float]:
    """What guessing among `classes` equally likely classes gives on average."""
    return {"top1": 1 / classes, "top1_macro": 1 / classes}


def multilabel_chance(relevant: Tensor) -> dict[str, float]:
    """What a ranking that knows nothing gives: the prevalence of the positives.

    Args:
        relevant: bool [N, C], with at least one positive.

    Returns:
        `map_macro` (mean prevalence of the classes that have positives) and `map_micro` (share of all pairs).
    """
    prevalence = relevant.double().mean(dim=0)
    return {"map_macro": float(prevalence[prevalence > 0].mean()), "map_micro": float(prevalence.mean())}


class Ranking(Metric):
    """Keeps the scores and labels of every image; processes are joined, nothing is averaged on the way.

    `compute()` gives (scores float32 [N, C], relevant bool [N, C]) for `multilabel_metrics`.
    """

    full_state_update = False
    scores: list[Tensor]
    relevant: list[Tensor]

    def __init__(self, classes: int) -> None:
        """Set up empty states.

        Args:
            classes: C.
        """
        super().__init__()
        self.classes = classes
        # Flat and of one dtype: a process that saw no image then still joins the gathering.
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("relevant", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, relevant: Tensor) -> None:
        """Add float [B, C] scores and bool [B, C] labels."""
        self.scores.append(scores.detach().float().flatten())
        self.relevant.append(relevant.float().flatten())

    def compute(self) -> tuple[Tensor, Tensor]:
        """All scores and labels seen so far, by all processes."""
        if isinstance(self.scores, list) and not self.scores:
            return torch.zeros(0, self.classes), torch.zeros(0, self.classes, dtype=torch.bool)
        scores = dim_zero_cat(self.scores)
        relevant = dim_zero_cat(self.relevant)
        return scores.view(-1, self.classes), relevant.view(-1, self.classes).bool()
