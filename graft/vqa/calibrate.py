"""`graft calibrate`: what the scores of words usually are, from tiles without labels, kept beside the model.

CLIP gives some words high scores wherever one looks, and others low ones. So the cosine of a phrase is told in how far
it is above its own mean over many tiles, in units of its spread over their patches:

    z = (cosine - mean) / (sd + spread)      spread: mean sd of everyday descriptions (graft/prompts/background.yaml)

The added spread keeps words that CLIP does not know, whose scores hardly change, from being blown up. Words that were
not calibrated have the mean that the mean token gives (a mean of cosines is the cosine of the mean) and the usual sd.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from graft.errors import GraftError, first_line

FILE = "vqa.json"
SCALE = 8.0
"""k for calibrated scores. Expected calibration error of likeness on the val scenes of two atlas worlds, with the
vocabularies `atlas` and `everyday`: 0.06 to 0.10 at 3, 0.01 to 0.03 at 6, 0.008 to 0.016 at 8, 0.011 to 0.014 at 12."""
_VERSION = 1
_CARD = ("model_sha256", "teacher", "mode", "seed")


@dataclass(frozen=True)
class Calibration:
    """How the scores of a model become yes and no; see the module.

    Attributes:
        scale: k of likeness = sigmoid(k margin).
        tiles: looked at; 0 where nothing was calibrated, and scores stay cosines.
        card: what it was made of, `model_sha256`, `teacher`, `mode`, `seed`; empty where nothing was calibrated.
        phrases: phrase -> mean and sd of its cosine over the patches of the tiles.
        spread: mean sd of everyday descriptions.
        token: D numbers, the mean patch token.
    """

    scale: float
    tiles: int
    card: Mapping[str, str]
    phrases: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    spread: float = 0.0
    token: tuple[float, ...] = ()


def no_calibration(scale: float) -> Calibration:
    """Cosines as they are.

    Args:
        scale: k; the model's own `logit_scale` is meant.
    """
    return Calibration(scale, 0, {})


def calibration_file(checkpoint: Path) -> Path:
    """Where the calibration of a checkpoint, or of the folder of one, lies."""
    return (checkpoint if checkpoint.is_dir() else checkpoint.parent) / FILE


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write it as JSON, whole or not at all."""
    from graft.files import write_json

    write_json(
        path,
        {
            "version": _VERSION,
            **calibration.card,
            "tiles": calibration.tiles,
            "scale": calibration.scale,
            "spread": calibration.spread,
            "phrases": {phrase: list(usual) for phrase, usual in calibration.phrases.items()},
            "token": list(calibration.token),
        },
    )


