"""Checks of where the tiles lie: places stated, spread, overlaps."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from scipy.spatial import cKDTree

from graft.audit.findings import Check, Level, from_tally, percent, share
from graft.audit.ground import centres, on_plane
from graft.audit.notes import Notes
from graft.audit.rows import Rows, Table
from graft.sphere import EARTH_M, degrees_of, lon_lat_box, unit_vectors

_CELL_KM = 100.0
_NEIGHBOURS = 24
_MOST_DRAWN = 100_000
TOUCH = 1e-3
_TWICE = 0.95
_CHUNK = 2_000


def check_places(table: Table, notes: Notes) -> list[Check]:
    """Which tiles have a place on Earth, whether it makes sense, and how far they are spread."""
    tiles = table.tiles
    placed = np.isfinite(tiles["corners"][:, 0, 0])
    part = share(int(placed.sum()), len(tiles))
    tally = notes.faults.get("places")
    checks = [
        from_tally(
            "Places",
            "georeference",
            tally,
            looked=len(tiles),
            noun="tiles",
            fine=f"{percent(part)} of the tiles have a crs and a transform that fit the sensor",
            remedy="crs and transform (a, b, c, d, e, f, pixel to crs) of a tile must give its place on Earth.",
            numbers={"placed": part},
        )
    ]
    if tally is None and len(tiles) and not placed.any():
        why = "no tile states crs and transform: spread, overlaps and leakage by place cannot be seen"
        checks = [Check("Places", "georeference", Level.UNCHECKED, why, {"placed": 0.0})]
    elif tally is None and 0 < part < 1:
        why = f"{percent(1 - part)} of the tiles state no crs and transform"
        remedy = "Overlaps and leakage of these tiles cannot be seen: add their places."
        checks = [Check("Places", "georeference", Level.WARNING, why, {"placed": part}, remedy=remedy)]
    return [*checks, *([_check_spread(tiles["corners"][placed])] if placed.any() else [])]


def _check_spread(corners: npt.NDArray[np.float64]) -> Check:
    degrees = degrees_of(centres(corners))
    cells = equal_area_cells(degrees, _CELL_KM)
    _, counts = np.unique(cells, return_counts=True)
    top = share(int(counts.max()), len(corners))
    west, south, east, north = lon_lat_box(degrees)
    around = f", {_degrees(west, 'EW')} to {_degrees(east, 'EW')}" if east - west <= 180 else ", all around Earth"
    says = (
        f"{len(counts):,} cells of {_CELL_KM:g} x {_CELL_KM:g} km hold tiles, the fullest {percent(top)} of them; "
        f"{_degrees(south, 'NS')} to {_degrees(north, 'NS')}{around}"
    )
    numbers = {"cells": len(counts), "cell_km": _CELL_KM, "fullest": top, "box": [west, south, east, north]}
    return Check("Places", "spread", Level.OK, says, numbers)


def _degrees(value: float, letters: str) -> str:
    value = (value + 180) % 360 - 180 if letters == "EW" else value
    return f"{abs(value):.4g}° {letters[0] if value >= 0 else letters[1]}"


def equal_area_cells(degrees: npt.NDArray[np.float64], side_km: float) -> npt.NDArray[np.int64]:
    """Cell of a grid of equal areas for each lon and lat [N, 2]: int64 [N]."""
    side = side_km * 1000 / EARTH_M
    columns = np.floor(np.radians(degrees[:, 0]) / side).astype(np.int64)
    rows = np.floor(np.sin(np.radians(degrees[:, 1])) / side).astype(np.int64)
    return columns * 1_000_000 + rows


def check_overlaps(table: Table, splits: int) -> Check | None:
    """Tiles of one split that show the same ground; None where no tile has a place."""
    corners = table.tiles["corners"]
    placed = np.isfinite(corners[:, 0, 0])
    if not placed.any():
        return None
    overlapping, twice, pairs, looked = 0, 0, 0, 0
    for number in range(splits):
        rows = np.flatnonzero(placed & (table.tiles["split"] == number))
        step = max(len(rows) // _MOST_DRAWN, 1)
        found = neighbours(table.tiles, rows[::step], rows, reach_m=0.0)
        over = found.overlap > TOUCH
        overlapping += len(np.unique(found.here[over]))
        twice += len(np.unique(found.here[found.overlap > _TWICE]))
        pairs, looked = pairs + int(over.sum()), looked + len(rows[::step])
    bad = share(twice, looked)
    says = (
        f"{percent(share(overlapping, looked))} of the tiles overlap another one, "
        f"{share(pairs, looked):.2g} others each; {percent(bad)} lie on the same ground as another one"
    )
    return Check(
        "Places",
        "overlaps",
        Level.WARNING if twice else Level.OK,
        says,
        {"overlapping": share(overlapping, looked), "neighbours": share(pairs, looked), "same_ground": bad},
        remedy="The same ground is in several scenes: keep the best scene of each place.",
    )


@dataclass(frozen=True)
class Neighbours:
    """Pairs of tiles that are close to each other.

    Attributes:
        here: rows of `TILE`, int64 [P].
        there: rows of the other one.
        overlap: area they share, of the smaller one's, 0..1.
        gap_m: metres between their footprints, 0 where they touch.
    """

    here: npt.NDArray[np.int64]
    there: npt.NDArray[np.int64]
    overlap: npt.NDArray[np.float64]
    gap_m: npt.NDArray[np.float64]


def neighbours(tiles: Rows, here: npt.NDArray[np.int64], there: npt.NDArray[np.int64], *, reach_m: float) -> Neighbours:
    """Tiles of one set with the tiles of another whose footprints are at most `reach_m` away, at most 24 each.

    Args:
        tiles: rows of `TILE`.
        here: rows with a place.
        there: likewise; a tile is not its own neighbour.
        reach_m: metres between footprints.
    """
    parts = []
    if len(here) and len(there):
        corners = tiles["corners"][there]
        middles = centres(corners)
        tree = cKDTree(middles)
        radius = max(_radius(corners), _radius(tiles["corners"][here]))
        limit = 2 * radius + reach_m / EARTH_M
        for start in range(0, len(here), _CHUNK):
            some = here[start : start + _CHUNK]
            origins = centres(tiles["corners"][some])
            far, nearest = tree.query(origins, k=_NEIGHBOURS + 1, distance_upper_bound=limit)
            row, column = np.nonzero(np.isfinite(far))
            left, right = some[row], there[nearest[row, column]]
            other = left != right
            left, right, origins = left[other], right[other], origins[row[other]]
            mine, its = on_plane(tiles["corners"][left], origins), on_plane(tiles["corners"][right], origins)
            smaller = np.minimum(shapely.area(mine), shapely.area(its))
            overlap = shapely.area(shapely.intersection(mine, its)) / np.maximum(smaller, 1e-9)
            gap = shapely.distance(mine, its)
            near = gap <= reach_m
            parts.append((left[near], right[near], overlap[near], gap[near]))
    empty = (np.zeros(0, np.int64),) * 2 + (np.zeros(0),) * 2
    return Neighbours(*(np.concatenate(arrays) for arrays in zip(empty, *parts, strict=True)))


def _radius(corners: npt.NDArray[np.float64]) -> float:
    """The largest distance from a middle to a corner, on the unit sphere."""
    return float(np.linalg.norm(unit_vectors(corners) - centres(corners)[:, None], axis=-1).max())
