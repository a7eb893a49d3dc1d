"""The vision functions that a program may call: one table for the checker, the interpreter, writers and the docs.

What a toolbox (`graft.vqa.interpreter.Toolbox`) gets for a parameter, by keyword; an omitted one is not passed:

    kind objects, mask        `Objects`, `Mask`
    kind number               `Number`; a `float` where the parameter has a unit (metres, square metres)
    kind text                 `str`
    kind list                 tuple of `str`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["mask", "objects", "number", "truth", "text", "list"]

SIZES = ("small", "medium", "large")
SHAPES = ("square", "rectangular", "circular")
COMPARISONS = ("less", "more", "equal")
RELATIONS = (
    "next to",
    "within",
    "touching",
    "inside",
    "north of",
    "south of",
    "east of",
    "west of",
    "top of",
    "bottom of",
    "left of",
    "right of",
)

BUILT, BUILDING = "built-up area", "building"
"""What tells urban from rural, see `graft.vqa.toolbox.UrbanRule`."""


@dataclass(frozen=True)
class Parameter:
    """What a function takes.

    Attributes:
        name: as keyword.
        kinds: of value, any of which fits.
        required: false: may be left out.
        meaning: a phrase.
        concept: a thing on the ground in words; a constant, so that all concepts of a program are known before it runs.
        choices: the words that it may be, a constant; empty: any.
        unit: of a number that is handed over as a `float`; a number without unit is taken in it.
    """

    name: str
    kinds: frozenset[Kind]
    required: bool
    meaning: str
    concept: bool = False
    choices: tuple[str, ...] = ()
    unit: Literal["", "m", "m2"] = ""


@dataclass(frozen=True)
class Function:
    """A vision function.

    Attributes:
        name: what programs call it; the toolbox's method has the same name.
        parameters: in order.
        gives: the kind of its value.
        meaning: a sentence.
        unit: of the number that it gives; "px" and "px2" stand for "m" and "m2" where the image has no georeference.
        looks_for: concepts that it looks for by itself.
    """

    name: str
    parameters: tuple[Parameter, ...]
    gives: Kind
    meaning: str
    unit: Literal["", "m", "m2", "share"] = ""
    looks_for: tuple[str, ...] = ()


def _given(name: str, kinds: str, meaning: str, required: bool = True) -> Parameter:
    known: dict[str, Kind] = {"mask": "mask", "objects": "objects", "number": "number"}
    return Parameter(name, frozenset(known[kind] for kind in kinds.split("|")), required, meaning)


def _word(name: str, choices: tuple[str, ...], meaning: str, required: bool = True) -> Parameter:
    return Parameter(name, frozenset({"text"}), required, meaning, choices=choices)


def _measure(name: str, unit: Literal["m", "m2"], meaning: str) -> Parameter:
    return Parameter(name, frozenset({"number"}), False, meaning, unit=unit)


_CONCEPT = Parameter("concept", frozenset({"text"}), True, "what to look for, a noun in the singular", concept=True)
_OPTIONS = Parameter("options", frozenset({"list"}), True, "two or more nouns", concept=True)
_OF = _given("of", "objects", "the objects")
_REFERENCE = _given("reference", "objects", "the objects to relate them to")
_ANY = _given("of", "mask|objects", "a mask or objects")
_PAIR = (_given("a", "mask", "one mask"), _given("b", "mask", "the other mask"))

_TABLE = (
    Function("segment", (_CONCEPT,), "mask", "Where in the image the concept is."),
    Function("find", (_CONCEPT,), "objects", "The objects of the concept: connected parts of its mask."),
    Function("exists", (_ANY,), "truth", "Whether there is any of it."),
    Function("count", (_OF,), "number", "How many objects there are."),
    Function("area", (_ANY,), "number", "The ground that it covers, in square metres.", "m2"),
    Function("fraction", (_ANY,), "number", "The share of the image that it covers, 0 to 1.", "share"),
    Function(
        "filter",
        (
            _OF,
            _word("size", SIZES, "small: under 100 square metres, medium: 100 to 500, large: from 500", False),
            _word("shape", SHAPES, "shape of the outline", False),
            _measure("larger_than_m2", "m2", "keep what is larger, in square metres"),
            _measure("smaller_than_m2", "m2", "keep what is smaller, in square metres"),
        ),
        "objects",
        "Those objects that fit every criterion given.",
    ),
    Function(
        "where",
        (
            _OF,
            _word("relation", RELATIONS, "how they stand to the reference"),
            _REFERENCE,
            _measure("metres", "m", 'distance: required for "within", may be given for "next to" alone'),
        ),
        "objects",
        "Those objects that stand in the relation to any of the reference (never to themselves): "
        '"within" by edges, "north of" … by true north and centroids, "top of" … by the image\'s axes: wholly '
        "beyond the centre.",
    ),
    Function("largest", (_OF,), "objects", "The largest of them; none of none."),
    Function("smallest", (_OF,), "objects", "The smallest of them; none of none."),
    Function("nearest", (_OF, _REFERENCE), "objects", "The one nearest to any of the reference; none of none."),
    Function(
        "distance",
        (_given("a", "objects", "objects"), _given("b", "objects", "other objects")),
        "number",
        "The shortest way between their edges, in metres.",
        "m",
    ),
    Function("position", (_ANY,), "text", 'Where in the image the largest part lies: "north-west", … or "centre".'),
    Function("union", _PAIR, "mask", "What either covers."),
    Function("intersection", _PAIR, "mask", "What both cover."),
    Function("difference", _PAIR, "mask", "What the first covers and the second does not."),
    Function("classify", (_OPTIONS,), "text", "Which of the options describes the whole image best."),
    Function("score", (_CONCEPT,), "number", "How much the whole image is like the concept, 0 to 1."),
    Function("rural_or_urban", (), "text", '"rural" or "urban".', looks_for=(BUILT, BUILDING)),
    Function(
        "compare",
        (
            _given("a", "number", "a number"),
            _word("op", COMPARISONS, "what a shall be, against b"),
            _given("b", "number", "another number of the same unit"),
        ),
        "truth",
        "Whether a is less than, more than or equal to b.",
    ),
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({function.name: function for function in _TABLE})
"""Every function by name, in the order in which they are best learnt."""
