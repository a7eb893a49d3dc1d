"""The classes of a segmentation in words: phrases, synonyms, and one vector for each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from graft.errors import GraftError
from graft.prompts import (
    DESCRIBED,
    PLAIN_FAMILIES,
    PromptSet,
    TextTower,
    digest,
    ensemble,
    is_text_vectors,
    load_prompts,
    load_text_vectors,
    prompt_set_names,
    read_utf8,
)

_PREFERRED = "ground"
_YAML = (".yaml", ".yml")
_FILES = (*_YAML, ".txt", ".safetensors")


@dataclass(frozen=True)
class ClassWords:
    """Classes of a segmentation as vectors; a class may have several synonyms.

    Attributes:
        ids: C names, all different.
        vectors: float32 [S, D] of unit length, one a synonym, those of a class next to each other.
        owner: int64 [S], the class of each synonym, ascending; every class owns at least one.
        card: `name`, `family` and `sha256` of the words.
        teacher: identity of the CLIP whose text tower made the vectors; None where unknown.
    """

    ids: tuple[str, ...]
    vectors: Tensor
    owner: Tensor
    card: dict[str, str]
    teacher: str | None

    def class_scores(self, scores: Tensor) -> Tensor:
        """Score of each class: the best of its synonyms. Any dtype, [..., S] -> [..., C]."""
        if len(self.vectors) == len(self.ids):
            return scores
        counts = torch.bincount(self.owner, minlength=len(self.ids)).tolist()
        return torch.stack([part.amax(dim=-1) for part in scores.split_with_sizes(counts, dim=-1)], dim=-1)


def read_class_words(source: str | Path, tower: TextTower | None, family: str | None = None) -> ClassWords:
    """Read the classes of a segmentation and turn each phrase into a vector: the template ensemble over it.

    Args:
        source: one of
            - a prompt set that comes with graft, by name, or a YAML file of that form; a class's phrases are its name
              and its `synonyms`;
            - a text file, one class a line, comma-separated synonyms of which the first is the class's id; blank lines
              and `#` comments are ignored;
            - a list, `"water, forest"`, or `"building, roof; road; water"` where classes have synonyms;
            - a `.safetensors` file of text vectors, one a class.
            Text that ends in .txt, .yaml, .yml or .safetensors or names an existing file is a file.
        tower: makes the vectors; not used for `.safetensors`.
        family: of templates. Default: `ground`, or the first family of a prompt set that has no such. `described`
            gives one vector a class, made of its sentences. Not for `.safetensors`, which holds one family.

    Raises:
        GraftError: no such file or not UTF-8; no words; fewer than two classes; two equal phrases; an unknown family;
            no tower where one is needed.
    """
    file = _file(source)
    if file is not None and is_text_vectors(file):
        return _stored(file, family)
    if str(source) in prompt_set_names() or (file is not None and file.suffix.lower() in _YAML):
        prompts = load_prompts(source)
        chosen = family or (_PREFERRED if _PREFERRED in prompts.family_names else prompts.family_names[0])
        ids, sentences = prompts.ids, _sentences_of_set(prompts, _known(chosen, prompts.family_names, str(source)))
        card = prompts.card(chosen)
    else:
        phrases = _parse_file(file) if file is not None else _parse_list(str(source))
        chosen = _known(family or _PREFERRED, tuple(PLAIN_FAMILIES), "a list of words")
        templates = PLAIN_FAMILIES[chosen]
        ids = tuple(words[0] for words in phrases)
        sentences = [[_fill(templates, phrase) for phrase in words] for words in phrases]
        name = "inline" if file is None else file.stem
        card = {"name": name, "family": chosen, "sha256": digest([phrases, templates])}
    _check_two(ids, str(source))
    if tower is None:
        raise GraftError(
            f"The words of {str(source)!r} need a CLIP text tower to become vectors and there is none. Name the "
            "model's teacher, or give a .safetensors file of text vectors instead of words."
        )
    vectors = torch.stack([ensemble(tower.encode_text(texts)) for group in sentences for texts in group])
    owner = torch.tensor([number for number, group in enumerate(sentences) for _ in group], device=vectors.device)
    return ClassWords(ids, vectors, owner, card, tower.identity)


def _file(source: str | Path) -> Path | None:
    """The file that `source` names; None where it is a list of words or a shipped prompt set."""
    path = Path(source)
    if str(source) in prompt_set_names():
        return None
    try:
        found = path.is_file()
    except OSError:  # a long list of words is no file name
        found = False
    if not found and (isinstance(source, Path) or path.suffix.lower() in _FILES):
        raise GraftError(
            f"No file of words at {path}. Give a .txt, .yaml or .safetensors file, a list such as 'water, forest', or "
            f"one of {', '.join(prompt_set_names())}."
        )
    return path if found else None


def _stored(path: Path, family: str | None) -> ClassWords:
    """Text vectors from a `.safetensors` file."""
    text = load_text_vectors(path)
    _known(family or text.card["family"], (text.card["family"],), str(path))
    _check_two(text.ids, str(path))
    return ClassWords(text.ids, text.vectors, torch.arange(len(text.ids)), text.card, text.teacher)


def _known(family: str, known: Sequence[str], where: str) -> str:
    if family not in known:
        raise GraftError(f"No prompt family {family!r} for {where}; there is: {', '.join(known)}. Change the family.")
    return family


def _check_two(ids: Sequence[str], source: str) -> None:
    if len(ids) < 2:
        raise GraftError(
            f"{source!r} names one class, {ids[0]!r}, and every pixel would get it. Add at least one class to tell it "
            f"from, such as 'something else' (prompt sets that come with graft: {', '.join(prompt_set_names())})."
        )


def _fill(templates: Sequence[str], phrase: str) -> list[str]:
    return [template.replace("{}", phrase) for template in templates]


def _sentences_of_set(prompts: PromptSet, family: str) -> list[list[list[str]]]:
    """For each class, for each of its phrases, the sentences."""
    if family == DESCRIBED:
        return [[sentences] for sentences in prompts.sentences(DESCRIBED)]
    phrases = [(name, *others) for name, others in zip(prompts.names, prompts.synonyms, strict=True)]
    _check_different([(f"class {id_}", words) for id_, words in zip(prompts.ids, phrases, strict=True)], prompts.name)
    return [[_fill(prompts.families[family], phrase) for phrase in words] for words in phrases]


def _parse_file(path: Path) -> list[tuple[str, ...]]:
    """Phrases of each class in a text file."""
    lines = [line.partition("#")[0] for line in read_utf8(path).splitlines()]
    groups = [(f"line {number}", _split(line)) for number, line in enumerate(lines, start=1) if line.strip()]
    return _checked(groups, str(path))


def _parse_list(text: str) -> list[tuple[str, ...]]:
    """Phrases of each class in a list on the command line."""
    parts = text.split(";") if ";" in text else text.split(",")
    filled = [part for part in parts if part.strip(" \t\n,")]
    groups = [(f"class {number}", _split(part)) for number, part in enumerate(filled, start=1)]
    return _checked(groups, "the list of words")


def _split(line: str) -> tuple[str, ...]:
    """Comma-separated phrases with single spaces."""
    return tuple(folded for phrase in line.split(",") if (folded := " ".join(phrase.split())))


def _checked(groups: list[tuple[str, tuple[str, ...]]], where: str) -> list[tuple[str, ...]]:
    if not groups:
        raise GraftError(f"{where} holds no words; expected at least two classes, one a line or 'water, forest'.")
    for place, words in groups:
        if not words:
            raise GraftError(f"{where}, {place}: commas and no word; expected a class and its synonyms.")
    _check_different(groups, where)
    return [words for _, words in groups]


def _check_different(groups: list[tuple[str, tuple[str, ...]]], where: str) -> None:
    """Two equal phrases would tie everywhere; case and spacing make no difference to CLIP."""
    seen: dict[str, str] = {}
    for place, words in groups:
        for phrase in words:
            key = " ".join(phrase.split()).casefold()
            if key in seen:
                places = f"twice in {place}" if seen[key] == place else f"in {seen[key]} and in {place}"
                raise GraftError(f"{where} has the prompt {phrase!r} {places}; expected every prompt once. Remove one.")
            seen[key] = place
