"""Whether a program may run: names, kinds, units, closed lists, an answer on every way, and no more than its size.

What this accepts can still be stopped while it runs (`graft.vqa.budget`), or find that there is nothing to answer
about; it cannot meet an unknown name, function or kind.
"""

from dataclasses import dataclass

from graft.vqa.arguments import bind, function_of
from graft.vqa.functions import Kind, Parameter
from graft.vqa.kinds import Known, Names, Type, joined, joined_names, named_type
from graft.vqa.limits import STATEMENT_NODES, TEXT, TEXTS, check_constant, check_level, check_name, check_nodes
from graft.vqa.operators import ARITHMETIC, EQUALITY, LOGIC, check_operands, unit_of
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


@dataclass(frozen=True)
class Checked:
    """A program that may run; made by `check` alone.

    Attributes:
        program: the tree.
        gives: kind of its answer, never "list".
        concepts: all that it looks for, in order of appearance.
    """

    program: Program
    gives: Kind
    concepts: tuple[str, ...]


def check(program: Program) -> Checked:
    """Check a program.

    Raises:
        Refused: it may not run; the message says which statement (counted from 1, as written), why, and what mends it.
    """
    checker = _Checker()
    if not checker.block(program.statements, {}, 1):
        raise Refused("The program can end without an answer. End it, and every branch of a last if, with return.")
    (gives,) = checker.answers
    return Checked(program, gives, tuple(checker.concepts))


