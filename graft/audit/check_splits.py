"""Leakage between splits: the same photo, picture, tile or ground on both sides."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.audit.cards import SplitCard
from graft.audit.check_places import TOUCH, neighbours
from graft.audit.findings import Check, Level, from_tally
from graft.audit.ground import side_m
from graft.audit.names import SHOWN, pair_names
from graft.audit.rows import Table
from graft.tally import SHOWN_EXAMPLES, Tally

_REMEDY = "Build the splits again, by cells with a buffer of a tile's diagonal and without near duplicates."


def check_leakage(table: Table, cards: Sequence[SplitCard], buffer_m: float) -> list[Check]:
    """What two splits share. Anything shared is a fault; ground that is only near is a warning.

    Args:
        table: rows of all splits.
        cards: of the splits.
        buffer_m: footprints of two splits that are nearer than this are a fault as well, metres.
    """
    columns = {"photos": "id"}
    if any(card.teacher is not None for card in cards):
        columns["vectors"] = "vector"
    if any(card.photos_stored for card in cards):
        columns["pictures"] = "picture"
    checks = [_check_shared(table, cards, name, column, photos=True) for name, column in columns.items()]
    checks.append(_check_shared(table, cards, "tiles", "pixels", photos=False))
    return [*checks, _check_ground(table, cards, buffer_m)]


def _check_shared(table: Table, cards: Sequence[SplitCard], name: str, column: str, *, photos: bool) -> Check:
    """Equal hashes on both sides; not checked where fewer than two splits have any."""
    hashes = (table.photos if photos else table.tiles)[column]
    splits = table.photo_splits() if photos else table.tiles["split"]
    sides = len(np.unique(splits[hashes != 0]))
    shared = Tally()
    for one, other in combinations(range(len(cards)), 2):
        here, there = (np.flatnonzero((splits == split) & (hashes != 0)) for split in (one, other))
        both, i, j = np.intersect1d(hashes[here], hashes[there], return_indices=True)
        pairs = zip(here[i[:SHOWN]].tolist(), there[j[:SHOWN]].tolist(), strict=True)
        _add(shared, f"in both {cards[one].name} and {cards[other].name}", len(both), table, cards, pairs, photos)
    return from_tally(
        "Splits",
        f"shared {name}",
        shared,
        looked=sides if sides > 1 else 0,
        noun=name,
        fine=f"no two splits share {name}",
        remedy=_REMEDY,
    )


def _add(
    tally: Tally,
    reason: str,
    number: int,
    table: Table,
    cards: Sequence[SplitCard],
    pairs: Iterable[tuple[int, int]],
    photos: bool,
) -> None:
    tally.add(reason, number=number)
    if number:
        tally.examples[reason] = pair_names(table, cards, pairs, photos=photos)[:SHOWN_EXAMPLES]


def _check_ground(table: Table, cards: Sequence[SplitCard], buffer_m: float) -> Check:
    corners = table.tiles["corners"]
    placed = np.isfinite(corners[:, 0, 0])
    if len(np.unique(table.tiles["split"][placed])) < 2:
        return Check("Splits", "shared ground", Level.UNCHECKED, "fewer than two splits have tiles with a place")
    side = float(np.median(side_m(corners[placed][:10_000])))
    reach = max(side, buffer_m)
    leaks, close, nearest = Tally(), Tally(), np.inf
    for one, other in combinations(range(len(cards)), 2):
        here, there = (np.flatnonzero(placed & (table.tiles["split"] == split)) for split in (one, other))
        found = neighbours(table.tiles, here, there, reach_m=reach)
        nearest = min(nearest, float(found.gap_m.min(initial=np.inf)))
        names = f"{cards[one].name} and {cards[other].name}"
        over = found.overlap > TOUCH
        inside = (found.gap_m < buffer_m) & ~over
        for tally, chosen, reason in (
            (leaks, over, f"of {names} that overlap"),
            (leaks, inside, f"of {names} that are nearer than {buffer_m:g} m"),
            (close, ~over & ~inside, f"of {names} that are nearer than a tile's side"),
        ):
            some: npt.NDArray[Any] = np.flatnonzero(chosen)
            pairs = zip(found.here[some[:SHOWN]].tolist(), found.there[some[:SHOWN]].tolist(), strict=True)
            _add(tally, reason, len(some), table, cards, pairs, photos=False)
    return from_tally(
        "Splits",
        "shared ground",
        leaks if leaks.total else close,
        looked=int(placed.sum()),
        noun="pairs of tiles",
        fine=f"no tile is within {reach:,.0f} m of one of another split",
        remedy=_REMEDY,
        level=Level.FAULT if leaks.total else Level.WARNING,
        numbers={"nearest_m": nearest if np.isfinite(nearest) else None, "buffer_m": buffer_m},
    )
