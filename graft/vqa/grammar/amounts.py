"""Questions for a number: how many, how much, how large, how far."""

import re

from graft.vqa.grammar.noun_phrase import RELATION, SHAPES, SIZES, Group, PhraseReader, count, covered, mask, narrowed
from graft.vqa.grammar.numbers import AREA, AREA_UNIT, BOUND, LENGTH_UNIT
from graft.vqa.grammar.reading import COVERED, LARGER, SMALLER, THIS, WHOLE, Match, Meaning, Rule, meant, rule
from graft.vqa.tree import Expression, Literal, Operation, call

_VERBS = (
    rf"(?:(?:does|do) {THIS} (?:show|have|contain)|"
    r"(?:can|could|do|did) (?:you|we|i) (?:see|find|count|have|spot|identify|detect|recogni[sz]e)|"
    r"(?:you|we|i) can see|can be (?:seen|found|counted)|are there|is there|there are|that are|which are|that lie|"
    r"are|is|exist|lie|lies|stand|stands|visible|located|situated|found|present|we have|i have)"
)
_VERB = re.compile(rf"(?:^| ){_VERBS}(?= |$)")
_PREDICATE = re.compile(rf"(.+) (?:are|is) ({'|'.join([*SIZES, *SHAPES])})")
_OF = r"(?:covered by|covered with|occupied by|taken up by|of|for)"
_SHARE = r"(?:percentage|percent|per cent|proportion|share|fraction|part|portion|%)"
_MASS = r"(?:area|land|ground|space|surface|terrain)"


def _count(text: str, reader: PhraseReader) -> Expression | None:
    if found := _PREDICATE.fullmatch(text):
        phrase = reader.phrase(found[1])
        return call("count", of=objects) if phrase and (objects := narrowed(phrase, found[2]).objects) else None
    if found := re.fullmatch(rf"(.+?) (?:are|is) not ({RELATION} .+)", text):
        everything, some = reader.phrase(found[1]), reader.phrase(f"{found[1]} {found[2]}")
        if everything is None or some is None or everything.objects is None or some.objects is None:
            return None
        return Operation("-", (call("count", of=everything.objects), call("count", of=some.objects)))
    group = reader.group(" ".join(_VERB.sub("", text).split()))
    return None if group is None else count(group)


def how_many(found: Match, reader: PhraseReader) -> Meaning | None:
    """How many lakes are there?"""
    value = _count(found[1], reader)
    return meant("count", value)


def how_many_more(found: Match, reader: PhraseReader) -> Meaning | None:
    """How many more houses than factories are there?"""
    more, less = (_count(text, reader) for text in (found[2], found[3]))
    if more is None or less is None:
        return None
    return Meaning("count", Operation("-", (more, less) if found[1] == "more" else (less, more)))


def _area_of(group: Group | None) -> Expression | None:
    of = covered(group) if group else None
    return None if of is None else call("area", of=of)


def how_large(found: Match, reader: PhraseReader) -> Meaning | None:
    """How large is the forest?"""
    value = _area_of(reader.group(found[1]))
    return meant("area", value)


def how_much(found: Match, reader: PhraseReader) -> Meaning | None:
    """How much forest is there?"""
    text = " ".join(_VERB.sub("", found[1]).split())
    text = re.sub(rf"^{COVERED} ", "", text)
    group = reader.group(text)
    if group and (covers := mask(group)):
        return Meaning("area", call("area", of=covers))
    if placed := re.fullmatch(r"(.+?) (?:in|inside|within) (.+)", text):
        pair = [mask(g) for part in placed.groups() if (g := reader.group(part))]
        if len(pair) == 2 and pair[0] and pair[1]:
            return Meaning("area", call("area", of=call("intersection", a=pair[0], b=pair[1])))
    if group and group.countable:  # of a mass, what lies within 1 km of a road is no object of its own
        value = _area_of(group)
        return meant("area", value)
    return None


