"""Tiles read from local or remote rasters as windows."""

import math
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.io import DatasetReader
from rasterio.windows import Window

from graft.imagery.baseline import is_sentinel2
from graft.imagery.geometry import compose
from graft.imagery.image import Image
from graft.imagery.remote import open_raster, persist
from graft.raster import check_numbers, mask_is_a_mask
from graft.sensors import Sensor

UNCLEAR_CLASSES = (0, 1, 3, 8, 9, 10)
"""Of Sentinel-2's scene classification: no data, saturated, cloud shadow, cloud (medium, high), thin cirrus."""

_ALIGNED = 0.01


@dataclass(frozen=True)
class Tile:
    """One window, rendered.

    Attributes:
        pixels: uint8 [S, S, 3], display values 0..255; black where invalid.
        invalid: share of its pixels without data, 0..1.
        cloudy: share of its pixels that the scene classification calls cloud, shadow or unusable, 0..1; None without
            a classification.
    """

    pixels: npt.NDArray[np.uint8]
    invalid: float
    cloudy: float | None


def read_tile(image: Image, column: int, row: int, tile_size: int, sensor: Sensor) -> Tile | None:
    """Read and render one window; what lies outside the image is without data.

    Args:
        image: as `open_folder` or `search_stac` returns it.
        column: of the window's upper left pixel in the tile grid.
        row: likewise.
        tile_size: side S in pixels of the tile grid.
        sensor: says how stored numbers become display values; the image's offset replaces its own.

    Returns:
        The tile, or None where a file is damaged, or stays out of reach after several attempts.

    Raises:
        GraftError: numbers that cannot hold the sensor's white.
    """
    files = {file for file, _ in image.bands} | ({image.scl} if image.scl else set())
    try:
        return persist(sorted(files), lambda: _read(image, column, row, tile_size, sensor))
    except OSError:
        return None


def _read(image: Image, column: int, row: int, size: int, sensor: Sensor) -> Tile:
    corner = compose(Affine(*image.transform), Affine.translation(column, row))
    stored, valid = _read_bands(image, corner, size, sensor)
    shown = replace(sensor, offset=image.offset).to_display(np.where(valid, stored, 0)) * valid
    cloudy = None
    if image.scl is not None:
        with open_raster(image.scl, sign=image.sign) as dataset:
            cloudy = float(np.isin(_nearest(dataset, corner, size), UNCLEAR_CLASSES).mean())
    return Tile(np.ascontiguousarray(shown.transpose(1, 2, 0).astype(np.uint8)), float(1 - valid.mean()), cloudy)


