"""Position embeddings of any grid by two small matrices, in operations that every runtime has.

`torch.nn.functional.interpolate` with antialiasing has no ONNX operator of the same numbers; bicubic resizing is
separable, so R_h P R_w^T with weights computed from the grid's size is the same and stays dynamic.
"""

import torch
from torch import Tensor

from graft.encoders import Positions

_A = {"open_clip": -0.5, "huggingface": -0.75}
"""Of Keys' cubic kernel: torch takes -0.5 with antialiasing and -0.75 without."""


def resize_matrix(length: int, own: int, positions: Positions) -> Tensor:
    """Weights that resize `own` samples to `length`.

    Args:
        length: samples wanted; may be symbolic.
        own: samples that there are.
        positions: whose bicubic resizing.

    Returns:
        float32 [length, own]; rows sum to 1.
    """
    scale = own / length
    places = torch.arange(length, dtype=torch.float32)
    centres = (places + 0.5) * scale
    samples = torch.arange(own, dtype=torch.float32)
    if positions == "open_clip":
        shrunk = torch.clamp(scale * torch.ones(1), min=1.0)
        weights = _cubic((samples + 0.5 - centres[:, None]) / shrunk, _A[positions])
        return weights / weights.sum(dim=1, keepdim=True)
    first = (centres - 0.5).floor()
    weights = torch.zeros_like(centres)[:, None] * samples
    for tap in (-1.0, 0.0, 1.0, 2.0):
        index = torch.clamp(first + tap, 0, own - 1)
        weight = _cubic(centres - 0.5 - first - tap, _A[positions])
        weights = weights + weight[:, None] * (index[:, None] == samples).float()
    return weights


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys' kernel: 0 from 2 on."""
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def positions_by_matrices(own: Tensor, rows: int, columns: int, positions: Positions) -> Tensor:
    """What `graft.encoders.position_embedding` gives.

    Args:
        own: float [1 + g * g, width], the tower's.
        rows: h; may be symbolic.
        columns: w; may be symbolic.
        positions: whose bicubic resizing.

    Returns:
        float32 [1 + h * w, width].
    """
    side = round((len(own) - 1) ** 0.5)
    square = own[1:].float().reshape(side, side, -1)
    down = resize_matrix(rows, side, positions)
    across = resize_matrix(columns, side, positions)
    resized = torch.einsum("hg,gkd,wk->hwd", down, square, across)
    return torch.cat([own[:1].float(), resized.reshape(-1, own.shape[1])])
