"""The tree of a program: what both spellings, JSON and Python, are read into, and what is run.

A program is a list of statements. Expressions are calls of the vision functions (`graft.vqa.functions`), arithmetic,
comparisons and conditions over numbers, text and truth values; nothing else can be written down.
"""

from dataclasses import dataclass

Constant = bool | int | float | str


@dataclass(frozen=True)
class Literal:
    """A constant."""

    value: Constant


@dataclass(frozen=True)
class Name:
    """What an earlier statement, or a loop, gave this name."""

    name: str


@dataclass(frozen=True)
class Items:
    """A list."""

    items: "tuple[Expression, ...]"


@dataclass(frozen=True)
class Call:
    """A vision function; `arguments` by name, in the order of its signature."""

    function: str
    arguments: "tuple[tuple[str, Expression], ...]"


@dataclass(frozen=True)
class Operation:
    """An operator: `+ - * / // %`, `< <= > >= == !=`, `and`, `or` (two operands or more); `not`, `neg` (one)."""

    operator: str
    operands: "tuple[Expression, ...]"


@dataclass(frozen=True)
class Choice:
    """`then` if `test` holds, else `otherwise`."""

    test: "Expression"
    then: "Expression"
    otherwise: "Expression"


Expression = Literal | Name | Items | Call | Operation | Choice


@dataclass(frozen=True)
class Let:
    """Give a value a name."""

    name: str
    value: Expression


@dataclass(frozen=True)
class If:
    """Statements under a condition."""

    test: Expression
    then: "tuple[Statement, ...]"
    otherwise: "tuple[Statement, ...]" = ()


@dataclass(frozen=True)
class For:
    """Statements for each item of a list, or each object of `find`."""

    name: str
    items: Expression
    body: "tuple[Statement, ...]"


@dataclass(frozen=True)
class Return:
    """The answer."""

    value: Expression


Statement = Let | If | For | Return


@dataclass(frozen=True)
class Program:
    """Statements; the last that runs is a `Return`."""

    statements: tuple[Statement, ...]


def answer(value: Expression) -> Program:
    """A program of one `return`, as the grammars write it."""
    return Program((Return(value),))


def call(function: str, **arguments: "Expression | Constant") -> Call:
    """A call whose plain arguments are made literals."""
    given = ((k, Literal(v) if isinstance(v, bool | int | float | str) else v) for k, v in arguments.items())
    return Call(function, tuple(given))
