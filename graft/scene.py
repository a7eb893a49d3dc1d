"""One raster as a model sees it: display values at the model's GSD, read in windows."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetReader
from rasterio.windows import Window

from graft.errors import GraftError, first_line
from graft.imagery import remote
from graft.raster import COLOURS, MAX_MISMATCH, canvas_length, check_numbers, find_bands, mask_is_a_mask, measured_pixel
from graft.resample import axis_weights
from graft.sensors import Sensor

_CACHE_BYTES = 128 << 20
_CHUNK_PIXELS = 2 << 20
_SAMPLE_SIDE = 512


@dataclass(frozen=True)
class SceneView:
    """A raster and how to look at it.

    Attributes:
        path: the file.
        width: columns of the file's own grid.
        height: rows of the file's own grid.
        crs: None where the file has none.
        transform: pixel (column, row, edges at integers) to CRS coordinates.
        bands: numbers (from 1) of the red, green and blue band.
        gsd_m: width and height of a pixel on the ground, metres.
        model_gsd_m: size of a canvas pixel, metres.
        canvas: height and width of the canvas: the same ground in pixels of the model's GSD.
        sensor: says how stored numbers become display values.
        display: whether the stored numbers are display values 0..255 already.
        nan_share: share of pixels that hold NaN, 0..1, from a sample of the scene.
    """

    path: Path
    width: int
    height: int
    crs: CRS | None
    transform: Affine
    bands: tuple[int, int, int]
    gsd_m: tuple[float, float]
    model_gsd_m: float
    canvas: tuple[int, int]
    sensor: Sensor
    display: bool
    nan_share: float

    @property
    def radiometry(self) -> str:
        """The rendering in words."""
        return "stored 8-bit display values" if self.display else self.sensor.radiometry

    def render(self, stored: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """Stored numbers [3, H, W] of any type to display values uint8 [H, W, 3], black where not valid."""
        held = np.where(valid, stored, 0)
        shown = np.rint(held).astype(np.uint8) if self.display else self.sensor.to_display(held)
        return np.ascontiguousarray((shown * valid).transpose(1, 2, 0).astype(np.uint8))


class SceneReader:
    """An open scene; get one from `read_scene`."""

    def __init__(self, dataset: DatasetReader, view: SceneView) -> None:
        self.view = view
        self._dataset = dataset
        self._trusted = mask_is_a_mask(dataset)

    def block(
        self, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Display values uint8 [H, W, 3] and data mask bool [H, W] of a block of the scene's own grid.

        Args:
            rows: first and one past the last row.
            columns: first and one past the last column.

        Raises:
            GraftError: the file is damaged there.
        """
        stored, valid = self._stored(rows, columns)
        return self.view.render(stored, valid), valid

    def canvas_rows(self, first: int, last: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """`canvas_block` of rows first..last over the whole width."""
        return self.canvas_block((first, last), (0, self.view.canvas[1]))

    def canvas_block(
        self, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
        """Display values uint8 [H, W, 3] and data mask bool [H, W] of a block of the canvas.

        A canvas pixel of which half or more lacks data is black and False.

        Args:
            rows: first and one past the last row.
            columns: first and one past the last column.

        Raises:
            GraftError: the file is damaged there.
        """
        view = self.view
        height, width = view.canvas
        down = axis_weights(view.height, height, *rows)
        chunk = max(int(_CHUNK_PIXELS / (down.stop - down.start) * width / view.width), 1)
        parts = []
        for left in range(*columns, chunk):
            across = axis_weights(view.width, width, left, min(left + chunk, columns[1]))
            stored, valid = self._stored((down.start, down.stop), (across.start, across.stop))
            if down.matrix is not None or across.matrix is not None:
                share = _resample(valid.astype(np.float32), down.matrix, across.matrix)
                sums = _resample(np.where(valid, stored, 0).astype(np.float32), down.matrix, across.matrix)
                valid = share > 0.5
                stored = sums / np.where(valid, share, 1)
            parts.append((view.render(stored, valid), valid))
        shown, seen = zip(*parts, strict=True)
        return np.concatenate(shown, axis=1), np.concatenate(seen, axis=1)

    def thumbnail(self, width: int, height: int) -> npt.NDArray[np.uint8]:
        """The whole scene in display values, uint8 [height, width, 3]."""
        shape = (3, height, width)
        with _told_as_damage(self.view.path):
            stored = self._dataset.read(self.view.bands, out_shape=shape, resampling=Resampling.average)
            valid = np.isfinite(stored).all(axis=0)
            if self._trusted:
                masks = self._dataset.read_masks(self.view.bands, out_shape=shape)
                valid &= masks.astype(bool).any(axis=0)
        return self.view.render(stored, valid)

    def _stored(
        self, rows: tuple[int, int], columns: tuple[int, int]
    ) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]:
        window = Window.from_slices(rows, columns)
        with _told_as_damage(self.view.path):
            stored = self._dataset.read(self.view.bands, window=window)
            valid = np.isfinite(stored).all(axis=0)
            if self._trusted:
                # A dark pixel may store nodata's number in one band; without data it does so in all three.
                valid &= self._dataset.read_masks(self.view.bands, window=window).astype(bool).any(axis=0)
        return stored, valid


@contextmanager
def read_scene(view: SceneView) -> Iterator[SceneReader]:
    """Open a scene for reading; GDAL's cache is kept small, whatever the machine has."""
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), open_raster(view.path) as dataset:
        yield SceneReader(dataset, view)


