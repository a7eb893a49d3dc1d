"""Satellite scenes: which bands, which resolution, and tiles read as windows."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyproj
import rasterio
from affine import Affine
from rasterio.io import DatasetReader
from rasterio.windows import Window

from graft.errors import GraftError
from graft.raster import GSD_TOLERANCE, check_numbers, find_bands, ground_pixel, mask_is_a_mask
from graft.sensors import Sensor

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")
SLUG_LENGTH = 48


@dataclass(frozen=True)
class Scene:
    """One raster whose bands, resolution and number type fit the sensor.

    Attributes:
        path: the file.
        slug: name of the scene in sample keys, `[a-z0-9_-]+`, unique within a build.
        crs: "EPSG:32633", or WKT where there is no code.
        transform: pixel (column, row, edges at integers) to CRS coordinates.
        width: columns.
        height: rows.
        bands: numbers (from 1) of the red, green and blue band.
        gsd_m: size of a pixel on the ground, metres.
        datetime: when it was taken (ISO 8601), None if the file does not say.
        item: name of the product, the file's stem if the file does not say.
    """

    path: Path
    slug: str
    crs: str
    transform: Affine
    width: int
    height: int
    bands: tuple[int, int, int]
    gsd_m: float
    datetime: str | None
    item: str

    def grid(self, tile_size: int, stride: int) -> tuple[int, int]:
        """Number of whole tiles down and across; (0, 0) if the scene is smaller than a tile."""
        if min(self.width, self.height) < tile_size:
            return 0, 0
        return (self.height - tile_size) // stride + 1, (self.width - tile_size) // stride + 1


def open_scenes(scenes: Path | Sequence[Path], sensor: Sensor) -> list[Scene]:
    """Find scenes and check each against the sensor; no pixel is read.

    Args:
        scenes: a raster file, a folder searched recursively for `RASTER_SUFFIXES`, or a list of both.
        sensor: the row of `sensors.yaml` that the tiles are to follow.

    Returns:
        Scenes in the order of their paths.

    Raises:
        GraftError: no scene, or one that cannot be opened or does not fit the sensor.
    """
    files = _find_files([scenes] if isinstance(scenes, Path) else scenes)
    used: set[str] = set()
    found = []
    for file in files:
        try:
            with rasterio.open(file) as dataset:
                found.append(_check_scene(dataset, file, _slug(file.stem, used), sensor))
        except rasterio.RasterioIOError as error:
            raise GraftError(f"The scene {file} does not open as a raster: {error}") from error
    return found


def _find_files(places: Iterable[Path]) -> list[Path]:
    files: set[Path] = set()
    for place in places:
        if place.is_dir():
            files.update(file for file in place.rglob("*") if file.suffix.lower() in RASTER_SUFFIXES)
        elif place.is_file():
            files.add(place)
        else:
            raise GraftError(f"No scene at {place}. Give --scenes a raster, a folder of rasters or a list of them.")
    if not files:
        looked = ", ".join(str(place) for place in places)
        raise GraftError(f"No scenes in {looked}: looked for files ending in {', '.join(RASTER_SUFFIXES)}.")
    return sorted(files)


def _slug(name: str, used: set[str]) -> str:
    """A name of `[a-z0-9_-]+` that is not in `used`, which it joins."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:SLUG_LENGTH] or "scene"
    slug, number = base, 1
    while slug in used:
        number += 1
        slug = f"{base}-{number}"
    used.add(slug)
    return slug


def _check_scene(dataset: DatasetReader, file: Path, slug: str, sensor: Sensor) -> Scene:
    if dataset.crs is None:
        raise GraftError(f"The scene {file} has no coordinate reference system; assign one with `rio edit-info --crs`.")
    crs = pyproj.CRS.from_wkt(dataset.crs.to_wkt())
    gsd_m = ground_pixel(crs, dataset.transform, dataset.width, dataset.height)
    if any(abs(side / sensor.gsd_m - 1) > GSD_TOLERANCE for side in gsd_m):
        raise GraftError(
            f"The scene {file} has pixels of {gsd_m[0]:.3g} x {gsd_m[1]:.3g} m on the ground, sensor {sensor.name} "
            f"has {sensor.gsd_m:g} m. Scenes are not resampled: choose another --sensor, or resample it first with "
            f"`gdalwarp -tr {sensor.gsd_m:g} {sensor.gsd_m:g}` in a UTM zone."
        )
    name_bands = (
        "Name each in Python: rasterio.open(FILE, 'r+', IGNORE_COG_LAYOUT_BREAK='YES')"
        f".set_band_description(NUMBER, '{sensor.bands[0]}')."
    )
    bands = find_bands(dataset, file, sensor, name_bands)
    check_numbers(dataset, file, sensor, bands, "Choose the --sensor whose scale fits this product.")
    tags = {name.upper(): value for name, value in dataset.tags().items()}
    code = crs.to_epsg()
    return Scene(
        path=file,
        slug=slug,
        crs=f"EPSG:{code}" if code else crs.to_wkt(),
        transform=dataset.transform,
        width=dataset.width,
        height=dataset.height,
        bands=bands,
        gsd_m=round(sum(gsd_m) / 2, 2),
        datetime=tags.get("DATETIME") or tags.get("TIFFTAG_DATETIME"),
        item=tags.get("ITEM") or file.stem,
    )


@dataclass(frozen=True)
class Tile:
    """One window, rendered.

    Attributes:
        pixels: uint8 [S, S, 3], display values 0..255; black where invalid.
        invalid: share of its pixels without data, 0..1.
    """

    pixels: npt.NDArray[np.uint8]
    invalid: float


def read_tiles(
    scene: Scene, sensor: Sensor, corners: Iterable[tuple[int, int]], tile_size: int
) -> Iterator[Tile | None]:
    """Read and render windows of one scene.

    Args:
        scene: as `open_scenes` returns it.
        sensor: says how stored numbers become display values.
        corners: (column, row) of each window's upper left pixel.
        tile_size: side S in pixels.

    Yields:
        A tile for each corner, or None where the file is damaged.
    """
    with rasterio.open(scene.path) as dataset:
        trusted = mask_is_a_mask(dataset)
        for column, row in corners:
            window = Window(column, row, tile_size, tile_size)
            try:
                stored = dataset.read(scene.bands, window=window)
                mask = dataset.read_masks(scene.bands, window=window) if trusted else np.ones(stored.shape, np.uint8)
            except rasterio.RasterioIOError:
                yield None
                continue
            # A dark pixel may store nodata's number in one band; without data it does so in all three.
            valid = mask.astype(bool).any(axis=0) & np.isfinite(stored).all(axis=0)
            shown = sensor.to_display(np.where(valid, stored, 0)) * valid
            yield Tile(np.ascontiguousarray(shown.transpose(1, 2, 0).astype(np.uint8)), float(1 - valid.mean()))
