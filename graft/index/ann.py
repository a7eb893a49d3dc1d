"""LanceDB's own approximate index of the vectors, on request, with its recall measured against exact search.

IVF_RQ: k-means parts the vectors into cells of about `CELL`, from 17 million tiles on into sqrt N cells, and each is
kept in one bit a dimension after a random rotation (RaBitQ), so that the index takes about D / 7 bytes a tile; in more
bits where vectors have no structure and one does not tell them apart. A search reads the bits of the `probes` cells
whose centres are nearest, and the stored vectors of `refine` times as many tiles as were asked for.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from graft.errors import GraftError, import_extra
from graft.index.faults import told
from graft.index.flat import FlatVectors, carry_over, flat_vectors
from graft.index.table import Index, connect
from graft.nearest import nearest
from graft.tally import in_bytes

CELL = 4096  # tiles
FEWEST = 4096  # tiles
DRAWN = 100  # queries of each kind
TIMED = 5  # of them, for the time of exact search
DEPTH = 100  # recall is measured among so many nearest
REFINE = (5, 20)
BITS = (1, 4)
_KEY = "graft.ann"


@dataclass(frozen=True)
class AnnReport:
    """An approximate index and what it finds.

    Attributes:
        tiles: how many it covers.
        bits: a dimension.
        cells: of the partition.
        probes: cells that a search reads.
        refine: stored vectors that a search reads, a tile asked for.
        recall_tiles: share of the exact 100 nearest that it finds, for vectors of tiles drawn from the index.
        recall_words: the same for their deviations from the mean tile: like words, these lie apart from all tiles.
        recall_at_least: the lower of the two, less twice its standard error.
        exact_ms: a query of exact search, alone.
        ann_ms: a query of approximate search, alone.
        build_s: seconds to build.
        bytes: size of the index.
    """

    tiles: int
    bits: int
    cells: int
    probes: int
    refine: int
    recall_tiles: float
    recall_words: float
    recall_at_least: float
    exact_ms: float
    ann_ms: float
    build_s: float
    bytes: int

    def lines(self) -> list[str]:
        """For people."""
        recalls = f"{self.recall_tiles:.3f} for queries like tiles, {self.recall_words:.3f} for queries like words"
        return [
            f"{self.tiles:,} tiles in {self.cells:,} cells, D x {self.bits} bit each: {in_bytes(self.bytes)}, built in "
            f"{self.build_s:.1f} s",
            f"a search reads {self.probes:,} cells and {self.refine} vectors for each tile asked for",
            f"recall@{DEPTH} against exact search: {recalls}",
            f"one query: {self.ann_ms:.1f} ms, exact {self.exact_ms:.1f} ms",
        ]


def build_ann(index: Index, *, recall: float = 0.95, seed: int = 0) -> AnnReport:
    """Build the approximate index, replacing one that is there, and choose how much of it a search reads.

    Queries are drawn from the index: tiles, as photos and tiles ask, and their deviations from the mean tile, as words
    do. Cells are added, then stored vectors, then bits, until both recalls are reached beyond
    doubt (by two standard errors). The caller holds the writers' lock; `index` goes on seeing the version it had.

    Args:
        index: to build it for.
        recall: among the 100 nearest, to be reached.
        seed: of the queries drawn.

    Raises:
        GraftError: too few tiles, a recall out of range or out of reach, or the storage fails.
    """
    if not 0 < recall <= 1:
        raise GraftError(f"--recall is {recall}; expected more than 0 and at most 1.")
    count = len(index)
    if count < FEWEST:
        raise GraftError(
            f"The index at {index.address} has {count:,} tiles; an approximate index is for {FEWEST:,} or more. Search "
            "it without --ann: exact search takes milliseconds."
        )
    with told(index.address):
        table = connect(index.address).open_table("tiles")
        _note(table, None)  # a stop leaves no index with the settings of another
        for attempt in _attempts(index, table, seed):
            built, report = attempt
            if report.recall_at_least >= recall:
                break
        _note(table, report)
    carry_over(built, Index.open(index.address))
    if report.recall_at_least < recall:
        raise GraftError(
            f"The approximate index of {index.address} reaches a recall of {report.recall_at_least:.3f}, short of the "
            f"{recall} asked for; it is there all the same. Ask for less with --recall, or search without --ann."
        )
    return report


def ann_report(index: Index) -> AnnReport | None:
    """What was measured when the approximate index was built; None if there is none."""
    stored = (index.schema.field("vector").metadata or {}).get(_KEY.encode())
    return None if stored is None else AnnReport(**json.loads(stored))


def uncovered(index: Index) -> int:
    """Tiles that were added since the approximate index was built; a search compares them one by one.

    Raises:
        GraftError: there is no approximate index.
    """
    return int(_described(index).num_unindexed_rows)


def ann_nearest(
    index: Index, queries: Tensor, k: int, where: str | None = None
) -> tuple[list[npt.NDArray[np.float32]], list[npt.NDArray[np.uint64]]]:
    """Rows with about the largest cosine to each query, by the approximate index.

    Args:
        index: with an approximate index; tiles added later are found too, at the speed of a plain scan (`uncovered`).
        queries: [Q, D], of any length but 0.
        k: how many.
        where: SQL that rows have to satisfy.

    Returns:
        For each query cosines, float32 [<= k], best first and computed exactly as `nearest` does, and row ids, uint64.

    Raises:
        GraftError: there is no approximate index.
    """
    report = ann_report(index)
    if report is None:
        raise _missing(index)
    probes = min(report.cells, report.probes * math.ceil(k / DEPTH))  # the more are asked for, the farther they lie
    with told(index.address):
        table = _table(index)
        found = [_search(table, query, k, where, probes, report.refine) for query in queries]
    return [scores for scores, _ in found], [rows for _, rows in found]


def _missing(index: Index) -> GraftError:
    return GraftError(
        f"The index at {index.address} has no approximate index. Build it with graft indexes ann {index.address}, or "
        "search without --ann."
    )


def _table(index: Index) -> Any:
    """The version of the table that `index` sees, so that row ids fit."""
    table = connect(index.address).open_table("tiles")
    table.checkout(index.version)
    return table


def _described(index: Index) -> Any:
    """LanceDB's own words on the approximate index."""
    for found in _table(index).list_indices():
        if found.columns == ["vector"]:
            return found
    raise _missing(index)


