"""The alignment loss: photos of a place attract its tile, photos of other places repel it."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Pooling = Literal["each", "mean", "attention"]


@dataclass(frozen=True)
class Candidates:
    """Every photo and tile of the global batch, as the softmax sees them.

    Attributes:
        ground: float [W * B, K, D] unit vectors of all ranks, without gradient.
        mask: bool [W * B, K].
        photo_id: int64 [W * B, K].
        satellite: float [W * B, D] or [W * B, K, D] of all ranks with gradient; only for the symmetric loss.
        offset: row of this rank's first tile.
        world: number of ranks W.
    """

    ground: Tensor
    mask: Tensor
    photo_id: Tensor
    satellite: Tensor | None = None
    offset: int = 0
    world: int = 1


def pool_photos(ground: Tensor, mask: Tensor, photo_id: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Replace a tile's photos by their renormalised mean, under the smallest of their ids.

    [B, K, D], [B, K], [B, K] -> [B, 1, D], [B, 1], [B, 1].
    """
    mean = F.normalize((ground * mask[..., None]).sum(1, keepdim=True), dim=-1)
    last = torch.iinfo(photo_id.dtype).max
    first_id = photo_id.masked_fill(~mask, last).amin(1, keepdim=True)
    return mean, mask.any(1, keepdim=True), first_id


def photo_weights(mask: Tensor, attention: Tensor | None = None) -> Tensor:
    """Weight of each photo of a tile, float [B, K], rows sum to 1 (0 where a tile has no photo).

    Args:
        mask: bool [B, K].
        attention: logits [B, K] of a learned weighting (SenCLIP, arXiv 2412.08536); uniform without.
    """
    logits = torch.zeros(mask.shape, device=mask.device) if attention is None else attention.float()
    weights = logits.masked_fill(~mask, -torch.inf).softmax(dim=1)
    return weights.nan_to_num(0.0)


def _holds(number: Tensor, mask: Tensor, count: int) -> Tensor:
    """Which of `count` distinct photos each tile holds: int64 [B, K] and bool [B, K] -> bool [B, count]."""
    holds = torch.zeros(len(number), count + 1, dtype=torch.bool, device=number.device)
    holds.scatter_(1, number.masked_fill(~mask, count), value=True)
    return holds[:, :count]


def alignment_loss(
    satellite: Tensor,
    ground: Tensor,
    mask: Tensor,
    candidates: Candidates,
    *,
    logit_scale: Tensor,
    siblings: bool = True,
    symmetric: bool = False,
    attention: Tensor | None = None,
) -> Tensor:
    r"""Multi-positive InfoNCE between tiles and the photos inside them.

    .. math::
        L = \frac{1}{N_B} \sum_i \sum_j w_{ij}
            \left(-\log \frac{\exp(s_i \cdot g_{ij} / \tau)}{\sum_{g} \exp(s_i \cdot g / \tau)}\right)

    with :math:`w_{ij} = 1/N_i`, the sum below running over the photos of the whole batch on all ranks. A photo that
    also belongs to tile i through another tile is left out of it. Rows without a photo count nowhere.

    At pixel level :math:`s_i` becomes :math:`s_{ij}`, the token under photo j.

    This rank's tiles are summed and divided by N_B(global) / world, so the mean of gradients that DDP takes is the
    gradient of one process on the joint batch; only frozen vectors need gathering.

    Args:
        satellite: float [B, D] unit vectors of this rank's tiles, or [B, K, D] of the tokens under their photos, with
            gradient.
        ground: float [B, K, D] unit vectors of this rank's photos.
        mask: bool [B, K], which photos are real.
        candidates: the global batch; equal photo ids in it are never negatives of each other.
        logit_scale: 1 / temperature, a scalar.
        siblings: whether the denominator of a photo holds the same tile's other photos.
        symmetric: average with the opposite direction, each photo choosing among all tiles (at pixel level among the
            tokens under photos; those of its own tile as `siblings` says).
        attention: logits [B, K] of a learned photo weighting.

    Returns:
        A scalar, float32.
    """
    # One vector a tile (J = 1), or one a photo (J = K).
    satellite, ground = _each(satellite).float(), ground.float()
    weights = photo_weights(mask, attention)
    rows = torch.arange(len(satellite), device=satellite.device)
    own = rows + candidates.offset
    distinct, number = torch.unique(candidates.photo_id, return_inverse=True)
    shared = _holds(number[own], mask, len(distinct))[:, number]
    tiles = candidates.mask.any(1).sum().clamp(min=1)

    allowed = candidates.mask[None] & ~shared
    allowed[rows, own] = candidates.mask[own] if siblings else False
    logits = logit_scale * torch.einsum("bjd,nkd->bjnk", satellite, candidates.ground.float())
    total = logits.masked_fill(~allowed[:, None], -torch.inf).flatten(2).logsumexp(2)
    positive = logit_scale * (satellite * ground).sum(-1)
    per_photo = (total if siblings else torch.logaddexp(total, positive)) - positive
    loss = (weights * per_photo.masked_fill(~mask, 0.0)).sum() * candidates.world / tiles
    if not symmetric:
        return loss

    if candidates.satellite is None:
        raise ValueError("the symmetric loss needs the satellite vectors of all ranks")
    everywhere = _each(candidates.satellite).float()
    same = _holds(number, candidates.mask, len(distinct))[:, number[own]].permute(1, 2, 0)
    others = (candidates.mask.any(1)[None, None] & ~same)[..., None].repeat(1, 1, 1, everywhere.shape[1])
    if everywhere.shape[1] > 1:
        others &= candidates.mask[None, None]
        alone = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        others[rows, :, own] = (mask[:, None] & (siblings | alone)) | alone
    else:
        others[rows, :, own] = True
    choices = logit_scale * torch.einsum("bkd,njd->bknj", ground, everywhere)
    backward = choices.masked_fill(~others, -torch.inf).flatten(2).logsumexp(-1) - positive
    reverse = (weights * backward.masked_fill(~mask, 0.0)).sum() * candidates.world / tiles
    return (loss + reverse) / 2


def _each(satellite: Tensor) -> Tensor:
    """[B, D] as [B, 1, D]; [B, K, D] as it is."""
    return satellite[:, None] if satellite.ndim == 2 else satellite


@dataclass(frozen=True)
class Similarity:
    """How far apart the two sides are, for the log.

    Attributes:
        positive_similarity: mean cosine between a photo and its tile, or the token under it.
        negative_similarity: mean cosine between the photos of other tiles and these.
        spread: mean over dimensions of the standard deviation of these unit vectors, times sqrt(D): 1 when they fill
            the sphere, 0 when they collapse to a point.
    """

    positive_similarity: Tensor
    negative_similarity: Tensor
    spread: Tensor


@torch.no_grad()
def similarity(satellite: Tensor, ground: Tensor, mask: Tensor) -> Similarity:
    """Summarise one rank's batch; shapes as in `alignment_loss`."""
    seen = _each(satellite).float().expand(ground.shape)[mask]
    tile = torch.arange(len(mask), device=mask.device)[:, None].expand(mask.shape)[mask]
    cosine = seen @ ground.float()[mask].T
    own = torch.eye(len(tile), dtype=torch.bool, device=mask.device)
    other = tile[:, None] != tile[None]
    spread = seen.std(0, correction=0).mean() * satellite.shape[-1] ** 0.5 if len(seen) else torch.zeros(())
    return Similarity(
        (cosine * own).sum() / own.sum().clamp(min=1), (cosine * other).sum() / other.sum().clamp(min=1), spread
    )
