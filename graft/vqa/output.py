"""The files that `graft ask` writes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.errors import GraftError


@dataclass(frozen=True)
class AskOutput:
    """Where pictures, objects and JSON go.

    Attributes:
        prefix: FOLDER/NAME.
    """

    prefix: Path

    def picture(self, number: int) -> Path:
        """Of question `number`, from 1."""
        return self._named(f".q{number}.png")

    @property
    def geojson(self) -> Path:
        """The objects."""
        return self._named(".geojson")

    @property
    def document(self) -> Path:
        """All answers."""
        return self._named(".json")

    def _named(self, ending: str) -> Path:
        return self.prefix.with_name(self.prefix.name + ending)


def name_outputs(out: str, name: str, inputs: Sequence[Path], questions: int) -> AskOutput:
    """The files under --out; a folder where one exists or a slash stands at the end, else a prefix.

    Raises:
        GraftError: no right to write, or a file that would replace an input.
    """
    folder = out.endswith(("/", os.sep)) or Path(out).is_dir()
    found = AskOutput(Path(out) / name if folder else Path(out))
    there = next(parent for parent in found.prefix.absolute().parents if parent.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise GraftError(f"--out {out} cannot be written: no right to write in {there}, or it is no folder.")
    targets = [found.geojson, found.document, *(found.picture(number) for number in range(1, questions + 1))]
    for target in targets:
        if target.is_dir():
            raise GraftError(f"--out {out}: {target} is a folder; give another prefix.")
        for each in inputs:
            if target.exists() and each.exists() and target.samefile(each):
                raise GraftError(f"--out {out} would replace {each}; give another prefix.")
    return found
