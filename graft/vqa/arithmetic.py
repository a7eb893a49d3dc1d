"""Arithmetic with numbers that carry a unit and evidence."""

import operator
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from graft.vqa.limits import WHOLE
from graft.vqa.operators import unit_of
from graft.vqa.refusal import Refused
from graft.vqa.values import Evidence, Number

EVIDENCE = 64
"""Steps that one value keeps."""
FURTHER = Evidence("further steps, which were not kept", None, {})

_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {
        "+": operator.add,
        "-": operator.sub,
        "*": operator.mul,
        "/": operator.truediv,
        "//": operator.floordiv,
        "%": operator.mod,
    }
)


def merged(*parts: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Evidence of several values in order, each step once; the last of `EVIDENCE` may say that there are more."""
    steps = {(each.step, tuple(sorted(each.figures.items()))): each for part in parts for each in part}
    kept = tuple(steps.values())
    if len(kept) <= EVIDENCE:
        return kept
    return (*[each for each in kept if each.step != FURTHER.step][: EVIDENCE - 1], FURTHER)


def calculated(where: str, symbol: str, a: Number, b: Number) -> Number:
    """`a + b` and the like: confidence is the lesser, evidence that of both.

    Raises:
        Refused: units that do not go together; division by zero; a result that reaches 2**53.
    """
    if symbol in ("+", "-", "%"):
        check_pixels(where, a, b)
    unit = unit_of(where, symbol, a.unit, b.unit)
    try:
        value = _ARITHMETIC[symbol](a.value, b.value)
    except ZeroDivisionError as error:
        raise Refused(f"{where}: a division by zero. Ask whether there is any before dividing.") from error
    if not abs(value) < WHOLE:
        raise Refused(f"{where}: {symbol} gives a number that is not below 2**53 in size. Use smaller ones.")
    return Number(value, unit, min(a.confidence, b.confidence), merged(a.evidence, b.evidence))


def check_comparable(where: str, a: Number, b: Number) -> None:
    """Refuse two numbers whose units cannot be held against each other."""
    check_pixels(where, a, b)
    unit_of(where, "==", a.unit, b.unit)


def check_pixels(where: str, a: Number, b: Number) -> None:
    """Refuse a plain number beside pixels: it was meant in metres, and the image does not say how large a pixel is."""
    for one, other in ((a, b), (b, a)):
        if one.unit in ("px", "px2") and other.unit == "" and other.value != 0:
            raise Refused(
                f"{where}: {other.value:g} metres or square metres cannot be told in an image without georeference. "
                "Ask for a comparison of two things in the image, or give an image with a CRS."
            )
