"""Functional Map of the World (fMoW-rgb): one object a picture, at its bounding box."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from graft.errors import GraftError
from graft.fit import Fit, read_rgb
from graft.labelled import LabelledTiles
from graft.listing import compare_classes, subfolders

Box = tuple[int, int, int, int]


def square_around(box: Box, height: int, width: int) -> Box:
    """The smallest square around a box that lies in an image, or as much of it as does.

    Args:
        box: left, top, width and height in pixels.
        height: of the image.
        width: of the image.

    Returns:
        First row, first column, one past the last row, one past the last column.
    """
    left, top, across, down = box
    side = max(across, down)
    row = min(max(top + down // 2 - side // 2, 0), max(height - side, 0))
    column = min(max(left + across // 2 - side // 2, 0), max(width - side, 0))
    return row, column, min(row + side, height), min(column + side, width)


class LabelledCrops(LabelledTiles):
    """fMoW-rgb: `<class>/<class>_<n>/<class>_<n>_<k>_rgb.jpg`, each with a `.json` that holds the bounding box.

    A tile is the square around the box. Pictures of one object at several times are several tiles.
    """

    def __init__(self, root: Path, ids: Sequence[str], *, fit: Fit = "resize", image_size: int = 224) -> None:
        """List the pictures; nothing is decoded yet.

        Args:
            root: folder of the class folders: `val` or `train` of fMoW-rgb.
            ids: C class ids; their order is the label index.
            fit: see `fit_tile`; boxes differ in size, so `resize`.
            image_size: see `fit_tile`.

        Raises:
            GraftError: no such folder, classes that differ from `ids`, or no picture.
        """
        super().__init__(root, fit=fit, image_size=image_size, photos=None, photo_size=0)
        found = {folder.name: sorted(folder.glob("*/*_rgb.jpg")) for folder in subfolders(root)}
        compare_classes(root, set(found), ids)
        # The same folders hold the sharpened pictures of all bands, `_msrgb.jpg`.
        files = [(path, label) for label, name in enumerate(ids) for path in found[name] if "_msrgb" not in path.name]
        if not files:
            raise GraftError(f"{root} holds no <class>/<class>_<n>/*_rgb.jpg. Change data.init_args.root.")
        self._paths = [path for path, _ in files]
        self.names = [path.stem for path in self._paths]
        self.labels = torch.tensor([label for _, label in files])
        self._check_photos(None)

    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        path = self._paths[index]
        try:
            boxes = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["bounding_boxes"]
            left, top, across, down = (int(value) for value in boxes[0]["box"])
            if min(across, down) < 1 or min(left, top) < 0:
                raise ValueError(f"the box {boxes[0]['box']}")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"its .json has no bounding box ({error!r})") from error
        pixels = read_rgb(path)
        row, column, last_row, last_column = square_around((left, top, across, down), *pixels.shape[:2])
        crop = pixels[row:last_row, column:last_column]
        if not crop.size:
            raise ValueError(f"its box lies outside the picture of {pixels.shape[1]} x {pixels.shape[0]} px")
        return crop