def how_much_more(found: Match, reader: PhraseReader) -> Meaning | None:
    """How much more forest than water is there?"""
    more, less = (_area_of(reader.group(" ".join(_VERB.sub("", text).split()))) for text in (found[2], found[3]))
    if more is None or less is None:
        return None
    return Meaning("area", Operation("-", (more, less) if found[1] in ("more", "larger", "bigger") else (less, more)))


def average(found: Match, reader: PhraseReader) -> Meaning | None:
    """What is the average size of the lakes?"""
    phrase = reader.phrase(found[1])
    if phrase is None or phrase.objects is None:
        return None
    total, number = call("area", of=phrase.objects), call("count", of=phrase.objects)
    return Meaning("area", Operation("/", (total, number)))


def share(found: Match, reader: PhraseReader) -> Meaning | None:
    """How much of the area is forest?"""
    value = fraction_of(found[1], reader)
    return meant("share", value)


def fraction_of(text: str, reader: PhraseReader) -> Expression | None:
    """The share of the image that "(not) (covered by) forest" is."""
    text, negated = re.subn(r"^(?:not|neither) ", "", text)
    text = re.sub(rf"^{COVERED} ", "", text)
    text, neither = re.subn(r" nor ", " or ", text)
    group = reader.group(text)
    covers = mask(group) if group and (negated or not neither) else None
    if covers is None:
        return None
    fraction = call("fraction", of=covers)
    return Operation("-", (Literal(1), fraction)) if negated else fraction


def share_of(found: Match, reader: PhraseReader) -> Meaning | None:
    """What share of the buildings is within 500 m of the forest? How much of the built-up area is green space?"""
    of, predicate = reader.phrase(found[1]), found[2]
    if of is None or of.objects is None:
        return None
    if re.match(rf"(?:{RELATION} \w|{BOUND} {AREA})", predicate):
        some = reader.phrase(f"{found[1]} {predicate}") if of.countable else None
        if some is None or some.objects is None:
            return None
        return Meaning("share", Operation("/", (call("count", of=some.objects), call("count", of=of.objects))))
    group = reader.group(re.sub(rf"^{COVERED} ", "", predicate))
    whole, part = mask(Group("and", (of,))), mask(group) if group else None
    if whole is None or part is None:
        return None
    both = call("area", of=call("intersection", a=part, b=whole))
    return Meaning("share", Operation("/", (both, call("area", of=whole))))


def ratio(found: Match, reader: PhraseReader) -> Meaning | None:
    """What is the ratio of forest to farmland?"""
    pair = [reader.group(found[1]), reader.group(found[2])]
    groups = [group for group in pair if group]
    values = [count(g) if all(h.countable for h in groups) else _area_of(g) for g in groups]
    parts = [value for value in values if value is not None]
    return Meaning("share", Operation("/", (parts[0], parts[1]))) if len(parts) == 2 else None


def times(found: Match, reader: PhraseReader) -> Meaning | None:
    """How many times larger is the forest than the lake?"""
    parts = [value for text in (found[1], found[2]) if (value := _area_of(reader.group(text)))]
    return Meaning("share", Operation("/", (parts[0], parts[1]))) if len(parts) == 2 else None


def distance(found: Match, reader: PhraseReader) -> Meaning | None:
    """How far is the nearest lake from the forest?"""
    value = distance_between(found[1], found[2], reader)
    return meant("distance", value)


def distance_between(first: str, second: str, reader: PhraseReader) -> Expression | None:
    """The shortest way between two phrases."""
    pair = [reader.phrase(re.sub(r"^(the |its )?(nearest|closest) ", "the ", text)) for text in (first, second)]
    ends = [phrase.objects for phrase in pair if phrase and phrase.objects is not None]
    return call("distance", a=ends[0], b=ends[1]) if len(ends) == 2 else None


