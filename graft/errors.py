"""The one exception that is meant for users."""

from importlib import import_module
from typing import Any


class GraftError(Exception):
    """A fault in the user's input, told in one message.

    The message says what was found, what was expected, and which flag, file or command mends it.
    Entry points print it without a traceback and exit with status 1; every other exception is a fault of graft.
    """


def first_line(error: BaseException) -> str:
    """The first line of a foreign error, short enough to stand inside a sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def fault_behind(error: BaseException) -> GraftError | None:
    """The user's fault at the bottom of an exception that a library raised around it, if there is one."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, GraftError):
        seen = seen.__cause__ or seen.__context__
    return seen


def import_extra(module: str, extra: str) -> Any:
    """Import a module that only one capability needs.

    Args:
        module: its name, e.g. "duckdb".
        extra: the extra of graft that installs it.

    Raises:
        GraftError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise GraftError(
            f'This needs {module.split(".")[0]}, which is not installed ({error}): pip install "graft[{extra}]".'
        ) from error
