"""Questions for a place, for objects, for one of some options, and for tiles of a collection."""

import re

from graft.vqa.grammar import yes_no
from graft.vqa.grammar.noun_phrase import SHAPES, SIZES, Group, Phrase, PhraseReader, bare, covered, narrowed
from graft.vqa.grammar.reading import HERE, LARGER, SMALLER, WHOLE, Match, Meaning, Rule, first, rule
from graft.vqa.grammar.words import singular
from graft.vqa.tree import Choice, Expression, Items, Literal, call

KINDS = ("residential area", "industrial area", "farmland", "forest", "meadow", "wetland", "water area", "beach")
"""Options where a question names none."""
_EQUAL = "equal"


def place(found: Match, reader: PhraseReader) -> Meaning | None:
    """Where is the largest lake?"""
    phrase = reader.phrase(found[1])
    if phrase is None or phrase.objects is None:
        return None
    return Meaning("place", call("position", of=phrase.objects))


def objects(found: Match, reader: PhraseReader) -> Meaning | None:
    """Which lakes are next to a forest? Show all lakes."""
    phrase = reader.phrase(found[1])
    if phrase is None or phrase.objects is None:
        return None
    return Meaning("objects", phrase.objects)


def these_objects(found: Match, reader: PhraseReader) -> Meaning | None:
    """Which lakes are within 200 m of a road?"""
    phrase = reader.phrase(f"{found[1]} {found[2]}")
    if phrase is None or phrase.plain or phrase.objects is None:
        return None
    return Meaning("objects", phrase.objects)


def superlative(found: Match, reader: PhraseReader) -> Meaning | None:
    """Which field is the largest?"""
    phrase = reader.phrase(f"{found[2]} {singular(bare(found[1])) or found[1]}")
    return Meaning("objects", phrase.objects) if phrase and phrase.objects is not None else None


def closest(found: Match, reader: PhraseReader) -> Meaning | None:
    """What is the closest road to the lake?"""
    phrase = reader.phrase(f"{found[1]} nearest to {found[2]}")
    return Meaning("objects", phrase.objects) if phrase and phrase.objects is not None else None


def shaped(found: Match, reader: PhraseReader) -> Meaning | None:
    """Which fields are circular?"""
    phrase = reader.phrase(found[1])
    fitting = narrowed(phrase, found[2]).objects if phrase else None
    return None if fitting is None else Meaning("objects", fitting)


def which_larger(found: Match, reader: PhraseReader) -> Meaning | None:
    """Which is larger, the forest or the lake?"""
    return _winner(found[2], found[3], bool(re.fullmatch(rf"{SMALLER}|less", found[1])), reader, False)


