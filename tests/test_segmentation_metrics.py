"""Figures of a segmentation against torchmetrics and scikit-learn, and the truth on the token grid."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from graft.errors import GraftError
from graft.labelmaps import LabelledScene
from graft.palette import palette
from graft.scene_scores import canvas_of, join_families, pixel_bands, scene_truth, to_size
from graft.segmentation_metrics import (
    BINS,
    IGNORED,
    ScoreHistogram,
    SegmentationScore,
    histogram_average_precisions,
    per_class_iou,
    segmentation_metrics,
    uniform_chance,
)
from graft.segmentation_picture import save_scene_png
from graft.sliding import WindowGrid, upsample
from graft.token_labels import paint_tokens, token_counts, token_majority
from graft.words import ClassWords


def scores_and_truth(classes: int, pixels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Scores [C, N] that know something of the truth [N], of which a tenth is ignored."""
    random = torch.Generator().manual_seed(seed)
    truth = torch.randint(classes, (pixels,), generator=random)
    scores = torch.randn(classes, pixels, generator=random) * 0.05 + 0.2
    scores[truth, torch.arange(pixels)] += 0.05
    truth[torch.rand(pixels, generator=random) < 0.1] = IGNORED
    return scores, truth


def counted(classes: int, scores: Tensor, truth: Tensor, parts: int = 1) -> SegmentationScore:
    score = SegmentationScore(classes)
    for some, labels in zip(scores.chunk(parts, dim=1), truth.chunk(parts), strict=True):
        score.add_pixels(some, labels)
    return score


# --- pooled figures -------------------------------------------------------------------------------


def test_iou_is_torchmetrics_pooled_macro() -> None:
    scores, truth = scores_and_truth(5, 4000)
    truth[truth == 3] = 2  # class 3 is predicted and never true: 0; class 4 is in neither: left out
    scores[4] = -1
    truth[truth == 4] = 0
    figures = counted(5, scores, truth, parts=4).compute()
    peer = MulticlassJaccardIndex(5, average="macro", ignore_index=IGNORED, zero_division=0)
    assert figures.metrics()["miou"] == pytest.approx(float(peer(scores.argmax(0), truth)), abs=1e-6)
    assert per_class_iou(figures.pixels)[3] == 0
    assert math.isnan(per_class_iou(figures.pixels)[4])
    assert figures.metrics()["classes_skipped"] == 1
    assert set(figures.per_class("abcde")) == {
        *(f"iou_{label}" for label in "abcd"),
        *(f"ap_{label}" for label in "abc"),
    }


def test_pooled_is_not_the_mean_over_scenes() -> None:
    confusion = torch.tensor([[8, 2], [0, 10]])
    assert segmentation_metrics(confusion) == pytest.approx(
        {"miou": (8 / 10 + 10 / 12) / 2, "accuracy": 18 / 20, "accuracy_macro": 0.9, "classes_skipped": 0}
    )


def test_nothing_scored_is_an_error() -> None:
    score = counted(3, torch.zeros(3, 4), torch.full((4,), IGNORED))
    with pytest.raises(GraftError, match="No pixel was scored"):
        score.compute().metrics()


def test_states_of_processes_add_up() -> None:
    scores, truth = scores_and_truth(4, 1000)
    whole = counted(4, scores, truth)
    left, right = counted(4, scores[:, :300], truth[:300]), counted(4, scores[:, 300:], truth[300:])
    for name in ("pixels", "ranked"):
        for state, reduce in getattr(whole, name)._reductions.items():
            assert reduce is not None
            both = torch.stack([getattr(getattr(part, name), state) for part in (left, right)])
            assert torch.equal(reduce(both), getattr(getattr(whole, name), state))


def test_chance_is_what_a_uniform_guess_gives() -> None:
    pixels = torch.tensor([600_000, 300_000, 100_000, 0])
    truth = torch.repeat_interleave(torch.arange(4), pixels)
    random = torch.Generator().manual_seed(1)
    guess = torch.randint(4, truth.shape, generator=random)
    confusion = torch.bincount(truth * 4 + guess, minlength=16).view(4, 4)
    chance, measured = uniform_chance(pixels), segmentation_metrics(confusion)
    assert {k: chance[k] for k in ("miou", "accuracy", "accuracy_macro")} == pytest.approx(
        {k: measured[k] for k in ("miou", "accuracy", "accuracy_macro")}, abs=2e-3
    )
    assert chance["map_macro"] == pytest.approx((0.6 + 0.3 + 0.1) / 3)


