"""What a language model is told: the functions, from the table that checks and runs programs, and examples."""

import json
from collections.abc import Sequence

from graft.vqa.functions import FUNCTIONS, Function, Parameter
from graft.vqa.json_form import to_json
from graft.vqa.python_form import read_python

Message = dict[str, str]

MOST_WORDS = 200
"""Known concepts that a prompt names."""

_ROLE = """\
You turn a question about one satellite image into a small program. The program is run on the image by an interpreter \
that knows the functions below and nothing else. Answer with one JSON object and no other text:
  {"program": [STATEMENT, ...]}
or, if the functions cannot answer the question (about people, dates, prices, other images ...):
  {"cannot": "why, in a short sentence"}

STATEMENT is one of
  {"let": NAME, "be": E}
  {"if": E, "then": [STATEMENT, ...], "else": [STATEMENT, ...]}
  {"for": NAME, "in": E, "do": [STATEMENT, ...]}
  {"return": E}
E is one of
  a number, a "text", true or false
  {"name": NAME}                                   what an earlier statement gave this name
  {"list": [E, ...]}
  {"call": FUNCTION, "with": {PARAMETER: E, ...}}
  {"op": OPERATOR, "of": [E, ...]}                 + - * / // % < <= > >= == != and or not neg
  {"if": E, "then": E, "else": E}

Rules
- The last statement returns the answer itself: a truth, a number, a text or objects; never a sentence.
- Concepts (parameters marked "concept") are plain nouns in the singular, as constant text: "lake", "residential area".
- Lengths are in metres, areas in square metres: convert what the question gives in other units.
- "Which tiles have ...?" is asked of each tile by itself: return whether this one has it.
- Use `find` for what is counted or related, `segment` for what is measured as ground cover.

Functions (? marks what may be left out)"""

_EXAMPLES = (
    (
        "Is there more forest than water?",
        'return compare(area(segment("forest")), "more", area(segment("water area")))',
    ),
    (
        "How many houses are within 200 m of a river?",
        'return count(where(find("house"), "within", find("river"), metres=200))',
    ),
    ("Does farmland cover more than a third of the image?", 'return fraction(segment("farmland")) > 1 / 3'),
    ("Is there a lake but no forest?", 'return exists(find("lake")) and not exists(find("forest"))'),
    ("Where is the largest lake?", 'return position(largest(find("lake")))'),
    ("How far is the nearest harbour from a road?", 'return distance(find("harbour"), find("road"))'),
    ("Is this a town, farmland or forest?", 'return classify(["town", "farmland", "forest"])'),
    (
        "How large is the smallest car park of at least one hectare that has a building north of it?",
        'parks = filter(find("car park"), larger_than_m2=10000)\n'
        'return area(smallest(where(parks, "south of", find("building"))))',
    ),
)


def conversation(question: str, words: Sequence[str] = ()) -> list[Message]:
    """The messages that ask for a program.

    Args:
        question: clean, see `graft.vqa.written.clean_question`.
        words: concepts that are known well; other nouns may be used too.
    """
    known = f"\n\nConcepts known well (others work too): {', '.join(words[:MOST_WORDS])}" if words else ""
    text = "\n".join((_ROLE, *map(_signature, FUNCTIONS.values()))) + known + "\n\nExamples\n" + "\n".join(_examples())
    return [_message("system", text), _message("user", question)]


def once_more(answer: str, fault: str) -> list[Message]:
    """The messages after an answer that is no program: the answer, and what is wrong with it."""
    complaint = f"That cannot be used: {fault}\nWrite the program for the same question again, as one JSON object."
    return [_message("assistant", answer), _message("user", complaint)]


def _examples() -> list[str]:
    return [f"{question}\n{json.dumps(to_json(read_python(text)))}" for question, text in _EXAMPLES]


def _signature(function: Function) -> str:
    parameters = ", ".join(map(_parameter, function.parameters))
    unit = f" in {function.unit}" if function.unit else ""
    notes = "".join(f"\n    {p.name}: {p.meaning}{_choices(p)}" for p in function.parameters)
    return f"- {function.name}({parameters}) -> {function.gives}{unit}: {function.meaning}{notes}"


def _parameter(parameter: Parameter) -> str:
    kinds = "|".join(sorted(parameter.kinds)) + (" (concept)" if parameter.concept else "")
    return f"{parameter.name}{'' if parameter.required else '?'}: {kinds}"


def _choices(parameter: Parameter) -> str:
    return "; one of " + ", ".join(json.dumps(choice) for choice in parameter.choices) if parameter.choices else ""


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}
