"""Writing shards: tar files of samples and the `index.json` that makes them a whole."""

import fcntl
import io
import json
import os
import re
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from webdataset.writer import TarWriter

from graft.errors import GraftError
from graft.files import sha256_file, write_json
from graft.prepare.records import TileRecord
from graft.sensors import Sensor

INDEX = "index.json"
INDEX_VERSION = 1
KEY_PATTERN = re.compile(r"[a-z0-9_-]{1,80}")
MAX_SAMPLE_PHOTOS = 100
UNIT_TOLERANCE = 1e-2


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """uint8 [H, W, 3] as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def check_destination(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that already holds shards, unless they are to be replaced.

    Raises:
        GraftError: `out` is a file, or holds an `index.json` or shards and `overwrite` is False.
    """
    if out.exists() and not out.is_dir():
        raise GraftError(f"{out} is a file. Give --out a folder.")
    if overwrite:
        return
    if (out / INDEX).exists():
        raise GraftError(f"{out} already holds shards ({INDEX}). Choose another --out, or replace them: --overwrite.")
    stray = next(iter(sorted(out.glob("shard-*.tar"))), None)
    if stray is not None:
        raise GraftError(
            f"{out} holds {stray.name} but no {INDEX}: a build that did not end. Choose another --out, or --overwrite."
        )


