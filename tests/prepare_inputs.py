"""Real files for the tests of the shard builder: scenes, photos, photo tables, a teacher that needs no weights."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyproj
import rasterio
import torch
from affine import Affine
from PIL import Image
from rasterio.enums import ColorInterp
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

WEST, NORTH, UTM = 500_000.0, 5_000_000.0, "EPSG:32633"


def lonlat(column: float, row: float, *, west: float = WEST, gsd: float = 10.0) -> tuple[float, float]:
    """Position of a pixel (edges at integers) of a scene written by `write_scene`, in degrees."""
    to_degrees = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(west + column * gsd, NORTH - row * gsd)
    return lon, lat


def write_scene(
    path: Path,
    stored: np.ndarray | None = None,
    *,
    size: int = 64,
    names: Sequence[str | None] = ("B02", "B03", "B04", "B08"),
    crs: str | None = UTM,
    gsd: float = 10.0,
    west: float = WEST,
    north: float = NORTH,
    nodata: float | None = 0,
    colours: Sequence[ColorInterp] | None = None,
) -> Path:
    """A GeoTIFF; by default four described uint16 bands of smooth pseudo-reflectance."""
    if stored is None:
        waves = np.add.outer(np.arange(size), np.arange(size))
        stored = np.stack([500 + 300 * band + 5 * waves for band in range(len(names))]).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = stored.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=count,
        dtype=stored.dtype,
        crs=crs,
        transform=Affine(gsd, 0, west, 0, -gsd, north),
        nodata=nodata,
        compress="deflate",
        blockysize=16,
    ) as dataset:
        if colours:
            dataset.colorinterp = colours
        dataset.write(stored)
        for number, name in enumerate(names, start=1):
            if name:
                dataset.set_band_description(number, name)
        dataset.update_tags(DATETIME="2020-06-01T10:00:00", ITEM=f"product of {path.stem}")
    return path


def write_photo(path: Path, seed: int = 0, *, size: tuple[int, int] = (48, 32), exif: Image.Exif | None = None) -> Path:
    """A JPEG of smooth random colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    image.save(path, "JPEG", quality=92, **({"exif": exif} if exif else {}))
    return path


def write_table(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    """A photo table with the columns of its first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def photo_at(folder: Path, name: str, column: float, row: float, seed: int = 0, **more: object) -> dict[str, object]:
    """Write a photo and return its row of the table, at a pixel of a default scene."""
    write_photo(folder / f"{name}.jpg", seed)
    lon, lat = lonlat(column, row)
    return {"photo_id": name, "path": f"{name}.jpg", "lon": lon, "lat": lat, **more}


class ColourTeacher:
    """Stands in for CLIP: a photo's vector is its coarse colours. Notes how many photos it was shown."""

    name, identity, dim, image_size = "colours", "c0" * 32, 12, 16

    def __init__(self) -> None:
        self.shown = 0

    def preprocess_photo(self, image: Image.Image) -> Tensor:
        pixels = np.array(image.convert("RGB").resize((self.image_size, self.image_size)))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()

    def encode_image(self, photo: Tensor) -> Tensor:
        self.shown += len(photo)
        return normalize(adaptive_avg_pool2d(photo.float(), 2).flatten(1) + 1, dim=-1)
