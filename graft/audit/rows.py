"""What is kept of every tile and photo while shards are looked at: fixed-size rows in files, not in memory."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[Any]

NO_TIME = np.iinfo(np.int64).min
"""Seconds since 1970 of a time that is not stated."""
NO_PHRASE = -1

TILE = np.dtype(
    [
        ("split", "u1"),
        ("shard", "u4"),
        ("offset", "i8"),  # of the sample's first header in its tar
        ("key", "u8"),  # hashes; 0 where there is none
        ("tile_id", "u8"),
        ("pixels", "u8"),
        ("mean", "f4", 3),  # 0..255, NaN where the tile was not decoded
        ("std", "f4", 3),
        ("black", "f4"),  # share of pixels that are 0 in all bands
        ("saturated", "f4"),  # share of pixels that are 255 in all bands
        ("nodata", "f4"),  # as its json states, NaN where it does not
        ("cloudy", "f4"),
        ("photos", "u2"),
        ("item", "u8"),
        ("time", "i8"),
        ("corners", "f8", (4, 2)),  # lon, lat of the corners in turn; NaN without a place
    ]
)
PHOTO = np.dtype(
    [
        ("tile", "u4"),  # row of its tile
        ("id", "u8"),
        ("vector", "u8"),
        ("picture", "u8"),
        ("x", "f4"),
        ("y", "f4"),
        ("lon", "f8"),
        ("lat", "f8"),
        ("accuracy", "f4"),  # metres, NaN where it is not stated
        ("time", "i8"),
        ("phrase", "i2"),  # the nearest one
        ("probability", "f4"),  # of its class
        ("cosine", "f4"),  # to it
        ("side", "u2"),  # short side of the stored picture, 0 without one
    ]
)


def digest(content: bytes) -> int:
    """64-bit hash, never 0."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "big") or 1


@dataclass(frozen=True)
class Table:
    """All rows of an audit, read from disk as they are asked for.

    Attributes:
        tiles: rows of `TILE`, split by split, in the order of the shards.
        photos: rows of `PHOTO`, in the order of their tiles.
    """

    tiles: Rows
    photos: Rows

    def photo_splits(self) -> npt.NDArray[np.uint8]:
        """The split of each photo row: uint8 [photos]."""
        splits: npt.NDArray[np.uint8] = self.tiles["split"][self.photos["tile"]]
        return splits


class TableWriter:
    """Appends rows to two files of a folder that the caller removes."""

    def __init__(self, folder: Path) -> None:
        self._paths = folder / "tiles", folder / "photos"
        self._files = [path.open("wb") for path in self._paths]
        self._tiles = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, tiles: Rows, photos: Rows) -> None:
        """Append the rows of one shard; `photos["tile"]` counts within it."""
        shifted = photos.copy()
        shifted["tile"] += self._tiles
        for file, rows in zip(self._files, (tiles, shifted), strict=True):
            file.write(rows.tobytes())
        self._tiles += len(tiles)

    def table(self) -> Table:
        """Everything written so far."""
        for file in self._files:
            file.flush()
        tiles, photos = (
            np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)
            for path, dtype in zip(self._paths, (TILE, PHOTO), strict=True)
        )
        return Table(tiles, photos)
