"""Pairs of a picture and a label map: how they are found by name, and how each is read."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from graft.errors import GraftError
from graft.fit import read_rgb
from graft.labelmaps.scenes import StoredScene
from graft.listing import IMAGE_SUFFIXES
from graft.raster import check_numbers, find_bands, mask_is_a_mask, measured_pixel
from graft.sensors import Sensor

LABEL_SUFFIXES = frozenset({".png", ".tif", ".tiff"})
RASTER_SUFFIXES = frozenset({".tif", ".tiff"})


@dataclass(frozen=True)
class ScenePair:
    """Files of one scene.

    Attributes:
        name: of the scene.
        image: the picture.
        label: its label map.
    """

    name: str
    image: Path
    label: Path


def match_names(
    images: Iterable[tuple[str, Path]], labels: Iterable[tuple[str, Path]]
) -> tuple[list[ScenePair], list[str]]:
    """Bring pictures and label maps together by name.

    Args:
        images: name and file of each picture.
        labels: name and file of each label map.

    Returns:
        Pairs in the order of their names, and a reason for every file that has no partner.

    Raises:
        GraftError: two pictures or two label maps have one name.
    """
    pictures, truths = _by_name(images, "pictures"), _by_name(labels, "label maps")
    pairs = [ScenePair(name, pictures[name], truths[name]) for name in sorted(pictures.keys() & truths.keys())]
    left_out = [f"{name}: picture without label" for name in sorted(pictures.keys() - truths.keys())]
    return pairs, left_out + [f"{name}: label without picture" for name in sorted(truths.keys() - pictures.keys())]


def _by_name(files: Iterable[tuple[str, Path]], what: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in sorted(files):
        if name in found:
            raise GraftError(f"Two {what} are named {name}: {found[name]} and {path}. Rename or remove one.")
        found[name] = path
    return found


def existing_folder(root: Path) -> Path:
    """`root` itself.

    Raises:
        GraftError: no such folder.
    """
    if not root.is_dir():
        raise GraftError(f"No benchmark folder at {root}. Unpack the benchmark there, or change data.init_args.root.")
    return root


@contextmanager
def _open_raster(path: Path) -> Iterator[DatasetReader]:
    """Open a raster that need not say where it lies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as raster:
            yield raster


def read_label(path: Path) -> npt.NDArray[np.integer[Any]]:
    """Decode a label map as integers [H, W].

    Raises:
        OSError: missing, damaged or not an image.
        ValueError: more than one band, or numbers that are not whole.
    """
    if path.suffix.lower() in RASTER_SUFFIXES:
        with _open_raster(path) as raster:
            if raster.count != 1 or np.dtype(raster.dtypes[0]).kind not in "iu":
                raise ValueError(
                    f"the label has {raster.count} bands of {raster.dtypes[0]}; expected one band of class numbers"
                )
            band: npt.NDArray[np.integer[Any]] = raster.read(1)
            return band
    with Image.open(path) as image:
        if image.mode not in ("L", "P", "I", "I;16"):
            raise ValueError(f"the label has pixels of mode {image.mode}; expected one band of class numbers")
        return np.asarray(image)


def read_picture(
    path: Path, sensor: Sensor | None, *, alpha: bool = True
) -> tuple[npt.NDArray[np.uint8], tuple[float, float] | None]:
    """Decode a picture.

    Args:
        path: a raster (`.tif`) or an 8-bit image.
        sensor: renders the bands of a raster; None takes its first three, which must hold 8 bits.
        alpha: whether a band that GDAL takes for alpha is one.

    Returns:
        uint8 [H, W, 3], black where a raster has no data, and where it has a coordinate reference system the width and
        height of a pixel on the ground in metres.

    Raises:
        OSError: missing, damaged or not an image.
        ValueError: fewer than three bands, or more than 8 bits and no sensor to render them.
        GraftError: bands that do not fit the sensor, or a coordinate reference system that does not fit the raster.
    """
    if path.suffix.lower() not in RASTER_SUFFIXES:
        return read_rgb(path), None
    with _open_raster(path) as raster:
        gsd_m = None if raster.crs is None else measured_pixel(raster, path)
        return np.ascontiguousarray(_display(raster, path, sensor, alpha=alpha).transpose(1, 2, 0)), gsd_m


