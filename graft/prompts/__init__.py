"""Prompt sets: the words an evaluation uses, as data files with a hash, and the vectors made of them."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from graft.errors import GraftError
from graft.files import atomic_path, sha256_file

DESCRIBED = "described"
SYNONYMS = "synonyms"
# Templates for words that come without any: `ground` is what the shipped sets use.
PLAIN_FAMILIES = {
    "ground": ("a photo of {}.", "a photo of a {}.", "a photo taken at a {}.", "a photo taken near a {}."),
    "satellite": ("a satellite photo of {}.", "an aerial photo of {}.", "a satellite image of {}."),
}
_FAMILY_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class PromptSet:
    """The classes of a benchmark in words.

    Attributes:
        name: file name without its ending.
        ids: C folder names or labels of the benchmark; their order is the label index.
        names: C phrases that go into templates.
        synonyms: C tuples of further phrases, empty where a class has none. Segmentation scores a class by the best of
            its phrases (`graft.words`); classification ignores them.
        described: C tuples of sentences, all empty or none.
        families: family name -> templates with one `{}`; without `described`, whose sentences are the classes' own.
        sha256: hex digest over ids, names, sentences, families and synonyms in their order; comments and layout do not
            matter.
    """

    name: str
    ids: tuple[str, ...]
    names: tuple[str, ...]
    described: tuple[tuple[str, ...], ...]
    synonyms: tuple[tuple[str, ...], ...]
    families: dict[str, tuple[str, ...]]
    sha256: str

    @property
    def family_names(self) -> tuple[str, ...]:
        """Every family that can be asked for."""
        return (*self.families, DESCRIBED) if any(self.described) else tuple(self.families)

    def sentences(self, family: str) -> list[list[str]]:
        """The sentences of each class under one family: C lists.

        Raises:
            GraftError: the set has no such family.
        """
        if family not in self.family_names:
            raise GraftError(
                f"Prompt set {self.name} has no family {family!r}; it has: {', '.join(self.family_names)}. "
                "Change the argument families."
            )
        if family == DESCRIBED:
            return [list(sentences) for sentences in self.described]
        return [[template.replace("{}", name) for template in self.families[family]] for name in self.names]

    def card(self, family: str) -> dict[str, str]:
        """`name`, `family` and `sha256`, as recorded in a result row."""
        return {"name": self.name, "family": family, "sha256": self.sha256}


def prompt_set_names() -> tuple[str, ...]:
    """Names of the prompt sets that come with graft."""
    return tuple(sorted(Path(entry.name).stem for entry in files(__name__).iterdir() if entry.name.endswith(".yaml")))


def load_prompts(name_or_path: str | Path) -> PromptSet:
    """Load a prompt set that comes with graft, by name, or a YAML file of the same form, by path.

    Raises:
        GraftError: unknown name, no such file, or a file that breaks the form (file and key are named).
    """
    if str(name_or_path) in prompt_set_names():
        name, text = str(name_or_path), (files(__name__) / f"{name_or_path}.yaml").read_text(encoding="utf-8")
    elif (path := Path(name_or_path)).is_file():
        name, text = path.stem, read_utf8(path)
    else:
        raise GraftError(
            f"No prompt set {str(name_or_path)!r}: expected the path of a YAML file or one of "
            f"{', '.join(prompt_set_names())}."
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GraftError(f"Prompt set {name_or_path} is not YAML: {' '.join(str(error).split())}") from error
    return _parse(name, str(name_or_path), content)


def read_utf8(path: Path) -> str:
    """The text of a file of words.

    Raises:
        GraftError: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise GraftError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error