class ShardBuilder:
    """Writes samples to shards that appear in `out` all at once, when `finish` is called.

    Used as a context manager. Tars are written in `out/.building`; leaving the block without `finish`, by an
    exception or a kill, leaves `out` as it was. The same samples in the same order give the same bytes.
    """

    def __init__(
        self,
        out: Path,
        *,
        sensor: Sensor,
        tile_size: int,
        teacher: Mapping[str, Any] | None,
        photos_stored: bool,
        samples_per_shard: int = 1000,
        overwrite: bool = False,
    ) -> None:
        """State what all samples share.

        Args:
            out: folder of the shards.
            sensor: of all tiles; says how their stored numbers became display values.
            tile_size: side of every tile in pixels.
            teacher: `name`, `identity` and `dim` of the teacher whose vectors are stored; None without vectors.
            photos_stored: whether samples hold photo files.
            samples_per_shard: samples in a shard; the last one may hold fewer.
            overwrite: replace shards that are there already.

        Raises:
            GraftError: see `check_destination`.
        """
        check_destination(out, overwrite=overwrite)
        self.work = out / ".building"
        self._out, self._overwrite, self._per_shard = out, overwrite, samples_per_shard
        self._card: dict[str, Any] = {
            "version": INDEX_VERSION,
            "sensor": sensor.name,
            "radiometry": sensor.radiometry,
            "tile_size": tile_size,
            "teacher": None if teacher is None else {key: teacher[key] for key in ("name", "identity", "dim")},
            "photos_stored": photos_stored,
        }
        self._keys: set[str] = set()
        self._shards: list[dict[str, Any]] = []
        self._writer: TarWriter | None = None

    def __enter__(self) -> Self:
        """Take the work folder, with what a killed build may have left in it.

        Raises:
            GraftError: another build is writing there, or the folder cannot be made.
        """
        try:
            self.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GraftError(f"The folder {self._out} cannot be written: {error}. Choose another --out.") from error
        self._lock = os.open(self.work, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise GraftError(
                f"Another build is writing to {self._out}. Wait for it, or choose another --out."
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the work folder, and with it what a killed build left there."""
        if self._writer is not None:
            self._file.close()
        shutil.rmtree(self.work)
        os.close(self._lock)

    def write_sample(
        self,
        key: str,
        tile_png: bytes,
        record: TileRecord,
        *,
        ground: npt.NDArray[np.floating[Any]] | None = None,
        photos: Sequence[bytes] = (),
    ) -> None:
        """Add one sample.

        Args:
            key: name of the sample, unique; lower-case letters, digits, "_" and "-".
            tile_png: the tile as an RGB PNG file of the build's tile size.
            record: the rest of its metadata.
            ground: unit vectors [K, D] of the teacher, stored as float16; None without a teacher.
            photos: K JPEG files; empty where photos are not stored.

        Raises:
            GraftError: a key, tile, vector or number of photos that a reader would not accept.
        """
        self._check_key(key)
        self._check_tile(key, tile_png)
        count = len(record.photos)
        if not 1 <= count <= MAX_SAMPLE_PHOTOS:
            raise GraftError(f"Sample {key!r} has {count} photos; a tile needs 1 to {MAX_SAMPLE_PHOTOS}.")
        self._check_ground(key, ground, count)
        if len(photos) != (count if self._card["photos_stored"] else 0):
            raise GraftError(
                f"Sample {key!r} lists {count} photos and brings {len(photos)} photo files, "
                f"in a build with photos_stored={self._card['photos_stored']}."
            )
        teacher = self._card["teacher"]
        metadata = {
            **asdict(record),
            "tile_id": key,
            "sensor": self._card["sensor"],
            "radiometry": self._card["radiometry"],
            "teacher": teacher["identity"][:16] if teacher else None,
        }
        sample: dict[str, str | bytes] = {"__key__": key, "tile.png": tile_png, "json": _to_json(metadata)}
        if ground is not None:
            sample["ground.npy"] = _to_npy(ground.astype(np.float16))
        sample |= {f"ground{number:02d}.jpg": content for number, content in enumerate(photos)}
        writer = self._writer or self._open_shard()
        writer.write(sample)
        shard = self._shards[-1]
        shard["samples"] += 1
        shard["photos"] += count
        if shard["samples"] == self._per_shard:
            self._close_shard()

    def finish(self, build: Mapping[str, Any]) -> dict[str, Any]:
        """Move the shards to `out` and write `index.json` last.

        Args:
            build: how the shards came about: settings and counts of what was left out.

        Returns:
            The content of `index.json`.
        """
        if self._writer is not None:
            self._close_shard()
        index = {**self._card, "shards": self._shards, "build": dict(build)}
        if self._overwrite:
            (self._out / INDEX).unlink(missing_ok=True)
            for old in self._out.glob("shard-*.tar"):
                old.unlink()
        for shard in self._shards:
            (self.work / shard["file"]).rename(self._out / shard["file"])
        write_json(self._out / INDEX, index)
        return index

    def _open_shard(self) -> TarWriter:
        name = f"shard-{len(self._shards):06d}.tar"
        self._shards.append({"file": name, "samples": 0, "photos": 0})
        self._file = (self.work / name).open("wb")
        # ShardWriter opens by name only and keeps no count per shard; its TarWriter does all that matters here.
        self._writer = TarWriter(self._file, user="", group="", mtime=0, encoder=False)
        return self._writer

    def _close_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        shard = self._shards[-1]
        path = self.work / shard["file"]
        shard |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}

    def _check_key(self, key: str) -> None:
        if not KEY_PATTERN.fullmatch(key):
            raise GraftError(
                f"The sample key {key!r} may hold only lower-case letters, digits, '_' and '-', at most 80 of them; "
                "a dot would split it into key and file type."
            )
        if key in self._keys:
            raise GraftError(f"The sample key {key!r} is used twice; keys name samples across all shards.")
        self._keys.add(key)

    def _check_tile(self, key: str, tile_png: bytes) -> None:
        side = self._card["tile_size"]
        size = struct.unpack(">II", tile_png[16:24]) if tile_png[:8] == b"\x89PNG\r\n\x1a\n" else None
        if size != (side, side):
            found = "no PNG file" if size is None else f"{size[0]} x {size[1]} pixels"
            raise GraftError(f"The tile of sample {key!r} is {found}; expected a PNG of {side} x {side} pixels.")

    def _check_ground(self, key: str, ground: npt.NDArray[np.floating[Any]] | None, count: int) -> None:
        teacher = self._card["teacher"]
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
