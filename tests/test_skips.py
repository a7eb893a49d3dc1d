"""Damaged samples in training: each is listed, too many stop every process."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from graft.batch import PairBatch
from graft.errors import GraftError
from graft.plan import SamplePlan
from graft.shards import ShardIndex
from graft.skips import Skip, SkipList
from lightning_modules.callbacks import SkipGuard
from main import main
from tests.conftest import ShardFactory
from tests.training import run_ranks

SAMPLES, SHARDS, BATCH, SEED = 200, 4, 10, 3
PASS = SAMPLES // BATCH


@pytest.fixture(scope="module")
def whole(make_shards: ShardFactory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("skips") / "whole", samples=SAMPLES, shards=SHARDS, photos=1)


def damaged(whole: Path, folder: Path, places: list[tuple[int, int]]) -> Path:
    """A copy in which the tiles at (shard, number) are no pictures."""
    folder.mkdir()
    index = ShardIndex.load(whole)
    for shard, name in enumerate(index.files):
        content = bytearray((whole / name).read_bytes())
        for number in (number for where, number in places if where == shard):
            start = content.index(b"\x89PNG", content.index(f"{shard * SAMPLES // SHARDS + number:06d}.tile".encode()))
            content[start : start + 4] = b"gone"
        (folder / name).write_bytes(content)
    (folder / "index.json").write_bytes((whole / "index.json").read_bytes())
    return folder


def located(whole: Path, positions: list[int]) -> list[tuple[int, int]]:
    plan = SamplePlan(list(ShardIndex.load(whole).samples), seed=SEED)
    return [plan.locate(position)[1:] for position in positions]


def configured(fit_config: Path, shards: Path, *, epochs: int = 2, **trainer: object) -> Path:
    config = yaml.safe_load(fit_config.read_text())
    config["data"]["init_args"] |= {"shards": str(shards), "batch_size": BATCH, "photos_per_tile": 1}
    settings = {"max_epochs": epochs, "limit_train_batches": PASS, "limit_val_batches": 0}
    config["trainer"] |= settings | trainer
    fit_config.write_text(yaml.safe_dump(config))
    return fit_config


def listed(run: Path) -> list[tuple[int, int, str, int]]:
    with (run / "skipped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all("cannot identify image" in row["reason"] and row["shard"] in row["reason"] for row in rows)
    return [(int(row["position"]), int(row["pass"]), row["shard"], int(row["sample"])) for row in rows]


def test_half_a_percent_is_listed_and_the_run_ends(whole: Path, fit_config: Path, tmp_path: Path) -> None:
    ((shard, number),) = places = located(whole, [57])
    cli = main(["fit", "--config", str(configured(fit_config, damaged(whole, tmp_path / "s", places)))])
    assert cli.trainer.global_step == 2 * PASS
    assert cli.trainer.callback_metrics["train/skipped"] == 2
    rows = listed(tmp_path / "run")
    assert [row[1:] for row in rows] == [(0, f"shard-{shard:06d}.tar", number), (1, f"shard-{shard:06d}.tar", number)]
    assert rows[0][0] == 57


def test_five_percent_stop_the_run_when_its_pass_ends(
    whole: Path, fit_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = located(whole, list(range(0, SAMPLES, 20)))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", str(configured(fit_config, damaged(whole, tmp_path / "s", places)))])
    assert stop.value.code == 1
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "10 of 200 samples could not be used (up to 1% is tolerated): shard-00000" in message
    assert f"All are listed in {tmp_path}/run/skipped.csv" in message
    assert [(int(row[2][-10:-4]), row[3]) for row in listed(tmp_path / "run")] == places


def test_all_processes_stop_together(
    whole: Path, fit_config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    of_rank_1 = [position for position in range(SAMPLES) if position // BATCH % 2 == 1][::10]
    places = located(whole, of_rank_1)
    config = configured(fit_config, damaged(whole, tmp_path / "s", places), devices=2, strategy="ddp")
    assert run_ranks(config, 2) == [1, 1]
    messages = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(messages) == 2
    assert len(set(messages)) == 1
    assert "10 of 200 samples" in messages[0]
    assert sorted(row[0] for row in listed(tmp_path / "run")) == of_rank_1


def test_a_run_taken_up_again_lists_each_once(whole: Path, fit_config: Path, tmp_path: Path) -> None:
    config = configured(fit_config, damaged(whole, tmp_path / "s", located(whole, [57])), epochs=1)
    main(["fit", "--config", str(config)])
    before = listed(tmp_path / "run")
    (tmp_path / "run" / "last.ckpt").unlink()  # as if it had been killed before the first checkpoint
    main(["fit", "--config", str(config)])
    assert listed(tmp_path / "run") == before
    main(["fit", "--config", str(config), "--trainer.max_epochs=2"])
    assert [row[1] for row in listed(tmp_path / "run")] == [0, 1]


def test_a_list_drops_what_comes_again_and_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "run" / "skipped.csv"
    skips = [Skip(position, 0, "a.tar", position, "", f"no, {position}") for position in (3, 7, 9)]
    first = SkipList(path, position=0)
    assert not path.exists()
    first.add(skips[:2])
    first.add(skips[2:])
    assert path.read_text().splitlines()[:2] == ["position,pass,shard,sample,photo,reason", '3,0,a.tar,3,,"no, 3"']
    with path.open("a") as file:
        file.write("11,0,a.t")
    second = SkipList(path, position=8)
    assert second.kept == skips[:2]
    second.add(skips[2:])
    assert SkipList(path, position=100).kept == skips
    assert SkipList(path, position=0).kept == []
    assert not path.exists()


class Guarded:
    """A guard outside a run, fed with batches of one process."""

    def __init__(self, run: Path, *, samples: int) -> None:
        self.guard, self.run = SkipGuard(), run
        data = SimpleNamespace(position=0, index=SimpleNamespace(samples=[samples]))
        strategy = SimpleNamespace(broadcast=lambda kept: kept)
        self.trainer: Any = SimpleNamespace(
            datamodule=data, default_root_dir=str(run), is_global_zero=True, strategy=strategy
        )
        self.module: Any = SimpleNamespace(device=torch.device("cpu"), log=lambda *_: None)
        self.guard.on_train_start(self.trainer, self.module)

    def step(self, position: int, skips: list[Skip], *, photo: torch.Tensor | None, places: int = 4) -> None:
        mask = torch.ones(BATCH, places, dtype=torch.bool)
        batch = PairBatch(torch.zeros(0), None, mask, torch.zeros(0), torch.zeros(0), (), photo, position, tuple(skips))
        self.guard.on_train_batch_end(self.trainer, self.module, None, batch, 0)


def bad(position: int, photo: str = "") -> Skip:
    return Skip(position, 0, "a.tar", position, photo, "bad")


def test_bad_tiles_are_judged_among_tiles_with_an_online_teacher_too(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, samples=1000)
    with pytest.raises(GraftError, match="30 of 1000 samples could not be used"):
        guarded.step(1000, [bad(position) for position in range(30)], photo=torch.zeros(1))


def test_bad_photos_are_judged_among_photos(tmp_path: Path) -> None:
    guarded = Guarded(tmp_path, samples=1000)
    guarded.step(1000, [bad(position, "p") for position in range(40)], photo=torch.zeros(1))
    with pytest.raises(GraftError, match="141 of 8000 photos could not be used"):
        guarded.step(2000, [bad(position, "p") for position in range(101)], photo=torch.zeros(1))


def test_a_process_whose_whole_batch_is_bad_counts_as_the_others_do(tmp_path: Path) -> None:
    one, other = (Guarded(tmp_path / name, samples=1000) for name in ("a", "b"))
    skips = [bad(position, "p") for position in range(3)]
    for position in (10, 20):
        one.step(position, skips, photo=torch.zeros(1))
        other.step(position, skips, photo=None)
    assert [(part.seen, part.skipped) for part in (one.guard._photos, one.guard._tiles)] == [(80, 6), (20, 0)]
    assert [(part.seen, part.skipped) for part in (other.guard._photos, other.guard._tiles)] == [(80, 6), (20, 0)]
