"""Training killed at random steps, and taken up again."""

import json
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from lightning import Callback

from tests.training import run_ranks

STEPS, EPOCHS, EVERY, BATCH = 12, 2, 2, 2
KINDS = ("SIGKILL", "SIGTERM", "exception")
Train = Callable[..., Path]


class Witness(Callback):
    """Notes what each step of this process was given."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        line = {"step": trainer.global_step, "position": batch.position, "tiles": batch.tile_id, "session": os.getpid()}
        with (Path(trainer.default_root_dir) / f"seen-{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


class Kill(Callback):
    """Ends one process in one of the three ways, at a step and a moment in it."""

    def __init__(self, kind: str, step: int, moment: str, rank: int) -> None:
        self.kind, self.step, self.moment, self.rank = kind, step, moment, rank

    def _strike(self, trainer: Any, moment: str, step: int) -> None:
        if (moment, step, trainer.global_rank) != (self.moment, self.step, self.rank):
            return
        if self.kind == "exception":
            raise RuntimeError("struck")
        if self.kind == "SIGTERM":  # schedulers tell every process
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGTERM)
        os.kill(os.getpid(), getattr(signal, self.kind))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._strike(trainer, "start", trainer.global_step)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._strike(trainer, "middle", trainer.global_step)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._strike(trainer, "end", trainer.global_step - 1)


class Draw(NamedTuple):
    kind: str
    workers: int
    ranks: int
    start: str
    step: int
    moment: str
    rank: int

    @property
    def kill(self) -> dict[str, Any]:
        return {"kind": self.kind, "step": self.step, "moment": self.moment, "rank": self.rank}


def draws(count: int, seed: int) -> list[Draw]:
    """Random, but every value of each comes about equally often."""
    rng = random.Random(seed)

    def spread(values: tuple[Any, ...]) -> list[Any]:
        return rng.sample(list(islice(cycle(rng.sample(values, len(values))), count)), count)

    columns = [spread(KINDS), spread((0, 1, 2)), spread((1, 2)), spread(("fork", "spawn")), spread(tuple(range(STEPS)))]
    columns += [spread(("start", "middle", "end"))]
    return [Draw(*row, rank=rng.randrange(row[2])) for row in zip(*columns, strict=True)]


@pytest.fixture
def train(fit_config: Path, tmp_path: Path) -> Train:
    """Runs a training in fresh processes, one a rank; returns its folder and checks how they ended."""

    def run(
        name: str,
        *,
        ranks: int = 1,
        workers: int = 0,
        start: str | None = None,
        kill: dict[str, Any] | None = None,
        batch: int = BATCH,
    ) -> Path:
        config = yaml.safe_load(fit_config.read_text())
        config["data"]["init_args"] |= {"batch_size": batch, "num_workers": workers, "worker_start": start}
        config["model"]["init_args"] |= {"patch_dropout": 0.5}
        config["trainer"] |= {
            "default_root_dir": str(tmp_path / name),
            "max_epochs": EPOCHS,
            "limit_train_batches": STEPS // EPOCHS,
            "limit_val_batches": 0,
            "devices": ranks,
            "strategy": "ddp" if ranks > 1 else "auto",
            "callbacks": [
                {"class_path": "lightning_modules.LastCheckpoint", "init_args": {"every_n_train_steps": EVERY}},
                {"class_path": "tests.test_resume.Witness"},
            ],
        }
        if kill is not None:
            config["trainer"]["callbacks"].append({"class_path": "tests.test_resume.Kill", "init_args": kill})
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config))
        (tmp_path / name).mkdir(exist_ok=True)
        codes = run_ranks(path, ranks)
        if kill is None:
            assert codes == [0] * ranks
        elif kill["kind"] == "SIGTERM":
            assert codes == [128 + signal.SIGTERM] * ranks
        else:
            assert codes[kill["rank"]] == (-signal.SIGKILL if kill["kind"] == "SIGKILL" else 1)
            assert 0 not in codes
        return tmp_path / name

    return run


def seen(run: Path, rank: int) -> dict[int, tuple[int, list[str]]]:
    """Position and tiles of every step of a rank; a step done twice must have been given the same twice."""
    found: dict[int, tuple[int, list[str]]] = {}
    for line in (run / f"seen-{rank}.jsonl").read_text().splitlines():
        row = json.loads(line)
        step = (row["position"], row["tiles"])
        assert found.setdefault(row["step"], step) == step
    return found


def checkpoint(run: Path) -> dict[str, Any]:
    return dict(torch.load(run / "last.ckpt", weights_only=True))


STRAIGHT: dict[int, tuple[list[dict[int, Any]], dict[str, Any]]] = {}


def assert_as_uninterrupted(run: Path, ranks: int, train: Train) -> None:
    """Same tiles at every step of every rank, same weights; one uninterrupted run per number of ranks is made."""
    if ranks not in STRAIGHT:
        straight = train("straight", ranks=ranks)
        STRAIGHT[ranks] = ([seen(straight, rank) for rank in range(ranks)], checkpoint(straight))
    sequences, theirs = STRAIGHT[ranks]
    for rank in range(ranks):
        assert seen(run, rank) == sequences[rank]
        assert sorted(seen(run, rank)) == list(range(STEPS))
    ours = checkpoint(run)
    assert ours["global_step"] == theirs["global_step"] == STEPS
    assert all(torch.equal(ours["state_dict"][name], weights) for name, weights in theirs["state_dict"].items())


def killed_and_resumed(train: Train, draw: Draw) -> Path:
    settings = {"ranks": draw.ranks, "workers": draw.workers, "start": draw.start}
    run = train("run", **settings, kill=draw.kill)
    if draw.kind == "SIGTERM":
        assert checkpoint(run)["global_step"] == draw.step + 1
    done = len((run / "seen-0.jsonl").read_text().splitlines())
    assert draw.step + 1 - done in (
        (0, 1) if draw.rank else (0,)
    )  # rank 0 may fail to begin a step that rank 1 died in
    return train("run", **settings)


@pytest.mark.parametrize(
    "draw",
    [
        Draw("SIGKILL", 2, 1, "fork", 4, "middle", 0),
        Draw("SIGTERM", 1, 1, "fork", 6, "start", 0),
        pytest.param(Draw("exception", 0, 2, "fork", 7, "middle", 1), marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_it_is_the_same_run(train: Train, draw: Draw) -> None:
    assert_as_uninterrupted(killed_and_resumed(train, draw), draw.ranks, train)


TEN = draws(10, seed=0)


def test_the_draws_use_every_value() -> None:
    assert {draw.kind for draw in TEN} == set(KINDS)
    assert {draw.workers for draw in TEN} == {0, 1, 2}
    assert {draw.ranks for draw in TEN} == {1, 2}
    assert {draw.start for draw in TEN if draw.workers} == {"fork", "spawn"}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("draw", TEN)
def test_killed_at_random_steps(train: Train, draw: Draw) -> None:
    assert_as_uninterrupted(killed_and_resumed(train, draw), draw.ranks, train)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [((2, BATCH), (1, BATCH)), ((1, BATCH), (2, 2 * BATCH))])
def test_another_number_of_processes_or_batch_size_loses_and_repeats_nothing(
    train: Train, before: tuple[int, int], after: tuple[int, int]
) -> None:
    run = train(
        "run",
        ranks=before[0],
        batch=before[1],
        kill={"kind": "SIGTERM", "step": 3, "moment": "end", "rank": 0},
    )
    taken = checkpoint(run)["GroundPairs"]["position"]
    assert taken == 4 * before[0] * before[1]
    tiles = [name for rank in range(before[0]) for _, names in seen(run, rank).values() for name in names]
    assert len(tiles) == taken
    for path in run.glob("seen-*"):
        path.unlink()
    train("run", ranks=after[0], batch=after[1], workers=1)
    left, step = 24 - taken, after[0] * after[1]
    assert left % step == 0
    for rank in range(after[0]):
        first = sorted(seen(run, rank).items())[: left // step]
        tiles += [name for _, (_, names) in first for name in names]
    assert sorted(tiles) == sorted(f"tile-{number}" for number in range(24))
