"""The vision functions of programs (`graft.vqa.functions`) over one image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal
from weakref import WeakKeyDictionary

from graft.errors import GraftError
from graft.vqa import confidence
from graft.vqa.arithmetic import merged
from graft.vqa.functions import BUILDING, BUILT
from graft.vqa.objects import Joining, find_objects, join_masks, pixels_of
from graft.vqa.refusal import NothingThere, Refused
from graft.vqa.relations import COMPASS, DIRECTIONS, Relations, place_of
from graft.vqa.shapes import shapes_of
from graft.vqa.trail import TracedMask, TracedObjects, Trail, short, step_of, steps_of, told, trail_of
from graft.vqa.values import Evidence, Mask, Number, Objects, Text, Thing, Truth, Unit
from graft.vqa.vision import Vision

NEXT_TO_M = 25.0
"""Metres between edges up to which objects are next to each other, or what the vision can resolve if that is more."""

SIZES: dict[str, tuple[float, float]] = {"small": (0.0, 100.0), "medium": (100.0, 500.0), "large": (500.0, math.inf)}
"""Square metres, from and below; RSVQA's."""

_KEPT_BYTES = 1_000_000_000


@dataclass(frozen=True)
class UrbanRule:
    """When an area is urban.

    Attributes:
        kind: "count": more than `value` objects "building" (RSVQA: 2); "cover": concept "built-up area" covers more
            than the share `value` of the image.
        value: a number of buildings, or a share 0..1.
    """

    kind: Literal["count", "cover"] = "cover"
    value: float = 0.2

    def __post_init__(self) -> None:
        """Check the number.

        Raises:
            GraftError: a share beyond 0..1, a count below 0.
        """
        if not 0 <= self.value <= (1 if self.kind == "cover" else math.inf):
            raise GraftError(
                f"The urban rule is {self.kind} {self.value:g}; expected a share from 0 to 1 with `cover`, a number of "
                "buildings from 0 on with `count`. Change its value."
            )