@contextmanager
def open_raster(path: Path) -> Iterator[DatasetReader]:
    """Open a raster, without a warning about plain pictures.

    Args:
        path: of a file, or what `graft.imagery.remote.path_of` made of an address.

    Raises:
        GraftError: no such file, or no raster.
    """
    if remote.is_on_disk(str(path)) and not path.is_file():
        raise GraftError(f"No scene at {path}.")
    with ExitStack() as opened:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                dataset = opened.enter_context(remote.open_raster(str(path)))
        except rasterio.RasterioIOError as error:
            raise GraftError(f"The scene {path} does not open as a raster: {first_line(error)}") from error
        yield dataset


def view_scene(
    path: Path,
    sensor: Sensor,
    model_gsd_m: float,
    *,
    gsd_m: float | None = None,
    bands: Sequence[int] | None = None,
    display: bool = False,
    any_gsd: bool = False,
) -> SceneView:
    """Check a raster against a model; a sample of its pixels is read.

    Args:
        path: the raster.
        sensor: how its stored numbers become display values, and what its bands may be called.
        model_gsd_m: metres a pixel that the model was trained on. Within 10 % the scene's own grid is the canvas.
        gsd_m: metres a pixel of a raster without CRS.
        bands: numbers (from 1) of red, green and blue where the file does not say.
        display: its numbers are 8-bit display values already.
        any_gsd: resample however far the scene's GSD is from the model's.

    Raises:
        GraftError: whatever does not fit, one sentence each.
    """
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), open_raster(path) as dataset:
        if dataset.count < len(COLOURS):
            found = "one band" if dataset.count == 1 else f"{dataset.count} bands"
            raise GraftError(f"The scene {path} has {found}; expected red, green and blue.")
        size = _ground_size(dataset, path, gsd_m)
        if not any_gsd:
            _check_gsd(path, size, model_gsd_m)
        chosen = _check_bands(dataset, path, sensor, bands)
        if display and any(dataset.dtypes[band - 1] != "uint8" for band in chosen):
            raise GraftError(
                f"The scene {path} stores {dataset.dtypes[chosen[0] - 1]} numbers, but --display takes 8-bit display "
                "values. Leave it out, and let a --sensor say how the numbers are shown."
            )
        if not display:
            remedy = "Choose the --sensor whose scale fits, or give --display for a picture of 8-bit display values."
            check_numbers(dataset, path, sensor, chosen, remedy)
        canvas = (
            canvas_length(dataset.height, size[1], model_gsd_m),
            canvas_length(dataset.width, size[0], model_gsd_m),
        )
        view = SceneView(
            path=path,
            width=dataset.width,
            height=dataset.height,
            crs=dataset.crs,
            transform=dataset.transform,
            bands=chosen,
            gsd_m=size,
            model_gsd_m=model_gsd_m,
            canvas=canvas,
            sensor=sensor,
            display=display,
            nan_share=_nan_share(dataset, path, chosen, sensor, display=display),
        )
        _check_any_data(SceneReader(dataset, view))
        return view


