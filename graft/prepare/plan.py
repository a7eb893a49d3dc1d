"""What a build will read and write, known before the first pixel is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import numpy as np

from graft.errors import GraftError
from graft.prepare.pairs import Ints, Pairs, hash64, pair_photos
from graft.prepare.photos import PhotoTable
from graft.prepare.scenes import Scene
from graft.prepare.tally import in_bytes
from graft.sensors import Sensor

PNG_BYTES_PER_PIXEL = 2.2  # of 3; what lossless compression leaves of overhead pictures
JPEG_BYTES_PER_PIXEL = 0.35  # quality 90, photographs


@dataclass(frozen=True)
class Settings:
    """What decides a build's bytes besides its inputs; recorded in `index.json`.

    Attributes:
        tile_size: side of a tile, pixels.
        stride: pixels from one tile to the next.
        max_photos: photos kept in a tile.
        max_nodata: largest share of pixels without data, 0..1.
        seed: of the choice of photos and the order of samples.
        limit: tiles looked at, None for all.
    """

    tile_size: int
    stride: int
    max_photos: int
    max_nodata: float
    seed: int
    limit: int | None


@dataclass(frozen=True)
class Plan:
    """What will be read and written.

    Attributes:
        sensor: of all tiles.
        scenes: in the order of their paths.
        photos: the photo table.
        pairs: tiles with their photos.
        order: int64 [N], tiles of `pairs` in the order of the shards.
        settings: as given.
    """

    sensor: Sensor
    scenes: list[Scene]
    photos: PhotoTable
    pairs: Pairs
    order: Ints
    settings: Settings

    def key(self, tile: int) -> str:
        """The sample key of a tile: its scene, and the upper left pixel's row and column."""
        pairs = self.pairs
        return f"{self.scenes[pairs.scene[tile]].slug}-r{pairs.row[tile]:05d}-c{pairs.column[tile]:05d}"

    def pairs_of(self, tile: int) -> range:
        """The tile's places in `pairs`."""
        return range(int(self.pairs.start[tile]), int(self.pairs.start[tile + 1]))

    def lines(self, out: Path, teacher_dim: int, stored_side: int) -> Iterator[str]:
        """The plan in words, with an estimate of the disk it takes."""
        pairs, side = self.pairs, self.settings.tile_size
        count = int(np.diff(pairs.start)[self.order].sum())
        tiles_bytes = len(self.order) * side * side * PNG_BYTES_PER_PIXEL
        per_photo = 200 + teacher_dim * 2 + stored_side**2 * 4 / 3 * JPEG_BYTES_PER_PIXEL
        folder = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
        usable, tiles = len(self.photos.frame), len(self.order)
        yield f"photos  {usable:,} usable of {self.photos.listed:,}; {pairs.photos_inside:,} inside a tile"
        yield f"scenes  {len(self.scenes):,} ({self.sensor.name}, {self.sensor.gsd_m:g} m)"
        yield f"tiles   {pairs.tiles_in_grid:,} of {side} px; {len(pairs.scene):,} with a photo; {tiles:,} to read"
        yield (
            f"disk    about {in_bytes(tiles_bytes + count * per_photo)} for {tiles:,} samples with {count:,} photos, "
            f"and {in_bytes(tiles_bytes)} more while building; {in_bytes(disk_usage(folder).free)} free"
        )


def make_plan(photos: PhotoTable, scenes: list[Scene], sensor: Sensor, settings: Settings) -> Plan:
    """Pair photos with tiles and put the tiles in a seeded order that mixes scenes.

    Raises:
        GraftError: no photo lies in any tile.
    """
    pairs = pair_photos(
        scenes,
        photos.frame,
        tile_size=settings.tile_size,
        stride=settings.stride,
        max_photos=settings.max_photos,
        seed=settings.seed,
    )
    if pairs.tiles_in_grid == 0:
        raise GraftError(
            f"All {len(scenes)} scenes are smaller than a tile of {settings.tile_size} pixels: lower --tile-size."
        )
    if len(pairs.scene) == 0:
        frame = photos.frame
        raise GraftError(
            f"None of {len(frame)} photos lies in any of {pairs.tiles_in_grid} tiles of {len(scenes)} scenes. "
            f"The photos span lon {frame['lon'].min():.4f} to {frame['lon'].max():.4f}, "
            f"lat {frame['lat'].min():.4f} to {frame['lat'].max():.4f}: "
            "check that lon and lat are not swapped and that the scenes are of that place."
        )
    plan = Plan(sensor, scenes, photos, pairs, np.arange(len(pairs.scene)), settings)
    names = [plan.key(tile) for tile in range(len(pairs.scene))]
    order = np.argsort(hash64(settings.seed, names), kind="stable")[: settings.limit]
    return Plan(sensor, scenes, photos, pairs, order, settings)
