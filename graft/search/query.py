"""A query: words and photos with weights, and the one vector that they make."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from graft.errors import GraftError

NOT_WEIGHT = 0.5
"""What words under `--not` weigh where no number is given. Text vectors of one CLIP lie close together, so that a whole
one taken away from another would leave little but noise."""

_SHORTEST = 1e-3
"""A mix shorter than this has parts that cancel out; its direction is rounding."""

WEIGHTS = (0.001, 1000.0)
"""The smallest and the largest: beyond them a mix is one of its parts."""

PartKind = Literal["words", "photo"]


@dataclass(frozen=True)
class Wish:
    """A part of a query before it is a vector.

    Attributes:
        kind: words or a photo.
        text: the words, or the photo's path.
        weight: what it weighs in the mix; below zero where it is taken away.
    """

    kind: PartKind
    text: str
    weight: float

    def __str__(self) -> str:
        shown = f'"{self.text}"' if self.kind == "words" else f"photo {Path(self.text).name}"
        usual = NOT_WEIGHT if self.weight < 0 else 1.0
        number = "" if abs(self.weight) == usual else f" ({abs(self.weight):g})"
        return f"{'not ' if self.weight < 0 else ''}{shown}{number}"


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes:
        wishes: P parts in the order given, those taken away last.
        parts: float32 [P, D] of unit length, the vector of each.
        vector: float32 [D] of unit length; tiles are ranked by their cosine with it.
    """

    wishes: tuple[Wish, ...]
    parts: Tensor
    vector: Tensor

    def __str__(self) -> str:
        return ", ".join(map(str, self.wishes))

    @property
    def photos(self) -> tuple[Path, ...]:
        """Files of the photos that it is made of."""
        return tuple(Path(wish.text) for wish in self.wishes if wish.kind == "photo")


def read_wishes(words: str, unwanted: Sequence[str] = (), photos: Sequence[str] = ()) -> tuple[Wish, ...]:
    """The parts of a query out of what the command line gives.

    Args:
        words: "wind turbines", or a mix "wind turbines=2; grassland": `;` separates, `=number` weighs, else 1.
        unwanted: words of the same form that are taken away; they weigh `NOT_WEIGHT` each where no number is given.
        photos: paths; `photo.jpg=0.5` weighs, else 1.

    Raises:
        GraftError: nothing to search for, or a weight that is no number within `WEIGHTS`.
    """
    wishes = [Wish("words", *_weighed(part, 1.0)) for part in _separate(words)]
    wishes += [Wish("photo", *((photo, 1.0) if _is_file(photo) else _weighed(photo, 1.0))) for photo in photos]
    if not wishes:
        only = " besides what is unwanted" if unwanted else ""
        raise GraftError(
            f'Nothing to search for{only}: expected words such as "wind turbines", or --photo with a picture.'
        )
    for part in (part for text in unwanted for part in _separate(text)):
        text, weight = _weighed(part, NOT_WEIGHT)
        wishes.append(Wish("words", text, -weight))
    return tuple(wishes)


def mix(wishes: Sequence[Wish], vectors: Tensor) -> Query:
    """The query of wishes and their vectors: v = sum_i w_i v_i, brought to unit length.

    Args:
        wishes: P parts.
        vectors: float32 [P, D] of unit length.

    Raises:
        GraftError: the parts cancel out.
    """
    weights = torch.tensor([wish.weight for wish in wishes], dtype=torch.float32, device=vectors.device)
    summed = weights @ vectors
    if float(summed.norm()) < _SHORTEST * float(weights.abs().sum()):
        raise GraftError(
            f"The parts of the query cancel out ({', '.join(map(str, wishes))}). Take away something else, or weigh it "
            'less: --not "grassland=0.3".'
        )
    return Query(tuple(wishes), vectors.cpu(), functional.normalize(summed, dim=-1).cpu())


def _separate(text: str) -> list[str]:
    return [folded for part in text.split(";") if (folded := " ".join(part.split()))]


def _weighed(text: str, usual: float) -> tuple[str, float]:
    """`words=2` as words and weight; `words` alone weighs `usual`."""
    words, sign, number = text.rpartition("=")
    if not sign:
        return text, usual
    words = words.strip()
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    least, most = WEIGHTS
    if not (words and least <= weight <= most):
        raise GraftError(
            f"The weight in {text[:100]!r} is {number[:100]!r}; expected a number from {least:g} to {most:g}, such as "
            '"wind turbines=2".'
        )
    return words, weight


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # too long for a name
        return False
