"""Bootstrap intervals: of known width, with ties, and the same every time."""

import numpy as np
import pytest
import torch

from graft import bootstrap
from graft.bootstrap import accuracy_intervals, ranking_intervals
from graft.metrics import average_precisions


def test_the_interval_of_an_accuracy_is_the_binomial_s() -> None:
    confusion = torch.tensor([[320, 80], [120, 480]])
    low, high = accuracy_intervals(confusion)["top1"]
    half = 1.96 * (0.8 * 0.2 / 1000) ** 0.5
    assert low == pytest.approx(0.8 - half, abs=3e-3)
    assert high == pytest.approx(0.8 + half, abs=3e-3)
    macro = accuracy_intervals(confusion)["top1_macro"]
    assert macro[0] < 0.8 < macro[1]
    assert accuracy_intervals(confusion) == accuracy_intervals(confusion)


def test_certain_figures_have_no_width() -> None:
    assert accuracy_intervals(torch.diag(torch.tensor([5, 3, 0]))) == {"top1": (1, 1), "top1_macro": (1, 1)}
    assert accuracy_intervals(torch.zeros(3, 3)) == {}
    relevant = torch.tensor([[True], [True], [True]])
    assert ranking_intervals(torch.rand(3, 1), relevant) == {"map_macro": (1, 1)}
    assert ranking_intervals(torch.rand(3, 2), torch.zeros(3, 2, dtype=torch.bool)) == {}


def test_a_drawn_ranking_is_that_of_the_images_drawn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, 40).astype(np.float32)  # ties
    relevant = rng.random(40) < 0.3
    weights = rng.multinomial(40, np.full(40, 1 / 40))
    drawn = np.repeat(np.arange(40), weights)
    expected = average_precisions(torch.from_numpy(scores[drawn])[:, None], torch.from_numpy(relevant[drawn])[:, None])
    found = bootstrap._Order(scores, relevant).average_precision(weights)
    assert found == pytest.approx(float(expected[0]), abs=1e-9)


def test_the_interval_of_a_ranking_holds_the_figure() -> None:
    generator = torch.Generator().manual_seed(1)
    relevant = torch.rand(300, 4, generator=generator) < torch.tensor([0.1, 0.4, 0.2, 0.0])
    scores = relevant + torch.randn(300, 4, generator=generator)
    figure = float(average_precisions(scores, relevant)[:3].mean())
    low, high = ranking_intervals(scores, relevant)["map_macro"]
    assert low < figure < high
    assert high - low < 0.2
    few = ranking_intervals(scores[:60], relevant[:60])["map_macro"]
    assert few[1] - few[0] > high - low
