"""Cells of equal area that cover the globe, for splits, caps and counts by place."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EARTH_RADIUS_M = 6_371_007.2
"""Radius of the sphere with the ellipsoid's surface."""


@dataclass(frozen=True)
class Grid:
    """Rows of equal height, each cut into as many equal cells as make them square on the ground.

    Columns of one width for all rows would give equal areas as well, but at 60 degrees cells four times as high as
    wide, which a buffer along their borders would eat.

    Attributes:
        counts: int64 [rows], cells in each row, from south to north.
        first: int64 [rows], the first cell of each row.
    """

    counts: Ints
    first: Ints

    @property
    def cells(self) -> int:
        """Cells of the whole globe; they are numbered from 0, eastwards from -180, row by row."""
        return int(self.counts.sum())


@lru_cache(maxsize=8)
def grid_of(side_km: float) -> Grid:
    """The grid whose cells measure about `side_km` by `side_km`."""
    rows = max(1, round(np.pi * EARTH_RADIUS_M / (1000 * side_km)))
    middle = (np.arange(rows) + 0.5) / rows * np.pi - np.pi / 2
    counts = np.maximum(1, np.rint(2 * rows * np.cos(middle))).astype(np.int64)
    return Grid(counts, np.concatenate(([0], np.cumsum(counts)[:-1])))


def cell_of(lon: npt.ArrayLike, lat: npt.ArrayLike, side_km: float) -> Ints:
    """The cell of each position.

    Args:
        lon: degrees east, any shape; 180 and -180 are the same, and so are 190 and -170.
        lat: degrees north, same shape, -90..90.
        side_km: side of a cell, kilometres. Areas are equal to 1 %, except in the rows next to the poles.

    Returns:
        int64, same shape.
    """
    grid = grid_of(side_km)
    rows = len(grid.counts)
    row = np.clip(np.floor((np.asarray(lat, np.float64) + 90) / 180 * rows), 0, rows - 1).astype(np.int64)
    counts = grid.counts[row]
    turn = (np.asarray(lon, np.float64) + 180) % 360 / 360
    column = np.minimum(np.floor(turn * counts).astype(np.int64), counts - 1)
    return np.asarray(grid.first[row] + column)
