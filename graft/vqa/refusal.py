"""Programs that are not run, and programs that find nothing to answer about."""

import json

from graft.errors import GraftError
from graft.vqa.values import Text

QUOTED = 40
"""Characters of somebody else's text that a message repeats."""


class Refused(GraftError):
    """A program that is not of the language or outgrows its budget, told in a sentence: what, where, what mends it."""


class NothingThere(Exception):
    """A vision function was asked about objects of which there are none, such as the distance to a lake.

    A toolbox raises it; it ends the program, and `answer` ("there is no lake") is what the program gives.
    """

    def __init__(self, answer: Text) -> None:
        super().__init__(answer.value)
        self.answer = answer


def quoted(text: str) -> str:
    """The start of somebody else's text in quotation marks, what cannot be seen written as escapes; ASCII, short."""
    return json.dumps(text[:QUOTED]) + ("…" if len(text) > QUOTED else "")
