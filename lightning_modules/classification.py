"""Zero-shot classification: one label an image (accuracy) or several (average precision), by what the data holds."""

from typing import Any, cast

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import ModuleDict
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from graft.batch import LabelledBatch
from graft.bootstrap import Interval, accuracy_intervals, ranking_intervals
from graft.confusion import save_confusion_png
from graft.files import write_json
from graft.metrics import (
    Ranking,
    average_precisions,
    multilabel_chance,
    multilabel_metrics,
    per_class_accuracy,
    single_label_chance,
    single_label_metrics,
    zero_shot_scores,
)
from graft.results import ResultRow
from lightning_modules.evaluation import CEILING
from lightning_modules.zero_shot import ZeroShotEvaluation


class ZeroShotClassification(ZeroShotEvaluation):
    """Names each tile by the nearest words; see `ZeroShotEvaluation` and `Evaluation` for the arguments.

    Rows: the encoder under `name`, `clip_baseline` if asked for, `ceiling` where the data has photos, and `chance`.
    Single label: `top1`, `top1_macro`, `accuracy_<class>`; multi-label: `map_macro`, `map_micro`, `ap_<class>`; both
    `classes_skipped`. Beside the results: per-class figures as JSON, and the confusion matrix as PNG.
    """

    def setup(self, stage: str) -> None:
        """Load everything, and make one metric for every model and prompt family."""
        super().setup(stage)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        self.multilabel: bool = data.multilabel
        classes = len(data.classes)
        self.scored = ModuleDict(
            {
                f"{model}_{family}": Ranking(classes) if self.multilabel else MulticlassConfusionMatrix(classes)
                for model in self.models
                for family in range(len(self.texts))
            }
        )

    def test_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        """Score a batch with every model and prompt family."""
        for model, vectors, label in self.image_vectors(batch):
            for family, text in enumerate(self.text):
                scores = zero_shot_scores(vectors, text)
                metric = cast(Metric, self.scored[f"{model}_{family}"])
                metric.update(scores if self.multilabel else scores.argmax(dim=1), label)

    def on_test_epoch_end(self) -> None:
        """Join the processes, log the headline figures and, on the first process, write rows and files."""
        # Every process computes: joining their states is a collective call.
        states = {key: cast(Metric, metric).compute() for key, metric in self.scored.items()}
        skipped = int(self.skipped.compute())
        models = [model for model in self.models if self._count(states[f"{model}_0"]) or model != CEILING]
        if len(models) < len(self.models):
            rank_zero_warn("No photo could be read, so there is no ceiling.")
        rows = [self._report(model, states, skipped) for model in models]
        rows.append(self._chance(states[f"{models[0]}_0"], rows[0], skipped))
        for row in rows:
            headline = {k: v for k, v in row["metrics"].items() if k.startswith(("top1", "map_"))}
            self.log_dict({f"test/{row['model']}/{k}": v for k, v in headline.items()}, sync_dist=True)
        if self.first_process:
            self.write(rows)
            for model, row in zip(models, rows[:-1], strict=True):
                self._write_details(row, states[f"{model}_0"])

    def _report(self, model: str, states: dict[str, Any], skipped: int) -> ResultRow:
        metrics: dict[str, float] = {}
        for family, text in enumerate(self.texts):
            state = states[f"{model}_{family}"]
            figures = multilabel_metrics(*state) if self.multilabel else single_label_metrics(state)
            suffix = f"_{text.card['family']}" if family else ""
            metrics |= {f"{k}{suffix}": v for k, v in figures.items() if not family or k != "classes_skipped"}
        state = states[f"{model}_0"]
        prefix = "ap" if self.multilabel else "accuracy"
        values = self._per_class(state).tolist()
        metrics |= {f"{prefix}_{i}": v for i, v in zip(self.texts[0].ids, values, strict=True) if v == v}
        task = "multilabel" if self.multilabel else "classification"
        return self.row(task, model, self._count(state), metrics, skipped, self._intervals(state))

    def _intervals(self, state: Any) -> dict[str, Interval]:
        if not self.first_process:
            return {}
        return ranking_intervals(*state) if self.multilabel else accuracy_intervals(state)

    def _count(self, state: Any) -> int:
        return len(state[0]) if self.multilabel else int(state.sum())

    def _per_class(self, state: Any) -> Tensor:
        return average_precisions(*state) if self.multilabel else per_class_accuracy(state)

    def _chance(self, state: Any, like: ResultRow, skipped: int) -> ResultRow:
        metrics = multilabel_chance(state[1]) if self.multilabel else single_label_chance(len(self.texts[0].ids))
        return self.row(like["task"], "chance", like["n"], metrics, skipped)

    def _write_details(self, row: ResultRow, state: Any) -> None:
        ids = self.texts[0].ids
        counts = state[1].sum(dim=0) if self.multilabel else state.sum(dim=1)
        values = [None if value != value else value for value in self._per_class(state).tolist()]
        details: dict[str, Any] = {
            "classes": list(ids),
            "images": counts.tolist(),
            "average_precision" if self.multilabel else "accuracy": values,
        }
        if not self.multilabel:
            details["confusion"] = state.tolist()
            title = f"{row['dataset']}, {row['model']}: top-1 {100 * row['metrics']['top1']:.1f} %, n={row['n']}"
            save_confusion_png(self.beside_results(f"{row['model']}_confusion.png"), state, ids, title)
        write_json(self.beside_results(f"{row['model']}_per_class.json"), details)
