"""The map: which class lies where."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from graft.atlas.classes import IDS
from graft.atlas.fields import coordinates, noise
from graft.atlas.sizes import Region

_PITCH = 104
"""Mean distance of parcel centres in pixels: parcels are somewhat larger than a tile."""


@dataclass(frozen=True)
class LandCoverMap:
    """Land cover of a region.

    Attributes:
        cover: uint8 [H, W], index into `classes.CLASSES`.
        parcel: int32 [H, W], number of the parcel.
    """

    cover: npt.NDArray[np.uint8]
    parcel: npt.NDArray[np.int32]


def land_cover(region: Region) -> LandCoverMap:
    """Parcels with curved borders around jittered centres, as many of each class as of any other, give or take one."""
    rng = region.rng("landcover")
    cells = round(region.scene / _PITCH) + 2
    grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1).reshape(-1, 2)
    pitch = region.scene / (cells - 2)
    centres = (grid - 0.5 + rng.uniform(-0.26, 0.26, grid.shape)) * pitch
    inner = ((grid > 0) & (grid < cells - 1)).all(1)  # whole parcels are dealt first, so that no class lacks one
    cover = np.empty(len(grid), np.uint8)
    for cut in (inner, ~inner):
        deals = -(-int(cut.sum()) // len(IDS))
        cover[cut] = np.concatenate([rng.permutation(len(IDS)) for _ in range(deals)])[: cut.sum()]
    x, y = coordinates((region.scene, region.scene))
    bent = np.stack([x + 7 * noise(rng, x.shape, 18), y + 7 * noise(rng, x.shape, 18)], -1)
    _, nearest = cKDTree(centres).query(bent.reshape(-1, 2))
    parcel = np.asarray(nearest, np.int32).reshape(x.shape)
    return LandCoverMap(cover[parcel], parcel)
