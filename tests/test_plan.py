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


SHARDS, BATCH, PLAN_SEED = [7, 0, 5, 9, 4, 6], 3, 11


def taken(start: int, steps: int, *, workers: int, world: int, batch: int = BATCH) -> list[tuple[int, int, int]]:
    """Pass, shard and sample in the order of training; every worker of every rank with a plan of its own."""
    made = {}
    for rank in range(world):
        for worker in range(max(workers, 1)):
            plan = SamplePlan(SHARDS, seed=PLAN_SEED, window=2)
            for step in range(worker, steps, max(workers, 1)):
                positions = plan.batch(start, step, batch_size=batch, rank=rank, world=world)
                made[step, rank] = [plan.locate(position) for position in positions]
    return [sample for key in sorted(made) for sample in made[key]]


def stream(count: int) -> list[tuple[int, int, int]]:
    plan = SamplePlan(SHARDS, seed=PLAN_SEED, window=2)
    return [plan.locate(position) for position in range(count)]


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_workers_and_ranks_read_one_stream(workers: int, world: int) -> None:
    assert taken(0, 13, workers=workers, world=world) == stream(13 * world * BATCH)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 1), (1, 2), (2, 0)])
def test_resumed_anywhere_with_other_workers_it_is_the_same_stream(before: int, after: int, world: int) -> None:
    for steps in range(13):
        first = taken(0, steps, workers=before, world=world)
        rest = taken(len(first), 13 - steps, workers=after, world=world)
        assert first + rest == stream(13 * world * BATCH)


@pytest.mark.parametrize(("before", "after"), [((1, 3), (2, 3)), ((4, 3), (1, 5)), ((2, 3), (4, 2)), ((2, 4), (2, 1))])
def test_another_world_or_batch_size_loses_and_repeats_nothing(before: tuple[int, int], after: tuple[int, int]) -> None:
    for steps in range(9):
        first = taken(0, steps, workers=2, world=before[0], batch=before[1])
        both = first + taken(len(first), 9, workers=1, world=after[0], batch=after[1])
        assert both == stream(len(both))


@pytest.mark.parametrize("window", [1, 2, 4, 16])
def test_shards_are_named_before_they_are_needed(window: int) -> None:
    plan = SamplePlan(SHARDS, seed=PLAN_SEED, window=window)
    for position in range(3 * plan.total):
        named = plan.upcoming(position)
        assert len(named) <= 2 * window
        assert plan.locate(position)[1] in named[:window]


def test_the_next_window_is_named_by_half_of_this_one() -> None:
    plan = SamplePlan([10] * 8, seed=0, window=2)
    order = [shard for shard, _ in one_pass(plan, 0)]
    assert set(plan.upcoming(0)) == set(order[:20])
    assert len(plan.upcoming(5)) == 3
    assert set(plan.upcoming(10)[2:]) == set(order[20:40])
    assert set(plan.upcoming(75)[2:]) == {plan.locate(position)[1] for position in range(80, 100)}


def test_refuses_nothing_to_plan() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        SamplePlan([0, 0], seed=0)
