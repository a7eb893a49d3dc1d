"""Indexes of real rasters by a stand-in for a model that sees mean colour alone, so that it is known where red is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from affine import Affine
from torch import Tensor
from torch.nn import functional

from graft.index.encode import tile_rows
from graft.index.rasters import open_raster_source
from graft.index.schema import IndexCard
from graft.index.sources import Look, Source
from graft.index.table import Index
from graft.search.query import Query, Wish, mix
from graft.sensors import get_sensor

SENSOR = get_sensor("sentinel")
LOOK = Look(SENSOR, 10.0, patch=8, window=32, stride=16)
CARD = IndexCard(
    {
        "name": "colours.ckpt",
        "sha256": "ab" * 32,
        "sensor": "sentinel",
        "radiometry": SENSOR.radiometry,
        "dim": 3,
        "window": 32,
        "gsd_m": 10.0,
        "logit_scale": 20.0,
    },
    {"name": "local-dir:teacher", "identity": "cd" * 32, "dim": 3},
)
RED = mix([Wish("words", "red roofs", 1.0)], torch.eye(3)[:1])

GRIDS: dict[str, tuple[str, Affine]] = {
    "north-up": ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_200_000)),
    "south-up": ("EPSG:32633", Affine(10, 0, 500_000, 0, 10, 5_200_000)),
    "rotated": ("EPSG:32633", Affine(8.660254, 5, 500_000, 5, -8.660254, 5_200_000)),
    "degrees": ("EPSG:4326", Affine(1e-4, 0, 15.0, 0, -1e-4, 47.0)),
    "antimeridian": ("EPSG:32760", Affine(10, 0, 818_000, 0, -10, 8_150_000)),
    "fine": ("EPSG:32633", Affine(6, 0, 500_000, 0, -6, 5_200_000)),
}
WIDTH, HEIGHT, SPOT, RADIUS = 230, 190, (150.0, 60.0), 22.0
"""Of the scene, and where its red spot is: column and row of the middle, and radius in pixels."""


def write_scene(path: Path, grid: str = "north-up", stripe: slice | None = None) -> Path:
    """A blue and green scene with a red spot; columns of `stripe` hold no data."""
    crs, transform = GRIDS[grid]
    rng = np.random.default_rng(0)
    shown = rng.integers(40, 90, (3, HEIGHT, WIDTH))
    shown[1:] += 100
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    spot = (columns - SPOT[0]) ** 2 + (rows - SPOT[1]) ** 2 < RADIUS**2
    shown[0, spot], shown[1:, spot] = 230, 15
    stored = np.rint(SENSOR.from_display(shown)).astype(np.uint16).clip(1)
    if stripe is not None:
        stored[:, :, stripe] = 0
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "width": WIDTH, "height": HEIGHT, "nodata": 0}
    with rasterio.open(path, "w", crs=crs, transform=transform, **profile) as dataset:
        dataset.write(stored)
        dataset.descriptions = SENSOR.bands
        dataset.update_tags(DATETIME="2024-06-01T10:00:00Z")
    return path


def colours(tiles: Tensor) -> npt.NDArray[np.float16]:
    mean = tiles.float().mean(dim=(2, 3)) + 1
    return functional.normalize(mean, dim=-1).half().numpy()


def add(index: Index, source: Source) -> None:
    """All tiles of a source, and its card."""
    for group in range(source.groups):
        found = source.read(group)
        index.add(tile_rows(CARD, source.card.id, group, found.tiles, colours(found.pixels)))
    index.add_source(source.card)


def index_of(folder: Path, scenes: Sequence[Path], look: Look = LOOK) -> Index:
    index = Index.open_or_create(folder, CARD)
    for scene in scenes:
        add(index, open_raster_source(str(scene), look))
    return index


def photo_query(path: Path) -> Query:
    return mix([Wish("photo", str(path), 1.0)], torch.eye(3)[:1])
