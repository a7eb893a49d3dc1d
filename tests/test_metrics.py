"""Figures on planted vectors with known answers, against definitions written out here, and across two processes."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor, distributed

from graft.errors import GraftError
from graft.metrics import (
    Ranking,
    average_precisions,
    mean_direction,
    multilabel_chance,
    multilabel_metrics,
    per_class_accuracy,
    single_label_chance,
    single_label_metrics,
    zero_shot_scores,
)
from graft.prompts import ensemble

SAMPLE_DATA = Path(os.environ.get("GRAFT_SAMPLE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def confusion_of(scores: Tensor, label: Tensor) -> Tensor:
    classes = scores.shape[1]
    pairs = label * classes + scores.argmax(dim=1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def defined_average_precision(score: np.ndarray, truth: np.ndarray) -> float:
    """Sum over distinct thresholds of (recall gained) * (precision), written as slowly as it is defined."""
    total, recall_before = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        chosen = score >= threshold
        recall = (chosen & truth).sum() / truth.sum()
        total += (recall - recall_before) * (chosen & truth).sum() / chosen.sum()
        recall_before = recall
    return total


def test_planted_vectors_have_known_accuracy() -> None:
    text = torch.eye(3, 5)
    # Three images of class 0 (one looks like 1), one of class 1; class 2 has none. Lengths must not matter.
    image = torch.stack([3 * text[0], 0.1 * text[0], text[1], 7 * text[1]])
    figures = single_label_metrics(confusion_of(zero_shot_scores(image, 9 * text), torch.tensor([0, 0, 0, 1])))
    assert figures == pytest.approx({"top1": 3 / 4, "top1_macro": (2 / 3 + 1) / 2, "classes_skipped": 1})


def test_scores_are_cosines_in_full_precision_under_autocast() -> None:
    image, text = torch.randn(8, 512), torch.randn(4, 512)
    expected = torch.nn.functional.cosine_similarity(image[:, None].double(), text[None].double(), dim=-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = zero_shot_scores(image, text)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores.double(), expected, atol=1e-6, rtol=0)


def test_scores_refuse_vectors_of_another_model() -> None:
    with pytest.raises(GraftError, match=r"have 4 values and text vectors 6"):
        zero_shot_scores(torch.randn(2, 4), torch.randn(3, 6))


def test_scores_refuse_vectors_that_are_not_finite() -> None:
    image = torch.randn(3, 4)
    image[1, 2] = torch.nan
    with pytest.raises(GraftError, match=r"1 of 3 image vectors"):
        zero_shot_scores(image, torch.randn(3, 4))


def test_per_class_accuracy_counts_rows() -> None:
    confusion = torch.tensor([[3, 1, 0], [2, 2, 0], [0, 0, 0]])
    accuracy = per_class_accuracy(confusion)
    assert accuracy[:2].tolist() == [0.75, 0.5]
    assert accuracy[2].isnan()


def test_accuracy_of_nothing_is_an_error() -> None:
    with pytest.raises(GraftError, match="No image was scored"):
        single_label_metrics(torch.zeros(3, 3, dtype=torch.int64))


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_with_ties_is_its_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    score = random.integers(0, 12, (80, 3)) / 8 - 0.7  # many ties, both signs
    truth = random.random((80, 3)) < (0.1, 0.5, 0.9)
    truth[0] = True
    ours = average_precisions(torch.tensor(score), torch.tensor(truth))
    expected = [defined_average_precision(score[:, c], truth[:, c]) for c in range(3)]
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_order_in_the_file_does_not_matter() -> None:
    truth = torch.tensor([[1], [1], [0], [0]], dtype=torch.bool)
    tied = torch.zeros(4, 1)
    first, last = average_precisions(tied, truth), average_precisions(tied, truth.flip(0))
    assert first.tolist() == last.tolist() == [0.5]


@pytest.mark.parametrize("change", [lambda s: s - 2, lambda s: s * 100, lambda s: (s + 1) / 2])
def test_scores_below_zero_and_of_any_scale_rank_the_same(change) -> None:  # noqa: ANN001
    torch.manual_seed(0)
    score, truth = torch.rand(60, 4) * 2 - 1, torch.rand(60, 4) < 0.3
    assert multilabel_metrics(change(score), truth) == pytest.approx(multilabel_metrics(score, truth), abs=1e-12)


def test_classes_without_positives_are_skipped_and_counted() -> None:
    truth = torch.tensor([[1, 0, 0], [0, 1, 0]], dtype=torch.bool)
    score = torch.tensor([[0.9, 0.3, 0.1], [0.1, 0.2, 0.5]])
    figures = multilabel_metrics(score, truth)
    # Class 0 is perfect, class 1 has its one positive second of two; class 2 does not count as 0.
    assert figures["map_macro"] == pytest.approx((1 + 0.5) / 2)
    assert figures["classes_skipped"] == 1
    # Micro ranks all six pairs: positives at ranks 1 and 4.
    assert figures["map_micro"] == pytest.approx((1 + 2 / 4) / 2)


def test_average_precision_of_nothing_is_an_error() -> None:
    with pytest.raises(GraftError, match="None of the 4 scored images"):
        multilabel_metrics(torch.rand(4, 3), torch.zeros(4, 3, dtype=torch.bool))


def test_chance_is_what_knowing_nothing_gives() -> None:
    torch.manual_seed(0)
    truth = torch.rand(4000, 3) < torch.tensor([0.1, 0.5, 0.0])
    chance = multilabel_chance(truth)
    constant = multilabel_metrics(torch.zeros(4000, 3), truth)
    assert chance == pytest.approx({name: constant[name] for name in chance})
    drawn = multilabel_metrics(torch.rand(4000, 3), truth)
    assert chance == pytest.approx({name: drawn[name] for name in chance}, abs=0.02)
    assert single_label_chance(8) == {"top1": 0.125, "top1_macro": 0.125}


def test_mean_direction_ignores_masked_photos() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]])
    mean = mean_direction(vectors, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(mean, torch.full((1, 2), 0.5**0.5))


def _joined_by_two(rank: int, rendezvous: str, score: Tensor, truth: Tensor) -> None:
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    try:
        uneven, empty = Ranking(score.shape[1]), Ranking(score.shape[1])
        for row in range(rank, len(score), 2):
            uneven.update(score[row : row + 1], truth[row : row + 1])
        if rank == 1:
            empty.update(score, truth)
        expected = multilabel_metrics(score, truth)
        assert len(uneven.compute()[0]) == len(score)
        for metric in (uneven, empty):
            assert multilabel_metrics(*metric.compute()) == pytest.approx(expected)
    finally:
        distributed.destroy_process_group()


def test_two_processes_rank_together_even_if_one_saw_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    score, truth = torch.rand(7, 3), torch.rand(7, 3) < 0.5
    truth[0] = True
    mp.spawn(_joined_by_two, args=(f"file://{tmp_path}/rendezvous", score, truth), nprocs=2)


@pytest.mark.skipif(not SAMPLE_DATA.is_dir(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)")
def test_golden_number_of_real_clip_vectors() -> None:
    """81.3 % top-1: OpenAI's CLIP ViT-B/32 on WHU-RS19 with an ensemble of 107 templates (RS-TransCLIP)."""
    with np.load(SAMPLE_DATA / "whu_rs19" / "clip_vit_b_32.npz", allow_pickle=False) as file:
        image = torch.from_numpy(file["CLIP__ViT-B-32__image"])
        text = torch.from_numpy(file["CLIP__ViT-B-32__text"])
        label = torch.from_numpy(file["labels"])
    figures = single_label_metrics(confusion_of(zero_shot_scores(image, ensemble(text)), label))
    print(f"\nWHU-RS19, CLIP ViT-B/32: {figures}")
    assert len(label) == 1005
    assert figures["top1"] == pytest.approx(0.813, abs=5e-4)
    assert figures["top1_macro"] == pytest.approx(0.819, abs=5e-4)
    each = [single_label_metrics(confusion_of(zero_shot_scores(image, one), label))["top1"] for one in text]
    print(f"single templates: mean {np.mean(each):.4f}, {min(each):.3f} to {max(each):.3f}")
    assert np.mean(each) == pytest.approx(0.7757, abs=5e-4)
