"""Places on Earth as points of a sphere: no seam at 180 degrees, no poles."""

import numpy as np
import numpy.typing as npt

EARTH_M = 6_371_008.8
"""Mean radius."""

Floats = npt.NDArray[np.float64]


def unit_vectors(degrees: Floats) -> Floats:
    """Lon and lat [..., 2] in degrees as points of the unit sphere [..., 3]: no seam at 180 degrees, no poles."""
    lon, lat = np.radians(degrees[..., 0]), np.radians(degrees[..., 1])
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def degrees_of(vectors: Floats) -> Floats:
    """Points of the unit sphere [..., 3] as lon and lat [..., 2] in degrees."""
    return np.stack(
        [np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])), np.degrees(np.arcsin(vectors[..., 2]))], axis=-1
    )


def lon_lat_box(degrees: Floats) -> tuple[float, float, float, float]:
    """West, south, east, north; east is beyond 180 where the narrowest box crosses the antimeridian."""
    lon = np.sort(degrees[:, 0])
    gaps = np.diff(np.append(lon, lon[0] + 360))
    widest = int(gaps.argmax())
    west = lon[(widest + 1) % len(lon)]
    east = lon[widest] + (360 if lon[widest] < west else 0)
    return float(west), float(degrees[:, 1].min()), float(east), float(degrees[:, 1].max())
