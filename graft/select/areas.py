"""Ground that photos must keep away from: the areas of benchmarks, each with a buffer around it."""

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import rasterio
import shapely
from rasterio.errors import RasterioIOError
from scipy.spatial import cKDTree
from shapely.geometry import shape
from tqdm import tqdm

from graft.errors import GraftError, first_line, import_extra
from graft.select.cells import Floats

_RASTERS = (".tif", ".tiff")
_TABLES = (".csv", ".parquet")
_POLYGONS = (".geojson", ".json")
_SMALLEST_RADIUS_M = 6_335_439.0
"""The ellipsoid's smallest radius of curvature: an angle computed with it is never too small."""
_PIECE_DEGREES = 5.0
"""Larger polygons are cut into pieces of this size, so that a local map of each is true to scale."""
_ROUND = 1.01
"""A buffer's corners are polygons inside the circle; this much larger, they enclose it."""


class Areas:
    """Polygons and points on the globe with a buffer around them."""

    def __init__(self, sources: Sequence[Path], buffer_m: float) -> None:
        """Read areas.

        Args:
            sources: GeoJSON files (polygons and points, WGS 84), GeoTIFF files, folders with GeoTIFF files at any depth
                (their footprints), and CSV or Parquet tables of points with the columns lon and lat.
            buffer_m: metres around each.

        Raises:
            GraftError: a source that is missing, of another kind, empty or without a position.
        """
        polygons: list[shapely.Geometry] = []
        points: list[npt.NDArray[np.float64]] = []
        for source in sources:
            for geometry in _read(source):
                (points if isinstance(geometry, np.ndarray) else polygons).append(geometry)
        if points and buffer_m == 0:
            raise GraftError("exclude lists points and exclude_buffer_m is 0; expected the distance to keep from them.")
        pieces = [piece for polygon in polygons for part in _cut(polygon) for piece in _around(part, buffer_m)]
        shapely.prepare(pieces)
        self._polygons = shapely.STRtree(pieces)
        self._points = cKDTree(_on_sphere(*np.concatenate(points).T)) if points else None
        # The distance between two points through the sphere.
        self._chord = 2 * np.sin(min(buffer_m / _SMALLEST_RADIUS_M, np.pi) / 2)

    def contain(self, lon: Floats, lat: Floats) -> npt.NDArray[np.bool_]:
        """Whether positions (degrees, float64 [N], lon -180..180) lie in an area or its buffer: bool [N]."""
        inside = np.zeros(len(lon), bool)
        found, _ = self._polygons.query(shapely.points(lon, lat), predicate="intersects")
        inside[found] = True
        if self._points is not None:
            inside |= np.isfinite(self._points.query(_on_sphere(lon, lat), distance_upper_bound=self._chord)[0])
        return inside


def _read(source: Path) -> Iterator[Any]:
    """Polygons in degrees, whose longitudes may pass 180, and points as float64 [N, 2]."""
    suffix = source.suffix.lower()
    if source.is_dir():
        files = sorted(file for file in source.rglob("*") if file.suffix.lower() in _RASTERS)
        if not files:
            raise GraftError(f"{source}, listed in exclude, holds no GeoTIFF file; expected some at any depth.")
        yield from map(_footprint, tqdm(files, desc=f"footprints of {source.name}", unit="file"))
    elif not source.is_file():
        raise GraftError(f"{source}, listed in exclude, does not exist. Correct exclude.")
    elif suffix in _RASTERS:
        yield _footprint(source)
    elif suffix in _TABLES:
        yield _points(source)
    elif suffix in _POLYGONS:
        yield from _geojson(source)
    else:
        raise GraftError(
            f"{source}, listed in exclude, is of no known kind; expected a folder or one of "
            f"{', '.join((*_POLYGONS, *_RASTERS, *_TABLES))}."
        )


