"""The optimiser and the learning-rate schedule of every training here."""

import math
from functools import partial

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def adamw(
    model: nn.Module,
    *,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    fused: bool = True,
) -> AdamW:
    """AdamW over what learns in `model`, with weight decay on matrices but not on vectors and scalars."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=learning_rate, betas=betas, fused=fused)


def warmup_cosine(step: int, *, warmup: int, total: int) -> float:
    """Factor on the peak rate: linear from 0 over `warmup` steps, then half a cosine down to 0 at `total`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def warmup_cosine_schedule(optimizer: AdamW, *, warmup: int, total: int) -> LambdaLR:
    """`warmup_cosine` as a scheduler to be stepped once per optimiser step."""
    return LambdaLR(optimizer, partial(warmup_cosine, warmup=min(warmup, total), total=total))
