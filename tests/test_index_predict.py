"""`main.py predict` with configs/index.yaml writes what `graft index` writes, on one process and on two."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.multiprocessing as mp

import main
from datamodules import index as module
from datamodules.index import GroupStream
from graft.errors import GraftError
from graft.index import index as graft_index
from graft.index.plan import Job, Plan
from graft.index.table import Index
from graft.teacher import Teacher
from tests.index_source_inputs import look, only, same_index, write_raster, write_tile
from tests.test_segment_cli import write_checkpoint

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, architecture: str, teacher: Teacher) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "last.ckpt", architecture, teacher, "image")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Seven groups, one of them without data."""
    root = tmp_path_factory.mktemp("archive")
    stored = np.random.default_rng(0).integers(1, 3000, (3, 40 * 32, 30 * 32)).astype(np.uint16)
    stored[:, : 8 * 32] = 0
    write_raster(root / "scene.tif", stored)
    for number in range(300):
        write_tile(root / "tiles" / f"{number}.png", seed=number)
    return [str(root / "scene.tif"), str(root / "tiles")]


@pytest.fixture(scope="module")
def whole(model: Path, archive: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "index"
    graft_index(archive, model=model, out=str(out), precision="fp32", batch_size=16, device="cpu")
    return out


def arguments(model: Path, archive: list[str], out: Path, **more: Any) -> list[str]:
    settings = {
        "model.init_args.checkpoint": model,
        "model.init_args.precision": "fp32",
        "model.init_args.batch_size": 16,
        "data.init_args.sources": f"[{','.join(archive)}]",
        "data.init_args.out": out,
        "trainer.accelerator": "cpu",
        "trainer.devices": 1,
        "trainer.enable_progress_bar": "false",
        "trainer.default_root_dir": out.parent / "run",
    }
    given = settings | more
    return ["predict", f"--config={ROOT / 'configs' / 'index.yaml'}", *(f"--{key}={v}" for key, v in given.items())]


def test_one_process_writes_what_graft_index_writes(
    model: Path, archive: list[str], whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    main.main(arguments(model, archive, tmp_path / "index"))
    assert same_index(tmp_path / "index", whole)
    version = Index.open(tmp_path / "index").version
    main.main(arguments(model, archive, tmp_path / "index"))
    assert Index.open(tmp_path / "index").version == version
    graft_index(archive, model=model, out=str(tmp_path / "index"), precision="fp32", device="cpu")  # the lock is free


def test_faults_are_one_sentence(
    model: Path,
    archive: list[str],
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    with pytest.raises(SystemExit) as end:
        main.main(arguments(model, [*archive, "gone.tif"], tmp_path / "index"))
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert "No source at gone.tif" in captured.out
    assert "error: 1 of the sources are not in the index" in captured.err
    assert same_index(tmp_path / "index", whole)
    with pytest.raises(SystemExit):
        main.main(arguments(model, archive, tmp_path / "index", **{"data.init_args.window": 30}))
    assert "expected multiples of the patch" in capsys.readouterr().err
    for out in "", "s3://":
        with pytest.raises(SystemExit):
            main.main(arguments(model, archive, tmp_path / "index", **{"data.init_args.out": out}))
        assert f"error: {out!r} is no address of an index" in capsys.readouterr().err


def _waits(rank: int, rendezvous: str, results: str) -> None:
    """The first process takes longer than the others' usual patience, then it fails."""
    module.dist.init_process_group(
        "gloo", init_method=rendezvous, rank=rank, world_size=2, timeout=timedelta(seconds=3)
    )
    made = Plan((), (), 7, (), ())

    def slow() -> Plan:
        time.sleep(5)
        return made

    def broken() -> Plan:
        raise ZeroDivisionError("no such thing")

    told = [str(module.from_first(None if rank else slow).known)]
    try:
        module.from_first(None if rank else broken)
    except (ZeroDivisionError, GraftError) as error:
        told.append(f"{type(error).__name__}: {error}")
    Path(results, str(rank)).write_text("; ".join(told))


def test_a_fault_of_the_first_is_told_to_the_others_before_it_ends_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    monkeypatch.setattr(module.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(module.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(module.dist, "new_group", lambda backend, timeout: timeout)
    monkeypatch.setattr(module.dist, "broadcast_object_list", lambda found, src, group: sent.extend([*found, group]))

    def broken() -> Plan:
        raise ZeroDivisionError("no such thing")

    with pytest.raises(ZeroDivisionError):
        module.from_first(broken)
    assert sent == ["The first process failed: ZeroDivisionError('no such thing')", module.PATIENCE]


@pytest.mark.slow
def test_others_wait_for_the_first_and_hear_of_its_fault_whatever_it_is(tmp_path: Path) -> None:
    mp.spawn(_waits, args=(f"file://{tmp_path}/rendezvous", str(tmp_path)), nprocs=2)
    assert (tmp_path / "0").read_text() == "7; ZeroDivisionError: no such thing"
    said = "The first process failed: ZeroDivisionError('no such thing')"
    assert (tmp_path / "1").read_text() == f"7; GraftError: {said}"


def test_processes_share_the_groups_and_stay_in_step(archive: list[str]) -> None:
    source = only(archive[0], look())
    jobs = tuple(Job(0, group, fresh=True) for group in range(source.groups))
    plan = Plan((source,), jobs, 0, (), ())
    streams = [GroupStream(plan, rank, 3, threads=2) for rank in range(3)]
    found = [[job for job, _ in stream] for stream in streams]
    assert [len(stream) for stream in streams] == [2, 2, 2]
    steps = [job for step in zip(*found, strict=True) for job in step]
    assert steps == [*jobs, None]


@pytest.mark.slow
def test_two_processes_write_the_rows_of_one(model: Path, archive: list[str], whole: Path, tmp_path: Path) -> None:
    command = [sys.executable, "main.py", *arguments(model, archive, tmp_path / "index", **{"trainer.devices": 2})]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "All distributed processes registered. Starting with 2 processes" in done.stderr
    assert same_index(tmp_path / "index", whole)
