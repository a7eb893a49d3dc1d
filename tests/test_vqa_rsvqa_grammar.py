import random

import pytest

from graft.vqa.check import check
from graft.vqa.concepts import load_concepts
from graft.vqa.grammar import RSVQAWriter
from graft.vqa.python_form import read_python
from graft.vqa.tree import Expression, answer, call

CONCEPTS = load_concepts("rsvqa")
LAND_USES = [
    "residential area",
    "grass area",
    "commercial area",
    "construction area",
    "industrial area",
    "allotment",
    "cemetery",
    "depot",
    "farmland",
    "farmyard",
    "forest",
    "garage",
    "greenfield",
    "landfill",
    "meadow",
    "military area",
    "orchard",
    "port",
    "railway",
    "recreation ground",
    "religious area",
    "salt pond",
    "vineyard",
    "retail area",
    "scrub",
    "basin",
    "parking",
    "place of worship",
    "village green",
    "plant nursery",
    "golf course",
    "pitch",
    "nature reserve",
]
OBJECTS = ["building", "residential building", "commercial building", "road", "water area"]
ATTRIBUTES = {
    **dict.fromkeys(("small", "medium", "large"), "size"),
    **dict.fromkeys(("square", "rectangular", "circular"), "shape"),
}
RELATIONS = {
    "at the top of": "top of",
    "on the right of": "right of",
    "at the bottom of": "bottom of",
    "on the left of": "left of",
    "next to": "within",
}

Phrase = tuple[str, Expression]


class Generator:
    """The templates of RSVQA's ConstructQuestions.py, spaces and slips included, written anew beside what they mean."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def thing(self, plural: bool, areas_only: bool) -> Phrase:
        kinds = [name for name in OBJECTS if not (areas_only and name == "road")] + ["land class"]
        name = self.random.choice(kinds)
        name = self.random.choice(LAND_USES) if name == "land class" else name
        attribute = self.random.choice([*ATTRIBUTES]) if name != "road" and self.random.random() < 0.3 else None
        of: Expression = call("find", concept=CONCEPTS.known(name) or name)
        if attribute:
            of = call("filter", of=of, **{ATTRIBUTES[attribute]: attribute})
        return (f" {attribute}" if attribute else "") + f" {name}" + ("s" if plural else ""), of

    def phrase(self, plural: bool, areas_only: bool = False) -> Phrase:
        words, of = self.thing(plural, areas_only)
        if self.random.random() >= 0.3:
            return words, of
        relation = self.random.choice([*RELATIONS])
        second, reference = self.thing(False, False)
        article = self.random.choice([" the ", " a "])
        metres = {"metres": 1000} if relation == "next to" else {}
        related = call("where", of=of, relation=RELATIONS[relation], reference=reference, **metres)
        return f"{words} {relation}{article}{second}", related

    def question(self, kind: str) -> tuple[str, Expression]:
        if kind == "rural_urban":
            return "Is it a rural or an urban area", call("rural_or_urban")
        words, of = self.phrase(kind != "presence", kind == "area")
        if kind == "presence":
            return self.random.choice([f"Is there a{words}", f"Is a{words} present"]), call("exists", of=of)
        if kind == "area":
            return f"What is the area covered by{words}", call("area", of=of)
        if kind == "count":
            forms = (f"How many{words} are there", f"What is the number of{words}", f"What is the amount of{words}")
            return self.random.choice(forms), call("count", of=of)
        second, other = self.phrase(True)
        compared = {
            "less": f"Are there less{words} than{second}",
            "more": f"Are there more{words} than{second}",
            "equal": f"Is the number of{words} equal to the number of{second}",
        }
        op = self.random.choice([*compared])
        return compared[op], call("compare", a=call("count", of=of), op=op, b=call("count", of=other))


def test_generated_questions_parse() -> None:
    generator, writer = Generator(6), RSVQAWriter(CONCEPTS)
    wrong: list[str] = []
    asked: set[str] = set()
    for number in range(12_000):
        kind = "rural_urban" if number % 100 == 0 else ("presence", "count", "comp", "comp", "area")[number % 5]
        question, meaning = generator.question(kind)
        question += " in the image?" if generator.random.random() < 0.1 else "?"
        if question in asked:
            continue
        asked.add(question)
        written = writer.write(question)
        if written is None or written.type != kind or written.program != answer(meaning):
            wrong.append(question)
    assert len(asked) >= 6000
    assert wrong == []


def test_every_object_of_the_generator_is_read_in_the_naive_plural() -> None:
    writer = RSVQAWriter(CONCEPTS)
    for name in (*OBJECTS, *LAND_USES):
        written = writer.write(f"How many {name}s are there?")
        assert written is not None, name
        assert written.program == answer(call("count", of=call("find", concept=CONCEPTS.known(name) or name)))
        assert check(written.program).gives == "number"


@pytest.mark.parametrize(
    "question",
    [
        "How many lakes within 200 m of a river are there?",
        "How many people live here?",
        "Is there a forest and a lake?",
        "Is there a forest but no lake?",
        "Are there more forests?",
        "Is there a forest next to a lake next to a road?",
        "Is there a forest next to?",
        "Is there a 12?",
        "Is there a a b c d e f g?",
        "What is the area covered by forests or lakes?",
        "Is it a rural area?",
    ],
)
def test_what_is_not_of_the_generator_is_left_to_others(question: str) -> None:
    assert RSVQAWriter(CONCEPTS).write(question) is None


@pytest.mark.parametrize(
    ("question", "program"),
    [
        ("is there a Water Area?", 'exists(find("water area"))'),
        ("Is there an industrial area?", 'exists(find("industrial area"))'),
        ("How many cemeteries are there?", 'count(find("cemetery"))'),
        ("How many allotmentss are there?", 'count(find("allotment"))'),
        ("Are there fewer forests than roads", 'compare(count(find("forest")), "less", count(find("road")))'),
    ],
)
def test_slips_and_proper_english_are_read_too(question: str, program: str) -> None:
    written = RSVQAWriter(CONCEPTS).write(question)
    assert written is not None
    assert written.program == read_python(program)
