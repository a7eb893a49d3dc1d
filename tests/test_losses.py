import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from graft.gather import gather_candidates
from graft.losses import alignment_loss, photo_weights, pool_photos, similarity

SCALE = torch.tensor(1 / 0.07)


def batch(seed: int, tiles: int = 5, places: int = 3, dim: int = 8) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    satellite = F.normalize(torch.randn(tiles, dim, generator=draw, dtype=torch.float64), dim=-1)
    ground = F.normalize(torch.randn(tiles, places, dim, generator=draw, dtype=torch.float64), dim=-1)
    mask = torch.rand(tiles, places, generator=draw) < 0.7
    mask[:, 0] = True
    mask[-1] = False
    photo_id = torch.arange(tiles * places).reshape(tiles, places)
    photo_id[1, 0] = photo_id[0, 0]  # two tiles share a photo
    return satellite.float(), (ground * mask[..., None]).float(), mask, photo_id


def by_hand(satellite: Tensor, ground: Tensor, mask: Tensor, photo_id: Tensor, *, siblings: bool) -> float:
    """The definition, photo by photo, in plain Python."""
    tiles = [i for i in range(len(mask)) if mask[i].any()]
    total = 0.0
    for i in tiles:
        mine = [j for j in range(mask.shape[1]) if mask[i, j]]
        ids = {int(photo_id[i, j]) for j in mine}
        inner = 0.0
        for j in mine:
            below = 0.0
            for a in tiles:
                for b in range(mask.shape[1]):
                    if not mask[a, b]:
                        continue
                    if a == i and not siblings and b != j:
                        continue
                    if a != i and int(photo_id[a, b]) in ids:
                        continue
                    below += math.exp(float(satellite[i] @ ground[a, b]) / 0.07)
            inner -= math.log(math.exp(float(satellite[i] @ ground[i, j]) / 0.07) / below)
        total += inner / len(mine)
    return total / len(tiles)


