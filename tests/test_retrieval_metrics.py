"""Rankings by hand and by brute force against the closed forms: precision at a cut, recall, ties, chance."""

import itertools
import subprocess
import sys
from math import comb
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.multiprocessing as mp
from sklearn.metrics import average_precision_score
from torch import Tensor, distributed
from torch.nn.functional import normalize

from graft import recall
from graft.errors import GraftError
from graft.recall import VectorBank, recall_at, recall_both_ways
from graft.retrieval_metrics import CutFigures, chance_at, class_chance, class_figures, figures_at, mean_figures

CUT_NAMES = (("map_at", "_hits"), ("map_at", "_min"), ("precision_at", ""))


def in_order(relevant: str) -> CutFigures:
    """Figures at 3 of a ranking written as 1 and 0, the best first, all scores below zero."""
    truth = np.array([digit == "1" for digit in relevant])
    return figures_at(-np.arange(1, len(truth) + 1, dtype=np.float32), truth, 3)


def defined(ranked: npt.NDArray[np.bool_], k: int) -> tuple[float, float, float, float]:
    """The definitions for one order, the best first."""
    top = ranked[:k]
    gained = sum(top[:i].sum() / i for i in range(1, len(top) + 1) if top[i - 1])
    hits, total = int(top.sum()), int(ranked.sum())
    return gained / hits if hits else 0.0, gained / min(total, k), gained / total, hits / k


def as_tuple(figures: CutFigures) -> tuple[float, float, float, float]:
    return figures.hits, figures.least, figures.all, figures.precision


# --- words -> tiles -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ranking", "hits", "least", "total", "precision"),
    [
        ("101011", (1 + 2 / 3) / 2, (1 + 2 / 3) / 3, (1 + 2 / 3) / 4, 2 / 3),
        ("100000", 1, 1, 1, 1 / 3),
        ("001000", 1 / 3, 1 / 3, 1 / 3, 1 / 3),
        ("011000", (1 / 2 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2, 2 / 3),
        ("100111", 1, 1 / 3, 1 / 4, 1 / 3),
        ("000111", 0, 0, 0, 0),
        ("111111", 1, 1, 1 / 2, 1),
        ("10", 1, 1, 1, 1 / 3),
    ],
)
def test_three_definitions_of_average_precision_by_hand(
    ranking: str, hits: float, least: float, total: float, precision: float
) -> None:
    assert as_tuple(in_order(ranking)) == pytest.approx((hits, least, total, precision))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("seed", range(6))
def test_ties_count_as_the_mean_over_all_orders(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, (1, 2, 3)[seed % 3], 7).astype(np.float32) - 2
    truth = rng.permutation(np.arange(7) < 1 + seed % 4)
    orders = [defined(truth[list(order)], k) for order in itertools.permutations(range(7)) if descending(scores, order)]
    assert as_tuple(figures_at(scores, truth, k)) == pytest.approx(tuple(np.mean(orders, axis=0)), abs=1e-12)


def descending(scores: npt.NDArray[np.float32], order: tuple[int, ...]) -> bool:
    return bool((np.diff(scores[list(order)]) <= 0).all())


@pytest.mark.parametrize(("tiles", "relevant", "k"), [(200, 30, 20), (200, 3, 100), (50, 50, 20), (40, 1, 100)])
def test_chance_is_the_mean_of_random_rankings(tiles: int, relevant: int, k: int) -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(tiles) < relevant
    drawn = np.array([defined(rng.permutation(truth), k) for _ in range(3000)])
    error = drawn.std(axis=0) / 3000**0.5
    assert (np.abs(drawn.mean(axis=0) - as_tuple(chance_at(tiles, relevant, k))) <= 4 * error + 1e-12).all()


def test_chance_of_the_full_ranking_has_a_known_form() -> None:
    tiles, relevant = 300, 12
    harmonic = sum(1 / i for i in range(1, tiles + 1))
    known = ((relevant - 1) + (tiles - relevant) / tiles * harmonic) / (tiles - 1)
    assert chance_at(tiles, relevant, tiles).all == pytest.approx(known)
    chance = class_chance(torch.arange(tiles)[:, None] < torch.tensor([relevant, 0]))
    assert float(chance["map"][0]) == pytest.approx(known)
    assert chance["map"][1].isnan()
    assert float(chance["precision_at_20"][0]) == pytest.approx(relevant / tiles)


