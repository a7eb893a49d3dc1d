"""Everyday questions about an image in English, read by rules.

A noun is the vocabulary's, or up to five words of the question's own. What a form does not take up whole is not read:
a question about last year, about people or about prices is left to a language model or refused.
"""

import re

from graft.vqa.grammar import amounts, places, yes_no
from graft.vqa.grammar.nearest import nearest_forms
from graft.vqa.grammar.noun_phrase import PhraseReader
from graft.vqa.grammar.numbers import AREA_UNIT, LENGTH_UNIT
from graft.vqa.grammar.reading import HERE, Meaning, Rule, first
from graft.vqa.grammar.words import Nouns, Vocabulary
from graft.vqa.tree import Call, Expression, For, If, Let, Literal, Name, Operation, Program, Return, answer, call
from graft.vqa.written import CannotParse, Written, clean_question

_WORDS = 60
_POLITE = re.compile(
    r"^(?:(?:please|hi|hello|hey|ok|okay|so|and|well)[, ]+|"
    r"(?:can|could|would|will) you (?:please )?(?:tell|say|show) (?:me |us )?|"
    r"tell (?:me|us) |give me (?=the (?:number|area|share|percentage))|say |according to (?:this|the) image,? |"
    r"(?:do you know|i(?:'d| would) like to know|i want to know|i wonder|let me know) (?:if |whether )?)"
)
_TAIL = re.compile(
    rf",? (?:{HERE}|in (?:{AREA_UNIT}|{LENGTH_UNIT}|percent|%)|"
    rf"here|at all|anywhere|in total|altogether|overall|please|around here|on it|in it|in there|right now|"
    r"you can see|that you can see|thank you|thanks)$"
)
_NORTHS = {
    "north": "north",
    "top": "north",
    "upper": "north",
    "northern": "north",
    "south": "south",
    "bottom": "south",
    "lower": "south",
    "southern": "south",
}
_EASTS = {
    "east": "east",
    "right": "east",
    "right-hand": "east",
    "eastern": "east",
    "west": "west",
    "left": "west",
    "left-hand": "west",
    "western": "west",
}
_IN_IMAGE = {"north": "top", "south": "bottom", "east": "right", "west": "left"}
_MIDDLES = ("centre", "center", "middle")
_PLACED = re.compile(
    rf"(.+?),? (?:located |situated )?(?:in|at|on|near|towards?) the (?:far |extreme |very )?"
    rf"(?:({'|'.join(_NORTHS)})?[ -]?({'|'.join(_EASTS)})?|({'|'.join(_MIDDLES)}))"
    rf"(?: (?:part|half|corner|side|third|edge|end|area|section|quadrant))?(?: (?:{HERE}))?"
)
_RULES: tuple[Rule, ...] = (*places.TILES, *places.KINDS_ASKED, *amounts.RULES, *places.RULES, *yes_no.RULES)


class EverydayWriter:
    """Writes programs for everyday questions.

    Args:
        concepts: the vocabulary; other nouns are taken as they are.
    """

    name = "everyday"

    def __init__(self, concepts: Vocabulary) -> None:
        self._reader = PhraseReader(Nouns(concepts))

    def write(self, question: str) -> Written:
        """The program of a question.

        Raises:
            CannotParse: no form fits; with the nearest forms that do.
            GraftError: it is no question (`clean_question`).
        """
        text = _plain(clean_question(question))
        self._reader.forget()
        if len(text.split()) <= _WORDS and (read := self._read(text)):
            kind, program = read
            return Written(program, kind, self.name)
        raise CannotParse("It has none of the everyday forms.", nearest_forms(text, self._reader.nouns))

    def _read(self, text: str) -> tuple[str, Program] | None:
        if (found := _PLACED.fullmatch(text)) and any(found.group(2, 3, 4)):
            meaning = first(_RULES, _without_tail(found[1]), self._reader)
            program = meaning and _within(meaning, _cells(*found.group(2, 3)))
            if meaning and program:
                return meaning.type, program
        meaning = first(_RULES, _without_tail(text), self._reader)
        return (meaning.type, answer(meaning.value)) if meaning else None


def _plain(question: str) -> str:
    """A question in small letters, without politeness and the marks at its end."""
    text = re.sub(r"[\"“”«»()]", " ", question.replace("\u2019", "'").casefold())
    text = re.sub(r"^(is|are)n't\b", r"\1", " ".join(text.split())).strip(" ?!.:;,'")
    while (shorter := _POLITE.sub("", text)) != text:
        text = shorter
    text = re.sub(rf" {HERE}(?= (?:that|which) )", "", text)
    return re.sub(r"\bif there (is|are)\b", r"\1 there", text)


def _without_tail(text: str) -> str:
    while (shorter := _TAIL.sub("", text)) != text:
        text = shorter
    return text.strip(" ,")


def _cells(vertical: str | None, horizontal: str | None) -> tuple[str, ...]:
    """Answers of `position` that lie in a part of the image: three for a side, one for a corner or the centre.

    Each in two spellings, "north-west" and "top left": `position` gives the second where there is no georeference.
    """
    rows = (_NORTHS[vertical],) if vertical else ("north", "", "south") if horizontal else ("",)
    columns = (_EASTS[horizontal],) if horizontal else ("west", "", "east") if vertical else ("",)
    places = [[word for word in (row, column) if word] for row in rows for column in columns]
    compass = ["-".join(words) or "centre" for words in places]
    image = [" ".join(_IN_IMAGE[word] for word in words) or "centre" for words in places]
    return tuple(dict.fromkeys(compass + image))


def _within(meaning: Meaning, cells: tuple[str, ...]) -> Program | None:
    """A question for presence or number, asked of those objects alone that lie in a part of the image."""
    value = meaning.value
    if not isinstance(value, Call) or value.function not in ("exists", "count"):
        return None
    ((_, objects),) = value.arguments
    each, number = Name("each"), Name("n")
    tests: tuple[Expression, ...] = tuple(Operation("==", (call("position", of=each), Literal(cell))) for cell in cells)
    test = tests[0] if len(tests) == 1 else Operation("or", tests)
    found: Expression = Operation(">", (number, Literal(0))) if value.function == "exists" else number
    one_more = Let("n", Operation("+", (number, Literal(1))))
    return Program((Let("n", Literal(0)), For("each", objects, (If(test, (one_more,)),)), Return(found)))
