"""The satellite encoder: a ViT tower from display values of any size to CLIP's space."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import _build_vision_tower
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from graft.clip import create_clip, plain_tower
from graft.errors import GraftError

IMAGE_CONTROLS = ("mean-colour", "colour-histogram")
PIXEL_CONTROLS = ("token-colour",)
CONTROLS = IMAGE_CONTROLS + PIXEL_CONTROLS
Level = Literal["image", "pixel"]
Positions = Literal["open_clip", "huggingface"]
"""Whose way of resizing position embeddings: open_clip's (antialiased) or Hugging Face transformers' (not).

Both are bicubic and the same at the tower's own size; at others weights keep the way they came with."""
_SHORT = 128


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
        level: `image` learns one vector per tile, `pixel` one per patch token.
        positions: how position embeddings are resized.
    """

    kind: str
    embed_dim: int
    quick_gelu: bool = False
    vision_cfg: dict[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = open_clip.OPENAI_DATASET_MEAN
    std: tuple[float, ...] = open_clip.OPENAI_DATASET_STD
    level: Level = "image"
    positions: Positions = "open_clip"

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        return int(self.vision_cfg["patch_size"])

    @property
    def window(self) -> int:
        """Side in pixels of the input that the tower was made for."""
        return int(self.vision_cfg["image_size"])

    @property
    def summary(self) -> str:
        """The configuration in a few words, for messages."""
        if self.kind != "tower":
            return f"a {self.kind} control of width {self.embed_dim}"
        shape = ", ".join(
            f"{key} {self.vision_cfg.get(key)}" for key in ("width", "layers", "patch_size", "image_size")
        )
        return f"a ViT ({shape}) at {self.level} level, output width {self.embed_dim}"


def normalise(image: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """uint8 [B, 3, H, W] to `dtype`, zero mean and unit variance under the tower's statistics."""
    scale = torch.tensor(std, device=image.device).mul(255).reciprocal()
    shift = -torch.tensor(mean, device=image.device).mul(255) * scale
    return torch.addcmul(shift[:, None, None], image.float(), scale[:, None, None]).to(dtype)


def position_embedding(tower: VisionTransformer, grid: tuple[int, int], positions: Positions = "open_clip") -> Tensor:
    """Position embeddings [1 + h * w, width] for a token grid, bicubic from the tower's own square grid."""
    own: Tensor = tower.positional_embedding
    if grid == tuple(tower.grid_size):
        return own
    square = own[1:].T.reshape(1, -1, *tower.grid_size)
    antialias = positions == "open_clip"
    resized = F.interpolate(square.float(), size=grid, mode="bicubic", antialias=antialias, align_corners=False)
    return torch.cat([own[:1], resized.flatten(2)[0].T.to(own.dtype)])


def embed_patches(
    tower: VisionTransformer, image: Tensor, positions: Positions = "open_clip"
) -> tuple[Tensor, tuple[int, int]]:
    """What goes into a ViT's first block.

    Args:
        tower: open_clip vision transformer with a class token.
        image: float [B, 3, H, W], normalised; a remainder of H or W past whole patches is ignored.
        positions: how position embeddings are resized.

    Returns:
        Tokens [B, 1 + h * w, width], the class token first, and the grid (h, w).
    """
    patches = tower.conv1(image)
    grid = (patches.shape[-2], patches.shape[-1])
    tokens = patches.flatten(2).transpose(1, 2)
    first = tower.class_embedding.to(tokens.dtype).expand(len(tokens), 1, -1)
    tokens = torch.cat([first, tokens], dim=1) + position_embedding(tower, grid, positions).to(tokens.dtype)
    return tower.ln_pre(tower.patch_dropout(tokens)), grid


def run_blocks(tower: VisionTransformer, tokens: Tensor) -> Tensor:
    """Run all blocks of a ViT: [B, N, width] to [B, N, width]."""
    # On a CPU torch's fused attention takes six times as long backward as the plain one in bfloat16 on short sequences.
    short = torch.is_autocast_enabled("cpu") and tokens.device.type == "cpu" and tokens.shape[1] <= _SHORT
    with sdpa_kernel(SDPBackend.MATH) if short and torch.is_grad_enabled() else nullcontext():
        return tower.transformer(tokens)  # type: ignore[no-any-return]


def tower_tokens(tower: VisionTransformer, image: Tensor, positions: Positions = "open_clip") -> Tensor:
    """Run a ViT on normalised images of any size.

    Args:
        tower: open_clip vision transformer with a class token.
        image: float [B, 3, H, W]; a remainder of H or W past whole patches is ignored.
        positions: how position embeddings are resized.

    Returns:
        Tokens [B, 1 + h * w, width] before `ln_post`, the class token first.
    """
    tokens, _ = embed_patches(tower, image, positions)
    return run_blocks(tower, tokens)


def pool_tokens(tower: VisionTransformer, tokens: Tensor) -> Tensor:
    """Tokens of `tower_tokens` to CLIP's image vectors, float32 [B, D] of unit length."""
    pooled = tower.ln_post(tokens[:, 0]) @ tower.proj
    return F.normalize(pooled.float(), dim=-1)


