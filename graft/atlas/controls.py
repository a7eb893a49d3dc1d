"""Encoders that see nothing but colour. Trained with the same loss, they show what colour alone achieves."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _head(features: int, dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, dim))


class MeanColour(nn.Module):
    """A tile's mean red, green and blue, through a small MLP.

    Call with uint8 tiles [B, 3, H, W]; returns float32 [B, dim] of unit length.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = _head(3, dim)

    def forward(self, tile: Tensor) -> Tensor:
        """Mean colour to a unit vector."""
        mean = tile.float().mean(dim=(2, 3)) / 255
        return F.normalize(self.head((mean - 0.4) / 0.15).float(), dim=-1)


class ColourHistogram(nn.Module):
    """A tile's colour histograms (each channel in 16 steps, all three together in 4 x 4 x 4), through a small MLP.

    Call with uint8 tiles [B, 3, H, W]; returns float32 [B, dim] of unit length.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.head = _head(3 * 16 + 4**3, dim)

    def histogram(self, tile: Tensor) -> Tensor:
        """Shares of pixels, float32 [B, 112]; each of the four histograms adds up to 1."""
        red, green, blue = (tile.int() // 16).flatten(2).unbind(1)
        row = torch.arange(len(tile), device=tile.device)[:, None] * 4096
        counts = torch.bincount((row + red * 256 + green * 16 + blue).flatten(), minlength=len(tile) * 4096)
        cube = counts.view(-1, 16, 16, 16).float() / red.shape[1]
        joint = cube.view(-1, 4, 4, 4, 4, 4, 4).sum(dim=(2, 4, 6))
        return torch.cat([cube.sum((2, 3)), cube.sum((1, 3)), cube.sum((1, 2)), joint.flatten(1)], dim=1)

    def forward(self, tile: Tensor) -> Tensor:
        """Histograms to a unit vector."""
        return F.normalize(self.head(self.histogram(tile).sqrt()).float(), dim=-1)


class TokenColour(nn.Module):
    """The mean colour of each patch, through a small MLP: the pixel-level control.

    Call with uint8 tiles [B, 3, H, W]; returns float32 [B, dim] of unit length, the mean direction of `tokens`.
    """

    level = "pixel"

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.head = _head(3, dim)

    def tokens(self, tile: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] to float32 [B, h, w, dim] of unit length."""
        mean = F.avg_pool2d(tile.float(), self.patch).permute(0, 2, 3, 1) / 255
        return F.normalize(self.head((mean - 0.4) / 0.15).float(), dim=-1)

    def forward(self, tile: Tensor) -> Tensor:
        """Mean colours to a unit vector."""
        return F.normalize(self.tokens(tile).mean((1, 2)), dim=-1)


def build_control(kind: str, dim: int, patch: int) -> nn.Module:
    """A control by its name in `graft.encoders.CONTROLS`."""
    if kind == "token-colour":
        return TokenColour(dim, patch)
    return (MeanColour if kind == "mean-colour" else ColourHistogram)(dim)
