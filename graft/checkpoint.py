"""Encoders out of training checkpoints and model folders, without running anything stored in them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graft.clip import identity_of
from graft.encoders import Level, TowerConfig, build_encoder
from graft.errors import GraftError, first_line
from graft.model_folder import is_model_folder, read_model_folder


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder out of a training checkpoint or a model folder, in eval mode.

    Attributes:
        encoder: uint8 [B, 3, H, W] -> float32 unit [B, D].
        dim: D.
        sensor: name in `sensors.yaml` of the tiles it was trained on.
        radiometry: how those tiles were rendered.
        teacher: `name`, `identity` and `dim` of the teacher.
        logit_scale: 1 / temperature of the training loss.
        sha256: identity of the encoder's weights.
        step: optimiser steps taken; 0 where unknown.
        level: `image`, or `pixel` where it also has trained patch tokens.
        patch: side of a patch in pixels.
        window: side in pixels of the tiles it was made for.
        config: what the encoder was built from.
        code_version: of graft that trained it; None where unknown.
    """

    encoder: nn.Module
    dim: int
    sensor: str
    radiometry: str
    teacher: dict[str, Any]
    logit_scale: float
    sha256: str
    step: int
    level: Level
    patch: int
    window: int
    config: TowerConfig
    code_version: str | None = None


CHECKPOINT_KEY = "graft"


def checkpoint_card(config: TowerConfig, **facts: object) -> dict[str, object]:
    """The plain dictionary under `CHECKPOINT_KEY` of a training checkpoint; read back by `load_encoder`."""
    return {"format": 1, "encoder": asdict(config), **facts}


def encoder_of(checkpoint: dict[str, Any]) -> TowerConfig:
    """The configuration of the encoder in a loaded checkpoint.

    Raises:
        GraftError: graft did not write it.
    """
    if CHECKPOINT_KEY not in checkpoint:
        raise GraftError(f"The checkpoint was not written by graft: it has no {CHECKPOINT_KEY!r} entry.")
    card = dict(checkpoint[CHECKPOINT_KEY]["encoder"])
    return TowerConfig(**(card | {"mean": tuple(card["mean"]), "std": tuple(card["std"])}))


def check_same_run(checkpoint: dict[str, Any], config: TowerConfig, card: dict[str, Any]) -> None:
    """Check that a loaded checkpoint is of the run that is to go on from it.

    Args:
        checkpoint: as loaded.
        config: of the encoder that is configured.
        card: sensor, radiometry and teacher of the run, as given to `checkpoint_card`.

    Raises:
        GraftError: another architecture, sensor, radiometry or teacher.
    """
    remedy = "set trainer.default_root_dir to a new run, or go back to the old settings."
    theirs = encoder_of(checkpoint)
    if theirs.summary != config.summary:
        raise GraftError(
            f"The checkpoint to go on from holds {theirs.summary}, the configuration makes {config.summary}: {remedy}"
        )
    for what, value in card.items():
        if checkpoint[CHECKPOINT_KEY][what] != value:
            raise GraftError(
                f"The checkpoint to go on from was trained with {what} {checkpoint[CHECKPOINT_KEY][what]}, the shards "
                f"and the configuration have {value}: {remedy}"
            )


def load_encoder(model: Path) -> LoadedEncoder:
    """Load a satellite encoder, without running anything stored with it.

    Args:
        model: training checkpoint, or model folder; the teacher of a folder's encoder is the folder itself, as far as
            its text tower goes.

    Raises:
        GraftError: no such file or folder, none of graft's, or weights that do not fit the architecture it names.
    """
    return _from_folder(model) if is_model_folder(model) else _from_checkpoint(model)


def _from_folder(path: Path) -> LoadedEncoder:
    folder = read_model_folder(path)
    card = folder.card
    encoder = build_encoder(folder.tower)
    _load_weights(encoder, folder.encoder_state(), folder.tower, path)
    teacher = card.teacher | {"name": f"local-dir:{path}"}
    step, version = int(card.training.get("step") or 0), card.training.get("code_version")
    scale = 1 / card.temperature
    return _loaded(encoder, folder.tower, card.sensor["name"], card.radiometry, teacher, scale, step, version)


def _from_checkpoint(checkpoint: Path) -> LoadedEncoder:
    if not checkpoint.is_file():
        raise GraftError(
            f"No model at {checkpoint}. Give the path of a last.ckpt that `main.py fit` wrote, or of a model folder of "
            "`graft export` or `graft convert`."
        )
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise GraftError(f"{checkpoint} is not a checkpoint that loads safely: {first_line(error)}") from error
    config = encoder_of(content)
    card = content[CHECKPOINT_KEY]
    encoder = build_encoder(config)
    prefix = "encoder."
    state = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    _load_weights(encoder, state, config, checkpoint)
    step, version = content.get("global_step", 0), card.get("code_version")
    sensor, radiometry, teacher = card["sensor"], card["radiometry"], card["teacher"]
    return _loaded(encoder, config, sensor, radiometry, teacher, card["logit_scale"], step, version)


def _load_weights(encoder: nn.Module, state: dict[str, Tensor], config: TowerConfig, where: Path) -> None:
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise GraftError(
            f"The weights in {where} do not fit the architecture it names ({config.summary}): {first_line(error)}"
        ) from error
    encoder.eval().requires_grad_(requires_grad=False)


def _loaded(
    encoder: nn.Module,
    config: TowerConfig,
    sensor: str,
    radiometry: str,
    teacher: dict[str, Any],
    logit_scale: float,
    step: int,
    code_version: str | None,
) -> LoadedEncoder:
    return LoadedEncoder(
        encoder,
        config.embed_dim,
        sensor,
        radiometry,
        teacher,
        logit_scale,
        identity_of(encoder),
        step,
        config.level,
        config.patch,
        config.window,
        config,
        code_version,
    )