def _note(table: Any, report: AnnReport | None) -> None:
    """Keep a report with the vectors' column; None removes it."""
    said = None if report is None else json.dumps(asdict(report), sort_keys=True)
    table.update_field_metadata({"path": "vector", "metadata": {_KEY: said}})


def _search(
    table: Any, query: Tensor, k: int, where: str | None, probes: int, refine: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64]]:
    search = table.search(query.float().cpu().numpy()).distance_type("dot")
    search = search.refine_factor(refine).limit(k)
    # Where a condition leaves less than k in these cells, more have to be read, and with an upper limit above the lower
    # LanceDB reads all.
    search = search.minimum_nprobes(probes).maximum_nprobes(0) if where else search.nprobes(probes)
    found = (search.where(where) if where else search).select(["vector", "_distance"]).with_row_id(True).to_arrow()
    order = np.argsort(found["_rowid"].to_numpy())  # ties go to the lower row
    rows = found["_rowid"].to_numpy()[order]
    vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(-1, len(query))[order]
    scores, places = nearest(vectors, query[None], k)
    return scores[0].numpy(), rows[places[0].numpy()]


def _attempts(index: Index, table: Any, seed: int) -> Iterator[tuple[Index, AnnReport]]:
    """Build the index in more and more bits; what each finds, and the version of the table that has it."""
    count, began = len(index), time.perf_counter()
    for bits in BITS:
        config = import_extra("lancedb.index", "search").IvfRq(
            distance_type="dot", num_partitions=_cells(count), num_bits=bits
        )
        table.create_index("vector", config=config, replace=True)
        build_s = time.perf_counter() - began
        built = Index.open(index.address)
        carry_over(index, built)
        index = built
        for report in _calibrate(index, bits, seed, build_s):
            yield index, report


def _calibrate(index: Index, bits: int, seed: int, build_s: float) -> Iterator[AnnReport]:
    """What the index finds when more and more of it is read."""
    flat = flat_vectors(index)
    tiles = _draw(flat, seed)
    queries = torch.cat([tiles, F.normalize(tiles - tiles.mean(dim=0), dim=1)])
    truth = flat.row_ids[nearest(flat.vectors, queries, DEPTH)[1].numpy()]
    began = time.perf_counter()
    for query in queries[:TIMED]:
        nearest(flat.vectors, query[None], DEPTH)
    exact_ms = (time.perf_counter() - began) * 1000 / TIMED
    cells, size = _cells(len(index)), int(_described(index).size_bytes)
    table = _table(index)
    for probes, refine in tqdm(_settings(cells), desc=f"recall, D x {bits} bit", unit="setting", leave=False):
        began = time.perf_counter()
        found = [_search(table, query, DEPTH, None, probes, refine)[1] for query in queries]
        ann_ms = (time.perf_counter() - began) * 1000 / len(queries)
        shares = np.array([np.isin(right, rows).mean() for right, rows in zip(truth, found, strict=True)])
        kinds = shares.reshape(2, len(tiles))
        means, errors = kinds.mean(axis=1), kinds.std(axis=1) / len(tiles) ** 0.5
        yield AnnReport(
            tiles=len(index),
            bits=bits,
            cells=cells,
            probes=probes,
            refine=refine,
            recall_tiles=float(means[0]),
            recall_words=float(means[1]),
            recall_at_least=float((means - 2 * errors).min()),
            exact_ms=exact_ms,
            ann_ms=ann_ms,
            build_s=build_s,
            bytes=size,
        )


def _cells(count: int) -> int:
    return max(1, min(count // CELL, math.isqrt(count)))


def _settings(cells: int) -> list[tuple[int, int]]:
    """Numbers of cells and of stored vectors to try, by what they cost."""
    probes = [1 << power for power in range(cells.bit_length()) if 1 << power < cells] + [cells]
    return [(number, REFINE[0]) for number in probes] + [(cells, refine) for refine in REFINE[1:]]


def _draw(flat: FlatVectors, seed: int) -> Tensor:
    """Vectors of tiles drawn from the index, float32 [DRAWN, D]."""
    places = np.sort(np.random.default_rng(seed).choice(len(flat.vectors), DRAWN, replace=False))
    return torch.from_numpy(flat.vectors[places].astype(np.float32))
