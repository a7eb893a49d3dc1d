"""What is kept of a shard besides its rows: what is wrong with it, and sums over its samples."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.tally import SHOWN_EXAMPLES, Tally

_MOST_NAMES = 1000


@dataclass(frozen=True)
class Words:
    """A prompt set as a teacher sees it.

    Attributes:
        classes: C names.
        phrases: P phrases, those of a class next to each other.
        owner: int64 [P], the class of each phrase.
        vectors: float32 [P, D], unit length.
        logit_scale: of cosines before a softmax.
        teacher: identity of the teacher.
    """

    classes: tuple[str, ...]
    phrases: tuple[str, ...]
    owner: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    logit_scale: float
    teacher: str


@dataclass(frozen=True)
class Expected:
    """What the index promises of every sample.

    Attributes:
        split: number of the split.
        stated_split: its name in the index; None where the index names none.
        tile_size: side of a tile in pixels.
        sensor: name.
        radiometry: in words.
        gsd_m: of the sensor.
        teacher: `name`, `identity`, `dim`; None without vectors.
        photos_stored: whether there are photo files.
        words: to look at the vectors with; None without.
    """

    split: int
    stated_split: str | None
    tile_size: int
    sensor: str
    radiometry: str
    gsd_m: float
    teacher: dict[str, Any] | None
    photos_stored: bool
    words: Words | None


@dataclass
class Notes:
    """What is wrong, by check and reason, and what is counted over samples.

    Attributes:
        faults: check -> reasons with their numbers and first names.
        looked: check -> things that it looked at, right or wrong.
        licences: licence -> photos.
        sources: source -> photos.
        histogram: int64 [3, 256] of display values of decoded tiles, without pixels that are black in all bands.
        decoded: tiles decoded.
    """

    faults: dict[str, Tally] = field(default_factory=dict)
    looked: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    histogram: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    decoded: int = 0

    def add(self, check: str, reason: str, name: str = "", number: int = 1) -> None:
        """Count something wrong."""
        # A name out of a damaged file may hold what no page and no JSON file can.
        self.faults.setdefault(check, Tally()).add(reason, name.encode("utf-8", "replace").decode(), number)

    def merge(self, other: "Notes") -> None:
        """Add what another shard counted."""
        for check, tally in other.faults.items():
            for reason, number in tally.counts.items():
                shown = tally.examples[reason]
                self.add(check, reason, shown[0] if shown else "", number)
                mine = self.faults[check].examples[reason]
                mine += shown[1 : 1 + SHOWN_EXAMPLES - len(mine)]
        self.looked += other.looked
        for counted, its in ((self.licences, other.licences), (self.sources, other.sources)):
            for name, number in its.items():
                counted[name if name in counted or len(counted) < _MOST_NAMES else "(others)"] += number
        self.histogram += other.histogram
        self.decoded += other.decoded
