"""Noun phrases: "the largest lakes of more than 2 ha within 200 m of a forest or a road".

    PHRASE = [determiner] [largest | smallest] [size | shape] NOUN {QUALIFIER [and QUALIFIER]}
    QUALIFIER = RELATION GROUP | more than AREA | nearest to PHRASE
    GROUP = PHRASE {and | or PHRASE}

A qualifier belongs to the noun before it; after "a river and a lake" it belongs to the last, after "rivers and lakes"
to all. "and" between references asks for both, "or" for any.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

from graft.vqa.grammar.numbers import AREA, BOUND, LENGTH, bound, metres, square_metres
from graft.vqa.grammar.words import MASS_PLURALS, Nouns, singular
from graft.vqa.tree import Expression, Operation, call

_ARTICLE = (
    r"(?:(?:(?:all|any|some|most|both|each|one) )?of (?:the|these|those)|all the|the|any|an|a|some|all|every|"
    r"each|these|those)"
)
_EMPTY = r"(?:different|distinct|separate|individual|various|existing)"
_DETERMINED = re.compile(rf"({_ARTICLE}(?: {_EMPTY})?|{_EMPTY}) (.+)")
_SUPERLATIVE = {"largest": "largest", "biggest": "largest", "smallest": "smallest"}
SIZES = {
    **{"small": "small", "little": "small", "medium": "medium", "medium-sized": "medium", "medium sized": "medium"},
    **{"large": "large", "big": "large"},
}
SHAPES = {"square": "square", "rectangular": "rectangular", "circular": "circular", "round": "circular"}
_ADJECTIVE = re.compile(rf"({'|'.join(sorted([*SIZES, *SHAPES], key=len, reverse=True))}) (.+)")
_SIDE = r"(?:(?:to|on|in|at) )?(?:the )?"
_PART = r"(?: ?(?:ern|hand))?(?: side)? of"
_RELATIONS = {
    "within": rf"(?:(?:within|in|inside) (?:a (?:radius|distance) of )?|(?:no more|not more|less|closer|nearer) than |"
    rf"at most |up to |under )({LENGTH})(?: (?:away from|of|from|to|around))",
    "north of": rf"{_SIDE}north{_PART}",
    "south of": rf"{_SIDE}south{_PART}",
    "east of": rf"{_SIDE}east{_PART}",
    "west of": rf"{_SIDE}west{_PART}",
    "left of": rf"{_SIDE}left{_PART}",
    "right of": rf"{_SIDE}right{_PART}",
    "top of": rf"{_SIDE}top{_PART}|above",
    "bottom of": rf"{_SIDE}bottom{_PART}|below|beneath",
    "inside": r"inside(?: of)?|within|in(?: the middle of)?|(?:fully |completely |entirely )?(?:surrounded|enclosed) "
    r"by|amid|amidst|among|amongst",
    "touching": r"touching|touches|touch|bordering on|bordering|borders on|borders|border|adjoining|adjoins|adjoin|"
    r"abutting|crossing|crosses|cross|connected to|spanning|(?:running |runs |run |going |goes |go )?(?:through|"
    r"across)|over|on",
    "next to": r"(?:right |directly )?next to|near(?:by| to)?|close(?: by| to)|beside|alongside|along|adjacent to|at|"
    r"by|in the vicinity of|around",
}
_DIAGONALS = re.compile(rf"{_SIDE}(north|south)[ -]?(east|west){_PART}")
_NEAREST = re.compile(r"(?:that is |which is )?(?:nearest|closest)(?: to)? (.+)")
_SIZE = re.compile(
    rf"(?:of |with an area of |covering |that (?:is|are) |which (?:is|are) )?({BOUND}) ({AREA})(?: in (?:size|area))?"
    r"(?: (?:and )?(.+))?"
)
RELATION = rf"(?:{'|'.join(_RELATIONS.values())}|{_DIAGONALS.pattern})"
_QUALIFIER = re.compile(
    rf" (?:(?:that|which) (?:(?:is|are|lie|lies|stand|stands|runs?|goes|go) )?|located |situated |lying )?"
    rf"(?=(?:(?:{RELATION}) \w|{_SIZE.pattern}|nearest |closest to ))"
)
_CONJUNCTION = re.compile(r",? (?:and|or) |, ")
Joined = Literal["and", "or"]
_VARIANTS = 8


@dataclass(frozen=True)
class Phrase:
    """What one noun phrase says.

    Attributes:
        concept: in words.
        variants: its objects; several where it refers to one thing or another, and any of them counts.
        plural: "lakes".
        mass: a plural that is compared by area, "trees".
        plain: a noun alone, so that its mask is all of it.
        determined: it had an article or the like.
    """

    concept: str
    variants: tuple[Expression, ...]
    plural: bool = False
    mass: bool = False
    plain: bool = True
    determined: bool = False

    @property
    def countable(self) -> bool:
        """Whether it is compared by count."""
        return self.plural and not self.mass

    @property
    def objects(self) -> Expression | None:
        """The objects; None where there are several ways to mean them."""
        return self.variants[0] if len(self.variants) == 1 else None


@dataclass(frozen=True)
class Group:
    """Phrases joined by "and" or "or"; one phrase is a group too."""

    joined: Joined
    phrases: tuple[Phrase, ...]

    @property
    def countable(self) -> bool:
        """Whether all of it is compared by count."""
        return all(phrase.countable for phrase in self.phrases)

    @property
    def single(self) -> Phrase | None:
        """The phrase, if it is one."""
        return self.phrases[0] if len(self.phrases) == 1 else None


def join(operator: str, parts: Sequence[Expression]) -> Expression:
    """Truths under one operator, nested ones of the same operator laid flat."""
    flat: list[Expression] = []
    for part in parts:
        flat += part.operands if isinstance(part, Operation) and part.operator == operator else (part,)
    return flat[0] if len(flat) == 1 else Operation(operator, tuple(flat))


def exists(group: Group) -> Expression:
    """Whether there is any of each ("and") or of one ("or")."""
    return join(group.joined, [join("or", [call("exists", of=v) for v in p.variants]) for p in group.phrases])


def mask(group: Group) -> Expression | None:
    """What the group covers; None where a phrase is narrower than its noun."""
    if not all(phrase.plain for phrase in group.phrases):
        return None
    masks: list[Expression] = [call("segment", concept=phrase.concept) for phrase in group.phrases]
    return reduce(lambda left, right: call("union", a=left, b=right), masks)


def covered(group: Group) -> Expression | None:
    """The mask, or the objects of a narrower phrase."""
    return mask(group) or (group.single.objects if group.single else None)


def count(group: Group) -> Expression | None:
    """How many objects."""
    found = [phrase.objects for phrase in group.phrases]
    counts: list[Expression] = [call("count", of=objects) for objects in found if objects is not None]
    return reduce(lambda left, right: Operation("+", (left, right)), counts) if len(counts) == len(found) else None


class PhraseReader:
    """Reads phrases and groups; None where the words are none."""

    def __init__(self, nouns: Nouns) -> None:
        self.nouns = nouns
        self._groups: dict[str, Group | None] = {}

    def forget(self) -> None:
        """Drop what was read of the last question; within one, the same words come up again and again."""
        self._groups.clear()

    def phrase(self, text: str) -> Phrase | None:
        """One phrase."""
        text, determined = _without_determiner(text.strip(" ,"))
        if plain := self._noun(text):
            return replace(plain, determined=determined)
        if found := _QUALIFIER.search(text):
            head = self._headed(text[: found.start()])
            return self._qualified(head, text[found.end() :], determined) if head else None
        head = self._headed(text)
        return replace(head, determined=determined) if head else None

    def group(self, text: str) -> Group | None:
        """Phrases joined by one conjunction."""
        if text not in self._groups:
            self._groups[text] = self._read_group(text)
        return self._groups[text]

    def _read_group(self, text: str) -> Group | None:
        text = re.sub(r"^(?:both|either) ", "", text.strip(" ,"))
        if self._noun(_without_determiner(text)[0]):
            phrase = self.phrase(text)
            return Group("and", (phrase,)) if phrase else None
        found = _QUALIFIER.search(text)
        head, qualifier = (text[: found.start()], text[found.start() :]) if found else (text, "")
        parts = _CONJUNCTION.split(head)
        joined: Joined = "or" if re.search(r" or ", head) else "and"
        if joined == "or" and re.search(r" and ", head):
            return None
        if not all(part.strip() for part in parts):
            return None
        parts = self._completed(parts)
        shared = qualifier if len(parts) > 1 and not _without_determiner(parts[-1])[1] else ""
        phrases = [self.phrase(part + shared) for part in parts[:-1]] + [self.phrase(parts[-1] + qualifier)]
        read = {phrase.variants: phrase for phrase in phrases if phrase}  # "ponds and lakes" are one in a vocabulary
        return Group(joined, tuple(read.values())) if all(phrases) else None

    def _completed(self, parts: list[str]) -> list[str]:
        """The noun that "residential and industrial areas" says once."""
        last = parts[-1].split()[-1]
        nouns = self.nouns
        return [
            f"{part} {last}"
            if not nouns.known(part) and nouns.known(f"{_without_determiner(part)[0]} {last}")
            else part
            for part in parts[:-1]
        ] + parts[-1:]

    def _noun(self, text: str) -> Phrase | None:
        """A noun of the vocabulary, or one without anything that narrows it."""
        known = self.nouns.known(text)
        if not known:
            return None
        return Phrase(known, (call("find", concept=known),), singular(text) is not None, text in MASS_PLURALS)

    def _headed(self, text: str) -> Phrase | None:
        """A noun with adjectives before it."""
        if plain := self._noun(text):
            return plain
        first, _, rest = text.partition(" ")
        if first in _SUPERLATIVE and rest:
            inner = self._headed(rest)
            if inner is None or inner.objects is None or inner.plural:  # "the largest lakes": nobody says how many
                return None
            return replace(inner, variants=(call(_SUPERLATIVE[first], of=inner.objects),), plain=False)
        if found := _ADJECTIVE.fullmatch(text):
            inner = self._headed(found[2])
            return inner and narrowed(inner, found[1])
        concept = self.nouns.concept(text)
        if concept is None:
            return None
        return Phrase(concept, (call("find", concept=concept),), singular(text) is not None, text in MASS_PLURALS)

    def _qualified(self, head: Phrase, text: str, determined: bool) -> Phrase | None:
        head = replace(head, plain=False, determined=determined)
        if found := _SIZE.fullmatch(text):
            sized = _sized(head, found[1], found[2])
            return sized if sized is None or not found[3] else self._qualified(sized, found[3], determined)
        if found := _NEAREST.fullmatch(text):
            reference = self.phrase(found[1])
            if reference is None or reference.objects is None or head.objects is None:
                return None
            return replace(head, variants=(call("nearest", of=head.objects, reference=reference.objects),))
        if found := re.search(r",? (?:and|but) (?=" + RELATION + r" \w)", text):
            begun = self._qualified(head, text[: found.start()], determined)
            return begun and self._qualified(begun, text[found.end() :], determined)
        for steps, reference_text in _relations(text):
            references = self.group(reference_text)
            if references is not None:
                return _related(head, steps, references)
        return None


def narrowed(phrase: Phrase, adjective: str) -> Phrase:
    """A phrase with an adjective of size or shape."""
    fits = {"size": SIZES[adjective]} if adjective in SIZES else {"shape": SHAPES[adjective]}
    return replace(phrase, variants=tuple(call("filter", of=each, **fits) for each in phrase.variants), plain=False)


def _sized(head: Phrase, kind: str, limit: str) -> Phrase | None:
    way = {"more": "larger_than_m2", ">=": "larger_than_m2", "less": "smaller_than_m2", "<=": "smaller_than_m2"}
    if bound(kind) not in way:
        return None
    fits = {way[bound(kind)]: square_metres(limit)}
    return replace(head, variants=tuple(call("filter", of=each, **fits) for each in head.variants))


def bare(text: str) -> str:
    """A phrase without its article."""
    return _without_determiner(text.strip(" ,"))[0]


def _without_determiner(text: str) -> tuple[str, bool]:
    found = _DETERMINED.fullmatch(text)
    return (found[2], True) if found else (text, False)


def _relations(text: str) -> list[tuple[list[tuple[str, float | None]], str]]:
    """Ways to read a relation at the start of a text: its steps, and the text of the reference."""
    if found := re.fullmatch(rf"{_DIAGONALS.pattern} (.+)", text):
        return [([(f"{found[1]} of", None), (f"{found[2]} of", None)], found[3])]
    ways: list[tuple[list[tuple[str, float | None]], str]] = []
    for name, pattern in _RELATIONS.items():
        if found := re.fullmatch(rf"(?:{pattern}) (.+)", text):
            ways.append(([(name, metres(found[1]) if name == "within" else None)], found[found.lastindex or 1]))
    return ways


def _related(head: Phrase, steps: list[tuple[str, float | None]], references: Group) -> Phrase | None:
    def one(of: Expression, reference: Expression) -> Expression:
        for name, limit in steps:
            of = call(
                "where", of=of, relation=name, reference=reference, **({} if limit is None else {"metres": limit})
            )
        return of

    found = list(head.variants)
    if references.joined == "or":
        found = [one(of, r) for of in found for phrase in references.phrases for r in phrase.variants]
    else:
        for phrase in references.phrases:
            found = [one(of, reference) for of in found[:_VARIANTS] for reference in phrase.variants]
    return replace(head, variants=tuple(found)) if len(found) <= _VARIANTS else None
