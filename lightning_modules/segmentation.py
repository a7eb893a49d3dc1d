"""Zero-shot segmentation: every pixel named by the nearest words, pooled over the whole set."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

from torch import nn
from torch.nn import ModuleDict
from torchmetrics import SumMetric

from graft.confusion import save_confusion_png
from graft.dense import DenseMode, default_mode
from graft.errors import GraftError
from graft.files import write_json
from graft.labelmaps import SceneSample
from graft.prompts import load_prompts
from graft.results import ResultRow
from graft.scene_scores import add_labels, canvas_of, join_families, scene_truth, score_scene
from graft.segmentation_metrics import (
    SegmentationFigures,
    SegmentationScore,
    named,
    per_class_iou,
    pixel_confusion,
    segmentation_metrics,
    uniform_chance,
)
from graft.segmentation_picture import save_scene_png
from graft.sensors import get_sensor
from graft.sliding import DenseScorer, WindowGrid, default_stride
from graft.words import ClassWords, read_class_words
from lightning_modules.evaluation import BASELINE, CEILING, ENCODER
from lightning_modules.zero_shot import ZeroShotEvaluation


@dataclass(frozen=True)
class _Eye:
    """A model in one dense mode."""

    model: str
    first: bool
    scorer: DenseScorer

    def key(self, family: int) -> str:
        return f"{self.model}/{self.scorer.mode}/{family}"


class ZeroShotSegmentation(ZeroShotEvaluation):
    """Names each pixel by the nearest words; see `ZeroShotEvaluation` for the arguments that are not listed here.

    Rows: the encoder under `name`, `clip_baseline` if asked for, `ceiling` (the truth on the token grid) and `chance`
    (a uniform guess). Metrics: see `graft.segmentation_metrics`. Beside the results: per-class figures as JSON, the
    confusion matrix, and the first scenes with truth and prediction as PNG.
    """

    texts: list[ClassWords]

    def __init__(
        self,
        dense: list[DenseMode] | None = None,
        baseline_dense: list[DenseMode] | None = None,
        bias_removal: float = 0.0,
        window: int | None = None,
        stride: int | None = None,
        resample: Literal["model", "native"] = "model",
        batch_size: int = 16,
        pictures: int = 3,
        **kwargs: Any,
    ) -> None:
        """Take the settings; files are opened in `setup`.

        Args:
            dense: how the encoder makes patch tokens, see `graft.dense`; the first mode is the headline, the others get
                their name as suffix. None takes the encoder's own: trained tokens, or `naclip` at image level.
            baseline_dense: the same for the CLIP baseline; None takes `maskclip`.
            bias_removal: see `graft.dense.remove_global_bias`; SegEarth-OV uses -0.3.
            window: side of a window in pixels; None takes the model's own size.
            stride: between windows in pixels; None takes half a window.
            resample: `model` brings scenes to the GSD of the encoder's sensor, `native` leaves their pixels alone.
            batch_size: windows at a time.
            pictures: scenes drawn with truth and prediction.
            **kwargs: see `ZeroShotEvaluation`.
        """
        super().__init__(**kwargs)
        for argument, modes in (("dense", dense), ("baseline_dense", baseline_dense)):
            if len(set(modes or [])) < len(modes or []):
                raise GraftError(f"{argument} is {', '.join(modes or [])}: give every mode once.")
        if resample == "model" and self.checkpoint is None:
            raise GraftError("resample: model needs a checkpoint, whose sensor says the GSD; set resample to native.")
        self.dense, self.baseline_dense, self.bias_removal = dense, baseline_dense, bias_removal
        self.resample, self.batch_size, self.pictures = resample, batch_size, pictures
        self._window, self._stride = window, stride
        self.gsd_m: float | None = None

    def read_words(self) -> list[ClassWords]:
        """The words of each prompt family with their synonyms, the headline first."""
        if self.prompts is None:
            return [read_class_words(cast("Any", self.text_file), None)]
        families = self.families or load_prompts(self.prompts).family_names
        return [read_class_words(self.prompts, self.teacher, family) for family in families]

    def setup(self, stage: str) -> None:
        """Load everything, and count for every model, dense mode and prompt family."""
        super().setup(stage)
        modes: dict[str, tuple[nn.Module, list[DenseMode]]] = {}
        if self.teacher is not None and self.baseline:
            tower = self.teacher.tower
            modes[BASELINE] = tower, self.baseline_dense or ["maskclip"]
            patch, own = tower.tower.patch_size[0], self.teacher.image_size
        if self.loaded is not None:
            encoder = self.loaded.encoder
            modes = {ENCODER: (encoder, self.dense or [default_mode(encoder)]), **modes}
            patch, own = self.loaded.patch, self.loaded.window
            self.gsd_m = get_sensor(self.loaded.sensor).gsd_m if self.resample == "model" else None
        window = own if self._window is None else self._window
        stride = default_stride(window, patch) if self._stride is None else self._stride
        self.grid = partial(WindowGrid, window=window, stride=stride, patch=patch)
        self.grid(window, window)  # says now which numbers do not fit
        scorer = partial(DenseScorer, words=join_families(self.texts), patch=patch, window=window)
        self.eyes = [
            _Eye(model, mode == chosen[0], scorer(encoder, mode=mode, bias_removal=self.bias_removal))
            for model, (encoder, chosen) in modes.items()
            for mode in chosen
        ]
        classes, families = len(self.texts[0].ids), range(len(self.texts))
        keys = [eye.key(family) for eye in self.eyes for family in families]
        self.scored = ModuleDict({key: SegmentationScore(classes) for key in keys})
        self.rounded, self.scenes, self.drawn = pixel_confusion(classes), SumMetric(), 0

    def test_step(self, batch: SceneSample, batch_idx: int) -> None:
        """Score a scene with every model, dense mode and prompt family."""
        scene = batch.scene
        self._skips.add(1, [batch.fault] if scene is None else [])
        self.skipped.update(int(scene is None))
        if scene is None:
            return
        self.scenes.update(1)
        canvas = canvas_of(scene, self.gsd_m)
        truth = scene_truth(scene.label, self.grid(*canvas.shape[:2]), len(self.texts[0].ids))
        add_labels(self.rounded, truth.rounded, truth.pixels)
        maps = [("truth", truth.pixels), ("truth on the token grid", truth.rounded)]
        for eye in self.eyes:
            scores = [cast(SegmentationScore, self.scored[eye.key(family)]) for family in range(len(self.texts))]
            named = score_scene(canvas, eye.scorer, truth, scores, self.batch_size)
            if eye.first:
                maps.append((self.name if eye.model == ENCODER else eye.model, named))
        if self.first_process and self.drawn < self.pictures:
            path, title = f"{self.name}_{scene.name}_scene.png", f"{self.dataset}, {self.split}: {scene.name}"
            save_scene_png(self.beside_results(path), scene.image, maps, self.texts[0].ids, title)
            self.drawn += 1

    def on_test_epoch_end(self) -> None:
        """Join the processes, log the headline figures and, on the first process, write rows and files."""
        # Every process computes: joining their counts is a collective call.
        figures = {key: cast(SegmentationScore, score).compute() for key, score in self.scored.items()}
        rounded, n, skipped = self.rounded.compute().cpu(), int(self.scenes.compute()), int(self.skipped.compute())
        firsts = [eye for eye in self.eyes if eye.first]
        rows = [self._row(eye.model, n, self._metrics(eye.model, figures), skipped, eye) for eye in firsts]
        ids = self.texts[0].ids
        ceiling = segmentation_metrics(rounded) | named("iou", ids, per_class_iou(rounded))
        rows += [
            self._row(CEILING, n, ceiling, skipped),
            self._row("chance", n, uniform_chance(rounded.sum(dim=1)), skipped),
        ]
        for row in rows:
            headline = {k: v for k, v in row["metrics"].items() if k in ("miou", "accuracy", "map_macro")}
            self.log_dict({f"test/{row['model']}/{k}": v for k, v in headline.items()}, sync_dist=True)
        if self.first_process:
            self.write(rows)
            for eye, row in zip(firsts, rows, strict=False):
                found = figures[eye.key(0)]
                write_json(self.beside_results(f"{row['model']}_per_class.json"), found.details(ids))
                title = f"{row['dataset']}, {row['model']}: mIoU {100 * row['metrics']['miou']:.1f} %, {n} scenes"
                save_confusion_png(self.beside_results(f"{row['model']}_confusion.png"), found.pixels, ids, title)

    def _metrics(self, model: str, figures: Mapping[str, SegmentationFigures]) -> dict[str, float]:
        """Figures of every dense mode and prompt family; those of the first of each are without suffix."""
        metrics: dict[str, float] = {}
        for eye in (eye for eye in self.eyes if eye.model == model):
            for family, words in enumerate(self.texts):
                found = figures[eye.key(family)]
                suffix = ("" if eye.first else f"_{eye.scorer.mode}") + (f"_{words.card['family']}" if family else "")
                skipped = {"classes_skipped"} if suffix else set()
                metrics |= {f"{k}{suffix}": v for k, v in found.metrics().items() if k not in skipped}
                metrics |= {} if suffix else found.per_class(words.ids)
        return metrics

    def _row(self, model: str, n: int, metrics: dict[str, float], skipped: int, eye: _Eye | None = None) -> ResultRow:
        """A row that also says how scenes became windows and, of a model, windows became tokens."""
        row, grid = self.row("segmentation", model, n, metrics, skipped), self.grid(1, 1)
        size = "native pixels" if self.gsd_m is None else f"resampled to {self.gsd_m:g} m if 10 % off"
        row["preprocessing"] += f", {size}, patches of {grid.patch} px"
        if eye is not None:
            row["preprocessing"] += f", windows of {grid.window} px every {grid.stride} px, {eye.scorer.mode}"
            row["preprocessing"] += f", global bias * {self.bias_removal:g} added" if self.bias_removal else ""
        return row
