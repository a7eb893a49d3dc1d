"""What the teacher says of the photos, from the vectors that are stored: no photo is needed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graft.audit.cards import SplitCard
from graft.audit.findings import Check, Level, percent, share
from graft.audit.notes import Words
from graft.audit.rows import NO_PHRASE, Table
from graft.errors import GraftError, first_line

SCENE = "scene"
_OTHER = 0.2


def load_words(
    cards: Sequence[SplitCard], prompts: str, teacher: str | None, weights: str | None
) -> tuple[Words | None, str]:
    """Words for the teacher of the shards, and why there are none.

    Args:
        cards: of all splits.
        prompts: see `graft.words.read_class_words`.
        teacher: architecture to load; None for the name in the index.
        weights: of it.

    Raises:
        GraftError: a prompt set that is not to be had.
    """
    named = next((card.teacher for card in cards if card.teacher is not None), None)
    if named is None:
        return None, "the shards hold no vectors"
    # torch is a second of start-up and half a gigabyte: only who asks the teacher pays for it.
    from graft.prompts import load_prompts, prompt_set_names
    from graft.teacher import Teacher, architecture_and_weights
    from graft.words import read_class_words

    # A teacher that is elsewhere is no fault of the shards; words that are not there are the user's.
    architecture, tag = (teacher, weights) if teacher else architecture_and_weights(named["name"])
    try:
        tower = Teacher(architecture, tag)
    except GraftError as error:
        return None, f"the teacher {named['name']} cannot be loaded ({first_line(error)}); give it with --teacher"
    if tower.identity != named["identity"]:
        return None, f"{tower.name} has other weights than the teacher of the shards; give that one with --teacher"
    words = read_class_words(prompts, tower)
    phrases = words.ids
    if prompts in prompt_set_names() or Path(prompts).suffix in (".yaml", ".yml"):
        chosen = load_prompts(prompts)
        flat = [phrase for name, more in zip(chosen.names, chosen.synonyms, strict=True) for phrase in (name, *more)]
        phrases = tuple(flat) if len(flat) == len(words.vectors) else words.ids
    vectors, owner = words.vectors.cpu().numpy(), words.owner.cpu().numpy()
    if len(phrases) != len(vectors):
        phrases = tuple(words.ids[number] for number in owner)
    return Words(words.ids, phrases, owner, vectors, tower.logit_scale, tower.identity), ""


def check_view(table: Table, words: Words | None, why_not: str) -> Check:
    """How many photos show what, by the teacher's own zero-shot."""
    if words is None:
        return Check("Photos", "teacher's view", Level.UNCHECKED, f"not looked at: {why_not}")
    known = table.photos["phrase"] != NO_PHRASE
    _, rows = np.unique(table.photos["id"][known], return_index=True)
    phrases = table.photos["phrase"][known][rows]
    if not len(phrases):
        return Check("Photos", "teacher's view", Level.UNCHECKED, "no vectors could be read")
    counts = np.bincount(words.owner[phrases], minlength=len(words.classes))
    by_class = {name: int(number) for name, number in zip(words.classes, counts, strict=True)}
    by_phrase = np.bincount(phrases, minlength=len(words.phrases))
    order = np.argsort(-by_phrase, kind="stable")
    top = ", ".join(
        f"{words.classes[c]} {percent(share(int(counts[c]), len(phrases)))}" for c in np.argsort(-counts)[:4]
    )
    other = 1 - share(by_class.get(SCENE, len(phrases)), len(phrases))
    bad = other > _OTHER
    return Check(
        "Photos",
        "teacher's view",
        Level.WARNING if bad else Level.OK,
        f"{percent(other)} of the photos do not look like a {SCENE}: {top}" if bad else f"to the teacher: {top}",
        {
            "photos": len(phrases),
            "classes": by_class,
            "phrases": {words.phrases[p]: int(by_phrase[p]) for p in order[:40] if by_phrase[p]},
            "probability": float(np.median(table.photos["probability"][known])),
        },
        remedy="Filter what is not a scene in graft prepare; the photos below show whether the teacher is right.",
    )
