"""Nouns of questions: which words can name something on the ground, and the singular of each."""

import re
from functools import cache
from typing import Protocol

LONGEST = 5
"""Words of a noun that is not in the vocabulary."""


class Vocabulary(Protocol):
    """What a grammar asks of `graft.vqa.concepts.Concepts`."""

    def known(self, phrase: str) -> str | None:
        """The canonical name of what a phrase says, None if it is not known."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION_WORDS = _words(
    "a an the any some no not none all every each both either neither or and but nor than then as of from to in "
    "into on at by with without within between for about around against towards per via up down out off over "
    "under near next is are was were be been being am do does did done has have had having can could will would "
    "shall should may might must there here this that these those it its he she they them their we us our you "
    "your i me my who whom whose what which where when why how if whether only also too very more most "
    "less least much many few fewer several enough other another same such so just still yet ever never always "
    "now today yesterday tomorrow ago last since before after during until while because please yes zero one "
    "two three four five six seven eight nine ten twice half third quarter percent times larger bigger smaller "
    "greater largest biggest smallest nearest closest far close farther closer equal cover covers covered "
    "covering contain contains containing show shows showing lie lies lying live lives stand stands look looks "
    "looking see seen seems visible present located grow grows grown change changed second fourth fifth single "
    "sole anything everything nothing something somewhere work works own owns flow flows pass passes lead leads "
    "run runs sit sits exceed exceeds reach reaches get got go goes make makes made take takes taken cross "
    "crosses touch touches border borders surround surrounds surrounded inside outside beside along across "
    "shrunk shrinking mostly mainly largely question answer image images picture pictures photo photos "
    "photograph scene scenes tile tiles map screenshot"
)
_UNSEEN = _words(
    "people person persons population inhabitant resident citizen family owner name price cost value rent "
    "income tax age year date time day month season weather temperature wind rain humidity pressure speed limit "
    "traffic noise crime density yield height depth width length perimeter elevation altitude slope volume "
    "colour color brand country history damage risk quality health species reason law address pixel"
)
"""Heads of phrases that no image shows."""
_ASKING = _words(
    "kind type sort number amount size area distance part share percentage proportion fraction ratio thing land cover "
    "coverage difference average total maximum minimum option sign evidence "
    "trace"
)
"""Words to ask with, which name nothing alone or before "of"."""
_DIRECTIONS = _words(
    "north south east west northern southern eastern western top bottom left right corner centre center middle "
    "edge side half upper lower rest remainder"
)
_TOKEN = re.compile(r"(?!\w{2,}ly$)[^\W\d_]\w*(?:-\w+)*")
"""Any word but an adverb."""
_ADJECTIVES = {
    "green": "green space",
    "vegetated": "vegetation",
    "wooded": "forest",
    "forested": "forest",
    "cultivated": "farmland",
    "farmed": "farmland",
    "agricultural": "farmland",
    "under cultivation": "farmland",
    "built on": "built-up area",
    "developed": "built-up area",
    "flooded": "water",
    "under water": "water",
    "paved": "paved area",
}
_SINGULAR_ENDS = ("ss", "us", "is", "gas", "lens", "canvas")
_KEPT = frozenset({"woods", "premises", "barracks", "headquarters", "works", "stairs", "gasworks"})
_IRREGULAR = _words("men women people children geese feet teeth mice oxen cattle sheep lice dice strata")
MASS_PLURALS = _words("trees crops woods plants shrubs bushes grasses waters sands weeds")
"""Plurals that nobody counts in a satellite image: they are compared by area."""


def singular(phrase: str) -> str | None:
    """The singular of a plural noun phrase; None if it is no plural."""
    head, of, rest = phrase.partition(" of ")
    before, space, last = head.rpartition(" ")
    made = _singular_word(last)
    return None if made is None else before + space + made + of + rest


@cache
def _singular_word(word: str) -> str | None:
    import inflect

    if word.endswith(_SINGULAR_ENDS) or word in _KEPT or not word.isalpha():
        return None
    if not word.endswith("s") and word not in _IRREGULAR:
        return None  # without inflect, whose import takes seconds
    found = inflect.engine().singular_noun(word)
    return found if isinstance(found, str) and found != word else None


class Nouns:
    """Names of things, resolved by a vocabulary and remembered."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._seen: dict[str, str | None] = {}

    def known(self, phrase: str) -> str | None:
        """The vocabulary's name of a phrase."""
        if phrase not in self._seen:
            self._seen[phrase] = self._vocabulary.known(phrase)
        return self._seen[phrase]

    def concept(self, phrase: str) -> str | None:
        """The concept that a bare noun phrase names: the vocabulary's, else its own words in the singular.

        None for what is no noun phrase of at most five words, and for what no image shows ("population").
        """
        if not phrase:
            return None
        if name := self.known(phrase):
            return name
        if adjective := self.adjective(phrase):
            return adjective
        words = phrase.split()
        bare = [word for number, word in enumerate(words) if not (word == "of" and 0 < number < len(words) - 1)]
        if len(words) > LONGEST or not all(map(_TOKEN.fullmatch, bare)) or not FUNCTION_WORDS.isdisjoint(bare):
            return None
        single = singular(phrase) or phrase
        before, of, _ = single.partition(" of ")
        head = before.split()[-1]
        if (
            phrase in _DIRECTIONS
            or before in _ASKING
            or (of and head in _ASKING)
            or not _UNSEEN.isdisjoint((head, bare[-1], singular(head) or head))
        ):
            return None
        return self.known(single) or self.known(single.removesuffix(" edge")) or single

    def adjective(self, phrase: str) -> str | None:
        """The concept that an adjective stands for: "built up", "wooded", "residential"."""
        if phrase in _ADJECTIVES:
            return self.known(_ADJECTIVES[phrase]) or _ADJECTIVES[phrase]
        return self.known(f"{phrase} area") if " " not in phrase or phrase == "built up" else None