class _Checker:
    def __init__(self) -> None:
        self.statements = 0
        self.nodes = 0
        self.inside = 0
        self.letters = 0
        self.answers: list[Kind] = []
        self.concepts: dict[str, None] = {}

    def block(self, statements: tuple[Statement, ...], names: Names, depth: int) -> bool:
        """Check statements, which add to `names`; whether they always return."""
        if not statements:
            raise Refused(f"After statement {self.statements}: a block without statements. Write some or remove it.")
        returned = False
        for statement in statements:
            if returned:
                raise Refused(f"Statement {self.statements + 1}: it comes after a return. Remove it.")
            returned = self.statement(statement, names, depth)
        return returned

    def statement(self, statement: Statement, names: Names, depth: int) -> bool:
        self.statements += 1
        self.inside = 0
        where = f"Statement {self.statements}"
        self.count(where, depth)
        match statement:
            case Let(name, value):
                check_name(where, name)
                names[name] = self.type(where, value, names, depth + 1)
                return False
            case If(test, then, otherwise):
                self.need(where, "the condition of an if", test, "truth", names, depth + 1)
                return self.branches(where, then, otherwise, names, depth + 1)
            case For(name, items, body):
                self.loop(where, name, self.type(where, items, names, depth + 1), body, names, depth + 1)
                return False
            case Return(value):
                self.answer(where, self.type(where, value, names, depth + 1))
                return True

    def count(self, where: str, depth: int) -> None:
        self.nodes += 1
        self.inside += 1
        if self.inside > STATEMENT_NODES + 1:
            raise Refused(f"{where}: more than {STATEMENT_NODES} expressions. Give parts of it names.")
        check_nodes(self.nodes)
        check_level(where, depth)

    def branches(
        self, where: str, then: tuple[Statement, ...], otherwise: tuple[Statement, ...], names: Names, depth: int
    ) -> bool:
        after, instead = dict(names), dict(names)
        returns = self.block(then, after, depth)
        returns_too = bool(otherwise) and self.block(otherwise, instead, depth)
        if returns or returns_too:
            kept = instead if returns else after
        else:
            kept = joined_names(after, instead, f"depends on the condition of {where[0].lower()}{where[1:]}")
        names.clear()
        names.update(kept)
        return returns and returns_too

    def loop(self, where: str, name: str, items: Known, body: tuple[Statement, ...], names: Names, depth: int) -> None:
        if items.kind not in ("list", "objects"):
            raise Refused(f"{where}: a loop over {items}. Loop over a list or over objects.")
        check_name(where, name)
        inside = dict(names)
        for given in _given(body):
            known = inside.get(given)
            if isinstance(known, Known):
                inside[given] = known.of_any_unit()  # a sum starts as a plain 0 and becomes an area
        inside[name] = items.item or Known("objects")
        before = dict(inside)
        self.block(body, inside, depth)
        for given in names:
            if given != name and joined(before[given], inside[given], "") != before[given]:
                raise Refused(
                    f"{where}: {given} is {before[given]} before the loop and {inside[given]} in it. Use another name."
                )
        note = f"is given by the loop of {where[0].lower()}{where[1:]}, which may have no rounds"
        names.update({given: inside[given] if given in names and given != name else note for given in inside})

    def answer(self, where: str, found: Known) -> None:
        if found.kind == "list":
            raise Refused(f"{where}: a list is no answer. Return one value.")
        if self.answers and self.answers != [found.kind]:
            wanted = Known(self.answers[0])
            raise Refused(f"{where}: returns {found} where an earlier return gives {wanted}. Return one kind.")
        self.answers = [found.kind]

    def need(self, where: str, what: str, value: Expression, kind: Kind, names: Names, depth: int) -> Known:
        found = self.type(where, value, names, depth)
        if found.kind != kind:
            mend = " Ask exists(...) of it." if kind == "truth" and found.kind in ("mask", "objects") else ""
            raise Refused(f"{where}: {what} must be {Known(kind)}, and this is {found}.{mend or ' Change it.'}")
        return found

    def type(self, where: str, expression: Expression, names: Names, depth: int) -> Known:
        self.count(where, depth)
        match expression:
            case Literal(value):
                check_constant(where, value)
                self.letters += len(value) if isinstance(value, str) else 0
                if self.letters > TEXTS:
                    raise Refused(f"{where}: all texts together pass {TEXTS:,} characters. Shorten them.")
                return Known("truth" if isinstance(value, bool) else "text" if isinstance(value, str) else "number")
            case Name(name):
                return named_type(where, name, names)
            case Items(items):
                return self.items(where, items, names, depth)
            case Call():
                return self.call(where, expression, names, depth)
            case Operation():
                return self.operation(where, expression, names, depth)
            case Choice(test, then, otherwise):
                self.need(where, "the condition of an if", test, "truth", names, depth + 1)
                one, other = (self.type(where, part, names, depth + 1) for part in (then, otherwise))
                both = joined(one, other, "")
                if not isinstance(both, Known):
                    raise Refused(f"{where}: one branch of an if gives {one}, the other {other}. Use one kind.")
                return both

    def items(self, where: str, items: tuple[Expression, ...], names: Names, depth: int) -> Known:
        found: Type = ""
        for number, item in enumerate(items):
            one = self.type(where, item, names, depth + 1)
            if one.kind == "list":
                raise Refused(f"{where}: a list inside a list. Write one list.")
            found = one if number == 0 else joined(found, one, "")
            if not isinstance(found, Known):
                raise Refused(f"{where}: a list of different kinds, {one} among them. Use one kind.")
        if not isinstance(found, Known):
            raise Refused(f"{where}: an empty list. Put something in it.")
        return Known("list", item=found)

    def operation(self, where: str, operation: Operation, names: Names, depth: int) -> Known:
        operator, operands = operation.operator, operation.operands
        check_operands(where, operator, len(operands))
        if operator in (*LOGIC, "not"):
            for operand in operands:
                self.need(where, f"what {operator} joins", operand, "truth", names, depth + 1)
            return Known("truth")
        found = [self.type(where, operand, names, depth + 1) for operand in operands]
        kinds = {each.kind for each in found}
        if operator in EQUALITY and kinds in ({"text"}, {"truth"}):
            return Known("truth")
        if kinds != {"number"}:
            shown = " and ".join(map(str, found))
            wanted = "numbers" if operator not in EQUALITY else "two numbers, texts or truth values"
            raise Refused(f"{where}: {operator} takes {wanted}, and this is {shown}. Change it.")
        if operator == "neg":
            return found[0]
        a, b = (each.unit for each in found)
        unit = None if a is None or b is None else unit_of(where, operator, a, b)
        return Known("number", unit) if operator in ARITHMETIC else Known("truth")

    def call(self, where: str, call: Call, names: Names, depth: int) -> Known:
        bound = bind(where, call.function, (), dict(call.arguments))
        function = function_of(where, call.function)
        given = dict(bound.arguments)
        if len(given) < len(call.arguments):
            raise Refused(f"{where}: {call.function} is given an argument twice. Remove one.")
        found = {
            parameter.name: self.argument(
                f"{where}, {call.function}", parameter, given[parameter.name], names, depth + 1
            )
            for parameter in function.parameters
            if parameter.name in given
        }
        _check_together(f"{where}, {call.function}", call.function, given, found)
        self.concepts |= dict.fromkeys(function.looks_for)
        return Known(function.gives, function.unit)

    def argument(self, where: str, parameter: Parameter, value: Expression, names: Names, depth: int) -> Known:
        found = self.type(where, value, names, depth)
        if found.kind not in parameter.kinds:
            wanted = " or ".join(str(Known(kind)) for kind in sorted(parameter.kinds))
            hint = (
                ' Write find("...") around the word.' if found.kind == "text" and "objects" in parameter.kinds else ""
            )
            raise Refused(f"{where}: {parameter.name} must be {wanted}, and this is {found}.{hint or ' Change it.'}")
        if parameter.choices and not (isinstance(value, Literal) and value.value in parameter.choices):
            shown = quoted(str(value.value)) if isinstance(value, Literal) else "something that is worked out"
            raise Refused(f"{where}: {parameter.name} is {shown}; expected one of {', '.join(parameter.choices)}.")
        if parameter.concept:
            self.note_concepts(where, parameter.name, value)
        if parameter.unit:
            _check_measure(where, parameter, value, found)
        return found

    def note_concepts(self, where: str, name: str, value: Expression) -> None:
        """All concepts of a program are constants, so that they are known before a pixel is looked at."""
        items = value.items if isinstance(value, Items) else (value,)
        words = [item.value for item in items if isinstance(item, Literal) and isinstance(item.value, str)]
        if len(words) < len(items):
            raise Refused(
                f"{where}: {name} must be written out in quotation marks and not be worked out. Write it out."
            )
        if isinstance(value, Items) and len({" ".join(word.casefold().split()) for word in words}) < max(2, len(words)):
            raise Refused(f"{where}: {name} needs two or more different words. Add or change one.")
        for word in words:
            if not any(letter.isalpha() for letter in word):
                raise Refused(f"{where}: {quoted(word)} names nothing. Write a noun of at most {TEXT} characters.")
            self.concepts[word] = None


