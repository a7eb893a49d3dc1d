"""Running a checked program over the vision functions of one image, node by node.

The answer rests on all that was looked at on the way: every condition that an `if` decided by, and the number of
objects that a loop went through, lend it their evidence, and it is no surer than the least sure of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

from graft.vqa.arithmetic import calculated, check_comparable, merged
from graft.vqa.budget import Budget, Spent, running
from graft.vqa.check import Checked
from graft.vqa.functions import FUNCTIONS, Function, Parameter
from graft.vqa.operators import ARITHMETIC, LOGIC
from graft.vqa.refusal import NothingThere, Refused
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
from graft.vqa.values import Mask, Number, Objects, Text, Truth, Value

_Kind = TypeVar("_Kind")
_Given = Mask | Objects | Number | Truth | Text
_KINDS: dict[str, type[_Given]] = {"mask": Mask, "objects": Objects, "number": Number, "truth": Truth, "text": Text}
_COMPARED = {
    "<": ("less", True),
    ">=": ("less", False),
    ">": ("more", True),
    "<=": ("more", False),
    "==": ("equal", True),
    "!=": ("equal", False),
}
_USUAL = Budget()


class Toolbox(Protocol):
    """The vision functions over one image.

    Besides what is listed here, each name of `FUNCTIONS` is a method that takes that function's parameters by keyword
    (types: `graft.vqa.functions`) and gives a value of its kind. It raises `NothingThere` where there is nothing to
    answer about, `GraftError` for a user's fault, and calls `graft.vqa.budget.tick` inside long work.
    """

    @property
    def held_bytes(self) -> int:
        """Bytes of what it keeps: masks, label images, scores."""


def run(program: Checked, toolbox: Toolbox, budget: Budget = _USUAL) -> Value:
    """What a program answers about an image.

    Args:
        program: from `check`.
        toolbox: the image.
        budget: what it may spend.

    Returns:
        A value of kind `program.gives`; or `Text` that says what there is none of, where a function found nothing to
        answer about.

    Raises:
        Refused: beyond the budget; division by zero; units that do not go together; metres without georeference.
        GraftError: from the toolbox.
    """
    spent = Spent(budget)
    runner = _Runner(program.program, toolbox, spent)
    with running(spent):
        try:
            value = runner.block(program.program.statements, 1)
        except NothingThere as nothing:
            value = nothing.answer
    assert value is not None, "a checked program ended without an answer"
    return runner.resting(value)


class _Runner:
    def __init__(self, program: Program, toolbox: Toolbox, spent: Spent) -> None:
        # nothing else is ever asked of the toolbox by name, and no text of a program becomes an attribute
        self.methods: dict[str, Callable[..., Any]] = {name: getattr(toolbox, name) for name in FUNCTIONS}
        self.toolbox = toolbox
        self.spent = spent
        self.numbers = {id(each): number for number, each in enumerate(_walk(program.statements), start=1)}
        self.where = ""
        self.names: dict[str, Value] = {}
        self.decided = Truth(True, 1.0, ())
        self.made: WeakSet[Mask] = WeakSet()

    def resting(self, value: Value) -> Value:
        """The answer with what was decided on the way to it."""
        if not isinstance(value, Number | Truth | Text):
            return value
        confidence = min(value.confidence, self.decided.confidence)
        return replace(value, confidence=confidence, evidence=merged(value.evidence, self.decided.evidence))

    def rest_on(self, step: Number | Truth) -> None:
        """Note one more step that the answer rests on."""
        confidence = min(self.decided.confidence, step.confidence)
        self.decided = Truth(True, confidence, merged(self.decided.evidence, step.evidence))

    def block(self, statements: tuple[Statement, ...], depth: int) -> Value | None:
        """Run statements; what they return, None if they do not."""
        for statement in statements:
            answer = self.statement(statement, depth)
            if answer is not None:
                return answer
        return None

    def statement(self, statement: Statement, depth: int) -> Value | None:
        self.spent.node(depth)
        self.where = f"Statement {self.numbers[id(statement)]}"
        match statement:
            case Let(name, value):
                self.names[name] = self.value(value, depth + 1)
                return None
            case If(test, then, otherwise):
                return self.block(then if self.decide(test, depth + 1) else otherwise, depth + 1)
            case For(name, items, body):
                return self.loop(name, self.value(items, depth + 1), body, depth + 1)
            case Return(value):
                return self.value(value, depth + 1)

    def loop(self, name: str, items: Value, body: tuple[Statement, ...], depth: int) -> Value | None:
        if isinstance(items, Objects):
            self.rest_on(_of(Number, self.called(FUNCTIONS["count"], {"of": items})))
        for item in _each(items):
            self.spent.loop()
            self.names[name] = item
            answer = self.block(body, depth)
            if answer is not None:
                return answer
        return None

    def decide(self, test: Expression, depth: int) -> bool:
        """Whether a condition holds; the answer rests on it."""
        holds = _of(Truth, self.value(test, depth))
        self.rest_on(holds)
        return holds.value

    def value(self, expression: Expression, depth: int) -> Value:
        self.spent.node(depth)
        match expression:
            case Literal(constant):
                return _constant(constant)
            case Name(name):
                return self.names[name]
            case Items(items):
                return tuple(self.value(item, depth + 1) for item in items)
            case Call(function, arguments):
                return self.call(FUNCTIONS[function], arguments, depth + 1)
            case Operation():
                return self.operation(expression, depth + 1)
            case Choice(test, then, otherwise):
                return self.value(then if self.decide(test, depth + 1) else otherwise, depth + 1)

    def operation(self, operation: Operation, depth: int) -> Value:
        operator, operands = operation.operator, operation.operands
        if operator in LOGIC:
            return self.logic(operator == "or", operands, depth)
        if operator == "not":
            truth = _of(Truth, self.value(operands[0], depth))
            return replace(truth, value=not truth.value)
        if operator == "neg":
            number = _of(Number, self.value(operands[0], depth))
            return replace(number, value=-number.value)
        a, b = (self.value(operand, depth) for operand in operands)
        if operator in ARITHMETIC:
            return calculated(self.where, operator, _of(Number, a), _of(Number, b))
        return self.comparison(operator, a, b)

    def comparison(self, operator: str, a: Value, b: Value) -> Truth:
        """Numbers as `compare` would; text and truth values are equal or not, and as sure as the less sure of them."""
        op, wanted = _COMPARED[operator]
        if isinstance(a, Number) and isinstance(b, Number):
            check_comparable(self.where, a, b)
            truth = _of(Truth, self.called(FUNCTIONS["compare"], {"a": a, "op": op, "b": b}))
            return replace(truth, value=truth.value == wanted)
        one, other = _word(a), _word(b)
        evidence = merged(one.evidence, other.evidence)
        return Truth((one.value == other.value) == wanted, min(one.confidence, other.confidence), evidence)

    def logic(self, decisive: bool, operands: tuple[Expression, ...], depth: int) -> Truth:
        """`and`, `or`: operands are looked at until one settles it, and that one is as sure as the whole.

        If none does, the whole is as sure as the least sure of them.
        """
        seen: list[Truth] = []
        for operand in operands:
            seen.append(_of(Truth, self.value(operand, depth)))
            if seen[-1].value == decisive:
                break
        settled = seen[-1].value == decisive
        confidence = seen[-1].confidence if settled else min(each.confidence for each in seen)
        return Truth(seen[-1].value, confidence, merged(*(each.evidence for each in seen)))

    def call(self, function: Function, arguments: tuple[tuple[str, Expression], ...], depth: int) -> Value:
        given = {name: self.value(argument, depth) for name, argument in arguments}
        if function.name == "compare":
            check_comparable(self.where, _of(Number, given["a"]), _of(Number, given["b"]))
        parameters = {parameter.name: parameter for parameter in function.parameters}
        return self.called(function, {name: self.handed(parameters[name], value) for name, value in given.items()})

    def called(self, function: Function, given: dict[str, object]) -> _Given:
        """What the toolbox says, counted and of the kind that the table promises."""
        self.spent.call()
        self.spent.tick()
        value: _Given = _of(_KINDS[function.gives], self.methods[function.name](**given))
        if isinstance(value, Mask) and not any(parameter.concept for parameter in function.parameters):
            self.made.add(value)
        self.spent.memory(self.toolbox.held_bytes + sum(map(_bytes, self.made)))
        return value

    def handed(self, parameter: Parameter, value: Value) -> object:
        """A value as the toolbox takes it, see `graft.vqa.functions`."""
        if isinstance(value, tuple):
            return tuple(_of(Text, item).value for item in value)
        if isinstance(value, Text):
            return value.value
        if isinstance(value, Number) and parameter.unit:
            if value.unit not in ("", parameter.unit) or value.value < 0:
                raise Refused(
                    f"{self.where}: {parameter.name} is {value.value:g} {value.unit}; expected a number from 0 in "
                    f"{parameter.unit}. Change it, or give an image with a CRS where it is in pixels."
                )
            self.rest_on(value)
            return value.value
        return value


def _of(kind: type[_Kind], value: object) -> _Kind:
    """The value, which the checker or the table has promised to be of a kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where {kind.__name__} was promised")
    return value


def _word(value: object) -> Text | Truth:
    """What can be equal without being a number."""
    return value if isinstance(value, Text) else _of(Truth, value)


def _constant(constant: bool | int | float | str) -> Value:
    if isinstance(constant, bool):
        return Truth(constant, 1.0, ())
    return Text(constant, 1.0, ()) if isinstance(constant, str) else Number(float(constant), "", 1.0, ())


def _each(items: Value) -> Iterator[Value]:
    """What a loop goes through: the items of a list, or each object by itself."""
    if isinstance(items, Objects):
        yield from (replace(items, things=(thing,), left_out={}) for thing in items.things)
    elif isinstance(items, tuple):
        yield from items


def _walk(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    """Statements in the order in which they are written."""
    for statement in statements:
        yield statement
        match statement:
            case If(_, then, otherwise):
                yield from _walk(then)
                yield from _walk(otherwise)
            case For(_, _, body):
                yield from _walk(body)


def _bytes(mask: Mask) -> int:
    return mask.pixels.nbytes + (0 if mask.likeness is None else mask.likeness.nbytes)
