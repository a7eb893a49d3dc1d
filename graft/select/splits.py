"""The split of a piece of ground, and the strip between two splits that belongs to none."""

import hashlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from graft.errors import GraftError
from graft.select.cells import EARTH_RADIUS_M, Floats, Ints, cell_of
from graft.select.settings import Splits


def split_of(lon: Floats, lat: Floats, splits: Splits, *, seed: int, buffer_m: float) -> npt.NDArray[np.str_]:
    """The split of each position, "" within `buffer_m` of another split's ground.

    With the diagonal of a tile as `buffer_m`, no tile that contains a photo of one split overlaps a tile that contains
    a photo of another: two such photos are at least two diagonals apart.

    Args:
        lon: degrees east, float64 [N].
        lat: degrees north, float64 [N].
        splits: shares and cells.
        seed: of the choice of cells.
        buffer_m: metres.

    Returns:
        str [N].

    Raises:
        GraftError: the buffer would eat the cells.
    """
    names = np.array([*splits.shares, ""])
    if len(splits.shares) == 1:
        return np.full(len(lon), names[0])
    if 2000 * splits.cell_km < 4 * buffer_m:
        raise GraftError(
            f"splits.cell_km is {splits.cell_km:g}, and {buffer_m / 1000:.3g} km along each border belong to no split; "
            f"expected cells of {2 * buffer_m / 1000:.3g} km or more, better ten times that."
        )
    own = _split_numbers(cell_of(lon, lat, splits.cell_km), splits, seed)
    alone = np.ones(len(lon), bool)
    # The rectangle around a disc of that radius. Cells are at least twice as large as the steps, so none is missed.
    reach = buffer_m / EARTH_RADIUS_M
    narrow = np.cos(np.radians(np.minimum(np.abs(lat) + np.degrees(reach), 90)))
    width = np.degrees(np.where(narrow > np.sin(reach), np.arcsin(np.sin(reach) / np.maximum(narrow, 1e-12)), np.pi))
    for north in (-1, 0, 1):
        around = np.clip(lat + north * np.degrees(reach), -90, 90)
        for east in (-1, -0.5, 0, 0.5, 1):
            cells = cell_of(lon + east * width, around, splits.cell_km)
            alone &= _split_numbers(cells, splits, seed) == own
    return np.asarray(names[np.where(alone, own, len(names) - 1)])


def _split_numbers(cells: Ints, splits: Splits, seed: int) -> Ints:
    """The place of each cell's split in `splits.shares`."""
    different, where = np.unique(cells, return_inverse=True)
    draws = np.array([_draw(seed, cell) for cell in different.tolist()])
    edges = np.cumsum(list(splits.shares.values()))[:-1]
    return np.asarray(np.searchsorted(edges, draws, side="right")[where])


@lru_cache(maxsize=100_000)
def _draw(seed: int, cell: int) -> float:
    """A number in [0, 1) for each cell, on every machine the same."""
    return int.from_bytes(hashlib.md5(f"{seed}/split/{cell}".encode()).digest()[:6]) / 2**48
