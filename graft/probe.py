"""What a training run compares its encoder with: the teacher of the shards, and the words of the validation probe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from graft.errors import GraftError
from graft.prompts import TextVectors, is_text_vectors, load_text_vectors, read_words
from graft.shards import ShardIndex
from graft.teacher import Teacher


@dataclass(frozen=True)
class ProbeWords:
    """Words as vectors, and the teacher that they and the photos share.

    Attributes:
        words: of the probe's classes.
        card: `name`, `identity` and `dim` of the teacher.
        teacher: where its towers had to be made: for the words, or to look at photos.
    """

    words: TextVectors
    card: dict[str, Any]
    teacher: Teacher | None


def read_probe_words(
    index: ShardIndex, prompts: str, family: str, *, architecture: str, weights: str | None, online: bool
) -> ProbeWords:
    """Read the words of the probe.

    Args:
        index: of the shards to train on.
        prompts: a prompt set, or a file of text vectors, with which no text tower is needed.
        family: of the prompt set.
        architecture: of the teacher.
        weights: of the teacher.
        online: the teacher looks at photos stored in the shards, so any teacher will do.

    Raises:
        GraftError: no weights, or words of another teacher than the shards' vectors.
    """
    of_shards = None if online else index.teacher
    if is_text_vectors(prompts) and of_shards is not None:
        found = ProbeWords(load_text_vectors(Path(prompts)), of_shards, None)
    else:
        teacher = Teacher(architecture, weights, dtype=torch.bfloat16 if online else torch.float32)
        found = ProbeWords(read_words(prompts, family, teacher), teacher.card, teacher)
    if of_shards is not None and found.words.teacher not in (None, of_shards["identity"]):
        raise GraftError(
            f"The vectors in {index.where} are of teacher {of_shards['name']} ({of_shards['identity'][:16]}), the "
            f"probe's words of another ({found.words.teacher[:16]}): set model.init_args.architecture and weights to "
            "the shards' teacher, or build the shards again with graft prepare --overwrite."
        )
    return found
