"""Which photos may be fetched: by licence, and by the list of those whose owners asked to be left out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.errors import GraftError, first_line

OPEN_LICENSES = ("CC0", "PD", "CC-BY", "CC-BY-SA")
ANY_LICENSE = "any"
_VERSION = r"(-\d+(\.\d+)*(-[A-Z]+)*)?"
"""What may follow the name of a licence: its version and the place it was made for, as in CC-BY-SA-3.0-IGO."""


@dataclass(frozen=True)
class Permission:
    """Says which rows of a photo table may be fetched.

    Attributes:
        licenses: names without a version stand for all versions; None for any licence, known or not.
        taken_down: ids of photos, names of authors, and addresses.
    """

    licenses: re.Pattern[str] | None
    taken_down: frozenset[str]

    @classmethod
    def read(cls, licenses: Sequence[str], takedown: Path | None) -> "Permission":
        """Read the two lists.

        Args:
            licenses: names such as CC-BY or CC-BY-4.0, or "any".
            takedown: a text file with one entry a line; empty lines and lines that start with "#" do not count.

        Raises:
            GraftError: no licence at all, or a file that cannot be read.
        """
        if not licenses:
            raise GraftError(
                f"The list of licences is empty; expected names such as {', '.join(OPEN_LICENSES)}, or {ANY_LICENSE} "
                "(--licenses of graft download, filters.licenses of graft prepare)."
            )
        names = "|".join(re.escape(name.strip()) for name in licenses)
        pattern = None if ANY_LICENSE in licenses else re.compile(f"({names}){_VERSION}", re.IGNORECASE)
        return cls(pattern, frozenset() if takedown is None else frozenset(_entries(takedown)))

    def is_taken_down(self, row: Mapping[str, Any]) -> bool:
        """Whether the row's photo, author or address is on the take-down list."""
        return any(row[column] in self.taken_down for column in ("photo_id", "author", "url", "page_url"))

    def has_license(self, row: Mapping[str, Any]) -> bool:
        """Whether the row's licence is allowed."""
        return self.licenses is None or self.licenses.fullmatch(row["license"]) is not None


def _entries(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GraftError(
            f"The take-down list {file} cannot be read: {first_line(error)}. Correct --takedown of graft download, or "
            "filters.takedown of graft prepare."
        ) from error
    return [entry for line in lines if (entry := line.strip()) and not entry.startswith("#")]
