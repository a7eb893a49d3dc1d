"""Shards of an address, kept in a local folder of bounded size that all processes of a machine share."""

import fcntl
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from graft.errors import GraftError
from graft.files import sha256_file
from graft.remote import FetchError, Remote
from graft.tally import in_bytes

logger = logging.getLogger(__name__)

_SHARD_NAME = re.compile(r"[0-9a-f]{64}\.tar")
_PARTIAL_NAME = re.compile(r"[0-9a-f]{64}\.(\d+)\.partial")
_FAILURE_HOLDS_S = 60.0


class ShardFile(NamedTuple):
    """What `index.json` says of a shard.

    Attributes:
        name: of the file.
        size: in bytes.
        sha256: hex digest of its bytes.
    """

    name: str
    size: int
    sha256: str


def default_cache() -> Path:
    """Where shards are kept unless the user says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graft" / "shards"


class ShardCache:
    """Fetches shards into a folder, and lets the least recently used go first.

    A shard is kept under its hash, so equal shards of two addresses are one file and a shard that was built anew is
    another. It has its name only once size and hash were checked and it was synced to disk. File locks see to it that
    each shard is fetched once, whoever asks, and that the limit holds for all processes together, downloads under way
    included.

    Args:
        remote: where the shards lie.
        files: all of them.
        folder: of the cache; on a disk of this machine.
        limit: bytes that the folder may hold.
        working_set: shards that are in use at a time.

    Raises:
        GraftError: the limit is below the working set, or the folder cannot be written.
    """

    def __init__(
        self, remote: Remote, files: Sequence[ShardFile], *, folder: Path, limit: int, working_set: int
    ) -> None:
        needed = sum(sorted((file.size for file in files), reverse=True)[:working_set])
        if limit < needed:
            raise GraftError(
                f"A cache of {in_bytes(limit)} cannot hold the {in_bytes(needed)} of shards in use at a time: "
                "raise data.init_args.cache_gb, or lower data.init_args.window."
            )
        self._remote, self._files, self._folder, self._limit = remote, tuple(files), folder, limit
        self._began = time.time()
        try:
            (folder / "locks").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GraftError(f"The cache {folder} cannot be written: {error}. Set data.init_args.cache.") from error

    def path(self, shard: int) -> Path:
        """A shard's file, fetched first where it is not there; noted as used now.

        Another process may remove it as soon as this returns: open it, and ask again where it is gone.

        Raises:
            FetchError: it could not be fetched.
        """
        with self._folder_faults(shard):
            if not self._touch(shard):
                with self._locked(self._files[shard].sha256):
                    if not self._touch(shard):  # another process fetched it meanwhile
                        self._fetch(shard)
            return self._place(shard)

    def fetch_ahead(self, shard: int) -> None:
        """Fetch a shard unless it is there, or another process is at it.

        Raises:
            FetchError: it could not be fetched.
        """
        with self._folder_faults(shard):
            if not self._touch(shard):
                with self._locked(self._files[shard].sha256, wait=False) as mine:
                    if mine and not self._touch(shard):
                        self._fetch(shard)

    def drop_if_damaged(self, shard: int) -> bool:
        """Remove a shard whose bytes are no longer those that were fetched; whether it was one.

        Raises:
            FetchError: the cache cannot be used.
        """
        with self._folder_faults(shard):
            try:
                fault = self._fault(shard, self._place(shard))
            except FileNotFoundError:
                return True
            if fault is not None:
                name = self._files[shard].name
                logger.warning("The cached copy of %s is damaged and is fetched again: %s", name, fault)
                self._place(shard).unlink(missing_ok=True)
            return fault is not None

    @contextmanager
    def _folder_faults(self, shard: int) -> Iterator[None]:
        """Tell a full disk, a folder of someone else, or locks that do not work as what they are."""
        try:
            yield
        except OSError as error:
            raise FetchError(
                f"{self._files[shard].name} could not be kept in the cache {self._folder}: {error}. Set "
                "data.init_args.cache to a folder of yours, on a disk of this machine with room."
            ) from error

    def _place(self, shard: int) -> Path:
        return self._folder / f"{self._files[shard].sha256}.tar"

    def _touch(self, shard: int) -> bool:
        path = self._place(shard)
        try:
            os.utime(path)
            return path.stat().st_size == self._files[shard].size or not self.drop_if_damaged(shard)
        except FileNotFoundError:
            return False

    def _fault(self, shard: int, path: Path) -> str | None:
        file, size = self._files[shard], path.stat().st_size
        if size != file.size:
            return f"{size} bytes, index.json says {file.size}"
        found = sha256_file(path)
        return None if found == file.sha256 else f"sha256 {found[:16]}, index.json says {file.sha256[:16]}"

    def _fetch(self, shard: int) -> None:
        """Download a shard; its lock is held.

        A failure is noted in the lock's file, and holds for all processes for a while: else each of them, and each
        sample, would wait through all tries of a server that is down.
        """
        file = self._files[shard]
        partial = self._folder / f"{file.sha256}.{file.size}.partial"
        note = self._folder / "locks" / file.sha256
        about = note.stat()
        if about.st_size and about.st_mtime >= max(self._began, time.time() - _FAILURE_HOLDS_S):
            raise FetchError(note.read_text())
        self._make_room(partial, file.size)
        try:
            self._remote.fetch(file.name, partial, lambda path: self._fault(shard, path))
            with partial.open("rb+") as whole:
                os.fsync(whole.fileno())
            partial.replace(self._place(shard))
        except FetchError as error:
            note.write_text(str(error))
            raise
        finally:
            partial.unlink(missing_ok=True)

    def _make_room(self, partial: Path, size: int) -> None:
        """Remove what was used longest ago until `size` more bytes fit, and claim them by making `partial`."""
        with self._locked("room"):
            held = [found for path in self._folder.iterdir() if path != partial and (found := _held(path))]
            excess = sum(file.size for file in held) + size - self._limit
            for file in sorted(held):
                if excess <= 0:
                    break
                if file.path.suffix == ".partial":
                    # Its owner holds the lock; without one it is what a killed process left.
                    with self._locked(file.path.name.split(".")[0], wait=False) as left_over:
                        if not left_over:
                            continue
                        file.path.unlink(missing_ok=True)
                else:
                    file.path.unlink(missing_ok=True)
                excess -= file.size
            partial.touch()

    @contextmanager
    def _locked(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold a lock among all threads and processes; yields whether it was got."""
        handle = os.open(self._folder / "locks" / name, os.O_CREAT | os.O_RDWR)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            try:
                yield True
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)  # closing is not enough while a forked child has a copy
        finally:
            os.close(handle)