def _display(raster: DatasetReader, path: Path, sensor: Sensor | None, *, alpha: bool) -> npt.NDArray[np.uint8]:
    """A raster rendered as uint8 [3, H, W]."""
    bands = (1, 2, 3)
    if sensor is None:
        if raster.count < 3 or set(raster.dtypes[:3]) != {"uint8"}:
            raise ValueError(
                f"the picture has {raster.count} bands of {raster.dtypes[0]}; expected three of 8 bits, or a sensor"
            )
    else:
        bands = find_bands(raster, path, sensor, "Change data.init_args.sensor.")
        check_numbers(raster, path, sensor, bands, "Change data.init_args.sensor.")
    values = raster.read(bands)
    valid = np.isfinite(values).all(axis=0)
    if mask_is_a_mask(raster) and (alpha or not _has_alpha(raster)):
        # A dark pixel may store nodata's number in one band; without data it does so in all three.
        valid &= raster.read_masks(bands).astype(bool).any(axis=0)
    display = values if sensor is None else sensor.to_display(np.where(valid, values, 0))
    shown: npt.NDArray[np.uint8] = display * valid
    return shown


def _has_alpha(raster: DatasetReader) -> bool:
    return any(MaskFlags.alpha in flags for flags in raster.mask_flag_enums)


class PairedFiles:
    """A layout of pairs: one file with the picture, one with the label map.

    Attributes:
        names: see `graft.labelmaps.scenes.Layout`.
        left_out: see `graft.labelmaps.scenes.Layout`.
    """

    def __init__(
        self,
        pairs: Sequence[ScenePair],
        left_out: Sequence[str] = (),
        *,
        where: Path,
        sensor: Sensor | None = None,
        gsd_m: float | None = None,
        alpha: bool = True,
    ) -> None:
        """Take the pairs.

        Args:
            pairs: at least one.
            left_out: reasons for files without a partner.
            where: the benchmark's folder, for messages.
            sensor: see `read_picture`.
            gsd_m: of pictures that do not say it themselves.
            alpha: see `read_picture`.

        Raises:
            GraftError: no pair, or a GSD that is no length.
        """
        if not pairs:
            reasons = f" ({len(left_out)} without a partner, e.g. {left_out[0]})" if left_out else ""
            raise GraftError(
                f"{where} holds no picture with a label map of its name{reasons}. Change data.init_args.root, or the "
                "folders of pictures and labels in it."
            )
        if gsd_m is not None and not 0 < gsd_m < math.inf:
            raise GraftError(f"data.init_args.gsd_m is {gsd_m:g}; expected finite metres above 0.")
        self.names, self.left_out = [pair.name for pair in pairs], list(left_out)
        self._pairs, self._sensor, self._alpha = pairs, sensor, alpha
        self._gsd_m = None if gsd_m is None else (gsd_m, gsd_m)

    def read(self, index: int) -> StoredScene:
        """Read scene `index`."""
        pair = self._pairs[index]
        image, gsd_m = read_picture(pair.image, self._sensor, alpha=self._alpha)
        return StoredScene(image, read_label(pair.label), gsd_m or self._gsd_m)


def folder_pairs(
    root: Path, images: str, labels: str, *, sensor: Sensor | None = None, gsd_m: float | None = None
) -> PairedFiles:
    """Pictures in one folder, label maps in another, under the same names; endings may differ.

    The embedded world (`scenes`, `labels`), crops of mmsegmentation (`img_dir`, `ann_dir`), and one's own.

    Args:
        root: the benchmark's folder.
        images: folder of the pictures in `root`; folders below it are part of a picture's name.
        labels: folder of the label maps in `root`.
        sensor: see `read_picture`.
        gsd_m: of pictures that do not say it themselves.

    Raises:
        GraftError: no such folder, or no pair in it.
    """
    existing_folder(root)
    pairs, left_out = match_names(
        _named(existing_folder(root / images), IMAGE_SUFFIXES), _named(existing_folder(root / labels), LABEL_SUFFIXES)
    )
    return PairedFiles(pairs, left_out, where=root, sensor=sensor, gsd_m=gsd_m)


def _named(folder: Path, suffixes: frozenset[str]) -> list[tuple[str, Path]]:
    files = (p for p in folder.rglob("*") if p.suffix.lower() in suffixes and not p.name.startswith("."))
    return [(path.relative_to(folder).with_suffix("").as_posix(), path) for path in files]