@pytest.mark.parametrize("siblings", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_the_definition(siblings: bool, seed: int) -> None:
    satellite, ground, mask, photo_id = batch(seed)
    candidates = gather_candidates(ground, mask, photo_id)
    loss = alignment_loss(satellite, ground, mask, candidates, logit_scale=SCALE, siblings=siblings)
    assert loss.item() == pytest.approx(by_hand(satellite, ground, mask, photo_id, siblings=siblings), rel=1e-4)


def test_single_photo_is_plain_info_nce() -> None:
    satellite, ground, _, _ = batch(0, places=1)
    mask, photo_id = torch.ones(5, 1, dtype=torch.bool), torch.arange(5)[:, None]
    ground = F.normalize(torch.randn(5, 1, 8, generator=torch.Generator().manual_seed(9)), dim=-1)
    logits = SCALE * satellite @ ground[:, 0].T
    candidates = gather_candidates(ground, mask, photo_id, satellite)
    loss = alignment_loss(satellite, ground, mask, candidates, logit_scale=SCALE)
    torch.testing.assert_close(loss, F.cross_entropy(logits, torch.arange(5)))
    both = alignment_loss(satellite, ground, mask, candidates, logit_scale=SCALE, symmetric=True)
    reverse = F.cross_entropy(logits.T, torch.arange(5))
    torch.testing.assert_close(both, (F.cross_entropy(logits, torch.arange(5)) + reverse) / 2)


def test_a_shared_photo_is_no_negative() -> None:
    satellite, ground, mask, photo_id = batch(0)
    ground[1, 0] = ground[0, 0]
    apart = photo_id.clone()
    apart[1, 0] = 99
    losses = [
        alignment_loss(satellite, ground, mask, gather_candidates(ground, mask, ids), logit_scale=SCALE)
        for ids in (photo_id, apart)
    ]
    assert losses[0] < losses[1]


def test_a_tile_without_photos_changes_nothing() -> None:
    satellite, ground, mask, photo_id = batch(0)
    args = [value[:-1] for value in (satellite, ground, mask, photo_id)]
    with_empty = alignment_loss(satellite, ground, mask, gather_candidates(ground, mask, photo_id), logit_scale=SCALE)
    without = alignment_loss(*args[:3], gather_candidates(*args[1:]), logit_scale=SCALE)
    torch.testing.assert_close(with_empty, without)
    assert torch.isfinite(with_empty)


def test_an_empty_batch_has_a_zero_loss_and_finite_gradients() -> None:
    satellite, ground, mask, photo_id = batch(0)
    satellite.requires_grad_()
    mask = torch.zeros_like(mask)
    candidates = gather_candidates(ground, mask, photo_id, satellite)
    for siblings in (True, False):
        loss = alignment_loss(satellite, ground, mask, candidates, logit_scale=SCALE, siblings=siblings, symmetric=True)
        (gradient,) = torch.autograd.grad(loss, satellite)
        assert loss == 0
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_gradients_are_finite_with_missing_photos() -> None:
    satellite, ground, mask, photo_id = batch(0)
    satellite.requires_grad_()
    for siblings in (True, False):
        candidates = gather_candidates(ground, mask, photo_id, satellite)
        loss = alignment_loss(satellite, ground, mask, candidates, logit_scale=SCALE, siblings=siblings, symmetric=True)
        (gradient,) = torch.autograd.grad(loss, satellite)
        assert torch.isfinite(gradient).all()
        assert gradient[:-1].abs().sum() > 0


def test_attention_weights_photos_and_prefers_none_that_is_missing() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    logits = torch.tensor([[0.0, math.log(3.0), 50.0], [1.0, 2.0, 3.0]])
    torch.testing.assert_close(photo_weights(mask, logits), torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(photo_weights(mask)[0], torch.tensor([0.5, 0.5, 0.0]))


def test_pooling_makes_one_unit_photo() -> None:
    _, ground, mask, photo_id = batch(0)
    pooled, pooled_mask, pooled_id = pool_photos(ground, mask, photo_id)
    first = F.normalize(ground[0][mask[0]].mean(0), dim=-1)
    torch.testing.assert_close(pooled[0, 0], first)
    assert pooled_mask[:, 0].tolist() == [True] * 4 + [False]
    assert pooled_id[0, 0] == photo_id[0][mask[0]].min()


def test_similarity_of_a_perfect_and_of_a_collapsed_batch() -> None:
    satellite = torch.eye(4)
    mask = torch.ones(4, 1, dtype=torch.bool)
    perfect = similarity(satellite, satellite[:, None], mask)
    assert (perfect.positive_similarity.item(), perfect.negative_similarity.item()) == (1.0, 0.0)
    assert perfect.spread > 0.8
    assert similarity(satellite[:1].expand(4, 4), satellite[:, None], mask).spread == 0


def token_batch(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, ground, mask, photo_id = batch(seed)
    draw = torch.Generator().manual_seed(100 + seed)
    return F.normalize(torch.randn(5, 3, 8, generator=draw), dim=-1), ground, mask, photo_id


def pixel_by_hand(satellite: Tensor, ground: Tensor, mask: Tensor, photo_id: Tensor, *, siblings: bool) -> float:
    """Both directions, photo by photo, each with a token of its own."""
    places = [(i, j) for i in range(len(mask)) for j in range(mask.shape[1]) if mask[i, j]]
    tiles = int(mask.any(1).sum())
    total = 0.0
    for i, j in places:
        mine = {int(photo_id[i, b]) for a, b in places if a == i}
        forward = reverse = 0.0
        for a, b in places:
            if a == i and not siblings and b != j:
                continue
            if a == i or int(photo_id[a, b]) not in mine:
                forward += math.exp(float(satellite[i, j] @ ground[a, b]) / 0.07)
            if a == i or int(photo_id[i, j]) not in {int(photo_id[a, c]) for x, c in places if x == a}:
                reverse += math.exp(float(satellite[a, b] @ ground[i, j]) / 0.07)
        own = math.exp(float(satellite[i, j] @ ground[i, j]) / 0.07)
        total -= (math.log(own / forward) + math.log(own / reverse)) / 2 / int(mask[i].sum())
    return total / tiles


@pytest.mark.parametrize("siblings", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pixel_level_agrees_with_the_definition(siblings: bool, seed: int) -> None:
    satellite, ground, mask, photo_id = token_batch(seed)
    candidates = gather_candidates(ground, mask, photo_id, satellite)
    loss = alignment_loss(satellite, ground, mask, candidates, logit_scale=SCALE, siblings=siblings, symmetric=True)
    assert loss.item() == pytest.approx(pixel_by_hand(satellite, ground, mask, photo_id, siblings=siblings), rel=1e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_equal_tokens_give_the_image_level_loss(symmetric: bool) -> None:
    satellite, ground, mask, photo_id = batch(0, places=1)
    mask[:] = True
    tokens = satellite[:, None]
    losses = [
        alignment_loss(
            seen,
            ground,
            mask,
            gather_candidates(ground, mask, photo_id, seen),
            logit_scale=SCALE,
            symmetric=symmetric,
        )
        for seen in (satellite, tokens)
    ]
    torch.testing.assert_close(losses[0], losses[1])


def test_similarity_of_tokens_and_of_a_batch_without_photos() -> None:
    satellite, ground, mask, _ = token_batch(0)
    seen = similarity(ground, ground, mask)
    assert seen.positive_similarity.item() == pytest.approx(1, abs=1e-5)
    assert similarity(satellite, ground, torch.zeros_like(mask)).spread == 0
