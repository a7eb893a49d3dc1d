"""What became of each photo of a download, kept so that a killed one goes on where it stopped."""

import hashlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from graft.errors import GraftError, first_line
from graft.files import atomic_path
from graft.photos.fetch import SUFFIXES, Failure, Photo, examine

WORK = ".download"
PHOTOS = "photos"
_VERSION = 1
_TABLE = """CREATE TABLE IF NOT EXISTS outcomes (
    key TEXT PRIMARY KEY, suffix TEXT, sha256 TEXT, width INTEGER, height INTEGER, reason TEXT, detail TEXT, again TEXT
) WITHOUT ROWID"""


@dataclass(frozen=True)
class Arrival:
    """A photo that came.

    Attributes:
        suffix: of its name.
        sha256: hex digest of the file.
        width: in pixels.
        height: in pixels.
    """

    suffix: str
    sha256: str
    width: int
    height: int


def key_of(photo_id: str, url: str) -> str:
    """Name of a photo's file, 32 hex digits: a photo whose address changed is another file."""
    return hashlib.blake2b(f"{photo_id}\0{url}".encode(), digest_size=16).hexdigest()


def place_of(key: str, suffix: str) -> str:
    """Path of a photo below the folder of the download, with at most 256 entries in the folders above its own."""
    return f"{PHOTOS}/{key[:2]}/{key[2:4]}/{key}{suffix}"


class Journal:
    """Outcomes by key, in a SQLite file of which the process keeps a few pages in memory.

    A photo waits in `OUT/.download/incoming` until its outcome is committed, and is then moved to its place. So
    whenever the process dies, each whole file is either in its place and known, or where the next run looks for it.
    Used as a context manager, by one thread; `receive` alone may be called by others.
    """

    def __init__(self, out: Path) -> None:
        """Name the folder of the download; nothing is touched before the block is entered."""
        self._out = out
        self._incoming = out / WORK / "incoming"
        self._arrived: list[str] = []

    def __enter__(self) -> Self:
        """Take up what an earlier run left, and forget the failures that may pass.

        Raises:
            GraftError: another download is writing there, or the folder or the journal cannot be used.
        """
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GraftError(f"The folder {self._out} cannot be written: {error}. Choose another --out.") from error
        file = self._out / WORK / "journal.sqlite"
        try:
            self._base = sqlite3.connect(file, timeout=0, isolation_level="IMMEDIATE")
            # Held from the first transaction to the end of the process, also if it is killed.
            self._base.execute("PRAGMA locking_mode = EXCLUSIVE")
            if self._base.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                raise GraftError(f"{file} is of another graft; go on with that one, or choose another --out.")
            self._base.execute("BEGIN IMMEDIATE")
            self._base.execute(_TABLE)
            self._base.execute(f"PRAGMA user_version = {_VERSION}")
            self._base.execute("DELETE FROM outcomes WHERE again IN ('soon', 'next run')")
            self._base.commit()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise GraftError(f"The journal {file} cannot be used: {first_line(error)}.") from error
            raise GraftError(
                f"Another download is writing to {self._out}. Wait for it, or choose another --out."
            ) from None
        except sqlite3.DatabaseError as error:
            raise GraftError(
                f"The journal {file} is damaged ({first_line(error)}): delete {file.parent} to fetch all photos again."
            ) from error
        self._take_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what is known so far."""
        self.settle()
        self._base.close()

    def receive(self, key: str, photo: Photo) -> Arrival:
        """Write a photo's file, whole or not at all; it counts once the arrival is recorded and settled."""
        with atomic_path(self._incoming / f"{key}{photo.suffix}") as partial:
            partial.write_bytes(photo.body)
        return Arrival(photo.suffix, photo.sha256, photo.width, photo.height)

    def record(self, key: str, outcome: Arrival | Failure) -> None:
        """Note an outcome."""
        if isinstance(outcome, Arrival):
            row = (outcome.suffix, outcome.sha256, outcome.width, outcome.height, "", "", "")
            self._arrived.append(f"{key}{outcome.suffix}")
        else:
            row = ("", "", 0, 0, outcome.reason, outcome.detail, outcome.again)
        self._base.execute("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (key, *row))

    def find(self, key: str) -> Arrival | Failure | None:
        """What became of a photo, if anything did; nothing if it came and its file has been deleted since."""
        row = self._base.execute("SELECT * FROM outcomes WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        _, suffix, sha256, width, height, reason, detail, again = row
        if reason:
            return Failure(reason, detail, again)
        places = (self._out / place_of(key, suffix), self._incoming / f"{key}{suffix}")
        return Arrival(suffix, sha256, width, height) if any(map(os.path.exists, places)) else None

    def forget(self, key: str) -> None:
        """Delete a photo that was fetched once, and its outcome."""
        for suffix in set(SUFFIXES.values()):
            (self._out / place_of(key, suffix)).unlink(missing_ok=True)
            (self._incoming / f"{key}{suffix}").unlink(missing_ok=True)
        self._base.execute("DELETE FROM outcomes WHERE key = ?", (key,))

    def settle(self) -> None:
        """Commit what was noted and move the photos that arrived to their places."""
        self._base.commit()
        for name in self._arrived:
            self._move(name)
        self._arrived.clear()

    def _move(self, name: str) -> None:
        source = self._incoming / name
        target = self._out / place_of(source.stem, source.suffix)
        try:
            source.rename(target)
        except FileNotFoundError:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)

    def _take_up(self) -> None:
        """Bring in the photos that were whole when the last run died; half ones are deleted."""
        for file in sorted(self._incoming.iterdir()):
            photo = None if file.name.startswith(".") else examine(file.read_bytes())
            if isinstance(photo, Photo):
                self.record(file.stem, Arrival(photo.suffix, photo.sha256, photo.width, photo.height))
            else:
                file.unlink()
        self.settle()
