"""Programs as a small part of Python, as people and language models write them.

Statements: `name = E`, `name += E` (and the other operators), `if`/`elif`/`else`, `for name in E`, `return E`; a bare
expression at the end is returned. All of it may stand inside `def execute_command(image):`. Expressions: text, numbers,
True, False, names, lists, calls of the vision functions by position or keyword, `+ - * / // %`, one comparison at a
time, `and`, `or`, `not`, `E if E else E`. Nothing else is read: the text becomes a tree and Python never runs it.
"""

import ast
import os
import warnings
from collections.abc import Iterator, Sequence

from graft.vqa.arguments import bind
from graft.vqa.functions import FUNCTIONS
from graft.vqa.limits import (
    DEPTH,
    LINES,
    STATEMENT_CHARACTERS,
    check_constant,
    check_level,
    check_name,
    check_nodes,
    check_source,
)
from graft.vqa.operators import ARITHMETIC, EQUALITY, ORDER, signed
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

_BRACKETS = 2 * DEPTH
_AROUND = "execute_command"
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.And: "and",
    ast.Or: "or",
    ast.Not: "not",
    ast.USub: "neg",
}
_LEVELS = (("or",), ("and",), ("not",), (*ORDER, *EQUALITY), ("+", "-"), ("*", "/", "//", "%"), ("neg",))
_BINDING = {operator: level for level, operators in enumerate(_LEVELS, start=1) for operator in operators}
_ATOM = len(_LEVELS) + 1
_FOREIGN: dict[type[ast.AST], str] = {
    ast.Attribute: "an attribute (a dot after a value)",
    ast.Subscript: "an index in [ ]",
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Import: "an import",
    ast.ImportFrom: "an import",
    ast.While: "a while loop",
    ast.Try: "a try block",
    ast.With: "a with block",
    ast.FunctionDef: "a function definition",
    ast.ClassDef: "a class",
    ast.NamedExpr: "an assignment inside an expression",
    ast.Starred: "a star",
    ast.Pow: "the operator **",
    ast.LShift: "a shift",
    ast.RShift: "a shift",
    ast.Tuple: "a tuple",
    ast.Dict: "a dictionary",
    ast.Set: "a set",
}
_THERE_IS = (
    "A program has assignments, if, for, return, calls of the vision functions, + - * / // %, comparisons, and, or, "
    "not. Write it with these."
)


