"""Programs as a JSON tree.

PROGRAM    {"program": [STATEMENT, …]}
STATEMENT  {"let": NAME, "be": E} | {"if": E, "then": [STATEMENT, …], "else": [STATEMENT, …]}
           | {"for": NAME, "in": E, "do": [STATEMENT, …]} | {"return": E}            ("else" may be left out)
E          text, number, true, false | {"name": NAME} | {"list": [E, …]} | {"call": FUNCTION, "with": {PARAMETER: E}}
           | {"op": OPERATOR, "of": [E, …]} | {"if": E, "then": E, "else": E}
OPERATOR   + - * / // % < <= > >= == != (two operands), and or (two or more), not neg (one)
"""

import json
import re
from typing import Any, NoReturn

from graft.vqa.arguments import bind
from graft.vqa.limits import check_constant, check_level, check_name, check_nodes, check_source, kind_of
from graft.vqa.operators import check_operands, signed
from graft.vqa.refusal import Refused, quoted
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

_DIGITS = 30
_STATEMENTS = {
    "let": ({"let", "be"}, set[str]()),
    "if": ({"if", "then"}, {"else"}),
    "for": ({"for", "in", "do"}, set[str]()),
    "return": ({"return"}, set[str]()),
}
_EXPRESSIONS = {
    "name": ({"name"}, set[str]()),
    "list": ({"list"}, set[str]()),
    "call": ({"call"}, {"with"}),
    "op": ({"op", "of"}, set[str]()),
    "if": ({"if", "then", "else"}, set[str]()),
}


def read_json(source: str | dict[str, Any]) -> Program:
    """A program from its JSON tree.

    Args:
        source: the text, at most `graft.vqa.limits.SOURCE` characters, or what `json.loads` made of it.

    Raises:
        Refused: not JSON; not this tree; names, texts, numbers, depth or size beyond `graft.vqa.limits`.
    """
    tree = _parsed(source) if isinstance(source, str) else source
    fields = _fields("The program", tree, {"program": ({"program"}, set())})
    return Program(_Reader().block("program", fields["program"], 1))


def to_json(program: Program) -> dict[str, Any]:
    """The JSON tree of a program, which `read_json` reads back."""
    return {"program": [_statement(statement) for statement in program.statements]}


def _parsed(text: str) -> Any:
    check_source(text)
    try:
        return json.loads(
            text, parse_int=_whole, parse_float=_real, parse_constant=_no_number, object_pairs_hook=_distinct
        )
    except json.JSONDecodeError as error:
        raise Refused(f'The program is not JSON: {error}. Expected {{"program": [...]}}.') from error
    except RecursionError as error:
        raise Refused("The program is nested too deeply. Give parts of it names.") from error


def _whole(digits: str) -> int:
    # int() of many digits takes quadratic time
    if len(digits) > _DIGITS:
        raise Refused(f"The program holds a number of {len(digits)} digits. Use a smaller one.")
    return int(digits)


def _real(digits: str) -> float:
    if len(digits) > _DIGITS:
        raise Refused(f"The program holds a number of {len(digits)} characters. Round it.")
    return float(digits)


def _no_number(word: str) -> NoReturn:
    raise Refused(f"The program holds {word}, which is no number. Replace it.")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refused(f"The program gives {quoted(twice)} twice in one object. Remove one.")
    return fields


def _fields(where: str, value: object, forms: dict[str, tuple[set[str], set[str]]]) -> dict[str, Any]:
    """The fields of an object that has one of some forms, told apart by a key."""
    mend = f"Expected an object with {' or '.join(forms)}."
    if not isinstance(value, dict):
        raise Refused(f"{where}: found {kind_of(value)}. {mend}")
    found = [form for form in forms if form in value]
    if len(found) != 1:
        shown = ", ".join(quoted(str(key)) for key in list(value)[:5]) or "no field"
        raise Refused(f"{where}: an object with {shown}. {mend}")
    required, optional = forms[found[0]]
    missing = sorted(required - value.keys())
    unknown = [key for key in value if key not in required and key not in optional]
    if missing:
        raise Refused(f"{where}: an object with {found[0]!r} needs {missing[0]!r} too. Add it.")
    if unknown:
        raise Refused(f"{where}: an object with {found[0]!r} has no {quoted(str(unknown[0]))}. Remove it.")
    return value