def load_calibration(checkpoint: Path, model_sha256: str) -> Calibration | None:
    """The calibration beside a checkpoint; None if there is none.

    Args:
        checkpoint: runs/NAME/last.ckpt, or its folder.
        model_sha256: `graft.checkpoint.LoadedEncoder.sha256`.

    Raises:
        GraftError: it is damaged, or of another model.
    """
    path = calibration_file(checkpoint)
    if not path.is_file():
        return None
    try:
        calibration = _parse(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise GraftError(
            f"{path} is no calibration that this graft reads ({type(error).__name__}: {first_line(error)}). Make it "
            "again with `graft calibrate`, or remove it."
        ) from error
    if calibration.card["model_sha256"] != model_sha256:
        raise GraftError(
            f"{path} was made for the model {calibration.card['model_sha256'][:12]}, and the checkpoint beside it "
            f"holds {model_sha256[:12]}. Run `graft calibrate` again, or remove the file."
        )
    return calibration


def _parse(content: Any) -> Calibration:
    """Check every number: a calibration that is not finite would answer every question with no."""

    def number(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"expected a finite number, found {value!r}")
        return float(value)

    if content["version"] != _VERSION:
        raise ValueError(f"version {content['version']!r}, expected {_VERSION}")
    card = {key: content[key] for key in _CARD}
    if not all(isinstance(value, str) for value in card.values()):
        raise ValueError(f"expected text under {', '.join(_CARD)}")
    phrases = {phrase: (number(mean), number(sd)) for phrase, (mean, sd) in content["phrases"].items()}
    scale, spread, tiles = number(content["scale"]), number(content["spread"]), int(number(content["tiles"]))
    if min(scale, spread, tiles) <= 0 or any(sd < 0 for _, sd in phrases.values()):
        raise ValueError("expected scale, spread and tiles above 0, and no sd below 0")
    return Calibration(scale, tiles, card, phrases, spread, tuple(map(number, content["token"])))


def calibrate(
    paths: list[str],
    *,
    model: Path,
    concepts: str | None = None,
    tiles: int = 512,
    seed: int = 0,
    mode: Literal["tokens", "vanilla", "maskclip", "sclip", "clearclip", "naclip", "segearth"] | None = None,
    sensor: str | None = None,
    display: bool = False,
    bands: str | None = None,
    gsd: float | None = None,
    any_gsd: bool = False,
    window: int | None = None,
    batch_size: int = 64,
    precision: Literal["bf16", "fp32"] = "bf16",
    device: str = "auto",
    teacher: str | None = None,
    teacher_weights: str | None = None,
) -> None:
    """Look at tiles without labels and write vqa.json beside the checkpoint; graft ask reads it.

    Use ground like that which will be asked about, such as the scenes or shards that the model was trained on, and
    never the tiles of a test: no label is read, but what is usual there would be known.

    Args:
        paths: rasters, folders of rasters or of pictures, and shards, as graft index takes them.
        model: training checkpoint, runs/NAME/last.ckpt.
        concepts: a YAML file of your own, whose phrases are calibrated beside those that come with graft.
        tiles: to look at, at most.
        seed: of which.
        mode: how patch tokens are made; trained tokens for a pixel-level model, naclip for an image-level one.
        sensor: a row of sensors.yaml that says how stored numbers are shown, e.g. sentinel-04.00; the model's if not
            given.
        display: the bands of rasters are 8-bit display values already, such as a true-colour image.
        bands: numbers (from 1) of the red, green and blue band where files do not say, e.g. 4,3,2.
        gsd: metres a pixel of what has no coordinate reference system.
        any_gsd: resample what has pixels more than 2 times larger or smaller than the model's.
        window: side of a tile in pixels; the model's input size if not given.
        batch_size: tiles at a time.
        precision: of the model's weights.
        device: auto, cpu, cuda or cuda:N.
        teacher: open_clip architecture whose text tower reads the words, or local-dir:FOLDER; the one that the model
            was aligned to if not given.
        teacher_weights: tag of open_clip or a file of weights.

    Raises:
        GraftError: input that is missing or does not fit, one sentence each.
    """
    import torch

    from graft.checkpoint import load_encoder
    from graft.dense import default_mode
    from graft.device import find_device
    from graft.index import make_look
    from graft.segment.command import band_numbers, check_range
    from graft.teacher import teacher_of
    from graft.vqa.concepts import concept_set_names, load_concepts
    from graft.vqa.unlabelled import measure_model, sample_tiles

    check_range("tiles", tiles, 1)
    check_range("batch-size", batch_size, 1)
    if not paths:
        raise GraftError("Nothing to look at: give rasters, folders of rasters or of pictures, or shards.")
    sets = [load_concepts(name) for name in (*concept_set_names(), *([concepts] if concepts else []))]
    place = find_device(device)
    loaded = load_encoder(model)
    look = make_look(
        loaded,
        window=window,
        sensor=sensor,
        display=display,
        bands=band_numbers(bands),
        gsd_m=gsd,
        any_gsd=any_gsd,
        precision=precision,
    )
    tower = teacher_of(loaded, teacher, teacher_weights)
    sample = sample_tiles(paths, look, tiles, seed)
    for line in sample.lines():
        print(line)
    loaded.encoder.to(place, torch.bfloat16 if precision == "bf16" else torch.float32)
    usual = measure_model(loaded, tower, sets, mode or default_mode(loaded.encoder), sample.pixels, seed, batch_size)
    written = calibration_file(model)
    write_calibration(written, usual)
    print(f"{len(usual.phrases)} phrases calibrated on {usual.tiles:,} tiles: {written}")
