"""Zero-shot visual question answering: questions become programs, programs run over what an encoder sees."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_warn

from graft.checkpoint import LoadedEncoder
from graft.dense import DenseMode
from graft.errors import GraftError
from graft.labelmaps import LabelledScene
from graft.results import ResultRow
from graft.rsvqa_images import ImageQuestions
from graft.scene_scores import canvas_of
from graft.sensors import get_sensor
from graft.sliding import DenseScorer, WindowGrid, default_stride
from graft.tally import Tally
from graft.vqa.calibrate import Calibration, load_calibration, no_calibration
from graft.vqa.concepts import load_concepts
from graft.vqa.grammar.rsvqa import RSVQAWriter
from graft.vqa.ground import GroundGrid
from graft.vqa.oracle import OracleVision
from graft.vqa.scoring import concept_scorer, plan_words, vision_of_array
from graft.vqa.toolbox import Toolbox, UrbanRule
from graft.vqa.vision import Vision
from graft.vqa_answers import ORACLE, AnswerBank, answer_questions, mark, write_programs, write_sheets
from lightning_modules.evaluation import BASELINE, ENCODER, Evaluation, WordSpace


class _Eye(NamedTuple):
    """A model that programs look through."""

    scorer: DenseScorer
    calibration: Calibration


class ZeroShotVQA(Evaluation):
    """Answers RSVQA's questions by its grammar; see `Evaluation` for the arguments that are not listed here.

    Rows: the encoder under `name`, `clip_baseline` if asked for (the same programs over the teacher's photo tower),
    `oracle` where the data has label maps (the same programs over the truth), and `majority` (the commonest answer of
    each type in another split). Metrics: `graft.vqa_metrics`. Beside the results: a CSV file of all questions with the
    answer of each.
    """

    def __init__(
        self,
        teacher: str,
        concepts: str = "rsvqa",
        units: Literal["metres", "epsg3857"] = "metres",
        urban: UrbanRule = UrbanRule("count", 2),  # noqa: B008
        calibration: str | None = "auto",
        least_px: int | None = None,
        oracle_least_px: int = 1,
        dense: DenseMode | None = None,
        baseline_dense: DenseMode = "maskclip",
        resample: Literal["model", "native"] = "model",
        window: int | None = None,
        stride: int | None = None,
        batch_size: int = 64,
        **kwargs: Any,
    ) -> None:
        """Take the settings; files are opened in `setup`.

        Args:
            teacher: architecture of the CLIP that the encoder was aligned to; its text tower reads the concepts.
            concepts: vocabulary, by name or path of a YAML file, see `graft.vqa.concepts`.
            units: of lengths and areas: true `metres`, or `epsg3857` where the answers were counted in it.
            urban: when an area is urban, see `graft.vqa.toolbox`; RSVQA: more than 2 buildings.
            calibration: folder with the `vqa.json` of `graft calibrate`; `auto` looks beside the checkpoint, null
                takes thresholds of 0. The baseline has no thresholds.
            least_px: pixels of the smallest object that the models count; None leaves it to `graft.vqa.scoring`.
            oracle_least_px: pixels of the smallest object that the answers count.
            dense: how the encoder makes patch tokens, see `graft.dense`; None takes its own.
            baseline_dense: the same for the CLIP baseline.
            resample: `model` brings images to the GSD of the encoder's sensor, `native` leaves their pixels alone.
            window: side of a window in pixels; None takes the model's own size.
            stride: between windows in pixels; None takes half a window.
            batch_size: windows at a time.
            **kwargs: see `Evaluation`.
        """
        super().__init__(teacher=teacher, **kwargs)
        if resample == "model" and self.checkpoint is None:
            raise GraftError("resample: model needs a checkpoint, whose sensor says the GSD; set resample to native.")
        self.units, self.urban, self.calibration, self.resample = units, urban, calibration, resample
        self.least_px, self.oracle_least_px, self.batch_size = least_px, oracle_least_px, batch_size
        self._concepts, self._modes, self._windows = concepts, (dense, baseline_dense), (window, stride)
        self.refused: dict[str, Tally] = {}
        self.gsd_m: float | None = None

    def prepare_words(self) -> WordSpace:
        """Turn every question into a program, and all that the programs look for into vectors."""
        if self.teacher is None:
            raise RuntimeError("__init__ has not checked its arguments")
        self.concepts = load_concepts(self._concepts)
        questions = self.trainer.datamodule.questions  # type: ignore[attr-defined]
        self.programs = write_programs((question.text for question in questions), RSVQAWriter(self.concepts))
        for line in self.programs.left_out.lines():
            rank_zero_warn(f"Questions that no program was written for: {line.strip()}")
        self.words = plan_words(self.concepts, self.programs.concepts, self.teacher)
        self.words_card = {"name": Path(self._concepts).stem, "family": "concepts", "sha256": self.concepts.sha256}
        return WordSpace(self.teacher.name, self.teacher.dim, self.teacher.identity)

    def setup(self, stage: str) -> None:
        """Load everything, and make room for the answers of every model."""
        if self.models:
            return
        super().setup(stage)
        self.eyes: dict[str, _Eye] = {}
        if self.teacher is not None:
            patch, own = self.teacher.tower.tower.patch_size[0], self.teacher.image_size
        if self.loaded is not None:
            patch, own = self.loaded.patch, self.loaded.window
            self.gsd_m = get_sensor(self.loaded.sensor).gsd_m if self.resample == "model" else None
        window = own if self._windows[0] is None else self._windows[0]
        stride = default_stride(window, patch) if self._windows[1] is None else self._windows[1]
        self.grid = WindowGrid(window, window, window, stride, patch)  # says now which numbers do not fit
        scorer = partial(concept_scorer, words=self.words, patch=patch, window=window)
        if self.loaded is not None:
            self.eyes[ENCODER] = _Eye(scorer(self.loaded.encoder, mode=self._modes[0]), self._calibration(self.loaded))
        if self.teacher is not None and self.baseline:
            uncalibrated = no_calibration(self.teacher.logit_scale)
            self.eyes[BASELINE] = _Eye(scorer(self.teacher.tower, mode=self._modes[1]), uncalibrated)
        with_truth = bool(self.trainer.datamodule.label_classes)  # type: ignore[attr-defined]
        self.answering = [*self.eyes, *([ORACLE] if with_truth else [])]
        self.refused = {model: Tally() for model in self.answering}
        self.bank = AnswerBank(len(self.answering))

    def _calibration(self, loaded: LoadedEncoder) -> Calibration:
        """Thresholds of the encoder; those of 0 where there are no others."""
        found = None
        if self.calibration is not None and self.checkpoint is not None:
            beside = self.calibration == "auto"
            folder = self.checkpoint if beside else Path(self.calibration)
            found = load_calibration(folder, loaded.sha256)
            if found is None and not beside:
                raise GraftError(f"{folder} holds no calibration. Give the folder that `graft calibrate` wrote to.")
            if found is None:
                rank_zero_warn(f"{folder} holds no calibration: thresholds are 0. `graft calibrate` makes one.")
        return no_calibration(loaded.logit_scale) if found is None else found

    def test_step(self, batch: ImageQuestions, batch_idx: int) -> None:
        """Look at an image with every model, and answer its questions."""
        self._skips.add(1, [batch.fault] if batch.fault else [])
        self.skipped.update(int(bool(batch.fault)))
        if batch.fault:
            return
        found = [
            answer_questions(batch.questions, self.programs, Toolbox(vision, self.urban), self.refused[model])
            for model, vision in self.visions(batch)
        ]
        self.bank.update(torch.stack(found, dim=1).to(self.device), batch.first)

    def visions(self, image: ImageQuestions) -> Iterator[tuple[str, Vision]]:
        """What each model makes of an image."""
        size = image.pixels.shape[:2]
        canvas = canvas_of(LabelledScene(str(image.id), image.pixels, image.pixels[..., 0], image.gsd_m), self.gsd_m)
        ground = partial(GroundGrid.of_canvas, image.crs, image.transform, size, units=self.units)
        look = partial(vision_of_array, grid=ground(canvas.shape[:2]), batch_size=self.batch_size)
        look = partial(look, stride=self.grid.stride, least_px=self.least_px)
        for model, (scorer, calibration) in self.eyes.items():
            yield model, look(canvas, scorer, self.words, calibration)
        if image.labels is not None:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            meaning = self.concepts.meaning()
            yield ORACLE, OracleVision(image.labels, data.label_classes, meaning, ground(size), self.oracle_least_px)

    def on_test_epoch_end(self) -> None:
        """Join the processes, log the headline figures and, on the first process, write rows and answers."""
        # Every process computes: joining their answers is a collective call.
        places, answers = (found.cpu() for found in self.bank.compute())
        skipped = int(self.skipped.compute())
        if not len(places):
            raise GraftError("No image could be read, so nothing was answered. Check data.init_args.root.")
        for model, tally in self.refused.items():
            for line in tally.lines():
                seen_by = self.name if model == ENCODER else model
                rank_zero_warn(f"Programs of {seen_by} without an answer: {line.strip()}")
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        asked = [data.questions[place] for place in places.tolist()]
        given = dict(zip(self.answering, answers.double().numpy().swapaxes(0, 1), strict=True))
        sheets = mark(data.layout, asked, given, self.programs, data.known)
        rows = [self._row(model, len(asked), sheet.metrics, skipped) for model, sheet in sheets.items()]
        # On the first process alone: all have the same figures, and where a gloo worker still holds the sum for an
        # average when its process ends, that process is aborted (torch 2.14).
        for row in rows if self.trainer.is_global_zero else ():
            headline = {k: v for k, v in row["metrics"].items() if k in ("accuracy", "accuracy_average")}
            logged = {f"test/{row['model']}/{k}": v for k, v in headline.items()}
            self.log_dict(logged, sync_dist=True, rank_zero_only=True)
        if self.first_process:
            self.write(rows)
            named = {row["model"]: sheet for row, sheet in zip(rows, sheets.values(), strict=True)}
            write_sheets(self.beside_results(f"{self.name}_questions.csv"), asked, named)

    def _row(self, model: str, n: int, metrics: dict[str, float], skipped: int) -> ResultRow:
        """A row that also says how an image became answers."""
        row = self.row("vqa", model, n, metrics, skipped)
        row["preprocessing"] += f", units {self.units}, urban by {self.urban.kind} above {self.urban.value:g}"
        if model in self.eyes:
            scorer, calibration = self.eyes[model]
            size = "native pixels" if self.gsd_m is None else f"resampled to {self.gsd_m:g} m if 10 % off"
            windows = f"windows of {scorer.window} px every {self.grid.stride} px, {scorer.mode}"
            tiles = f"calibrated on {calibration.tiles} tiles" if calibration.tiles else "uncalibrated"
            row["preprocessing"] += f", {size}, {windows}, {tiles}"
        return row
