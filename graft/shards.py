"""Read shards: `index.json`, and samples by number."""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from graft.errors import GraftError
from graft.fit import UNREADABLE

INDEX_NAME = "index.json"
INDEX_VERSION = 1
_MEMBER = re.compile(r"([a-z0-9_-]+)\.(tile\.png|tile\.jpg|ground\.npy|ground\d\d+\.jpg|json)")
_UNIT_TOLERANCE = 0.01

BUILD_OR_DEMO = (
    "Build shards from your photos and rasters (graft prepare --help), or run the embedded world (make demo)."
)


class BadSampleError(Exception):
    """A sample or photo that cannot be used: costs itself and is counted."""


@dataclass(frozen=True)
class ShardIndex:
    """The contents of `index.json`, checked.

    Attributes:
        folder: where the shards lie.
        sensor: name in `sensors.yaml`.
        tile_size: side of a tile in pixels.
        radiometry: how stored numbers became display values.
        teacher: `name`, `identity` and `dim` of the teacher whose vectors the shards hold; None when they hold none.
        photos_stored: whether the shards hold photos, for an online teacher.
        files: shard names.
        samples: samples per shard.
        sizes: bytes per shard.
    """

    folder: Path
    sensor: str
    tile_size: int
    radiometry: str
    teacher: dict[str, Any] | None
    photos_stored: bool
    files: tuple[str, ...]
    samples: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def load(cls, folder: Path) -> "ShardIndex":
        """Read and check `folder/index.json`.

        Raises:
            GraftError: no index, an index of another version, no shards in it, or shards that are gone.
        """
        path = folder / INDEX_NAME
        if not path.is_file():
            raise GraftError(f"No shards at {folder}: it holds no {INDEX_NAME}. {BUILD_OR_DEMO}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["version"] != INDEX_VERSION:
                raise GraftError(
                    f"{path} has schema version {content['version']}, this graft reads {INDEX_VERSION}: "
                    "build the shards again with graft prepare --overwrite."
                )
            shards = content["shards"]
            index = cls(
                folder,
                content["sensor"],
                content["tile_size"],
                content["radiometry"],
                content["teacher"],
                content["photos_stored"],
                tuple(shard["file"] for shard in shards),
                tuple(shard["samples"] for shard in shards),
                tuple(shard["bytes"] for shard in shards),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise GraftError(
                f"{path} is not a shard index ({type(error).__name__}: {error}): build the shards again."
            ) from error
        if sum(index.samples) == 0:
            raise GraftError(f"{path} lists no samples. {BUILD_OR_DEMO}")
        missing = [name for name in index.files if not (folder / name).is_file()]
        if missing:
            raise GraftError(
                f"{len(missing)} of {len(index.files)} shards named in {path} are missing, first {missing[0]}: "
                "copy them again, or build the shards again with graft prepare --overwrite."
            )
        return index


@dataclass(frozen=True)
class PairSample:
    """One decoded sample, before photos are chosen.

    Attributes:
        tile: uint8 [3, H, W].
        ground: float32 [K, D], or None when the sample holds photos only.
        photos: JPEG bytes of each photo, empty when the sample holds vectors only.
        meta: the `json` member.
    """

    tile: Tensor
    ground: Tensor | None
    photos: tuple[bytes, ...]
    meta: dict[str, Any]


@dataclass(frozen=True)
class ShardMembers:
    """Where the parts of each sample lie in one tar.

    Attributes:
        path: of the tar.
        samples: per sample, (offset, size) in bytes of each member; a name that breaks the rules starts with `?`.
        fault: what is wrong with the tar as a whole, if anything.
    """

    path: Path
    samples: list[dict[str, tuple[int, int]]]
    fault: str | None


class ShardReader:
    """Random access to the samples of local shards.

    Args:
        index: of the shards.
        open_shards: how many shards' member tables are kept.
    """

    def __init__(self, index: ShardIndex, *, open_shards: int = 32) -> None:
        self.index = index
        self._open_shards = open_shards
        self._scanned: dict[int, ShardMembers] = {}

    def _members(self, shard: int) -> ShardMembers:
        if shard not in self._scanned:
            if len(self._scanned) == self._open_shards:
                self._scanned.pop(next(iter(self._scanned)))
            self._scanned[shard] = self._scan(shard)
        return self._scanned[shard]

    def _scan(self, shard: int) -> ShardMembers:
        """Offsets and sizes of the members of each sample, and what is wrong with the shard if anything is."""
        path = self.index.folder / self.index.files[shard]
        samples: dict[str, dict[str, tuple[int, int]]] = {}
        fault = None
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    match = _MEMBER.fullmatch(member.name)
                    if match is None:
                        key = member.name.split(".")[0]
                        samples.setdefault(key, {})["?" + member.name] = (0, 0)
                        continue
                    samples.setdefault(match[1], {})[match[2]] = (member.offset_data, member.size)
        except (tarfile.TarError, OSError, EOFError) as error:
            fault = f"{path.name} is not a whole tar ({error})"
        if fault is None and path.stat().st_size != self.index.sizes[shard]:
            fault = f"{path.name} has {path.stat().st_size} bytes, {INDEX_NAME} says {self.index.sizes[shard]}"
        return ShardMembers(path, list(samples.values()), fault)

    def read(self, shard: int, number: int) -> PairSample:
        """Read and decode sample `number` of a shard.

        Raises:
            BadSampleError: it is not there, or cannot be decoded; the message names shard and sample.
        """
        found = self._members(shard)
        path, samples, fault = found.path, found.samples, found.fault
        if number >= len(samples):
            raise BadSampleError(fault or f"{path.name} holds {len(samples)} samples, sample {number} is missing")
        members = samples[number]
        where = f"{path.name}, sample {number}"
        unknown = [name[1:] for name in members if name.startswith("?")]
        if unknown:
            raise BadSampleError(
                f"{where}: member {unknown[0]!r} is not KEY.FIELD with a KEY of a-z 0-9 _ - and no dot in it"
            )
        try:
            raw = {}
            with path.open("rb") as file:
                for name, (offset, size) in members.items():
                    file.seek(offset)
                    raw[name] = file.read(size)
            return _decode(raw, self.index)
        except (BadSampleError, *UNREADABLE, KeyError, TypeError, RuntimeError, EOFError, BadZipFile) as error:
            raise BadSampleError(f"{where}: {fault or error}") from error


def _decode(raw: dict[str, bytes], index: ShardIndex) -> PairSample:
    picture = raw.get("tile.png") or raw.get("tile.jpg")
    if not picture:
        raise BadSampleError("no tile.png or tile.jpg")
    meta = json.loads(raw["json"])
    pixels = np.array(Image.open(io.BytesIO(picture)).convert("RGB"))
    tile = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    if tile.shape[-2:] != (index.tile_size, index.tile_size):
        raise BadSampleError(f"tile of {tuple(tile.shape)}, {INDEX_NAME} says {index.tile_size} px")
    count = len(meta["photos"])
    if count == 0:
        raise BadSampleError("a tile with no photo")
    photos = tuple(raw[name] for name in sorted(raw) if name.startswith("ground") and name.endswith(".jpg"))
    if index.photos_stored and len(photos) != count:
        raise BadSampleError(f"{count} photos in its json, {len(photos)} stored")
    for photo in [meta, *meta["photos"]]:
        missing = ({"tile_id"} if photo is meta else {"id", "x", "y"}) - set(photo)
        if missing:
            raise BadSampleError(f"its json lacks {', '.join(sorted(missing))}")
    ground = None if index.teacher is None else _vectors(raw, meta, index.teacher, count)
    return PairSample(tile, ground, photos, meta)


def _vectors(raw: dict[str, bytes], meta: dict[str, Any], teacher: dict[str, Any], count: int) -> Tensor:
    if "ground.npy" not in raw:
        raise BadSampleError("no ground.npy")
    vectors = np.load(io.BytesIO(raw["ground.npy"]), allow_pickle=False)
    if vectors.shape != (count, teacher["dim"]):
        raise BadSampleError(f"vectors of shape {vectors.shape}, expected {(count, teacher['dim'])}")
    if not meta.get("teacher") or not teacher["identity"].startswith(meta["teacher"]):
        raise BadSampleError(
            f"vectors of teacher {meta.get('teacher')}, "
            f"{INDEX_NAME} names {teacher['identity'][:16]} ({teacher['name']})"
        )
    ground = torch.from_numpy(vectors.astype(np.float32))
    if not torch.isfinite(ground).all():
        raise BadSampleError("vectors that are not finite")
    if (ground.norm(dim=-1) - 1).abs().max() > _UNIT_TOLERANCE:
        raise BadSampleError("vectors that are not of unit length")
    return ground


def photo_number(photo_id: str) -> int:
    """63-bit hash of a photo's id: the `photo_id` of a `PairBatch`."""
    return int.from_bytes(hashlib.blake2b(photo_id.encode(), digest_size=8).digest(), "big") >> 1
