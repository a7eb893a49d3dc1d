"""Training checkpoints: what graft adds to them, and how an encoder comes out again without running anything stored."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graft.clip import identity_of
from graft.encoders import Level, TowerConfig, build_encoder
from graft.errors import GraftError, first_line


@dataclass(frozen=True)
class LoadedEncoder:
    """An encoder out of a training checkpoint, in eval mode.

    Attributes:
        encoder: uint8 [B, 3, H, W] -> float32 unit [B, D].
        dim: D.
        sensor: name in `sensors.yaml` of the tiles it was trained on.
        radiometry: how those tiles were rendered.
        teacher: `name`, `identity` and `dim` of the teacher.
        logit_scale: 1 / temperature of the training loss.
        sha256: identity of the encoder's weights.
        step: optimiser steps taken.
        level: `image`, or `pixel` where it also has trained patch tokens.
        patch: side of a patch in pixels.
        window: side in pixels of the tiles it was made for.
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


def load_encoder(checkpoint: Path) -> LoadedEncoder:
    """Load the satellite encoder out of a graft training checkpoint, without running anything stored in it.

    Raises:
        GraftError: no such file, not a graft checkpoint, or weights that do not fit the architecture it names.
    """
    if not checkpoint.is_file():
        raise GraftError(f"No checkpoint at {checkpoint}. Give the path of a last.ckpt that `main.py fit` wrote.")
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise GraftError(f"{checkpoint} is not a checkpoint that loads safely: {first_line(error)}") from error
    config = encoder_of(content)
    card = content[CHECKPOINT_KEY]
    encoder = build_encoder(config)
    prefix = "encoder."
    state = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise GraftError(
            f"The weights in {checkpoint} do not fit the architecture it names ({config.summary}): {first_line(error)}"
        ) from error
    encoder.eval().requires_grad_(requires_grad=False)
    return LoadedEncoder(
        encoder,
        config.embed_dim,
        card["sensor"],
        card["radiometry"],
        card["teacher"],
        card["logit_scale"],
        identity_of(encoder),
        content.get("global_step", 0),
        config.level,
        config.patch,
        config.window,
    )
