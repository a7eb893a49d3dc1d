"""What writers make of a question: a program, or a sentence that says why not."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Protocol

from graft.errors import GraftError
from graft.vqa.tree import Program

LONGEST = 1000
"""Characters of a question."""
_EXAMPLE = "Is there a lake?"
_UNPRINTED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ENGLISH = _words(
    "a an any are as at by can count do does find from have how i in is it lake large list many more most much "
    "near not of on or please show tell than that the there this to what where which with within you"
)
# German, Dutch, French, Spanish, Portuguese, Italian, Scandinavian, Polish, Turkish, Indonesian; none is English
_OTHERS = _words(
    "der die das dem ein eine einen einem es gibt wie viele viel wo ist sind welche welcher mehr als ich und oder "
    "nicht im auf von er een het hoeveel waar zijn welke meer dan veel le la les un une des du de y il est sont où ou "
    "quel quelle quels quelles combien et dans qu ce cette sur el los las hay cuántos cuántas cuánto cuánta dónde qué "
    "cuál una en há algum alguma quantos quantas quanto onde está qual mais que uma na os ci sono quanti quante dove "
    "quale più che nel nella della del gli uno hvor mange mye det finns hur många var finnes mycket som czy jest są "
    "ile gdzie jaki mi mu kaç nerede göl apakah ada berapa banyak dimana di mana"
)


@dataclass(frozen=True)
class Written:
    """A question as a program.

    Attributes:
        program: what to run.
        type: "presence", "count", "comp", "area", "rural_urban" (RSVQA's), "share", "distance", "place", "classify",
            "objects" (which objects, with their evidence) or "tiles" (a yes or no for each tile of an index).
        writer: who wrote the program, e.g. "rsvqa".
    """

    program: Program
    type: str
    writer: str


class CannotParse(GraftError):
    """A question that no writer can read.

    Attributes:
        nearest: forms that can be read and look most like it, e.g. "Is there a forest?".
    """

    def __init__(self, message: str, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.nearest = nearest


class Writer(Protocol):
    """Turns questions into programs."""

    @property
    def name(self) -> str:
        """Short name, shown beside answers."""

    def write(self, question: str) -> Written | None:
        """The program of a question; None or `CannotParse` where the writer cannot read it."""


def clean_question(text: str) -> str:
    """A question in Unicode normal form NFKC with single spaces.

    Another language is told by its letters, or by more of its small words than English ones; English is the language of
    the grammars and of the encoders' words.

    Raises:
        GraftError: no words; longer than 1,000 characters; control characters; another script or language.
    """
    if len(text) <= LONGEST:
        text = " ".join(unicodedata.normalize("NFKC", text).split())
    if len(text) > LONGEST:
        raise GraftError(
            f"The question has {len(text):,} characters; expected at most {LONGEST:,}. Ask it shorter, or as several."
        )
    if strange := next((sign for sign in text if unicodedata.category(sign) in _UNPRINTED), None):
        raise GraftError(
            f"The question holds the control character U+{ord(strange):04X}; expected printed text. Type it anew."
        )
    letters = [sign for sign in text if sign.isalpha()]
    if not letters:
        raise GraftError(f'The question holds no words; expected a question in English, such as "{_EXAMPLE}"')
    foreign = [sign for sign in letters if not unicodedata.name(sign, "").startswith("LATIN")]
    words = re.findall(r"[^\W\d_]+", text.casefold())
    if foreign or sum(word in _OTHERS for word in words) > sum(word in _ENGLISH for word in words):
        found = (
            f'letters such as "{foreign[0]}"' if foreign else f'words such as "{min(w for w in words if w in _OTHERS)}"'
        )
        raise GraftError(
            f'The question has {found}, of another language; expected English, such as "{_EXAMPLE}" Ask it in English.'
        )
    return text