class PatchProjector(nn.Module):
    """Patch tokens before `ln_post` to CLIP's space: LayerNorm, then a linear map without bias.

    Call with float [..., width]; returns float [..., D], any length. It starts as a tower's own `ln_post` and `proj`;
    open_clip hands tokens out after `ln_post`, so those must not be given to it.
    """

    def __init__(self, tower: VisionTransformer) -> None:
        super().__init__()
        width, dim = tower.proj.shape
        self.norm = nn.LayerNorm(width, eps=tower.ln_post.eps)
        self.linear = nn.Linear(width, dim, bias=False)
        self.norm.load_state_dict(tower.ln_post.state_dict())
        self.linear.weight.data.copy_(tower.proj.data.T)

    def forward(self, tokens: Tensor) -> Tensor:
        """Project tokens."""
        projected: Tensor = self.linear(self.norm(tokens))
        return projected


class SatelliteEncoder(nn.Module):
    """An open_clip ViT from display values to CLIP's space.

    Call with uint8 tiles [B, 3, H, W]; returns float32 [B, D] of unit length. Any H and W of at least one patch. At
    pixel level the vector of a tile is the mean direction of its patch tokens.

    Attributes:
        tower: the ViT.
        mean: per channel, of pixels in 0..1.
        std: per channel, of pixels in 0..1.
        level: `pixel` where there is a `projector`.
        positions: how position embeddings are resized.
    """

    def __init__(
        self,
        tower: VisionTransformer,
        mean: Sequence[float],
        std: Sequence[float],
        level: Level = "image",
        positions: Positions = "open_clip",
    ) -> None:
        super().__init__()
        self.tower = tower
        self.mean, self.std, self.level, self.positions = mean, std, level, positions
        self.projector: PatchProjector | None = None
        if level == "pixel":
            self.projector = PatchProjector(tower)
            # The projector takes their place; DDP waits for the gradient of every parameter that wants one.
            tower.ln_post.requires_grad_(requires_grad=False)
            tower.proj.requires_grad_(requires_grad=False)

    def forward(self, tile: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, D] of unit length."""
        if self.projector is not None:
            return F.normalize(self.tokens(tile).mean((1, 2)), dim=-1)
        return pool_tokens(self.tower, tower_tokens(self.tower, self._normalised(tile), self.positions))

    def tokens(self, tile: Tensor) -> Tensor:
        """Trained patch tokens: uint8 [B, 3, H, W] to float32 [B, h, w, D] of unit length; pixel level only."""
        if self.projector is None:
            raise RuntimeError("an image-level encoder has no trained patch tokens")
        tokens, grid = embed_patches(self.tower, self._normalised(tile), self.positions)
        projected = self.projector(run_blocks(self.tower, tokens)[:, 1:])
        return F.normalize(projected.float(), dim=-1).reshape(len(tile), *grid, -1)

    def _normalised(self, tile: Tensor) -> Tensor:
        return normalise(tile, self.mean, self.std, self.tower.conv1.weight.dtype)


def encoder_from_clip(
    architecture: str,
    weights: str | None,
    *,
    kind: str = "tower",
    level: Level = "image",
    patch_dropout: float = 0.0,
) -> tuple[nn.Module, TowerConfig]:
    """The encoder to be trained: a CLIP's own image tower, or a control of the same output width.

    Args:
        architecture: see `create_clip`.
        weights: see `create_clip`.
        kind: `tower`, or a control of the level (`mean-colour`, `colour-histogram`; `token-colour`), which sees no
            structure and shows what colour alone achieves under the same loss.
        level: `image` or `pixel`.
        patch_dropout: fraction of patch tokens dropped while training; image level only.

    Raises:
        GraftError: a control of the other level, or patch dropout at pixel level.
    """
    if kind in CONTROLS and (kind in PIXEL_CONTROLS) != (level == "pixel"):
        fitting = PIXEL_CONTROLS if level == "pixel" else IMAGE_CONTROLS
        raise GraftError(f"The control {kind} does not fit level {level}: set encoder to tower, {', '.join(fitting)}.")
    if level == "pixel" and patch_dropout:
        raise GraftError("Patch dropout may drop the token under a photo: set patch_dropout to 0 at pixel level.")
    clip = create_clip(architecture, weights, patch_dropout=patch_dropout or None)
    tower = plain_tower(clip.visual, architecture)
    settings = open_clip.get_model_config(architecture)
    vision = dict(settings["vision_cfg"], patch_dropout=patch_dropout)
    if kind in CONTROLS:
        config = TowerConfig(kind, tower.output_dim, vision_cfg=vision, level=level)
        return build_encoder(config), config
    preprocess = open_clip.get_model_preprocess_cfg(clip)
    config = TowerConfig(
        "tower",
        tower.output_dim,
        bool(settings.get("quick_gelu", False)),
        vision,
        tuple(preprocess["mean"]),
        tuple(preprocess["std"]),
        level,
    )
    return SatelliteEncoder(tower, config.mean, config.std, level), config


def build_encoder(config: TowerConfig) -> nn.Module:
    """Build an encoder with random weights from its configuration."""
    if config.kind in CONTROLS:
        from graft.atlas.controls import build_control

        return build_control(config.kind, config.embed_dim, config.patch)
    if config.kind != "tower":
        raise GraftError(f"Unknown encoder {config.kind!r}: expected tower, {' or '.join(CONTROLS)}.")
    tower = _build_vision_tower(config.embed_dim, dict(config.vision_cfg), config.quick_gelu)
    return SatelliteEncoder(tower, config.mean, config.std, config.level, config.positions)
