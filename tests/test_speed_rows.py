"""Benchmark rows: what is written is what was measured, and contenders do the same work."""

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from torch import Tensor
from torch.nn import functional

from benchmarks import dense
from benchmarks.rows import measure
from graft.segment.maps import segment_array


def in_turn(*figures: float) -> Iterator[float]:
    return iter(figures)


def test_a_row_holds_medians_spreads_and_ratios_within_rounds() -> None:
    ours, peer, limit = in_turn(2.0, 40.0, 6.0), in_turn(1.0, 10.0, 2.0), in_turn(4.0, 80.0, 12.0)
    row = measure(
        "x", "MB", ours=lambda: next(ours), peer=lambda: next(peer), limit=lambda: next(limit), better="lower", rounds=3
    )
    assert (row["ours"], row["peer"], row["limit"]) == (6.0, 2.0, 12.0)
    assert (row["ratio_to_peer"], row["ratio_to_limit"]) == (3.0, 0.5)
    assert row["spread"]["ours"] == [2.0, 40.0]
    assert (row["better"], row["unit"]) == ("lower", "MB")


def test_small_rates_keep_their_digits() -> None:
    row = measure("x", "Mpx/s", ours=lambda: 0.123456, peer=lambda: 0.02, limit=lambda: 98765.4, rounds=1)
    assert (row["ours"], row["limit"], row["better"]) == (0.1235, 98770.0, "higher")


class PatchColour(dense.Stub):
    """Each token is the mean colour of its patch, so that maps have something to show."""

    def tokens(self, tile: Tensor) -> Tensor:
        colour = functional.avg_pool2d(tile.float() - 127.5, dense.PATCH).permute(0, 2, 3, 1)
        return functional.normalize(functional.pad(colour, (0, dense.DIM - 3)), dim=-1)


def test_ours_and_the_naive_loop_make_the_same_map_away_from_borders() -> None:
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 256, (7, 7, 3)), np.ones((64, 64, 1))).astype(np.uint8)
    scorer = dense._scorer(PatchColour())
    ours = segment_array(scene, scorer, stride=dense.STRIDE).labels
    naive = dense.naive(scorer.encoder, scorer.words.vectors, scene)
    assert len(np.unique(ours)) > 3
    assert (ours == naive).mean() > 0.97


@pytest.mark.parametrize("contender", dense._CONTENDERS)
def test_every_contender_of_the_memory_rows_runs(contender: str) -> None:
    dense._CONTENDERS[contender](dense._scene(2 * dense.WINDOW, 2 * dense.WINDOW))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_extra_peak_of_a_scene_is_that_of_what_is_held() -> None:
    held = dense._in_child("limit", 1024)
    expected = (1024 * dense.WIDE + 36 * 3 * 224 * 224 + 36 * 14 * 14 * 8 * 4) / 1e6
    assert held == pytest.approx(expected, abs=5)