def _ground_size(dataset: DatasetReader, path: Path, gsd_m: float | None) -> tuple[float, float]:
    """Width and height of a pixel on the ground, metres."""
    if dataset.crs is None:
        if gsd_m is None:
            raise GraftError(
                f"The scene {path} has no coordinate reference system: assign one with `rio edit-info --crs`, or give "
                "--gsd METRES for the size of its pixels and do without georeferenced output."
            )
        if not gsd_m > 0:
            raise GraftError(f"--gsd is {gsd_m:g}; it must be more than 0 metres.")
        return gsd_m, gsd_m
    size = measured_pixel(dataset, path)
    if gsd_m is not None:
        raise GraftError(
            f"The scene {path} has a coordinate reference system and pixels of {size[0]:.3g} x {size[1]:.3g} m; --gsd "
            "is for rasters without one. Leave it out."
        )
    return size


def _check_gsd(path: Path, size: tuple[float, float], model_gsd_m: float) -> None:
    worst = max(max(side / model_gsd_m, model_gsd_m / side) for side in size)
    if round(worst, 1) > MAX_MISMATCH:
        raise GraftError(
            f"The scene {path} has pixels of {size[0]:.3g} x {size[1]:.3g} m on the ground, the model was trained at "
            f"{model_gsd_m:g} m: a mismatch of {worst:.1f}, more than {MAX_MISMATCH:g} times. Choose another --model, "
            "or give --any-gsd to resample it all the same."
        )


def _check_bands(
    dataset: DatasetReader, path: Path, sensor: Sensor, bands: Sequence[int] | None
) -> tuple[int, int, int]:
    if bands is None:
        return find_bands(dataset, path, sensor, "Give their numbers, e.g. --bands 4,3,2 for red, green and blue.")
    if len(bands) != len(COLOURS) or not all(1 <= band <= dataset.count for band in bands):
        raise GraftError(
            f"--bands is {','.join(map(str, bands))}; expected three numbers from 1 to {dataset.count}, the bands of "
            f"{path} that are red, green and blue."
        )
    red, green, blue = bands
    return red, green, blue


def _nan_share(dataset: DatasetReader, path: Path, bands: Sequence[int], sensor: Sensor, *, display: bool) -> float:
    """Share of NaN in a sample; refuses floats on another scale than the sensor's."""
    if all(np.dtype(dataset.dtypes[band - 1]).kind != "f" for band in bands):
        return 0.0
    shape = (3, min(dataset.height, _SAMPLE_SIDE), min(dataset.width, _SAMPLE_SIDE))
    with _told_as_damage(path):
        sample = dataset.read(bands, out_shape=shape)
    white = float(sensor.from_display(np.array(255)))
    top = float(np.max(sample, initial=-np.inf, where=np.isfinite(sample)))
    if not display and -np.inf < top <= 2 and white > 100:
        raise GraftError(
            f"The scene {path} stores numbers up to {top:.3g}, which looks like reflectance 0..1, but sensor "
            f"{sensor.name} shows {white:g} as white. Multiply it by {1 / sensor.scale:g}, or choose another --sensor."
        )
    return float(np.isnan(sample).any(axis=0).mean())


def _check_any_data(reader: SceneReader) -> None:
    """Told before any work; most scenes answer with their first block."""
    view = reader.view
    side = 1024
    for row in range(0, view.height, side):
        for column in range(0, view.width, side):
            rows, columns = (row, min(row + side, view.height)), (column, min(column + side, view.width))
            try:
                seen = reader.block(rows, columns)[1].any()
            except GraftError:
                return  # damaged, not empty: told by whoever needs these pixels
            if seen:
                return
    raise GraftError(f"The scene {view.path} holds no data: every pixel is NaN or masked.")


@contextmanager
def _told_as_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except rasterio.RasterioIOError as error:
        raise GraftError(f"The scene {path} is damaged and cannot be read: {first_line(error)}") from error


def _resample(
    values: npt.NDArray[np.float32], down: npt.NDArray[np.float32] | None, across: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float32]:
    """float32 [..., H, W] to the canvas, one axis after the other."""
    narrowed: npt.NDArray[np.float32] = values if across is None else values @ across.T
    resampled: npt.NDArray[np.float32] = narrowed if down is None else down @ narrowed
    return resampled
