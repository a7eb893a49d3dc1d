"""Words and photos to vectors, by the CLIP that an index belongs to or out of a file of text vectors."""

import logging
import os
import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import open_clip
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from graft.errors import GraftError, first_line
from graft.fit import UNREADABLE, read_photo
from graft.index.schema import IndexCard
from graft.prompts import (
    PLAIN_FAMILIES,
    PromptSet,
    TextVectors,
    ensemble,
    load_prompts,
    load_text_vectors,
    save_text_vectors,
    text_vectors,
)
from graft.search.likeness import Background
from graft.search.query import Query, Wish, mix
from graft.teacher import Teacher, architecture_and_weights

logger = logging.getLogger(__name__)

_PIECES = 4
"""English words are rarely cut into so many tokens."""


def read_query(
    card: IndexCard,
    wishes: Sequence[Wish],
    *,
    family: str = "ground",
    teacher: str | None = None,
    teacher_weights: str | None = None,
    text_vectors_file: Path | None = None,
    background: str | None = None,
) -> tuple[Query, Background]:
    """The vectors of a query, and what tiles are held against to judge likeness.

    Args:
        card: of the index that is to be searched.
        wishes: parts of the query.
        family: of templates that words are put into.
        teacher: open_clip architecture or local-dir:FOLDER; the index's own if None.
        teacher_weights: tag or file.
        text_vectors_file: words are looked up among its classes and no text tower is needed; the other classes are the
            background.
        background: prompt set of everyday descriptions, by name or YAML file; its classes' names are the phrases. The
            shipped one if None.

    Raises:
        GraftError: a teacher that is not the index's or not to be had, a word that it cannot read, a photo that cannot
            be read, a class that the file does not have, or settings that would be without effect.
    """
    if family not in PLAIN_FAMILIES:
        raise GraftError(f"--family is {family!r}; expected one of {', '.join(PLAIN_FAMILIES)}.")
    words = [wish.text for wish in wishes if wish.kind == "words"]

    @cache
    def clip() -> Teacher:
        return _load_teacher(card, teacher, teacher_weights)

    if text_vectors_file is None:
        everyday = load_prompts(background or "background")
        check_words(clip(), words, family)
        of_words = {text: ensemble(clip().encode_text(_sentences(text, family))) for text in words}
    else:
        if background is not None:
            raise GraftError(
                f"--background {background} with --text-vectors, whose classes are the background: leave one of them "
                "out."
            )
        if (teacher or teacher_weights) and len(words) == len(wishes):
            raise GraftError(
                "--teacher and --teacher-weights are for photos where words are looked up in --text-vectors: add "
                "--photo, or leave them out."
            )
        stored = _load_stored(card, text_vectors_file)
        of_words = {text: stored.vectors[_looked_up(stored, text, text_vectors_file)] for text in words}
    vectors = [of_words[wish.text] if wish.kind == "words" else _of_photo(clip(), wish.text) for wish in wishes]
    query = mix(wishes, torch.stack(vectors).float())
    if text_vectors_file is None:
        return query, _background(clip(), everyday, family)
    return query, Background(stored.ids, stored.vectors, float(card.model["logit_scale"]))


def check_words(teacher: Teacher, texts: Sequence[str], family: str) -> None:
    """Refuse words that the text tower would not read, or not whole.

    Another language in Latin letters cannot be told for sure: words that fall into pieces are warned of.

    Raises:
        GraftError: letters of another script for a tower that knows English only, or more text than it reads.
    """
    tokenizer = open_clip.get_tokenizer(architecture_and_weights(teacher.name)[0])
    for text in texts:
        shown = text if len(text) <= 60 else f"{text[:60]}…"
        if isinstance(tokenizer, SimpleTokenizer):
            strange = sorted({letter for letter in text if letter.isalpha() and not _is_latin(letter)})
            if strange:
                raise GraftError(
                    f'"{shown}" has letters such as {strange[0]!r}; {teacher.name} reads English only. Translate it.'
                )
            pieces = {word: len(tokenizer.encode(word)) for word in re.findall(r"[^\W\d_]+", text)}
            unknown = [word for word, number in pieces.items() if number >= _PIECES - (not word.isascii())]
            if unknown and len(text) == len(shown):
                logger.warning("%s reads English and may not know %r; the hits tell.", teacher.name, ", ".join(unknown))
        _check_length(tokenizer, text, shown, family)