# --- average precision ----------------------------------------------------------------------------


def precisions(scores: Tensor, truth: Tensor) -> tuple[list[float], list[float]]:
    """Ours from histograms, and scikit-learn's on the scores themselves."""
    histogram = ScoreHistogram(len(scores))
    histogram.update(scores, truth)
    known = truth != IGNORED
    peer = [average_precision_score(truth[known] == k, values[known].numpy()) for k, values in enumerate(scores)]
    return histogram_average_precisions(*histogram.compute()).tolist(), peer


def test_average_precision_is_scikit_learns_within_a_bin() -> None:
    ours, peer = precisions(*scores_and_truth(6, 20_000))
    assert ours == pytest.approx(peer, abs=1e-3)


def test_average_precision_of_scores_at_bin_centres_is_exact() -> None:
    scores, truth = scores_and_truth(4, 3000)
    centres = ((scores + 1) * 64).floor().add(0.5) / 64 - 1  # 128 values: many ties
    ours, peer = precisions(centres, truth)
    assert ours == pytest.approx(peer, abs=1e-12)


def test_scores_outside_the_range_stand_at_its_ends() -> None:
    histogram = ScoreHistogram(1)
    histogram.update(torch.tensor([[-1.3, 1.0, 1.3]]), torch.tensor([0, 0, 1]))
    positive, negative = histogram.compute()
    assert (positive[0, 0], positive[0, -1], negative[0, -1]) == (1, 1, 1)
    assert positive.shape == (1, BINS)


def test_a_class_without_pixels_has_no_average_precision() -> None:
    scores, truth = scores_and_truth(3, 100)
    truth[truth == 2] = 1
    figures = counted(3, scores, truth).compute()
    assert math.isnan(figures.average_precision[2])
    assert figures.metrics()["map_macro"] == pytest.approx(float(figures.average_precision[:2].mean()))


# --- truth on the token grid ----------------------------------------------------------------------


def test_majority_of_each_patch_ties_and_ignored_pixels() -> None:
    label = np.full((4, 12), IGNORED, np.uint8)
    label[:, :4] = [[1, 1, 0, 0]] * 4  # a tie: the lowest index
    label[:2, 4:8] = 2  # half ignored: still scored
    label[0, 8:12] = 1  # three quarters ignored
    grid = WindowGrid(4, 12, window=8, stride=4, patch=4)
    counts = token_counts(label, grid, 3)
    assert counts.shape == (2, 3, 4)
    assert token_majority(counts, strict=True).tolist() == [[0, 2, IGNORED], [IGNORED] * 3]  # below: padding
    assert token_majority(counts, strict=False).tolist() == [[0, 2, 1], [IGNORED] * 3]


def test_tokens_of_a_resampled_scene_cover_their_ground() -> None:
    label = np.arange(36, dtype=np.uint8).reshape(6, 6).repeat(10, 0).repeat(10, 1)  # 60 px on a canvas of 24 px
    grid = WindowGrid(24, 24, window=24, stride=24, patch=4)
    majority = token_majority(token_counts(label, grid, 36), strict=True)
    np.testing.assert_array_equal(majority, np.arange(36).reshape(6, 6))
    np.testing.assert_array_equal(paint_tokens(majority, grid, label.shape), label)


def test_counts_are_every_pixel_once() -> None:
    label = np.random.default_rng(0).integers(0, 4, (37, 53)).astype(np.uint8)
    label[label == 3] = IGNORED
    counts = token_counts(label, WindowGrid(23, 41, window=16, stride=8, patch=8), 3)
    assert counts.sum((0, 1)).tolist() == [*(int((label == k).sum()) for k in range(3)), int((label == IGNORED).sum())]


