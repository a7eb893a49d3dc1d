import numpy as np
import pytest

from graft.plan import SamplePlan


def one_pass(plan: SamplePlan, number: int) -> list[tuple[int, int]]:
    return [plan.locate(number * plan.total + offset)[1:] for offset in range(plan.total)]


@pytest.mark.parametrize("window", [1, 2, 16])
def test_every_sample_comes_exactly_once_a_pass(window: int) -> None:
    samples = [3, 1, 5, 2]
    plan = SamplePlan(samples, seed=0, window=window)
    expected = {(shard, number) for shard, count in enumerate(samples) for number in range(count)}
    for number in range(3):
        order = one_pass(plan, number)
        assert len(order) == len(expected)
        assert set(order) == expected


def test_passes_and_seeds_differ_and_repeat() -> None:
    plan = SamplePlan([50, 50], seed=0)
    assert one_pass(plan, 0) != one_pass(plan, 1)
    assert one_pass(plan, 0) != one_pass(SamplePlan([50, 50], seed=1), 0)
    assert one_pass(plan, 0) == one_pass(SamplePlan([50, 50], seed=0), 0)


def test_window_bounds_the_shards_touched_at_a_time() -> None:
    order = [shard for shard, _ in one_pass(SamplePlan([100] * 8, seed=0, window=2), 0)]
    assert all(len(set(order[start : start + 200])) == 2 for start in range(0, 800, 200))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_stream_without_overlap(world: int) -> None:
    plan = SamplePlan([7, 6], seed=0)
    taken = [
        position
        for step in range(10)
        for rank in range(world)
        for position in plan.batch(5, step, batch_size=4, rank=rank, world=world)
    ]
    assert taken == list(range(5, 5 + 40 * world))


def test_a_window_mixes_its_shards() -> None:
    order = np.array([shard for shard, _ in one_pass(SamplePlan([500, 500], seed=0), 0)])
    assert 150 < order[:500].sum() < 350


def test_refuses_nothing_to_plan() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        SamplePlan([0, 0], seed=0)