@pytest.mark.parametrize("seed", range(4))
def test_full_average_precision_with_ties_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, 9, (150, 3)) / 8 - 1.2).astype(np.float32)
    truth = rng.random((150, 3)) < (0.05, 0.4, 0.9)
    truth[0] = True
    found = class_figures(torch.from_numpy(scores), torch.from_numpy(truth))["map"]
    expected = [average_precision_score(truth[:, c], scores[:, c]) for c in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("change", [lambda s: s - 2, lambda s: s * 100, lambda s: (s + 1) / 2])
def test_scores_at_and_below_zero_rank_as_any_others(change) -> None:  # noqa: ANN001
    rng = np.random.default_rng(1)
    scores = torch.from_numpy(rng.permuted(np.tile(np.arange(-64, 64) / 64, (3, 1)), axis=1).T.astype(np.float32))
    truth = torch.from_numpy(rng.random((128, 3)) < 0.3)
    one, other = (mean_figures(class_figures(s, truth)) for s in (scores, change(scores)))
    assert one == other
    assert one["map_at_20_hits"] > 0.1


def test_the_order_of_the_files_does_not_matter() -> None:
    truth = torch.arange(300)[:, None] < 40
    first, last = (class_figures(torch.zeros(300, 1), t) for t in (truth, truth.flip(0)))
    chance = class_chance(truth)
    for name in set(first) - {"map"}:
        assert float(first[name]) == float(last[name]) == pytest.approx(float(chance[name]))


def test_figures_of_classes_and_their_mean() -> None:
    scores = torch.tensor([[0.9, -0.1, 0.3], [0.8, -0.2, 0.2], [0.7, -0.3, 0.1]])
    truth = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)
    figures = class_figures(scores, truth)
    assert figures["map_at_20_hits"][:2].tolist() == pytest.approx([(1 + 2 / 3) / 2, 1 / 3])
    assert figures["map_at_20_hits"][2].isnan()
    means = mean_figures(figures)
    cut = {f"{name}_{k}{end}" for k in (20, 100) for name, end in CUT_NAMES}
    assert set(means) == {"map", "classes_skipped"} | cut
    assert means["map"] == means["map_at_100_min"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 3) / 2)
    assert means["precision_at_20"] == pytest.approx((2 + 1) / 2 / 20)
    assert means["classes_skipped"] == 1


def test_figures_without_any_positive_are_an_error() -> None:
    with pytest.raises(GraftError, match="nothing to find"):
        mean_figures(class_figures(torch.rand(4, 2), torch.zeros(4, 2, dtype=torch.bool)))


# --- recall ---------------------------------------------------------------------------------------


