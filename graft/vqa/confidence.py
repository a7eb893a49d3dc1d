"""How sure an answer is, 0..1, from the likeness p of pixels and objects; 1 where the truth is known.

    there is some      the likeness of the most likely object (its mean p)
    there is none      1 - the highest mean p of any window of the least size that counts, at least 0.5
    a count            mean of |2 p - 1| over the objects; of none: as "there is none"
    an area, a share   mean of |2 p - 1| over the pixels with data; of objects: over the objects, weighed by their area
    a < b, a > b       half at a tie; 1 where |a - b| reaches the doubt, ((1 - c_a) + (1 - c_b)) max(|a|, |b|);
                       for areas and shares at least the smallest object that counts
    a = b              the lesser of c_a and c_b, at least 0.5

A step that rests on others is no surer than the least sure of them.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from graft.vqa.values import Mask, Number, Objects, Thing


def of_mask(mask: Mask, data: npt.NDArray[np.bool_]) -> float:
    """That the pixels of a mask are right."""
    if mask.likeness is None or not data.any():
        return 1.0
    return float(np.abs(2 * mask.likeness[data].astype(np.float32) - 1).mean(dtype=np.float64))


def of_best(things: tuple[Thing, ...]) -> float:
    """That there is any of some objects, one or more."""
    return max(thing.likeness for thing in things)


def of_none(mask: Mask, least_px: int) -> float:
    """That a mask has no object."""
    if mask.likeness is None:
        return 1.0
    side = max(round(math.sqrt(least_px)), 1)
    means = ndimage.uniform_filter(mask.likeness.astype(np.float32), side, mode="constant")
    return max(1 - float(means.max(initial=0.0)), 0.5)


def of_objects(objects: Objects, *, by_area: bool) -> float:
    """That some objects, one or more, are all there and no others; or that their area is right."""
    if objects.mask.likeness is None:
        return 1.0
    decided = [abs(2 * thing.likeness - 1) for thing in objects.things]
    weights = [thing.area if by_area else 1.0 for thing in objects.things]
    return float(np.average(decided, weights=weights))


def of_comparison(a: Number, b: Number, op: str, least: float = 0.0) -> float:
    """That two numbers compare as they seem to; `least` is the smallest difference that can be seen."""
    if op == "equal" or a.value == b.value:
        return max(min(a.confidence, b.confidence), 0.5)
    unsure = 2 - a.confidence - b.confidence
    doubt = max(unsure * max(abs(a.value), abs(b.value)), least if unsure > 0 else 0.0)
    apart = abs(a.value - b.value)
    return 1.0 if apart >= doubt else 0.5 + 0.5 * apart / doubt
