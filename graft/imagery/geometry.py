"""Ground position to tile-grid pixel and back, tile grids, and footprints in degrees."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from affine import Affine
from shapely.affinity import translate

from graft.imagery.image import Image, Ring
from graft.raster import GSD_TOLERANCE

MAX_FINER = 4.0
"""A raster may have pixels this many times smaller than the sensor's; NAIP's finest, 0.3 m for 1 m, is 3.3."""

_EDGE_POINTS = 21

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=256)
def _from_degrees(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)


@lru_cache(maxsize=256)
def _is_geographic(crs: str) -> bool:
    return bool(pyproj.CRS.from_user_input(crs).is_geographic)


def compose(outer: Affine, inner: Affine) -> Affine:
    """The transform that applies `inner`, then `outer`; affine's operator for it changed its name between versions."""
    return Affine(
        outer.a * inner.a + outer.b * inner.d,
        outer.a * inner.b + outer.b * inner.e,
        outer.a * inner.c + outer.b * inner.f + outer.c,
        outer.d * inner.a + outer.e * inner.d,
        outer.d * inner.b + outer.e * inner.e,
        outer.d * inner.c + outer.e * inner.f + outer.f,
    )


def tile_grid(
    transform: Affine, width: int, height: int, ground_m: tuple[float, float], gsd_m: float
) -> tuple[Affine, int, int]:
    """The grid that tiles of a raster are cut on, from the raster's own origin.

    Args:
        transform: of the raster.
        width: columns of the raster.
        height: rows of the raster.
        ground_m: width and height of its pixel on the ground, metres.
        gsd_m: of the sensor.

    Returns:
        Transform, columns and rows: the raster's own where its pixels are the sensor's within `GSD_TOLERANCE`.
    """
    if all(abs(side / gsd_m - 1) <= GSD_TOLERANCE for side in ground_m):
        return transform, width, height
    across, down = (gsd_m / _nominal(side) for side in ground_m)
    columns, rows = int(width / across + 1e-6), int(height / down + 1e-6)
    return compose(transform, Affine.scale(across, down)), columns, rows


def _nominal(side: float) -> float:
    """A pixel's size as its maker gave it: a UTM metre is up to 0.1 % off the ground's, and grids are to be round."""
    rounded = round(side, 1)
    return rounded if abs(side - rounded) <= 1.2e-3 * side else side


def to_pixel(image: Image, lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Column and row (float64, edges at integers) in the tile grid of positions in degrees.

    Args:
        image: whose grid.
        lon: WGS 84 longitude, any shape.
        lat: WGS 84 latitude, same shape.

    Returns:
        x and y of the same shape; infinite or NaN where the image's CRS has no such place.
    """
    lon, lat = np.asarray(lon, np.float64), np.asarray(lat, np.float64)
    a, b, c, *_ = image.transform
    east, north = _from_degrees(image.crs).transform(lon, lat)
    if _is_geographic(image.crs):
        # A raster across the antimeridian counts on past 180 degrees.
        middle = a * image.width / 2 + b * image.height / 2 + c
        east = east + 360 * np.round((middle - east) / 360)
    inverse = ~Affine(*image.transform)
    with np.errstate(invalid="ignore"):
        x = inverse.a * east + inverse.b * north + inverse.c
        y = inverse.d * east + inverse.e * north + inverse.f
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def to_lonlat(image: Image, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Invert `to_pixel`; longitudes lie within -180..180."""
    return grid_lonlat(image.crs, Affine(*image.transform), x, y)


def grid_lonlat(crs: str, transform: Affine, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Degrees of columns x and rows y of a grid, edges at integers; longitudes lie within -180..180."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    a, b, c, d, e, f = transform[:6]
    lon, lat = _from_degrees(crs).transform(a * x + b * y + c, d * x + e * y + f, direction="INVERSE")
    lon = np.asarray(lon, np.float64)
    return np.where(np.abs(lon) > 180, (lon + 180) % 360 - 180, lon), np.asarray(lat, np.float64)


def grid_rings(crs: str, transform: Affine, width: float, height: float) -> tuple[Ring, ...]:
    """Outline of a grid in degrees, split where it crosses the antimeridian.

    A grid that holds a pole gets the whole cap down to its lowest latitude.
    """
    along, back = np.linspace(0, 1, _EDGE_POINTS)[:-1], np.linspace(1, 0, _EDGE_POINTS)[:-1]
    columns = np.concatenate([along, np.ones_like(along), back, np.zeros_like(back)]) * width
    rows = np.concatenate([np.zeros_like(along), along, np.ones_like(along), back]) * height
    a, b, c, d, e, f = transform[:6]
    east, north = a * columns + b * rows + c, d * columns + e * rows + f
    lon, lat = _from_degrees(crs).transform(east, north, direction="INVERSE")
    # Closed for the sake of the turn around a pole alone: the last bit of a corner met twice would cross the outline.
    *lon, end = np.unwrap([*lon, lon[0]], period=360)
    if abs(end - lon[0]) > 180:
        pole, nearest = (90.0, lat.min()) if lat.mean() > 0 else (-90.0, lat.max())
        return split_rings(shapely.box(-180, min(pole, nearest), 180, max(pole, nearest)))
    return split_rings(shapely.Polygon(zip(lon, lat, strict=True)))


def split_rings(shape: shapely.Geometry) -> tuple[Ring, ...]:
    """Outer rings of the polygons of a shape in degrees, each cut and moved into -180..180."""
    parts = []
    for turn in (-360, 0, 360):
        within = shapely.intersection(translate(shape, xoff=turn), shapely.box(-180, -90, 180, 90))
        parts += [part for part in shapely.get_parts(within) if part.geom_type == "Polygon" and part.area > 0]
    return tuple(tuple((round(x, 7), round(y, 7)) for x, y in part.exterior.coords) for part in parts)


def rings_shape(rings: tuple[Ring, ...]) -> shapely.MultiPolygon:
    """The area within rings of (lon, lat)."""
    return shapely.MultiPolygon([shapely.Polygon(ring) for ring in rings])
