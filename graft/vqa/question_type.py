"""The type of question that a program answers, where its writer did not read one off the question."""

from graft.vqa.check import Checked
from graft.vqa.tree import Call, Choice, Expression, For, If, Let, Name, Operation, Return, Statement

_OF_CALL = {
    "exists": "presence",
    "compare": "comp",
    "count": "count",
    "area": "area",
    "fraction": "share",
    "score": "share",
    "distance": "distance",
    "position": "place",
    "classify": "classify",
    "rural_or_urban": "rural_urban",
}
_OF_KIND = {"truth": "presence", "number": "count", "text": "classify", "objects": "objects", "mask": "objects"}
_ARITHMETIC = frozenset({"+", "-", "*", "//", "%", "neg"})
"""Without `/`: the quotient of two areas is no area."""
_COMPARISONS = frozenset({"<", "<=", ">", ">=", "==", "!="})


def type_of(program: Checked) -> str:
    """One of the types of `Written`: by the call that gives the answer, else by the answer's kind.

    Truths without a call of their own, such as `exists(…) and not exists(…)`, count as presence.
    """
    named: dict[str, Expression] = {}
    returned: list[Expression] = []
    _collect(program.program.statements, named, returned)
    found = _of(returned[-1], named, set()) if returned else None
    return found or _OF_KIND.get(program.gives, "objects")


def _collect(statements: tuple[Statement, ...], named: dict[str, Expression], returned: list[Expression]) -> None:
    for statement in statements:
        match statement:
            case Let(name, value):
                named[name] = value
            case Return(value):
                returned.append(value)
            case If(_, then, otherwise):
                _collect(then, named, returned)
                _collect(otherwise, named, returned)
            case For(_, _, body):
                _collect(body, named, returned)


def _of(value: Expression, named: dict[str, Expression], seen: set[str]) -> str | None:
    match value:
        case Call(function, _):
            return _OF_CALL.get(function)
        case Name(name) if name in named and name not in seen:
            return _of(named[name], named, seen | {name})
        case Choice(_, then, otherwise):
            return _of(then, named, seen) or _of(otherwise, named, seen)
        case Operation(operator, _) if operator in _COMPARISONS:
            return "comp"
        case Operation(operator, operands) if operator in _ARITHMETIC:
            return next((found for operand in operands if (found := _of(operand, named, seen))), None)
    return None
