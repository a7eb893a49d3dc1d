"""The nearest rows of a bank of vectors, exactly.

A quick scan in low precision nominates rows: all whose score, by a proven bound on the scan's error, may still be among
the best. Nominated rows are scored again without any rounding and the best of them kept, so precision of the scan, size
of its chunks and number of threads change the time and never the result.

Let a be a stored fp16 row, |a| <= 1.01, and q the unit query, rounded to multiples of 2^-28. All products a_i q_i are
multiples of 2^-52 and every partial sum is below 2, so their sum in float64 has no error, in whatever order. The scan
computes s' = sum a'_i q'_i in bf16 or fp32. With u the relative rounding of a (2^-8 in bf16; fp16 is exact in fp32),

    |s - s'| <= 1.01 (u + (1 + u) |q - q'| + D 2^-23),

the last term for the sum in fp32. The scan's output is rounded once more, by at most u |s'| (2^-24 in fp32).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

CHUNK = 4096  # rows at a time: what is made of them stays in the cache
RESCORED = 1024  # rows at a time, eight bytes a value
QUERIES = 256  # at a time
LONGEST = 1.01  # of a row; fp16 makes a unit vector at most 1.0005 long
GRID = 2.0**28
ROUNDING = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-24}
PATIENCE_S = 5.0  # before a bar is shown


def nearest(
    bank: npt.NDArray[np.float16], queries: Tensor, k: int, *, allowed: npt.NDArray[np.bool_] | None = None
) -> tuple[Tensor, Tensor]:
    """Rows of `bank` with the largest cosine to each query.

    Exact with respect to the stored fp16 (see above), but for the query's own rounding, which changes a score by at
    most sqrt(D) 2^-29, less than float32 can tell. Equal scores: lower row first. Memory beside `bank`, which may be
    mapped from a file, is about 30 MB and 16 k Q bytes.

    Args:
        bank: float16 [N, D], rows of length 1 or, rounding apart, less; finite.
        queries: [Q, D], of any length but 0.
        k: how many.
        allowed: bool [N], rows that may be found; all if None.

    Returns:
        Cosines, float32 [Q, k'], best first, and rows, int64 [Q, k'], with k' = min(k, number of allowed rows).

    Raises:
        ValueError: shapes that do not fit, or a query of length 0 or with values that are not finite.
    """
    if bank.ndim != 2 or queries.ndim != 2 or bank.shape[1] != queries.shape[1] or bank.dtype != np.float16 or k < 0:
        raise ValueError(f"{bank.dtype} {bank.shape} and {tuple(queries.shape)}, k {k}; expected fp16 [N, D], [Q, D]")
    if allowed is not None and allowed.shape != bank.shape[:1]:
        raise ValueError(f"allowed has shape {allowed.shape}; expected {bank.shape[:1]}")
    among = None if allowed is None or allowed.all() else torch.from_numpy(np.flatnonzero(allowed))
    k = min(k, len(bank) if among is None else len(among))
    if k == 0 or len(queries) == 0:
        return torch.empty(len(queries), k), torch.empty(len(queries), k, dtype=torch.int64)
    stored = _tensor(bank)
    parts = [_nearest(stored, part, k, among) for part in torch.split(queries.detach().cpu().double(), QUERIES)]
    return torch.cat([scores for scores, _ in parts]), torch.cat([rows for _, rows in parts])


def scan_precision() -> torch.dtype:
    """bf16 on a CPU that multiplies in it, else fp32: elsewhere bf16 is emulated and slow."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch has none
    return torch.bfloat16 if capabilities.get("avx512_bf16") else torch.float32


def unit_queries(queries: Tensor) -> Tensor:
    """Float64 [Q, D] of length 1, in multiples of 2^-28.

    Raises:
        ValueError: a query of length 0 or with values that are not finite.
    """
    lengths = torch.linalg.vector_norm(queries, dim=1, keepdim=True)
    if not (lengths.isfinite() & (lengths > 0)).all():
        raise ValueError("a query has length 0 or values that are not finite")
    return torch.round(queries / lengths * GRID) / GRID


def scan_error(queries: Tensor, precision: torch.dtype) -> Tensor:
    """Bound on the error of a scan's score before its output is rounded, float64 [Q].

    Args:
        queries: float64 [Q, D], from `unit_queries`.
        precision: of the scan.
    """
    of_rows = ROUNDING[precision] if precision == torch.bfloat16 else 0.0
    of_queries = torch.linalg.vector_norm(queries - queries.to(precision).double(), dim=1)
    bound: Tensor = LONGEST * (of_rows + (1 + of_rows) * of_queries + queries.shape[1] * 2.0**-23)
    return bound


