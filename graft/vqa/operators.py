"""Operators: what they take, and what units they give."""

from collections.abc import Mapping
from types import MappingProxyType

from graft.vqa.refusal import Refused, quoted
from graft.vqa.tree import Expression, Literal, Operation
from graft.vqa.values import Unit

ARITHMETIC = ("+", "-", "*", "/", "//", "%")
ORDER = ("<", "<=", ">", ">=")
EQUALITY = ("==", "!=")
LOGIC = ("and", "or")

_LENGTHS: Mapping[Unit, Unit] = MappingProxyType({"m": "m2", "px": "px2"})
_NAMES: Mapping[Unit, str] = MappingProxyType(
    {
        "": "a plain number",
        "m": "metres",
        "m2": "square metres",
        "share": "a share",
        "px": "pixels of length",
        "px2": "pixels of area",
    }
)


def check_operands(where: str, operator: object, operands: int) -> None:
    """Refuse an operator that there is not, or one with the wrong number of operands."""
    if operator in ("not", "neg"):
        fits, wanted = operands == 1, "one"
    elif operator in LOGIC:
        fits, wanted = operands >= 2, "two or more"
    elif operator in (*ARITHMETIC, *ORDER, *EQUALITY):
        fits, wanted = operands == 2, "two"
    else:
        shown = quoted(operator) if isinstance(operator, str) else "something else"
        raise Refused(
            f"{where}: {shown} is no operator; there are {' '.join((*ARITHMETIC, *ORDER, *EQUALITY, *LOGIC))} not neg."
        )
    if not fits:
        raise Refused(f"{where}: {operator} with {operands} operands; it takes {wanted}. Change it.")


def signed(operator: str, operands: tuple[Expression, ...]) -> Expression:
    """An operation; minus a constant is the negative constant, so that both spellings give one tree."""
    match operands:
        case (Literal(bool()),):
            pass
        case (Literal(int() | float() as value),) if operator == "neg" and not repr(value).startswith("-"):
            return Literal(-value)
    return Operation(operator, operands)


def unit_of(where: str, operator: str, a: Unit, b: Unit) -> Unit:
    """The unit of `a operator b`; of the two brought together, where the operator compares.

    A plain number takes the other's unit in sums and comparisons. A share of a length or area is a length or area; a
    share times a plain number is plain (a percentage).

    Raises:
        Refused: there is no such unit (a sum of lengths and areas), or none here (a count per square metre).
    """
    if operator == "*":
        unit = _product(a, b)
    elif operator in ("/", "//"):
        unit = _quotient(a, b)
    else:
        unit = a if a == b or b == "" else b if a == "" else None
    if unit is None:
        raise Refused(f"{where}: {_NAMES[a]} {operator} {_NAMES[b]} has no meaning here. Bring both to one unit.")
    return unit


def _product(a: Unit, b: Unit) -> Unit | None:
    if a in ("", "share") and b in ("", "share"):
        return "share" if a == b == "share" else ""
    if a in ("", "share"):
        return b
    if b in ("", "share"):
        return a
    return _LENGTHS.get(a) if a == b else None


def _quotient(a: Unit, b: Unit) -> Unit | None:
    if a == b:
        return ""
    if b in ("", "share"):
        return a
    return b if _LENGTHS.get(b) == a else None
