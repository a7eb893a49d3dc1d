"""Images of a folder: local rasters, each checked against the sensor before any pixel is cut."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyproj
import rasterio
from rasterio.io import DatasetReader
from tqdm import tqdm

from graft.errors import GraftError
from graft.imagery.baseline import (
    Radiometry,
    UnclearRadiometryError,
    dark_end,
    decide,
    evidence_of_tags,
    is_sentinel2,
)
from graft.imagery.geometry import MAX_FINER, grid_rings, tile_grid
from graft.imagery.image import Image, make_slug
from graft.raster import GSD_TOLERANCE, check_numbers, find_bands, measured_pixel, time_taken
from graft.sensors import Sensor

RASTER_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")
OVERVIEW_SIDE = 512


def open_folder(scenes: Path | Sequence[Path], sensor: Sensor) -> list[Image]:
    """Find rasters and check each against the sensor.

    No pixel is read, except an overview of a Sentinel-2 raster whose tags leave its baseline offset open.

    Args:
        scenes: a raster file, a folder searched recursively for `RASTER_SUFFIXES`, or a list of both.
        sensor: the row of `sensors.yaml` that the tiles are to follow.

    Returns:
        Images in the order of their paths.

    Raises:
        GraftError: no raster, or one that cannot be opened or does not fit the sensor.
    """
    files = find_files([scenes] if isinstance(scenes, Path) else scenes)
    used: set[str] = set()
    found = []
    for file in tqdm(files, desc="opening scenes", unit="scene", delay=2):
        try:
            with rasterio.open(file) as dataset:
                found.append(_check(dataset, file, make_slug(file.stem, used), sensor))
        except rasterio.RasterioIOError as error:
            raise GraftError(f"The scene {file} does not open as a raster: {error}") from error
    return found


def find_files(places: Iterable[Path]) -> list[Path]:
    """Raster files among places and below folders, sorted.

    Raises:
        GraftError: a place that does not exist, or no raster at all.
    """
    files: set[Path] = set()
    for place in places:
        if place.is_dir():
            files.update(file for file in place.rglob("*") if file.suffix.lower() in RASTER_SUFFIXES)
        elif place.is_file():
            files.add(place)
        else:
            raise GraftError(f"No scene at {place}. Give imagery.scenes rasters, or folders of them.")
    if not files:
        looked = ", ".join(str(place) for place in places)
        raise GraftError(f"No scenes in {looked}: looked for files ending in {', '.join(RASTER_SUFFIXES)}.")
    return sorted(files)


def _check(dataset: DatasetReader, file: Path, slug: str, sensor: Sensor) -> Image:
    if dataset.crs is None:
        raise GraftError(f"The scene {file} has no coordinate reference system; assign one with `rio edit-info --crs`.")
    ground_m = measured_pixel(dataset, file)
    coarse = any(side / sensor.gsd_m > 1 + GSD_TOLERANCE for side in ground_m)
    if coarse or any(sensor.gsd_m / side > MAX_FINER for side in ground_m):
        why = "no detail is made up" if coarse else f"only up to {MAX_FINER:g} times finer ones are averaged"
        raise GraftError(
            f"The scene {file} has pixels of {ground_m[0]:.3g} x {ground_m[1]:.3g} m on the ground, sensor "
            f"{sensor.name} has {sensor.gsd_m:g} m: {why}. Choose another sensor, or resample it first with "
            f"`gdalwarp -tr {sensor.gsd_m:g} {sensor.gsd_m:g}` in a UTM zone."
        )
    name_bands = (
        "Name each in Python: rasterio.open(FILE, 'r+', IGNORE_COG_LAYOUT_BREAK='YES')"
        f".set_band_description(NUMBER, '{sensor.bands[0]}')."
    )
    red, green, blue = bands = find_bands(dataset, file, sensor, name_bands)
    check_numbers(dataset, file, sensor, bands, "Choose the sensor whose scale fits this product.")
    tags = {name.upper(): value for name, value in dataset.tags().items()}
    radiometry = _radiometry(dataset, file, red, tags, sensor)
    code = pyproj.CRS.from_wkt(dataset.crs.to_wkt()).to_epsg()
    crs = f"EPSG:{code}" if code else dataset.crs.to_wkt()
    grid, width, height = tile_grid(dataset.transform, dataset.width, dataset.height, ground_m, sensor.gsd_m)
    across = ground_m[0] * grid.a / dataset.transform.a if dataset.transform.a else sensor.gsd_m
    path = str(file.absolute())
    return Image(
        slug=slug,
        bands=((path, red), (path, green), (path, blue)),
        scl=None,
        crs=crs,
        transform=grid[:6],
        width=width,
        height=height,
        gsd_m=round(across, 2),
        datetime=time_taken(tags),
        item=tags.get("ITEM") or file.stem,
        cloud=None,
        offset=radiometry.offset,
        radiometry_note=radiometry.note,
        footprint=grid_rings(crs, grid, width, height),
    )


def _radiometry(dataset: DatasetReader, file: Path, red: int, tags: dict[str, str], sensor: Sensor) -> Radiometry:
    by_row = Radiometry(sensor.offset, f"row {sensor.name} of sensors.yaml")
    if not is_sentinel2(sensor):
        return by_row
    scale, offset = dataset.scales[red - 1], dataset.offsets[red - 1]
    evidence = evidence_of_tags(tags, scale, offset, dataset.dtypes[red - 1], sensor)
    if evidence is None:
        return by_row
    try:
        return decide(evidence, lambda: read_dark_end(dataset, red))
    except UnclearRadiometryError as error:
        raise GraftError(f"The scene {file}: {error}") from error


def read_dark_end(dataset: DatasetReader, band: int) -> float:
    """`dark_end` of an overview of one band.

    Raises:
        rasterio.RasterioIOError: it does not read.
    """
    shape = (min(dataset.height, OVERVIEW_SIDE), min(dataset.width, OVERVIEW_SIDE))
    stored = dataset.read(band, out_shape=shape)
    # Zero is no data in Sentinel-2 even where a file does not say so.
    return dark_end(stored, (dataset.read_masks(band, out_shape=shape) > 0) & (stored > 0))
