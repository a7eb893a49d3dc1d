"""What a build wrote and what it left out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graft.prepare.tally import Tally, in_bytes


@dataclass(frozen=True)
class Summary:
    """What a build wrote and what it left out.

    Attributes:
        out: folder of the shards.
        shards: number of tar files.
        samples: tiles written.
        photos: photos in them, a photo counted in each of its tiles.
        distinct_photos: photos in them, each counted once.
        duplicate_photos: photos whose file equals another one's byte for byte.
        size: bytes of all shards.
        skipped_tiles: tiles left out, by reason.
        skipped_photos: photos in no sample, by reason.
    """

    out: Path
    shards: int
    samples: int
    photos: int
    distinct_photos: int
    duplicate_photos: int
    size: int
    skipped_tiles: Tally
    skipped_photos: Tally

    def lines(self) -> Iterator[str]:
        """A short table of all counts."""
        yield f"{self.samples:>10,}  tiles written to {self.out} (shards: {self.shards:,}, {in_bytes(self.size)})"
        yield f"{self.photos:>10,}  photos in them, {self.distinct_photos:,} distinct"
        if self.duplicate_photos:
            yield f"{self.duplicate_photos:>10,}  of these are copies of another photo's file"
        for what, tally in (("tiles", self.skipped_tiles), ("photos", self.skipped_photos)):
            if tally.total:
                yield f"{tally.total:>10,}  {what} left out:"
                yield from ("  " + line for line in tally.lines())
