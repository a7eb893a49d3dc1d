"""The table of published checkpoints, `published.yaml`."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import yaml

from graft.encoders import Positions
from graft.errors import GraftError

Names = Literal["huggingface", "open_clip"]


@dataclass(frozen=True)
class Published:
    """A row of the table; see the head of `published.yaml`."""

    what: str
    architecture: str | None
    names: Names
    text: Literal["own", "teacher"]
    positions: Positions
    source: str
    note: str
    teacher_weights: str | None = None
    temperature: float | None = None


@cache
def published_table() -> dict[str, Published]:
    """All rows by name."""
    rows = yaml.safe_load((files("graft") / "convert" / "published.yaml").read_text(encoding="utf-8"))
    return {name: Published(**row) for name, row in rows.items()}


def published(name: str) -> Published:
    """A row by name.

    Raises:
        GraftError: no such row.
    """
    table = published_table()
    if name not in table:
        raise GraftError(f"There is no layout {name!r}. Give --layout one of {', '.join(table)}.")
    return table[name]
