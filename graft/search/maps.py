"""The maps of a page of hits: one of all that is in the index, and a closer one of each place with hits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyproj.exceptions
import shapely
from affine import Affine

from graft.imagery.geometry import grid_rings
from graft.index.table import quoted
from graft.search.hits import LIKE, Hit
from graft.search.outline import Frame, Line, degrees, frame_around, graticule, land_path, path, scale_bar
from graft.sphere import EARTH_M, lon_lat_box, unit_vectors

if TYPE_CHECKING:
    from graft.index.table import Index

_SIZE = (520, 330)
_OVERVIEW_DEGREES = 24.0
_NEAR_M = 100_000.0
_SCALED_DEGREES = 60.0
_CLOSE_MAPS = 3
_RADIUS = 10.0
_LEAST_PX = 1.5
"""Around what is covered, on the overview: a scene is smaller than a pixel of the whole Earth."""

_CELL = 0.05
_MOST_CELLS = 20_000


@dataclass(frozen=True)
class Marker:
    """A hit on a map.

    Attributes:
        x: pixels.
        y: pixels.
        rank: of the hit.
        like: whether it is like the query.
        numbered: whether there is room for its number; else it is a dot.
        footprint: SVG path; empty on the overview.
    """

    x: float
    y: float
    rank: int
    like: bool
    numbered: bool
    footprint: str


@dataclass(frozen=True)
class Map:
    """All that an SVG of a map is drawn from; lengths in pixels.

    Attributes:
        title: what it shows.
        frame: which part of the Earth.
        land: SVG path.
        indexed: SVG path of what the index covers.
        meridians: of the graticule.
        parallels: of the graticule.
        markers: best hit last, so that it lies on top.
        bar: length and text of the scale bar; None on a map whose scale is not the same all over.
    """

    title: str
    frame: Frame
    land: str
    indexed: str
    meridians: list[Line]
    parallels: list[Line]
    markers: list[Marker]
    bar: tuple[float, str] | None


def draw_maps(hits: Sequence[Hit], covered: shapely.Geometry) -> list[Map]:
    """An overview, and closer maps of the places of the best hits.

    Args:
        hits: those without a place are on no map.
        covered: see `covered_area`.

    Returns:
        No map where no hit has a place.
    """
    placed = [hit for hit in hits if hit.geometry is not None]
    if not placed:
        return []
    shapes = _footprints(placed)
    everything = _box([covered, *shapes] if not covered.is_empty else shapes)
    maps = [_draw("The index, and all hits", placed, covered, frame_around(everything, _SIZE, _OVERVIEW_DEGREES))]
    for group in _places(placed)[:_CLOSE_MAPS]:
        near = _footprints(group)
        tallest = max(shape.bounds[3] - shape.bounds[1] for shape in near)
        best, number = group[0], len(group)
        where = f"{degrees(best.lat or 0.0, 'NS', 0.01)}, {degrees(best.lon or 0.0, 'EW', 0.01)}"
        told = f"Hit {best.rank}" if number == 1 else f"Hit {best.rank} and {number - 1} more"
        frame = frame_around(_box(near), _SIZE, 5 * tallest)
        maps.append(_draw(f"{told} near {where}", group, covered, frame, close=True))
    return maps


def covered_area(index: "Index") -> shapely.Geometry:
    """What an index covers, in degrees: outlines of rasters, and cells of 0.05 degrees with tiles of other sources."""
    sources = index.sources()
    shapes: list[shapely.Geometry] = []
    for source in sources:
        if source.kind == "raster" and source.crs:
            try:
                rings = grid_rings(source.crs, Affine(*source.transform), source.width, source.height)
            except (pyproj.exceptions.ProjError, shapely.errors.GEOSException):  # a grid outside of its own system
                continue
            shapes += [shapely.Polygon(ring) for ring in rings]
    others = ", ".join(quoted(source.id) for source in sources if source.kind != "raster")
    if others:
        shapes += _cells(index, f"source_id IN ({others}) AND lon IS NOT NULL")
    return shapely.union_all(shapes, grid_size=1e-6)


def _cells(index: "Index", where: str) -> list[shapely.Geometry]:
    cells, side = np.zeros((0, 2), np.int64), _CELL
    for batch in index.batches(["lon", "lat"], where):
        degrees_here = np.stack([batch["lon"].to_numpy(), batch["lat"].to_numpy()], axis=1)
        cells = np.unique(np.concatenate([cells, np.floor(degrees_here / side).astype(np.int64)]), axis=0)
        while len(cells) > _MOST_CELLS:
            cells, side = np.unique(cells // 2, axis=0), 2 * side
    low = cells * side
    return list(shapely.box(low[:, 0], low[:, 1], low[:, 0] + side, low[:, 1] + side))


def _footprints(hits: Sequence[Hit]) -> list[shapely.Geometry]:
    return [hit.geometry for hit in hits if hit.geometry is not None]


def _box(shapes: Sequence[shapely.Geometry]) -> tuple[float, float, float, float]:
    return lon_lat_box(np.asarray(shapely.get_coordinates(shapes)))


def _places(hits: Sequence[Hit]) -> list[list[Hit]]:
    """Hits in groups: each goes to the first group whose best hit is within `_NEAR_M`."""
    groups: list[list[Hit]] = []
    for hit in hits:
        near = (group for group in groups if _distance_m(group[0], hit) <= _NEAR_M)
        group = next(near, None)
        if group is None:
            groups.append([hit])
        else:
            group.append(hit)
    return groups


def _distance_m(one: Hit, other: Hit) -> float:
    a, b = unit_vectors(np.array([[one.lon, one.lat], [other.lon, other.lat]], np.float64))
    return float(np.arccos(np.clip(a @ b, -1, 1))) * EARTH_M


def _draw(title: str, hits: Sequence[Hit], covered: shapely.Geometry, frame: Frame, *, close: bool = False) -> Map:
    markers: list[Marker] = []
    taken: list[tuple[float, float]] = []
    for hit in hits:
        x, y = frame.place(hit.lon or 0.0, hit.lat or 0.0)
        free = all((x - left) ** 2 + (y - upper) ** 2 >= (2 * _RADIUS) ** 2 for left, upper in taken)
        if free:
            taken.append((x, y))
        footprint = path(hit.geometry, frame) if close else ""
        markers.append(Marker(x, y, hit.rank, (hit.likeness or 0.0) >= LIKE, free, footprint))
    markers.sort(key=lambda marker: (marker.numbered, -marker.rank))
    meridians, parallels = graticule(frame)
    area = covered if close else shapely.buffer(covered, _LEAST_PX / frame.scale)
    bar = scale_bar(frame) if frame.east - frame.west < _SCALED_DEGREES else None
    return Map(title, frame, land_path(frame), path(area, frame), meridians, parallels, markers, bar)