def _read_bands(
    image: Image, corner: Affine, size: int, sensor: Sensor
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """Stored numbers [3, S, S] and where they are valid [S, S]."""
    stored, masks, frames = [], [], []
    with ExitStack() as files:
        opened = {
            file: files.enter_context(open_raster(file, sign=image.sign))
            for file in dict.fromkeys(file for file, _ in image.bands)
        }
        for file, dataset in opened.items():
            numbers = [band for other, band in image.bands if other == file]
            check_numbers(dataset, Path(file), sensor, numbers, "Choose the --sensor whose scale fits this product.")
        for file, band in image.bands:
            frame = _frame(opened[file], corner, size)
            values, mask = _padded(opened[file], band, frame)
            stored.append(values)
            masks.append(mask)
            frames.append(frame)
    if len(set(frames)) > 1:
        raise rasterio.RasterioIOError(f"{image.item}: red, green and blue lie on different grids")
    # A dark pixel may store nodata's number in one band; without data it does so in all three.
    values = np.stack(stored)
    valid = np.stack(masks).any(axis=0) & np.isfinite(values).all(axis=0)
    if is_sentinel2(sensor):
        valid &= values.any(axis=0)  # ESA's zero is no data, whether the file says so or not
    frame = frames[0]
    return (values, valid) if frame.exact else _averaged(values, valid, frame, size)


@dataclass(frozen=True)
class _Frame:
    """A tile in the pixels of a raster: edges in pixels, and the whole pixels around them."""

    left: float
    top: float
    across: float
    down: float
    columns: tuple[int, int]
    rows: tuple[int, int]

    @property
    def exact(self) -> bool:
        """Whether the tile's pixels are the raster's."""
        return self.across == self.down == 1


def _frame(dataset: DatasetReader, corner: Affine, size: int) -> _Frame:
    place = compose(~dataset.transform, corner)
    left, top, across, down = place.c, place.f, place.a, place.e
    turned = max(abs(place.b), abs(place.d)) * size > _ALIGNED
    if turned or not all(0 < step < 100 for step in (across, down)):
        raise rasterio.RasterioIOError(f"{dataset.name}: its grid is not the one that was announced")
    if abs(across - 1) * size < _ALIGNED and abs(left - round(left)) < _ALIGNED:
        across, left = 1.0, float(round(left))
    if abs(down - 1) * size < _ALIGNED and abs(top - round(top)) < _ALIGNED:
        down, top = 1.0, float(round(top))
    columns = math.floor(left + 1e-6), math.ceil(left + across * size - 1e-6)
    rows = math.floor(top + 1e-6), math.ceil(top + down * size - 1e-6)
    return _Frame(left, top, across, down, columns, rows)


def _padded(dataset: DatasetReader, band: int, frame: _Frame) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
    """A band's pixels within a frame and their mask; zeros that are not valid outside the raster."""
    shape = (frame.rows[1] - frame.rows[0], frame.columns[1] - frame.columns[0])
    values, mask = np.zeros(shape, dataset.dtypes[band - 1]), np.zeros(shape, np.bool_)
    left, right = (min(max(edge, 0), dataset.width) for edge in frame.columns)
    top, bottom = (min(max(edge, 0), dataset.height) for edge in frame.rows)
    if left < right and top < bottom:
        window = Window(left, top, right - left, bottom - top)
        inner = np.s_[top - frame.rows[0] : bottom - frame.rows[0], left - frame.columns[0] : right - frame.columns[0]]
        values[inner] = dataset.read(band, window=window)
        mask[inner] = dataset.read_masks(band, window=window) > 0 if mask_is_a_mask(dataset) else True
    return values, mask


def _averaged(
    values: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_], frame: _Frame, size: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Means [3, S, S] over each tile pixel's own area, of valid pixels, and where at least half of it is valid.

    Pixel by pixel rather than as a product of matrices, whose last bit depends on the machine.
    """
    weight = valid.astype(np.float64)
    stack = np.concatenate([np.where(valid, values, 0) * weight, weight[None]])
    stack = _shares(stack, frame.top - frame.rows[0], frame.down, size, axis=1)
    stack = _shares(stack, frame.left - frame.columns[0], frame.across, size, axis=2)
    covered = stack[3]
    means = stack[:3] / np.where(covered > 0, covered, 1)
    return means.astype(np.float32), covered >= 0.5


def _shares(
    values: npt.NDArray[np.float64], begin: float, step: float, size: int, axis: int
) -> npt.NDArray[np.float64]:
    """Means of the intervals begin + k * step .. begin + (k + 1) * step of the pixels along one axis."""
    starts = begin + step * np.arange(size)
    first = np.floor(starts + 1e-9).astype(np.int64)
    last = values.shape[axis] - 1
    total: npt.NDArray[np.float64] = np.zeros(())
    for ahead in range(math.ceil(step) + 1):
        pixel = first + ahead
        share = np.clip(np.minimum(starts + step, pixel + 1) - np.maximum(starts, pixel), 0, None) / step
        shape = [1] * values.ndim
        shape[axis] = size
        total = total + np.take(values, np.clip(pixel, 0, last), axis=axis) * share.reshape(shape)
    return total


def _nearest(dataset: DatasetReader, corner: Affine, size: int) -> npt.NDArray[np.uint8]:
    """The class uint8 [S, S] under the middle of each pixel of a tile; 0 outside the classification."""
    frame = _frame(dataset, corner, size)
    classes, _ = _padded(dataset, 1, frame)
    columns = np.floor(frame.left + frame.across * (np.arange(size) + 0.5)).astype(np.int64) - frame.columns[0]
    rows = np.floor(frame.top + frame.down * (np.arange(size) + 0.5)).astype(np.int64) - frame.rows[0]
    return classes[np.ix_(rows, columns)].astype(np.uint8)
