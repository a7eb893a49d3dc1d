"""A model, made ready to look for the concepts of some questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from graft.checkpoint import LoadedEncoder, load_encoder
from graft.dense import DenseMode
from graft.device import find_device
from graft.errors import GraftError
from graft.sliding import DenseScorer
from graft.teacher import Teacher, teacher_of
from graft.vqa.calibrate import Calibration, load_calibration, no_calibration
from graft.vqa.concepts import Concepts
from graft.vqa.scoring import ConceptWords, concept_scorer, plan_words

NOT_CALIBRATED = "The model is not calibrated: `graft calibrate` makes its yes and no, and its confidences, better."


@dataclass(frozen=True)
class Eyes:
    """What `graft.vqa.scoring.vision_of_scene` and `vision_of_array` need of a model.

    Attributes:
        loaded: the model.
        tower: the CLIP that it was aligned to.
        scorer: of windows, with the words of all concepts.
        words: the concepts.
        calibration: of the model; none where it has none.
        notes: what the reader of an answer must know.
    """

    loaded: LoadedEncoder
    tower: Teacher
    scorer: DenseScorer
    words: ConceptWords
    calibration: Calibration
    notes: tuple[str, ...]


def open_eyes(
    model: Path,
    concepts: Concepts,
    asked: Sequence[str],
    *,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    mode: DenseMode | None = None,
    window: int | None = None,
    precision: str = "bf16",
    device: str = "auto",
) -> Eyes:
    """Load a model and turn all concepts into vectors.

    Args:
        model: training checkpoint.
        concepts: the vocabulary.
        asked: concepts of the questions' programs.
        teacher: open_clip architecture or local-dir:FOLDER; the one that the model was aligned to if None.
        teacher_weights: tag or file.
        mode: how patch tokens are made; the calibration's, or the model's default if None.
        window: side of a window in pixels; the model's input size if None.
        precision: bf16 or fp32, of the weights.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        GraftError: no such model, device or teacher, another teacher than the model's, or a calibration that does not
            fit.
    """
    place = find_device(device)
    loaded = load_encoder(model)
    tower = teacher_of(loaded, teacher, teacher_weights)
    words = plan_words(concepts, asked, tower)
    found = load_calibration(model, loaded.sha256)
    calibration = found or no_calibration(loaded.logit_scale)
    made_for = _mode_of(calibration)
    if made_for and mode and mode != made_for:
        raise GraftError(
            f"The model is calibrated for dense mode {made_for}, and --mode is {mode}. Leave --mode out, or run `graft "
            f"calibrate` with --mode {mode}."
        )
    encoder = loaded.encoder.to(place, torch.bfloat16 if precision == "bf16" else torch.float32)
    scorer = concept_scorer(encoder, words, loaded.patch, window or loaded.window, mode or made_for)
    return Eyes(loaded, tower, scorer, words, calibration, () if found else (NOT_CALIBRATED,))


def _mode_of(calibration: Calibration) -> DenseMode | None:
    """The dense mode that a calibration was made with; None where there is none, which is the model's default."""
    known = {mode: mode for mode in get_args(DenseMode)}
    return known.get(calibration.card.get("mode"))
