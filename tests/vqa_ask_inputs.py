"""A model for tests of `graft ask` that sees colours and reads few words: green is forest, blue lake, red quarry."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from graft.checkpoint import LoadedEncoder
from graft.encoders import TowerConfig
from tests.segment_inputs import COLOURS, PATCH, WINDOW, MeanColour

MEANT = {"quarry": 0, "forest": 1, "wood": 1, "lake": 2}
"""Words that mean a colour of `COLOURS`; all others point away from every colour."""

RED, GREEN, BLUE = 0, 1, 2


class ColourTower:
    """A text tower of width 3."""

    name, identity, dim, image_size = "colour words", "cd" * 32, 3, 32

    def __init__(self, architecture: str = "", weights: str | None = None) -> None:
        self.read: list[str] = []

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        self.read += texts
        rows = []
        for text in texts:
            colour = next((MEANT[word] for word in MEANT if word in text), None)
            away = -torch.ones(3) - 0.01 * (sum(text.encode()) % 7)
            rows.append(away if colour is None else torch.from_numpy(COLOURS[colour]).float())
        return F.normalize(torch.stack(rows), dim=-1)


def colour_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sensor: str = "naip") -> tuple[Path, MeanColour]:
    """Make `graft ask` load the colour model from a checkpoint path; returns both."""
    encoder = MeanColour().eval()
    teacher = {"name": ColourTower.name, "identity": ColourTower.identity, "dim": 3}
    loaded = LoadedEncoder(
        encoder,
        3,
        sensor,
        "as made",
        teacher,
        20.0,
        "ab" * 32,
        1,
        "pixel",
        PATCH,
        WINDOW,
        TowerConfig("token-colour", 3),
    )
    monkeypatch.setattr("graft.vqa.looking.load_encoder", lambda path: loaded)
    monkeypatch.setattr("graft.teacher.Teacher", ColourTower)
    model = tmp_path / "model" / "last.ckpt"
    model.parent.mkdir()
    model.touch()
    return model, encoder


def landscape(side: int = 320) -> np.ndarray:
    """Class indices [side, side]: quarry with three lakes and a forest beside the first lake.

    Lakes of 80 x 80, 64 x 64 and 48 x 48 pixels; the forest, 80 x 64, touches the largest lake on its east side.
    """
    labels = np.full((side, side), RED)
    labels[32:112, 32:112] = BLUE
    labels[32:112, 112:176] = GREEN
    labels[200:264, 40:104] = BLUE
    labels[240:288, 240:288] = BLUE
    return labels
