"""How much of a world to build, and which piece of it a region is."""

import random
from dataclasses import dataclass

import numpy as np
from affine import Affine

from graft.sensors import Sensor

TILE = 64
"""Pixels per side of a tile."""

CRS = "EPSG:32633"
"""UTM zone 33 north: the atlas lies in the middle of Europe."""

_ROLES = ("train", "captions", "val", "test")


@dataclass(frozen=True)
class WorldSize:
    """Counts of a world.

    Attributes:
        scene: pixels per side of a scene.
        train: scenes to train on.
        val: scenes of the validation benchmark.
        test: scenes of the test benchmark.
        photos: geotagged photos per training scene.
        captions: captioned photos for the teacher.
        single: single-label tiles per class and scene, at most.
        multi: multi-label tiles per scene, at most.
        tile_photos: photos per benchmark tile.
    """

    scene: int
    train: int
    val: int
    test: int
    photos: int
    captions: int
    single: int
    multi: int
    tile_photos: int


DEMO = WorldSize(scene=1024, train=24, val=4, test=8, photos=700, captions=12000, single=6, multi=50, tile_photos=5)
TINY = WorldSize(scene=480, train=2, val=1, test=1, photos=60, captions=120, single=2, multi=6, tile_photos=3)


@dataclass(frozen=True)
class Region:
    """A square piece of the world with a seed of its own; no two regions overlap.

    Attributes:
        world: seed of the world.
        sensor: the one that looks at it from above.
        role: train, captions, val or test.
        index: number within the role.
        scene: pixels per side.
    """

    world: int
    sensor: Sensor
    role: str
    index: int
    scene: int

    @property
    def name(self) -> str:
        """File stem of its scene and start of its photo ids."""
        return f"{self.role}{self.index:02d}"

    def utm(self, x: float, y: float) -> tuple[float, float]:
        """Easting and northing in metres of column x, row y (pixel edges at integers, north up).

        Roles lie in bands from south to north, the scenes of a role from west to east.
        """
        gsd = self.sensor.gsd_m
        pitch = 1.2 * self.scene * gsd
        row, column = divmod(self.index, 24)
        top = 5_200_000 + (4 * _ROLES.index(self.role) + row + 1) * pitch
        return 300_000 + column * pitch + x * gsd, top - y * gsd

    def transform(self, column: int = 0, row: int = 0) -> Affine:
        """Pixel to UTM metres for a raster whose upper left corner is that of the given pixel."""
        west, north = self.utm(column, row)
        return Affine(self.sensor.gsd_m, 0.0, west, 0.0, -self.sensor.gsd_m, north)

    def rng(self, purpose: str) -> np.random.Generator:
        """Random numbers that depend on this region and on what they are for."""
        return np.random.default_rng(self.dice(purpose).getrandbits(128))

    def dice(self, purpose: str) -> random.Random:
        """The same from the standard library, which is faster for single numbers."""
        return random.Random(f"{self.world}/{self.sensor.name}/{self.role}/{self.index}/{purpose}")
