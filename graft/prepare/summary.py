"""What a build wrote and what it left out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.tally import Tally, in_bytes


@dataclass(frozen=True)
class Summary:
    """What a build wrote and what it left out.

    Attributes:
        out: folder of the splits' folders.
        listed: photos in the table.
        written: distinct photos in the shards.
        splits: split -> its number of shards, samples, photos (counted in each of their tiles) and bytes.
        left_out: stage -> photos left out by reason; "tiles" counts tiles.
    """

    out: Path
    listed: int
    written: int
    splits: dict[str, dict[str, int]]
    left_out: Mapping[str, Tally]

    @classmethod
    def of(
        cls,
        out: Path,
        listed: int,
        written: int,
        shards: Mapping[str, Sequence[Mapping[str, Any]]],
        left_out: Mapping[str, Tally],
    ) -> "Summary":
        """Add up; photos that passed every filter and are in no shard are counted under one last reason."""
        splits = {
            split: {
                "shards": len(rows),
                **{name: sum(row[name] for row in rows) for name in ("samples", "photos", "bytes")},
            }
            for split, rows in shards.items()
        }
        rest = Tally()
        passed = listed - sum(tally.total for stage, tally in left_out.items() if stage != "tiles")
        rest.add("in no tile that was kept, or past tiles.max_photos", number=passed - written)
        return cls(out, listed, written, splits, {**left_out, "by the tiles": rest})

    def to_json(self, split: str | None = None) -> dict[str, Any]:
        """Counts in plain types: photos listed = written + all left out."""
        reasons = {stage: dict(tally.counts) for stage, tally in self.left_out.items()}
        tiles = reasons.pop("tiles", {})
        content: dict[str, Any] = {
            "photos": {"listed": self.listed, "written": self.written, "left_out": reasons},
            "tiles": {"left_out": tiles},
        }
        return content if split is not None else content | {"splits": self.splits}

    def lines(self) -> Iterator[str]:
        """A short table of all counts."""
        for split, counts in self.splits.items():
            yield (
                f"{counts['samples']:>10,}  tiles with {counts['photos']:,} photos in {self.out / split} "
                f"(shards: {counts['shards']:,}, {in_bytes(counts['bytes'])})"
            )
        yield f"{self.written:>10,}  distinct photos of {self.listed:,}"
        for stage, tally in self.left_out.items():
            if tally.total:
                what = "tiles left out" if stage == "tiles" else f"photos left out {stage}"
                yield f"{tally.total:>10,}  {what}:"
                yield from ("  " + line for line in tally.lines())
