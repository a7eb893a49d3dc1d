"""Benchmark folders in the layouts of EuroSAT (one label) and BigEarthNet v1 (many labels)."""

import json
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from graft.atlas.classes import IDS
from graft.atlas.geotiff import stored_bands, write_band
from graft.atlas.overhead import Scene
from graft.atlas.photos import plan_shot, write_photo
from graft.atlas.sizes import TILE, Region, WorldSize

PURE, PRESENT, ABSENT = 0.88, 0.12, 0.04
"""Share of a tile that makes a single label, that makes a class present, and below which it counts as absent.
Tiles in which a class lies between `ABSENT` and `PRESENT` are left out: nobody could say what is right."""
CLOUDED = 0.03
"""Share of a tile under cloud or without data from which on it is left out."""

_STRIDE = 4


def class_shares(scene: Scene) -> npt.NDArray[np.float32]:
    """Shares of a tile per class and, last, of cloud or missing data, at every 4th pixel: [classes + 1, R, C]."""
    last = scene.land.cover.shape[0] - TILE
    layers = [scene.land.cover == k for k in range(len(IDS))] + [~scene.clear]
    sums = []
    for layer in layers:
        total = np.pad(layer.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        box = total[TILE:, TILE:] - total[:-TILE, TILE:] - total[TILE:, :-TILE] + total[:-TILE, :-TILE]
        sums.append(box[: last + 1 : _STRIDE, : last + 1 : _STRIDE])
    return (np.stack(sums) / TILE**2).astype(np.float32)


def _spread(allowed: npt.NDArray[np.bool_], rng: np.random.Generator, count: int, apart: int) -> list[tuple[int, int]]:
    """Up to `count` random (row, column) places in scene pixels, at least `apart` pixels from one another."""
    free = allowed.copy()
    places: list[tuple[int, int]] = []
    reach = apart // _STRIDE
    while len(places) < count and free.any():
        rows, columns = np.nonzero(free)
        pick = int(rng.integers(len(rows)))
        r, c = int(rows[pick]), int(columns[pick])
        free[max(r - reach, 0) : r + reach + 1, max(c - reach, 0) : c + reach + 1] = False
        places.append((r * _STRIDE, c * _STRIDE))
    return places


def write_benchmarks(root: Path, region: Region, scene: Scene, size: WorldSize) -> dict[str, list[dict[str, str]]]:
    """Cut the benchmark tiles of a region and take the photos of their places.

    Returns:
        Rows (tile, path) of the two `photos.csv`, by layout: `eurosat` and `bigearthnet`.
    """
    shares = class_shares(scene)
    clean = shares[-1] < CLOUDED
    rng = region.rng("benchmark")
    rows: dict[str, list[dict[str, str]]] = {"eurosat": [], "bigearthnet": []}
    shown = display(region, scene)
    for k, name in enumerate(IDS):
        folder = root / "eurosat" / "2750" / name
        folder.mkdir(parents=True, exist_ok=True)
        for n, (row, column) in enumerate(_spread(clean & (shares[k] >= PURE), rng, size.single, 24)):
            stem = f"{name}_{region.index * 100 + n + 1}"
            tile = Image.fromarray(shown[row : row + TILE, column : column + TILE])
            tile.save(folder / f"{stem}.jpg", "JPEG", quality=96, subsampling=0)
            rows["eurosat"] += _tile_photos(root / "eurosat", region, scene, size, stem, row, column)
    present = shares[:-1] >= PRESENT
    certain = ~((shares[:-1] > ABSENT) & ~present).any(0)
    number = present.sum(0)
    bands = stored_bands(region.sensor, scene)
    for n, (row, column) in enumerate(_spread(clean & certain & (number >= 1) & (number <= 4), rng, size.multi, 40)):
        patch = f"atlas_{region.name}_{n:03d}"
        folder = root / "bigearthnet" / "BigEarthNet-v1.0" / patch
        folder.mkdir(parents=True, exist_ok=True)
        transform = region.transform(column, row)
        for band in region.sensor.bands:
            write_band(folder / f"{patch}_{band}.tif", bands[band][row : row + TILE, column : column + TILE], transform)
        labels = [IDS[k] for k in np.flatnonzero(present[:, row // _STRIDE, column // _STRIDE])]
        (folder / f"{patch}_labels_metadata.json").write_text(
            json.dumps({"labels": labels, "acquisition_date": scene.datetime})
        )
        rows["bigearthnet"] += _tile_photos(root / "bigearthnet", region, scene, size, patch, row, column)
    return rows


def display(region: Region, scene: Scene) -> npt.NDArray[np.uint8]:
    """The scene as its stored bands are displayed, uint8 [H, W, 3]."""
    bands = stored_bands(region.sensor, scene)
    return region.sensor.to_display(np.stack([bands[name] for name in region.sensor.bands], -1))


def _tile_photos(
    root: Path, region: Region, scene: Scene, size: WorldSize, tile: str, row: int, column: int
) -> list[dict[str, str]]:
    """Take photos at random places in a tile, dirt included; returns rows (tile, path)."""
    dice: random.Random = region.dice(f"{root.name}/{tile}")
    (root / "photos").mkdir(exist_ok=True)
    rows = []
    for n in range(dice.randint(size.tile_photos - 1, size.tile_photos + 1)):
        shot = plan_shot(
            region,
            scene.land,
            dice,
            f"{region.role}-{root.name}-{tile}-{n}".lower(),
            column + dice.uniform(0, TILE),
            row + dice.uniform(0, TILE),
        )
        path = f"photos/{shot.photo_id}.jpg"
        write_photo(root / path, shot)
        rows.append({"tile": tile, "path": path})
    return rows
