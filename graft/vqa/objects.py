"""From a mask to its objects: connected parts, measured on the ground."""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from graft.vqa.budget import tick
from graft.vqa.ground import GroundGrid
from graft.vqa.values import Mask, Objects, Thing

Joining = Literal["union", "intersection", "difference"]

MOST = 10_000
"""Objects of one mask; beyond them the smallest are left out, and counted."""


def find_objects(mask: Mask, grid: GroundGrid, least_px: int) -> Objects:
    """Connected parts of a mask (4 neighbours), largest first, of equal ones the upper left one first.

    Args:
        mask: on the grid.
        grid: says how large a pixel is.
        least_px: parts of fewer pixels are left out, and counted.
    """
    labels, found = ndimage.label(mask.pixels, output=np.int32)
    sizes = np.bincount(labels.ravel(), minlength=found + 1)
    tick()
    kept = 1 + np.flatnonzero(sizes[1:] >= least_px)
    largest = kept[np.argsort(-sizes[kept], kind="stable")]
    left_out = {f"smaller than {least_px} px2": found - len(kept), f"beyond {MOST:,} objects": len(kept[MOST:])}
    boxes = ndimage.find_objects(labels) if len(largest) else []
    things = []
    for number in largest[:MOST].tolist():
        tick()
        things.append(_thing(number, labels, boxes[number - 1], mask, grid))
    things.sort(key=lambda thing: -thing.area)
    return Objects(mask.concept, tuple(things), mask, {why: count for why, count in left_out.items() if count})


def pixels_of(things: Iterable[Thing], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels of some objects, bool [H, W]."""
    drawn = np.zeros(shape, np.bool_)
    for thing in things:
        drawn[slice_of(thing)] |= thing.pixels
    return drawn


def join_masks(how: Joining, a: Mask, b: Mask) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float16] | None]:
    """Pixels bool [H, W] and likeness float16 [H, W] of two masks as one.

    Likeness is the larger for a union, the lesser for an intersection, the lesser of a and not b for a difference; None
    where it is for either.
    """
    match how:
        case "union":
            pixels = a.pixels | b.pixels
        case "intersection":
            pixels = a.pixels & b.pixels
        case "difference":
            pixels = a.pixels & ~b.pixels
    if a.likeness is None or b.likeness is None:
        return pixels, None
    other = np.float16(1) - b.likeness if how == "difference" else b.likeness
    joined = np.maximum(a.likeness, other) if how == "union" else np.minimum(a.likeness, other)
    return pixels, joined


def slice_of(thing: Thing) -> tuple[slice, slice]:
    """The box of an object as an index."""
    top, left, bottom, right = thing.box
    return slice(top, bottom), slice(left, right)


def same(one: Thing, other: Thing) -> bool:
    """Whether two objects are one: they have the same pixels, under whatever name they were found."""
    return one is other or (one.box == other.box and np.array_equal(one.pixels, other.pixels))


def _thing(
    number: int, labels: npt.NDArray[np.int32], where: tuple[slice, slice], mask: Mask, grid: GroundGrid
) -> Thing:
    rows, columns = where
    box = (int(rows.start), int(columns.start), int(rows.stop), int(columns.stop))
    pixels = labels[where] == number
    down, across = pixels.sum(axis=1), pixels.sum(axis=0)
    centre = (_middle(down, box[0]), _middle(across, box[1]))
    likeness = 1.0 if mask.likeness is None else float(mask.likeness[where][pixels].mean(dtype=np.float64))
    return Thing(number, box, pixels, centre, grid.area(pixels, box), likeness)


def _middle(counts: npt.NDArray[np.int64], first: int) -> float:
    return first + float(((np.arange(len(counts)) + 0.5) * counts).sum() / counts.sum())
