"""Trained checkpoints, as `main.py fit` writes them, of a small CLIP with random weights."""

from pathlib import Path

import pytest
import torch

from graft.checkpoint import checkpoint_card
from graft.encoders import Level, encoder_from_clip
from graft.sensors import get_sensor
from graft.teacher import Teacher

LEVELS: tuple[Level, ...] = ("image", "pixel")


def write_checkpoint(path: Path, architecture: str, level: Level, sensor: str = "naip") -> Path:
    """A checkpoint of an encoder whose weights are not its teacher's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    encoder, config = encoder_from_clip(architecture, None, level=level)
    for parameter in encoder.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    card = checkpoint_card(
        config,
        sensor=sensor,
        radiometry=get_sensor(sensor).radiometry,
        teacher=Teacher(architecture).card,
        logit_scale=20.0,
        code_version="abc",
    )
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state, "graft": card, "global_step": 3}, path)
    log = path.parent / "lightning_logs" / "version_0"
    log.mkdir(parents=True, exist_ok=True)
    (log / "config.yaml").write_text("seed_everything: 3\n")
    return path


def checkpoints(tmp_path_factory: pytest.TempPathFactory, architecture: str) -> dict[Level, Path]:
    root = tmp_path_factory.mktemp("runs")
    return {level: write_checkpoint(root / level / "last.ckpt", architecture, level) for level in LEVELS}
