"""Where on Earth a tile lies."""

from dataclasses import dataclass
from functools import lru_cache

import pyproj.exceptions
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from graft.imagery.geometry import grid_lonlat, grid_rings


@dataclass(frozen=True)
class Place:
    """A footprint in degrees.

    Attributes:
        epsg: code of the raster's coordinate reference system.
        lon: of the middle, -180..180.
        lat: of the middle.
        box: west, south, east, north; west > east across the antimeridian.
        geometry: WKB of a polygon with densified edges, of two across the antimeridian.
    """

    epsg: int | None
    lon: float | None
    lat: float | None
    box: tuple[float, float, float, float] | None
    geometry: bytes | None


NOWHERE = Place(None, None, None, None, None)


def place_of(crs: str | None, epsg: int | None, transform: Affine, width: float, height: float) -> Place:
    """The place of a grid.

    Args:
        crs: code or WKT; None gives no place.
        epsg: its code.
        transform: of the grid.
        width: in columns.
        height: in rows.
    """
    if crs is None:
        return NOWHERE
    try:
        rings = grid_rings(crs, transform, width, height)
        lon, lat = grid_lonlat(crs, transform, width / 2, height / 2)
    except (pyproj.exceptions.ProjError, shapely.errors.GEOSException):
        return NOWHERE
    if not rings:  # outside the area of its system
        return NOWHERE
    parts = [shapely.Polygon(ring) for ring in rings]
    shape = parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)
    west, south, east, north = shape.bounds
    if len(parts) > 1:
        west = min(part.bounds[0] for part in parts if part.bounds[2] == 180)
        east = max(part.bounds[2] for part in parts if part.bounds[0] == -180)
    return Place(epsg, float(lon), float(lat), (west, south, east, north), shapely.to_wkb(shape))


@lru_cache(maxsize=256)
def crs_name(crs: str | None) -> tuple[str | None, int | None]:
    """A coordinate reference system (code or WKT) as text for PROJ, and its EPSG code where it has one."""
    if not crs:
        return None, None
    try:
        read = CRS.from_user_input(crs)
        code = read.to_epsg()
    except CRSError:
        return None, None
    return (f"EPSG:{code}" if code else read.to_wkt()), code