class _Held(NamedTuple):
    """A file of the cache; sorts by last use."""

    used: int
    path: Path
    size: int


def _held(path: Path) -> _Held | None:
    """What a file takes of the limit: a download under way counts as whole, what is not the cache's as nothing."""
    partial = _PARTIAL_NAME.fullmatch(path.name)
    if partial is None and _SHARD_NAME.fullmatch(path.name) is None:
        return None
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return _Held(about.st_mtime_ns, path, about.st_size if partial is None else int(partial[1]))


class Prefetcher:
    """A thread that fetches the shards wanted next, one at a time; started when first asked for some.

    Args:
        fetch: fetches one shard.
        turn: number of this process; the n-th begins with the n-th shard wanted.
    """

    def __init__(self, fetch: Callable[[int], None], *, turn: int) -> None:
        self._fetch, self._turn = fetch, turn
        self._changed = threading.Condition()
        self._wanted: tuple[int, ...] = ()
        self._thread: threading.Thread | None = None
        self._closed = False

    def want(self, shards: Sequence[int]) -> None:
        """Say which shards are needed next, in place of those said before."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="graft-prefetch", daemon=True)
                self._thread.start()
            if tuple(shards) != self._wanted:
                self._wanted = tuple(shards)
                self._changed.notify()

    def close(self) -> None:
        """Fetch no further; a download under way is not waited for."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _work(self) -> None:
        tried: set[int] = set()  # what failed here is left to the reader, who says so
        while True:
            with self._changed:
                while not self._closed and tried.issuperset(self._wanted):
                    self._changed.wait()
                if self._closed:
                    return
                tried.intersection_update(self._wanted)
                left = [shard for shard in self._wanted if shard not in tried]
            shard = left[min(self._turn, len(left) - 1)]
            tried.add(shard)
            try:
                self._fetch(shard)
            except Exception as error:  # the thread must live on, and the reader meets the same fault and tells it
                logger.info("Not fetched ahead: %s", error)
