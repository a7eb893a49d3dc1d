"""Regions of a class map as GeoJSON with true areas (RFC 7946: degrees, right-hand rule, cut at the antimeridian)."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
import shapely
import shapely.affinity
from rasterio.features import shapes
from shapely import LinearRing, Polygon

from graft.errors import GraftError
from graft.scene import SceneView

Ring = npt.NDArray[np.float64]
"""Corners [N, 2], the last equal to the first."""

_EARTH_M = 6_371_000.0
_SAGITTA_PX = 0.1


@dataclass(frozen=True)
class Regions:
    """What became of the regions of a class map.

    Attributes:
        area_m2: float64 [C], of all regions, dropped ones too.
        written: regions in the file.
        dropped: regions smaller than the least area.
    """

    area_m2: npt.NDArray[np.float64]
    written: int
    dropped: int


def write_polygons(class_map: Path, view: SceneView, ids: Sequence[str], path: Path, min_area_m2: float) -> Regions:
    """Write one feature a connected region (4 neighbours), with the properties `class` and `area_m2`.

    Memory grows with the number of corners, not of pixels.

    Args:
        class_map: as `write_rasters` writes it.
        view: its scene, with a CRS.
        ids: C class names.
        path: file to write, not atomic.
        min_area_m2: regions smaller than this are dropped.

    Raises:
        GraftError: the scene reaches beyond its CRS.
        OSError: the disk is full or not writable.
    """
    areas, written, dropped = np.zeros(len(ids)), 0, 0
    outliner = _Outliner(view)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for label, rings in _regions(class_map):
            region = outliner.to_degrees(rings)
            areas[label] += region.area_m2
            if region.area_m2 < min_area_m2:
                dropped += 1
                continue
            feature = {
                "type": "Feature",
                "properties": {"class": ids[label], "area_m2": round(region.area_m2, 2)},
                "geometry": region.geometry,
            }
            file.write((",\n" if written else "\n") + json.dumps(feature, ensure_ascii=False))
            written += 1
        file.write("\n]}\n")
    return Regions(areas, written, dropped)


def _regions(class_map: Path) -> Iterator[tuple[int, list[Ring]]]:
    """Class and rings (the outer one first, in pixels) of each region with data."""
    with rasterio.open(class_map) as dataset:
        a, b, c, d, e, f = (~dataset.transform)[:6]
        # Of a band, as opposed to an array, rasterio hands out corners in the dataset's CRS, whatever `transform` says.
        for shape, value in shapes(rasterio.band(dataset, 1), connectivity=4):
            if value != dataset.nodata:
                corners = [np.array(ring, np.float64).T for ring in shape["coordinates"]]
                yield int(value), [np.rint(np.stack([a * x + b * y + c, d * x + e * y + f], 1)) for x, y in corners]


@dataclass(frozen=True)
class _Region:
    geometry: dict[str, object]
    area_m2: float


class _Outliner:
    """Rings in pixels to polygons in degrees."""

    def __init__(self, view: SceneView) -> None:
        self._path, self._transform = view.path, view.transform
        crs = pyproj.CRS.from_wkt(view.crs.to_wkt()) if view.crs else None
        self._project = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        self._ellipsoid = pyproj.Geod(ellps="WGS84")
        # A side of the scene's grid is no straight line in degrees: it is cut where it would stray 0.1 pixels.
        pixel = max(view.gsd_m)
        self._longest = max(math.sqrt(8 * _SAGITTA_PX * _EARTH_M / pixel), 1.0)
        self._digits = 7 if min(view.gsd_m) >= 1 else 9

    def to_degrees(self, rings: list[Ring]) -> _Region:
        """One region, its outer ring first."""
        around = [self._unwrapped(ring) for ring in rings]
        area = abs(self._area(around[0])) - sum(abs(self._area(ring)) for ring in around[1:])
        outer = around[0]
        plain = all(_is_closed(ring) for ring in around) and outer[:, 0].min() >= -180 and outer[:, 0].max() <= 180
        return _Region(self._polygon(around) if plain else self._cut(around), area)

    def _unwrapped(self, ring: Ring) -> Ring:
        """Longitude and latitude along a ring without jumps of 360 degrees; round a pole it does not close."""
        a, b, c, d, e, f = self._transform[:6]
        column, row = _densified(ring, self._longest).T
        lon, lat = self._project.transform(a * column + b * row + c, d * column + e * row + f)
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise GraftError(
                f"Parts of the scene {self._path} lie outside the area of its coordinate reference system, so that "
                "its polygons have no place on Earth; cut them off, e.g. with `gdalwarp -te`."
            )
        return np.stack([np.unwrap(lon, period=360), lat], axis=1)

    def _area(self, ring: Ring) -> float:
        return float(self._ellipsoid.polygon_area_perimeter(ring[:-1, 0], ring[:-1, 1])[0])

    def _polygon(self, rings: list[Ring]) -> dict[str, object]:
        turned = [self._turned(ring, left=number == 0) for number, ring in enumerate(rings)]
        return {"type": "Polygon", "coordinates": turned}

    def _turned(self, ring: Ring, *, left: bool) -> list[list[float]]:
        """Coordinates of a ring, counter-clockwise if `left`."""
        x, y = ring[:-1].T - ring[0][:, None]
        signed = float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
        rounded = np.round(ring if (signed > 0) == left else ring[::-1], self._digits)
        coordinates: list[list[float]] = rounded.tolist()
        return coordinates

    def _cut(self, rings: list[Ring]) -> dict[str, object]:
        """A region that crosses the antimeridian or contains a pole, as the parts on either side of 180 degrees."""
        outer, *holes = (shapely.make_valid(Polygon(_over_the_pole(ring))) for ring in rings)
        whole = outer
        for hole in holes:
            shift = 360 * round((outer.centroid.x - hole.centroid.x) / 360)
            whole = whole.difference(shapely.affinity.translate(hole, shift))
        turns = [
            shapely.affinity.translate(
                whole.intersection(shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)), -360 * turn
            )
            for turn in range(-2, 3)
        ]
        parts = [part for part in shapely.get_parts(shapely.union_all(turns)) if isinstance(part, Polygon)]
        cut = [[_corners(ring) for ring in (part.exterior, *part.interiors)] for part in parts]
        return {"type": "MultiPolygon", "coordinates": [self._polygon(part)["coordinates"] for part in cut]}


def _corners(ring: LinearRing) -> Ring:
    return np.asarray(ring.coords, np.float64)[:, :2]


def _is_closed(ring: Ring) -> bool:
    return bool(abs(ring[-1, 0] - ring[0, 0]) < 180)


def _over_the_pole(ring: Ring) -> Ring:
    """A ring round a pole, closed along the meridian through its start."""
    if _is_closed(ring):
        return ring
    pole = math.copysign(90, ring[:, 1].mean())
    return np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]])


def _densified(ring: Ring, longest: float) -> Ring:
    """The same ring with sides of at most `longest`."""
    steps = np.diff(ring, axis=0)
    pieces = np.maximum(np.ceil(np.abs(steps).max(axis=1) / longest), 1).astype(int)
    if pieces.max() == 1:
        return ring
    side = np.repeat(np.arange(len(steps)), pieces)
    part = np.concatenate([np.arange(n) / n for n in pieces])
    return np.concatenate([ring[side] + steps[side] * part[:, None], ring[-1:]])