def read_python(text: str) -> Program:
    """A program from its Python spelling.

    Args:
        text: at most `graft.vqa.limits.SOURCE` characters.

    Raises:
        Refused: not Python; not this part of it; names, texts, numbers, depth or size beyond `graft.vqa.limits`.
    """
    check_source(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # as the parser counts lines
    _check_characters(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # showing one would open files to quote the line
            # at a fault the parser opens the file of this name to quote it: one in which there is nothing
            body = ast.parse(text, filename=os.devnull).body
    except SyntaxError as error:
        raise Refused(f"Line {error.lineno or 1}: not Python ({error.msg}). Correct it.") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise Refused("The program cannot be read: it is nested too deeply or holds odd characters.") from error
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef) and body[0].name == _AROUND:
        body = _inside(body[0])
    return Program(_Reader().block(body, 1, last=True))


def to_python(program: Program) -> str:
    """The Python spelling of a program, without a newline at the end, which `read_python` reads back."""
    return "\n".join(_lines(program.statements, ""))


def _check_characters(text: str) -> None:
    """Refuse what would reach the parser only to surprise: escapes, look-alikes, texts over lines, deep nesting.

    Python folds letters such as a wide `f` into plain ones in names, so they are looked for here. A chain of signs or
    operators nests a level a character, and its parser recurses in C: 20,000 minus signs, outside a text or inside an
    f-string, crash a thread of half a megabyte.
    """
    line, level, length, quote, comment = 1, 0, 0, "", False
    for before, character in zip(" " + text, text, strict=False):
        if character == "\n":
            if quote:
                raise Refused(f"Line {line}: a text that does not end on its line. Close its quotation mark.")
            line, comment, length = line + 1, False, length if level else 0
        elif comment:
            continue
        elif character == "\\":
            raise Refused(f"Line {line}: a backslash. Write texts in plain words and statements on one line.")
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            if before.isalnum() or before == "_":
                raise Refused(f"Line {line}: an f-string, or a text right after a letter. Write plain texts.")
            quote = character
        elif character == "#":
            comment = True
        elif not (" " <= character <= "~" or character == "\t"):
            raise Refused(
                f"Line {line}: the character {quoted(character)} outside a text. Write names and operators in ASCII."
            )
        else:
            level += (character in "([{") - (character in ")]}")
            length += not character.isspace()
            if level > _BRACKETS:
                raise Refused(f"Line {line}: brackets nested deeper than {_BRACKETS}. Give parts of it names.")
            if length > STATEMENT_CHARACTERS:
                raise Refused(f"Line {line}: a statement of over {STATEMENT_CHARACTERS:,} characters. Split it.")
            if line > LINES:
                raise Refused(f"Line {line}: more than {LINES} lines. Shorten the program.")


def _inside(around: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of `def execute_command(image):`."""
    taken = around.args
    others = taken.posonlyargs or taken.kwonlyargs or taken.defaults or taken.vararg or taken.kwarg
    plain = [(each.arg, each.annotation) for each in taken.args] == [("image", None)]
    if around.decorator_list or around.returns is not None or others or not plain:
        raise Refused(f"Line {around.lineno}: expected exactly def {_AROUND}(image): or no definition. Change it.")
    return around.body


class _Reader:
    """Reads Python's tree into ours and counts nodes."""

    def __init__(self) -> None:
        self.nodes = 0

    def node(self, node: ast.stmt | ast.expr, depth: int) -> str:
        """Count a node and say where it is."""
        where = f"Line {node.lineno}"
        self.nodes += 1
        check_nodes(self.nodes)
        check_level(where, depth)
        return where

    def block(self, body: Sequence[ast.stmt], depth: int, last: bool = False) -> tuple[Statement, ...]:
        bare = len(body) - 1 if last else -1
        return tuple(self.statement(each, depth, number == bare) for number, each in enumerate(body))

    def statement(self, node: ast.stmt, depth: int, last: bool) -> Statement:
        where = self.node(node, depth)
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                return Let(check_name(where, name), self.expression(value, depth + 1))
            case ast.AugAssign(target=ast.Name(id=name), op=operator, value=value):
                known = Name(check_name(where, name))
                operands = (known, self.expression(value, depth + 2))
                return Let(name, Operation(_operator(where, operator), operands))
            case ast.If(test=test, body=then, orelse=otherwise):
                branches = self.block(then, depth + 1), self.block(otherwise, depth + 1)
                return If(self.expression(test, depth + 1), *branches)
            case ast.For(target=ast.Name(id=name), iter=items, body=body, orelse=[]):
                check_name(where, name)
                return For(name, self.expression(items, depth + 1), self.block(body, depth + 1))
            case ast.Return(value=ast.expr() as value):
                return Return(self.expression(value, depth + 1))
            case ast.Return():
                raise Refused(f"{where}: a return without a value. Return the answer.")
            case ast.Expr(value=value) if last:
                return Return(self.expression(value, depth + 1))
            case ast.Expr(value=value):
                self.expression(value, depth + 1)
                raise Refused(f"{where}: a value that nothing uses. Give it a name or return it.")
            case ast.Assign() | ast.AugAssign():
                raise Refused(f"{where}: an assignment to something else than one name. Write name = value.")
        raise _foreign(where, node)

    def expression(self, node: ast.expr, depth: int) -> Expression:
        where = self.node(node, depth)
        match node:
            case ast.Constant(value=value):
                return Literal(check_constant(where, value))
            case ast.Name(id=name):
                return Name(check_name(where, name))
            case ast.List(elts=items):
                return Items(self.expressions(items, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=positional, keywords=keywords):
                return self.call(where, name, positional, keywords, depth)
            case ast.Call():
                raise Refused(f"{where}: a call of something else than a vision function by name. {_THERE_IS}")
            case ast.UnaryOp(op=operator, operand=operand):
                return signed(_operator(where, operator), (self.expression(operand, depth + 1),))
            case ast.BinOp(left=left, op=operator, right=right):
                return Operation(_operator(where, operator), self.expressions((left, right), depth + 1))
            case ast.BoolOp(op=operator, values=values):
                return Operation(_operator(where, operator), self.expressions(values, depth + 1))
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                return Operation(_operator(where, operator), self.expressions((left, right), depth + 1))
            case ast.Compare():
                raise Refused(f"{where}: more than one comparison in a row. Join two with and.")
            case ast.IfExp(test=test, body=then, orelse=otherwise):
                return Choice(*self.expressions((test, then, otherwise), depth + 1))
        raise _foreign(where, node)

    def expressions(self, nodes: Sequence[ast.expr], depth: int) -> tuple[Expression, ...]:
        return tuple(self.expression(node, depth) for node in nodes)

    def call(
        self, where: str, name: str, positional: Sequence[ast.expr], keywords: Sequence[ast.keyword], depth: int
    ) -> Call:
        named: dict[str, Expression] = {}
        for keyword in keywords:
            if keyword.arg is None:
                raise _foreign(where, ast.Starred(value=keyword.value))
            if keyword.arg in named:
                raise Refused(f"{where}: {quoted(keyword.arg)} is given twice. Remove one.")
            named[keyword.arg] = self.expression(keyword.value, depth + 1)
        return bind(where, name, self.expressions(positional, depth + 1), named)


def _operator(where: str, node: ast.AST) -> str:
    if type(node) not in _OPERATORS:
        raise _foreign(where, node)
    return _OPERATORS[type(node)]


def _foreign(where: str, node: ast.AST) -> Refused:
    what = _FOREIGN.get(type(node), f"Python's {type(node).__name__}")
    return Refused(f"{where}: {what} is no part of the language. {_THERE_IS}")


def _lines(block: Sequence[Statement], indent: str) -> Iterator[str]:
    for statement in block:
        match statement:
            case Let(name, value):
                yield f"{indent}{name} = {_spelt(value)}"
            case Return(value):
                yield f"{indent}return {_spelt(value)}"
            case For(name, items, body):
                yield f"{indent}for {name} in {_spelt(items)}:"
                yield from _lines(body, indent + "    ")
            case If():
                yield from _branches(statement, indent, "if")


def _branches(statement: If, indent: str, word: str) -> Iterator[str]:
    yield f"{indent}{word} {_spelt(statement.test)}:"
    yield from _lines(statement.then, indent + "    ")
    match statement.otherwise:
        case ():
            return
        case (If() as other,):
            yield from _branches(other, indent, "elif")
        case otherwise:
            yield f"{indent}else:"
            yield from _lines(otherwise, indent + "    ")


def _spelt(expression: Expression, least: int = 0) -> str:
    """An expression, in brackets if it binds less than `least`."""
    text, binds = _bound(expression)
    return text if binds >= least else f"({text})"


def _bound(expression: Expression) -> tuple[str, int]:
    """An expression and how closely its operator binds, as in `_BINDING`."""
    match expression:
        case Literal(str() as value):
            return f'"{value}"', _ATOM
        case Literal(value):
            text = repr(value)
            return text, _BINDING["neg"] if text.startswith("-") else _ATOM
        case Name(name):
            return name, _ATOM
        case Items(items):
            return f"[{', '.join(map(_spelt, items))}]", _ATOM
        case Call(function, arguments):
            return f"{function}({', '.join(_arguments(function, arguments))})", _ATOM
        case Choice(test, then, otherwise):
            return f"{_spelt(then, 1)} if {_spelt(test, 1)} else {_spelt(otherwise)}", 0
        case Operation(operator, (operand,)):
            binds = _BINDING[operator]
            return {"neg": "-"}.get(operator, "not ") + _spelt(operand, binds), binds
        case Operation(operator, (first, *others)):
            binds = _BINDING[operator]
            parts = [_spelt(first, binds if operator in ARITHMETIC else binds + 1)]
            return f" {operator} ".join([*parts, *(_spelt(other, binds + 1) for other in others)]), binds
    raise AssertionError(f"no such expression: {expression}")


def _arguments(function: str, arguments: Sequence[tuple[str, Expression]]) -> Iterator[str]:
    """Required ones by position, the others by keyword."""
    given = dict(arguments)
    for parameter in FUNCTIONS[function].parameters:
        if parameter.name in given:
            yield ("" if parameter.required else f"{parameter.name}=") + _spelt(given[parameter.name])