@dataclass
class _Best:
    """The best rows so far, and nominated ones that are not yet scored."""

    bank: Tensor  # float16 [N, D]
    queries: Tensor  # float64 [Q, D], from `unit_queries`
    k: int
    scores: npt.NDArray[np.float64]  # [Q, <= k], best first
    rows: npt.NDArray[np.int64]
    waiting: list[Tensor] = field(default_factory=list)  # int64 [n] each
    waiting_rows: int = 0

    def nominate(self, rows: Tensor) -> None:
        """Take rows, int64 [n], ascending and after all earlier ones."""
        if len(rows):
            self.waiting.append(rows)
            self.waiting_rows += len(rows)

    def settle(self) -> None:
        """Score the nominated rows exactly and keep the best."""
        if not self.waiting:
            return
        nominated = torch.cat(self.waiting)
        self.waiting, self.waiting_rows = [], 0
        parts = [self.queries @ _gather(self.bank, rows).double().T for rows in torch.split(nominated, RESCORED)]
        scores = np.concatenate([self.scores, torch.cat(parts, dim=1).numpy()], axis=1)
        rows = np.concatenate([self.rows, np.broadcast_to(nominated.numpy(), (len(scores), len(nominated)))], axis=1)
        kept = np.stack([_top(of_query, self.k) for of_query in scores])
        self.scores, self.rows = np.take_along_axis(scores, kept, axis=1), np.take_along_axis(rows, kept, axis=1)

    def worst(self) -> Tensor:
        """Score that a row has to reach, float64 [Q]."""
        if self.scores.shape[1] < self.k:
            return torch.full((len(self.scores),), -torch.inf, dtype=torch.float64)
        return torch.from_numpy(self.scores[:, -1].copy())


def _top(scores: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.int64]:
    """Positions of the k largest, best first, of equal ones the first; all if there are fewer."""
    place = len(scores) - k
    at_least = np.arange(len(scores)) if place <= 0 else np.flatnonzero(scores >= np.partition(scores, place)[place])
    # The best so far come first and have lower rows than what was added: a stable sort keeps ties in the order of rows.
    return at_least[np.argsort(-scores[at_least], kind="stable")][:k]


def _nearest(bank: Tensor, queries: Tensor, k: int, among: Tensor | None) -> tuple[Tensor, Tensor]:
    queries = unit_queries(queries)
    precision = scan_precision()
    error, rounding = scan_error(queries, precision), ROUNDING[precision]
    best = _Best(bank, queries, k, np.empty((len(queries), 0)), np.empty((len(queries), 0), np.int64))
    bar = best.worst().to(precision)
    for rows, scores in _scan(bank, queries.to(precision), among):
        best.nominate(rows[(scores >= bar[:, None]).any(dim=0)])
        if best.waiting_rows >= max(CHUNK, k):
            best.settle()
            worst = best.worst()
            # Rounding to nearest keeps order: a score that is not below the bar is not below the bar as rounded.
            bar = (worst - error - rounding * worst.abs()).to(precision)
    best.settle()
    return torch.from_numpy(best.scores).float(), torch.from_numpy(best.rows)


def _scan(bank: Tensor, queries: Tensor, among: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows, int64 [n], and their scores in the precision of the queries, [Q, n], chunk after chunk."""
    count = len(bank) if among is None else len(among)
    full = torch.empty(CHUNK, bank.shape[1])
    low = torch.empty(CHUNK, bank.shape[1], dtype=queries.dtype)
    for first in tqdm(range(0, count, CHUNK), desc="scan", unit="chunk", delay=PATIENCE_S, leave=False):
        rows = torch.arange(first, min(first + CHUNK, count)) if among is None else among[first : first + CHUNK]
        stored = bank[first : first + len(rows)] if among is None else bank.index_select(0, rows)
        chunk = full[: len(rows)].copy_(stored)
        # From fp16 to bf16 in one step takes four times as long.
        yield rows, queries @ (chunk if queries.dtype == torch.float32 else low[: len(rows)].copy_(chunk)).T


def _gather(bank: Tensor, rows: Tensor) -> Tensor:
    """Rows in fp32; seven times quicker than by brackets."""
    return bank.index_select(0, rows).float()


def _tensor(bank: npt.NDArray[np.float16]) -> Tensor:
    with warnings.catch_warnings():  # torch warns of arrays that may not be written; nothing here writes
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(bank)
