"""A toolbox over four by four pixels that answers at once, for what is about the language alone."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graft.vqa.functions import FUNCTIONS
from graft.vqa.refusal import NothingThere
from graft.vqa.values import Evidence, Mask, Number, Objects, Text, Thing, Truth


def mask(concept: str) -> Mask:
    return Mask(concept, np.ones((4, 4), bool), None, None)


def objects(concept: str, number: int) -> Objects:
    things = tuple(
        Thing(k + 1, (0, k, 1, k + 1), np.ones((1, 1), bool), (0.5, k + 0.5), 100.0 * (number - k), 1.0)
        for k in range(number)
    )
    return Objects(concept, things, mask(concept), {})


def seen(step: str, **figures: float) -> tuple[Evidence, ...]:
    return (Evidence(step, None, figures),)


@dataclass
class Stub:
    """Finds as many things as `there` says (three unless told), each with an area; notes every call."""

    there: dict[str, int] = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)
    held_bytes: int = 0
    length: str = "m"
    calls: deque[tuple[str, dict[str, Any]]] = field(default_factory=deque)
    secret: str = "never to be read"

    def sure(self, name: str) -> float:
        return self.confidence.get(name, 0.9)

    def number(self, name: str, value: float, unit: Any, of: Any) -> Number:
        return Number(value, unit, self.sure(name), seen(f"{name}({of})", value=value))

    def segment(self, concept: str) -> Mask:
        return mask(concept)

    def find(self, concept: str) -> Objects:
        return objects(concept, self.there.get(concept, 3))

    def exists(self, of: Mask | Objects) -> Truth:
        there = isinstance(of, Mask) or bool(of.things)
        return Truth(there, self.sure("exists"), seen(f"exists({of.concept})"))

    def count(self, of: Objects) -> Number:
        return self.number("count", float(len(of.things)), "", of.concept)

    def area(self, of: Mask | Objects) -> Number:
        total = 1600.0 if isinstance(of, Mask) else sum(thing.area for thing in of.things)
        return self.number("area", total, "m2" if self.length == "m" else "px2", of.concept)

    def fraction(self, of: Mask | Objects) -> Number:
        return self.number("fraction", 0.25, "share", of.concept)

    def filter(self, of: Objects, **_: Any) -> Objects:
        return of

    def where(self, of: Objects, **_: Any) -> Objects:
        return of

    def largest(self, of: Objects) -> Objects:
        return Objects(of.concept, of.things[:1], of.mask, {})

    smallest = largest

    def nearest(self, of: Objects, reference: Objects) -> Objects:
        return Objects(of.concept, of.things[: len(reference.things)][:1], of.mask, {})

    def distance(self, a: Objects, b: Objects) -> Number:
        for each in (a, b):
            if not each.things:
                raise NothingThere(Text(f"there is no {each.concept}", 0.7, seen(f"find({each.concept})")))
        return self.number("distance", 150.0, self.length, f"{a.concept}, {b.concept}")

    def position(self, of: Mask | Objects) -> Text:
        return Text("north-west", self.sure("position"), seen(f"position({of.concept})"))

    def union(self, a: Mask, b: Mask) -> Mask:
        return mask(f"{a.concept}+{b.concept}"[:50])

    intersection = union
    difference = union

    def classify(self, options: tuple[str, ...]) -> Text:
        return Text(options[0], self.sure("classify"), seen(f"classify({', '.join(options)})"))

    def score(self, concept: str) -> Number:
        return self.number("score", 0.5, "", concept)

    def rural_or_urban(self) -> Text:
        return Text("rural", self.sure("rural_or_urban"), seen("rural_or_urban()"))

    def compare(self, a: Number, op: str, b: Number) -> Truth:
        holds = {"less": a.value < b.value, "more": a.value > b.value, "equal": a.value == b.value}[op]
        return Truth(holds, min(a.confidence, b.confidence), (*a.evidence, *b.evidence))

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name not in FUNCTIONS:
            return value

        def noted(**given: Any) -> Any:
            self.calls.append((name, given))
            return value(**given)

        return noted
