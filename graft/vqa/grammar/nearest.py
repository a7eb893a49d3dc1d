"""What to suggest where a question cannot be read."""

import re

from graft.vqa.grammar.words import Nouns, singular

_MOST = 3
_LONGEST = 3
_FORMS = (
    "Is there {a} {one}?",
    "How many {ones} are there?",
    "How much of the area is {one}?",
    "How large is the largest {one}?",
    "Is there more {one} than {other}?",
    "How far is the nearest {one} from the {other}?",
    "How many {ones} are within 200 m of the {other}?",
    "Where is the largest {one}?",
    "Which {ones} are next to the {other}?",
    "Is the {one} north of the {other}?",
    "Is it a rural or an urban area?",
    "What kind of area is this: {one} or {other}?",
)
_DEFAULTS = ("lake", "forest")


def nearest_forms(text: str, nouns: Nouns) -> tuple[str, ...]:
    """Three forms that share most words with a question, filled with the concepts that it names."""
    import inflect

    engine = inflect.engine()
    words = re.findall(r"[\w'-]+", text)
    named = dict.fromkeys([*_concepts(words, nouns), *_DEFAULTS])
    one, other = (singular(name) or name for name in list(named)[:2])
    article = str(engine.a(one)).split()[0]
    filled = {"a": article, "one": one, "other": other, "ones": str(engine.plural_noun(one))}
    asked = set(words)
    ranked = sorted(
        _FORMS, key=lambda form: -len(asked & set(re.findall(r"[a-z]+", re.sub(r"{\w+}", "", form.lower()))))
    )
    return tuple(re.sub(r"{(\w+)}", lambda gap: filled[gap[1]], form) for form in ranked[:_MOST])


def _concepts(words: list[str], nouns: Nouns) -> list[str]:
    """Names of the vocabulary in a text, longest phrases first at every place."""
    found, start = [], 0
    while start < len(words):
        phrases = (words[start : start + length] for length in range(min(_LONGEST, len(words) - start), 0, -1))
        length, name = next(((len(p), name) for p in phrases if (name := nouns.known(" ".join(p)))), (1, None))
        found += [name] if name else []
        start += length
    return found
