"""A folder of tiles as a source of an index: one image file, one tile."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from affine import Affine
from PIL import Image

from graft.errors import GraftError, first_line
from graft.fit import UNREADABLE, fit_tile, read_rgb
from graft.imagery.folder import RASTER_SUFFIXES
from graft.imagery.geometry import compose
from graft.index.footprint import place_of
from graft.index.rasters import cloud_share, look_at
from graft.index.sources import (
    GROUP,
    LEAST_VALID,
    NO_DATA,
    Group,
    Look,
    Source,
    TileFacts,
    fingerprint_of,
    make_card,
    stack,
)
from graft.listing import IMAGE_SUFFIXES
from graft.raster import MAX_MISMATCH, canvas_length, measured_pixel
from graft.scene import open_raster, read_scene
from graft.tally import Tally

UNFIT = "tile that cannot be read or does not fit"


@dataclass(frozen=True)
class FolderSource(Source):
    """A folder of tiles; see `Source`. The number of a tile is that of its file in the order of paths."""

    files: tuple[Path, ...]

    @property
    def groups(self) -> int:
        """`GROUP` files make a group."""
        return math.ceil(len(self.files) / GROUP)

    def numbers(self, group: int) -> range:
        """Numbers of the files of a group."""
        return range(group * GROUP, min((group + 1) * GROUP, len(self.files)))

    def read(self, group: int) -> Group:
        """Read the files of a group."""
        tiles, pixels, skipped = [], [], Tally()
        for number in self.numbers(group):
            file = self.files[number]
            try:
                shown, facts = _read_tile(number, file, self.look)
            except (*UNREADABLE, GraftError) as error:
                skipped.add(UNFIT, f"{file.name}: {first_line(error).removeprefix(f'The scene {file} ')}")
                continue
            if facts.valid is not None and facts.valid < LEAST_VALID:
                skipped.add(NO_DATA, file.name)
                continue
            tiles.append(facts)
            pixels.append(torch.from_numpy(np.array(shown)).permute(2, 0, 1))
        return Group(stack(pixels, self.look.window), tuple(tiles), skipped)


def open_folder_source(folder: Path, files: Sequence[Path], look: Look) -> FolderSource:
    """The tiles of a folder; none of them is opened.

    Args:
        folder: its name is the source's.
        files: image files in it, sorted.
        look: how the model looks at them.
    """
    about = [(file.relative_to(folder).as_posix(), file.stat()) for file in files]
    fingerprint = fingerprint_of([name, stat.st_size, stat.st_mtime_ns] for name, stat in about)
    card = make_card(str(folder), "folder", fingerprint, look.settings(stride=look.window), len(files))
    return FolderSource(card, look, tuple(files))


def list_images(folder: Path) -> list[Path]:
    """Image files and rasters in a folder and below, hidden ones left out, in the order of their paths."""
    suffixes = IMAGE_SUFFIXES.union(RASTER_SUFFIXES)
    found = (path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts) and path.is_file()
    )


def is_scene(file: Path, look: Look) -> bool:
    """Whether a file of a folder is cut into windows: it has a georeference and is twice as large as a window.

    A smaller one is one tile, shown whole. What does not open is a tile too, and is told when its turn comes.
    """
    if file.suffix.lower() not in RASTER_SUFFIXES:
        return False
    try:
        with open_raster(file) as dataset:
            if dataset.crs is None:
                return False
            across, down = measured_pixel(dataset, file)
            width, height = dataset.width, dataset.height
    except (GraftError, rasterio.errors.RasterioError):
        return False
    longer = max(
        canvas_length(width, across, look.model_gsd_m),
        canvas_length(height, down, look.model_gsd_m),
    )
    return longer >= MAX_MISMATCH * look.window


def fit_window(
    shown: npt.NDArray[np.uint8], side: int
) -> tuple[npt.NDArray[np.uint8], tuple[float, float, float, float]]:
    """A tile of any size as the model is shown it.

    One with a side no longer than the window's keeps its pixels: the middle is taken, and mirrored at its edges. A
    larger one is brought down to the window by its shorter side, and the middle is taken.

    Args:
        shown: uint8 [H, W, 3].
        side: S of the window in pixels.

    Returns:
        uint8 [S, S, 3], and the part of the tile in it: column, row, width and height.
    """
    height, width = shown.shape[:2]
    if min(height, width) <= side:
        top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
        middle = shown[top : top + side, left : left + side]
        part = float(left), float(top), float(middle.shape[1]), float(middle.shape[0])
        return fit_tile(middle, "pad_reflect", side), part
    short = min(height, width)
    return fit_tile(shown, "resize", side), ((width - short) / 2, (height - short) / 2, float(short), float(short))


def at_model_gsd(shown: npt.NDArray[np.uint8], gsd_m: float | None, look: Look) -> npt.NDArray[np.uint8]:
    """A picture uint8 [H, W, 3] in pixels of the model's GSD; as it is where its own is not known.

    Raises:
        GraftError: a GSD that is too far from the model's.
    """
    if gsd_m is None:
        return shown
    mismatch = max(gsd_m / look.model_gsd_m, look.model_gsd_m / gsd_m)
    if round(mismatch, 1) > MAX_MISMATCH and not look.any_gsd:
        raise GraftError(
            f"Pixels of {gsd_m:.3g} m, the model was trained at {look.model_gsd_m:g} m: a mismatch of {mismatch:.1f}, "
            f"more than {MAX_MISMATCH:g} times. Choose another --model, or give --any-gsd."
        )
    height, width = (canvas_length(side, gsd_m, look.model_gsd_m) for side in shown.shape[:2])
    if (height, width) == shown.shape[:2]:
        return shown
    return np.asarray(Image.fromarray(shown).resize((width, height), Image.Resampling.BICUBIC))


def _read_tile(number: int, file: Path, look: Look) -> tuple[npt.NDArray[np.uint8], TileFacts]:
    if not is_picture(file, look):
        return _read_raster_tile(number, file, look)
    picture = read_rgb(file)
    shown = at_model_gsd(picture, look.gsd_m, look)
    fitted, part = fit_window(shown, look.window)
    scale = picture.shape[1] / shown.shape[1], picture.shape[0] / shown.shape[0]
    return fitted, TileFacts(number, str(file), _scaled(part, *scale), gsd_m=look.gsd_m)


def _read_raster_tile(number: int, file: Path, look: Look) -> tuple[npt.NDArray[np.uint8], TileFacts]:
    view, about = look_at(file, look)
    with read_scene(view) as reader:
        shown, seen = reader.canvas_rows(0, view.canvas[0])
    fitted, part = fit_window(shown, look.window)
    window = _scaled(part, view.width / view.canvas[1], view.height / view.canvas[0])
    left, top, width, height = (round(value) for value in part)
    with open_raster(file) as dataset:
        cloud = cloud_share(dataset, about.classification, window)
    facts = TileFacts(
        number,
        str(file),
        window,
        taken=about.taken,
        gsd_m=math.sqrt(view.gsd_m[0] * view.gsd_m[1]),
        valid=float(seen[top : top + height, left : left + width].mean()),
        cloud=cloud,
        place=place_of(
            about.crs, about.epsg, compose(view.transform, Affine.translation(*window[:2])), window[2], window[3]
        ),
    )
    return fitted, facts


def is_picture(file: Path, look: Look) -> bool:
    """Whether a file holds display values and no georeference."""
    if file.suffix.lower() not in RASTER_SUFFIXES:
        return True
    with open_raster(file) as dataset:
        return look.bands is None and dataset.crs is None and set(dataset.dtypes) == {"uint8"} and dataset.count <= 4


def _scaled(part: tuple[float, float, float, float], across: float, down: float) -> tuple[float, float, float, float]:
    left, top, width, height = part
    return left * across, top * down, width * across, height * down
