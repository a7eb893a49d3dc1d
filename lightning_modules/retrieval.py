"""Retrieval: class words find tiles, and photos or captions find their own tile and are found by it."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn import ModuleDict
from torch.nn.functional import one_hot
from torchmetrics import Metric
from tqdm import tqdm

from graft.batch import LabelledBatch
from graft.captions import caption_card, flatten_captions
from graft.errors import GraftError
from graft.files import write_json
from graft.metrics import Ranking, zero_shot_scores
from graft.recall import VectorBank, recall_both_ways
from graft.results import ResultRow
from graft.retrieval_metrics import class_chance, class_figures, mean_figures
from lightning_modules.evaluation import Evaluation, WordSpace
from lightning_modules.zero_shot import ZeroShotEvaluation

TASK = "retrieval"
_SENTENCES = 256  # through the text tower at a time
_Owned = tuple[Tensor, Tensor]  # vectors, and the tile that each belongs to


class ZeroShotRetrieval(ZeroShotEvaluation):
    """Searches the tiles by class words and, where the data has photos, by photos; see `ZeroShotEvaluation`.

    Rows: the encoder under `name`, `clip_baseline` if asked for, `chance` (the exact mean of a random ranking) and,
    where photos and the mixture of classes in every tile are known, `oracle`: it ranks tiles by their share of the
    photo's class. Metrics: `graft.retrieval_metrics.class_figures`, the mean over classes; with photos also `photos`,
    their number, and `graft.recall.recall_both_ways`. Beside the results: the figures of each class as JSON.
    """

    photos_are_ceiling = False

    def setup(self, stage: str) -> None:
        """Load everything, and make room for scores and vectors."""
        super().setup(stage)
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        classes, dim = len(data.classes), self.text.shape[-1]
        keys = [f"{model}_{family}" for model in self.models for family in range(len(self.texts))]
        self.scored = ModuleDict({key: Ranking(classes) for key in keys})
        self.with_photos: bool = data.has_photos and self.teacher is not None
        self.tiles = ModuleDict({model: VectorBank(dim) for model in self.models if self.with_photos})
        if self.with_photos:
            self.photos, self.subjects = VectorBank(dim), VectorBank(classes)
        self.oracle: bool = self.with_photos and data.mixtures is not None

    def test_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        """Score a batch with every model and prompt family; keep its vectors and those of its photos."""
        for model, vectors, label in self.image_vectors(batch):
            relevant = label if label.ndim == 2 else one_hot(label, self.text.shape[1])
            for family, text in enumerate(self.text):
                cast(Metric, self.scored[f"{model}_{family}"]).update(zero_shot_scores(vectors, text), relevant)
            if self.with_photos:
                cast(Metric, self.tiles[model]).update(vectors, batch.index)
        if not self.with_photos or batch.photo is None or batch.photo_mask is None or batch.index is None:
            return
        owner = batch.index[:, None].expand(batch.photo_mask.shape)[batch.photo_mask]
        self.photos.update(self.photo_vectors(batch), owner)
        if self.oracle and batch.photo_label is not None:
            # A photo of no known class gets zeros, with which even the oracle knows nothing.
            subject = batch.photo_label[batch.photo_mask, None] == torch.arange(self.text.shape[1], device=owner.device)
            self.subjects.update(subject, owner)

    def on_test_epoch_end(self) -> None:
        """Join the processes, log the headline figures and, on the first process, write rows and files."""
        # Every process computes: joining their states is a collective call.
        scores = {key: cast(Metric, metric).compute() for key, metric in self.scored.items()}
        tiles = {model: cast(Metric, bank).compute() for model, bank in self.tiles.items()}
        photos = self.photos.compute() if self.with_photos else None
        subjects = self.subjects.compute() if self.oracle else None
        skipped = int(self.skipped.compute())
        if photos is not None and not len(photos[0]):
            rank_zero_warn("No photo could be read, so none is searched with.")
        figures = {key: class_figures(*state) for key, state in scores.items()}
        relevant, seen = next(iter(scores.values()))[1], next(iter(tiles.values()), None)
        of = {model: self._words(model, figures) | _photo_recall(photos, tiles.get(model)) for model in self.models}
        of["chance"] = mean_figures(class_chance(relevant)) | _photo_recall(_blind(photos), _blind(seen))
        if subjects is not None and len(subjects[0]) and seen is not None:
            mixtures = self.trainer.datamodule.mixtures  # type: ignore[attr-defined]
            of["oracle"] = _photo_recall(subjects, (mixtures.to(seen[1].device)[seen[1]], seen[1]))
        rows = [self.row(TASK, model, len(relevant), metrics, skipped) for model, metrics in of.items()]
        for row in rows:
            headline = {k: v for k, v in row["metrics"].items() if k in ("map", "map_at_100_hits", "recall_at_10")}
            self.log_dict({f"test/{row['model']}/{k}": v for k, v in headline.items()}, sync_dist=True)
        if self.first_process:
            self.write(rows)
            for model, row in zip(self.models, rows, strict=False):
                self._write_details(row, figures[f"{model}_0"], relevant)

    def _words(self, model: str, figures: Mapping[str, dict[str, Tensor]]) -> dict[str, float]:
        """Figures of every prompt family; those of the first are without suffix."""
        metrics: dict[str, float] = {}
        for family, text in enumerate(self.texts):
            suffix = f"_{text.card['family']}" if family else ""
            means = mean_figures(figures[f"{model}_{family}"])
            metrics |= {f"{k}{suffix}": v for k, v in means.items() if not family or k != "classes_skipped"}
        return metrics

    def _write_details(self, row: ResultRow, figures: Mapping[str, Tensor], relevant: Tensor) -> None:
        details: dict[str, Any] = {"classes": list(self.texts[0].ids), "images": relevant.sum(dim=0).tolist()}
        for name, values in figures.items():
            details[name] = [None if value != value else value for value in values.tolist()]
        write_json(self.beside_results(f"{row['model']}_retrieval.json"), details)


class CaptionRetrieval(Evaluation):
    """Searches tiles by sentences written for them, and sentences by tiles; see `Evaluation` for the arguments.

    Rows: the encoder under `name`, `clip_baseline` if asked for, and `chance` (the exact mean of a random ranking).
    Metrics: `captions` (their number), `graft.recall.recall_both_ways`, and `mean_recall`, the mean of its six figures.
    A sentence written for two tiles counts for each of them as its own alone, and is a tie where a tile searches.
    """

    def __init__(self, teacher: str, **kwargs: Any) -> None:
        """Take the settings; files are opened in `setup`.

        Args:
            teacher: architecture of the CLIP that the encoder was aligned to; its text tower reads the captions.
            **kwargs: see `Evaluation`.
        """
        super().__init__(teacher=teacher, **kwargs)

    def prepare_words(self) -> WordSpace:
        """List the sentences; they become vectors in `on_test_start`, on the device."""
        if self.teacher is None:
            raise RuntimeError("__init__ has not checked its arguments")
        captions = self.trainer.datamodule.captions  # type: ignore[attr-defined]
        self.sentences, self.sentence_of, self.owner_of = flatten_captions(captions)
        self.words_card = caption_card(self.dataset, captions)
        return WordSpace(self.teacher.name, self.teacher.dim, self.teacher.identity)

    def setup(self, stage: str) -> None:
        """Load everything, and make room for vectors."""
        super().setup(stage)
        if self.teacher is not None:
            dim = self.teacher.dim
            self.tiles = ModuleDict({model: VectorBank(dim) for model in self.models})

    def on_test_start(self) -> None:
        """Turn every sentence into a vector, each once: equal sentences then are exact ties."""
        super().on_test_start()
        if self.teacher is None:
            return
        starts = range(0, len(self.sentences), _SENTENCES)
        parts = tqdm(starts, desc="captions", unit="batch", leave=False, disable=not self.trainer.is_global_zero)
        vectors = [self.teacher.encode_text(self.sentences[i : i + _SENTENCES]) for i in parts]
        self.register_buffer("captions", torch.cat(vectors), persistent=False)

    def test_step(self, batch: LabelledBatch, batch_idx: int) -> None:
        """Keep the vectors of a batch."""
        for model, vectors, _ in self.image_vectors(batch):
            cast(Metric, self.tiles[model]).update(vectors, batch.index)

    def on_test_epoch_end(self) -> None:
        """Join the processes, log the headline figures and, on the first process, write rows."""
        tiles = {model: cast(Metric, bank).compute() for model, bank in self.tiles.items()}
        skipped = int(self.skipped.compute())
        rows = [self._row(model, bank, self._queries(bank), skipped) for model, bank in tiles.items()]
        seen = next(iter(tiles.values()))
        rows.append(self._row("chance", _blind(seen), _blind(self._queries(seen)), skipped))
        for row in rows:
            self.log(f"test/{row['model']}/mean_recall", row["metrics"]["mean_recall"], sync_dist=True)
        if self.first_process:
            self.write(rows)

    def _queries(self, tiles: _Owned) -> _Owned:
        """Captions of the tiles that could be read, and their owners."""
        captions = cast(Tensor, self.captions)
        sentence, owner = self.sentence_of.to(captions.device), self.owner_of.to(captions.device)
        there = torch.isin(owner, tiles[1].to(captions.device))
        return captions[sentence[there]], owner[there]

    def _row(self, model: str, tiles: _Owned, captions: _Owned, skipped: int) -> ResultRow:
        if not len(tiles[0]):
            raise GraftError("No image could be read, so there is nothing to find. Check data.init_args.root.")
        recall = recall_both_ways(*captions, *tiles, "caption")
        metrics = {"captions": float(len(captions[0])), **recall, "mean_recall": sum(recall.values()) / len(recall)}
        return self.row(TASK, model, len(tiles[0]), metrics, skipped)


def _photo_recall(photos: _Owned | None, tiles: _Owned | None) -> dict[str, float]:
    """Recall both ways and the number of photos; nothing without photos."""
    if photos is None or tiles is None or not len(photos[0]):
        return {}
    return {"photos": float(len(photos[0])), **recall_both_ways(*photos, *tiles, "photo")}


def _blind(vectors: _Owned | None) -> Any:
    """The same items as equal vectors: a search among ties is chance."""
    return None if vectors is None else (vectors[0].new_zeros(len(vectors[0]), 1), vectors[1])