def _given(statements: tuple[Statement, ...]) -> set[str]:
    """Names that statements give."""
    names = set[str]()
    for statement in statements:
        match statement:
            case Let(name):
                names.add(name)
            case If(_, then, otherwise):
                names |= _given(then) | _given(otherwise)
            case For(name, _, body):
                names |= {name} | _given(body)
    return names


def _check_measure(where: str, parameter: Parameter, value: Expression, found: Known) -> None:
    """A distance or area that is handed over in its unit."""
    if found.unit not in (None, "", parameter.unit):
        raise Refused(f"{where}: {parameter.name} must be in {parameter.unit}, and this is in {found.unit}. Change it.")
    if isinstance(value, Literal) and not isinstance(value.value, bool | str) and value.value < 0:
        raise Refused(f"{where}: {parameter.name} is {value.value:g}; expected a number from 0. Change it.")


def _check_together(where: str, function: str, given: dict[str, Expression], found: dict[str, Known]) -> None:
    """What no argument tells alone."""
    if function == "filter" and len(given) == 1:
        raise Refused(f"{where}: no criterion. Give a size, a shape, larger_than_m2 or smaller_than_m2.")
    if function == "compare":
        a, b = found["a"].unit, found["b"].unit
        if a is not None and b is not None:
            unit_of(where, "==", a, b)
    relation = given.get("relation")
    if isinstance(relation, Literal):
        if relation.value == "within" and "metres" not in given:
            raise Refused(f'{where}: "{relation.value}" needs metres. Add metres=200 or the like.')
        if relation.value not in ("within", "next to") and "metres" in given:
            raise Refused(f'{where}: "{relation.value}" takes no metres. Remove them or use "within".')
