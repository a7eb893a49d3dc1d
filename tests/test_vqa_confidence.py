"""How sure an answer is, and what the toolbox keeps of a model's looks."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from graft.vqa import confidence, toolbox
from graft.vqa.toolbox import Toolbox
from graft.vqa.values import Mask, Number
from tests.vqa_maps import ask, grid_at


@dataclass
class Eye:
    """A vision whose likeness is given."""

    p: npt.NDArray[np.float64]
    least_px: int = 4
    looks: int = 0

    def __post_init__(self) -> None:
        self.grid = grid_at("utm", *self.p.shape)
        self.data = np.ones(self.p.shape, np.bool_)

    def segment(self, concept: str) -> Mask:
        self.looks += 1
        p = self.p if concept == "lake" else 1 - self.p
        return Mask(concept, p >= 0.5, p.astype(np.float16), 0.0)

    def likeness(self, concept: str) -> float:
        return 0.9 if concept == "lake" else 0.1

    def classify(self, options: Sequence[str]) -> dict[str, float]:
        return {option: 0.75 if option == "lake" else 0.25 / (len(options) - 1) for option in options}


def _two_lakes() -> npt.NDArray[np.float64]:
    p = np.full((20, 30), 0.125)
    p[2:8, 2:8], p[2:8, 20:26] = 0.875, 0.625
    return p


def test_confidence_follows_the_likeness() -> None:
    eye = Toolbox(Eye(_two_lakes()))

    assert ask('exists(find("lake"))', eye).confidence == 0.875
    assert ask('count(find("lake"))', eye).confidence == pytest.approx((0.75 + 0.25) / 2)
    assert ask('area(find("lake"))', eye).confidence == pytest.approx((0.75 + 0.25) / 2)
    assert ask('area(segment("lake"))', eye).confidence == pytest.approx((36 * 0.75 + 36 * 0.25 + 528 * 0.75) / 600)
    assert ask('score("lake")', eye).confidence == pytest.approx(0.8)
    assert ask('classify(["lake", "sea"])', eye).confidence == 0.75
    east = 'where(find("lake"), "east of", find("lake"))'
    assert ask(f"exists({east})", eye).confidence == 0.625
    assert ask(f'exists(where({east}, "east of", find("lake")))', eye).confidence == 0.625
    assert ask(f'exists(where(find("lake"), "west of", {east}))', eye).confidence == 0.625
    assert ask(f'count(where(find("lake"), "west of", {east}))', eye).confidence == 0.625
    assert ask('exists(filter(find("lake"), smaller_than_m2=5))', eye).confidence == pytest.approx(0.75)


def test_a_no_is_as_sure_as_the_likeliest_place_allows() -> None:
    p = np.full((20, 30), 0.125)
    p[5:9, 5:9] = 0.375
    p[15, 15] = 0.99  # too small to count
    for labels, sure in ((p, 0.625), (np.full((20, 30), 0.0625), 0.9375)):
        truth = ask('exists(find("lake"))', Toolbox(Eye(labels)))
        assert (truth.value, truth.confidence) == (False, pytest.approx(sure))
        assert ask('count(find("lake"))', Toolbox(Eye(labels))).confidence == pytest.approx(sure)


def test_a_comparison_is_surer_the_farther_its_numbers_lie_apart() -> None:
    def number(value: float, sure: float) -> Number:
        return Number(value, "", sure, ())

    near = confidence.of_comparison(number(10, 0.5), number(11, 0.5), "less")
    far = confidence.of_comparison(number(10, 0.5), number(15, 0.5), "less")
    assert 0.5 < near < far < 1
    assert confidence.of_comparison(number(1, 0.5), number(10, 0.9), "more") == 1
    assert confidence.of_comparison(number(4, 0.7), number(4, 0.9), "equal") == 0.7
    assert confidence.of_comparison(number(4, 1), number(5, 1), "more") == 1


def test_areas_below_what_can_be_seen_are_not_compared_surely() -> None:
    p = np.full((20, 30), 0.01)
    p[0, :3] = 0.99
    for program in ('area(segment("lake")) > 0', 'compare(fraction(segment("lake")), "more", 0)'):
        speck, seen = (ask(program, Toolbox(Eye(p, least_px=least))) for least in (36, 2))
        assert speck.value
        assert 0.5 < speck.confidence < 0.6
        assert seen.confidence == 1


def test_a_concept_is_looked_for_once_and_let_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Eye(_two_lakes())
    eye = Toolbox(seen)
    for _ in range(3):
        assert eye.find("lake") is eye.find("lake")
    assert seen.looks == 1

    held = eye.held_bytes
    assert held >= 600 * 3
    monkeypatch.setattr(toolbox, "_KEPT_BYTES", 4 * held)
    for number in range(30):
        ask(f'exists(where(find("thing {number}"), "next to", find("lake")))', eye)
    gc.collect()
    assert eye.held_bytes < 12 * held
    kept = [eye.segment(f"more {number}") for number in range(30)]  # held by the program, if not by the toolbox
    assert eye.held_bytes >= 30 * 600 * 3
    assert len(kept) == 30