@dataclass
class Toolbox:
    """Each function of `graft.vqa.functions.FUNCTIONS` as a method; masks and objects of a concept are made once.

    Areas and lengths are in the units of the vision's grid. Confidence: see `graft.vqa.confidence`.

    Attributes:
        vision: the image.
        urban: when it is urban.
        next_to_m: distance of edges up to which objects are next to each other, in the grid's unit. None: `NEXT_TO_M`
            metres, or if that is more the side of the smallest object that the vision can see, sqrt(least_px) pixels.
    """

    vision: Vision
    urban: UrbanRule = field(default_factory=UrbanRule)
    next_to_m: float | None = None

    def __post_init__(self) -> None:
        """Start with nothing looked at."""
        self._relations = Relations(self.vision.grid)
        self._masks: dict[str, TracedMask] = {}
        self._found: dict[str, TracedObjects] = {}
        self._bytes: WeakKeyDictionary[Mask, int] = WeakKeyDictionary()
        self._none: WeakKeyDictionary[Mask, float] = WeakKeyDictionary()

    @property
    def held_bytes(self) -> int:
        """Bytes of the masks of concepts, their objects and edges that are alive, here or in a program."""
        return sum(self._bytes.values()) + self._relations.held_bytes

    @property
    def next_to(self) -> float:
        """Distance of edges up to which objects are next to each other, in the grid's unit of length."""
        if self.next_to_m is not None:
            return self.next_to_m
        grid = self.vision.grid
        visible = math.sqrt(self.vision.least_px * grid.pixel_area)
        return visible if grid.units == "pixels" else max(NEXT_TO_M, visible)

    def segment(self, concept: str) -> Mask:
        """Where a concept is."""
        if concept not in self._masks:
            seen = self.vision.segment(concept)
            trail = Trail(f"segment({told(concept)})")
            mask = TracedMask(seen.concept, seen.pixels, seen.likeness, seen.threshold, trail)
            self._bytes[mask] = mask.pixels.nbytes + (0 if mask.likeness is None else mask.likeness.nbytes)
            self._masks[concept] = mask
            while len(self._masks) > 1 and sum(self._bytes[kept] for kept in self._masks.values()) > _KEPT_BYTES:
                oldest = next(iter(self._masks))
                del self._masks[oldest]
                self._found.pop(oldest, None)
        return self._masks[concept]

    def find(self, concept: str) -> Objects:
        """The objects of a concept; those below the least size are left out, and counted in the evidence."""
        mask = self.segment(concept)
        if concept not in self._found:
            objects = self._objects(mask)
            figures = {"count": float(len(objects.things))} | {why: float(n) for why, n in objects.left_out.items()}
            trail = replace(objects.trail, step=f"find({told(concept)})", figures=MappingProxyType(figures))
            self._found[concept] = replace(objects, trail=trail)
            self._bytes[mask] += sum(thing.pixels.nbytes for thing in objects.things)
        return self._found[concept]

    def exists(self, of: Mask | Objects) -> Truth:
        """Whether there is any: an object, or a part of a mask that is large enough to be one."""
        objects = self._objects(of)
        step = Evidence(f"exists({step_of(of)})", of, {"count": float(len(objects.things))})
        return Truth(bool(objects.things), self._sure(objects), merged(steps_of(of), (step,)))

    def count(self, of: Objects) -> Number:
        """How many objects there are."""
        own = confidence.of_objects(of, by_area=False) if of.things else self._sure(of)
        return self._number("count", of, float(len(of.things)), "", own)

    def area(self, of: Mask | Objects) -> Number:
        """The ground it covers, m2, or px2 without georeference."""
        grid = self.vision.grid
        covered = sum(thing.area for thing in of.things) if isinstance(of, Objects) else grid.area(of.pixels)
        return self._number("area", of, float(covered), grid.area_unit, self._extent(of))

    def fraction(self, of: Mask | Objects) -> Number:
        """Its share of the pixels with data, 0..1.

        Raises:
            NothingThere: no pixel has data.
        """
        data = self.vision.data
        if not data.any():
            raise NothingThere(Text("there is no data", 1.0, steps_of(of)))
        pixels = pixels_of(of.things, data.shape) if isinstance(of, Objects) else of.pixels
        share = float((pixels & data).sum() / data.sum())
        return self._number("fraction", of, share, "share", self._extent(of))

    def filter(
        self,
        of: Objects,
        size: str | None = None,
        shape: str | None = None,
        larger_than_m2: float | None = None,
        smaller_than_m2: float | None = None,
    ) -> Objects:
        """Objects of a size (`SIZES`), of a shape (`graft.vqa.shapes`), and within bounds of area.

        Raises:
            Refused: sizes in an image without georeference.
        """
        given = {"size": size, "larger_than_m2": larger_than_m2, "smaller_than_m2": smaller_than_m2, "shape": shape}
        asked = [f"{name}={told(value)}" for name, value in given.items() if value is not None]
        if any(value is not None for value in (size, larger_than_m2, smaller_than_m2)):
            self._need_ground(f"The size of {of.concept} in square metres")
        least, limit = SIZES[size] if size is not None else (0.0, math.inf)
        kept = [
            thing
            for thing in of.things
            if least <= thing.area < limit
            and (larger_than_m2 is None or thing.area > larger_than_m2)
            and (smaller_than_m2 is None or thing.area < smaller_than_m2)
            and (shape is None or shape in shapes_of(thing, self.vision.grid))
        ]
        return self._chosen(of, kept, f"filter({', '.join([step_of(of), *asked])})")

    def where(self, of: Objects, relation: str, reference: Objects, metres: float | None = None) -> Objects:
        """Objects that stand in a relation (`graft.vqa.functions.RELATIONS`) to any of the reference but themselves.

        "touching" allows for the border that the vision leaves open: half a patch, the least size taken as six patches.

        Raises:
            Refused: metres or compass directions in an image without georeference; "within" without metres.
        """
        relate, figures = self._relations, dict[str, float]()
        if metres is not None:
            self._need_ground(f"What is {relation} {metres:g} m")
        if relation in COMPASS:
            self._need_ground(f"What is {relation} something")
        if relation in DIRECTIONS:
            kept = relate.beyond(of.things, relation, reference.things)
        elif relation == "inside":
            kept = relate.inside(of.things, reference.things)
        else:
            length = self._reach(relation) if metres is None else metres
            kept = relate.within(of.things, reference.things, length)
            figures = {self.vision.grid.length_unit: length}
        asked = [step_of(of), told(relation), step_of(reference)]
        asked += [] if metres is None else [f"metres={metres:g}"]
        return self._chosen(of, kept, f"where({', '.join(asked)})", reference, figures)

    def largest(self, of: Objects) -> Objects:
        """The largest of them."""
        return self._chosen(of, of.things[:1], f"largest({step_of(of)})")

    def smallest(self, of: Objects) -> Objects:
        """The smallest of them."""
        return self._chosen(of, of.things[-1:], f"smallest({step_of(of)})")

    def nearest(self, of: Objects, reference: Objects) -> Objects:
        """The one whose edge is nearest to that of any other of the reference; of several the largest."""
        gaps = self._relations.gaps(of.things, reference.things)
        best = int(gaps.argmin()) if len(gaps) else 0
        found = len(gaps) > 0 and math.isfinite(gaps[best])
        figures: dict[str, float] = {self.vision.grid.length_unit: float(gaps[best])} if found else {}
        step = f"nearest({step_of(of)}, {step_of(reference)})"
        return self._chosen(of, of.things[best : best + 1] if found else (), step, reference, figures)

    def distance(self, a: Objects, b: Objects) -> Number:
        """Shortest way between the edges of two different objects, m, or px without georeference; 0: they overlap.

        Raises:
            NothingThere: none of one kind, or no two different objects.
        """
        for objects in (a, b):
            if not objects.things:
                raise self._nothing(objects)
        gap = float(self._relations.gaps(a.things, b.things).min())
        sure, before, unit = min(self._sure(a), self._sure(b)), steps_of(a, b), self.vision.grid.length_unit
        if math.isinf(gap):
            raise NothingThere(Text(f"there is no other {b.concept}", sure, before))
        step = Evidence(f"distance({step_of(a)}, {step_of(b)})", a, {unit: gap})
        return Number(gap, unit, sure, merged(before, (step,)))

    def position(self, of: Mask | Objects) -> Text:
        """Which ninth of the image holds the centroid of the largest of it, see `graft.vqa.relations.place_of`.

        Raises:
            NothingThere: there is none of it.
        """
        objects = self._objects(of)
        if not objects.things:
            raise self._nothing(objects)
        first = objects.things[0]
        figures = {"row": first.centre[0], "column": first.centre[1]}
        step = Evidence(f"position({step_of(of)})", replace(objects, things=(first,)), figures)
        return Text(place_of(first, self.vision.grid), self._sure(objects), merged(steps_of(of), (step,)))

    def union(self, a: Mask, b: Mask) -> Mask:
        """What either covers."""
        return self._joined("union", a, b, f"{a.concept} or {b.concept}")

    def intersection(self, a: Mask, b: Mask) -> Mask:
        """What both cover."""
        return self._joined("intersection", a, b, f"{a.concept} and {b.concept}")

    def difference(self, a: Mask, b: Mask) -> Mask:
        """What the first covers and the second does not."""
        return self._joined("difference", a, b, f"{a.concept} without {b.concept}")

    def classify(self, options: Sequence[str]) -> Text:
        """The option that describes the whole image best; its score is the confidence."""
        scores = self.vision.classify(options)
        best = max(scores, key=lambda option: scores[option])
        step = f"classify([{', '.join(map(told, options))}])"
        return Text(best, scores[best], (Evidence(short(step), None, dict(scores)),))

    def score(self, concept: str) -> Number:
        """How like a concept the whole image is, 0..1."""
        value = self.vision.likeness(concept)
        step = Evidence(f"score({told(concept)})", None, {"score": value})
        return Number(value, "", abs(2 * value - 1), (step,))

    def rural_or_urban(self) -> Text:
        """Rural or urban, see `UrbanRule`."""
        rule = self.urban
        found = self.count(self.find(BUILDING)) if rule.kind == "count" else self.fraction(self.segment(BUILT))
        urban = self.compare(found, "more", Number(rule.value, found.unit, 1.0, ()))
        return Text("urban" if urban.value else "rural", urban.confidence, urban.evidence)

    def compare(self, a: Number, op: str, b: Number) -> Truth:
        """Whether a is less than, more than or equal to b."""
        holds = {"less": a.value < b.value, "more": a.value > b.value, "equal": a.value == b.value}[op]
        grid = self.vision.grid
        pixel = {grid.area_unit: grid.pixel_area, "share": 1 / (grid.height * grid.width)}.get(a.unit or b.unit, 0.0)
        sure = confidence.of_comparison(a, b, op, pixel * self.vision.least_px)
        step = Evidence(f"compare({a.value:g}, {told(op)}, {b.value:g})", None, {"a": a.value, "b": b.value})
        return Truth(holds, sure, merged(a.evidence, b.evidence, (step,)))

    def _objects(self, of: Mask | Objects) -> TracedObjects:
        """Objects as they are; the parts of a mask."""
        if isinstance(of, TracedObjects):
            return of
        found = of if isinstance(of, Objects) else find_objects(of, self.vision.grid, self.vision.least_px)
        likeness = [thing.likeness for thing in found.things]
        left = sum(likeness) / len(likeness) if likeness else None
        trail = replace(trail_of(of), before=steps_of(of), left=left)
        return TracedObjects(found.concept, found.things, found.mask, found.left_out, trail)

    def _chosen(
        self,
        of: Objects,
        kept: Sequence[Thing],
        step: str,
        reference: Objects | None = None,
        figures: Mapping[str, float] = MappingProxyType({}),
    ) -> Objects:
        """Some of the objects, with the step that chose them."""
        whole = self._objects(of)
        counted = {"count": float(len(kept)), "of": float(len(of.things)), **figures}
        before, others = steps_of(whole), whole.trail.others
        if reference is not None:
            before, others = steps_of(whole, reference), min(others, self._sure(reference))
        trail = Trail(short(step), before, MappingProxyType(counted), others, whole.trail.left)
        return replace(whole, things=tuple(kept), trail=trail)

    def _joined(self, how: Joining, a: Mask, b: Mask, concept: str) -> Mask:
        pixels, likeness = join_masks(how, a, b)
        step = short(f"{how}({step_of(a)}, {step_of(b)})")
        trail = Trail(step, steps_of(a, b), others=min(trail_of(a).others, trail_of(b).others))
        return TracedMask(short(concept), pixels, likeness, None, trail)

    def _number(self, name: str, of: Mask | Objects, value: float, unit: Unit, own: float) -> Number:
        step = Evidence(f"{name}({step_of(of)})", of, {unit or name: value})
        return Number(value, unit, min(own, trail_of(of).others), merged(steps_of(of), (step,)))

    def _extent(self, of: Mask | Objects) -> float:
        """How sure the extent of it is."""
        if isinstance(of, Mask):
            return confidence.of_mask(of, self.vision.data)
        return confidence.of_objects(of, by_area=True) if of.things else self._sure(of)

    def _sure(self, of: Objects) -> float:
        """That there is any of it, or that there is none."""
        objects = self._objects(of)
        trail = objects.trail
        if objects.things:
            return min(confidence.of_best(objects.things), trail.others)
        if trail.left is not None:  # chosen away, so as sure as those that were there
            return min(trail.left, trail.others)
        if objects.mask not in self._none:
            self._none[objects.mask] = confidence.of_none(objects.mask, self.vision.least_px)
        return min(self._none[objects.mask], trail.others)

    def _reach(self, relation: str) -> float:
        """Up to what distance a relation holds that was given none."""
        if relation == "next to":
            return self.next_to
        if relation == "touching":
            return math.sqrt(self.vision.least_px / 24 * self.vision.grid.pixel_area)
        raise Refused(f'"{relation}" was given no metres; expected e.g. metres=200. Say how far.')

    def _need_ground(self, what: str) -> None:
        if self.vision.grid.units == "pixels":
            raise Refused(
                f"{what} cannot be told in an image without georeference. Ask in terms of the image, such as largest, "
                "next to or left of, or assign a coordinate reference system with `rio edit-info --crs`."
            )

    def _nothing(self, of: Objects) -> NothingThere:
        such = "" if trail_of(of).left is None else "such "
        return NothingThere(Text(f"there is no {such}{of.concept}", self._sure(of), steps_of(of)))