def test_the_rounded_truth_is_right_where_patches_are_pure() -> None:
    label = np.zeros((32, 32), np.uint8)
    label[:, 14:] = 1
    truth = scene_truth(label, WindowGrid(32, 32, window=16, stride=8, patch=8), 2)
    np.testing.assert_array_equal(truth.rounded[:, :8], 0)
    np.testing.assert_array_equal(truth.rounded[:, 8:16], 0)  # six of eight columns
    np.testing.assert_array_equal(truth.rounded[:, 16:], 1)


# --- scenes ---------------------------------------------------------------------------------------


def test_bands_join_to_the_whole_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = WindowGrid(40, 56, window=16, stride=8, patch=8)
    tokens = torch.randn(*grid.token_shape, 3, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("graft.scene_scores._BAND", 3 * 70 * 7)
    bands = list(pixel_bands(tokens, grid, (50, 70)))
    assert [rows for rows, _ in bands][:2] == [slice(0, 7), slice(7, 14)]
    whole = upsample(tokens, grid, (50, 70), (0, 50), (0, 70))
    assert torch.equal(torch.cat([band for _, band in bands], dim=1), whole)


def test_families_are_scored_in_one_pass() -> None:
    def words(*owner: int) -> ClassWords:
        vectors = torch.nn.functional.normalize(torch.randn(len(owner), 8), dim=-1)
        return ClassWords(("a", "b"), vectors, torch.tensor(owner), {}, None)

    torch.manual_seed(0)
    families = [words(0, 0, 1), words(0, 1)]
    joined = join_families(families)
    seen = torch.randn(5, 8)
    both = joined.class_scores(seen @ joined.vectors.T)
    for part, family in zip(both.chunk(2, dim=-1), families, strict=True):
        torch.testing.assert_close(part, family.class_scores(seen @ family.vectors.T))


def test_a_scene_is_brought_to_the_models_gsd() -> None:
    image = np.zeros((60, 40, 3), np.uint8)
    image[:, 20:] = 200
    scene = LabelledScene("s", image, image[..., 0], (0.3, 0.3))
    canvas = canvas_of(scene, 1.0)
    assert canvas.shape == (18, 12, 3)
    assert (set(canvas[:, :6].ravel()), set(canvas[:, 6:].ravel())) == ({0}, {200})
    assert canvas_of(scene, None) is image
    assert canvas_of(scene, 0.32) is image  # a tenth is no reason to blur
    with pytest.raises(GraftError, match=r"pixels of 0\.3 x 0\.3 m, the encoder's sensor 0\.14 m: more than twice"):
        canvas_of(scene, 0.14)
    with pytest.raises(GraftError, match="Scene s does not say its GSD"):
        canvas_of(LabelledScene("s", image, image[..., 0], None), 1.0)


def test_resampling_in_blocks_is_the_area_mean_and_has_no_seam() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1200, 900, 3), dtype=np.uint8)
    mean = image.reshape(400, 3, 300, 3, 3).mean((1, 3))  # 400 rows are two blocks
    assert np.abs(to_size(image, 400, 300) - mean).max() <= 0.5 + 1e-3
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[:, None, None], 4, 1).repeat(3, 2)
    larger = to_size(ramp, 400, 8)
    assert set(np.diff(larger[:, 0, 0].astype(int))) <= {0, 1}
    np.testing.assert_array_equal(to_size(image, 1200, 900), image)


def test_the_picture_shows_the_classes_in_their_colours(tmp_path: Path) -> None:
    label = np.zeros((40, 60), np.uint8)
    label[:, 30:] = 1
    label[:5] = IGNORED
    image = np.full((80, 120, 3), 90, np.uint8)
    save_scene_png(tmp_path / "s.png", image, [("truth", label), ("pixel", label)], ("a", "b", "c"), "title")
    with Image.open(tmp_path / "s.png") as picture:
        drawn = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in (*palette(("a", "b", "c"))[:2], (217, 217, 217), (90, 90, 90)):
        assert (np.abs(drawn - np.asarray(colour)).max(1) <= 1).sum() > 500
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]


def test_details_are_json(tmp_path: Path) -> None:
    scores, truth = scores_and_truth(3, 50)
    truth[truth == 2] = 0
    scores[2] = -1
    details = counted(3, scores, truth).compute().details(("a", "b", "c"))
    assert json.loads(json.dumps(details, allow_nan=False))["iou"][2] is None
