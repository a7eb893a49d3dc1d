"""What every reader of rasters asks of one: which bands, which ground pixel, which numbers, which mask."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pyproj
import pyproj.exceptions
from affine import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from graft.errors import GraftError, first_line
from graft.sensors import Sensor

COLOURS = ("red", "green", "blue")
GSD_TOLERANCE = 0.1
MAX_MISMATCH = 2.0
"""A scene may have pixels this many times as large as the model's before they would be guesswork."""


def ground_pixel(crs: pyproj.CRS, transform: Affine, width: int, height: int) -> tuple[float, float]:
    """Width and height of the middle pixel in metres on the ellipsoid.

    Not the CRS's own units: a web-Mercator metre is 0.5 m on the ground at 60 degrees north, and a degree is no length.
    """
    column, row = width / 2, height / 2
    columns, rows = np.array([column, column + 1, column]), np.array([row, row, row + 1])
    a, b, c, d, e, f = transform[:6]
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(a * columns + b * rows + c, d * columns + e * rows + f)
    ellipsoid = pyproj.Geod(ellps="WGS84")
    _, _, across = ellipsoid.inv(lon[0], lat[0], lon[1], lat[1])
    _, _, down = ellipsoid.inv(lon[0], lat[0], lon[2], lat[2])
    return float(across), float(down)


def measured_pixel(dataset: DatasetReader, file: Path) -> tuple[float, float]:
    """`ground_pixel` of an open raster that has a coordinate reference system.

    Args:
        dataset: the open raster.
        file: its name in messages.

    Raises:
        GraftError: a local system that is tied to no place, or a raster outside the area of its own.
    """
    try:
        crs = pyproj.CRS.from_wkt(dataset.crs.to_wkt())
        size = ground_pixel(crs, dataset.transform, dataset.width, dataset.height)
    except pyproj.exceptions.ProjError as error:
        raise GraftError(f"The scene {file} lies nowhere on Earth that PROJ can find: {first_line(error)}") from error
    if not (np.isfinite(size).all() and min(size) > 0):
        raise GraftError(f"The scene {file} lies outside the area of its coordinate reference system; correct one.")
    return size


def canvas_length(pixels: int, have_m: float, want_m: float) -> int:
    """Canvas pixels along one axis of a scene; within `GSD_TOLERANCE` the scene's own.

    Args:
        pixels: of the scene along that axis.
        have_m: metres a pixel of the scene along it.
        want_m: metres a pixel of the canvas.
    """
    ratio = have_m / want_m
    return pixels if abs(ratio - 1) <= GSD_TOLERANCE else max(round(pixels * ratio), 1)


def _canonical(name: str | None) -> str:
    """Band descriptions compare without case, and "B4" is "B04"."""
    plain = (name or "").strip().lower()
    return re.sub(r"^b(\d)(?=a?$)", r"b0\1", plain)


def find_bands(dataset: DatasetReader, file: Path, sensor: Sensor, remedy: str) -> tuple[int, int, int]:
    """Numbers (from 1) of the red, green and blue band, by description or else by colour interpretation.

    Args:
        dataset: the open raster.
        file: its name in messages.
        sensor: whose band names to look for.
        remedy: sentence that ends the message if they cannot be told.

    Raises:
        GraftError: neither says which bands they are.
    """
    described = [_canonical(name) for name in dataset.descriptions]
    numbers = []
    for band, colour in zip(sensor.bands, COLOURS, strict=True):
        numbers += [described.index(name) + 1 for name in (_canonical(band), colour) if name in described][:1]
    if len(numbers) != len(COLOURS):
        meant = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        numbers = [dataset.colorinterp.index(colour) + 1 for colour in meant if colour in dataset.colorinterp]
    if len(numbers) != len(COLOURS):
        wanted = ", ".join(sensor.bands)
        found = ", ".join(dict.fromkeys(str(name or "(none)") for name in dataset.descriptions))
        raise GraftError(
            f"The scene {file} does not say which of its {dataset.count} bands are {wanted} (sensor {sensor.name}): "
            f"its descriptions are {found}, and no band is marked red, green and blue. {remedy}"
        )
    red, green, blue = numbers
    return red, green, blue


def check_numbers(dataset: DatasetReader, file: Path, sensor: Sensor, bands: Iterable[int], remedy: str) -> None:
    """Refuse a number type that cannot hold the sensor's white: the tiles would all be near black.

    Raises:
        GraftError: complex numbers, or integers too short.
    """
    white = float(sensor.from_display(np.array(255)))
    for band in bands:
        dtype = np.dtype(dataset.dtypes[band - 1])
        if dtype.kind == "c" or (dtype.kind in "iu" and np.iinfo(dtype).max < white - 1):
            raise GraftError(
                f"The scene {file} stores {dtype} numbers, but sensor {sensor.name} shows {white:g} as white. {remedy}"
            )


def mask_is_a_mask(dataset: DatasetReader) -> bool:
    """False where GDAL takes a described fourth band, such as near infrared, for an alpha channel."""
    if not any(MaskFlags.alpha in flags for flags in dataset.mask_flag_enums):
        return True
    alpha = dataset.descriptions[dataset.colorinterp.index(ColorInterp.alpha)]
    return alpha is None or "alpha" in alpha.lower() or alpha.lower() in ("a", "mask")


def time_taken(tags: Mapping[str, str]) -> str | None:
    """When a raster was taken (ISO 8601), from its tags by upper-case name; None if they do not say."""
    time = tags.get("DATETIME") or tags.get("TIFFTAG_DATETIME")
    if time is not None and len(time) >= 10 and time[4] == time[7] == ":":  # TIFF writes 2020:06:01 10:00:00
        return time[:10].replace(":", "-") + time[10:].replace(" ", "T", 1)
    return time
