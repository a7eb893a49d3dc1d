"""Programs that language models wrote, kept on disk so that the same question costs, and answers, the same once."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.errors import GraftError, first_line
from graft.files import write_json
from graft.vqa.json_form import read_json, to_json
from graft.vqa.tree import Program

logger = logging.getLogger(__name__)
_VERSION = 1
_MOST_BYTES = 1 << 18


def cache_folder() -> Path:
    """`graft/vqa` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graft" / "vqa"


@dataclass(frozen=True)
class AnswerCache:
    """A folder of programs: `<sha256 of what was asked>.json`. Holds the request and no key.

    Attributes:
        folder: made with the first program.
    """

    folder: Path

    def read(self, asked: Mapping[str, Any]) -> Program | None:
        """The program kept for a request; None if there is none or the file is not what `write` left there.

        The caller checks the program: a file of a cache is to be trusted no more than a model.
        """
        path = self._path(asked)
        try:
            if path.stat().st_size > _MOST_BYTES:
                return None
            kept = json.loads(path.read_bytes())
            return read_json(kept["program"]) if kept["asked"] == asked else None
        except (OSError, ValueError, RecursionError, LookupError, TypeError, GraftError):
            return None

    def write(self, asked: Mapping[str, Any], program: Program) -> None:
        """Keep a program. A folder that cannot be written costs a warning: the answer at hand is worth more."""
        try:
            write_json(self._path(asked), {"asked": asked, "program": to_json(program)})
        except OSError as error:
            logger.warning("%s cannot be written (%s): programs are not kept.", self.folder, first_line(error))

    def _path(self, asked: Mapping[str, Any]) -> Path:
        text = json.dumps({"version": _VERSION, **asked}, sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"
