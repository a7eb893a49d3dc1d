"""What every zero-shot evaluation by class shares: the classes of a benchmark as vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from graft.errors import GraftError
from graft.prompts import TextVectors, load_prompts, load_text_vectors, read_words, save_text_vectors
from graft.results import ResultRow
from graft.words import ClassWords
from lightning_modules.evaluation import CEILING, Evaluation, WordSpace


class ZeroShotEvaluation(Evaluation):
    """Base of the evaluations whose words are the classes of a benchmark.

    Subclasses that score whole images take what `image_vectors` yields and `self.text` (float32 [families, classes,
    D]); others read words of their own.

    Attributes:
        photos_are_ceiling: whether `image_vectors` shows the mean photo of each tile as a model, the ceiling.
    """

    text: Tensor
    photos_are_ceiling = True

    def __init__(
        self,
        prompts: str | None = None,
        families: list[str] | None = None,
        text_vectors: Path | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the settings; files are opened in `setup`.

        Args:
            prompts: prompt set, by name or path; its words go through the teacher's text tower.
            families: prompt families to report, the headline first; None takes all.
            text_vectors: `.safetensors` file of text vectors instead of `prompts`: no text tower is needed.
            **kwargs: see `Evaluation`.
        """
        if (prompts is None) == (text_vectors is None):
            raise GraftError("The words come from prompts or from text_vectors: give one of the two, not both.")
        if text_vectors is not None and families is not None:
            raise GraftError("A text_vectors file holds one family; leave families out, or give prompts instead.")
        if kwargs.get("teacher") is None and (prompts is not None or kwargs.get("baseline")):
            raise GraftError("prompts and baseline need the teacher: give its architecture, e.g. ViT-B-16-quickgelu.")
        super().__init__(**kwargs)
        self.prompts, self.families, self.text_file = prompts, families, text_vectors
        self.texts: Sequence[TextVectors | ClassWords] = ()

    def prepare_words(self) -> WordSpace:
        """Read the words of every family and compare their classes with the data's."""
        self.texts = self.read_words()
        headline, classes = self.texts[0], self.trainer.datamodule.classes  # type: ignore[attr-defined]
        if headline.ids != classes:
            raise GraftError(
                f"The words are of the classes {', '.join(headline.ids)}, the data of {', '.join(classes)}. "
                "Give model.init_args.prompts (or text_vectors) and data.init_args.classes the same set."
            )
        self.words_card = headline.card
        source = str(self.text_file) if self.teacher is None or self.text_file else self.teacher.name
        return WordSpace(source, headline.vectors.shape[-1], headline.teacher)

    def setup(self, stage: str) -> None:
        """Load everything, and let the teacher look at photos where the data has some."""
        super().setup(stage)
        has_photos: bool = self.trainer.datamodule.has_photos  # type: ignore[attr-defined]
        if has_photos and self.teacher is None:
            rank_zero_warn("The benchmark has photos, but nobody looks at them without a teacher: give one.")
        elif has_photos and self.teacher is not None and self.photos_are_ceiling:
            self.models[CEILING] = self.teacher.identity

    def read_words(self) -> Sequence[TextVectors | ClassWords]:
        """The words of each prompt family, the headline first."""
        if self.text_file is not None:
            texts = [load_text_vectors(self.text_file)]
        elif self.prompts is None or self.teacher is None:
            raise RuntimeError("__init__ has not checked its arguments")
        else:
            families = self.families or load_prompts(self.prompts).family_names
            texts = [read_words(self.prompts, family, self.teacher) for family in families]
        self.register_buffer("text", torch.stack([text.vectors for text in texts]), persistent=False)
        return texts

    def write(self, rows: list[ResultRow]) -> None:
        """Append the rows, and leave the headline's text vectors beside them for a deployment without a text tower."""
        super().write(rows)
        headline = self.texts[0]
        if self.text_file is None and isinstance(headline, TextVectors):
            save_text_vectors(self.beside_results("text.safetensors"), headline)
