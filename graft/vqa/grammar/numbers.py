"""Numbers, shares, lengths and areas in words, and the bounds that questions set with them.

The patterns have no groups, so that they fit into longer ones; the functions read what they match.
"""

import re
from typing import Literal

from graft.vqa.tree import Constant, Expression, Operation, call
from graft.vqa.tree import Literal as Plain

_VALUES = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9},
    **{"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16},
    **{"seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50},
    **{"sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90},
}
_FACTORS = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000}
_PARTS = {
    **{"half": 0.5, "third": 1 / 3, "quarter": 0.25, "fifth": 0.2, "tenth": 0.1},
    **{"thirds": 1 / 3, "quarters": 0.25, "fifths": 0.2, "tenths": 0.1},
}
_METRES = {
    r"km|kilomet(?:er|re)s?": 1000,
    r"miles?|mi": 1609.344,
    r"yards?|yd": 0.9144,
    r"feet|foot|ft": 0.3048,
    r"met(?:er|re)s?|m": 1,
}
_SQUARE_METRES = {
    r"hectares?|ha": 10_000,
    r"acres?": 4046.8564224,
    r"(?:sq\.? ?|square )(?:km|kilomet(?:er|re)s?)|km2|km\^2": 1_000_000,
    r"(?:sq\.? ?|square )(?:miles?|mi)|mi2": 2_589_988.110336,
    r"(?:sq\.? ?|square )(?:feet|foot|ft)|ft2": 0.09290304,
    r"(?:sq\.? ?|square )(?:met(?:er|re)s?|m)|m2|m\^2|sqm": 1,
}


def _any(words: object) -> str:
    return "(?:" + "|".join(sorted(map(str, words), key=len, reverse=True)) + ")"  # type: ignore[call-overload]


_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_WORD = _any([*_VALUES, *_FACTORS])
_IN_WORDS = rf"(?:an? (?={_any(_FACTORS)}\b))?{_WORD}(?:[ -](?:and )?{_WORD})*"

NUMBER = rf"(?:{_DIGITS}|{_IN_WORDS})\b"
"""A number of things: `12`, `1,000`, `twenty-five`, `a dozen`."""
SHARE = rf"(?:(?:{_DIGITS}|{_IN_WORDS}) ?(?:%|percent\b|per cent\b)|(?:(?:an?|one|two|three|four) )?{_any(_PARTS)}\b)"
"""A part of the whole: `20 %`, `five percent`, `half`, `two thirds`."""
AREA_UNIT = rf"(?:{'|'.join(_SQUARE_METRES)})(?!\w)"
"""Of an area."""
LENGTH_UNIT = rf"(?:{'|'.join(_METRES)})(?![\w^])"
"""Of a length."""
_MUCH = rf"(?:{_DIGITS} ?|{_IN_WORDS} |half an? |an? )"
LENGTH = rf"{_MUCH}{LENGTH_UNIT}"
"""`200 m`, `half a kilometre`, `300 feet`, `2 miles`."""
AREA = rf"{_MUCH}{AREA_UNIT}"
"""`3 ha`, `one square kilometre`, `5 acres`, `1000 m2`."""

Bound = Literal["less", "more", "equal", ">=", "<="]
_BOUNDS: dict[Bound, str] = {
    ">=": r"at least|no less than|not less than|no fewer than|a minimum of|minimum",
    "<=": r"at most|no more than|not more than|up to|a maximum of|maximum",
    "less": r"(?:less|fewer|smaller|lower) than|under|below",
    "more": r"(?:more|greater|larger|bigger|higher) than|over|above|exceeding|in excess of|upwards of",
    "equal": r"exactly|precisely|equal to",
}
BOUND = rf"(?:{'|'.join(_BOUNDS.values())})\b"
"""`more than`, `at least`, `exactly`, …"""


def number(text: str) -> float | int:
    """The value of what `NUMBER` matched."""
    if text[0].isdigit():
        return _short(float(text.replace(",", "")))
    total = part = 0
    for word in re.split(r"[ -]", text):
        if word in _VALUES:
            part += _VALUES[word]
        elif word in _FACTORS:
            part = max(part, 1) * _FACTORS[word]
            if _FACTORS[word] >= 1000:
                total, part = total + part, 0
    return total + part


def share(text: str) -> float | int:
    """The value, 0 to 1, of what `SHARE` matched."""
    words = text.split()
    if words[-1] in _PARTS:
        return _short(_PARTS[words[-1]] * (_VALUES.get(words[0], 1) if len(words) > 1 else 1))
    return _short(1e-2 * number(re.sub(r" ?(?:%|percent|per cent)$", "", text)))


def metres(text: str) -> float | int:
    """The length of what `LENGTH` matched."""
    return _measure(text, _METRES)


def square_metres(text: str) -> float | int:
    """The area of what `AREA` matched."""
    return _measure(text, _SQUARE_METRES)


def bound(text: str) -> Bound:
    """What `BOUND` matched."""
    return next(kind for kind, words in _BOUNDS.items() if re.fullmatch(words, text))


def compared(value: Expression, kind: Bound, limit: Expression | Constant) -> Expression:
    """`value` held against a limit."""
    if kind in (">=", "<="):
        return Operation(kind, (value, Plain(limit) if isinstance(limit, int | float | str) else limit))
    return call("compare", a=value, op=kind, b=limit)


def _measure(text: str, units: dict[str, float]) -> float | int:
    unit = max((m for u in units if (m := re.search(rf"(?:{u})$", text))), key=lambda m: len(m.group()))
    factor = next(value for u, value in units.items() if re.fullmatch(u, unit.group()))
    amount = text[: unit.start()].strip()
    if amount in ("a", "an"):
        return _short(factor)
    return _short((0.5 if amount in ("half a", "half an") else number(amount)) * factor)


def _short(value: float) -> float | int:
    """Without the noise of unit factors; whole where it is."""
    value = round(float(value), 9)
    return int(value) if value.is_integer() else value
