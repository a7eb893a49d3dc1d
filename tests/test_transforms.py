from dataclasses import replace

import pytest
import torch

from graft.batch import PairBatch
from graft.transforms import augment


def marked_batch(count: int = 64, side: int = 12) -> PairBatch:
    """Black tiles; the pixel under each tile's one photo is white."""
    draw = torch.Generator().manual_seed(0)
    pixel = torch.randint(side, (count, 2), generator=draw)
    tile = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    tile[torch.arange(count), :, pixel[:, 1], pixel[:, 0]] = 255
    return PairBatch(
        tile,
        torch.zeros(count, 1, 4),
        torch.ones(count, 1, dtype=torch.bool),
        (pixel + 0.5)[:, None].float(),
        torch.arange(count)[:, None],
        ("",) * count,
    )


@pytest.mark.parametrize("crop", [None, 12, 7])
def test_the_photo_stays_on_its_pixel(crop: int | None) -> None:
    moved = augment(marked_batch(), crop=crop, seed=5)
    assert moved.tile.shape[-1] == (crop or 12)
    for tile, xy, mask in zip(moved.tile, moved.xy[:, 0], moved.mask[:, 0], strict=True):
        if mask:
            assert tile[0, int(xy[1]), int(xy[0])] == 255
        else:
            assert tile.sum() == 0
    assert moved.mask.all() == (crop != 7)


def test_all_eight_symmetries_occur_and_repeat_with_the_seed() -> None:
    base = marked_batch(1)
    batch = replace(
        base,
        tile=torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3).expand(256, 3, 3, 3),
        xy=torch.zeros(256, 1, 2),
        mask=torch.ones(256, 1, dtype=torch.bool),
    )
    moved = augment(batch, crop=None, seed=1)
    assert len({tuple(tile[0].flatten().tolist()) for tile in moved.tile}) == 8
    assert torch.equal(moved.tile, augment(batch, crop=None, seed=1).tile)
    assert not torch.equal(moved.tile, augment(batch, crop=None, seed=2).tile)


def test_the_input_is_left_alone() -> None:
    batch = marked_batch()
    before = batch.tile.clone()
    augment(batch, crop=5, seed=0)
    assert torch.equal(batch.tile, before)
