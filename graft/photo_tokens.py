"""What the encoder sees where a photo was taken."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from graft.errors import GraftError

TokenRead = Literal["containing", "bilinear", "soft"]
SOFTNESS = 0.5
"""Standard deviation of the `soft` weights, in tokens."""


def check_whole_patches(side: int, patch: int) -> None:
    """Refuse tiles with a margin that belongs to no token.

    Args:
        side: of the tiles that are trained on, in pixels.
        patch: side of a token in pixels.

    Raises:
        GraftError: the side is not a multiple of the patch.
    """
    if side % patch:
        raise GraftError(
            f"Tiles of {side} px are not whole patches of {patch} px, so photos at their edge have no token: set "
            f"data.init_args.crop to {side // patch * patch}."
        )


def tokens_under_photos(tokens: Tensor, xy: Tensor, patch: int, read: TokenRead = "containing") -> Tensor:
    """Read the patch tokens at photo positions; gradients reach the tokens read and no others.

    Args:
        tokens: float [B, h, w, D], unit length.
        xy: float [B, K, 2], photo position (x right, y down) in tile pixels, pixel edges at integers; a position
            outside the tile gets the nearest token (its photo is masked).
        patch: side of a token in pixels.
        read: `containing`, the token under the photo; `bilinear`, between the centres of the four nearest; `soft`,
            the 3 x 3 tokens around it under a Gaussian of the distance to their centres.

    Returns:
        float [B, K, D], unit length.
    """
    limit = torch.tensor([tokens.shape[2] - 1, tokens.shape[1] - 1], device=xy.device)
    place = xy / patch  # in tokens; centres at halves
    if read == "containing":
        return _at(tokens, place.floor(), limit)
    if read == "bilinear":
        first = (place - 0.5).floor()
        reach = [torch.tensor(step, device=xy.device) for step in ((0, 0), (1, 0), (0, 1), (1, 1))]
        cells = torch.stack([first + step for step in reach])
        weights = (1 - (place - 0.5 - cells).abs()).prod(-1)
    else:
        around = torch.cartesian_prod(torch.arange(-1, 2), torch.arange(-1, 2)).to(xy.device)
        cells = place.floor() + around[:, None, None]
        weights = (-(place - 0.5 - cells).square().sum(-1) / (2 * SOFTNESS**2)).exp()
        inside = ((cells >= 0) & (cells <= limit)).all(-1)
        weights = weights * inside
    seen = torch.stack([_at(tokens, cell, limit) for cell in cells])
    return F.normalize((weights[..., None] * seen).sum(0), dim=-1)


def _at(tokens: Tensor, cell: Tensor, limit: Tensor) -> Tensor:
    """Tokens at whole cells float [B, K, 2] (column, row), clamped into the tile: [B, K, D]."""
    column, row = cell.clamp(min=torch.zeros_like(limit), max=limit).long().unbind(-1)
    return tokens[torch.arange(len(tokens), device=tokens.device)[:, None], row, column]
