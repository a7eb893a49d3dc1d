"""Random programs: valid ones, valid ones with a change, trees of allowed and forbidden nodes, random bytes."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from graft.vqa.functions import FUNCTIONS
from graft.vqa.json_form import to_json
from graft.vqa.python_form import to_python
from graft.vqa.tree import (
    Call,
    Choice,
    Expression,
    For,
    If,
    Items,
    Let,
    Literal,
    Name,
    Operation,
    Program,
    Return,
    Statement,
)

FORMS = ("valid python", "valid json", "changed python", "changed json", "any python", "any json", "bytes")
WORDS = ("a", "b", "c", "lake", "car park", "forêt")
KINDS = ("mask", "objects", "number", "truth", "text")
NASTY = (
    "__class__", "._x", ".format", "[0]", "**", "<<", "lambda x: x", 'f"{x}"', "import os\n", "eval", "open",
    "while True:\n", "9" * 40, "1e999", "\\", '"', "'", "\x00", "\uff46", "\u200b", "(" * 60, "-" * 50, "\n    ",
    "for x in x:\n", ";", "*x", "None", "NaN", "null", "{", "}", "[", "]", ":", ",", "=", "==", "@", "#", "return",
    "yield ", "if ", "else", "in",
)  # fmt: skip


class Author:
    """Writes programs whose names and kinds fit; units may not."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.known: dict[str, str] = {}

    def program(self) -> Program:
        body = self.block(self.rng.randint(0, 4), 3)
        return Program((*body, Return(self.value(self.rng.choice(KINDS), 4))))

    def block(self, number: int, depth: int) -> tuple[Statement, ...]:
        return tuple(self.statement(depth) for _ in range(number))

    def statement(self, depth: int) -> Statement:
        choice = self.rng.random()
        if depth == 0 or choice < 0.6:
            kind, name = self.rng.choice(KINDS), f"x{self.rng.randint(0, 20)}"
            kind = self.known.get(name, kind)
            value = self.value(kind, 3)
            self.known[name] = kind
            return Let(name, value)
        before = dict(self.known)
        if choice < 0.8:
            test, then = self.value("truth", 2), self.block(self.rng.randint(1, 2), depth - 1)
            self.known = dict(before)
            return If(test, then, self.block(self.rng.randint(0, 2), depth - 1) if self.restore(before) else ())
        objects = self.rng.random() < 0.5
        items = self.value("objects", 2) if objects else Items((Literal(1), Literal(2.5)))
        name = f"each{depth}"
        self.known[name] = "objects" if objects else "number"
        body = self.block(self.rng.randint(1, 2), depth - 1)
        self.restore(before)
        return For(name, items, body)

    def restore(self, before: dict[str, str]) -> bool:
        self.known = dict(before)
        return True

    def value(self, kind: str, depth: int) -> Expression:
        names = [name for name, known in self.known.items() if known == kind]
        choice = self.rng.random()
        if names and choice < 0.3:
            return Name(self.rng.choice(names))
        if depth > 0 and choice < 0.4:
            return Choice(self.value("truth", depth - 1), self.value(kind, depth - 1), self.value(kind, depth - 1))
        if kind in ("number", "truth", "text") and (depth <= 0 or choice < 0.5):
            plain = {"number": (0, 1, -2, 3.5, 250), "truth": (True, False), "text": WORDS}
            return Literal(self.rng.choice(plain[kind]))
        if depth > 0 and choice < 0.7 and kind in ("number", "truth"):
            return self.operation(kind, depth - 1)
        return self.call(kind, depth - 1)

    def operation(self, kind: str, depth: int) -> Expression:
        if kind == "number":
            operator = self.rng.choice(("+", "-", "*", "/", "//", "%"))
            return Operation(operator, (self.value(kind, depth), self.value(kind, depth)))
        operator = self.rng.choice(("and", "or", "not", "<", ">=", "==", "!="))
        if operator == "not":
            return Operation(operator, (self.value("truth", depth),))
        kind = "truth" if operator in ("and", "or") else "number"
        return Operation(operator, (self.value(kind, depth), self.value(kind, depth)))

    def call(self, kind: str, depth: int) -> Expression:
        known = [function for function in FUNCTIONS.values() if function.gives == kind]
        if depth <= 0:
            known = [each for each in known if all(p.kinds <= {"text", "list"} for p in each.parameters)] or known
        function = self.rng.choice(known)
        given: list[tuple[str, Expression]] = []
        for parameter in function.parameters:
            if parameter.concept and "list" in parameter.kinds:
                words = self.rng.sample(WORDS, 2)
                given.append((parameter.name, Items(tuple(Literal(word) for word in words))))
            elif parameter.concept or parameter.choices:
                given.append((parameter.name, Literal(self.rng.choice(parameter.choices or WORDS))))
            elif parameter.required:
                given.append((parameter.name, self.value(self.rng.choice(sorted(parameter.kinds)), depth)))
            elif self.rng.random() < 0.3 or "within" in str(given):
                given.append((parameter.name, Literal(20)))
        return Call(function.name, tuple(given))


