"""What programs compute with; every value carries the evidence that it rests on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Unit = Literal["", "m", "m2", "share", "px", "px2"]


@dataclass(frozen=True, eq=False)
class Mask:
    """Where a concept is.

    Attributes:
        concept: in words.
        pixels: bool [H, W] on the vision's grid.
        likeness: float16 [H, W], 0..1; None where the truth is known.
        threshold: margin from which a pixel counts, see `graft.vqa.scoring`; None where the truth is known.
    """

    concept: str
    pixels: npt.NDArray[np.bool_]
    likeness: npt.NDArray[np.float16] | None
    threshold: float | None


@dataclass(frozen=True, eq=False)
class Thing:
    """One object: a connected part of a mask (4 neighbours).

    Attributes:
        number: in the label image of its mask, from 1.
        box: first row, first column, one past the last row, one past the last column.
        pixels: bool [h, w] inside the box.
        centre: row and column of the centroid (pixel edges at integers).
        area: square units of the vision's grid.
        likeness: mean over its pixels, 0..1; 1 where the truth is known.
    """

    number: int
    box: tuple[int, int, int, int]
    pixels: npt.NDArray[np.bool_]
    centre: tuple[float, float]
    area: float
    likeness: float


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of a concept, after any filters.

    Attributes:
        concept: in words.
        things: largest first.
        mask: all that was segmented.
        left_out: what was dropped, by reason, e.g. {"smaller than 256 px2": 3}.
    """

    concept: str
    things: tuple[Thing, ...]
    mask: Mask
    left_out: dict[str, int]


@dataclass(frozen=True, eq=False)
class Evidence:
    """One step behind a value.

    Attributes:
        step: as a call, `find("forest")`.
        shown: the mask or objects, where the step has some.
        figures: numbers worth telling, e.g. {"count": 3.0}; options and scores of `classify`.
    """

    step: str
    shown: Mask | Objects | None
    figures: dict[str, float]


@dataclass(frozen=True, eq=False)
class Number:
    """A number with its unit."""

    value: float
    unit: Unit
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, eq=False)
class Truth:
    """Yes or no."""

    value: bool
    confidence: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, eq=False)
class Text:
    """A word: the best of some options, a place in the image."""

    value: str
    confidence: float
    evidence: tuple[Evidence, ...]


Value = Mask | Objects | Number | Truth | Text | tuple["Value", ...]
"""What an expression can have; a tuple is a list."""
