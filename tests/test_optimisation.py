import pytest
import torch
from torch import nn

from graft.optimisation import adamw, warmup_cosine, warmup_cosine_schedule


def test_warm_up_is_linear_and_the_cosine_ends_at_zero() -> None:
    factors = [warmup_cosine(step, warmup=4, total=12) for step in range(13)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[8] == pytest.approx(0.5)
    assert factors[12] == pytest.approx(0.0)
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_a_run_shorter_than_its_warm_up_still_trains() -> None:
    optimizer = adamw(nn.Linear(2, 2), learning_rate=1.0, weight_decay=0.1)
    warmup_cosine_schedule(optimizer, warmup=1000, total=2)
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_only_matrices_decay_and_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    model[1].bias.requires_grad_(requires_grad=False)
    groups = adamw(model, learning_rate=1e-3, weight_decay=0.1).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [[(2, 3)], [(2,), (2,)]]
    assert torch.is_tensor(groups[0]["params"][0])
