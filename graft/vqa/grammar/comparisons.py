"""Questions whether there is more of one thing than of another, or than a number says."""

import re

from graft.vqa.grammar.amounts import distance_between, fraction_of
from graft.vqa.grammar.noun_phrase import Group, PhraseReader, count, covered
from graft.vqa.grammar.numbers import (
    AREA,
    BOUND,
    LENGTH,
    NUMBER,
    SHARE,
    Bound,
    bound,
    compared,
    metres,
    number,
    share,
    square_metres,
)
from graft.vqa.grammar.reading import COVERED, LARGER, SMALLER, THIS, WHOLE, Match, Meaning, Rule, rule
from graft.vqa.tree import Expression, Literal, Operation, call

_OF_IT = rf"(?: of (?:the |this )?(?:whole |entire |total )?(?:{WHOLE} )?(?:{WHOLE}|it))?"
_MOST = r"(?:mostly|mainly|predominantly|largely|chiefly|primarily|for the most part)"
_COVERS = r"(?:covers?|occup(?:y|ies)|takes? up|makes? up|accounts? for|spans?|fills?|measures?|exceeds?)"
_FAR_THAN = r"(?:further |farther )?(than|at least|more than|over|exactly)"
_AREA_OF = r"(?:the (?:total )?(?:area|size) (?:of|covered by) )?"


def _held(a: Group | None, kind: str, b: Group | None, by_area: bool = False) -> Meaning | None:
    """Two groups against each other: by count if both are plural, else by area."""
    if a is None or b is None:
        return None
    if a.countable and b.countable and not by_area:
        left, right = count(a), count(b)
    else:
        left, right = _area(a), _area(b)
    return None if left is None or right is None else Meaning("comp", compared(left, bound(kind), right))


def _area(group: Group) -> Expression | None:
    of = covered(group)
    return None if of is None else call("area", of=of)


