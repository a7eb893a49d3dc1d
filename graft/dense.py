"""Patch tokens in CLIP's space: trained ones, and the training-free ways to get them out of an image-level encoder.

Every training-free way changes the attention of the last block alone. With x the tokens before it, q, k, v their
projections (one head written, all meant; scale 1 / sqrt(width of a head)) and W the output projection:

======== =================================================== =============================== ===================
mode     attention A                                         residual and MLP of the block   source (arXiv)
======== =================================================== =============================== ===================
vanilla  softmax(q k')                                       kept                            CLIP itself
maskclip identity                                            dropped                         2112.01071
sclip    softmax(q q') + softmax(k k')                       kept                            2312.01597
clearclip softmax(q q')                                      dropped                         2407.12442
naclip   softmax(k k' + Gaussian of the distance, sd 5)      dropped                         2404.08181
segearth softmax(q q') + softmax(k k') + softmax(v v')       dropped                         2410.01768
======== =================================================== =============================== ===================

tokens = W (A v), then CLIP's own `ln_post` and projection. MaskCLIP's paper keeps residual and MLP; dropping them is
how its followers compare it. The class token takes part in the attention and is then left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from graft.encoders import SatelliteEncoder, embed_patches, normalise, pool_tokens
from graft.errors import GraftError

DenseMode = Literal["tokens", "vanilla", "maskclip", "sclip", "clearclip", "naclip", "segearth"]
NEIGHBOURHOOD = 5.0
"""Standard deviation in tokens of NACLIP's Gaussian."""


@dataclass(frozen=True)
class DenseFeatures:
    """What an encoder sees in each patch.

    Attributes:
        tokens: float32 [B, h, w, D], unit length.
        pooled: float32 [B, D], unit length, the vector of the whole image; None where it was not asked for.
    """

    tokens: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True)
