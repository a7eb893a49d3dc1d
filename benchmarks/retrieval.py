"""Search among a million vectors: exact against faiss, and LanceDB's approximate index against exact.

Each engine has a process of its own, so that its memory can be told: `VmHWM`, all that it ever held, libraries and the
mapped file included. Ours is `graft.nearest` on a flat fp16 file as `graft.index.flat` writes it. The peer of exact
search is `faiss.IndexFlatIP` on the same vectors in fp32, which is also what recall is measured against; the limit
reads the file once. All use every core. The approximate index answers one query at a time; its peer is exact search of
one query, its limit reads as many bytes as the codes of the probed cells have.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.memory import status_mb
from benchmarks.rows import BenchmarkRow, measure
from graft.nearest import nearest, scan_precision

COUNT, DIM, QUERIES, TOP = 1_000_000, 512, 20, 100
PART = 50_000
ROUNDS = 5
Vectors = npt.NDArray[np.float32]


class RetrievalRow(BenchmarkRow):
    """A row with what else belongs to a search: recall@100, megabytes, seconds to build."""

    details: dict[str, float | str]


def _unit(vectors: Vectors) -> Vectors:
    units: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units


def uniform(seed: int, count: int) -> Vectors:
    """Directions without any structure, float32 [count, DIM]: the hardest case for an approximate index."""
    return _unit(np.random.default_rng(seed).standard_normal((count, DIM), np.float32))


def clustered(seed: int, count: int) -> Vectors:
    """Directions as an encoder makes them, float32 [count, DIM].

    All share one mean direction (their cosine is about 0.67, that of CLIP's vectors 0.5 to 0.8). Around it lie 2,000
    clusters, the n-th n^0.8 times as rare as the first, and within a cluster the variance falls as 1 / n over the
    principal axes.
    """
    shared = np.random.default_rng(12345)
    mean = _unit(shared.standard_normal((1, DIM), np.float32))
    centres = shared.standard_normal((2000, DIM), np.float32) / DIM**0.5
    axes = np.linalg.qr(shared.standard_normal((DIM, DIM)))[0].astype(np.float32)
    spread = np.arange(1, DIM + 1, dtype=np.float32) ** -0.5
    axes *= spread / np.linalg.norm(spread)
    share = np.arange(1, len(centres) + 1) ** -0.8
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(centres), count, p=share / share.sum())
    return _unit(mean + 0.5 * centres[chosen] + 0.5 * rng.standard_normal((count, DIM), np.float32) @ axes.T)


DRAWS = {"uniform": uniform, "clustered": clustered}


def _parts(draw: str) -> Iterator[Vectors]:
    """The million, in parts; the seed 0 is kept for the queries."""
    return (DRAWS[draw](1 + first, min(PART, COUNT - first)) for first in range(0, COUNT, PART))


def _queries(draw: str, count: int = QUERIES) -> Tensor:
    return torch.from_numpy(DRAWS[draw](0, count))


# --- exact ----------------------------------------------------------------------------------------

_engine: Any = None  # of this process


def _prepare_ours(path: str) -> None:
    global _engine
    bank = np.load(path, mmap_mode="r")

    def search(queries: Tensor) -> object:
        return nearest(bank, queries, TOP)[1].numpy()

    _engine = search


def _prepare_peer(path: str) -> None:
    global _engine
    import faiss

    index = faiss.IndexFlatIP(DIM)
    for part in _parts("uniform"):
        index.add(part)

    def search(queries: Tensor) -> object:
        return index.search(queries.numpy(), TOP)[1]

    _engine = search


def _prepare_limit(path: str) -> None:
    global _engine
    words = torch.from_numpy(np.load(path, mmap_mode="c").view(np.int64))

    def read(_: Tensor) -> object:
        return words.sum()

    _engine = read


def _timed() -> float:
    """Queries a second."""
    queries = _queries("uniform")
    began = time.perf_counter()
    _engine(queries)
    return QUERIES / (time.perf_counter() - began)


def _rows() -> npt.NDArray[np.int64]:
    return np.asarray(_engine(_queries("uniform")))


def retrieval_exact() -> RetrievalRow:
    """Measure the exact 100 nearest of 20 queries among a million vectors."""
    prepare = {"ours": _prepare_ours, "peer": _prepare_peer, "limit": _prepare_limit}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="graft-benchmark-") as folder:
        path = str(Path(folder) / "vectors.npy")
        bank = np.lib.format.open_memmap(path, "w+", np.float16, (COUNT, DIM))
        for number, part in enumerate(_parts("uniform")):
            bank[number * PART : number * PART + len(part)] = part
        bank.flush()
        del bank
        pools: dict[str, Pool] = {name: context.Pool(1, run, (path,)) for name, run in prepare.items()}
        try:
            found = {name: pool.apply(_rows) for name, pool in pools.items() if name != "limit"}  # and warm
            pools["limit"].apply(_timed)
            row = measure(
                "retrieval_exact",
                "query/s",
                ours=lambda: pools["ours"].apply(_timed),
                peer=lambda: pools["peer"].apply(_timed),
                limit=lambda: pools["limit"].apply(_timed),
                rounds=ROUNDS,
            )
            peaks = {f"peak_mb_{name}": round(pool.apply(status_mb, ("VmHWM",))) for name, pool in pools.items()}
        finally:
            for pool in pools.values():
                pool.terminate()
    recall = _recall(found["ours"], found["peer"])
    return RetrievalRow(
        **row, details={"recall_at_100": recall, "scan": str(scan_precision()), "vectors": "uniform", **peaks}
    )


def _recall(found: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    shares = [np.isin(right, mine).mean() for right, mine in zip(truth, found, strict=True)]
    return round(float(np.mean(shares)), 5)


# --- approximate ----------------------------------------------------------------------------------


def _build_index(address: str, draw: str) -> None:
    import pyarrow as pa

    from graft.index.schema import IndexCard, tile_schema
    from graft.index.table import Index

    model = {"name": "random", "sha256": "0" * 64, "sensor": "none", "radiometry": "none", "dim": DIM}
    card = IndexCard(model, {"name": "none", "identity": "none", "dim": DIM})
    index, schema = Index.open_or_create(address, card), tile_schema(card)
    for number, part in enumerate(_parts(draw)):
        values: dict[str, Any] = {name: [None] * len(part) for name in schema.names}
        values |= {name: ["a"] * len(part) for name in ("id", "source_id", "path", "item")}
        values["group"] = [number] * len(part)
        values["window"] = [dict.fromkeys(("column", "row", "width", "height"), 0.0)] * len(part)
        flat = pa.array(part.astype(np.float16).ravel())
        values["vector"] = pa.FixedSizeListArray.from_arrays(flat, DIM)
        index.add(pa.table(values, schema=schema))


def retrieval_ann(name: str = "retrieval_ann", draw: str = "clustered") -> RetrievalRow:
    """Measure the approximate index of a million vectors like an encoder's."""
    from graft.index.ann import ann_nearest, build_ann
    from graft.index.flat import flat_vectors
    from graft.index.table import Index

    with tempfile.TemporaryDirectory(prefix="graft-benchmark-") as folder:
        address = str(Path(folder) / "idx")
        _build_index(address, draw)
        report = build_ann(Index.open(address))
        index, queries = Index.open(address), _queries(draw)
        flat = flat_vectors(index)
        codes = np.ones(int(report.bytes * report.probes / report.cells), np.uint8)

        def ours() -> list[npt.NDArray[np.uint64]]:
            return [ann_nearest(index, query[None], TOP)[1][0] for query in queries]

        def peer() -> list[Tensor]:
            return [nearest(flat.vectors, query[None], TOP)[1][0] for query in queries]

        def limit() -> object:
            return [codes.view().sum() for _ in queries]

        truth = np.stack([flat.row_ids[rows.numpy()] for rows in peer()])
        recall = _recall(np.stack(ours()).astype(np.int64), truth.astype(np.int64))
        row = measure(
            name,
            "query/s",
            ours=lambda: _rate(ours),
            peer=lambda: _rate(peer),
            limit=lambda: _rate(limit),
            rounds=ROUNDS,
        )
    details: dict[str, float | str] = {
        "recall_at_100": recall,
        "recall_at_100_like_tiles": report.recall_tiles,
        "recall_at_100_like_words": report.recall_words,
        "build_s": round(report.build_s, 1),
        "megabytes": round(report.bytes / 1e6, 1),
        "bits": report.bits,
        "cells": report.cells,
        "probes": report.probes,
        "refine": report.refine,
        "vectors": draw,
    }
    return RetrievalRow(**row, details=details)


def retrieval_ann_uniform() -> RetrievalRow:
    """The same of vectors without structure."""
    return retrieval_ann("retrieval_ann_uniform", "uniform")


def _rate(run: Any) -> float:
    began = time.perf_counter()
    run()
    return QUERIES / (time.perf_counter() - began)
