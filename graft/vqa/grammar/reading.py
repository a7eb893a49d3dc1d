"""What the rules of the everyday grammar share."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from graft.vqa.grammar.noun_phrase import PhraseReader
from graft.vqa.tree import Expression

Match = re.Match[str]


class Meaning(NamedTuple):
    """A type of question and the expression that answers it."""

    type: str
    value: Expression


Rule = tuple[re.Pattern[str], Callable[[Match, PhraseReader], Meaning | None]]

WHOLE = r"(?:area|image|scene|land|ground|tile|picture|photo|map|region|landscape|place|surface|territory|view|site)"
"""What questions call the image."""
HERE = rf"(?:(?:in|on|of|within|across) (?:this|the|that) (?:whole |entire )?{WHOLE}|of it|of this)"
"""`in the image`."""
COVERED = (
    r"(?:covered (?:by|with|in)|made up of|taken up by|occupied by|used (?:for|as)|under|filled (?:by|with)|"
    r"composed of|classified as|devoted to)"
)
"""`covered by`."""
THIS = rf"(?:it|this|that|(?:the|this|that) {WHOLE})"
"""The image, as the subject of a question."""
LARGER = r"(?:larger|bigger|greater|more extensive)"
SMALLER = r"(?:smaller|less extensive)"


def meant(kind: str, value: Expression | None) -> Meaning | None:
    """A meaning, unless the words gave none."""
    return None if value is None else Meaning(kind, value)


def rule(pattern: str, meaning: Callable[[Match, PhraseReader], Meaning | None]) -> Rule:
    """A form of question: the whole of it must match."""
    return re.compile(pattern), meaning


def first(rules: Sequence[Rule], text: str, reader: PhraseReader) -> Meaning | None:
    """What the first rule makes of a text that fits and can be understood."""
    for pattern, meaning in rules:
        if (found := pattern.fullmatch(text)) and (read := meaning(found, reader)):
            return read
    return None
