"""A search: filters, nearest vectors, one hit a place, likeness."""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely
import torch

from graft.errors import GraftError
from graft.search.filters import Allowed, Filters, allowed_rows
from graft.search.hits import LIKE, Hit, SearchResult
from graft.search.likeness import Background, likeness
from graft.search.overlap import Ground, Spread
from graft.search.query import Query

if TYPE_CHECKING:
    from graft.index.table import Index

_GROUND = ("path", "item", "window", "geometry")
_TOLD = ("id", "path", "item", "source_id", "epsg", "gsd_m", "valid", "cloud", "lon", "lat")
_COLUMNS = (*_TOLD, "window", "datetime", "geometry")
Find = Callable[[int], tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64]]]
"""At most so many of the nearest: cosines, best first, and row ids."""

MOST_HITS = 10_000
_MOST_ANN = 100_000
"""Tiles that --ann looks through; LanceDB holds the vectors of several times as many in memory."""

_OVERLAPS = "overlapping a better hit"
_BEYOND = f"not among the {_MOST_ANN:,} that --ann looks through"
_GROWTH = 4
_PORTION = 4096
"""Tiles whose places are in memory at a time."""


def search_index(
    index: "Index",
    query: Query,
    *,
    filters: Filters | None = None,
    top: int = 50,
    overlap: float = 0.25,
    background: Background | None = None,
    ann: bool = False,
) -> SearchResult:
    """Find the tiles of an index whose vectors have the largest cosine with a query.

    Args:
        index: open.
        query: of the width of its vectors.
        filters: which tiles may be found; all without.
        top: how many hits at most, up to `MOST_HITS`.
        overlap: a tile that shares more than this part of the smaller footprint with a better hit is left out; 1 keeps
            all.
        background: what likeness is judged by; no likeness without.
        ann: search LanceDB's approximate index in place of every vector.

    Raises:
        GraftError: an index without tiles, a query of another width, a number out of range, no tile left by the
            filters, or none of those found by the approximate index.
    """
    if not 1 <= top <= MOST_HITS:
        raise GraftError(f"--top is {top}; expected 1 to {MOST_HITS}.")
    if not 0 <= overlap <= 1:
        raise GraftError(f"--overlap is {overlap:g}; expected a share from 0 to 1 (1 keeps every hit).")
    if len(query.vector) != index.card.dim:
        raise GraftError(
            f"The query has width {len(query.vector)}, the vectors of {index.address} have {index.card.dim}: they are "
            "not of the same CLIP. Give the --teacher that the model was aligned to."
        )
    if not len(index):
        raise GraftError(f"The index at {index.address} holds no tiles. Add some with graft index.")
    chosen = filters or Filters()
    allowed = allowed_rows(index, chosen)
    searched = len(index) if allowed.rows is None else len(allowed.rows)
    scores, rows, looked = _best(index, query, allowed, searched, top, overlap, ann=ann)
    if not len(rows):
        raise GraftError(f"The approximate index found none of the {searched:,} tiles to search: search without --ann.")
    beyond = searched - looked if ann and len(rows) < top and searched > _MOST_ANN else 0
    left_out = allowed.left_out | {
        reason: number for reason, number in ((_OVERLAPS, looked - len(rows)), (_BEYOND, beyond)) if number
    }
    found = index.take(rows, (*_COLUMNS, "vector"))
    vectors = found["vector"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
    likely = likeness(torch.from_numpy(vectors.astype(np.float32)), query, background)
    shares = [None] * len(rows) if likely is None else likely.tolist()
    content = found.select(list(_COLUMNS)).to_pylist()
    hits = tuple(map(_hit, range(1, len(rows) + 1), scores.tolist(), shares, content))
    return SearchResult(
        hits=hits,
        query=query,
        card=index.card,
        address=index.address,
        rows=len(index),
        searched=searched,
        left_out=left_out,
        conditions=chosen.conditions(),
        verdict=_verdict(hits),
    )


def _best(
    index: "Index", query: Query, allowed: Allowed, searched: int, top: int, overlap: float, *, ann: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64], int]:
    """Cosines and row ids of the hits, best first, and how many tiles were looked at to find them.

    More tiles are fetched for as long as there are too few hits; memory does not grow with their vectors.
    """
    find = _approximate(index, query, allowed) if ann else _exact(index, query, allowed)
    # With --ann a condition on places leaves out some of what was found.
    limit = min(len(index), _MOST_ANN) if ann else searched
    asked = 2 * top
    spread, kept, looked = Spread(overlap), list[int](), 0
    while True:
        scores, rows = find(asked)
        if ann:  # asked for more, it may find better ones too
            spread, kept, looked = Spread(overlap), [], 0
        for ground in _grounds(index, rows[looked:]):
            if spread.take(ground):
                kept.append(looked)
            looked += 1
            if len(kept) == top:
                break
        if len(kept) == top or asked >= limit:
            return scores[kept], rows[kept], looked
        asked = min(limit, _GROWTH * asked)