def which_more(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is there more forest or more farmland?"""
    return _winner(found[2], found[3], found[1] != "more", reader, True)


def more_common(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is forest or farmland more common?"""
    return _winner(found[1], found[2], found[3] == "less", reader, found[4] != "extensive")


def _winner(first: str, second: str, less: bool, reader: PhraseReader, counts: bool) -> Meaning | None:
    """The name of what has more area, or, if both are plural, number; "equal" if neither has more."""
    a, b = reader.phrase(first), reader.phrase(second)
    if a is None or b is None:
        return None
    groups = (Group("and", (a,)), Group("and", (b,)))
    by_count = counts and all(group.countable for group in groups)
    amounts: list[Expression] = []
    for group in groups:
        of = group.phrases[0].objects if by_count else covered(group)
        if of is None:
            return None
        amounts.append(call("count" if by_count else "area", of=of))
    wins = [call("compare", a=amounts[n], op="less" if less else "more", b=amounts[1 - n]) for n in (0, 1)]
    otherwise = Choice(wins[1], Literal(_said(second, b, reader)), Literal(_EQUAL))
    return Meaning("comp", Choice(wins[0], Literal(_said(first, a, reader)), otherwise))


def _said(text: str, phrase: Phrase, reader: PhraseReader) -> str:
    """The asker's word for a thing, in the singular: "village" and not the vocabulary's "residential area"."""
    word = bare(text)
    if not phrase.plain or (not reader.nouns.known(word) and reader.nouns.adjective(word)):
        return phrase.concept
    return singular(word) or word


def rural_or_urban(_: Match, __: PhraseReader) -> Meaning | None:
    """Is it a rural or an urban area?"""
    return Meaning("rural_urban", call("rural_or_urban"))


def options(found: Match, reader: PhraseReader) -> Meaning | None:
    """What kind of area is this: a city, a village or farmland?"""
    named: dict[str, str] = {}
    for part in re.split(r",? or (?:rather )?|, ", found[1]):
        phrase = reader.phrase(part)
        if phrase is None or not phrase.plain:
            return None
        named.setdefault(phrase.concept, _said(part, phrase, reader))
    return _classified(list(named.values()))


def any_kind(_: Match, reader: PhraseReader) -> Meaning | None:
    """What kind of area is this?"""
    return _classified(list(KINDS))


def _classified(named: list[str]) -> Meaning | None:
    return Meaning("classify", call("classify", options=Items(tuple(map(Literal, named))))) if len(named) > 1 else None


def how_sure(found: Match, reader: PhraseReader) -> Meaning | None:
    """How sure are you that this is an airport?"""
    phrase = reader.phrase(found[1])
    return Meaning("classify", call("score", concept=phrase.concept)) if phrase and phrase.plain else None


_TILES = r"(?:tiles?|images?|scenes?|pictures?|photos?|places?|locations?|areas?|maps?|ones)"
_THIS = rf"(?:it|this|that|shown|here|(?:the|this|that) {WHOLE})"
_LIST = (
    r"(?:show|find|list|give|get|highlight|mark|outline|locate|draw|map|display|search for|"
    r"look for|point out|segment)(?: me| us)?"
)
_KIND = r"(?:kind|type|sort|class|category|use)"
_AREA = rf"(?:{WHOLE}|place|environment|setting|terrain|land cover|land use|location)"


def tiles(found: Match, reader: PhraseReader) -> Meaning | None:
    """Which tiles have a harbour next to a forest?"""
    meaning = yes_no.there_is(found[1], reader)
    return None if meaning is None else Meaning("tiles", meaning.value)


def tiles_where(found: Match, reader: PhraseReader) -> Meaning | None:
    """Which tiles are mostly forest? Tiles where the lake is larger than the forest."""
    clause = re.sub(r"^(there|.+?) (is|are) ", r"\2 \1 ", found[1])
    clause = re.sub(r"^(.+?) (covers?|takes? up|touche?s?|contains?|makes? up) ", r"does \1 \2 ", clause)
    for text in (found[1], clause, f"are it {found[1]}", f"is it {found[1]}"):
        if meaning := first(yes_no.RULES, re.sub(r"^are it ", "is it ", text), reader):
            return Meaning("tiles", meaning.value)
    return None


TILES: tuple[Rule, ...] = (
    rule(
        rf"(?:in |on )?(?:which|what) (?:of the )?{_TILES} (?:do |does |can )?(?:have|has|contain|show|include|"
        rf"you see|i see|with|feature|we have) (.+)",
        tiles,
    ),
    rule(rf"(?:in |on )?(?:which|what) (?:of the )?{_TILES} ((?:is|are) there .+)", tiles_where),
    rule(rf"(?:in|on|for) (?:which|what) (?:of the )?{_TILES} ((?:is|are|does|do) .+)", tiles_where),
    rule(rf"(?:in |on )?(?:which|what) (?:of the )?{_TILES} (?:(?:is|are) )?(.+)", tiles_where),
    rule(
        rf"(?:{_LIST} )?(?:all |every |any )?(?:of )?(?:the )?{_TILES} (?:with|that contain|that have|"
        rf"containing|showing|having|which have|which contain|"
        rf"that show|that include|of) (.+)",
        tiles,
    ),
    rule(
        rf"(?:{_LIST} )?(?:all |every |any )?(?:of )?(?:the )?{_TILES} "
        rf"(?:where|in which|that are|which are|that is|for which) (.+)",
        tiles_where,
    ),
)
KINDS_ASKED: tuple[Rule, ...] = (
    rule(rf"(?:what|which) {_KIND} of {_AREA} (?:is|are|do you see)(?: {_THIS})?", any_kind),
    rule(
        rf"what(?:'s| is) the (?:dominant|main|most common|prevailing|primary|principal|predominant)?(?: {_KIND} of)? ?"
        rf"(?:land cover|land use|landcover|landuse|{_AREA}|{_KIND})(?: {_KIND})?",
        any_kind,
    ),
)
RULES: tuple[Rule, ...] = (
    rule(
        rf"(?:is|are) {_THIS} (?:more )?(?:an? )?(?:rural|urban)(?: {_AREA})? or "
        rf"(?:an? )?(?:more )?(?:rural|urban)(?: {_AREA})?",
        rural_or_urban,
    ),
    rule(rf"(?:rural|urban) or (?:rural|urban)(?: {_AREA})?", rural_or_urban),
    rule(
        rf"(?:what|which) {_KIND} of {_AREA} (?:is|are|do you see|does) {_THIS}(?: show)?[:,]? (?:is it )?(.+ or .+)",
        options,
    ),
    rule(rf"(?:is|are) (?:{_THIS}|the {_AREA})(?: {_AREA})? (.+ or .+)", options),
    rule(rf"what (?:is|does) {_THIS}(?: show)?[:,] (.+ or .+)", options),
    rule(rf"(?:classify|label) {_THIS}(?: as)?:? (.+ or .+)", options),
    rule(r"how (?:sure|certain|confident) are you (?:that )?(?:this|it) (?:is|shows) (.+)", how_sure),
    rule(
        r"how (?:much like|similar to|likely to be|likely is it to be) (.+) (?:is|does) (?:this|it)(?: look)?", how_sure
    ),
    rule(
        rf"(?:which|what)(?: one)? (?:is|are|covers|cover|takes up|occupies|has)(?: the| a)? ?"
        rf"({LARGER}|{SMALLER}|more|less)(?: {WHOLE}| space)?[:,]? (.+) or (.+)",
        which_larger,
    ),
    rule(
        r"(?:(?:is|are) there|do (?:we|you) (?:have|see)) (more|less|fewer) (.+) or (?:(?:more|less|fewer) )?(.+)",
        which_more,
    ),
    rule(r"(?:which|what) is (more|less) (?:common|frequent|widespread)[:,]? (.+) or (.+)", which_more),
    rule(r"(?:is|are) (.+) or (.+) (more|less) (common|frequent|widespread|extensive)", more_common),
    rule(
        r"where(?:'s| is| lies| are| can i find| do you see| can (?:you|i|we) see) "
        r"(the (?:largest|biggest|smallest) .+)",
        place,
    ),
    rule(r"where are (.+)", objects),
    rule(rf"(?:{_LIST} )?where (?:{HERE} )?(?:is )?(.+?)(?: is)?", place),
    rule(r"where(?:'s| is| lies| can i find| do you see| can (?:you|i|we) see) (.+?)(?: located| situated)?", place),
    rule(
        rf"(?:in|on|at) (?:which|what) (?:part|corner|region|side|area|section|quadrant|place)"
        rf"(?: of (?:the|this) {WHOLE})? (?:is|are|lies) (.+)",
        place,
    ),
    rule(r"what(?:'s| is) the (?:position|location|whereabouts) of (.+)", place),
    rule(r"(?:which|what) (.+?) is (?:the )?(largest|biggest|smallest)", superlative),
    rule(rf"(?:which|what) (.+?) (?:are|is) ({'|'.join([*SIZES, *SHAPES])})", shaped),
    rule(r"(?:which|what) (.+?) (?:is|are|lie|lies|stand|stands) (.+)", these_objects),
    rule(r"(?:which|what) (.+?) ((?:borders?|touch(?:es)?|adjoins?|cross(?:es)?|surrounds?) .+)", these_objects),
    rule(r"(?:which|what)(?:'s| is) the (?:closest|nearest) (.+) to (.+)", closest),
    rule(r"(?:which|what)(?:'s| is| are) (the (?:largest|biggest|smallest|nearest) .+)", objects),
    rule(rf"{_LIST} (.+)", objects),
)