def more_than(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is there more forest than water?"""
    by_area = re.fullmatch(r"(?:area|land|ground|space|surface)(?: covered by| of| with)? (.+)", found[2])
    a = reader.group(by_area[1] if by_area else found[2])
    return _held(a, f"{found[1]} than", reader.group(found[3]), bool(by_area))


def as_many(found: Match, reader: PhraseReader) -> Meaning | None:
    """Are there as many lakes as rivers, the same number of lakes and rivers?"""
    return _held(reader.group(found[1]), "equal to", reader.group(found[2]))


def multiple(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is there twice as much farmland as forest?"""
    a, b = reader.group(found[2]), reader.group(found[3])
    if a is None or b is None:
        return None
    by_count = a.countable and b.countable
    left, right = (count(a), count(b)) if by_count else (_area(a), _area(b))
    factor = 2 if found[1] == "twice" else number(found[1].removesuffix(" times"))
    if left is None or right is None:
        return None
    return Meaning("comp", compared(left, ">=", Operation("*", (Literal(factor), right))))


def counted(found: Match, reader: PhraseReader) -> Meaning | None:
    """Are there more than twenty buildings?"""
    group = reader.group(found[3])
    value = (
        count(group)
        if group and all(p.plural or not p.plain or found[2] in ("1", "one") for p in group.phrases)
        else None
    )
    kind = bound(found[1]) if found[1] else "equal"
    return None if value is None else Meaning("comp", compared(value, kind, number(found[2])))


def or_more(found: Match, reader: PhraseReader) -> Meaning | None:
    """Are there two or more lakes?"""
    group = reader.group(found[3])
    value = count(group) if group else None
    kind: Bound = ">=" if found[2] == "more" else "<="
    return None if value is None else Meaning("comp", compared(value, kind, number(found[1])))


def share_held(found: Match, reader: PhraseReader) -> Meaning | None:
    """More than 50 % forest? Is more than half of the area covered by trees?"""
    value = fraction_of(found[3], reader)
    kind = "more" if found[1] is None else bound(found[1])
    return None if value is None else Meaning("comp", compared(value, kind, share(found[2])))


def area_held(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is there more than 3 ha of forest?"""
    group = reader.group(found[3])
    value = _area(group) if group else None
    return None if value is None else Meaning("comp", compared(value, bound(found[1]), square_metres(found[2])))


def mostly(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is it mostly farmland?"""
    value = fraction_of(found[1], reader)
    return None if value is None else Meaning("comp", call("compare", a=value, op="more", b=0.5))


def larger(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the lake larger than the forest?"""
    kind = "more than" if re.fullmatch(LARGER, found[2]) else "less than"
    return _held(reader.group(found[1]), kind, reader.group(found[3]), True)


def larger_than(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the largest lake larger than 1 km2? Does the forest cover at least 3 ha?"""
    text = re.sub(rf"^the (?:total )?(?:area|land|ground|surface)(?: {COVERED}| of) ", "", found[1])
    group = reader.group(text)
    value = _area(group) if group else None
    return None if value is None else Meaning("comp", compared(value, bound(found[2]), square_metres(found[3])))


def covers_share(found: Match, reader: PhraseReader) -> Meaning | None:
    """Does the forest cover more than 20 % of the area?"""
    value = fraction_of(re.sub(r"^(?:the )?(?:area|share|percentage|proportion) of ", "", found[1]), reader)
    kind = bound(found[2]) if found[2] else ">="
    return None if value is None else Meaning("comp", compared(value, kind, share(found[3])))


def covers_more(found: Match, reader: PhraseReader) -> Meaning | None:
    """Does the forest cover more ground than the water?"""
    return _held(reader.group(found[1]), f"{found[2]} than", reader.group(found[3]), True)


def number_of(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the number of lakes larger than the number of rivers, or than 5?"""
    a = reader.group(found[1])
    kind = re.sub(r"^(?:the same as|as large as|as high as|equal to|identical to)$", "equal to", found[2])
    left = count(a) if a else None
    if left is None:
        return None
    if re.fullmatch(NUMBER, found[3]):
        return Meaning("comp", compared(left, bound(kind), number(found[3])))
    b = reader.group(re.sub(r"^(?:the number of|that of) ", "", found[3]))
    right = count(b) if b else None
    return None if right is None else Meaning("comp", compared(left, bound(kind), right))


def half(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is half of the area forest?"""
    value = fraction_of(found[2], reader)
    return None if value is None else Meaning("comp", compared(value, ">=", share(found[1])))


def apart(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the distance between the village and the river less than 500 m?"""
    value = distance_between(found[1], found[2], reader)
    return None if value is None else Meaning("comp", compared(value, bound(found[3]), metres(found[4])))


def far(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the airport at least 5 km from the city?"""
    value = distance_between(found[1], found[4], reader)
    return (
        None
        if value is None
        else Meaning("comp", compared(value, "more" if found[2] == "than" else bound(found[2]), metres(found[3])))
    )


def closer(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the lake closer to the forest than to the road?"""
    near, distant = (distance_between(found[1], found[n], reader) for n in (3, 4))
    if near is None or distant is None:
        return None
    kind = "less" if found[2] in ("closer", "nearer") else "more"
    return Meaning("comp", call("compare", a=near, op=kind, b=distant))


AMOUNTS: tuple[Rule, ...] = (
    rule(rf"({BOUND}) ({SHARE})(?: of)?(?: {COVERED})? (.+)", share_held),
    rule(rf"({BOUND}) ({AREA})(?: of| {COVERED}) (.+)", area_held),
    rule(rf"(twice|{NUMBER} times) as (?:much|many) (.+?) as (.+)", multiple),
    rule(rf"({NUMBER}) or (more|fewer|less) (.+)", or_more),
    rule(rf"({BOUND}) ({NUMBER}) (.+)", counted),
    rule(rf"(?:only |just )?()({NUMBER}) (.+)", counted),
    rule(r"(more|less|fewer) (.+) than (.+)", more_than),
    rule(r"as (?:many|much) (.+) as (.+)", as_many),
    rule(r"(?:the same|an equal) (?:number|amount) of (.+) (?:and|as) (.+)", as_many),
)
"""What there is: the rest of "is there" and "which tiles have"."""
RULES: tuple[Rule, ...] = (
    rule(rf"(?:is|are) {THIS} {_MOST} (?:an? )?(.+)", mostly),
    rule(rf"(?:does|do) {THIS} (?:{_MOST} (?:consist of|show|contain)|consist {_MOST} of) (.+)", mostly),
    rule(rf"(?:is|are) most{_OF_IT} (.+)", mostly),
    rule(rf"(?:is|are) ({BOUND}) ({SHARE})(?: of(?: (?:the|this|its))?(?: {WHOLE})+)? (.+)", share_held),
    rule(rf"(?:is|are) {THIS} (?:dominated by|mostly covered (?:by|with|in)) (.+)", mostly),
    rule(rf"(?:is|are) ({SHARE}) of(?: (?:the|this))?(?: {WHOLE})+ (.+)", half),
    rule(rf"is the distance (?:between|from) (.+?) (?:and|to) (.+?) ({BOUND}) ({LENGTH})", apart),
    rule(rf"is the number of (.+?) ({BOUND}|the same as|as large as|as high as|identical to) (.+)", number_of),
    rule(rf"(?:is|are) (.+?) ({BOUND}) ({AREA})(?: in (?:size|area))?", larger_than),
    rule(rf"(?:is|are) (.+?) {_FAR_THAN} ({LENGTH})(?: away)? from (.+)", far),
    rule(
        r"(?:is|are) (.+?) (closer|nearer|farther|further) (?:away )?(?:to|from) (.+?) "
        r"than (?:to |from |it is to )?(.+)",
        closer,
    ),
    rule(rf"(?:is|are) {_AREA_OF}(.+?) ({LARGER}|{SMALLER})(?: in (?:size|area))? than {_AREA_OF}(.+)", larger),
    rule(rf"(?:does|do) (.+?) {_COVERS} (?:({BOUND}) )?({SHARE}){_OF_IT}", covers_share),
    rule(rf"(?:does|do) (.+?) {_COVERS} ({BOUND}) ({AREA})(?: of land)?", larger_than),
    rule(
        rf"(?:does|do) (.+?) {_COVERS} (?:an? )?(more|less|larger|smaller)(?: {WHOLE}| space)? than (.+)", covers_more
    ),
)
