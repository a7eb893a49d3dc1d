"""Checks of the photos: how many a tile has, where in it they lie, copies, times, licences."""

from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from graft.audit.cards import SplitCard
from graft.audit.findings import NOTHING, Check, Level, from_tally, percent, share
from graft.audit.names import SHOWN, pair_names, photo_name
from graft.audit.notes import Notes
from graft.audit.repeats import repeated
from graft.audit.rows import NO_TIME, Rows, Table
from graft.sensors import get_sensor
from graft.sphere import EARTH_M, unit_vectors

_CENTRE_PIXELS = 0.5
_HEAPED = 0.5
_ONE_SPOT = 0.05
_CROWD = 10
_MOVED_PIXELS = 1.5
_SMALL = 0.5


def check_per_tile(table: Table) -> Check:
    """How many photos a tile has."""
    counts = np.asarray(table.tiles["photos"])
    if not len(counts):
        return Check("Photos", "per tile", Level.UNCHECKED, "no sample was read")
    single = share(int((counts == 1).sum()), len(counts))
    says = f"{counts.mean():.2f} a tile, median {np.median(counts):g}, most {counts.max()}; {percent(single)} have one"
    numbers = {
        "mean": float(counts.mean()),
        "median": float(np.median(counts)),
        "most": int(counts.max()),
        "single": single,
        "histogram": np.bincount(counts).tolist(),
    }
    return Check("Photos", "per tile", Level.OK, says, numbers)


def check_positions(table: Table, notes: Notes, cards: list[SplitCard]) -> list[Check]:
    """Positions inside the tiles, and positions too regular to be measured."""
    checks = [
        from_tally(
            "Photos",
            "positions",
            notes.faults.get("positions"),
            looked=notes.looked["positions"],
            noun="photos",
            fine="every photo lies inside its tile",
            remedy="x runs right and y down from the upper left corner, in tile pixels. Build the shards again.",
        )
    ]
    photos = table.photos
    if not len(photos):
        return checks
    sides = np.array([card.tile_size for card in cards])[table.photo_splits()]
    x, y = photos["x"], photos["y"]
    central = share(
        int(((np.abs(x - sides / 2) <= _CENTRE_PIXELS) & (np.abs(y - sides / 2) <= _CENTRE_PIXELS)).sum()), len(photos)
    )
    hundredths = [np.round(np.asarray(value, np.float64) * 100).astype(np.int64) for value in (x, y)]
    spots = hundredths[0] * 1_000_000_000 + hundredths[1]
    fullest = int(np.unique(spots, return_counts=True)[1].max())
    most = share(fullest, len(photos))
    whole = share(int(((x % 1 == 0) & (y % 1 == 0)).sum()), len(photos))
    problems = []
    if central > _HEAPED:
        problems.append(f"{percent(central)} of the photos lie at the centre of their tile")
    elif most > _ONE_SPOT and fullest >= _CROWD:
        problems.append(f"{percent(most)} of the photos lie at one and the same position of their tile")
    if whole > _HEAPED:
        problems.append(f"{percent(whole)} of the positions are whole pixels")
    fine = f"{percent(central)} lie at the centre, {percent(most)} at the most frequent position"
    checks.append(
        Check(
            "Photos",
            "heaps",
            Level.WARNING if problems else Level.OK,
            "; ".join(problems) or fine,
            {"at_centre": central, "most_frequent": most, "whole_pixels": whole},
            remedy="The pixel-level loss learns little from such positions: shift the tiles at random, and keep "
            "the photos' own coordinates.",
        )
    )
    return [*checks, _check_crowds(table)]


def _check_crowds(table: Table) -> Check:
    """Many photos at exactly one place on Earth: town centres and default positions rather than GPS."""
    photos = table.photos
    rows = np.flatnonzero(np.isfinite(photos["lon"]))
    if not len(rows):
        return Check("Photos", "crowds", Level.UNCHECKED, "no photo has a place on Earth: tiles lack crs and transform")
    _, first = np.unique(photos["id"][rows], return_index=True)
    rows = rows[first]
    micro = np.round(np.stack([photos["lon"][rows], photos["lat"][rows]], axis=1) * 1e6).astype(np.int64)
    _, counts = np.unique(micro[:, 0] * 1_000_000_000 + micro[:, 1], return_counts=True)
    crowded = share(int(counts[counts >= _CROWD].sum()), len(rows))
    bad = crowded > _ONE_SPOT
    return Check(
        "Photos",
        "crowds",
        Level.WARNING if bad else Level.OK,
        f"{percent(crowded)} of the photos share their exact coordinates with {_CROWD - 1} or more others",
        {"share": crowded, "most": int(counts.max())},
        remedy="Coordinates that repeat are town centres or defaults: filter them in graft prepare.",
    )


def check_ids(table: Table, notes: Notes, cards: list[SplitCard]) -> Check:
    """One id is one photo: in several tiles where they overlap, but at one place on Earth."""
    photos = table.photos
    tally = notes.faults.get("photo ids")
    if not len(photos):
        return Check("Photos", "ids", Level.UNCHECKED, NOTHING)
    unique, tiles_of = np.unique(photos["id"], return_counts=True)
    several = share(int((tiles_of > 1).sum()), len(unique))
    gsd = np.array([_gsd(card) for card in cards])[table.photo_splits()]
    moved = _moved(photos, gsd)
    problems = [f"{reason}: {number:,}" for reason, number in tally.counts.items()] if tally else []
    examples = [name for shown in tally.examples.values() for name in shown] if tally else []
    if len(moved):
        problems.append(f"ids that stand at two places on Earth: {len(moved):,}")
        examples += [photo_name(table, cards, int(row)) for row in moved[:SHOWN]]
    fine = f"{len(unique):,} photos; {percent(several)} lie in more than one tile, at most in {tiles_of.max()}"
    return Check(
        "Photos",
        "ids",
        Level.FAULT if problems else Level.OK,
        "; ".join(problems) or fine,
        {"photos": len(unique), "in_several_tiles": several, "moved": len(moved)},
        examples,
        "Equal ids must be the same photo: make ids unique across sources, or correct the positions.",
    )


