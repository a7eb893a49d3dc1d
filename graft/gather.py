"""Collect the global batch from all processes."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from graft.losses import Candidates


def _all_gather(value: Tensor) -> Tensor:
    """[B, ...] of every rank, stacked to [W * B, ...], without gradient. Shapes must agree on all ranks."""
    parts = [torch.empty_like(value) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, value.detach().contiguous())
    return torch.cat(parts)


class _GatherWithGradient(torch.autograd.Function):
    """All-gather whose backward adds up what every rank's loss says about each rank's vectors."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.rows = slice(dist.get_rank() * len(value), (dist.get_rank() + 1) * len(value))
        return _all_gather(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        own: Tensor = total[ctx.rows]
        return own


def gather_candidates(ground: Tensor, mask: Tensor, photo_id: Tensor, satellite: Tensor | None = None) -> Candidates:
    """Everything the softmax of this rank runs over.

    Ground vectors are frozen, so they are gathered without gradient. Satellite vectors [B, D] or [B, K, D] are gathered
    only when given (the symmetric loss) and keep their gradient on every rank: a plain gather would halve it on two.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return Candidates(ground, mask, photo_id, satellite)
    everywhere = None
    if satellite is not None:
        everywhere = _GatherWithGradient.apply(satellite)
    return Candidates(
        _all_gather(ground),
        _all_gather(mask),
        _all_gather(photo_id),
        everywhere,
        offset=dist.get_rank() * len(ground),
        world=dist.get_world_size(),
    )