class _Reader:
    """Reads a tree and counts its nodes."""

    def __init__(self) -> None:
        self.nodes = 0

    def node(self, where: str, depth: int) -> None:
        self.nodes += 1
        check_nodes(self.nodes)
        check_level(where, depth)

    def block(self, where: str, value: object, depth: int) -> tuple[Statement, ...]:
        items = _listed(where, value)
        return tuple(self.statement(f"{where}[{number}]", item, depth) for number, item in enumerate(items))

    def statement(self, where: str, value: object, depth: int) -> Statement:
        self.node(where, depth)
        fields = _fields(where, value, _STATEMENTS)
        if "let" in fields:
            return Let(check_name(where, fields["let"]), self.expression(f"{where}.be", fields["be"], depth + 1))
        if "if" in fields:
            test = self.expression(f"{where}.if", fields["if"], depth + 1)
            then = self.block(f"{where}.then", fields["then"], depth + 1)
            return If(test, then, self.block(f"{where}.else", fields.get("else", []), depth + 1))
        if "for" in fields:
            name = check_name(where, fields["for"])
            items = self.expression(f"{where}.in", fields["in"], depth + 1)
            return For(name, items, self.block(f"{where}.do", fields["do"], depth + 1))
        return Return(self.expression(f"{where}.return", fields["return"], depth + 1))

    def expression(self, where: str, value: object, depth: int) -> Expression:
        self.node(where, depth)
        if not isinstance(value, dict):
            return Literal(check_constant(where, value))
        fields = _fields(where, value, _EXPRESSIONS)
        if "name" in fields:
            return Name(check_name(where, fields["name"]))
        if "list" in fields:
            return Items(self.expressions(f"{where}.list", fields["list"], depth + 1))
        if "call" in fields:
            return self.call(where, fields, depth)
        if "op" in fields:
            operands = self.expressions(f"{where}.of", fields["of"], depth + 1)
            check_operands(where, fields["op"], len(operands))
            return signed(fields["op"], operands)
        parts = (self.expression(f"{where}.{key}", fields[key], depth + 1) for key in ("if", "then", "else"))
        return Choice(*parts)

    def expressions(self, where: str, value: object, depth: int) -> tuple[Expression, ...]:
        items = _listed(where, value)
        return tuple(self.expression(f"{where}[{number}]", item, depth) for number, item in enumerate(items))

    def call(self, where: str, fields: dict[str, Any], depth: int) -> Call:
        given = fields.get("with", {})
        if not isinstance(fields["call"], str) or not isinstance(given, dict):
            raise Refused(
                f'{where}: expected {{"call": FUNCTION, "with": {{PARAMETER: …}}}}, a function\'s name in text and an '
                "object. Change it."
            )
        named = {
            str(key): self.expression(f"{where}.with.{_plain(str(key))}", argument, depth + 1)
            for key, argument in given.items()
        }
        return bind(where, fields["call"], (), named)


def _listed(where: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Refused(f"{where}: found {kind_of(value)}; expected a list. Put it in [ ].")
    return value


def _plain(key: str) -> str:
    """A key as a part of a path; what is no word is quoted, because messages show it."""
    return key if re.fullmatch(r"[a-z0-9_]{1,32}", key) else quoted(key)


def _statement(statement: Statement) -> dict[str, Any]:
    match statement:
        case Let(name, value):
            return {"let": name, "be": _expression(value)}
        case If(test, then, otherwise):
            branches = {"if": _expression(test), "then": [_statement(each) for each in then]}
            return branches | ({"else": [_statement(each) for each in otherwise]} if otherwise else {})
        case For(name, items, body):
            return {"for": name, "in": _expression(items), "do": [_statement(each) for each in body]}
        case Return(value):
            return {"return": _expression(value)}


def _expression(expression: Expression) -> Any:
    match expression:
        case Literal(value):
            return value
        case Name(name):
            return {"name": name}
        case Items(items):
            return {"list": [_expression(item) for item in items]}
        case Call(function, arguments):
            return {"call": function, "with": {name: _expression(value) for name, value in arguments}}
        case Operation(operator, operands):
            return {"op": operator, "of": [_expression(operand) for operand in operands]}
        case Choice(test, then, otherwise):
            return {"if": _expression(test), "then": _expression(then), "else": _expression(otherwise)}
