"""Faults of LanceDB and its storage, in one sentence."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from graft.errors import GraftError, first_line

_SAID = (
    re.compile(r"<Message>(.+?)</Message>"),
    re.compile(r'message: "(.+?)"'),
    re.compile(r"(after \d+ retries)"),
    re.compile(r"(Failed to get AWS credentials)"),
)
_WRAPPED = re.compile(r"(lance error: |LanceError\(\w+\): |Generic N/A error: )+")
_SOURCE_LINE = re.compile(r",? ?/\S+\.rs:\d+(:\d+)?")


@contextmanager
def told(address: str) -> Iterator[None]:
    """Raise what goes wrong while an index is read or written as a GraftError; a wrong argument stays a ValueError.

    Args:
        address: of the index.

    Raises:
        GraftError: files that are missing or damaged, a place that cannot be written, a server that does not answer.
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, ValueError) and "Failed to connect" not in str(error):
            raise
        if "Not found: " in str(error) and ".lance" in str(error):
            raise GraftError(
                f"A file of the index at {address} is gone: either it was compacted while it was read, then start "
                "again, or it is damaged, then build it again."
            ) from error
        raise GraftError(f"The index at {address} cannot be read or written: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """The part of LanceDB's nested messages that says what happened."""
    text = " ".join(str(error).split())
    place = re.search(r"https?://[^/\s\"]+", text)
    where = f" ({place[0]})" if place else ""
    for pattern in _SAID:
        found = pattern.search(text)
        if found:
            return ("no answer " if "retries" in found[1] else "") + found[1].rstrip(".") + where
    return first_line(Exception(_SOURCE_LINE.sub("", _WRAPPED.sub("", text)))).rstrip(". ")
