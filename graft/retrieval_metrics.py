"""How well words find tiles: average precision under three definitions, and precision, at a cut of the ranking.

Every figure is a fraction of 1 and depends on the order of the scores alone, not on their sign or scale.

Equal scores have no order. At a cut, a figure is its mean over all orders of the tied tiles, each as likely as the
others, in closed form; so the order of the files never counts, and what a ranking that knows nothing gives (chance)
is the same formula with all tiles tied. Average precision over the full ranking follows scikit-learn, which reads tied
tiles as one place (`graft.metrics.average_precisions`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import hypergeom
from torch import Tensor

from graft.errors import GraftError
from graft.metrics import average_precisions

CUTS = (20, 100)


@dataclass(frozen=True)
class CutFigures:
    """One query's figures over the first k ranks of a gallery with R relevant tiles.

    With r_i = 1 where rank i is relevant and P@i the share of relevant tiles among the first i, S = sum over i <= k of
    r_i P@i. What papers call mAP@k is the mean over queries of one of the first three.

    Attributes:
        hits: S / (relevant tiles among the first k), 0 where there is none (torchmetrics).
        least: S / min(R, k).
        all: S / R.
        precision: (relevant tiles among the first k) / k, also where the gallery is smaller than k.
    """

    hits: float
    least: float
    all: float
    precision: float


def figures_at(scores: npt.NDArray[np.float32], relevant: npt.NDArray[np.bool_], k: int) -> CutFigures:
    """Figures of one query at a cut, the mean over all orders of tied tiles.

    Args:
        scores: float [N], finite, higher is better.
        relevant: bool [N], with at least one True.
        k: the cut, at least 1.
    """
    reached = scores >= np.partition(scores, len(scores) - k)[len(scores) - k] if k < len(scores) else slice(None)
    _, place, sizes = np.unique(-scores[reached], return_inverse=True, return_counts=True)
    positives = np.bincount(place, weights=relevant[reached], minlength=len(sizes)).astype(np.int64)
    return _expected(sizes, positives, int(relevant.sum()), k)


def chance_at(tiles: int, relevant: int, k: int) -> CutFigures:
    """Mean figures of a random ranking at a cut.

    Args:
        tiles: N.
        relevant: R, 1..N.
        k: the cut; N gives the full ranking, where `all` is the mean average precision.
    """
    return _expected(np.array([tiles]), np.array([relevant]), relevant, k)


def _expected(sizes: npt.NDArray[np.int64], positives: npt.NDArray[np.int64], relevant: int, k: int) -> CutFigures:
    """Mean figures over the orders within groups of tied tiles.

    Args:
        sizes: int [G], tiles in each group, best first, as far as the cut reaches.
        positives: int [G], relevant ones among them.
        relevant: R.
        k: the cut.
    """
    before = np.cumsum(sizes) - sizes
    inside = np.minimum(sizes, k - before)  # ranks of each group above the cut: all, but for the last group
    found = int(positives[:-1].sum())  # relevant tiles above the last group, certain to be above the cut
    head = _weighted(sizes[:-1], positives[:-1], sizes[:-1], before[:-1])
    last = inside[-1:]
    chosen = np.arange(min(positives[-1], last[0]) + 1)
    share = hypergeom(sizes[-1], positives[-1], last[0]).pmf(chosen) if last[0] < sizes[-1] else None
    if share is None:
        chosen, share = positives[-1:], np.ones(1)
    # Given how many of the last group are above the cut, they are spread over its ranks in every order alike.
    tails = np.array([_weighted(last, np.array([x]), last, before[-1:], found) for x in chosen])
    hits, total = found + chosen, head + tails
    mean = float(share @ total)
    return CutFigures(
        hits=float(share @ np.divide(total, hits, out=np.zeros_like(total), where=hits > 0)),
        least=mean / min(relevant, k),
        all=mean / relevant,
        precision=float(share @ hits) / k,
    )


def _weighted(
    sizes: npt.NDArray[np.int64],
    positives: npt.NDArray[np.int64],
    ranks: npt.NDArray[np.int64],
    before: npt.NDArray[np.int64],
    found: int = 0,
) -> float:
    """Mean of the sum of r_i P@i over the ranks of whole groups.

    At place j of a group of m tiles, p of them relevant, behind a tiles with h relevant ones:
    E[r_i P@i] = p/m (h + 1 + (j - 1)(p - 1)/(m - 1)) / (a + j).
    """
    group = np.repeat(np.arange(len(sizes)), ranks)
    size, positive, start = sizes[group], positives[group], before[group]
    above = (found + np.cumsum(positives) - positives)[group]
    place = np.arange(len(group)) - np.repeat(np.cumsum(ranks) - ranks, ranks)
    beside = place * (positive - 1) / np.maximum(size - 1, 1)
    return float((positive / size * (above + 1 + beside) / (start + place + 1)).sum())


def class_figures(scores: Tensor, relevant: Tensor) -> dict[str, Tensor]:
    """Figures of each class as a query for the tiles that have it.

    Args:
        scores: float [N, C].
        relevant: bool [N, C].

    Returns:
        float64 [C] each, NaN for a class without positives: `map` (average precision over the full ranking) and, for k
        of `CUTS`, `map_at_<k>_hits`, `map_at_<k>_min` and `precision_at_<k>`; see `CutFigures`.
    """
    table, truth = scores.float().cpu().numpy(), relevant.bool().cpu().numpy()
    columns = [
        {k: figures_at(table[:, c], truth[:, c], k) for k in CUTS} if truth[:, c].any() else None
        for c in range(truth.shape[1])
    ]
    return {"map": average_precisions(scores, relevant), **_by_name(columns)}


def class_chance(relevant: Tensor) -> dict[str, Tensor]:
    """What a random ranking gives on average for each class: the names of `class_figures`.

    Args:
        relevant: bool [N, C].

    Returns:
        float64 [C] each; NaN for a class without positives.
    """
    tiles, counts = len(relevant), relevant.sum(dim=0).tolist()
    full = [chance_at(tiles, count, tiles).all if count else np.nan for count in counts]
    columns = [{k: chance_at(tiles, count, k) for k in CUTS} if count else None for count in counts]
    return {"map": torch.tensor(full, dtype=torch.float64), **_by_name(columns)}


def _by_name(columns: list[dict[int, CutFigures] | None]) -> dict[str, Tensor]:
    names = {"map_at_{}_hits": "hits", "map_at_{}_min": "least", "precision_at_{}": "precision"}
    return {
        name.format(k): torch.tensor(
            [np.nan if column is None else getattr(column[k], what) for column in columns], dtype=torch.float64
        )
        for name, what in names.items()
        for k in CUTS
    }


def mean_figures(of_classes: dict[str, Tensor]) -> dict[str, float]:
    """Mean over the classes that have positives, and `classes_skipped`, the number without.

    Args:
        of_classes: float64 [C] each, NaN for a class without positives, as `class_figures` gives them.

    Raises:
        GraftError: no class has positives.
    """
    skipped = of_classes["map"].isnan()
    if bool(skipped.all()):
        raise GraftError(
            "No tile that could be read has any of the classes, so there is nothing to find. Check the data folder, "
            "the split file and the class ids of the prompt set."
        )
    means = {name: float(values.nanmean()) for name, values in of_classes.items()}
    return means | {"classes_skipped": float(skipped.sum())}
