"""SatlasPretrain's land cover: web-mercator tiles whose labels are at another zoom level than the 1 m pictures.

`vector.json` and `bin_segment` (polygons, points, bit masks) are not read.
"""

import json
import math
import re
from pathlib import Path
from typing import Literal

from graft.errors import GraftError
from graft.fit import read_rgb
from graft.labelmaps.pairs import existing_folder, read_label
from graft.labelmaps.scenes import StoredScene

Product = Literal["sentinel2", "naip"]
LABEL_ZOOM = 13
PICTURE_ZOOM: dict[Product, int] = {"sentinel2": 13, "naip": 17}
NEWEST = "newest"
_EQUATOR_M = 40_075_016.686
_TILE = re.compile(r"(\d+)_(\d+)")
_DATE = re.compile(r"(?<!\d)(?:19|20)\d{6}(?!\d)")


def tile_gsd_m(row: int, zoom: int, side: int) -> float:
    """Metres a pixel at the middle of a web-mercator tile of `side` pixels: the projection's own shrink by cos(lat)."""
    latitude = math.atan(math.sinh(math.pi * (1 - (2 * row + 1) / (1 << zoom))))
    return _EQUATOR_M / ((1 << zoom) * side) * math.cos(latitude)


class SatlasLandCover:
    """`<product>/<scene>/tci/<col>_<row>.png` against `static/<col>_<row>/land_cover.png` of its zoom-13 tile.

    A tile without a land-cover file was not annotated; it is left out, not taken as empty. Where several scenes show a
    tile, one is chosen by name or by date, never at random.

    Attributes:
        names: see `graft.labelmaps.scenes.Layout`.
        left_out: see `graft.labelmaps.scenes.Layout`.
    """

    def __init__(self, root: Path, product: Product, scene: str = NEWEST, split: str | None = None) -> None:
        """List the tiles.

        Args:
            root: folder of `static`, `sentinel2`, `naip` and `metadata`.
            product: which pictures.
            scene: name of one scene, or `newest`: by `metadata/image_times.json`, else by the date in its name.
            split: name of a list of tiles in `metadata`, such as `test_lowres`; None takes all.

        Raises:
            GraftError: no such folder, scene or list, a list of another zoom level, no annotated tile, scenes without
                a date, or damaged metadata.
        """
        existing_folder(root / "static")
        folders = sorted(path for path in existing_folder(root / product).iterdir() if path.is_dir())
        if scene != NEWEST:
            folders = [folder for folder in folders if folder.name == scene]
        times = self._times(root, folders) if scene == NEWEST else {}
        # Sorted by time, so that of several pictures of a tile the newest remains.
        pictures = {
            path.stem: path
            for folder in sorted(folders, key=lambda folder: (times.get(folder.name, ""), folder.name))
            for path in sorted((folder / "tci").glob("*.png"))
            if _TILE.fullmatch(path.stem)
        }
        self._root, self._zoom = root, PICTURE_ZOOM[product]
        if split is not None:
            chosen, zoom = _read_split(root / "metadata" / f"{split}.json")
            if zoom > self._zoom:
                raise GraftError(
                    f"Split {split} lists tiles of zoom level {zoom}, but {product} pictures are at {self._zoom}. Set "
                    "data.init_args.product to naip, or split to another list, e.g. test_lowres."
                )
            pictures = {name: path for name, path in pictures.items() if self._tile(name, zoom) in chosen}
        self._pictures = {name: path for name, path in pictures.items() if self._label(name).is_file()}
        self.names = sorted(self._pictures)
        self.left_out = [
            f"{name}: not annotated (no {self._label(name).relative_to(root)})"
            for name in sorted(pictures.keys() - self._pictures.keys())
        ]
        if not self.names:
            reasons = f" ({len(self.left_out)} without annotation)" if self.left_out else ""
            raise GraftError(
                f"{root / product} holds no annotated picture <scene>/tci/<col>_<row>.png of scene {scene}{reasons}. "
                "Change data.init_args.root, scene or split."
            )

    @staticmethod
    def _times(root: Path, folders: list[Path]) -> dict[str, str]:
        """When each scene was taken, as text that sorts by time."""
        table = root / "metadata" / "image_times.json"
        known = _read_times(table) if table.is_file() else {}
        times = {}
        for folder in folders:
            if folder.name in known:
                times[folder.name] = re.sub(r"\D", "", known[folder.name])
                continue
            date = _DATE.search(folder.name)
            if date is None:
                raise GraftError(
                    f"When scene {folder} was taken is neither in {table} nor in its name, so the newest cannot be "
                    "told. Give data.init_args.scene the name of a scene."
                )
            times[folder.name] = date[0]
        return times

    def _tile(self, name: str, zoom: int) -> tuple[int, int]:
        """Column and row at `zoom` of the tile that holds picture `name`."""
        column, row = map(int, name.split("_"))
        return column >> (self._zoom - zoom), row >> (self._zoom - zoom)

    def _label(self, name: str) -> Path:
        column, row = self._tile(name, LABEL_ZOOM)
        return self._root / "static" / f"{column}_{row}" / "land_cover.png"

    def read(self, index: int) -> StoredScene:
        """Read tile `index`: at zoom 17 the truth is the 1/16 of its parent's side that the picture covers."""
        name = self.names[index]
        image, label = read_rgb(self._pictures[name]), read_label(self._label(name))
        column, row = self._tile(name, self._zoom)
        parts = 1 << (self._zoom - LABEL_ZOOM)
        side = label.shape[0] // parts
        if label.shape != (side * parts, side * parts):
            raise ValueError(f"the label of its tile has {label.shape[1]} x {label.shape[0]} px; expected 512 x 512")
        upper, left = row % parts * side, column % parts * side
        gsd_m = tile_gsd_m(row, self._zoom, image.shape[0])
        part = label[upper : upper + side, left : left + side]
        return StoredScene(image, part, (gsd_m, gsd_m), image.shape[0] // side)


def _read_times(path: Path) -> dict[str, str]:
    """When each scene was taken, as stored."""
    try:
        times = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GraftError(f"{path} is not JSON ({error}). Get it again, or name one data.init_args.scene.") from error
    if not isinstance(times, dict) or not all(isinstance(time, str) for time in times.values()):
        raise GraftError(f"{path} is no table of scenes and times. Get it again, or name one data.init_args.scene.")
    return times


def _read_split(path: Path) -> tuple[set[tuple[int, int]], int]:
    """Tiles of a list [[column, row], …] and their zoom level, which the size of the numbers tells."""
    if not path.is_file():
        raise GraftError(f"No split file at {path}. Change data.init_args.split, e.g. to test_lowres, or null.")
    try:
        tiles = {(int(column), int(row)) for column, row in json.loads(path.read_text(encoding="utf-8"))}
    except (ValueError, TypeError, OverflowError) as error:
        raise GraftError(f"{path} is no list of [column, row] pairs ({error}). Change data.init_args.split.") from error
    return tiles, 17 if any(max(tile) >= 1 << LABEL_ZOOM for tile in tiles) else LABEL_ZOOM