def _check_length(tokenizer: object, text: str, shown: str, family: str) -> None:
    limit = int(tokenizer.context_length)  # type: ignore[attr-defined]
    sentences = _sentences(text, family)
    # One token more than the tower reads: the last one is padding unless the sentence is longer.
    tokens = tokenizer(sentences, context_length=limit + 1)  # type: ignore[operator]
    padding = tokenizer([""], context_length=limit + 1)[0, -1]  # type: ignore[operator]
    if bool((tokens[:, -1] != padding).any()):
        raise GraftError(
            f'"{shown}" has {len(text):,} characters; the text tower reads {limit} tokens at most, about '
            f'{limit // 2} words. Shorten it, or mix parts: "wind turbines; grassland".'
        )


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN") or letter.isascii()


def _sentences(text: str, family: str) -> list[str]:
    return [template.replace("{}", text) for template in PLAIN_FAMILIES[family]]


def _load_teacher(card: IndexCard, name: str | None, weights: str | None) -> Teacher:
    """The CLIP that an index's model was aligned to."""
    if name is None:
        name, recorded = architecture_and_weights(card.teacher["name"])
        weights = weights or recorded
    teacher = Teacher(name, weights)
    if (teacher.identity, teacher.dim) != (card.teacher["identity"], card.dim):
        raise GraftError(
            f"The index holds vectors of {card.model['name']}, aligned to {card.teacher['name']} (D={card.dim}, "
            f"{card.teacher['identity'][:12]}), but the query would be read by {teacher.name} (D={teacher.dim}, "
            f"{teacher.identity[:12]}). Give the --teacher that it was aligned to."
        )
    return teacher


def _of_photo(teacher: Teacher, path: str) -> Tensor:
    if not Path(path).is_file():
        raise GraftError(f"No photo at {path}. Give --photo the path of a picture, JPEG or PNG.")
    try:
        photo = read_photo(Path(path), teacher.image_size)
    except UNREADABLE as error:
        raise GraftError(f"The photo {path} cannot be read: {first_line(error)}. Give a JPEG or PNG.") from error
    return teacher.encode_image(photo[None])[0]


def _background(teacher: Teacher, prompts: PromptSet, family: str) -> Background:
    """Everyday descriptions as vectors, remembered in the user's cache folder: text towers are slow on a CPU."""
    stored = _cache_folder() / f"{teacher.identity[:16]}-{prompts.sha256[:16]}-{family}.safetensors"
    try:
        vectors = load_text_vectors(stored).vectors
    except GraftError:  # none yet, or damaged
        vectors = text_vectors(teacher.encode_text, prompts, family)
        try:
            save_text_vectors(stored, TextVectors(prompts.ids, vectors, prompts.card(family), teacher.identity))
        except OSError as error:
            logger.info("%s cannot be written and is made anew each time: %s", stored, error)
    return Background(prompts.names, vectors, teacher.logit_scale)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graft" / "words"


def _load_stored(card: IndexCard, path: Path) -> TextVectors:
    stored = load_text_vectors(path)
    dim = stored.vectors.shape[1]
    if dim != card.dim or stored.teacher not in (None, card.teacher["identity"]):
        raise GraftError(
            f"The index holds vectors of {card.model['name']}, aligned to {card.teacher['name']} (D={card.dim}, "
            f"{card.teacher['identity'][:12]}), but {path} is of {(stored.teacher or 'an unknown teacher')[:12]} "
            f"(D={dim}). Give text vectors of the teacher that it was aligned to."
        )
    return stored


def _looked_up(stored: TextVectors, text: str, path: Path) -> int:
    ids = [" ".join(each.split()).casefold() for each in stored.ids]
    if text.casefold() not in ids:
        shown = ", ".join(stored.ids[:20]) + (", …" if len(ids) > 20 else "")
        raise GraftError(
            f'{path} has no class "{text[:60]}"; it has: {shown}. Leave --text-vectors out for free words.'
        )
    return ids.index(text.casefold())
