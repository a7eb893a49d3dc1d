"""Which argument of a call is which parameter."""

import difflib
from collections.abc import Mapping, Sequence

from graft.vqa.functions import FUNCTIONS, Function
from graft.vqa.refusal import Refused, quoted
from graft.vqa.tree import Call, Expression


def function_of(where: str, name: str) -> Function:
    """The vision function of this name.

    Raises:
        Refused: there is none; those with a name like it are told.
    """
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    like = difflib.get_close_matches(name[:32], FUNCTIONS, n=2)
    hint = f"did you mean {' or '.join(like)}?" if like else f"there are {', '.join(FUNCTIONS)}."
    raise Refused(f"{where}: {quoted(name)} is no vision function; {hint}")


def bind(where: str, name: str, positional: Sequence[Expression], named: Mapping[str, Expression]) -> Call:
    """A call with its arguments by name, in the order of the signature.

    Raises:
        Refused: no such function or parameter, one given twice, too many, or a required one missing.
    """
    function = function_of(where, name)
    parameters = [parameter.name for parameter in function.parameters]
    takes = ", ".join(parameter.name + ("" if parameter.required else "?") for parameter in function.parameters)
    mend = f"{name} takes ({takes})."
    if len(positional) > len(parameters):
        raise Refused(f"{where}: {len(positional)} arguments where {len(parameters)} can stand. {mend}")
    given = dict(zip(parameters, positional, strict=False))
    for key, value in named.items():
        if key not in parameters:
            raise Refused(f"{where}: {name} has no argument {quoted(key)}. {mend}")
        if key in given:
            raise Refused(f"{where}: {name} is given {key} twice. {mend}")
        given[key] = value
    missing = [
        parameter.name for parameter in function.parameters if parameter.required and parameter.name not in given
    ]
    if missing:
        raise Refused(f"{where}: {name} is not given {' and '.join(missing)}. {mend}")
    return Call(name, tuple((key, given[key]) for key in parameters if key in given))