def _geojson(path: Path) -> Iterator[Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        geometries = [shape(each["geometry"] if each["type"] == "Feature" else each) for each in features]
    except Exception as error:  # what shapely raises for a malformed geometry depends on what is malformed
        raise GraftError(f"{path}, listed in exclude, is not GeoJSON: {first_line(error)}") from error
    parts = shapely.get_parts(shapely.get_parts(geometries))
    if not len(parts):
        raise GraftError(f"{path}, listed in exclude, holds no geometry. Take it from the list.")
    largest = np.abs(shapely.get_coordinates(parts)).max(axis=0)
    if not (largest <= (360, 90)).all():
        raise GraftError(
            f"{path}, listed in exclude, has x up to {largest[0]:g} and y up to {largest[1]:g}; expected lon and lat "
            "in degrees, WGS 84. Convert it."
        )
    for part in parts:
        if part.geom_type == "Polygon":
            yield shapely.make_valid(part)
        elif part.geom_type == "Point":
            yield np.array([[part.x, part.y]])
        else:
            raise GraftError(f"{path}, listed in exclude, holds a {part.geom_type}; expected polygons and points.")


def _points(path: Path) -> npt.NDArray[np.float64]:
    try:
        if path.suffix.lower() == ".csv":
            table = pd.read_csv(path, usecols=["lon", "lat"], encoding="utf-8-sig")
        else:
            table = import_extra("pyarrow.parquet", "prepare").read_table(path, columns=["lon", "lat"]).to_pandas()
        points = table[["lon", "lat"]].to_numpy(np.float64)
    except (ValueError, KeyError, OSError) as error:
        raise GraftError(
            f"{path}, listed in exclude, cannot be read: {first_line(error)}; expected numbers in the columns lon, lat."
        ) from error
    wrong = ~(np.isfinite(points).all(axis=1) & (np.abs(points[:, 0]) <= 360) & (np.abs(points[:, 1]) <= 90))
    if wrong.any() or not len(points):
        raise GraftError(
            f"{path}, listed in exclude: {wrong.sum()} of {len(points)} points have no lon and lat in degrees, the "
            f"first in row {int(wrong.argmax()) + 1}. Correct the table."
        )
    return points


@lru_cache(maxsize=64)
def _to_degrees(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def _footprint(path: Path) -> shapely.Geometry:
    try:
        with rasterio.open(path) as raster:
            crs, transform, width, height = raster.crs, raster.transform, raster.width, raster.height
    except RasterioIOError as error:
        raise GraftError(f"{path}, listed in exclude, is no raster: {first_line(error)}") from error
    if crs is None:
        raise GraftError(f"{path}, listed in exclude, has no coordinate system, so its place is unknown. Remove it.")
    edge = shapely.get_coordinates(shapely.segmentize(shapely.box(0, 0, width, height), max(width, height) / 20))
    matrix = np.array(transform).reshape(3, 3)[:2]
    lon, lat = _to_degrees(crs.to_wkt()).transform(*(matrix[:, :2] @ edge.T + matrix[:, 2:]))
    return shapely.make_valid(shapely.Polygon(np.column_stack((np.unwrap(lon, period=360), lat))))


def _cut(polygon: shapely.Geometry) -> Iterator[shapely.Geometry]:
    """Pieces of at most `_PIECE_DEGREES` a side; their buffers together are the polygon's buffer."""
    west, south, east, north = polygon.bounds
    for left in np.arange(west, east, _PIECE_DEGREES):
        for bottom in np.arange(south, north, _PIECE_DEGREES):
            square = shapely.box(left, bottom, left + _PIECE_DEGREES, bottom + _PIECE_DEGREES)
            for piece in shapely.get_parts(polygon if square.contains(polygon) else polygon.intersection(square)):
                if piece.area > 0:
                    yield piece


def _around(piece: shapely.Geometry, buffer_m: float) -> Iterator[shapely.Geometry]:
    """A piece and its buffer, in degrees; once more on the other side where it passes the antimeridian."""
    centre = piece.envelope.centroid
    local = pyproj.Proj(proj="aeqd", lon_0=centre.x, lat_0=centre.y, ellps="WGS84")

    def to_metres(lonlat: Floats) -> Floats:
        return np.column_stack(local(lonlat[:, 0], lonlat[:, 1]))

    def to_degrees(metres: Floats) -> Floats:
        lon, lat = local(metres[:, 0], metres[:, 1], inverse=True)
        return np.column_stack((centre.x + (lon - centre.x + 180) % 360 - 180, lat))

    if buffer_m > 0:
        wide = shapely.buffer(shapely.transform(piece, to_metres), _ROUND * buffer_m)
        # Corners alone are moved back, so that an edge along a parallel stays one.
        piece = shapely.transform(wide, to_degrees)
    for turn in (-360, 0, 360):
        moved = shapely.transform(piece, lambda lonlat, turn=turn: lonlat + np.array([turn, 0]))
        if moved.bounds[0] <= 180 and moved.bounds[2] >= -180:
            yield moved


def _on_sphere(lon: Floats, lat: Floats) -> Floats:
    """Degrees to points of the unit sphere: float64 [N, 3]."""
    east, north = np.radians(lon), np.radians(lat)
    return np.column_stack((np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)))