def _exact(index: "Index", query: Query, allowed: Allowed) -> Find:
    from graft.index.flat import flat_vectors
    from graft.nearest import nearest

    flat = flat_vectors(index)
    within = None if allowed.rows is None else np.isin(flat.row_ids, allowed.rows)

    def find(number: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64]]:
        scores, places = nearest(flat.vectors, query.vector[None], number, allowed=within)
        return scores[0].numpy(), np.asarray(flat.row_ids)[places[0].numpy()]

    return find


def _approximate(index: "Index", query: Query, allowed: Allowed) -> Find:
    from graft.index.ann import ann_nearest

    def find(number: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64]]:
        scores, rows = ann_nearest(index, query.vector[None], number, allowed.where)
        found, cosines = np.asarray(rows[0], np.uint64), np.asarray(scores[0], np.float32)
        # SQL knows boxes around areas only.
        within = np.ones(len(found), bool) if allowed.rows is None else np.isin(found, allowed.rows)
        return cosines[within], found[within]

    return find


def _grounds(index: "Index", rows: npt.NDArray[np.uint64]) -> Iterator[Ground]:
    for first in range(0, len(rows), _PORTION):
        yield from map(_ground, index.take(rows[first : first + _PORTION], _GROUND).to_pylist())


def _ground(row: dict[str, Any]) -> Ground:
    window = row["window"]
    left, upper = window["column"], window["row"]
    return Ground(
        None if row["geometry"] is None else shapely.from_wkb(row["geometry"]),
        f"{row['path']}\n{row['item']}",
        shapely.box(left, upper, left + window["width"], upper + window["height"]),
    )


def _hit(rank: int, score: float, share: float | None, row: dict[str, Any]) -> Hit:
    window = row["window"]
    return Hit(
        rank=rank,
        score=score,
        likeness=share,
        window=(window["column"], window["row"], window["width"], window["height"]),
        datetime=None if row["datetime"] is None else _iso(row["datetime"]),
        geometry=None if row["geometry"] is None else shapely.from_wkb(row["geometry"]),
        **{name: row[name] for name in _TOLD},
    )


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _verdict(hits: tuple[Hit, ...]) -> str:
    """Whether something like the query is among the hits."""
    shares = [hit.likeness for hit in hits if hit.likeness is not None and math.isfinite(hit.likeness)]
    if not shares:
        return "Whether any of them is like the query is not known: there are no everyday descriptions to compare with."
    like = sum(share >= LIKE for share in shares)
    if like:
        return f"{like} of {len(hits)} hits {'is' if like == 1 else 'are'} like the query (likeness {LIKE} or more)."
    return (
        f"Nothing like this here: the largest likeness is {max(shares):.2f}, and {LIKE} would be as good as the best "
        "everyday description. The nearest tiles are shown all the same."
    )
