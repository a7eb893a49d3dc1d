"""One hit a place: of tiles that lie on each other, the best is shown."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import shapely

_ROUNDING = 0.005
"""Footprints are outlines in rounded degrees: windows that share exactly a quarter share 0.2501 of them."""


@dataclass(frozen=True)
class Ground:
    """What a tile covers.

    Attributes:
        geometry: footprint in degrees, within -180..180; None for a tile without place.
        file: what its pixels come from; tiles without place are compared within a file.
        window: its rectangle in pixels of that file.
    """

    geometry: shapely.Geometry | None
    file: str
    window: shapely.Geometry


@dataclass
class Spread:
    """Tiles kept so far, best first, none of which shares more than `most` of its ground with another.

    Shared is the area in common as a part of the smaller footprint's; for tiles without place, of windows of one file.
    Tiles with and without place never overlap. Areas are of the plane of degrees, where both shrink alike.

    Attributes:
        most: 0..1; 1 keeps everything.
    """

    most: float
    _shapes: list[shapely.Geometry] = field(default_factory=list)
    _bounds: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((64, 4)))
    _files: list[str | None] = field(default_factory=list)

    def take(self, ground: Ground) -> bool:
        """Keep a tile unless it overlaps a better one: whether it was kept."""
        placed = ground.geometry is not None
        shape = ground.geometry if placed else ground.window
        west, south, east, north = shapely.bounds(shape)
        count = len(self._shapes)
        if self.most < 1:
            w, s, e, n = self._bounds[:count].T
            meets = (w < east) & (e > west) & (s < north) & (n > south)
            wanted = None if placed else ground.file
            for number in np.flatnonzero(meets):
                other = self._shapes[number]
                if self._files[number] == wanted and _shared(shape, other) > self.most + _ROUNDING:
                    return False
        if count == len(self._bounds):
            self._bounds = np.concatenate([self._bounds, np.empty_like(self._bounds)])
        self._bounds[count] = west, south, east, north
        self._shapes.append(shape)
        self._files.append(None if placed else ground.file)
        return True


def _shared(one: shapely.Geometry, other: shapely.Geometry) -> float:
    smaller = min(one.area, other.area)
    return float(shapely.intersection(one, other).area / smaller) if smaller > 0 else 0.0
