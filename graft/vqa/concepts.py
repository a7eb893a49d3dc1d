"""Concepts: what questions name, in all words for it, what it includes, and what it has to be told from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from graft.errors import GraftError

if TYPE_CHECKING:
    import inflect

_FOLDER = "concept_sets"


@dataclass(frozen=True)
class Concept:
    """Something on the ground.

    Attributes:
        name: canonical name, singular.
        plural: of the name.
        also: other words for it, singular or plural.
        includes: names of concepts of the same set that are all of its kind: a lake is a water area.
        phrases: what CLIP's text tower is given; empty where it is no more than what it includes.
        classes: labels of the atlas's maps, see `Concepts.meaning`.
    """

    name: str
    plural: str
    also: tuple[str, ...]
    includes: tuple[str, ...]
    phrases: tuple[str, ...]
    classes: tuple[str, ...]

    @property
    def forms(self) -> tuple[str, ...]:
        """Every way to write it; with an `s` too, as RSVQA makes plurals."""
        words = (self.name, self.plural, *self.also)
        return tuple(dict.fromkeys(fold(form) for word in words for form in (word, f"{word}s")))


@dataclass(frozen=True)
class Concepts:
    """A vocabulary.

    Attributes:
        source: name of a set that comes with graft, or the path of its file.
        members: all different in every word.
        sha256: hex digest over the members in their order; comments and layout of the file do not matter.
    """

    source: str
    members: tuple[Concept, ...]
    sha256: str

    @property
    def names(self) -> tuple[str, ...]:
        """Canonical names."""
        return tuple(self._by_name)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.members)

    def __getitem__(self, name: str) -> Concept:
        return self._by_name[name]

    def known(self, phrase: str) -> str | None:
        """The canonical name of what a phrase says, in singular or plural and any case; None if it is not known."""
        folded = fold(phrase)
        if not folded:
            return None
        if folded in self._by_form:
            return self._by_form[folded]
        return next((self._by_form[form] for form in _numbers(folded) if form in self._by_form), None)

    def family(self, name: str) -> tuple[str, ...]:
        """A concept and all that it includes, directly or not, itself first."""
        found, rest = [name], list(self[name].includes)
        while rest:
            if (below := rest.pop(0)) not in found:
                found.append(below)
                rest += self[below].includes
        return tuple(found)

    def rivals(self, name: str) -> tuple[str, ...]:
        """The concepts that share no ground with one: their families have no member in common."""
        ours = set(self.family(name))
        return tuple(other for other in self.names if ours.isdisjoint(self.family(other)))

    def meaning(self) -> dict[str, tuple[str, ...]]:
        """Concept -> classes of the atlas that it and what it includes are; those of one class or more."""
        found = {
            name: tuple(dict.fromkeys(label for member in self.family(name) for label in self[member].classes))
            for name in self.names
        }
        return {name: classes for name, classes in found.items() if classes}

    @cached_property
    def _by_name(self) -> Mapping[str, Concept]:
        return {concept.name: concept for concept in self.members}

    @cached_property
    def _by_form(self) -> Mapping[str, str]:
        # Words that a file gives come before plurals that are made: "glasses" is rather a word than "glasse" + "s".
        made = {form: concept.name for concept in self.members for form in concept.forms}
        given = {fold(word): c.name for c in self.members for word in (c.name, c.plural, *c.also)}
        return made | given


def fold(phrase: str) -> str:
    """A phrase without differences of case, spacing and hyphens."""
    return " ".join(phrase.replace("-", " ").split()).casefold()


def meaning_of_atlas() -> dict[str, tuple[str, ...]]:
    """Concept of the set `atlas` -> ids of `graft.atlas.classes` that it is made of."""
    return load_concepts("atlas").meaning()


def concept_set_names() -> tuple[str, ...]:
    """Names of the vocabularies that come with graft."""
    entries = (files(__package__) / _FOLDER).iterdir()
    return tuple(sorted(Path(entry.name).stem for entry in entries if entry.name.endswith(".yaml")))


def load_concepts(name_or_path: str | Path) -> Concepts:
    """Load a vocabulary that comes with graft, by name, or a YAML file of the same form, by path.

    The file is a list of `{name: lake, plural: lakes, also: [pond], includes: [reservoir], phrases: [lake, pond],
    classes: [Lake]}`; only the name is required. Without `plural` an `s` is added, without `phrases` the name and
    `also` are what CLIP reads.

    Raises:
        GraftError: unknown name, no such file, or a file that breaks the form (file and entry are named).
    """
    if str(name_or_path) in concept_set_names():
        text = (files(__package__) / _FOLDER / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    elif _is_file(name_or_path):
        from graft.prompts import read_utf8  # brings torch

        text = read_utf8(Path(name_or_path))
    else:
        raise GraftError(
            f"No concepts {str(name_or_path)!r}: expected the path of a YAML file or one of "
            f"{', '.join(concept_set_names())}; change --concepts."
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GraftError(f"The concepts {name_or_path} are not YAML: {' '.join(str(error).split())}") from error
    return _parse(str(name_or_path), content)


def _is_file(path: str | Path) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


def _numbers(folded: str) -> Iterator[str]:
    """Singular and plural of a phrase."""
    engine = _engine()
    try:
        singular = engine.singular_noun(folded)
        yield from (str(singular),) if singular else ()
        yield str(engine.plural_noun(folded))
    except Exception:  # its patterns fail on odd text, which is no word of ours
        return


@cache
def _engine() -> "inflect.engine":
    import inflect  # takes its time

    return inflect.engine()


def _parse(source: str, content: object) -> Concepts:
    """Validate the content of a file of concepts."""

    def fail(place: str, expected: str) -> NoReturn:
        raise GraftError(f"The concepts {source}, {place}: expected {expected}.")

    def text_of(place: str, value: object) -> str:
        if not isinstance(value, str) or not fold(value):
            fail(place, f"text (in quotes where YAML would read something else), found {value!r}")
        return " ".join(value.split())

    def texts_of(place: str, row: dict[str, Any], key: str) -> tuple[str, ...]:
        value = row.get(key, [])
        if not isinstance(value, list):
            fail(place, f"{key!r} to be a list of texts, found {value!r}")
        return tuple(text_of(f"{place}, {key}", each) for each in value)

    if not isinstance(content, list) or len(content) < 2:
        fail("top", "a list of at least two concepts, such as `- {name: lake, also: [pond]}`")
    members: list[Concept] = []
    keys = {"name", "plural", "also", "includes", "phrases", "classes"}
    for number, row in enumerate(content, start=1):
        place = f"entry {number}"
        if not isinstance(row, dict) or "name" not in row or not set(row) <= keys:
            fail(place, f"name and optionally {', '.join(sorted(keys - {'name'}))}, found {row!r}")
        name = text_of(f"{place}, name", row["name"])
        also = texts_of(place, row, "also")
        members.append(
            Concept(
                name=name,
                plural=text_of(f"{place}, plural", row.get("plural", f"{name}s")),
                also=also,
                includes=texts_of(place, row, "includes"),
                phrases=texts_of(place, row, "phrases") if "phrases" in row else (name, *also),
                classes=texts_of(place, row, "classes"),
            )
        )
    _check(members, fail)
    from graft.prompts import digest

    essence = [[c.name, c.plural, c.also, c.includes, c.phrases, c.classes] for c in members]
    return Concepts(source, tuple(members), digest(essence))


def _check(members: list[Concept], fail: Any) -> None:
    """Words that mean one thing, and no circle of includes."""
    names = {concept.name for concept in members}
    words: dict[str, str] = {}
    phrases: dict[str, str] = {}
    for concept in members:
        place = f"concept {concept.name!r}"
        for kind, seen, given in (
            ("word", words, {fold(word) for word in (concept.name, concept.plural, *concept.also)}),
            ("phrase", phrases, {fold(phrase) for phrase in concept.phrases}),
        ):
            for word in given:
                if seen.setdefault(word, concept.name) != concept.name:
                    fail(place, f"every {kind} once, found {word!r} in {seen[word]!r} too")
        if unknown := [name for name in concept.includes if name not in names]:
            fail(place, f"includes to name concepts of this file, found {unknown[0]!r}")
        if not concept.phrases and not concept.includes:
            fail(place, "phrases or includes; it has neither, and nothing would tell where it is")
    table = Concepts("", tuple(members), "")
    for concept in members:
        for below in table.family(concept.name)[1:]:
            if concept.name in table.family(below):
                fail(f"concept {concept.name!r}", f"no circle of includes, found one through {below!r}")
