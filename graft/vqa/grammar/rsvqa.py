"""RSVQA's questions, all eight forms of its generator, slips included.

Source: github.com/syvlo/RSVQA, AutomaticDB/ConstructQuestions.py. A noun phrase is

    [small | medium | large | square | rectangular | circular] OBJECT [RELATION the|a [attribute] OBJECT]

Plurals are the name and an "s" ("parkings", "cemeterys"); articles are always "a"; "less" stands before plurals; after
the article of a relation there are two spaces; one question in ten ends with " in the image". What the words mean is
the generator's: "next to" is an edge nearer than 1,000 m, relations are to any second object, and counts are compared.
"""

import re

from graft.vqa.grammar.words import FUNCTION_WORDS, Vocabulary, singular
from graft.vqa.tree import Expression, answer, call
from graft.vqa.written import Written, clean_question

NEXT_TO_METRES = 1000
"""RSVQA's "next to"."""

_FIT = {
    **{attribute: {"size": attribute} for attribute in ("small", "medium", "large")},
    **{attribute: {"shape": attribute} for attribute in ("square", "rectangular", "circular")},
}
_RELATIONS = {
    "at the top of": "top of",
    "on the right of": "right of",
    "at the bottom of": "bottom of",
    "on the left of": "left of",
    "next to": "within",
}
_NAMED = rf"(?:({'|'.join(_FIT)}) )?(.+?)"
_PHRASE = re.compile(rf"{_NAMED}(?: ({'|'.join(_RELATIONS)}) (?:the|an?) {_NAMED})?")
_MANY = r"(?:how many (.+) are there|what is the (?:number|amount) of (.+))"
_COMPARED = {"less": "less", "fewer": "less", "more": "more"}
_LONGEST = 5
_FORMS = {
    "presence": re.compile(r"is there an? (.+)|is an? (.+) present"),
    "count": re.compile(_MANY),
    "comp": re.compile(r"are there (less|fewer|more) (.+) than (.+)|is the number of (.+) equal to the number of (.+)"),
    "area": re.compile(r"what is the area covered by (.+)"),
    "rural_urban": re.compile(r"is it a rural or an urban area"),
}


class RSVQAWriter:
    """Writes programs for RSVQA's questions.

    Args:
        concepts: the vocabulary; objects that it does not know are taken by their own name.
    """

    name = "rsvqa"

    def __init__(self, concepts: Vocabulary) -> None:
        self._concepts = concepts
        self._names: dict[tuple[str, bool], str | None] = {}

    def write(self, question: str) -> Written | None:
        """The program of a question; None if it is none of RSVQA's.

        Raises:
            GraftError: it is no question at all (`clean_question`).
        """
        text = clean_question(question).casefold().rstrip(" ?").removesuffix(" in the image")
        for kind, form in _FORMS.items():
            if found := form.fullmatch(text):
                value = self._meaning(kind, [group for group in found.groups() if group])
                return None if value is None else Written(answer(value), kind, self.name)
        return None

    def _meaning(self, kind: str, parts: list[str]) -> Expression | None:
        if kind == "rural_urban":
            return call("rural_or_urban")
        op = _COMPARED[parts.pop(0)] if len(parts) == 3 else "equal"
        objects = [of for part in parts if (of := self._objects(part, kind != "presence")) is not None]
        if len(objects) < len(parts):
            return None
        if kind == "comp":
            return call("compare", a=call("count", of=objects[0]), op=op, b=call("count", of=objects[1]))
        return call({"presence": "exists"}.get(kind, kind), of=objects[0])

    def _objects(self, text: str, plural: bool) -> Expression | None:
        """What a noun phrase means."""
        found = _PHRASE.fullmatch(text)
        if found is None:
            return None
        attribute, noun, relation, attribute_2, noun_2 = found.groups()
        of = self._found(attribute, noun, plural)
        if relation is None or of is None:
            return of
        reference = self._found(attribute_2, noun_2, False)
        if reference is None:
            return None
        if relation == "next to":
            return call("where", of=of, relation=_RELATIONS[relation], reference=reference, metres=NEXT_TO_METRES)
        return call("where", of=of, relation=_RELATIONS[relation], reference=reference)

    def _found(self, attribute: str | None, noun: str, plural: bool) -> Expression | None:
        key = (noun, plural)
        if key not in self._names:
            self._names[key] = self._name(noun, plural)
        name = self._names[key]
        if name is None:
            return None
        of = call("find", concept=name)
        return call("filter", of=of, **_FIT[attribute]) if attribute else of

    def _name(self, noun: str, plural: bool) -> str | None:
        """The vocabulary's name of an object, else its own without the plural's "s"."""
        bare = noun.removesuffix("s") if plural else noun
        if known := self._concepts.known(bare) or self._concepts.known(noun):
            return known
        words = noun.split()
        content = [word for word in words if word != "of"]
        if len(words) > _LONGEST or not content or not FUNCTION_WORDS.isdisjoint(content):
            return None
        if not all(re.fullmatch(r"[^\W\d_][\w'-]*", word) for word in content):
            return None
        return bare if bare != noun or not plural else singular(noun) or noun
