"""How large a program may be as it is written, looked at before anything runs, and before anything is parsed."""

import keyword
import math
import re

from graft.vqa.functions import FUNCTIONS
from graft.vqa.refusal import Refused, quoted
from graft.vqa.tree import Constant

SOURCE = 40_000
"""Characters of a program's text."""
DEPTH = 24
"""Statements and expressions inside each other."""
NODES = 400
"""Statements and expressions in all."""
STATEMENT_NODES = 100
"""Expressions in one statement, those of the statements inside it not counted."""
STATEMENT_CHARACTERS = 4_000
"""Characters of one statement in Python but for spaces and texts: `STATEMENT_NODES` expressions never take more."""
LINES = 800
"""Lines in Python: `NODES` statements, each with an `else`."""
TEXT = 100
"""Characters of one text."""
TEXTS = 4_000
"""Characters of all texts."""
WHOLE = 2**53
"""Bound of every number's size: below it float64 has every whole number."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


def check_source(text: str) -> None:
    """Refuse a program's text that is empty or too long."""
    if len(text) > SOURCE:
        raise Refused(f"The program has {len(text):,} characters; {SOURCE:,} at most. Shorten it.")
    if not text.strip():
        raise Refused('The program is empty; expected statements such as return exists(find("lake")).')


def check_level(where: str, depth: int) -> None:
    """Refuse what is nested deeper than `DEPTH`."""
    if depth > DEPTH:
        raise Refused(f"{where}: nested deeper than {DEPTH} levels. Give parts of it names.")


def check_nodes(nodes: int) -> None:
    """Refuse more than `NODES` statements and expressions."""
    if nodes > NODES:
        raise Refused(f"The program has more than {NODES} statements and expressions. Shorten it.")


def check_name(where: str, name: object) -> str:
    """A name that a program may give to a value.

    Raises:
        Refused: not text; not letters, digits and `_` after a letter, 32 at most; a word of Python; a vision function.
    """
    if not isinstance(name, str):
        raise Refused(f"{where}: a name must be text, and this is {kind_of(name)}. Write letters, such as lakes.")
    if not _NAME.fullmatch(name):
        raise Refused(
            f"{where}: {quoted(name)} cannot be a name; expected a letter, then letters, digits or _ (A to Z, 32 at "
            "most). Choose another, such as lakes."
        )
    if keyword.iskeyword(name):
        raise Refused(f"{where}: {quoted(name)} is a word of Python and cannot be a name. Choose another.")
    if name in FUNCTIONS:
        raise Refused(f"{where}: {name} is a vision function and cannot be given another meaning. Choose another name.")
    return name


def check_constant(where: str, value: object) -> Constant:
    """A constant that a program may hold.

    Raises:
        Refused: not text, a number or a truth value; text that is empty, too long or holds quotation marks,
            backslashes or what cannot be printed; a number that is not finite or reaches 2**53.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > TEXT:
            raise Refused(f"{where}: a text of {len(value):,} characters; {TEXT} at most. Shorten it.")
        if not value.strip():
            raise Refused(f"{where}: a text without a word. Write one, such as lake.")
        if not value.isprintable() or '"' in value or "\\" in value:
            raise Refused(
                f"{where}: {quoted(value)} holds quotation marks, backslashes or invisible characters. Use plain words."
            )
        return value
    if isinstance(value, int | float):
        if not abs(value) < WHOLE or math.isnan(value):
            raise Refused(f"{where}: a number that is not below 2**53 in size. Use a smaller one.")
        return value
    raise Refused(
        f"{where}: {kind_of(value)} cannot stand in a program; expected text, a number, true or false. Replace it."
    )


def kind_of(value: object) -> str:
    """What somebody wrote, for a message."""
    if value is None:
        return "nothing (null)"
    if value is Ellipsis:
        return "an ellipsis"
    known = {
        str: "text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        complex: "a complex number",
        bytes: "bytes",
        dict: "an object",
        list: "a list",
        tuple: "a list",
    }
    return known.get(type(value), "something else")
