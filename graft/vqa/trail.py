"""Masks and objects that remember the steps by which they came about."""

import json
from dataclasses import dataclass, field
from types import MappingProxyType

from graft.vqa.arithmetic import merged
from graft.vqa.values import Evidence, Mask, Objects

_LONGEST = 300


@dataclass(frozen=True)
class Trail:
    """How a mask or objects came about.

    Attributes:
        step: the last step as a call; its own evidence is made when it is asked for.
        before: the steps behind it.
        figures: of the last step.
        others: how sure all is that it rests on besides itself, such as the reference of a relation.
        left: mean likeness of all objects before any were chosen; None where there were none.
    """

    step: str
    before: tuple[Evidence, ...] = ()
    figures: MappingProxyType[str, float] = field(default_factory=lambda: MappingProxyType({}))
    others: float = 1.0
    left: float | None = None


@dataclass(frozen=True, eq=False)
class TracedMask(Mask):
    """A mask with its trail."""

    trail: Trail


@dataclass(frozen=True, eq=False)
class TracedObjects(Objects):
    """Objects with their trail."""

    trail: Trail


def trail_of(of: Mask | Objects) -> Trail:
    """Its trail; where it has none, the concept is all that is known."""
    return of.trail if isinstance(of, TracedMask | TracedObjects) else Trail(of.concept)


def step_of(of: Mask | Objects) -> str:
    """The last step as a call; of a single object that a loop took from several, with its number."""
    trail = trail_of(of)
    if isinstance(of, Objects) and len(of.things) != trail.figures.get("count", len(of.things)):
        return short(" ".join([trail.step, *(f"#{thing.number}" for thing in of.things[:1])]))
    return trail.step


def steps_of(*values: Mask | Objects) -> tuple[Evidence, ...]:
    """All steps behind some masks and objects, their own included."""
    parts: list[tuple[Evidence, ...]] = []
    for of in values:
        trail, step = trail_of(of), step_of(of)
        figures = dict(trail.figures) if step == trail.step else {"count": 1.0}
        parts += [trail.before, (Evidence(step, of, figures),)]
    return merged(*parts)


def told(value: object) -> str:
    """A constant as programs spell it."""
    return f"{value:g}" if isinstance(value, float | int) else json.dumps(value, ensure_ascii=False)


def short(step: str) -> str:
    """A step, cut where it grew too long to read."""
    return step if len(step) <= _LONGEST else step[: _LONGEST - 1] + "…"
