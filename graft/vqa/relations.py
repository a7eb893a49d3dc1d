"""How objects stand to each other: distances of edges, directions, one inside the other.

Edges are the corners of boundary pixels, so objects that share a border or a corner are 0 apart. Distances are straight
ones in the plane of the grid (`GroundGrid.plane`). No object stands in a relation to itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from graft.vqa.budget import tick
from graft.vqa.ground import Floats, GroundGrid
from graft.vqa.objects import same, slice_of
from graft.vqa.values import Thing

INSIDE = 0.5
"""Share of an object that must lie within the filled outline of another to be inside."""

_CHUNK = 50_000

_COMPASS: dict[str, Callable[[Floats], Floats]] = {
    "north of": lambda plane: plane[:, 1],
    "south of": lambda plane: -plane[:, 1],
    "east of": lambda plane: plane[:, 0],
    "west of": lambda plane: -plane[:, 0],
}
_IMAGE: dict[str, tuple[int, int]] = {"top of": (-1, 0), "bottom of": (1, 0), "left of": (-1, 1), "right of": (1, 1)}
"""Sign and axis (rows, columns) of what lies farther."""
COMPASS = tuple(_COMPASS)
DIRECTIONS = frozenset((*_COMPASS, *_IMAGE))


class Relations:
    """Relations between objects on one grid; edges of objects are kept as long as these."""

    def __init__(self, grid: GroundGrid) -> None:
        """Start without any.

        Args:
            grid: where all objects lie.
        """
        self._grid = grid
        self._edges: WeakKeyDictionary[Thing, _Edge] = WeakKeyDictionary()

    @property
    def held_bytes(self) -> int:
        """Of the edges."""
        return sum(2 * edge.points.nbytes for edge in self._edges.values())

    def beyond(self, of: Sequence[Thing], relation: str, reference: Sequence[Thing]) -> list[Thing]:
        """Objects that lie farther in a direction (`DIRECTIONS`) than any of the reference.

        By the compass centroids are compared. By the image's axes the whole of an object must lie beyond the centre of
        the other's box, as in RSVQA (`ConstructQuestions.py`).
        """
        if not of or not reference:
            return []
        if relation in _COMPASS:
            reach, limit = (_COMPASS[relation](self._grid.plane(_centres(things))) for things in (of, reference))
        else:
            sign, axis = _IMAGE[relation]
            boxes, others = (np.array([thing.box for thing in things], float) for things in (of, reference))
            reach = np.minimum(sign * boxes[:, axis], sign * boxes[:, axis + 2])
            limit = sign * (others[:, axis] + others[:, axis + 2]) / 2
        return [thing for thing, place in zip(of, reach, strict=True) if place > limit.min()]

    def within(self, of: Sequence[Thing], reference: Sequence[Thing], length: float) -> list[Thing]:
        """Objects whose edge is at most a length from that of any other of the reference."""
        return [thing for thing, gap in zip(of, self.gaps(of, reference, length), strict=True) if gap <= length]

    def inside(self, of: Sequence[Thing], reference: Sequence[Thing]) -> list[Thing]:
        """Objects of which at least half lies within the filled outline of any other of the reference."""
        boxes = np.array([thing.box for thing in reference]).reshape(-1, 4)
        kept = []
        for thing in of:
            tick()
            top, left, bottom, right = thing.box
            meet = (boxes[:, 0] < bottom) & (boxes[:, 2] > top) & (boxes[:, 1] < right) & (boxes[:, 3] > left)
            least = INSIDE * int(thing.pixels.sum())
            if any(
                self._covered(thing, reference[number]) >= least and not same(thing, reference[number])
                for number in np.flatnonzero(meet).tolist()
            ):
                kept.append(thing)
        return kept

    def gaps(self, of: Sequence[Thing], reference: Sequence[Thing], enough: float = 0.0) -> Floats:
        """Shortest distance from the edge of each object to that of any other of the reference; 0 where they overlap.

        Args:
            of: objects.
            reference: others, disjoint.
            enough: a distance at which the search for a shorter one may stop.

        Returns:
            float64 [len(of)]; infinity where there is no other.
        """
        found = np.full(len(of), np.inf)
        if not of or not reference:
            return found
        edges = [self._edge(thing) for thing in reference]
        lows, highs = np.array([edge.low for edge in edges]), np.array([edge.high for edge in edges])
        owner = _painted(reference)
        for number, thing in enumerate(of):
            tick()
            edge = self._edge(thing)
            if any(not same(thing, reference[other]) for other in owner.under(thing)):
                found[number] = 0.0
                continue
            apart = np.hypot(*np.maximum(np.maximum(lows - edge.high, edge.low - highs), 0).T)
            for other in np.argsort(apart, kind="stable").tolist():
                if apart[other] >= found[number] or found[number] <= enough:
                    break
                if not same(thing, reference[other]):
                    found[number] = _gap(edge, edges[other], found[number])
        return found

    def _edge(self, thing: Thing) -> "_Edge":
        if thing not in self._edges:
            self._edges[thing] = _Edge(self._grid.plane(_corners(thing)))
        return self._edges[thing]

    def _covered(self, thing: Thing, other: Thing) -> int:
        """Pixels of an object within the filled outline of another."""
        top, left = max(thing.box[0], other.box[0]), max(thing.box[1], other.box[1])
        bottom, right = min(thing.box[2], other.box[2]), min(thing.box[3], other.box[3])
        filled = ndimage.binary_fill_holes(other.pixels)
        one, two = (
            pixels[top - box[0] : bottom - box[0], left - box[1] : right - box[1]]
            for pixels, box in ((thing.pixels, thing.box), (filled, other.box))
        )
        return int((one & two).sum())


def place_of(thing: Thing, grid: GroundGrid) -> str:
    """Which ninth of the image holds the centroid of an object.

    Ninths of the image's bounding box on the ground, north up: "north", "south-east", … or "centre"; of the image
    itself where it has no georeference: "top", "bottom right", … or "centre".
    """
    down, across = grid.height, grid.width
    corners = grid.plane(np.array([[0, 0], [0, across], [down, 0], [down, across]], np.float64))
    low, high = corners.min(axis=0), corners.max(axis=0)
    right, up = (3 * (grid.plane(_centres([thing]))[0] - low) / (high - low)).astype(int).clip(0, 2)
    if grid.units == "pixels":
        words, joint = (("bottom", "", "top")[up], ("left", "", "right")[right]), " "
    else:
        words, joint = (("south", "", "north")[up], ("west", "", "east")[right]), "-"
    return joint.join(word for word in words if word) or "centre"


@dataclass(frozen=True, eq=False)
class _Edge:
    """Corners of the boundary of an object on the plane, float64 [N, 2]."""

    points: Floats

    @cached_property
    def low(self) -> Floats:
        found: Floats = self.points.min(axis=0)
        return found

    @cached_property
    def high(self) -> Floats:
        found: Floats = self.points.max(axis=0)
        return found

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.points)


@dataclass(frozen=True, eq=False)
class _Painted:
    """Which of some disjoint objects owns a pixel: index from 1 in a crop of the grid, int32 [h, w]."""

    owner: npt.NDArray[np.int32]
    corner: tuple[int, int]

    def under(self, thing: Thing) -> Iterator[int]:
        """Indices from 0 of the objects that an object overlaps."""
        (top, left), (height, width) = self.corner, self.owner.shape
        first, last = max(thing.box[0], top), min(thing.box[2], top + height)
        begin, end = max(thing.box[1], left), min(thing.box[3], left + width)
        if first >= last or begin >= end:
            return
        owner = self.owner[first - top : last - top, begin - left : end - left]
        pixels = thing.pixels[first - thing.box[0] : last - thing.box[0], begin - thing.box[1] : end - thing.box[1]]
        for number in np.unique(owner[pixels]):
            if number:
                yield int(number) - 1


def _painted(things: Sequence[Thing]) -> _Painted:
    boxes = np.array([thing.box for thing in things])
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    owner: npt.NDArray[np.int32] = np.zeros((bottom - top, right - left), np.int32)
    for number, thing in enumerate(things, start=1):
        rows, columns = slice_of(thing)
        crop = owner[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        crop[thing.pixels] = number
    return _Painted(owner, (top, left))


def _gap(one: _Edge, other: _Edge, bound: float) -> float:
    """Shortest distance of two edges, or the bound if that is shorter; the smaller set looks the larger up."""
    few, many = (one, other) if len(one.points) <= len(other.points) else (other, one)
    for first in range(0, len(few.points), _CHUNK):
        tick()
        distances, _ = many.tree.query(few.points[first : first + _CHUNK], distance_upper_bound=bound)
        bound = min(bound, float(distances.min()))
    return bound


def _corners(thing: Thing) -> Floats:
    """Corners of pixels [N, 2] (row, column) at which an object meets what is not of it."""
    around = np.pad(thing.pixels, 1).astype(np.uint8)
    touching = around[:-1, :-1] + around[1:, :-1] + around[:-1, 1:] + around[1:, 1:]
    rows, columns = np.nonzero((touching > 0) & (touching < 4))
    return np.stack([rows + thing.box[0], columns + thing.box[1]], axis=1).astype(np.float64)


def _centres(things: Sequence[Thing]) -> Floats:
    return np.array([thing.centre for thing in things], np.float64)