def _parse(name: str, source: str, content: object) -> PromptSet:
    """Validate the content of a prompt file."""

    def fail(key: str, expected: str) -> NoReturn:
        raise GraftError(f"Prompt set {source}, key {key}: expected {expected}.")

    def text_of(key: str, value: object) -> str:
        # YAML reads a bare `no` as False and a bare 1 as a number; neither would be found as a folder.
        if not isinstance(value, str) or not value.strip():
            fail(key, f"text (in quotes where YAML would read something else), found {value!r}")
        return value

    def texts_of(key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            fail(key, f"a list of at least one text, found {value!r}")
        return tuple(text_of(f"{key}[{index}]", item) for index, item in enumerate(value))

    def keys_of(key: str, value: object, required: set[str], optional: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict) or not required <= set(value) <= required | optional:
            found = sorted(map(str, value)) if isinstance(value, dict) else value
            wanted = f"the keys {sorted(required)}" + (f" and optionally {sorted(optional)}" if optional else "")
            fail(key, f"{wanted}, found {found!r}")
        return value

    top = keys_of("(top)", content, {"classes", "families"}, set())
    if not isinstance(top["classes"], list) or not top["classes"]:
        fail("classes", "a list of classes")
    rows = [
        keys_of(f"classes[{i}]", row, {"id", "name"}, {DESCRIBED, SYNONYMS}) for i, row in enumerate(top["classes"])
    ]
    ids = tuple(text_of(f"classes[{i}].id", row["id"]) for i, row in enumerate(rows))
    if len(set(ids)) < len(ids):
        fail("classes", f"every id once, found twice: {sorted({i for i in ids if ids.count(i) > 1})}")
    names = tuple(text_of(f"classes[{i}].name", row["name"]) for i, row in enumerate(rows))
    described, synonyms = (
        tuple(texts_of(f"classes[{i}].{key}", row[key]) if key in row else () for i, row in enumerate(rows))
        for key in (DESCRIBED, SYNONYMS)
    )
    if any(described) and not all(described):
        fail("classes", f"{DESCRIBED!r} for every class or for none, missing for {ids[described.index(())]}")
    if not isinstance(top["families"], dict) or not (top["families"] or any(described)):
        fail("families", "a map from family name to templates")
    families = {}
    for family, templates in top["families"].items():
        key = f"families.{family}"
        if not isinstance(family, str) or not _FAMILY_NAME.fullmatch(family) or family == DESCRIBED:
            fail(key, f"a family name of lower-case letters, digits and _, other than {DESCRIBED!r}")
        families[family] = texts_of(key, templates)
        for index, template in enumerate(families[family]):
            if template.count("{}") != 1:
                fail(f"{key}[{index}]", f"one {{}} where the class name goes, found {template!r}")
    essence = [ids, names, described, list(families.items()), *([synonyms] if any(synonyms) else [])]
    return PromptSet(name, ids, names, described, synonyms, families, digest(essence))


def digest(words: object) -> str:
    """Hex sha256 over words, given as nested lists, tuples and dictionaries of text in a fixed order."""
    return hashlib.sha256(json.dumps(words, ensure_ascii=False).encode()).hexdigest()


def ensemble(vectors: Tensor) -> Tensor:
    """Template ensemble: mean over templates of unit vectors, renormalised.

    Args:
        vectors: float [T, ..., D], any length.

    Returns:
        float32 [..., D], unit length.
    """
    return functional.normalize(functional.normalize(vectors.float(), dim=-1).mean(dim=0), dim=-1)


def text_vectors(encode_text: Callable[[Sequence[str]], Tensor], prompts: PromptSet, family: str) -> Tensor:
    """One vector per class: the template ensemble of its sentences.

    Args:
        encode_text: N sentences -> float [N, D].
        prompts: the words.
        family: which of their families.

    Returns:
        float32 [C, D], unit length.
    """
    return torch.stack([ensemble(encode_text(sentences)) for sentences in prompts.sentences(family)])


@dataclass(frozen=True)
class TextVectors:
    """Classes as vectors, without the tower that made them.

    Attributes:
        ids: C class ids in label order.
        vectors: float32 [C, D], unit length.
        card: `name`, `family` and `sha256` of the prompts.
        teacher: identity of the CLIP whose text tower made them; None where unknown.
    """

    ids: tuple[str, ...]
    vectors: Tensor
    card: dict[str, str]
    teacher: str | None


def save_text_vectors(path: Path, text: TextVectors) -> None:
    """Write text vectors as safetensors (tensor `text` [C, D], the rest as JSON in its metadata), atomically."""
    metadata = {"classes": json.dumps(text.ids, ensure_ascii=False), "prompts": json.dumps(text.card, sort_keys=True)}
    if text.teacher is not None:
        metadata["teacher"] = text.teacher
    with atomic_path(path) as partial:
        save_file({"text": text.vectors.contiguous().cpu()}, partial, metadata=metadata)


def load_text_vectors(path: Path) -> TextVectors:
    """Read text vectors from a `.safetensors` file.

    The tensor `text` is [C, D] or [templates, C, D] (then ensembled); the metadata entry `classes` is a JSON list of
    C ids; `prompts` (a JSON object with name, family, sha256) and `teacher` are optional, and without `prompts` the
    file itself is named and hashed.

    Raises:
        GraftError: no such file, or a file that breaks the form.
    """
    if not path.is_file():
        raise GraftError(
            f"No text-vector file at {path}. An evaluation with a text tower writes one beside its results."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            raw = file.get_tensor("text")
        ids = json.loads(metadata["classes"])
        card = json.loads(metadata["prompts"]) if "prompts" in metadata else None
    except (SafetensorError, KeyError, ValueError) as error:
        raise GraftError(
            f"{path} holds no text vectors: expected a safetensors file with the tensor 'text' and the metadata "
            f"'classes', a JSON list of class ids ({error})."
        ) from error
    listed = isinstance(ids, list) and len(set(map(str, ids))) == len(ids) and all(isinstance(i, str) for i in ids)
    if not listed or raw.ndim not in (2, 3) or raw.shape[-2] != len(ids) or not raw.is_floating_point():
        raise GraftError(
            f"{path}: tensor 'text' is {raw.dtype} {list(raw.shape)} for the classes {ids!r}; expected floating point "
            "[classes, D] or [templates, classes, D] and as many different ids as classes."
        )
    vectors = ensemble(raw if raw.ndim == 3 else raw[None])
    if not bool(((vectors.norm(dim=-1) - 1).abs() < 1e-3).all()):  # False for NaN as well as for a zero vector
        raise GraftError(f"{path}: a text vector is zero or not finite. Make the file again.")
    if card is None:
        card = {"name": path.stem, "family": "file", "sha256": sha256_file(path)}
    if not isinstance(card, dict) or set(card) != {"name", "family", "sha256"}:
        raise GraftError(f"{path}: metadata 'prompts' is {card!r}; expected an object with name, family and sha256.")
    return TextVectors(tuple(ids), vectors, card, metadata.get("teacher"))


def class_ids(source: str | Path) -> tuple[str, ...]:
    """The class ids of a prompt set (name or path) or of a text-vector file (`.safetensors`), in label order."""
    return load_text_vectors(Path(source)).ids if is_text_vectors(source) else load_prompts(source).ids


def is_text_vectors(source: str | Path) -> bool:
    """Whether words are given as a file of text vectors rather than as a prompt set."""
    return str(source).endswith(".safetensors")


class TextTower(Protocol):
    """What turns sentences into unit vectors; `graft.teacher.Teacher` does."""

    identity: str

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N sentences to float32 [N, D] of unit length."""


def read_words(prompts: str | Path, family: str, tower: TextTower) -> TextVectors:
    """One family of a prompt set, or a file of text vectors, as vectors with their origin."""
    if is_text_vectors(prompts):
        return load_text_vectors(Path(prompts))
    words = load_prompts(prompts)
    return TextVectors(words.ids, text_vectors(tower.encode_text, words, family), words.card(family), tower.identity)
