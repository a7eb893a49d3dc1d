"""The satellite encoder: a ViT tower from display values of any size to CLIP's space."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import _build_vision_tower
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from graft.clip import create_clip, plain_tower
from graft.errors import GraftError

CONTROLS = ("mean-colour", "colour-histogram")


@dataclass(frozen=True)
class TowerConfig:
    """What is needed to build a satellite encoder again, in plain types that a checkpoint may hold.

    Attributes:
        kind: `tower`, or one of `CONTROLS`.
        embed_dim: width D of the output.
        quick_gelu: OpenAI's weights need True; a wrong value costs accuracy silently.
        vision_cfg: open_clip's `vision_cfg`.
        mean: per channel, of pixels in 0..1.
        std: per channel, of pixels in 0..1.
    """

    kind: str
    embed_dim: int
    quick_gelu: bool = False
    vision_cfg: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = open_clip.OPENAI_DATASET_MEAN
    std: tuple[float, ...] = open_clip.OPENAI_DATASET_STD

    @property
    def summary(self) -> str:
        """The configuration in a few words, for messages."""
        if self.kind != "tower":
            return f"{self.kind} control of width {self.embed_dim}"
        shape = ", ".join(
            f"{key} {self.vision_cfg.get(key)}" for key in ("width", "layers", "patch_size", "image_size")
        )
        return f"ViT ({shape}) of output width {self.embed_dim}"


def normalise(image: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """uint8 [B, 3, H, W] to `dtype`, zero mean and unit variance under the tower's statistics."""
    scale = torch.tensor(std, device=image.device).mul(255).reciprocal()
    shift = -torch.tensor(mean, device=image.device).mul(255) * scale
    return torch.addcmul(shift[:, None, None], image.float(), scale[:, None, None]).to(dtype)


def position_embedding(tower: VisionTransformer, grid: tuple[int, int]) -> Tensor:
    """Position embeddings [1 + h * w, width] for a token grid, bicubic from the tower's own square grid."""
    own: Tensor = tower.positional_embedding
    if grid == tuple(tower.grid_size):
        return own
    square = own[1:].T.reshape(1, -1, *tower.grid_size)
    resized = F.interpolate(square.float(), size=grid, mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([own[:1], resized.flatten(2)[0].T.to(own.dtype)])


def tower_tokens(tower: VisionTransformer, image: Tensor) -> Tensor:
    """Run a ViT on normalised images of any size.

    Args:
        tower: open_clip vision transformer with a class token.
        image: float [B, 3, H, W]; a remainder of H or W past whole patches is ignored.

    Returns:
        Tokens [B, 1 + h * w, width] before `ln_post`, the class token first.
    """
    patches = tower.conv1(image)
    grid = (patches.shape[-2], patches.shape[-1])
    tokens = patches.flatten(2).transpose(1, 2)
    first = tower.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
    tokens = torch.cat([first, tokens], dim=1) + position_embedding(tower, grid).to(tokens.dtype)
    tokens = tower.ln_pre(tower.patch_dropout(tokens))
    return tower.transformer(tokens)  # type: ignore[no-any-return]


def pool_tokens(tower: VisionTransformer, tokens: Tensor) -> Tensor:
    """Tokens of `tower_tokens` to CLIP's image vectors, float32 [B, D] of unit length."""
    pooled = tower.ln_post(tokens[:, 0]) @ tower.proj
    return F.normalize(pooled.float(), dim=-1)


class SatelliteEncoder(nn.Module):
    """An open_clip ViT from display values to CLIP's space.

    Call with uint8 tiles [B, 3, H, W]; returns float32 [B, D] of unit length. Any H and W of at least one patch.
    """

    def __init__(self, tower: VisionTransformer, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.tower = tower
        self._mean, self._std = mean, std

    def forward(self, tile: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, D] of unit length."""
        image = normalise(tile, self._mean, self._std, self.tower.conv1.weight.dtype)
        return pool_tokens(self.tower, tower_tokens(self.tower, image))


def encoder_from_clip(
    architecture: str, weights: str | None, *, kind: str = "tower", patch_dropout: float = 0.0
) -> tuple[nn.Module, TowerConfig]:
    """The encoder to be trained: a CLIP's own image tower, or a control of the same output width.

    Args:
        architecture: see `create_clip`.
        weights: see `create_clip`.
        kind: `tower`, `mean-colour` or `colour-histogram`; the controls see no structure and show what colour
            alone achieves under the same loss.
        patch_dropout: fraction of patch tokens dropped while training.
    """
    clip = create_clip(architecture, weights, patch_dropout=patch_dropout or None)
    tower = plain_tower(clip.visual, architecture)
    if kind in CONTROLS:
        config = TowerConfig(kind, tower.output_dim)
        return build_encoder(config), config
    preprocess = open_clip.get_model_preprocess_cfg(clip)
    settings = open_clip.get_model_config(architecture)
    config = TowerConfig(
        "tower",
        tower.output_dim,
        bool(settings.get("quick_gelu", False)),
        dict(settings["vision_cfg"], patch_dropout=patch_dropout),
        tuple(preprocess["mean"]),
        tuple(preprocess["std"]),
    )
    return SatelliteEncoder(tower, config.mean, config.std), config


def build_encoder(config: TowerConfig) -> nn.Module:
    """Build an encoder with random weights from its configuration."""
    if config.kind in CONTROLS:
        from graft.atlas.controls import ColourHistogram, MeanColour

        control: nn.Module = (MeanColour if config.kind == "mean-colour" else ColourHistogram)(config.embed_dim)
        return control
    if config.kind != "tower":
        raise GraftError(f"Unknown encoder {config.kind!r}: expected tower, {' or '.join(CONTROLS)}.")
    tower = _build_vision_tower(config.embed_dim, dict(config.vision_cfg), config.quick_gelu)
    return SatelliteEncoder(tower, config.mean, config.std)
