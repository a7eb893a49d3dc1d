"""A gallery to search: a region cut into disjoint tiles, each with its mixture of land cover and its photos."""

from pathlib import Path

import numpy as np
from PIL import Image

from graft.atlas.benchmarks import CLOUDED, display
from graft.atlas.classes import IDS
from graft.atlas.ground import OTHER_VIEWS
from graft.atlas.overhead import Scene
from graft.atlas.photos import plan_shot, write_photo
from graft.atlas.sizes import TILE, Region

MIXTURE_COLUMNS = ("tile", *IDS)
PHOTO_COLUMNS = ("tile", "path", "subject")

PHOTOS = 2
"""Photos of a tile, at most."""


def write_gallery(root: Path, region: Region, scene: Scene) -> dict[str, list[dict[str, str]]]:
    """Cut a region into tiles side by side, leave out those with clouds or missing data, and take photos in the others.

    A photo that shows something other than the land, as one in eight does, is nobody's query and is not written: a tile
    has up to two photos.

    Args:
        root: folder of the gallery; gets `tiles/<tile>.jpg` and `photos/<photo>.jpg`.
        region: the place.
        scene: its first scene.

    Returns:
        Rows of `mixtures.csv` (tile, then the share 0..1 of each class) and of `photos.csv` (tile, path, subject: the
        class the photo shows), under `mixtures` and `photos`.
    """
    for name in ("tiles", "photos"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shown = display(region, scene)
    rows: dict[str, list[dict[str, str]]] = {"mixtures": [], "photos": []}
    for down in range(region.scene // TILE):
        for across in range(region.scene // TILE):
            row, column = TILE * down, TILE * across
            window = np.s_[row : row + TILE, column : column + TILE]
            if scene.clear[window].mean() <= 1 - CLOUDED:
                continue
            tile = f"{region.name}_{down:02d}_{across:02d}"
            Image.fromarray(shown[window]).save(root / f"tiles/{tile}.jpg", "JPEG", quality=96, subsampling=0)
            shares = np.bincount(scene.land.cover[window].ravel(), minlength=len(IDS)) / TILE**2
            rows["mixtures"].append({"tile": tile} | {k: f"{v:.6g}" for k, v in zip(IDS, shares, strict=True)})
            rows["photos"] += _photos(root, region, scene, tile, row, column)
    return rows


def _photos(root: Path, region: Region, scene: Scene, tile: str, row: int, column: int) -> list[dict[str, str]]:
    """Take photos at random places in a tile; returns their rows."""
    dice = region.dice(f"gallery/{tile}")
    rows = []
    for number in range(PHOTOS):
        x, y = column + dice.uniform(0, TILE), row + dice.uniform(0, TILE)
        shot = plan_shot(region, scene.land, dice, f"gallery-{tile}-{number}", x, y)
        if shot.subject not in OTHER_VIEWS:
            path = f"photos/{shot.photo_id}.jpg"
            write_photo(root / path, shot)
            rows.append({"tile": tile, "path": path, "subject": shot.subject})
    return rows