class _Heads:
    """Projections of the tokens before the last block, float [B, heads, 1 + h * w, width of a head]."""

    q: Tensor
    k: Tensor
    v: Tensor
    grid: tuple[int, int]

    def attention(self, left: Tensor, right: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        """softmax(left right' / sqrt(width of a head) + bias), float [B, heads, N, N]."""
        logits: Tensor = left @ right.transpose(-1, -2) * left.shape[-1] ** -0.5 + bias
        return logits.softmax(-1)


def vanilla(heads: _Heads) -> Tensor:
    """Attention of the tower itself: A v, float [B, heads, N, width of a head]; so for all functions below."""
    return heads.attention(heads.q, heads.k) @ heads.v


def maskclip(heads: _Heads) -> Tensor:
    """Every token looks at itself alone."""
    return heads.v


def sclip(heads: _Heads) -> Tensor:
    """Correlative self-attention: queries with queries and keys with keys."""
    return (heads.attention(heads.q, heads.q) + heads.attention(heads.k, heads.k)) @ heads.v


def clearclip(heads: _Heads) -> Tensor:
    """Queries with queries."""
    return heads.attention(heads.q, heads.q) @ heads.v


def naclip(heads: _Heads) -> Tensor:
    """Keys with keys, and a Gaussian of the distance that favours neighbours."""
    rows, columns = heads.grid
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(heads.k.device, torch.float32)
    square = (place[:, None] - place[None]).square().sum(-1)
    near = F.pad((-square / (2 * NEIGHBOURHOOD**2)).exp(), (1, 0, 1, 0))  # none for the class token
    return heads.attention(heads.k, heads.k, near.to(heads.k.dtype)) @ heads.v


def segearth(heads: _Heads) -> Tensor:
    """Queries with queries, keys with keys, values with values."""
    q, k, v = heads.q, heads.k, heads.v
    return (heads.attention(q, q) + heads.attention(k, k) + heads.attention(v, v)) @ v


_ATTENTION: dict[str, tuple[Callable[[_Heads], Tensor], bool]] = {  # and whether residual and MLP are kept
    "vanilla": (vanilla, True),
    "maskclip": (maskclip, False),
    "sclip": (sclip, True),
    "clearclip": (clearclip, False),
    "naclip": (naclip, False),
    "segearth": (segearth, False),
}
TRAINING_FREE = tuple(_ATTENTION)


def remove_global_bias(token_scores: Tensor, pooled_scores: Tensor, factor: float) -> Tensor:
    """Add `factor` times the image's own scores to those of its tokens (SegEarth-OV: -0.3).

    Args:
        token_scores: float [B, h, w, C].
        pooled_scores: float [B, C].
        factor: negative to remove what the whole image says from what each token says.
    """
    return token_scores + factor * pooled_scores[:, None, None]


def default_mode(encoder: nn.Module) -> DenseMode:
    """Trained tokens where there are some; else `naclip`, the best of the six on most worlds of the atlas."""
    return "tokens" if getattr(encoder, "level", "image") == "pixel" else "naclip"


def dense_features(
    encoder: nn.Module, tile: Tensor, mode: DenseMode = "tokens", *, pooled: bool = False
) -> DenseFeatures:
    """Patch tokens of tiles of any size in one pass.

    Args:
        encoder: a `SatelliteEncoder`, or a pixel-level control.
        tile: uint8 [B, 3, H, W].
        mode: `tokens` for what was trained, else one of `TRAINING_FREE`.
        pooled: whether the vector of the whole image is wanted too.

    Raises:
        GraftError: a mode that the encoder has not, or an encoder without patch tokens.
    """
    if mode == "tokens":
        if default_mode(encoder) != "tokens":
            raise GraftError(
                "The encoder is image-level: it has no trained patch tokens. Choose another dense mode "
                f"({', '.join(TRAINING_FREE)}), or give a pixel-level checkpoint."
            )
        tokens: Tensor = encoder.tokens(tile)  # type: ignore[operator]  # default_mode looked for it
        return DenseFeatures(tokens, F.normalize(tokens.mean((1, 2)), dim=-1) if pooled else None)
    if not isinstance(encoder, SatelliteEncoder):
        raise GraftError(f"Dense mode {mode} needs a ViT tower, but the encoder is a {type(encoder).__name__}.")
    return _training_free(encoder, tile, mode, pooled=pooled)


def _training_free(encoder: SatelliteEncoder, tile: Tensor, mode: DenseMode, *, pooled: bool) -> DenseFeatures:
    tower = encoder.tower
    image = normalise(tile, encoder.mean, encoder.std, tower.conv1.weight.dtype)
    tokens, grid = embed_patches(tower, image, encoder.positions)
    *first, last = tower.transformer.resblocks
    for block in first:
        tokens = block(tokens)
    attention, whole = _ATTENTION[mode]
    seen = _last_block(tower, last, tokens, grid, attention, whole=whole)
    projected = F.normalize((tower.ln_post(seen[:, 1:]) @ tower.proj).float(), dim=-1)
    return DenseFeatures(projected.reshape(len(tile), *grid, -1), pool_tokens(tower, last(tokens)) if pooled else None)


def _last_block(
    tower: VisionTransformer,
    block: nn.Module,
    tokens: Tensor,
    grid: tuple[int, int],
    attention: Callable[[_Heads], Tensor],
    *,
    whole: bool,
) -> Tensor:
    """The last block with another attention: [B, N, width] to [B, N, width]."""
    if not isinstance(block, ResidualAttentionBlock) or not isinstance(block.attn, nn.MultiheadAttention):
        raise GraftError(
            "Training-free dense modes need open_clip's default attention blocks, this tower has "
            f"{type(block).__name__}. Use a pixel-level checkpoint, or a tower such as ViT-B-16-quickgelu."
        )
    attn = block.attn
    projections = F.linear(block.ln_1(tokens), attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    q, k, v = (x.reshape(*x.shape[:2], attn.num_heads, -1).transpose(1, 2) for x in projections)
    mixed = attn.out_proj(attention(_Heads(q, k, v, grid)).transpose(1, 2).flatten(2))
    if not whole:
        return mixed  # type: ignore[no-any-return]
    seen = tokens + block.ls_1(mixed)
    return seen + block.ls_2(block.mlp(block.ln_2(seen)))  # type: ignore[no-any-return]
