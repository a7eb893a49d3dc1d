"""Read shards: `index.json`, and samples by number."""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from graft.errors import GraftError
from graft.fit import UNREADABLE
from graft.npy import array_of
from graft.remote import FetchError, Remote, is_address, local_folder
from graft.shard_cache import ShardCache, ShardFile

INDEX_NAME = "index.json"
INDEX_VERSION = 1
_MEMBER = re.compile(r"([a-z0-9_-]+)\.(tile\.png|tile\.jpg|ground\.npy|ground\d\d+\.jpg|json)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[^./\\\0][^/\\\0]*")  # it comes from elsewhere and becomes part of paths
_UNIT_TOLERANCE = 0.01
_OPEN_TRIES = 10

BUILD_OR_DEMO = (
    "Build shards from your photos and rasters (graft prepare --help), or run the embedded world (make demo)."
)


class BadSampleError(Exception):
    """A sample or photo that cannot be used: costs itself and is counted."""


@dataclass(frozen=True)
class ShardIndex:
    """The contents of `index.json`, checked.

    Attributes:
        where: folder or address at which the shards lie.
        sensor: name in `sensors.yaml`.
        tile_size: side of a tile in pixels.
        radiometry: how stored numbers became display values.
        teacher: `name`, `identity` and `dim` of the teacher whose vectors the shards hold; None when they hold none.
        photos_stored: whether the shards hold photos, for an online teacher.
        files: shard names.
        samples: samples per shard.
        sizes: bytes per shard.
        hashes: sha256 per shard, hex digits.
    """

    where: str
    sensor: str
    tile_size: int
    radiometry: str
    teacher: dict[str, Any] | None
    photos_stored: bool
    files: tuple[str, ...]
    samples: tuple[int, ...]
    sizes: tuple[int, ...]
    hashes: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """The local folder in which the shards lie.

        Raises:
            GraftError: they lie at an address.
        """
        return local_folder(self.where)

    def shard_files(self) -> list[ShardFile]:
        """Name, size and hash of every shard."""
        return [ShardFile(*of_shard) for of_shard in zip(self.files, self.sizes, self.hashes, strict=True)]

    @classmethod
    def load(cls, source: Path | str | Remote) -> "ShardIndex":
        """Read and check the `index.json` of a folder or an address.

        Raises:
            GraftError: no index, an index of another version, no shards in it, or local shards that are gone.
        """
        if isinstance(source, str) and is_address(source):
            source = Remote(source)
        if isinstance(source, Remote):
            return cls._parse(source.address, f"{source.address}/{INDEX_NAME}", _fetch_index(source))
        folder = Path(source)
        path = folder / INDEX_NAME
        if not path.is_file():
            raise GraftError(f"No shards at {folder}: it holds no {INDEX_NAME}. {BUILD_OR_DEMO}")
        index = cls._parse(str(folder), str(path), path.read_bytes())
        missing = [name for name in index.files if not (folder / name).is_file()]
        if missing:
            raise GraftError(
                f"{len(missing)} of {len(index.files)} shards named in {path} are missing, first {missing[0]}: "
                "copy them again, or build the shards again with graft prepare --overwrite."
            )
        return index

    @classmethod
    def _parse(cls, where: str, path: str, text: bytes) -> "ShardIndex":
        try:
            content = json.loads(text)
            if content["version"] != INDEX_VERSION:
                raise GraftError(
                    f"{path} has schema version {content['version']}, this graft reads {INDEX_VERSION}: "
                    "build the shards again with graft prepare --overwrite."
                )
            shards = _field(content, "shards", list)
            index = cls(
                where,
                _field(content, "sensor", str),
                _field(content, "tile_size", int),
                _field(content, "radiometry", str),
                None if content["teacher"] is None else _teacher(content["teacher"]),
                _field(content, "photos_stored", bool),
                tuple(_text(shard, "file", _FILE_NAME) for shard in shards),
                tuple(_field(shard, "samples", int) for shard in shards),
                tuple(_field(shard, "bytes", int) for shard in shards),
                tuple(_text(shard, "sha256", _SHA256) for shard in shards),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise GraftError(
                f"{path} is not a shard index ({type(error).__name__}: {error}): build the shards again."
            ) from error
        if sum(index.samples) == 0:
            raise GraftError(f"{path} lists no samples. {BUILD_OR_DEMO}")
        return index


def _field(content: dict[str, Any], name: str, kind: type) -> Any:
    value = content[name]
    if type(value) is not kind or (isinstance(value, int) and value < 0):
        raise ValueError(f"{name} is {value!r}, not {'a number from 0' if kind is int else f'a {kind.__name__}'}")
    return value


def _text(content: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value: str = _field(content, name, str)
    if pattern.fullmatch(value) is None:
        raise ValueError(f"{name} is {value!r}, expected {pattern.pattern}")
    return value


def _teacher(content: dict[str, Any]) -> dict[str, Any]:
    for name, kind in (("name", str), ("identity", str), ("dim", int)):
        _field(content, name, kind)
    return content


def _fetch_index(remote: Remote) -> bytes:
    def fault(path: Path) -> str | None:
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            return f"it is not JSON: {error}"
        return None

    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        path = Path(folder, INDEX_NAME)
        try:
            remote.fetch(INDEX_NAME, path, fault)
        except FetchError as error:
            raise GraftError(f"No shards at {remote.address}: {error}. Check address, network and rights.") from error
        return path.read_bytes()


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
        samples: per sample, (offset, size) in bytes of each member; a name that breaks the rules starts with `?`.
        fault: what is wrong with the tar as a whole, if anything.
    """

    samples: list[dict[str, tuple[int, int]]]
    fault: str | None


class ShardReader:
    """Random access to the samples of shards.

    Args:
        index: of the shards.
        open_shards: how many shards' member tables are kept.
        cache: that fetches the shards of an address; local shards are read where they are.
    """

    def __init__(self, index: ShardIndex, *, open_shards: int = 32, cache: ShardCache | None = None) -> None:
        self.index = index
        self._folder = None if cache is not None else index.folder
        self._cache = cache
        self._open_shards = open_shards
        self._scanned: dict[int, ShardMembers] = {}
        self._sound: set[int] = set()

    def _members(self, shard: int) -> ShardMembers:
        if shard not in self._scanned:
            if len(self._scanned) == self._open_shards:
                self._scanned.pop(next(iter(self._scanned)))
            self._sound.discard(shard)
            self._scanned[shard] = self._scan(shard)  # a fetch that fails leaves no table behind: it may come later
        return self._scanned[shard]

    def _open(self, shard: int) -> BinaryIO:
        if self._cache is None:
            assert self._folder is not None
            return (self._folder / self.index.files[shard]).open("rb")
        for _ in range(_OPEN_TRIES):
            try:
                return self._cache.path(shard).open("rb")
            except FileNotFoundError:  # another process made room in between
                continue
            except OSError as error:
                raise FetchError(f"{self.index.files[shard]} in the cache cannot be read: {error}") from error
        raise FetchError(f"{self.index.files[shard]} leaves the cache as soon as it is there: raise its limit")

    def _scan(self, shard: int) -> ShardMembers:
        """Offsets and sizes of the members of each sample, and what is wrong with the shard if anything is.

        Raises:
            FetchError: it could not be fetched.
        """
        name, expected = self.index.files[shard], self.index.sizes[shard]
        samples: dict[str, dict[str, tuple[int, int]]] = {}
        fault = None
        try:
            with self._open(shard) as file:
                size = os.fstat(file.fileno()).st_size
                if size != expected:
                    fault = f"{name} has {size} bytes, {INDEX_NAME} says {expected}"
                with tarfile.open(fileobj=file, mode="r:") as archive:
                    for member in archive:
                        match = _MEMBER.fullmatch(member.name)
                        if match is None:
                            key = member.name.split(".")[0]
                            samples.setdefault(key, {})["?" + member.name] = (0, 0)
                            continue
                        samples.setdefault(match[1], {})[match[2]] = (member.offset_data, member.size)
        except (tarfile.TarError, OSError, EOFError) as error:
            fault = f"{name} is not a whole tar ({error})"
        return ShardMembers(list(samples.values()), fault)

    def read(self, shard: int, number: int) -> PairSample:
        """Read and decode sample `number` of a shard.

        Raises:
            BadSampleError: it is not there, or cannot be decoded; the message names shard and sample.
        """
        try:
            try:
                return self._read(shard, number)
            except BadSampleError:
                if self._cache is None or shard in self._sound:
                    raise
                self._sound.add(shard)
                if not self._cache.drop_if_damaged(shard):
                    raise
                del self._scanned[shard]
                return self._read(shard, number)
        except FetchError as error:
            raise BadSampleError(str(error)) from error

    def _read(self, shard: int, number: int) -> PairSample:
        found, name = self._members(shard), self.index.files[shard]
        samples, fault = found.samples, found.fault
        if number >= len(samples):
            raise BadSampleError(fault or f"{name} holds {len(samples)} samples, sample {number} is missing")
        members = samples[number]
        where = f"{name}, sample {number}"
        unknown = [name[1:] for name in members if name.startswith("?")]
        if unknown:
            raise BadSampleError(
                f"{where}: member {unknown[0]!r} is not KEY.FIELD with a KEY of a-z 0-9 _ - and no dot in it"
            )
        try:
            raw = {}
            with self._open(shard) as file:
                for member, (offset, size) in members.items():
                    file.seek(offset)
                    raw[member] = file.read(size)
            return _decode(raw, self.index)
        except (
            *(BadSampleError, *UNREADABLE),
            *(KeyError, TypeError, RuntimeError, EOFError),
        ) as error:
            raise BadSampleError(f"{where}: {fault or error}") from error


def _decode(raw: dict[str, bytes], index: ShardIndex) -> PairSample:
    picture = raw.get("tile.png") or raw.get("tile.jpg")
    if not picture:
        raise BadSampleError("no tile.png or tile.jpg")
    meta = json.loads(raw["json"])
    image = Image.open(io.BytesIO(picture))
    pixels = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    tile = torch.from_numpy(pixels).permute(2, 0, 1)
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
    for name in [meta["tile_id"], *(photo["id"] for photo in meta["photos"])]:
        if not isinstance(name, str) or not name or not _encodes(name):
            raise BadSampleError(f"tile_id or the id of a photo is {name!r}, expected text")
    for photo in meta["photos"]:
        for axis in "xy":
            place = photo[axis]
            if not isinstance(place, int | float) or not 0 <= place <= index.tile_size:  # NaN is in no range
                raise BadSampleError(
                    f"{axis} of photo {photo['id']} is {place!r:.40}, no number from 0 to {index.tile_size}"
                )
    ground = None if index.teacher is None else _vectors(raw, meta, index.teacher, count)
    return PairSample(tile, ground, photos, meta)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can say half a surrogate pair
        return False
    return True


def _vectors(raw: dict[str, bytes], meta: dict[str, Any], teacher: dict[str, Any], count: int) -> Tensor:
    if "ground.npy" not in raw:
        raise BadSampleError("no ground.npy")
    vectors = array_of(raw["ground.npy"])
    if vectors.shape != (count, teacher["dim"]):
        raise BadSampleError(f"vectors of shape {vectors.shape}, expected {(count, teacher['dim'])}")
    if not meta.get("teacher") or not teacher["identity"].startswith(meta["teacher"]):
        raise BadSampleError(
            f"vectors of teacher {meta.get('teacher')}, "
            f"{INDEX_NAME} names {teacher['identity'][:16]} ({teacher['name']})"
        )
    ground = vectors.astype(np.float32)
    error = np.abs(np.sqrt(np.einsum("kd,kd->k", ground, ground)) - 1).max()
    if not error <= _UNIT_TOLERANCE:
        raise BadSampleError(f"vectors that are not {'of unit length' if np.isfinite(error) else 'finite'}")
    return torch.from_numpy(ground)


def photo_number(photo_id: str) -> int:
    """63-bit hash of a photo's id: the `photo_id` of a `PairBatch`."""
    return int.from_bytes(hashlib.blake2b(photo_id.encode(), digest_size=8).digest(), "big") >> 1
