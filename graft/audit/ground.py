"""Where tiles and photos lie on Earth, and how two footprints lie to each other."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions
import shapely

from graft.sphere import EARTH_M, Floats, unit_vectors


class NowhereError(Exception):
    """A coordinate reference system that PROJ does not know, or numbers outside of it."""


@lru_cache(maxsize=256)
def _to_degrees(crs: str) -> pyproj.Transformer:
    try:
        return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    except pyproj.exceptions.ProjError:
        raise NowhereError(f"crs {crs[:60]!r} is unknown") from None


def lonlat(crs: str, transform: Sequence[float], pixels: Floats) -> Floats:
    """Positions of tile pixels in degrees.

    Args:
        crs: of the transform.
        transform: a, b, c, d, e, f of the tile.
        pixels: float64 [N, 2], x and y in pixels, edges at integers.

    Returns:
        float64 [N, 2], lon and lat.

    Raises:
        NowhereError: no such system, or a tile outside the area of it.
    """
    a, b, c, d, e, f = transform
    x, y = pixels.T
    try:
        lon, lat = _to_degrees(crs).transform(a * x + b * y + c, d * x + e * y + f)
    except pyproj.exceptions.ProjError:
        raise NowhereError("its transform lies outside its crs") from None
    found = np.stack([lon, lat], axis=1)
    if not (np.isfinite(found).all() and np.abs(found[:, 1]).max(initial=0) <= 90):
        raise NowhereError("its transform lies outside its crs")
    found[:, 0] = (found[:, 0] + 180) % 360 - 180
    return found


def centres(corners: Floats) -> Floats:
    """Middles of footprints [N, 4, 2] in degrees as points of the unit sphere [N, 3]."""
    middles = unit_vectors(corners).mean(axis=-2)
    return np.asarray(middles / np.linalg.norm(middles, axis=-1, keepdims=True))


def side_m(corners: Floats) -> Floats:
    """Mean of width and height of footprints [N, 4, 2] in metres: [N]."""
    points = unit_vectors(corners)
    edges = np.linalg.norm(points - np.roll(points, 1, axis=-2), axis=-1)
    return np.asarray(edges.mean(axis=-1) * EARTH_M)


def on_plane(corners: Floats, origins: Floats) -> npt.NDArray[np.object_]:
    """Footprints as polygons in metres on the plane that touches Earth at an origin each.

    Args:
        corners: [N, 4, 2] degrees.
        origins: [N, 3] points of the unit sphere, near them.

    Returns:
        N shapely polygons. Exact to 1e-6 of their distance from the origin for tiles of a few kilometres.
    """
    east = np.stack([-origins[:, 1], origins[:, 0], np.zeros(len(origins))], axis=-1)
    at_pole = np.linalg.norm(east, axis=-1) < 1e-9
    east[at_pole] = [0.0, 1.0, 0.0]
    east /= np.linalg.norm(east, axis=-1, keepdims=True)
    north = np.cross(origins, east)
    points = unit_vectors(corners)
    flat = np.stack([np.einsum("nkc,nc->nk", points, axis) for axis in (east, north)], axis=-1) * EARTH_M
    return np.asarray(shapely.polygons(flat))
