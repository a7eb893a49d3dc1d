import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graft.encoders import encoder_from_clip
from graft.errors import GraftError
from graft.sliding import (
    DenseScorer,
    ScoreAccumulator,
    WindowGrid,
    default_stride,
    score_array,
    score_windows,
    upsample,
)
from graft.words import ClassWords

PATCH, WINDOW, STRIDE = 8, 32, 16


class Colour(nn.Module):
    """Patch tokens are the mean red, green and blue of their pixels."""

    level = "pixel"

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))

    def tokens(self, tile: Tensor) -> Tensor:
        mean = F.avg_pool2d(tile.float(), PATCH).permute(0, 2, 3, 1)
        return F.normalize(mean + 1e-3, dim=-1)


def words(dim: int = 3) -> ClassWords:
    card = {"name": "rgb", "family": "none", "sha256": "0"}
    return ClassWords(("red", "green", "blue"), torch.eye(dim)[:3], torch.arange(3), card, None)


def scorer(encoder: nn.Module | None = None, dim: int = 3, bias: float = 0.0) -> DenseScorer:
    mode = "tokens" if encoder is None else "naclip"
    return DenseScorer(encoder or Colour(), words(dim), mode, PATCH, WINDOW, bias)  # type: ignore[arg-type]


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (100, 75), (32, 33), (5, 200)])
def test_every_pixel_is_in_a_whole_window_inside_the_padded_canvas(height: int, width: int) -> None:
    grid = WindowGrid(height, width, WINDOW, STRIDE, PATCH)
    for offsets, length, padded in zip((grid.rows, grid.columns), (height, width), grid.padded, strict=True):
        covered = {pixel for offset in offsets for pixel in range(offset, offset + WINDOW)}
        assert covered == set(range(padded))
        assert length <= padded < max(length + PATCH, WINDOW + 1)
        assert len(set(offsets)) == len(offsets)
        assert all(offset % PATCH == 0 for offset in offsets)


def test_tokens_that_see_their_patch_alone_come_back_whatever_the_windows() -> None:
    pixels = picture(104, 88)
    expected = Colour().tokens(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    for stride in (8, 16, 32):
        torch.testing.assert_close(score_array(pixels, scorer(), stride=stride), expected, atol=1e-5, rtol=1e-4)


def test_a_constant_scene_has_no_seams() -> None:
    scores = score_array(np.full((120, 90, 3), (10, 200, 60), np.uint8), scorer(), stride=STRIDE)
    assert scores.flatten(0, 1).std(0).max() < 1e-6


def test_a_shift_by_one_stride_shifts_the_scores_of_a_real_tower(architecture: str) -> None:
    encoder = encoder_from_clip(architecture, None)[0].eval()
    pixels = picture(128, 128)
    look = scorer(encoder, dim=32, bias=-0.3)
    whole = score_array(pixels, look, stride=STRIDE)
    moved = score_array(np.roll(pixels, (-STRIDE, -STRIDE), (0, 1)), look, stride=STRIDE)
    step, edge = STRIDE // PATCH, WINDOW // PATCH
    inner = slice(edge, 16 - edge - step)
    torch.testing.assert_close(
        whole[edge + step : 16 - edge, edge + step : 16 - edge], moved[inner, inner], atol=1e-5, rtol=1e-4
    )
    assert whole.std() > 1e-3


def test_an_accumulator_taken_up_again_ends_the_same() -> None:
    grid = WindowGrid(96, 64, WINDOW, STRIDE, PATCH)
    draw = torch.Generator().manual_seed(0)
    rows = [torch.randn(len(grid.columns), 4, 4, 3, generator=draw) for _ in grid.rows]
    one, first, second = (ScoreAccumulator(grid, 3) for _ in range(3))
    expected = torch.cat([one.add(row) for row in rows])
    found = [first.add(row) for row in rows[:2]]
    second.load_state(first.state())
    assert second.next_row == 2
    found += [second.add(row) for row in rows[2:]]
    assert torch.equal(torch.cat(found), expected)
    assert expected.shape == (*grid.token_shape, 3)


def test_scores_in_blocks_are_those_of_the_whole_and_agree_with_torch() -> None:
    grid = WindowGrid(96, 64, WINDOW, STRIDE, PATCH)
    tokens = torch.randn(*grid.token_shape, 3, generator=torch.Generator().manual_seed(1))
    whole = upsample(tokens, grid, (96, 64), (0, 96), (0, 64))
    expected = F.interpolate(tokens.permute(2, 0, 1)[None], size=(96, 64), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(upsample(tokens, grid, (96, 64), (30, 71), (5, 6)), whole[:, 30:71, 5:6])


def test_an_image_of_twice_the_gsd_lies_on_the_same_canvas() -> None:
    grid = WindowGrid(96, 64, WINDOW, STRIDE, PATCH)
    tokens = torch.randn(*grid.token_shape, 3, generator=torch.Generator().manual_seed(1))
    half = upsample(tokens, grid, (48, 32), (0, 48), (0, 32))
    full = upsample(tokens, grid, (96, 64), (0, 96), (0, 64))
    torch.testing.assert_close(half[:, 20, 10], full[:, 40:42, 20:22].mean((1, 2)), atol=0.02, rtol=0)


def test_the_padding_past_a_ragged_edge_is_not_seen() -> None:
    grid = WindowGrid(90, 61, WINDOW, STRIDE, PATCH)
    tokens = torch.zeros(*grid.token_shape, 1)
    tokens[12:] = torch.inf
    assert upsample(tokens, grid, (90, 61), (0, 90), (0, 61)).isfinite().all()


def test_windows_without_data_are_not_looked_at() -> None:
    grid = WindowGrid(32, 96, WINDOW, STRIDE, PATCH)
    looked: list[int] = []

    class Counting(Colour):
        def tokens(self, tile: Tensor) -> Tensor:
            looked.append(len(tile))
            return super().tokens(tile)

    seen = np.zeros((32, 96), bool)
    seen[5, 70] = True
    pixels = picture(32, 96)
    found = score_windows(DenseScorer(Counting(), words(), "tokens", PATCH, WINDOW), pixels, grid, 16, seen)
    every = score_windows(scorer(), pixels, grid, 16)
    assert sum(looked) == 2
    assert torch.equal(found[3:], every[3:])
    assert not found[:3].any()
    assert not score_windows(scorer(), pixels, grid, 16, np.zeros((32, 96), bool)).any()


def test_synonyms_count_by_the_best_one() -> None:
    card = {"name": "x", "family": "none", "sha256": "0"}
    pair = ClassWords(("warm", "cold"), torch.eye(3), torch.tensor([0, 0, 1]), card, None)
    look = DenseScorer(Colour(), pair, "tokens", PATCH, WINDOW)
    red, blue = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 200
    assert (score_array(red, look).argmax(-1) == 0).all()
    assert (score_array(blue, look).argmax(-1) == 1).all()


@pytest.mark.parametrize(("window", "stride"), [(30, 16), (32, 12), (32, 40), (32, 0)])
def test_windows_that_are_not_whole_patches_or_leave_gaps_are_told(window: int, stride: int) -> None:
    with pytest.raises(GraftError, match=f"Window {window} and stride {stride} px: expected multiples of the patch"):
        WindowGrid(100, 100, window, stride, PATCH)


def test_the_default_stride_is_half_a_window_in_whole_patches() -> None:
    assert [default_stride(224, 16), default_stride(24, 8), default_stride(8, 8)] == [112, 8, 8]
