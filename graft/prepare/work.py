"""The work folder of a build: which file each stage leaves, and whether a killed build can be taken up again."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.errors import GraftError
from graft.files import write_json
from graft.tally import Tally

STAMP, MOVING = "inputs.json", "moving.json"


@dataclass(frozen=True)
class Work:
    """Paths of one build's work.

    The folder is named by the build's inputs, so that a part that outlived its session cannot get into another's.
    Every file appears whole or not at all, and the JSON file of a stage or part after all its others: it says that
    they are done.

    Attributes:
        folder: `OUT/.building/DIGEST`.
    """

    folder: Path

    def table(self, stage: str) -> Path:
        """Parquet file that a stage leaves."""
        return self.folder / f"{stage}.parquet"

    def part(self, stage: str, number: int, suffix: str) -> Path:
        """A file of one part of a stage."""
        return self.folder / stage / f"part-{number:06d}{suffix}"

    @property
    def images(self) -> Path:
        """Images that tiles may be read from, one JSON object a line."""
        return self.folder / "images.jsonl"

    @property
    def temp(self) -> Path:
        """Scratch space of database queries."""
        return self.folder / "temp"

    def once(self, stage: str, run: Callable[[], Tally]) -> Tally:
        """The tally of a stage; it runs only if an earlier session did not finish it."""
        done = self.folder / f"{stage}.json"
        if not done.exists():
            tally = run()
            write_json(done, {"counts": dict(tally.counts), "examples": tally.examples})
        return read_tally(json.loads(done.read_text(encoding="utf-8")))


def read_tally(content: Mapping[str, Any]) -> Tally:
    """A tally out of its JSON form."""
    tally = Tally()
    tally.counts.update(content["counts"])
    tally.examples.update(content["examples"])
    return tally


def begin(building: Path, inputs: Mapping[str, Any], *, restart: bool) -> tuple[Work, bool]:
    """The work folder of a build of these inputs, and whether an earlier session began it.

    Args:
        building: `OUT/.building`, held by this process.
        inputs: what the build is made of.
        restart: drop all work that is there.

    Raises:
        GraftError: the work of an unfinished build from other inputs, which has looked at photos already.
    """
    plain = json.loads(json.dumps(inputs, default=str))
    work = Work(building / hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16])
    for other in [folder for folder in building.iterdir() if folder.is_dir()]:
        if restart or not (other / STAMP).exists():
            shutil.rmtree(other, ignore_errors=True)
        elif other != work.folder:
            found = json.loads((other / STAMP).read_text(encoding="utf-8"))
            if (other / "looks").exists():
                names = sorted(name for name in {*found, *plain} if found.get(name) != plain.get(name))
                raise GraftError(
                    f"{building} holds the work of an unfinished build that differs in {', '.join(names)}: finish that "
                    "one with its own configuration, or drop its work with --restart."
                )
            shutil.rmtree(other, ignore_errors=True)
    begun = work.folder.exists()
    work.folder.mkdir(exist_ok=True)
    write_json(work.folder / STAMP, plain)
    return work, begun


def is_publishing(building: Path) -> bool:
    """Whether a build was killed while its shards moved to their folders."""
    return any(building.glob(f"*/{MOVING}"))
