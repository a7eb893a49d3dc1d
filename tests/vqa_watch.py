"""What Python itself reports while a program is read and run: code compiled or executed, files opened, imports."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

Event = tuple[str, tuple[object, ...]]

_watched: list[Event] | None = None
_HARMLESS = ("builtins.id",)
_thread = 0
_installed = False


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _watched is not None and threading.get_ident() == _thread and event not in _HARMLESS:
        _watched.append((event, arguments))


@contextmanager
def events() -> Iterator[list[Event]]:
    """Audit events of this thread inside the block."""
    global _watched, _thread, _installed
    if not _installed:  # an audit hook stays for good
        sys.addaudithook(_note)
        _installed = True
    found: list[Event] = []
    _watched, _thread = found, threading.get_ident()
    try:
        yield found
    finally:
        _watched = None
