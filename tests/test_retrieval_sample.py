"""Golden numbers of a search with CLIP's real vectors, where the sample folder is there.

Labels are exact; which picture of a class a vector is of is not, and nothing here depends on it.
"""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from graft.metrics import zero_shot_scores
from graft.prompts import ensemble
from graft.retrieval_metrics import class_chance, class_figures, mean_figures
from tests.test_metrics import SAMPLE_DATA

VECTORS = SAMPLE_DATA / "whu_rs19" / "clip_vit_b_32.npz"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VECTORS.is_file(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)"),
]
# OpenAI's CLIP ViT-B/32 on the 1,005 tiles and 19 classes of WHU-RS19, the mean text vector of 107 templates.
GOLDEN = {
    "map": 0.71859,
    "map_at_20_hits": 0.87285,
    "map_at_20_min": 0.77046,
    "map_at_100_hits": 0.77489,
    "map_at_100_min": 0.67452,
    "precision_at_20": 0.83684,
    "precision_at_100": 0.43947,
    "classes_skipped": 0,
}


def unit(vectors: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    double = vectors.astype(np.float64)
    return double / np.linalg.norm(double, axis=-1, keepdims=True)


def plain(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> dict[str, float]:
    """The same in numpy, written from the definitions; there are no ties."""
    found: dict[str, list[float]] = {}
    for column, relevant in zip(scores.T, truth.T, strict=True):
        hits = relevant[np.argsort(-column)]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        found.setdefault("map", []).append((precision * hits).sum() / hits.sum())
        for k in (20, 100):
            gained = (precision * hits)[:k].sum()
            found.setdefault(f"map_at_{k}_hits", []).append(gained / max(hits[:k].sum(), 1))
            found.setdefault(f"map_at_{k}_min", []).append(gained / min(hits.sum(), k))
            found.setdefault(f"precision_at_{k}", []).append(hits[:k].sum() / k)
    return {name: float(np.mean(values)) for name, values in found.items()}


def test_golden_numbers_of_class_words() -> None:
    with np.load(VECTORS, allow_pickle=False) as file:
        image, text, labels = (file[name] for name in ("CLIP__ViT-B-32__image", "CLIP__ViT-B-32__text", "labels"))
    truth = labels[:, None] == np.arange(19)
    scores = zero_shot_scores(torch.from_numpy(image), ensemble(torch.from_numpy(text)))
    figures = mean_figures(class_figures(scores, torch.from_numpy(truth)))
    chance = mean_figures(class_chance(torch.from_numpy(truth)))
    print(f"\nWHU-RS19, CLIP ViT-B/32: {figures}\nchance: {chance}")

    words = unit(unit(text).mean(axis=0))
    assert figures == pytest.approx({**plain(unit(image) @ words.T, truth), "classes_skipped": 0}, abs=1e-4)
    assert figures == pytest.approx(GOLDEN, abs=1e-4)
