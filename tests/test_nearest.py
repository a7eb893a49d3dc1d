"""Nearest rows of a bank: exact, whatever precision, chunks and threads the scan has."""

import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from graft import nearest as module
from graft.nearest import nearest, scan_error, unit_queries
from tests.index_inputs import unit_vectors

BOTH = pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32], ids=["bf16", "fp32"])


def queries_of(count: int, dim: int = 64, seed: int = 1) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def plain(
    bank: npt.NDArray[np.float16], queries: Tensor, k: int, allowed: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Cosines in float64 and a full sort, ties by row."""
    units = queries.double().numpy()
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    scores = units @ bank.T.astype(np.float64)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
        k = min(k, int(allowed.sum()))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 64)
    monkeypatch.setattr(module, "RESCORED", 16)
    monkeypatch.setattr(module, "QUERIES", 3)


def misleading() -> tuple[npt.NDArray[np.float16], Tensor]:
    """Fifty rows that bf16 rounds down and ten thousand slightly worse ones that it rounds up."""
    step = 2.0**-10  # of fp16 in [1, 2); bf16 keeps every eighth
    better, worse = np.full(64, 1 + 3 * step), np.full(64, 1 + 5 * step)
    worse[:4] = 1 - 32 * step
    better[-2:] = worse[-2:] = 1.09375  # the output is rounded too: between the true and the scanned score of `better`
    assert 0 < better.sum() - worse.sum() < 1
    rows = np.concatenate([np.tile(worse, (5_000, 1)), np.tile(better, (50, 1)), np.tile(worse, (5_000, 1))])
    return (rows / 16).astype(np.float16), torch.ones(1, 64)


@BOTH
def test_equals_a_full_sort_in_float64(
    precision: torch.dtype, monkeypatch: pytest.MonkeyPatch, small_chunks: None
) -> None:
    monkeypatch.setattr(module, "scan_precision", lambda: precision)
    bank, queries = unit_vectors(3000, 64), queries_of(7) * torch.linspace(0.01, 50, 7)[:, None]
    scores, rows = nearest(bank, queries, 20)
    expected, order = plain(bank, queries, 20)
    np.testing.assert_array_equal(rows.numpy(), order)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=0, atol=64**0.5 * 2**-29 + 2**-24)
    assert (scores.dtype, rows.dtype) == (torch.float32, torch.int64)


@BOTH
def test_rows_that_low_precision_puts_last_are_found(precision: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "scan_precision", lambda: precision)
    bank, query = misleading()
    in_bf16 = (torch.from_numpy(bank).bfloat16() @ query.bfloat16().T)[:, 0]
    assert in_bf16[5_000] < in_bf16[0]  # else this shows nothing
    _, rows = nearest(bank, query, 60)
    assert rows[0].tolist() == [*range(5_000, 5_050), *range(10)]


@BOTH
def test_the_bound_holds_and_is_no_more_than_a_few_times_the_error(precision: torch.dtype) -> None:
    units = unit_queries(queries_of(20, 512).double())
    bank = torch.from_numpy(unit_vectors(2000, 512))
    exact = units @ bank.double().T
    scanned = units.to(precision).double() @ bank.to(precision).double().T
    error = (exact - scanned).abs().amax(dim=1)
    bound = scan_error(units, precision)
    assert (error < bound).all()
    units = torch.full((1, 64), 0.125).double()  # aligned: every rounding goes the same way
    row = torch.full((64,), 0.125 * (1 + 2**-8 - 2**-10)).double()
    off = (units @ row - units.to(precision).double() @ row.to(precision).double()).abs()
    assert off < scan_error(units, precision)
    assert scan_error(units, torch.bfloat16) < 0.0042


def test_a_sum_in_float64_has_no_error() -> None:
    units = unit_queries(queries_of(3, 512).double())
    bank = unit_vectors(20, 512)
    found = units @ torch.from_numpy(bank).double().T
    for query, scores in zip(units.tolist(), found.tolist(), strict=True):
        for row, score in zip(bank.tolist(), scores, strict=True):
            assert sum(Fraction(a) * Fraction(b) for a, b in zip(row, query, strict=True)) == Fraction(score)


def test_result_does_not_depend_on_precision_chunks_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, queries = unit_vectors(9000, 48), queries_of(5, 48)
    bank[4000:4200] = bank[:200]
    found = []
    threads = torch.get_num_threads()
    try:
        for precision, chunk, count in [(torch.bfloat16, 4096, 1), (torch.float32, 100, 2), (torch.bfloat16, 777, 2)]:
            monkeypatch.setattr(module, "scan_precision", lambda precision=precision: precision)
            monkeypatch.setattr(module, "CHUNK", chunk)
            torch.set_num_threads(count)
            found.append(nearest(bank, queries, 300))
    finally:
        torch.set_num_threads(threads)
    for scores, rows in found[1:]:
        assert torch.equal(scores, found[0][0])
        assert torch.equal(rows, found[0][1])


def test_equal_scores_go_by_row(small_chunks: None) -> None:
    bank = np.tile(unit_vectors(4, 32), (100, 1))
    _, rows = nearest(bank, torch.from_numpy(bank[2:3]).float(), 150)
    best = np.arange(2, 400, 4)
    assert rows[0, :100].tolist() == best.tolist()
    assert rows[0, 100:].tolist() == sorted(rows[0, 100:].tolist())


@pytest.mark.parametrize("share", [0.0, 0.003, 0.5, 1.0])
def test_only_allowed_rows(share: float, small_chunks: None) -> None:
    bank, queries = unit_vectors(2000, 32), queries_of(4, 32)
    allowed = np.random.default_rng(0).random(2000) < share
    scores, rows = nearest(bank, queries, 25, allowed=allowed)
    _, order = plain(bank, queries, 25, allowed)
    assert scores.shape == (4, min(25, allowed.sum()))
    np.testing.assert_array_equal(rows.numpy(), order)


def test_more_than_there_are_and_none(small_chunks: None) -> None:
    bank, queries = unit_vectors(500, 32), queries_of(2, 32)
    _, rows = nearest(bank, queries, 10_000)
    np.testing.assert_array_equal(rows.numpy(), plain(bank, queries, 500)[1])
    assert nearest(bank, queries, 0)[0].shape == (2, 0)
    assert nearest(bank[:0], queries, 5)[1].shape == (2, 0)
    assert nearest(bank, queries[:0], 5)[1].shape == (0, 5)


def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    bank = unit_vectors(300, 32)
    np.save(tmp_path / "bank.npy", bank)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, rows = nearest(np.load(tmp_path / "bank.npy", mmap_mode="r"), queries_of(2, 32), 5)
    np.testing.assert_array_equal(rows.numpy(), plain(bank, queries_of(2, 32), 5)[1])


def test_wrong_arguments() -> None:
    bank = unit_vectors(10, 32)
    with pytest.raises(ValueError, match="length 0"):
        nearest(bank, torch.zeros(1, 32), 3)
    with pytest.raises(ValueError, match="not finite"):
        nearest(bank, torch.full((1, 32), torch.nan), 3)
    with pytest.raises(ValueError, match=r"expected fp16 \[N, D\]"):
        nearest(bank, torch.ones(1, 31), 3)
    with pytest.raises(ValueError, match="allowed has shape"):
        nearest(bank, torch.ones(1, 32), 3, allowed=np.ones(9, bool))
