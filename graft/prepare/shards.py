"""Writing shards: tar files of samples and the `index.json` that makes them a whole."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from webdataset.writer import TarWriter

from graft.errors import GraftError
from graft.files import sha256_file, write_json
from graft.prepare.records import TileRecord
from graft.prepare.samples import ShardCard, check_key, sample_members

INDEX = "index.json"
INDEX_VERSION = 1


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:06d}.tar"


def index_content(card: ShardCard, shards: Sequence[Mapping[str, Any]], build: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `index.json`.

    Args:
        card: what all samples share.
        shards: a row of each shard, as `ShardFile.finish` returns it.
        build: how the shards came about: settings and counts of what was left out.
    """
    rows = [dict(shard) for shard in shards]
    return {"version": INDEX_VERSION, **card.to_json(), "shards": rows, "build": dict(build)}


def check_destination(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that already holds shards, unless they are to be replaced.

    Raises:
        GraftError: `out` is a file, or holds an `index.json` or shards and `overwrite` is False.
    """
    if out.exists() and not out.is_dir():
        raise GraftError(f"{out} is a file. Give a folder for the shards (out).")
    if overwrite:
        return
    if (out / INDEX).exists():
        raise GraftError(f"{out} already holds shards ({INDEX}). Choose another folder, or replace them: --overwrite.")
    stray = next(iter(sorted(out.glob("shard-*.tar"))), None)
    if stray is not None:
        raise GraftError(
            f"{out} holds {stray.name} but no {INDEX}: a build that did not end. Choose another folder, or --overwrite."
        )


@contextmanager
def only_builder(work: Path) -> Iterator[None]:
    """Hold a work folder, made if need be, against other builds.

    Raises:
        GraftError: another build is writing there, or the folder cannot be made.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GraftError(f"The folder {work.parent} cannot be written: {error}. Choose another one (out).") from error
    lock = os.open(work, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GraftError(
                f"Another build is writing to {work.parent}. Wait for it, or choose another one."
            ) from None
        yield
    finally:
        os.close(lock)


class ShardFile:
    """One tar of samples. The same samples in the same order give the same bytes."""

    def __init__(self, path: Path) -> None:
        """Begin a file that takes its name when it is finished."""
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._file = self._partial.open("wb")
        # ShardWriter opens by name only and keeps no count per shard; its TarWriter does all that matters here.
        self._writer = TarWriter(self._file, user="", group="", mtime=0, encoder=False)
        self.samples = 0
        self._photos = 0

    def write(self, key: str, members: Mapping[str, bytes], photos: int) -> None:
        """Add one sample of `photos` photos: field name -> bytes."""
        self._writer.write({"__key__": key, **members})
        self.samples += 1
        self._photos += photos

    def finish(self) -> dict[str, Any]:
        """Sync, close and name the file; returns its row of `index.json`."""
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)
        return {
            "file": self._path.name,
            "samples": self.samples,
            "photos": self._photos,
            "bytes": self._path.stat().st_size,
            "sha256": sha256_file(self._path),
        }

    def abandon(self) -> None:
        """Drop the file."""
        self._writer.close()
        self._file.close()
        self._partial.unlink(missing_ok=True)


class ShardBuilder:
    """Writes samples to shards that appear in `out` all at once, when `finish` is called.

    Used as a context manager. Tars are written in `out/.building`; leaving the block without `finish`, by an
    exception or a kill, leaves `out` as it was.
    """

    def __init__(self, out: Path, card: ShardCard, *, samples_per_shard: int = 1000, overwrite: bool = False) -> None:
        """State what all samples share.

        Args:
            out: folder of the shards.
            card: what all samples share.
            samples_per_shard: samples in a shard; the last one may hold fewer.
            overwrite: replace shards that are there already.

        Raises:
            GraftError: see `check_destination`.
        """
        check_destination(out, overwrite=overwrite)
        self.work = out / ".building"
        self._out, self._overwrite, self._per_shard = out, overwrite, samples_per_shard
        self._card = card
        self._keys: set[str] = set()
        self._shards: list[dict[str, Any]] = []
        self._open: ShardFile | None = None

    def __enter__(self) -> Self:
        """Take the work folder, with what a killed build may have left in it.

        Raises:
            GraftError: see `only_builder`.
        """
        self._hold = only_builder(self.work)
        self._hold.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the work folder, and with it what a killed build left there."""
        if self._open is not None:
            self._open.abandon()
        shutil.rmtree(self.work)
        self._hold.__exit__(None, None, None)

    def write_sample(
        self,
        key: str,
        tile_png: bytes,
        record: TileRecord,
        *,
        ground: npt.NDArray[np.floating[Any]] | None = None,
        photos: Sequence[bytes] = (),
    ) -> None:
        """Add one sample; the arguments are those of `graft.prepare.samples.sample_members`.

        Raises:
            GraftError: what a reader would not accept, or a key used twice.
        """
        members = sample_members(self._card, key, tile_png, record, ground=ground, photos=photos)
        self.write_members(key, members, len(record.photos))

    def write_members(self, key: str, members: Mapping[str, bytes], photos: int) -> None:
        """Add one sample as it stands in another shard: field name -> bytes, and its number of photos.

        Raises:
            GraftError: a key that breaks the rules, or is used twice.
        """
        check_key(key)
        if key in self._keys:
            raise GraftError(f"The sample key {key!r} is used twice; keys name samples across all shards.")
        self._keys.add(key)
        if self._open is None:
            self._open = ShardFile(self.work / shard_name(len(self._shards)))
        self._open.write(key, members, photos)
        if self._open.samples == self._per_shard:
            self._close_shard()

    def finish(self, build: Mapping[str, Any]) -> dict[str, Any]:
        """Move the shards to `out` and write `index.json` last.

        Args:
            build: how the shards came about: settings and counts of what was left out.

        Returns:
            The content of `index.json`.
        """
        if self._open is not None:
            self._close_shard()
        if self._overwrite:
            remove_shards(self._out)
        for shard in self._shards:
            (self.work / shard["file"]).rename(self._out / shard["file"])
        index = index_content(self._card, self._shards, build)
        write_json(self._out / INDEX, index)
        return index

    def _close_shard(self) -> None:
        if self._open is not None:
            self._shards.append(self._open.finish())
        self._open = None


def remove_shards(folder: Path) -> None:
    """Remove index and shards of a folder, the index first: without it they are nothing."""
    (folder / INDEX).unlink(missing_ok=True)
    for old in folder.glob("shard-*.tar"):
        old.unlink()
