"""The pictures of RSVQA with their questions as a map-style dataset: one image out, and all that is asked about it."""

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from affine import Affine
from rasterio.crs import CRS
from torch.utils.data import Dataset, Subset

from graft.errors import GraftError
from graft.fit import UNREADABLE
from graft.labelmaps.pairs import read_label, read_picture
from graft.rsvqa import AskedSplit, LayoutName, Question, image_path, questions_of
from graft.sensors import Sensor

_ON_THE_EQUATOR = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +ellps=WGS84 +units=m"


@dataclass(frozen=True)
class ImageQuestions:
    """An image and its questions; where it cannot be read `fault` says why and the rest is empty.

    Attributes:
        id: of the image.
        first: place of its first question in the split.
        questions: in the order of the split.
        pixels: uint8 [H, W, 3], display values.
        crs: None where the file has none and nobody said the size of a pixel.
        transform: pixel (column, row, edges at integers) to CRS coordinates.
        gsd_m: width and height of a pixel on the ground, metres; None without `crs`.
        labels: uint8 [H, W], the true class of each pixel, 255 unknown; None where there are no label maps.
        fault: "" where all could be read.
    """

    id: int
    first: int
    questions: tuple[Question, ...]
    pixels: npt.NDArray[np.uint8]
    crs: CRS | None
    transform: Affine
    gsd_m: tuple[float, float] | None
    labels: npt.NDArray[np.uint8] | None
    fault: str = ""

    def to(self, device: torch.device | str, **_: Any) -> Self:
        """The same image: it stays in the memory of the host, its windows go to the device one by one."""
        return self


class RSVQAImages(Dataset[ImageQuestions]):
    """The images of a split; one that cannot be read costs itself and says why."""

    def __init__(
        self,
        root: Path,
        layout: LayoutName,
        split: AskedSplit,
        *,
        sensor: Sensor | None = None,
        gsd_m: float | None = None,
        labels: str | None = None,
    ) -> None:
        """Take the settings; nothing is opened yet.

        Args:
            root: folder of the image folder.
            layout: which set.
            split: what is asked.
            sensor: renders the bands; None takes three of 8 bits as display values.
            gsd_m: metres a pixel of images without a coordinate reference system. They are laid on the equator, north
                up: lengths and areas are right, places are nowhere.
            labels: folder of `<id>.tif` in `root`: class numbers of the images' own pixels.

        Raises:
            GraftError: a GSD that is no length.
        """
        if gsd_m is not None and not 0 < gsd_m < math.inf:
            raise GraftError(f"data.init_args.gsd_m is {gsd_m:g}; expected finite metres above 0.")
        self._root, self._layout, self._split, self._sensor = root, layout, split, sensor
        self._gsd_m = gsd_m
        self._labels = None if labels is None else root / labels

    def __len__(self) -> int:
        """Number of images, readable or not."""
        return len(self._split.images)

    def __getitem__(self, index: int) -> ImageQuestions:
        """Read image `index`."""
        number, first = self._split.images[index], self._split.starts[index]
        questions = tuple(questions_of(self._split, index))
        try:
            path = image_path(self._root, self._layout, number)
            pixels, gsd_m = read_picture(path, self._sensor)
            crs, transform = self._place(path)
            labels = None if self._labels is None else _labels(self._labels / f"{number}.tif", pixels.shape[:2])
        except (*UNREADABLE, GraftError) as error:
            nothing = np.zeros((0, 0, 3), np.uint8)
            return ImageQuestions(
                number, first, questions, nothing, None, Affine.identity(), None, None, f"image {number}: {error}"
            )
        if gsd_m is None and self._gsd_m is not None:
            gsd_m = (self._gsd_m, self._gsd_m)
        return ImageQuestions(number, first, questions, pixels, crs, transform, gsd_m, labels)

    def _place(self, path: Path) -> tuple[CRS | None, Affine]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as raster:
                if raster.crs is not None or self._gsd_m is None:
                    return raster.crs, raster.transform
        return CRS.from_proj4(_ON_THE_EQUATOR), Affine.scale(self._gsd_m, -self._gsd_m)

    def share(self, rank: int, world: int) -> Subset[ImageQuestions]:
        """What process `rank` of `world` reads: every `world`-th image from `rank` on, so that none is read twice.

        Raises:
            GraftError: fewer images than processes.
        """
        if len(self) < world:
            raise GraftError(f"{len(self)} images cannot be shared by {world} processes. Set trainer.devices to 1.")
        return Subset(self, range(rank, len(self), world))


def _labels(path: Path, size: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """A label map of an image's size.

    Raises:
        OSError: missing, damaged or not an image.
        ValueError: another size, or numbers that are no 8 bits.
    """
    found = read_label(path)
    if found.dtype != np.uint8 or found.shape != size:
        raise ValueError(
            f"its label map {path.name} has {found.dtype} {found.shape}; expected uint8 and the image's size {size}"
        )
    return found.astype(np.uint8, copy=False)


def only(images: list[ImageQuestions]) -> ImageQuestions:
    """The image of a batch of one: the questions of an image are answered on one encoding."""
    (image,) = images
    return image
