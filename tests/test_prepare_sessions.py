"""A build stopped and taken up again, and builds of other inputs in the same folder."""

# ruff: noqa: F811  # a fixture is imported, and then an argument

import shutil
from pathlib import Path
from typing import Any

import pytest

from graft.errors import GraftError
from graft.imagery.settings import ImagerySettings
from graft.prepare import build
from graft.prepare import publish as publishing
from graft.select.settings import MetadataFilters, Splits
from tests.test_prepare_build import STORED, everything, ids, members, run, world  # noqa: F401  # a fixture among them


def test_work_that_was_done_is_not_done_again(
    world: Path, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "PHOTOS_IN_PART", 7)
    looked: list[int] = []
    look = build.look_at_part

    def stumble(settings: Any, number: int, start: int, stop: int) -> int:
        if number == 2 and len(looked) < 3:
            looked.append(-1)
            raise RuntimeError("power cut")
        looked.append(number)
        return look(settings, number, start, stop)

    monkeypatch.setattr(build, "look_at_part", stumble)
    with pytest.raises(RuntimeError, match="power cut"):
        run(world, tmp_path / "out", architecture)
    assert not list((tmp_path / "out").glob("*/*.tar"))
    run(world, tmp_path / "out", architecture)
    assert looked[:3] == [0, 1, -1]
    assert 0 not in looked[3:]
    monkeypatch.setattr(build, "look_at_part", look)
    run(world, tmp_path / "whole", architecture)
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def stop_at(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    def blow(*_: Any, **__: Any) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(where, name, blow)


def test_an_unfinished_build_of_other_inputs_is_not_mixed_in(
    world: Path, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, build, "cut_part")
    with pytest.raises(RuntimeError):
        run(world, tmp_path / "out", architecture)
    monkeypatch.undo()
    with pytest.raises(GraftError, match=r"differs in seed.*--restart"):
        run(world, tmp_path / "out", architecture, seed=1)
    assert run(world, tmp_path / "out", architecture, seed=1, restart=True).written > 0


def test_a_plan_binds_nobody(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, build.Build, "run")
    with pytest.raises(RuntimeError):
        run(world, tmp_path / "out", None, **STORED)
    monkeypatch.undo()
    assert run(world, tmp_path / "out", None, seed=1, **STORED).written > 0


@pytest.mark.parametrize("last", ["index.json", "prepare.json"])
def test_a_kill_while_shards_move_is_taken_up(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    run(world, tmp_path / "whole", None, **STORED)
    write = publishing.write_json

    def stumble(path: Path, value: Any) -> None:
        if path.name == last:
            raise RuntimeError("power cut")
        write(path, value)

    monkeypatch.setattr(publishing, "write_json", stumble)
    with pytest.raises(RuntimeError):
        run(world, tmp_path / "out", None, **STORED)
    monkeypatch.undo()
    run(world, tmp_path / "out", None, **STORED)
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_a_second_build_in_one_process_reads_its_own_images(world: Path, tmp_path: Path) -> None:
    first, second = ImagerySettings(scenes=[world / "scenes"]), ImagerySettings(scenes=[world / "scenes" / "B.tif"])
    run(world, tmp_path / "out", None, imagery=first, **STORED)
    run(world, tmp_path / "out", None, imagery=second, overwrite=True, **STORED)
    run(world, tmp_path / "fresh", None, imagery=second, **STORED)
    assert everything(tmp_path / "out") == everything(tmp_path / "fresh")
    assert all(name.startswith("b-") for name in members(tmp_path / "out"))


def test_a_take_down_list_that_grew_is_another_build(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takedown = tmp_path / "takedown.txt"
    takedown.write_text("")
    filters = MetadataFilters(min_side=16, takedown=takedown)
    stop_at(monkeypatch, build, "cut_part")
    with pytest.raises(RuntimeError):
        run(world, tmp_path / "out", None, filters=filters, **STORED)
    monkeypatch.undo()
    takedown.write_text("in0\n")
    with pytest.raises(GraftError, match="differs in take-down list"):
        run(world, tmp_path / "out", None, filters=filters, **STORED)
    run(world, tmp_path / "out", None, filters=filters, restart=True, **STORED)
    assert "in0" not in ids(tmp_path / "out")


def test_what_is_not_of_the_build_stays_and_splits_do_not_mix(world: Path, tmp_path: Path) -> None:
    run(world, tmp_path / "out", None, **STORED)
    shutil.copytree(tmp_path / "out" / "train", tmp_path / "out" / "mine")
    with pytest.raises(GraftError, match="already holds shards"):
        run(world, tmp_path / "out", None, splits=Splits({"val": 1.0}), **STORED)
    run(world, tmp_path / "out", None, splits=Splits({"val": 1.0}), overwrite=True, **STORED)
    assert not list((tmp_path / "out" / "train").glob("*"))
    assert len(ids(tmp_path / "out")) == 0
    assert list((tmp_path / "out" / "mine").glob("*.tar"))
