"""One sample of a shard: its members as bytes, checked against what a reader would accept."""

import io
import json
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from graft.errors import GraftError
from graft.prepare.records import TileRecord

KEY_PATTERN = re.compile(r"[a-z0-9_-]{1,80}")
MAX_SAMPLE_PHOTOS = 100
UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True)
class ShardCard:
    """What all samples of a build share, as `index.json` states it.

    Attributes:
        sensor: name in `sensors.yaml`.
        radiometry: how stored numbers became display values.
        tile_size: side of every tile in pixels.
        teacher: `name`, `identity` and `dim` of the teacher whose vectors are stored; None without vectors.
        photos_stored: whether samples hold photo files.
        split: train, val, test …; None where nothing was split.
    """

    sensor: str
    radiometry: str
    tile_size: int
    teacher: Mapping[str, Any] | None
    photos_stored: bool
    split: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain types; of the teacher only what the format names."""
        card = asdict(self)
        if self.teacher is not None:
            card["teacher"] = {key: self.teacher[key] for key in ("name", "identity", "dim")}
        return card


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """uint8 [H, W, 3] as a PNG file."""
    buffer = io.BytesIO()
    # Runs alone: in a filtered picture of the ground the search for longer matches takes most of the time, finds none.
    Image.fromarray(pixels).save(buffer, "PNG", compress_type=zlib.Z_RLE)
    return buffer.getvalue()


def sample_members(
    card: ShardCard,
    key: str,
    tile_png: bytes,
    record: TileRecord,
    *,
    ground: npt.NDArray[np.floating[Any]] | None = None,
    photos: Sequence[bytes] = (),
) -> dict[str, bytes]:
    """Members of one sample, field name -> bytes.

    Args:
        card: of the build.
        key: name of the sample; lower-case letters, digits, "_" and "-".
        tile_png: the tile as an RGB PNG file of the build's tile size.
        record: the rest of its metadata.
        ground: unit vectors [K, D] of the teacher, stored as float16; None without a teacher.
        photos: K JPEG files; empty where photos are not stored.

    Raises:
        GraftError: a key, tile, vector or number of photos that a reader would not accept.
    """
    check_key(key)
    _check_tile(card, key, tile_png)
    count = len(record.photos)
    if not 1 <= count <= MAX_SAMPLE_PHOTOS:
        raise GraftError(f"Sample {key!r} has {count} photos; a tile needs 1 to {MAX_SAMPLE_PHOTOS}.")
    _check_ground(card, key, ground, count)
    if len(photos) != (count if card.photos_stored else 0):
        raise GraftError(
            f"Sample {key!r} lists {count} photos and brings {len(photos)} photo files, "
            f"in a build with photos_stored={card.photos_stored}."
        )
    metadata = {
        **asdict(record),
        "tile_id": key,
        "sensor": card.sensor,
        "radiometry": card.radiometry,
        "split": card.split,
        "teacher": card.teacher["identity"][:16] if card.teacher else None,
    }
    members = {"tile.png": tile_png, "json": _to_json(metadata)}
    if ground is not None:
        members["ground.npy"] = _to_npy(ground.astype(np.float16))
    return members | {f"ground{number:02d}.jpg": content for number, content in enumerate(photos)}


def check_key(key: str) -> None:
    """Refuse a sample key that WebDataset would split in the wrong place.

    Raises:
        GraftError: anything but `[a-z0-9_-]`, or more than 80 of them.
    """
    if not KEY_PATTERN.fullmatch(key):
        raise GraftError(
            f"The sample key {key!r} may hold only lower-case letters, digits, '_' and '-', at most 80 of them; "
            "a dot would split it into key and file type."
        )


def _check_tile(card: ShardCard, key: str, tile_png: bytes) -> None:
    side = card.tile_size
    size = struct.unpack(">II", tile_png[16:24]) if tile_png[:8] == b"\x89PNG\r\n\x1a\n" else None
    if size != (side, side):
        found = "no PNG file" if size is None else f"{size[0]} x {size[1]} pixels"
        raise GraftError(f"The tile of sample {key!r} is {found}; expected a PNG of {side} x {side} pixels.")


def _check_ground(card: ShardCard, key: str, ground: npt.NDArray[np.floating[Any]] | None, count: int) -> None:
    teacher = card.teacher
    if (ground is None) != (teacher is None):
        raise GraftError(f"Sample {key!r} needs vectors if and only if the build names a teacher.")
    if ground is None or teacher is None:
        return
    if ground.shape != (count, teacher["dim"]):
        raise GraftError(
            f"Sample {key!r} has vectors of shape {ground.shape}; expected {(count, teacher['dim'])}, "
            f"one row a photo, as wide as the teacher {teacher['name']}."
        )
    lengths = np.linalg.norm(ground.astype(np.float32), axis=1)
    if not np.all(np.abs(lengths - 1) < UNIT_TOLERANCE):  # NaN fails too
        raise GraftError(f"Sample {key!r} has vectors that are not finite and of unit length.")


def _to_json(metadata: Mapping[str, Any]) -> bytes:
    return json.dumps(metadata, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _to_npy(vectors: npt.NDArray[np.float16]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    return buffer.getvalue()