def _python(rng: random.Random) -> str:
    return to_python(Author(rng).program())


def _json(rng: random.Random) -> str:
    return json.dumps(to_json(Author(rng).program()), ensure_ascii=False)


def _changed(text: str, rng: random.Random) -> str:
    """A text with one to three cuts, copies, swaps or insertions."""
    for _ in range(rng.randint(1, 3)):
        a, b = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        b = min(b, a + 30)
        match rng.randrange(5):
            case 0:
                text = text[:a] + rng.choice(NASTY) + text[a:]
            case 1:
                text = text[:a] + text[min(b, a + 3) :]
            case 2:
                text = text[:a] + text[a:b] * rng.choice((2, 2, 50)) + text[b:]
            case 3:
                text = text[:a] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[a + 1 :]
            case _:
                words = text.split(" ")
                k, m = rng.randrange(len(words)), rng.randrange(len(words))
                words[k], words[m] = words[m], words[k]
                text = " ".join(words)
    return text


_EXPRESSIONS = (
    "{e}.{n}", "{e}[{e}]", "{e}({e})", "{f}({e})", "{f}({e}, {e})", '{f}("{w}")', "{f}({n}={e})", "({e} {o} {e})",
    "-{e}", "not {e}", "({e} if {e} else {e})", "[{e}, {e}]", "({e}, {e})", "{{{e}: {e}}}", "(lambda {n}: {e})",
    "[{n} for {n} in {e}]", "f'{{{n}}}'", "({n} := {e})", "*{e}", '"{w}"', "{n}", "{n}", "1", "2.5", "10**9", "True",
    "None", "b'x'", "...", "({e} and {e})", "(yield {e})", "(await {e})", "{f}(**{e})", '"{w}".join({e})',
    '"%s" % {e}', "__import__('os').system('{w}')",
)  # fmt: skip
_STATEMENTS = (
    "{n} = {e}", "{n} += {e}", "return {e}", "{e}", "import {n}", "from {n} import {n}", "del {n}", "assert {e}",
    "global {n}", "{n}.{n} = {e}", "{n}, {n} = {e}", "raise {e}", "pass", "{n}: {e} = {e}",
)  # fmt: skip
_BLOCKS = (
    "if {e}:",
    "for {n} in {e}:",
    "while {e}:",
    "with {e} as {n}:",
    "def {n}({n}):",
    "class {n}:",
    "def execute_command(image):",
)
_NAMES = ("x", "y", "image", "__class__", "_x", "find", "os", "eval", "__builtins__", "things", "format")
_OPERATORS = ("+", "-", "*", "/", "//", "%", "**", "<<", "@", "<", "==", "!=", "is", "in", "not in", "|")


