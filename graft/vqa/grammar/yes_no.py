"""Questions for a yes or no."""

import re

from graft.vqa.grammar import comparisons
from graft.vqa.grammar.noun_phrase import (
    RELATION,
    SHAPES,
    SIZES,
    Group,
    Phrase,
    PhraseReader,
    exists,
    join,
    narrowed,
)
from graft.vqa.grammar.reading import THIS, WHOLE, Match, Meaning, Rule, first, meant, rule
from graft.vqa.tree import Expression, Literal, Operation, call

_SEEN = r"(?:seen|visible|present|shown|found|there|in view)"
_SHOWS = r"(?:show|contain|have|include|feature|hold|depict|display|possess|got)"


def there(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is there a lake but no forest?"""
    return there_is(found[1], reader)


def there_is(text: str, reader: PhraseReader) -> Meaning | None:
    """Whether what a text names is there."""
    if meaning := first(comparisons.AMOUNTS, text, reader):
        return meaning
    if found := re.fullmatch(r"neither (.+) nor (.+)", text):
        text = f"no {found[1]} and no {found[2]}"
    clauses = re.split(
        r",? (?:but|and|yet) (?=(?:no|not|without|also|is there|are there) )|,? but ",
        re.sub(r"^both (.+) and no ", r"\1 and no ", text),
    )
    parts: list[Expression] = []
    for clause in clauses:
        clause = re.sub(r"^also ", "", clause)
        bare, negated = re.subn(r"^(?:no |not (?:a |an |any )?|without (?:a |an |any )?)", "", clause)
        group = reader.group(re.sub(r"^(?:is|are) there ", "", bare))
        if group is None:
            return None
        if negated and len(group.phrases) > 1:  # "no lakes or rivers", "no lakes and rivers": none of either
            parts += [Operation("not", (exists(Group("and", (phrase,))),)) for phrase in group.phrases]
        else:
            parts.append(Operation("not", (exists(group),)) if negated else exists(group))
    return Meaning("presence", join("and", parts))


def shaped(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the lake round?"""
    phrase = reader.phrase(found[1])
    if phrase is None or phrase.plural:  # "are the lakes round": all of them, or some?
        return None
    return Meaning("presence", exists(Group("and", (narrowed(phrase, found[2]),))))


def related(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the lake north of the forest? Does the road cross the river?"""
    phrase = reader.phrase(f"{found[1]} {found[2]}")
    if phrase is None or phrase.plain:
        return None
    return Meaning("presence", exists(Group("and", (phrase,))))


def unrelated(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the lake not next to the road?"""
    meaning = related(found, reader)
    return None if meaning is None else Meaning("presence", Operation("not", (meaning.value,)))


def free_of(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is the forest free of buildings?"""
    group = reader.group(found[2])
    if re.fullmatch(rf"(?:it|this|(?:the |this ){WHOLE})", found[1]):
        return None if group is None else Meaning("presence", Operation("not", (exists(group),)))
    inside = _inside(group, found[1], reader)
    return None if inside is None else Meaning("presence", Operation("not", (inside,)))


def holds(found: Match, reader: PhraseReader) -> Meaning | None:
    """Does the forest contain a quarry?"""
    inside = _inside(reader.group(found[2]), found[1], reader)
    return meant("presence", inside)


def _inside(group: Group | None, around: str, reader: PhraseReader) -> Expression | None:
    outer = reader.phrase(around)
    if group is None or outer is None or outer.objects is None:
        return None
    found = [
        Phrase(p.concept, tuple(call("where", of=v, relation="inside", reference=outer.objects) for v in p.variants))
        for p in group.phrases
    ]
    return exists(Group(group.joined, tuple(found)))


def looks_like(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is this an airport?"""
    phrase = reader.phrase(found[1])
    if phrase is None or not phrase.plain:
        return None
    return Meaning("presence", call("compare", a=call("score", concept=phrase.concept), op="more", b=0.5))


def urban(found: Match, reader: PhraseReader) -> Meaning | None:
    """Is this place urban?"""
    return Meaning("rural_urban", Operation("==", (call("rural_or_urban"), Literal(found[1]))))


_RELATED = rf"(.+?) (?:(?:located|situated|lying|placed|lie|stand|sit|found|built|flow|pass|lead) )?({RELATION} \w.*)"
RULES: tuple[Rule, ...] = (
    rule(r"(?:is|are) there (.+)", there),
    rule(
        r"(?:do|can|could|did) (?:you|we|i) (?:see|find|spot|detect|identify|recogni[sz]e|make out|have|get) (.+)",
        there,
    ),
    rule(rf"(?:does|do) {THIS} {_SHOWS} (.+)", there),
    rule(rf"(?:has|have) (?:{THIS}|we|you) got (.+)", there),
    rule(rf"(?:is|are) (.+?) {_SEEN}", there),
    rule(r"any (.+)", there),
    rule(rf"is {THIS} (?:an? )?(urban|rural)(?: {WHOLE}| setting| environment)?", urban),
    *comparisons.RULES,
    rule(r"(?:is|are) (.+?) (?:free (?:of|from)|without|devoid of|clear of) (.+)", free_of),
    rule(rf"(?:is|are) (.+?) not {_RELATED[6:]}", unrelated),
    rule(rf"(?:is|are) {_RELATED}", related),
    rule(rf"(?:does|do) {_RELATED}", related),
    rule(rf"(?:does|do) (.+?) {_SHOWS} (.+)", holds),
    rule(rf"is (the .+?) ({'|'.join([*SIZES, *SHAPES])})", shaped),
    rule(rf"is {THIS} (?:really )?(an? .+)", looks_like),
    rule(rf"does {THIS} look like (.+)", looks_like),
)
