"""What every evaluation shares: an encoder, the CLIP that it was aligned to beside it, and result rows."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import SumMetric

from graft.batch import LabelledBatch
from graft.bootstrap import Interval
from graft.checkpoint import LoadedEncoder, load_encoder
from graft.errors import GraftError
from graft.metrics import mean_direction
from graft.results import ResultRow, append_rows, code_version, command_line
from graft.skips import SkipCounter
from graft.teacher import Teacher

ENCODER, BASELINE, CEILING = "encoder", "clip_baseline", "ceiling"


class WordSpace(NamedTuple):
    """Where words are compared with images.

    Attributes:
        source: a teacher's name or a file, as a message says it.
        dim: D.
        teacher: identity of the CLIP whose text tower made the vectors; None where unknown.
    """

    source: str
    dim: int
    teacher: str | None


class Evaluation(LightningModule):
    """Base of the evaluations that compare what an encoder sees with words; nothing is fitted to the test images.

    Subclasses say which words in `prepare_words`, and take what `image_vectors` and `photo_vectors` give.

    Attributes:
        models: what is evaluated -> identity of its weights.
        words_card: `name`, `family` and `sha256` of the words, for the result rows.
    """

    words_card: dict[str, str]

    def __init__(
        self,
        dataset: str,
        results: Path,
        split: str = "test",
        name: str = "aligned",
        checkpoint: Path | None = None,
        teacher: str | None = None,
        teacher_weights: str | None = None,
        baseline: bool = False,
    ) -> None:
        """Take the settings; files are opened in `setup`.

        Args:
            dataset: name of the benchmark in the result rows.
            results: JSON list that the result rows are appended to; pictures and details are written beside it.
            split: name of the split in the result rows.
            name: name of the encoder in the result rows.
            checkpoint: training checkpoint with the encoder; None evaluates the CLIP baseline alone.
            teacher: architecture of the CLIP that the encoder was aligned to, see `graft.clip.create_clip`.
            teacher_weights: its weights: a tag or a file.
            baseline: also apply the teacher's photo tower to the tiles: the CLIP baseline.
        """
        super().__init__()
        self.dataset, self.split, self.name, self.results = dataset, split, name, results
        self.checkpoint, self.baseline = checkpoint, baseline
        self._teacher_source = (teacher, teacher_weights)
        self.loaded: LoadedEncoder | None = None
        self.teacher: Teacher | None = None
        self.models: dict[str, str | None] = {}
        self.skipped = SumMetric()
        self._skips = SkipCounter("Unpack the benchmark again.")
        if checkpoint is None and not baseline:
            raise GraftError("Nothing to evaluate: give a checkpoint, or baseline: true for the CLIP baseline alone.")

    def prepare_words(self) -> WordSpace:
        """Read the words, with `self.teacher` where there is one; sets `words_card`.

        Raises:
            GraftError: words that do not belong to the data.
        """
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Load encoder, teacher and words, and check that they belong together and to the data.

        Raises:
            GraftError: another architecture, teacher or class list.
        """
        if self.models:
            return
        architecture, weights = self._teacher_source
        self.teacher = None if architecture is None else Teacher(architecture, weights)
        words = self.prepare_words()
        if self.checkpoint is not None:
            self.loaded = load_encoder(self.checkpoint)
            aligned_to = self.loaded.teacher
            if self.loaded.dim != words.dim or words.teacher not in (None, aligned_to["identity"]):
                raise GraftError(
                    f"{self.checkpoint} was aligned to {aligned_to['name']} (D={self.loaded.dim}, "
                    f"{aligned_to['identity'][:12]}), but the words come from {words.source} (D={words.dim}, "
                    f"{(words.teacher or 'unknown')[:12]}). Give the teacher it was aligned to."
                )
            radiometry = self.trainer.datamodule.radiometry  # type: ignore[attr-defined]
            if radiometry not in (None, self.loaded.radiometry):
                rank_zero_warn(
                    f"Tiles are rendered as {radiometry}, the encoder was trained on {self.loaded.radiometry}."
                )
            self.encoder = self.loaded.encoder
            self.models[ENCODER] = self.loaded.sha256
        if self.baseline and self.teacher is not None:
            self.models[BASELINE] = self.teacher.identity

    def on_test_start(self) -> None:
        """Move the teacher, which is no submodule, to the device of the tiles."""
        if self.teacher is not None:
            self.teacher.to(self.device)

    def image_vectors(self, batch: LabelledBatch) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Look at a batch with every model, and count what was left out of it.

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
        if CEILING in self.models and batch.photo_mask is not None:
            photos = self.photo_vectors(batch)
            rows = batch.photo_mask.any(dim=1)
            vectors = photos.new_zeros(*batch.photo_mask.shape, photos.shape[-1])
            vectors[batch.photo_mask] = photos
            yield CEILING, mean_direction(vectors, batch.photo_mask)[rows], batch.label[rows]

    def photo_vectors(self, batch: LabelledBatch) -> Tensor:
        """The teacher's vectors of a batch's photos: float [n, D], in the order of `photo_mask`."""
        if self.teacher is None or batch.photo is None:
            raise RuntimeError("nobody asked for photos, or there are none")
        return self.teacher.encode_image(batch.photo[batch.photo_mask])

    def row(
        self,
        task: str,
        model: str,
        n: int,
        metrics: Mapping[str, float],
        skipped: int,
        intervals: Mapping[str, Interval] | None = None,
    ) -> ResultRow:
        """A result row of one of `self.models`, or of one, as `chance`, that uses neither words nor weights."""
        seed = os.environ.get("PL_GLOBAL_SEED")  # where Lightning's seed_everything leaves it
        return ResultRow(
            task=task,
            dataset=self.dataset,
            split=self.split,
            n=n,
            skipped=skipped,
            model=self.name if model == ENCODER else model,
            metrics=dict(metrics),
            prompts=self.words_card if model in self.models else None,
            preprocessing=self.trainer.datamodule.preprocessing,  # type: ignore[attr-defined]
            model_sha256=self.models.get(model),
            code_version=code_version(),
            seed=None if seed is None else int(seed),
            command=command_line(),
            intervals=dict(intervals or {}),
        )

    @property
    def first_process(self) -> bool:
        """Whether this process writes, which a debug run never does."""
        return bool(self.trainer.is_global_zero and not self.trainer.fast_dev_run)  # type: ignore[attr-defined]

    def beside_results(self, ending: str) -> Path:
        """A path beside the results file for something of this data set and split."""
        stem = re.sub(r"[^\w.-]+", "-", f"{self.dataset}_{self.split}_{ending}")
        return self.results.parent / stem

    def write(self, rows: list[ResultRow]) -> None:
        """Append the rows to the results file."""
        append_rows(self.results, rows)