_COVER = r"(?:cover|occupy|take up|make up)"
_FAR = rf"how (?:far(?: away)?|close|many {LENGTH_UNIT}|distant)"
RULES: tuple[Rule, ...] = (
    rule(r"how far apart (?:is|are) (.+?) and (.+)", distance),
    rule(rf"{_FAR} (?:is|are) (.+?) (?:away )?(?:from|to) (.+)", distance),
    rule(rf"{_FAR} (?:is it|are there|is there|lie|lies) (?:from|between) (.+?) (?:to|and) (.+)", distance),
    rule(r"what(?:'s| is) the (?:\w+ )?distance (?:between|from|of) (.+?) (?:and|to|from) (.+)", distance),
    rule(rf"how many times (?:as )?(?:{LARGER}|large|big|more extensive) (?:is|are) (.+?) (?:than|as) (.+)", times),
    rule(r"how many (more|fewer|less) (.+?) than (.+)", how_many_more),
    rule(
        rf"(?:how much|what {_SHARE}|how many {_SHARE}|how large a {_SHARE}|which {_SHARE}|what's the {_SHARE}|"
        rf"what is the {_SHARE}) of (?:the |this |all )?(?:whole |entire |total )?(?:{WHOLE} )*(?:{WHOLE}|surface area)"
        rf" (?:that )?(?:is|are) (.+)",
        share,
    ),
    rule(
        rf"(?:how much|what {_SHARE}) of (?:the |this )?(?:{WHOLE} )*{WHOLE} (?:does|do|is) (.+?) "
        rf"(?:{_COVER}|covering)",
        share,
    ),
    rule(
        rf"(?:how much|what {_SHARE}|how many {_SHARE}) of (?:all )?((?:the )?.+?) "
        rf"(?:is|are|lie|lies|stand|stands) (.+)",
        share_of,
    ),
    rule(
        rf"what(?:'s| is) the (?:\w+ )?{_SHARE} of (?:area |land )?(?:{COVERED} )?(.+)",
        share,
    ),
    rule(rf"what(?:'s| is) the (.+?) (?:cover|coverage|{_SHARE})", share),
    rule(r"what(?:'s| is) the (?:\w+ )?coverage (?:of|by) (.+)", share),
    rule(rf"(?:what|how large|how big) {_SHARE} (?:is|are) (.+)", share),
    rule(r"how (?:much|many percent) (?:is|are) (?:covered (?:by|with)) (.+)", share),
    rule(r"what(?:'s| is) the ratio (?:of|between) (.+?) (?:to|and) (.+)", ratio),
    rule(r"how much (more|less) (.+?) than (.+)", how_much_more),
    rule(rf"how much ({LARGER}|{SMALLER}) (?:is|are) (.+?) than (.+)", how_much_more),
    rule(rf"how many {AREA_UNIT} (?:of )?(?:{_MASS} )?(.+)", how_much),
    rule(rf"how many {AREA_UNIT} do(?:es)? (.+?) (?:{_COVER}|measure|have|span)", how_large),
    rule(r"what(?:'s| is) the (?:average|mean) (?:size|area|extent) of (.+)", average),
    rule(r"how (?:large|big|extensive) (?:is|are) (.+?) on average", average),
    rule(rf"how (?:large|big|extensive) (?:is|are) the (?:total )?{_MASS} {_OF} (.+)", how_large),
    rule(r"how (?:large|big|extensive|great) (?:is|are) (.+)", how_large),
    rule(r"what(?:'s| is) (.+?)(?:'s|') (?:total )?(?:area|size|extent)", how_large),
    rule(
        rf"what(?:'s| is) the (?:total |overall |combined |whole |exact )?(?:area|size|extent|surface|surface area|"
        rf"acreage) (?:that is |which is )?{_OF} (?:all )?(.+)",
        how_large,
    ),
    rule(rf"(?:what|how much|how large an?) {_MASS} (?:do|does) (.+?) (?:{_COVER}|have|need|span)", how_large),
    rule(rf"how much {_MASS} (?:is|are) (?:{COVERED} )?(.+)", how_much),
    rule(r"how much (.+)", how_much),
    rule(
        r"(?:how many|what(?:'s| is) the (?:total |exact |overall )?(?:number|amount|count) of|"
        r"(?:the )?number of|count of) (.+)",
        how_many,
    ),
    rule(r"(?:please )?count (?:up )?(?:all )?(.+)", how_many),
)
