"""Edges by Segment Anything, prompted with the best patches of each class, as GRAFT's paper does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from segment_anything import SamPredictor, sam_model_registry

from graft.errors import GraftError, first_line
from graft.refine.valid import fill_invalid

_TYPES = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_WIDEST = 256
_POSITIONS, _PATCHES = "image_encoder.pos_embed", "image_encoder.patch_embed.proj.weight"


class Predictor(Protocol):
    """What is used of `segment_anything.SamPredictor`."""

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Look at an RGB image, uint8 [H, W, 3]."""

    def predict(
        self, point_coords: NDArray[np.float64], point_labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
        """Three masks [3, H, W] at points [N, 2] (x, y), their predicted IoU [3], and logits."""


@dataclass(frozen=True)
class Prompt:
    """A patch whose centre prompts a mask: its class and its score for it."""

    row: int
    column: int
    label: int
    score: float


@dataclass(frozen=True)
class SamMasks:
    """The pixels of a mask take the scores of the patch that prompted it; pixels in no mask keep their own.

    Masks are made for each block on its own, so the blocks of a scene need not meet exactly.

    Attributes:
        predictor: SAM.
        patch_px: side of a patch token in pixels.
        prompts_per_class: most points a class may have in a block.
    """

    predictor: Predictor
    patch_px: float
    prompts_per_class: int = 16

    @property
    def halo(self) -> int:
        """Pixels of context, so that an object is seldom cut by the edge of a block."""
        return round(min(max(4 * self.patch_px, 1), _WIDEST))

    def __call__(
        self, scores: NDArray[np.float32], image: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Label masks; where masks overlap the one whose patch scored better wins."""
        refined = scores.copy()
        prompts = best_patches(scores, valid, self.patch_px, self.prompts_per_class)
        if not prompts:
            return refined
        self.predictor.set_image(fill_invalid(image, valid))
        for prompt in sorted(prompts, key=lambda prompt: prompt.score):
            point = np.array([[prompt.column + 0.5, prompt.row + 0.5]])
            masks, quality, _ = self.predictor.predict(point_coords=point, point_labels=np.array([1]))
            mask = masks[int(np.argmax(quality))].astype(bool) & valid
            refined[:, mask] = scores[:, prompt.row, prompt.column, None]
        return refined


def best_patches(
    scores: NDArray[np.float32], valid: NDArray[np.bool_], patch_px: float, per_class: int
) -> list[Prompt]:
    """The patches that are surest of each class.

    A patch is taken for the class that leads at its centre, where its score is the highest of the patches round it;
    two patches of a class never touch.

    Args:
        scores: float32 [C, H, W].
        valid: bool [H, W].
        patch_px: side of a patch in pixels.
        per_class: at most as many for each class.

    Returns:
        Classes in turn, best patches first.
    """
    rows, columns = (
        np.minimum(((np.arange(max(1, round(side / patch_px))) + 0.5) * patch_px).astype(int), side - 1)
        for side in valid.shape
    )
    centre = np.ix_(rows, columns)
    grid = np.stack([plane[centre] for plane in scores])
    leader = np.where(valid[centre], grid.argmax(axis=0), -1)
    prompts = []
    for label, plane in enumerate(grid):
        own = np.where(leader == label, plane, -np.inf)
        peaks = np.argwhere((leader == label) & (own == maximum_filter(own, size=3)))
        chosen: list[tuple[int, int]] = []
        for y, x in peaks[np.argsort(-own[tuple(peaks.T)], kind="stable")].tolist():
            if len(chosen) < per_class and all(max(abs(y - v), abs(x - u)) > 1 for v, u in chosen):
                chosen.append((y, x))
        prompts += [Prompt(int(rows[y]), int(columns[x]), label, float(plane[y, x])) for y, x in chosen]
    return prompts


def load_predictor(checkpoint: Path, device: str = "cpu") -> SamPredictor:
    """SAM out of a checkpoint in its authors' form, without running anything stored in it.

    Raises:
        GraftError: no such file, or not the weights of SAM's vit_b, vit_l or vit_h.
    """
    if not checkpoint.is_file():
        raise GraftError(f"No SAM checkpoint at {checkpoint}. Give the path of a file such as sam_vit_b_01ec64.pth.")
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise GraftError(f"{checkpoint} is not a checkpoint that loads safely: {first_line(error)}") from error
    kind = _type_of(state)
    if kind is None:
        raise GraftError(
            f"{checkpoint} holds no weights of Segment Anything's vit_b, vit_l or vit_h (of SAM 1: others, such as "
            "SAM 2 or MobileSAM, are not read). Give a file such as sam_vit_b_01ec64.pth."
        )
    sam = sam_model_registry[kind](checkpoint=None)
    try:
        sam.load_state_dict(state)
    except RuntimeError as error:
        missing = " ".join(str(error).split())[:200]
        raise GraftError(
            f"The weights in {checkpoint} do not fit SAM's {kind}, as which they start: {missing}"
        ) from error
    return SamPredictor(sam.to(device).eval().requires_grad_(False))


def _type_of(state: Any) -> str | None:
    """Which SAM a state dict is of, by the shapes of its image encoder's first layers."""
    if not isinstance(state, dict):
        return None
    positions, patches = (tuple(getattr(state.get(key), "shape", ())) for key in (_POSITIONS, _PATCHES))
    for width, kind in _TYPES.items():
        if positions == (1, 64, 64, width) and patches == (width, 3, 16, 16):
            return kind
    return None
