"""What every zero-shot evaluation shares: an encoder, words as vectors, the models beside it, and result rows."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import SumMetric

from graft.batch import LabelledBatch
from graft.checkpoint import LoadedEncoder, load_encoder
from graft.errors import GraftError
from graft.metrics import mean_direction
from graft.prompts import TextVectors, load_prompts, load_text_vectors, read_words, save_text_vectors
from graft.results import ResultRow, append_rows, code_version, command_line
from graft.skips import SkipCounter
from graft.teacher import Teacher
from graft.words import ClassWords

ENCODER, BASELINE, CEILING = "encoder", "clip_baseline", "ceiling"


class ZeroShotEvaluation(LightningModule):
    """Base of the evaluations that compare what an encoder sees with words; nothing is fitted to the test images.

    Subclasses that score whole images take what `image_vectors` yields and `self.text` (float32 [families, classes,
    D]); others read words of their own.
    """

    text: Tensor

    def __init__(
        self,
        dataset: str,
        results: Path,
        split: str = "test",
        name: str = "aligned",
        checkpoint: Path | None = None,
        prompts: str | None = None,
        families: list[str] | None = None,
        teacher: str | None = None,
        teacher_weights: str | None = None,
        text_vectors: Path | None = None,
        baseline: bool = False,
    ) -> None:
        """Take the settings; files are opened in `setup`.

        Args:
            dataset: name of the benchmark in the result rows.
            results: JSON list that the result rows are appended to; pictures and details are written beside it.
            split: name of the split in the result rows.
            name: name of the encoder in the result rows.
            checkpoint: training checkpoint with the encoder; None evaluates the CLIP baseline alone.
            prompts: prompt set, by name or path; its words go through the teacher's text tower.
            families: prompt families to report, the headline first; None takes all.
            teacher: architecture of the CLIP that the encoder was aligned to, see `graft.clip.create_clip`.
            teacher_weights: its weights: a tag or a file.
            text_vectors: `.safetensors` file of text vectors instead of `prompts`: no text tower is needed.
            baseline: also apply the teacher's photo tower to the tiles: the CLIP baseline.
        """
        super().__init__()
        self.dataset, self.split, self.name, self.results = dataset, split, name, results
        self.checkpoint, self.baseline = checkpoint, baseline
        self.prompts, self.families, self.text_file = prompts, families, text_vectors
        self._teacher_source = (teacher, teacher_weights)
        self.loaded: LoadedEncoder | None = None
        self.teacher: Teacher | None = None
        self.models: dict[str, str | None] = {}
        self.texts: Sequence[TextVectors | ClassWords] = ()
        self.skipped = SumMetric()
        self._skips = SkipCounter("Unpack the benchmark again.")
        if (prompts is None) == (text_vectors is None):
            raise GraftError("The words come from prompts or from text_vectors: give one of the two, not both.")
        if text_vectors is not None and families is not None:
            raise GraftError("A text_vectors file holds one family; leave families out, or give prompts instead.")
        if teacher is None and (prompts is not None or baseline):
            raise GraftError("prompts and baseline need the teacher: give its architecture, e.g. ViT-B-16-quickgelu.")
        if checkpoint is None and not baseline:
            raise GraftError("Nothing to evaluate: give a checkpoint, or baseline: true for the CLIP baseline alone.")

    def setup(self, stage: str) -> None:
        """Load encoder, teacher and words, and check that they belong together and to the data.

        Raises:
            GraftError: another architecture, teacher or class list.
        """
        if self.texts:
            return
        data = self.trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.test(datamodule=…)
        architecture, weights = self._teacher_source
        self.teacher = None if architecture is None else Teacher(architecture, weights)
        self.texts = self.read_words()
        dim = self.texts[0].vectors.shape[-1]
        if self.texts[0].ids != data.classes:
            raise GraftError(
                f"The words are of the classes {', '.join(self.texts[0].ids)}, the data of {', '.join(data.classes)}. "
                "Give model.init_args.prompts (or text_vectors) and data.init_args.classes the same set."
            )
        if self.checkpoint is not None:
            self.loaded = load_encoder(self.checkpoint)
            aligned_to, words_of = self.loaded.teacher, self.texts[0].teacher
            if self.loaded.dim != dim or (words_of is not None and aligned_to["identity"] != words_of):
                raise GraftError(
                    f"{self.checkpoint} was aligned to {aligned_to['name']} (D={self.loaded.dim}, "
                    f"{aligned_to['identity'][:12]}), but the words come from {self._source_of_words()} (D={dim}, "
                    f"{(words_of or 'unknown')[:12]}). Give the teacher it was aligned to."
                )
            if data.radiometry not in (None, self.loaded.radiometry):
                rank_zero_warn(
                    f"Tiles are rendered as {data.radiometry}, the encoder was trained on {self.loaded.radiometry}."
                )
            self.encoder = self.loaded.encoder
            self.models[ENCODER] = self.loaded.sha256
        if self.baseline and self.teacher is not None:
            self.models[BASELINE] = self.teacher.identity
        if data.has_photos and self.teacher is not None:
            self.models[CEILING] = self.teacher.identity
        elif data.has_photos:
            rank_zero_warn("The benchmark has photos, but without a teacher there is no ceiling: give one.")

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

    def _source_of_words(self) -> str:
        return str(self.text_file) if self.teacher is None or self.text_file else self.teacher.name

    def on_test_start(self) -> None:
        """Move the teacher, which is no submodule, to the device of the tiles."""
        if self.teacher is not None:
            self.teacher.to(self.device)

    def image_vectors(self, batch: LabelledBatch) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Look at a batch with every model.

        Yields:
            Key in `self.models`, float [n, D] vectors, labels [n, …]; the ceiling covers the tiles that have photos.
        """
        seen = 0 if batch.photo_mask is None else int(batch.photo_mask.sum())
        reasons = batch.skipped + batch.skipped_photos
        self._skips.add(len(batch.name) + seen + len(reasons), reasons)
        self.skipped.update(len(batch.skipped))
        if not batch.name:
            return
        if ENCODER in self.models:
            yield ENCODER, self.encoder(batch.tile), batch.label
        if self.teacher is not None and BASELINE in self.models:
            yield BASELINE, self.teacher.encode_image(batch.tile), batch.label
        if self.teacher is not None and batch.photo is not None and batch.photo_mask is not None:
            photos = self.teacher.encode_image(batch.photo[batch.photo_mask])
            rows = batch.photo_mask.any(dim=1)
            vectors = photos.new_zeros(*batch.photo_mask.shape, photos.shape[-1])
            vectors[batch.photo_mask] = photos
            yield CEILING, mean_direction(vectors, batch.photo_mask)[rows], batch.label[rows]

    def row(self, task: str, model: str, n: int, metrics: Mapping[str, float], skipped: int) -> ResultRow:
        """A result row of one of `self.models`, or of `chance`, which uses neither words nor weights."""
        seed = os.environ.get("PL_GLOBAL_SEED")  # where Lightning's seed_everything leaves it
        return ResultRow(
            task=task,
            dataset=self.dataset,
            split=self.split,
            n=n,
            skipped=skipped,
            model=self.name if model == ENCODER else model,
            metrics=dict(metrics),
            prompts=self.texts[0].card if model in self.models else None,
            preprocessing=self.trainer.datamodule.preprocessing,  # type: ignore[attr-defined]
            model_sha256=self.models.get(model),
            code_version=code_version(),
            seed=None if seed is None else int(seed),
            command=command_line(),
        )

    def beside_results(self, ending: str) -> Path:
        """A path beside the results file for something of this data set and split."""
        stem = re.sub(r"[^\w.-]+", "-", f"{self.dataset}_{self.split}_{ending}")
        return self.results.parent / stem

    def write(self, rows: list[ResultRow]) -> None:
        """Append the rows, and leave the headline's text vectors beside them for a deployment without a text tower."""
        append_rows(self.results, rows)
        headline = self.texts[0]
        if self.text_file is None and isinstance(headline, TextVectors):
            save_text_vectors(self.beside_results("text.safetensors"), headline)