def _gsd(card: SplitCard) -> float:
    return get_sensor(card.sensor).gsd_m


def _moved(photos: Rows, gsd: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Rows of photos, one an id, whose place is another than the id has elsewhere, rounding of positions aside."""
    rows = np.flatnonzero(np.isfinite(photos["lon"]))
    order = rows[np.argsort(photos["id"][rows], kind="stable")]
    ids = photos["id"][order]
    same = np.flatnonzero(ids[1:] == ids[:-1])
    here, there = (
        unit_vectors(np.stack([photos[name][order[same + step]] for name in ("lon", "lat")], axis=1)) for step in (0, 1)
    )
    apart = np.linalg.norm(here - there, axis=1) * EARTH_M
    far = same[apart > _MOVED_PIXELS * gsd[order[same]]]
    _, first = np.unique(ids[far], return_index=True)
    return np.asarray(order[far[first] + 1])


def check_copies(table: Table, cards: list[SplitCard]) -> Check:
    """The same vector, or the same stored picture, under different ids: copies of a photo."""
    column = "vector" if table.photos["vector"].any() else "picture"
    seen = table.photos[column] != 0
    if not seen.any():
        return Check("Copies", "photos", Level.UNCHECKED, "no vector and no picture could be read")
    copies = repeated(table.photos[column], table.photos["id"])
    part = share(copies.extra, len(np.unique(table.photos["id"][seen])))
    return Check(
        "Copies",
        "photos",
        Level.WARNING if copies.extra else Level.OK,
        f"{copies.extra:,} photos ({percent(part)}) have the same {column} as one of another id, "
        f"at most {copies.most} are alike"
        if copies.extra
        else f"no two ids have the same {column}",
        {"extra": copies.extra, "most": copies.most},
        pair_names(table, cards, copies.pairs, photos=True),
        remedy="Copies weigh a place more than others: drop near duplicates in graft prepare.",
    )


def check_sizes(table: Table) -> Check | None:
    """Stored photos much smaller than the rest; None where no photo is stored."""
    sides = table.photos["side"][table.photos["side"] > 0]
    if not len(sides):
        return None
    usual = float(np.median(sides))
    small = int((sides < _SMALL * usual).sum())
    return Check(
        "Photos",
        "sizes",
        Level.WARNING if small else Level.OK,
        f"{small:,} stored photos have a short side below half of the usual {usual:g} px"
        if small
        else f"short sides of stored photos are {sides.min()} to {sides.max()} px",
        {"usual": usual, "small": small},
        remedy="Raise the least size of photos in graft prepare.",
    )


def check_times(table: Table, notes: Notes) -> Check:
    """When tiles and photos were taken, and how far apart."""
    tally = notes.faults.get("times")
    tiles, photos = table.tiles["time"], table.photos["time"]
    known = {"tiles": tiles[tiles != NO_TIME], "photos": photos[photos != NO_TIME]}
    says, numbers = [], {}
    for name, times in known.items():
        part = share(len(times), len(table.tiles if name == "tiles" else table.photos))
        first, last = (_day(times.min()), _day(times.max())) if len(times) else ("", "")
        says.append(f"{name}: {first} to {last} ({percent(part)} stated)" if len(times) else f"{name}: no time stated")
        numbers[name] = {"stated": part, "first": first, "last": last}
    both = (photos != NO_TIME) & (tiles[table.photos["tile"]] != NO_TIME)
    if both.any():
        apart = np.abs(photos[both] - tiles[table.photos["tile"]][both]) / 86_400
        numbers["apart_days"] = {"median": float(np.median(apart)), "p95": float(np.percentile(apart, 95))}
        says.append(f"a photo and its tile are {np.median(apart):,.0f} days apart (median)")
    if tally is not None and tally.total:
        says = [f"{reason}: {number:,}" for reason, number in tally.counts.items()] + says
    level = Level.OK if any(len(times) for times in known.values()) else Level.UNCHECKED
    level = Level.WARNING if tally is not None and tally.total else level
    examples = [name for shown in tally.examples.values() for name in shown] if tally else []
    return Check(
        "Photos",
        "times",
        level,
        "; ".join(says),
        numbers,
        examples,
        "Write times as ISO 8601, e.g. 2021-05-03T10:00:00Z." if tally is not None and tally.total else "",
    )


def _day(seconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))).strftime("%Y-%m-%d")


def check_licences(notes: Notes) -> Check:
    """Licences and sources of the photos."""
    total, without = notes.licences.total(), notes.licences[""]
    if not total:
        return Check("Photos", "licences", Level.UNCHECKED, NOTHING)
    bad = without > 0
    named = ", ".join(
        f"{name} {percent(share(number, total))}" for name, number in notes.licences.most_common(4) if name
    )
    says = f"{percent(share(without, total))} of the photos state none" if bad else "all stated"
    return Check(
        "Photos",
        "licences",
        Level.WARNING if bad else Level.OK,
        f"{says}: {named}" if named else says,
        {"licences": dict(notes.licences.most_common()), "sources": dict(notes.sources.most_common())},
        remedy="Give the photo table a license column: what may be published depends on it.",
    )
