"""Count what had to be left out, list it, and stop when it is too much."""

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graft.errors import GraftError
from graft.files import atomic_path

logger = logging.getLogger(__name__)

TOLERATED_SHARE = 0.01
JUDGED_AFTER = 1_000
HOPELESS_AFTER = 32
_SHOWN = 5
_TEXT: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}  # reasons quote foreign data


class Skip(NamedTuple):
    """A sample, or one of its photos, that training left out.

    Attributes:
        position: of the sample in the endless stream.
        pass_number: of the pass it would have been seen in, from 0.
        shard: file name.
        sample: number in the shard, from 0.
        photo: its id; "" where the whole sample was left out.
        reason: what was wrong with it.
    """

    position: int
    pass_number: int
    shard: str
    sample: int
    photo: str
    reason: str


class SkipCounter:
    """Counts what was seen, and what of it was left out.

    The first few reasons are logged one by one, later ones at every power of two of their number.

    Attributes:
        seen: asked for.
        skipped: left out.
    """

    def __init__(self, remedy: str, *, what: str = "samples and photos", judged_after: int = JUDGED_AFTER) -> None:
        """Start from zero.

        Args:
            remedy: sentence that ends the message when too much is bad.
            what: is counted, as the message says it.
            judged_after: number seen from which on the tolerated share holds.
        """
        self._remedy, self._what, self._judged_after = remedy, what, judged_after
        self.seen = 0
        self.skipped = 0
        self._first: list[str] = []

    def add(self, seen: int, reasons: Sequence[str]) -> None:
        """Count a batch.

        Raises:
            GraftError: more than 1 % of at least `judged_after` were bad, or all of at least 32.
        """
        self.seen += seen
        for reason in reasons:
            self.skipped += 1
            self._first = [*self._first, reason][:_SHOWN]
            if self.skipped <= _SHOWN or self.skipped & (self.skipped - 1) == 0:
                logger.warning("Skipped %d of %d %s, last: %s", self.skipped, self.seen, self._what, reason)
        too_many = self.seen >= self._judged_after and self.skipped > TOLERATED_SHARE * self.seen
        hopeless = self.seen >= HOPELESS_AFTER and self.skipped >= self.seen
        if too_many or hopeless:
            raise GraftError(
                f"{self.skipped} of {self.seen} {self._what} could not be used "
                f"(up to {TOLERATED_SHARE:.0%} is tolerated): "
                f"{'; '.join(self._first)}. {self._remedy}"
            )


class SkipList:
    """The CSV file of everything a training run left out; not there while there is nothing.

    Args:
        path: of the file.
        position: at which the run takes the stream up. What an earlier session listed from there on comes again and is
            taken off.

    Attributes:
        kept: what an earlier session listed and still holds.
    """

    COLUMNS = ("position", "pass", "shard", "sample", "photo", "reason")

    def __init__(self, path: Path, *, position: int) -> None:
        self.path = path
        self.kept = self._earlier(position)
        if self.kept:
            with atomic_path(path) as partial, partial.open("w", **_TEXT) as file:
                csv.writer(file).writerows([self.COLUMNS, *self.kept])
        else:
            path.unlink(missing_ok=True)

    def add(self, skips: Sequence[Skip]) -> None:
        """Append, and sync to disk."""
        if not skips:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.exists()
        with self.path.open("a", **_TEXT) as file:
            csv.writer(file).writerows([self.COLUMNS, *skips] if new else skips)
            file.flush()
            os.fsync(file.fileno())

    def _earlier(self, position: int) -> list[Skip]:
        if not self.path.is_file():
            return []
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows = list(csv.reader(file))
        # A killed session may have left half a line: it is past the checkpoint, so it comes again.
        whole = [row for row in rows if len(row) == len(self.COLUMNS) and (row[0] + row[1] + row[3]).isdecimal()]
        skips = [Skip(int(row[0]), int(row[1]), row[2], int(row[3]), *row[4:]) for row in whole]
        return [skip for skip in skips if skip.position < position]
