"""Which photo lies in which tile, and where in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj

from graft.prepare.scenes import Scene

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Tiles that hold at least one photo, and the photos of each: tile t has the pairs `start[t]` to `start[t + 1]`.

    Attributes:
        scene: int64 [T], index into the scenes.
        column: int64 [T], of the tile's upper left pixel in its scene.
        row: int64 [T], likewise.
        start: int64 [T + 1].
        photo: int64 [P], row of the photo table.
        x: float64 [P], position in tile pixels, rightwards, edges at integers: 0 <= x < tile size.
        y: float64 [P], likewise, downwards.
        tiles_in_grid: tiles of all scenes, with or without a photo.
        photos_inside: number of photos inside at least one tile, before `max_photos`.
    """

    scene: Ints
    column: Ints
    row: Ints
    start: Ints
    photo: Ints
    x: Floats
    y: Floats
    tiles_in_grid: int
    photos_inside: int


def hash64(seed: int, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """uint64 [N]: an order of names that depends on the seed alone, not on the order they come in."""
    digests = (blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def pair_photos(
    scenes: Sequence[Scene], photos: pd.DataFrame, *, tile_size: int, stride: int, max_photos: int, seed: int
) -> Pairs:
    """Put every photo into every tile whose footprint contains it.

    Args:
        scenes: all scenes of the build; each is tiled on a regular grid from its upper left pixel.
        photos: `PhotoTable.frame`.
        tile_size: side of a tile in pixels.
        stride: pixels from one tile to the next.
        max_photos: photos kept in a tile; which ones, and in which order, is a hash of photo id and seed.
        seed: of that hash.
    """
    lon, lat = photos["lon"].to_numpy(np.float64), photos["lat"].to_numpy(np.float64)
    projected: dict[str, tuple[Floats, Floats]] = {}
    parts = [np.empty((6, 0))]
    tiles_in_grid = 0
    for number, scene in enumerate(scenes):
        rows, columns = scene.grid(tile_size, stride)
        tiles_in_grid += rows * columns
        if scene.crs not in projected:
            to_scene = pyproj.Transformer.from_crs("EPSG:4326", scene.crs, always_xy=True)
            projected[scene.crs] = to_scene.transform(lon, lat)
        east, north = projected[scene.crs]
        to_pixel = ~scene.transform
        # A photo outside the CRS's domain is at infinity, or not a number after this; no comparison lets it in.
        with np.errstate(invalid="ignore"):
            across = to_pixel.a * east + to_pixel.b * north + to_pixel.c
            down = to_pixel.d * east + to_pixel.e * north + to_pixel.f
        inside = (across >= 0) & (across < scene.width) & (down >= 0) & (down < scene.height)
        parts.append(_place(number, np.flatnonzero(inside), across, down, (rows, columns), tile_size, stride))
    return _select(np.concatenate(parts, axis=1), photos, tile_size, max_photos, seed, tiles_in_grid)


def _place(
    scene: int, photo: Ints, across: Floats, down: Floats, grid: tuple[int, int], tile_size: int, stride: int
) -> Floats:
    """float64 [6, P]: scene, column, row, photo, x, y of every (tile, photo) of one scene."""
    across, down = across[photo], down[photo]
    overlap = -(-tile_size // stride)
    last_column, last_row = np.floor(across / stride), np.floor(down / stride)
    parts = [np.empty((6, 0))]
    for back_down in range(overlap):
        for back_across in range(overlap):
            column, row = last_column - back_across, last_row - back_down
            x, y = across - column * stride, down - row * stride
            held = (column >= 0) & (column < grid[1]) & (row >= 0) & (row < grid[0]) & (x < tile_size) & (y < tile_size)
            fields = (np.full(len(photo), scene), column * stride, row * stride, photo, x, y)
            parts.append(np.stack([field[held] for field in fields]))
    return np.concatenate(parts, axis=1)


def _select(
    found: Floats, photos: pd.DataFrame, tile_size: int, max_photos: int, seed: int, tiles_in_grid: int
) -> Pairs:
    """Sort pairs by tile and hash, keep the first `max_photos` of each tile."""
    scene, column, row, photo = found[:4].astype(np.int64)
    photos_inside = len(np.unique(photo))
    names = photos["photo_id"].tolist()
    order = np.lexsort((hash64(seed, names)[photo], column, row, scene))
    tile = np.stack([scene, row, column])[:, order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (tile[:, 1:] != tile[:, :-1]).any(axis=0)
    begin = np.flatnonzero(first)
    number = np.cumsum(first) - 1
    kept = np.arange(len(order)) - begin[number] < max_photos
    order, number = order[kept], number[kept]
    # Rounding must not lift a photo over the tile's edge, where it would belong to the next tile.
    x, y = np.minimum(found[4:, order].round(4), tile_size - 1e-4)
    return Pairs(
        scene=tile[0, begin],
        column=tile[2, begin],
        row=tile[1, begin],
        start=np.searchsorted(number, np.arange(len(begin) + 1)),
        photo=photo[order],
        x=x,
        y=y,
        tiles_in_grid=tiles_in_grid,
        photos_inside=photos_inside,
    )
