"""The frozen CLIP that teaches: photos, tiles and sentences to unit vectors."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from graft.checkpoint import LoadedEncoder
from graft.clip import LOCAL, create_clip, identity_of, plain_tower
from graft.encoders import SatelliteEncoder
from graft.errors import GraftError
from graft.model_folder import is_model_folder, read_model_folder


def square_photo(image: Image.Image, size: int) -> Tensor:
    """A photo upright, RGB, short side resized (bicubic) and centre-cropped: uint8 [3, size, size]."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    square = ImageOps.fit(upright, (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def architecture_and_weights(name: str) -> tuple[str, str | None]:
    """What to load a teacher by, from the name in its card: `ARCHITECTURE/WEIGHTS` or `local-dir:FOLDER`."""
    if name.startswith(LOCAL):
        return name, None
    architecture, _, weights = name.partition("/")
    return architecture, weights or None


class Teacher:
    """A frozen CLIP. Not an `nn.Module`, so that it never enters a state_dict and never leaves eval mode.

    Weights are held in `dtype` rather than cast by autocast: a frozen attention layer under bf16 autocast is an
    order of magnitude slower on a CPU.

    Attributes:
        name: architecture and weights as configured.
        identity: hex sha256 of the weights.
        dim: D.
        image_size: side S of its photos in pixels.
        logit_scale: CLIP's own scale of cosines before a softmax.

    A model folder of graft is a teacher too, as far as words go: it holds that teacher's text tower and has its
    identity.
    """

    def __init__(
        self,
        architecture: str,
        weights: str | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        clip = create_clip(architecture, weights)
        tower = plain_tower(clip.visual, architecture)
        preprocess = open_clip.get_model_preprocess_cfg(clip)
        self.name = f"{architecture}/{weights}" if weights else architecture
        folder = Path(architecture.removeprefix(LOCAL))
        card = read_model_folder(folder).card if architecture.startswith(LOCAL) and is_model_folder(folder) else None
        self.identity = identity_of(clip) if card is None else str(card.teacher["identity"])
        self.dim: int = tower.output_dim
        self.image_size: int = tower.image_size[0]
        self.logit_scale = float(clip.logit_scale.detach().exp())
        self._tokenizer = open_clip.get_tokenizer(architecture)
        self._clip = clip.to(device=device, dtype=dtype).eval().requires_grad_(requires_grad=False)
        self._tower = None if card else SatelliteEncoder(tower, preprocess["mean"], preprocess["std"]).eval()

    @property
    def tower(self) -> SatelliteEncoder:
        """Its image tower as an image-level encoder of tiles: the CLIP baseline.

        Raises:
            GraftError: a model folder, which holds the satellite tower instead.
        """
        if self._tower is None:
            raise GraftError(
                f"{self.name} is a model folder: it holds the text tower of its teacher, not the tower that looks at "
                "photos and is the CLIP baseline. Give the teacher itself (architecture and weights), or ask for no "
                "photos and no baseline."
            )
        return self._tower

    @property
    def card(self) -> dict[str, Any]:
        """`name`, `identity` and `dim`, as recorded in `index.json` and in checkpoints."""
        return {"name": self.name, "identity": self.identity, "dim": self.dim}

    def to(self, device: torch.device | str) -> "Teacher":
        """Move the towers in place and return self."""
        self._clip.to(device)
        return self

    def preprocess_photo(self, image: Image.Image) -> Tensor:
        """A photo upright, RGB, short side resized to S (bicubic) and centre-cropped: uint8 [3, S, S]."""
        return square_photo(image, self.image_size)

    @torch.inference_mode()
    def encode_image(self, image: Tensor) -> Tensor:
        """Photos, or tiles for the CLIP baseline: uint8 [N, 3, H, W] of any size to float32 [N, D] of unit length."""
        with torch.autocast(image.device.type, enabled=False):
            vectors: Tensor = self.tower(image)
            return vectors

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N sentences to float32 [N, D] of unit length."""
        tokens = self._tokenizer(list(texts)).to(self._clip.logit_scale.device)
        return F.normalize(self._clip.encode_text(tokens).float(), dim=-1)


def teacher_of(loaded: LoadedEncoder, teacher: str | None = None, teacher_weights: str | None = None) -> Teacher:
    """The CLIP that a model was aligned to.

    Args:
        loaded: the model.
        teacher: open_clip architecture or local-dir:FOLDER; the one that the model names if None.
        teacher_weights: tag or file.

    Raises:
        GraftError: it is not to be had, or is another one.
    """
    name, recorded = architecture_and_weights(loaded.teacher["name"])
    tower = Teacher(name, teacher_weights or recorded) if teacher is None else Teacher(teacher, teacher_weights)
    if tower.identity != loaded.teacher["identity"]:
        raise GraftError(
            f"The model was aligned to {loaded.teacher['name']} ({loaded.teacher['identity'][:12]}), but the words "
            f"come from {tower.name} ({tower.identity[:12]}). Give the --teacher it was aligned to."
        )
    return tower
