"""One image file to the pixels a model is fed."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image, ImageOps
from torch import Tensor

from graft.teacher import square_photo

Fit = Literal["pad_reflect", "pad_zero", "resize", "native"]
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, rasterio.errors.RasterioError)
"""What decoders raise for a file that is missing, damaged or of another kind."""

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"})


def fit_tile(tile: npt.NDArray[np.uint8], fit: Fit, size: int) -> npt.NDArray[np.uint8]:
    """Bring a tile to the size a model is fed.

    Args:
        tile: uint8 [H, W, 3].
        fit: `pad_reflect` and `pad_zero` keep the ground sampling distance and pad around the tile, odd remainders to
            the right and bottom; `resize` makes the short side `size` (bicubic) and crops the centre; `native` leaves
            the tile as it is.
        size: side of the result in pixels; without effect under `native`.

    Returns:
        uint8 [size, size, 3], or the tile itself.

    Raises:
        ValueError: the tile is larger than `size` and was to be padded.
    """
    if fit == "native":
        return tile
    if fit == "resize":
        return np.asarray(ImageOps.fit(Image.fromarray(tile), (size, size), Image.Resampling.BICUBIC))
    height, width = tile.shape[:2]
    if max(height, width) > size:
        raise ValueError(f"is {width} x {height} px, more than image_size {size}; use fit: resize")
    rows, columns = size - height, size - width
    pads = ((rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2), (0, 0))
    # numpy reflects as often as needed; torchvision's tensor padding refuses a pad wider than the tile.
    return np.pad(tile, pads, mode="reflect" if fit == "pad_reflect" else "constant")


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Decode an 8-bit image file as uint8 [H, W, 3].

    Raises:
        OSError: missing, truncated or not an image.
        ValueError: more than 8 bits a channel, whose rendering only a sensor row can know.
    """
    with Image.open(path) as image:
        if image.mode not in _EIGHT_BIT_MODES:
            raise ValueError(f"has pixels of mode {image.mode}, expected 8-bit RGB")
        return np.asarray(image.convert("RGB"))


def read_photo(path: Path, size: int) -> Tensor:
    """Decode a photo as CLIP sees it: upright, RGB, short side to `size` (bicubic), centre crop: uint8 [3, S, S]."""
    with Image.open(path) as image:
        return square_photo(image, size)
