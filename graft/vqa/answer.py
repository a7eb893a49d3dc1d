"""An answer with all that it rests on, and how it is put in words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from graft.vqa.tree import Program
from graft.vqa.values import Evidence, Mask, Number, Objects, Text, Truth, Unit, Value
from graft.vqa.written import Written

_MOST_LISTED = 5
_CONFIDENCE = ((0.9, "high"), (0.75, "good"), (0.6, "fair"))
_ACRES = 1e4, 1e6
"""Square metres from which an area is told in hectares, and in square kilometres."""


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one question about one image.

    Attributes:
        question: as it was asked; the program itself where a program was given.
        answer: in words: "yes", "12", "3.4 ha", "2 lakes (1.2 ha, 0.4 ha)".
        type: presence, count, comp, area, rural_urban, share, distance, place, classify or objects.
        value: bool, number, word, or a list of them; the number of objects, the share (0..1) of a mask.
        unit: of the value: "", "m", "m2", "share", "px" or "px2".
        confidence: 0..1.
        program: what was run.
        writer: who wrote it.
        evidence: the steps behind the answer, in order.
        notes: what the reader must know, a sentence each.
    """

    question: str
    answer: str
    type: str
    value: "Plain"
    unit: Unit
    confidence: float
    program: Program
    writer: str
    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...] = ()


Plain = bool | float | str | list["Plain"]
"""A value as JSON holds it."""


def make_answer(
    question: str,
    written: Written,
    value: Value,
    *,
    area_unit: Unit,
    measured: Sequence[Number] = (),
    notes: tuple[str, ...] = (),
) -> Answer:
    """Put what a program gave into words.

    Args:
        question: as it was asked.
        written: its program.
        value: what `graft.vqa.interpreter.run` gave.
        area_unit: m2 or px2, of the areas of objects.
        measured: of objects their count, of a mask its area and its share of the image, as the toolbox measures them;
            they carry the steps behind a value that is no number, truth or text.
        notes: what the reader must know.
    """
    plain, unit = plain_value(value)
    words = phrase(value, area_unit)
    if isinstance(value, Mask) and measured:
        plain, unit = measured[-1].value, measured[-1].unit
        words = f"{value.concept}: {', '.join(quantity(each.value, each.unit) for each in measured)} of the image"
    steps = dict.fromkeys(step for each in (measured or (value,)) for step in evidence_of(each))
    return Answer(
        question=question,
        answer=words,
        type=written.type,
        value=plain,
        unit=unit,
        confidence=min(map(confidence_of, measured)) if measured else confidence_of(value),
        program=written.program,
        writer=written.writer,
        evidence=tuple(steps),
        notes=(*_left_out(steps), *notes),
    )


def plain_value(value: Value) -> tuple[Plain, Unit]:
    """A value as JSON holds it, and its unit: the count of objects, the share of pixels of a mask."""
    match value:
        case Number():
            return int(value.value) if value.value.is_integer() and not value.unit else value.value, value.unit
        case Truth() | Text():
            return value.value, ""
        case Objects():
            return len(value.things), ""
        case Mask():
            return float(value.pixels.mean()) if value.pixels.size else 0.0, "share"
        case _:
            return [plain_value(item)[0] for item in value], ""


def phrase(value: Value, area_unit: Unit) -> str:
    """A value in words: "yes", "12", "3.4 ha", "41 %", "2 lakes (1.2 ha, 0.4 ha)"."""
    match value:
        case Number():
            return quantity(value.value, value.unit)
        case Truth():
            return "yes" if value.value else "no"
        case Text():
            return value.value
        case Objects():
            return _objects(value, area_unit)
        case Mask():
            share = float(value.pixels.mean()) if value.pixels.size else 0.0
            return f"{value.concept}: {quantity(share, 'share')} of the image"
        case _:
            return ", ".join(phrase(item, area_unit) for item in value) or "nothing"


def quantity(value: float, unit: Unit) -> str:
    """A number with its unit, rounded to what a reader needs."""
    match unit:
        case "share":
            return "less than 0.1 %" if 0 < value < 0.001 else f"{_digits(100 * value)} %"
        case "m":
            return f"{_digits(value / 1000)} km" if value >= 1000 else f"{_digits(value)} m"
        case "m2":
            hectares, kilometres = _ACRES
            if value >= kilometres:
                return f"{_digits(value / 1e6)} km²"
            return f"{_digits(value / 1e4)} ha" if value >= hectares else f"{_digits(value)} m²"
        case "px" | "px2":
            return f"{_digits(value)} {'pixels' if unit == 'px' else 'square pixels'}"
        case _:
            return f"{value:,.0f}" if float(value).is_integer() else _digits(value)


def confidence_of(value: Value) -> float:
    """0..1; of objects and masks the mean likeness of what is shown, of a list the least."""
    match value:
        case Number() | Truth() | Text():
            return value.confidence
        case Objects():
            total = sum(thing.area for thing in value.things)
            return sum(thing.area * thing.likeness for thing in value.things) / total if total else 1.0
        case Mask():
            if value.likeness is None or not value.pixels.any():
                return 1.0
            return float(value.likeness[value.pixels].mean(dtype="float64"))
        case _:
            return min(map(confidence_of, value), default=1.0)


def confidence_word(confidence: float) -> str:
    """High from 0.9 on, good from 0.75, fair from 0.6, else low."""
    return next((word for least, word in _CONFIDENCE if confidence >= least), "low")


def evidence_of(value: Value) -> tuple[Evidence, ...]:
    """The steps behind a value, each once, in order."""
    match value:
        case Number() | Truth() | Text():
            found: Sequence[Evidence] = value.evidence
        case Objects():
            found = (Evidence(value.concept, value, {"count": float(len(value.things))}),)
        case Mask():
            found = (Evidence(value.concept, value, {}),)
        case _:
            found = [step for item in value for step in evidence_of(item)]
    return tuple({id(step): step for step in found}.values())


def _left_out(evidence: Iterable[Evidence]) -> Iterator[str]:
    """A sentence for each concept of which objects were left out."""
    told = {}
    for step in evidence:
        if isinstance(step.shown, Objects):
            told[step.shown.concept] = {reason: number for reason, number in step.shown.left_out.items() if number}
    for concept, reasons in told.items():
        if reasons:
            listed = ", ".join(f"{number:,} {reason.replace(' px2', ' pixels')}" for reason, number in reasons.items())
            yield f"Left out of {concept}: {listed}."


def _objects(value: Objects, area_unit: Unit) -> str:
    number = len(value.things)
    if not number:
        return f"no {value.concept}"
    sizes = [quantity(thing.area, area_unit) for thing in value.things[:_MOST_LISTED]]
    more = number - len(sizes)
    named = value.concept if number == 1 else _plural(value.concept)
    return f"{number:,} {named} ({', '.join(sizes)}{f' and {more:,} more' if more else ''})"


@cache
def _plural(concept: str) -> str:
    import inflect

    try:
        return str(inflect.engine().plural_noun(concept))
    except Exception:  # its patterns fail on odd text, which is no word of ours
        return concept


def _digits(value: float) -> str:
    """Three digits that count, whole from 100 on, without a tail of zeros."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.{1 if abs(value) >= 10 else 2}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
