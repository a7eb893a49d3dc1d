"""What programs see an image through: an encoder's eyes (`graft.vqa.scoring`) or the truth (`graft.vqa.oracle`)."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from graft.vqa.ground import GroundGrid
from graft.vqa.values import Mask


class Vision(Protocol):
    """One image, looked at in words."""

    @property
    def grid(self) -> GroundGrid:
        """The pixels of every mask, and where they lie."""

    @property
    def data(self) -> npt.NDArray[np.bool_]:
        """Bool [H, W], where the image has data."""

    @property
    def least_px(self) -> int:
        """Minimum mapping unit: objects of fewer grid pixels are below what it can see; left out and counted."""

    def segment(self, concept: str) -> Mask:
        """Where a concept is; False where there is no data."""

    def likeness(self, concept: str) -> float:
        """How like a concept the whole image is, 0..1."""

    def classify(self, options: Sequence[str]) -> dict[str, float]:
        """Score of each option for the whole image, 0..1; they sum to 1."""