def _filled(template: str, rng: random.Random, depth: int) -> str:
    parts = template.replace("{{", "\x01").replace("}}", "\x02").split("{")
    text = parts[0]
    for part in parts[1:]:
        text += _piece(part[0], rng, depth) + part[2:]
    return text.replace("\x01", "{").replace("\x02", "}")


def _piece(kind: str, rng: random.Random, depth: int) -> str:
    if kind == "e":
        return _filled(rng.choice(_EXPRESSIONS if depth > 0 else ("{n}", "1", '"{w}"')), rng, depth - 1)
    known = {
        "n": _NAMES,
        "f": (*FUNCTIONS, *_NAMES),
        "o": _OPERATORS,
        "w": (*WORDS, "__class__", "{0.__class__}", "%n"),
    }
    return rng.choice(known[kind])


def _any_python(rng: random.Random, indent: str = "") -> str:
    lines = []
    for _ in range(rng.randint(1, 3)):
        if len(indent) < 12 and rng.random() < 0.3:
            lines += [indent + _filled(rng.choice(_BLOCKS), rng, 2), _any_python(rng, indent + "    ")]
        else:
            lines.append(indent + _filled(rng.choice(_STATEMENTS), rng, 3))
    return "\n".join(lines)


_KEYS = (
    "program",
    "let",
    "be",
    "if",
    "then",
    "else",
    "for",
    "in",
    "do",
    "return",
    "name",
    "list",
    "call",
    "with",
    "op",
    "of",
    "eval",
)


def _any_tree(rng: random.Random, depth: int) -> Any:
    choice = rng.random()
    if depth == 0 or choice < 0.2:
        return rng.choice((1, -2.5, 10**30, True, None, "a", "x", "find", "__class__", "+", "**", "and", "not", ""))
    if choice < 0.5:
        return [_any_tree(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    first = rng.choice(("let", "if", "for", "return", "name", "list", "call", "op", "eval"))
    usual = {"let": "be", "for": "in do", "if": "then else", "call": "with", "op": "of"}.get(first, "").split()
    keys = [first, *usual] if rng.random() < 0.8 else rng.sample(_KEYS, rng.randint(0, 3))
    return {key: _any_tree(rng, depth - 1) for key in keys}


def _any_json(rng: random.Random) -> str:
    body = [_any_tree(rng, 4) for _ in range(rng.randint(1, 3))]
    return json.dumps({"program": [*body, {"return": _any_tree(rng, 5)}]})


def _bytes(rng: random.Random) -> str:
    raw = rng.randbytes(rng.randint(1, 200))
    return raw.decode("latin-1") if rng.random() < 0.5 else raw.decode("utf-8", errors="surrogateescape")


def _changed_tree(rng: random.Random) -> str:
    """The JSON of a program with one node replaced, copied from elsewhere or cut out."""
    tree = to_json(Author(rng).program())
    places = list(_places(tree))
    holder, key = rng.choice(places)
    match rng.randrange(3):
        case 0:
            holder[key] = _any_tree(rng, 2)
        case 1:
            other, place = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[place]))
        case _:
            del holder[key]
    return json.dumps(tree, ensure_ascii=False)


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every node of a tree: what holds it, and its key there."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


_WRITERS: dict[str, Callable[[random.Random], str]] = {
    "valid python": _python,
    "valid json": _json,
    "changed python": lambda rng: _changed(_python(rng), rng),
    "changed json": lambda rng: _changed(_json(rng), rng) if rng.random() < 0.5 else _changed_tree(rng),
    "any python": _any_python,
    "any json": _any_json,
    "bytes": _bytes,
}


def fuzzed(kind: str, rng: random.Random) -> tuple[str, str]:
    """A random program: how it is to be read, "python" or "json", and its text."""
    form = "json" if "json" in kind or (kind == "bytes" and rng.random() < 0.5) else "python"
    return form, _WRITERS[kind](rng)