def test_recall_by_hand() -> None:
    tiles = normalize(torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1.0]]), dim=1)
    photos = torch.tensor([[1.0, 0.1], [1.0, 0.2], [-1.0, -3.0]])
    owner = torch.tensor([0, 1, 1])
    # Photo 0 finds tile 0 first, photo 1 its tile 1 second (0.92 < 1), photo 2 its tile 1 second of three.
    assert recall_at(photos, owner, tiles, torch.arange(3), (1, 2, 3)) == pytest.approx([1 / 3, 1, 1])
    both = recall_both_ways(photos, owner, tiles, torch.arange(3), "photo")
    # Tile 0 ranks photo 1 and 0 alike; tile 1 likes its own photo 1 best; tile 2 has no photo and does not search.
    assert both["tile_to_photo_recall_at_1"] == pytest.approx((1 / 2 + 1) / 2)
    assert both["recall_at_1"] == pytest.approx(1 / 3)
    assert both["recall_at_5"] == both["tile_to_photo_recall_at_10"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_tied_recall_is_the_mean_over_all_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.integers(-1, 2, (6, 1))
    owner = rng.integers(0, 3, 6)
    expected = np.zeros(4)
    for asking in range(3):
        orders = [o for o in itertools.permutations(range(6)) if descending(gallery[:, 0].astype(np.float32), o)]
        expected += [np.mean([asking in owner[list(o[:k])] for o in orders]) / 3 for k in (1, 2, 4, 9)]
    found = recall_at(
        torch.ones(3, 1), torch.arange(3), torch.from_numpy(gallery).float(), torch.from_numpy(owner), (1, 2, 4, 9)
    )
    assert found == pytest.approx(expected, abs=1e-12)


def test_recall_of_constant_vectors_is_chance() -> None:
    ask = torch.zeros(4, 1), torch.tensor([0, 1, 2, 9])
    owner = torch.tensor([0] * 7 + [1] * 2 + [2] * 41)
    for k, found in zip((1, 5, 10), recall_at(*ask, torch.zeros(50, 1), owner), strict=True):
        each = [1 - comb(50 - own, k) / comb(50, k) for own in (7, 2, 41)]
        assert found == pytest.approx(sum(each) / 4)  # the fourth owns nothing here: a miss


def test_an_oracle_of_mixtures_is_what_drawing_at_ties_gives() -> None:
    rng = np.random.default_rng(2)
    mixtures = rng.multinomial(4, [0.5, 0.3, 0.2], 40) / 4
    label, owner = rng.integers(0, 3, 60), rng.integers(0, 40, 60)
    label[:5] = -1
    asked = torch.from_numpy(label[:, None] == np.arange(3)).float()
    found = recall_both_ways(
        asked, torch.from_numpy(owner), torch.from_numpy(mixtures).float(), torch.arange(40), "photo"
    )
    hits = []
    for _ in range(1500):
        noise = rng.random((60, 40)) * 1e-3
        shares = np.where(label[:, None] < 0, 0, mixtures.T[np.clip(label, 0, None)])
        ranks = (shares + noise > (shares + noise)[np.arange(60), owner][:, None]).sum(axis=1)
        hits.append([(ranks < k).mean() for k in (1, 5, 10)])
    drawn = [found[f"recall_at_{k}"] for k in (1, 5, 10)]
    assert drawn == pytest.approx(np.mean(hits, axis=0), abs=5 * np.std(hits) / 1500**0.5)
    assert drawn == pytest.approx(np.mean(hits, axis=0), abs=4e-3)


def test_chunks_change_nothing_and_equal_vectors_tie_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    gallery = normalize(torch.randn(1, 512), dim=1).repeat(211, 1)
    queries, owner = normalize(torch.randn(37, 512), dim=1), torch.arange(37)
    whole = recall_at(queries, owner, gallery, torch.arange(211))
    assert whole == pytest.approx([k / 211 for k in (1, 5, 10)], abs=1e-12)
    gallery[::2] += 0.5 * torch.randn(106, 512)
    whole = recall_at(queries, owner, gallery, torch.arange(211))
    monkeypatch.setattr(recall, "_SCORES", 500)
    monkeypatch.setattr(recall, "_ROWS", 13)
    assert recall_at(queries, owner, gallery, torch.arange(211)) == pytest.approx(whole, abs=1e-12)


def test_recall_refuses_nothing_and_what_is_not_finite() -> None:
    vectors, owner = torch.rand(2, 3), torch.arange(2)
    with pytest.raises(GraftError, match="nothing to search"):
        recall_at(vectors[:0], owner[:0], vectors, owner)
    with pytest.raises(GraftError, match="not finite"):
        recall_at(vectors, owner, vectors / 0, owner)


def _joined_by_two(rank: int, rendezvous: str, vectors: Tensor, owner: Tensor) -> None:
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    try:
        uneven, empty = VectorBank(vectors.shape[1]), VectorBank(vectors.shape[1])
        for row in range(rank, len(vectors), 2):
            uneven.update(vectors[row : row + 1], owner[row : row + 1])
        if rank == 1:
            empty.update(vectors, owner)
        for bank in (uneven, empty):
            found, whose = bank.compute()
            assert torch.equal(found, vectors)
            assert torch.equal(whose, owner)
    finally:
        distributed.destroy_process_group()


def test_two_processes_keep_the_vectors_of_one(tmp_path: Path) -> None:
    vectors, owner = torch.rand(7, 3), torch.tensor([0, 1, 4, 5, 6, 8, 9])
    mp.spawn(_joined_by_two, args=(f"file://{tmp_path}/rendezvous", vectors, owner), nprocs=2)


MILLION = """
import resource, torch
from graft.recall import recall_both_ways
torch.manual_seed(0)
tiles = torch.nn.functional.normalize(torch.randn(1_000_000, 64), dim=1)
own = torch.arange(0, 1_000_000, 4000)
photos = tiles[own] + 0.3 * torch.randn(len(own), 64)
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = recall_both_ways(photos, own, tiles, torch.arange(1_000_000), "photo")
print(found["recall_at_1"], (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 2**20)
"""


@pytest.mark.slow
def test_a_gallery_of_a_million_takes_bounded_memory() -> None:
    done = subprocess.run([sys.executable, "-c", MILLION], capture_output=True, text=True, check=True)
    recall_at_1, gigabytes = map(float, done.stdout.split())
    print(f"recall@1 {recall_at_1}, {gigabytes:.2f} GiB beside the vectors")
    assert 0 < recall_at_1 < 1
    assert gigabytes < 1
