"""Geometric augmentation on the device, moving a tile and its photos together."""

from dataclasses import replace

import torch

from graft.batch import PairBatch


def augment(batch: PairBatch, *, crop: int | None, seed: int) -> PairBatch:
    """Turn, mirror and crop every tile of a batch at random.

    Each tile is drawn one of the eight symmetries of the square (overhead there is no up) and, when `crop` is
    given, a crop window. The choice depends on `seed` alone.

    Args:
        batch: square tiles [B, C, S, S].
        crop: side of the crop in pixels, at most S; None keeps the whole tile.
        seed: of the draw.

    Returns:
        The batch with tile [B, C, crop, crop]; `xy` moved along; photos that fall outside the crop masked.
    """
    count, _, side, _ = batch.tile.shape
    size = side if crop is None else crop
    draw = torch.Generator().manual_seed(seed)
    turned = torch.randint(2, (count, 3), generator=draw, dtype=torch.bool).to(batch.tile.device)
    corner = torch.randint(side - size + 1, (count, 2), generator=draw).to(batch.tile.device)
    transpose, mirror = turned[:, 0], turned[:, 1:]

    x, y = batch.xy.unbind(-1)
    xy = torch.stack([torch.where(transpose[:, None], y, x), torch.where(transpose[:, None], x, y)], -1)
    xy = torch.where(mirror[:, None], side - xy, xy) - corner[:, None]
    inside = ((xy >= 0) & (xy < size)).all(-1)

    # Pixel p of the output is pixel (corner + p) of the mirrored tile, counted from the other end when mirrored.
    pixel = corner[:, :, None] + torch.arange(size, device=batch.tile.device)
    pixel = torch.where(mirror[:, :, None], side - 1 - pixel, pixel)
    columns, rows = pixel.unbind(1)
    tile = torch.where(transpose[:, None, None, None], batch.tile.transpose(-1, -2), batch.tile)
    item = torch.arange(count, device=tile.device)[:, None, None]
    tile = tile.permute(0, 2, 3, 1)[item, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return replace(batch, tile=tile.contiguous(), xy=xy, mask=batch.mask & inside)
