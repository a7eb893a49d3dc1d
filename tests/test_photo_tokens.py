from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from graft.batch import PairBatch
from graft.errors import GraftError
from graft.gather import gather_candidates
from graft.losses import alignment_loss
from graft.photo_tokens import TokenRead, check_whole_patches, tokens_under_photos
from graft.transforms import augment

PATCH = 8
READS = get_args(TokenRead)


def tokens(tiles: int = 2, side: int = 4, dim: int = 6) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return F.normalize(torch.randn(tiles, side, side, dim, generator=draw), dim=-1)


def test_the_containing_token() -> None:
    grid = tokens()
    xy = torch.tensor([[[0.0, 0.0], [7.9, 8.0], [31.9, 15.9]], [[16.0, 31.0], [32.0, -1.0], [8.0, 7.9]]])
    found = tokens_under_photos(grid, xy, PATCH)
    expected = [(0, 0, 0), (0, 1, 0), (0, 1, 3), (1, 3, 2), (1, 0, 3), (1, 0, 1)]
    torch.testing.assert_close(found.flatten(0, 1), torch.stack([grid[place] for place in expected]))


def test_bilinear_at_a_centre_is_the_token_and_between_two_their_middle() -> None:
    grid = tokens()
    xy = torch.tensor([[[12.0, 20.0], [16.0, 20.0]]] * 2)
    found = tokens_under_photos(grid, xy, PATCH, "bilinear")
    torch.testing.assert_close(found[:, 0], grid[:, 2, 1])
    torch.testing.assert_close(found[:, 1], F.normalize(grid[:, 2, 1] + grid[:, 2, 2], dim=-1))
    corner = tokens_under_photos(grid, torch.zeros(2, 1, 2), PATCH, "bilinear")
    torch.testing.assert_close(corner[:, 0], grid[:, 0, 0])


def test_soft_weighs_nine_tokens_by_their_distance() -> None:
    grid = tokens()
    found = tokens_under_photos(grid, torch.tensor([[[13.0, 20.0]]] * 2), PATCH, "soft")
    total = torch.zeros(2, 6)
    for row in (1, 2, 3):
        for column in (0, 1, 2):
            square = ((13.0 / 8 - column - 0.5) ** 2) + ((20.0 / 8 - row - 0.5) ** 2)
            total += torch.tensor(-square / (2 * 0.5**2)).exp() * grid[:, row, column]
    torch.testing.assert_close(found[:, 0], F.normalize(total, dim=-1))


@pytest.mark.parametrize("read", READS)
def test_the_gradient_of_the_loss_reaches_only_tokens_under_photos(read: TokenRead) -> None:
    grid = tokens(tiles=3, side=6).requires_grad_()
    xy = torch.tensor([[[4.0, 4.0], [20.0, 20.0]], [[44.0, 4.0], [44.0, 44.0]], [[28.0, 4.0], [4.0, 28.0]]])
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    photo_id = torch.arange(6).reshape(3, 2)
    ground = F.normalize(torch.randn(3, 2, 6, generator=torch.Generator().manual_seed(1)), dim=-1)
    seen = tokens_under_photos(grid, xy, PATCH, read)
    candidates = gather_candidates(ground, mask, photo_id)
    alignment_loss(seen, ground, mask, candidates, logit_scale=torch.tensor(14.0)).backward()
    assert grid.grad is not None
    reached = grid.grad.abs().sum(-1) > 0
    under = torch.zeros(3, 6, 6, dtype=torch.bool)
    for tile, photo in mask.nonzero().tolist():
        column, row = (xy[tile, photo] / PATCH).long().tolist()
        assert reached[tile, row, column]
        reach = 1 if read == "soft" else 0  # the positions are centres of tokens, so bilinear reads one
        under[tile, max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1] = True
    assert not (reached & ~under).any()


@pytest.mark.parametrize("crop", [None, 32, 24])
@pytest.mark.parametrize("read", READS)
def test_augmentation_keeps_a_photo_on_its_planted_token(read: TokenRead, crop: int | None) -> None:
    count, side = 64, 48
    draw = torch.Generator().manual_seed(2)
    cell = torch.randint(side // 4, (count, 2), generator=draw)  # a planted square of 4 px, white
    tile = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    for number, (column, row) in enumerate((4 * cell).tolist()):
        tile[number, :, row : row + 4, column : column + 4] = 255
    ones = torch.ones(count, 1, dtype=torch.bool)
    xy = (4 * cell + 2).float()[:, None]
    batch = PairBatch(tile, torch.zeros(count, 1, 4), ones, xy, torch.arange(count)[:, None], ("",) * count)
    moved = augment(batch, crop=crop, seed=3)
    white = F.avg_pool2d(moved.tile.float(), PATCH).permute(0, 2, 3, 1) / 255
    seen = tokens_under_photos(torch.cat([white[..., :1], 1 - white[..., :1]], -1), moved.xy, PATCH, read)[:, 0, 0]
    inside = moved.mask[:, 0]
    assert (seen[inside] > 0).all()
    # Black throughout, or no more than a remnant that the crop's border cut.
    assert (moved.tile[~inside].float().mean((1, 2, 3)) < 255 * 8 / (crop or side) ** 2).all()
    assert inside.all() == (crop is None)


def test_a_margin_that_belongs_to_no_token_is_refused() -> None:
    check_whole_patches(192, 16)
    with pytest.raises(GraftError, match=r"Tiles of 200 px are not whole patches of 16 px.*crop to 192"):
        check_whole_patches(200, 16)
