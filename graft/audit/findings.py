"""What a check found: a level, numbers, examples and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from graft.tally import Tally


class Level(StrEnum):
    """How bad it is. Only a fault makes shards unfit; a check that could not be made says so and is no fault."""

    OK = "ok"
    UNCHECKED = "not checked"
    WARNING = "warning"
    FAULT = "fault"


NOTHING = "there was nothing to look at"
"""What a check says that had no sample, photo or file to judge."""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        group: heading under which it is shown.
        name: of the check, a few words.
        level: the worst of what it found.
        says: what was found, one line.
        numbers: the same for machines; values are JSON types.
        examples: names of the first few offenders, one line each.
        remedy: what to do if it found something.
    """

    group: str
    name: str
    level: Level
    says: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    examples: Sequence[str] = ()
    remedy: str = ""

    @property
    def advice(self) -> str:
        """The remedy where there is something to mend, or else ""."""
        return self.remedy if self.level in (Level.WARNING, Level.FAULT) else ""

    def to_json(self) -> dict[str, Any]:
        """Plain types, for `audit.json`."""
        return {
            "group": self.group,
            "name": self.name,
            "level": self.level.value,
            "says": self.says,
            "numbers": dict(self.numbers),
            "examples": list(self.examples),
            "remedy": self.advice,
        }


def worst(checks: Sequence[Check]) -> Level:
    """The worst level among checks; a check that could not be made counts as ok."""
    levels = {check.level for check in checks}
    return next((level for level in (Level.FAULT, Level.WARNING) if level in levels), Level.OK)


def from_tally(
    group: str,
    name: str,
    tally: Tally | None,
    *,
    looked: int,
    noun: str,
    fine: str,
    remedy: str,
    level: Level = Level.FAULT,
    numbers: Mapping[str, Any] | None = None,
) -> Check:
    """A check that is of `level` if anything was counted, else fine if anything was looked at, else not made.

    Args:
        group: see `Check`.
        name: see `Check`.
        tally: what is wrong, by reason.
        looked: number of things looked at, right or wrong.
        noun: what was counted; the reasons go on from it.
        fine: what to say if nothing is wrong.
        remedy: what to do otherwise.
        level: of anything counted.
        numbers: further numbers for machines.
    """
    if tally is None or not tally.total:
        if not looked:
            return Check(group, name, Level.UNCHECKED, NOTHING, numbers or {})
        return Check(group, name, Level.OK, fine, numbers or {})
    says = "; ".join(f"{noun} {reason}".strip() + f": {number:,}" for reason, number in tally.counts.items())
    examples = [f"{reason}: {example}" for reason, shown in tally.examples.items() for example in shown]
    return Check(group, name, level, says, {**(numbers or {}), "by_reason": dict(tally.counts)}, examples, remedy)


def share(part: float, whole: float) -> float:
    """Part of a whole, 0 where there is no whole."""
    return float(part / whole) if whole else 0.0


def percent(value: float) -> str:
    """A share as a person writes it; what is small but not zero does not read as zero."""
    if 0 < value < 0.0005:
        return "< 0.1 %"
    if 0.9995 < value < 1:
        return "> 99.9 %"
    return f"{100 * value:.3g} %"
