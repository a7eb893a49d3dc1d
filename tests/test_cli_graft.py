import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graft.cli import main
from graft.teacher import Teacher
from tests.prepare_inputs import photo_at, write_scene, write_table


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """Options naming a small world: one scene of four tiles, five photos in two of them."""
    write_scene(tmp_path / "scenes" / "a.tif", size=32)
    rows = [photo_at(tmp_path / "photos", f"p{n}", 1 + 5.5 * n, 9, seed=n) for n in range(5)]
    table = write_table(tmp_path / "photos" / "photos.csv", rows)
    return f"prepare --photos {table} --scenes {tmp_path / 'scenes'} --sensor sentinel --tile-size 16".split()


def fault(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(args)
    assert exit_.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("graft: ")]
    return line


def test_prepare_with_a_clip_teacher(inputs: list[str], tmp_path: Path, architecture: str, teacher: Teacher) -> None:
    for out in ("one", "two"):
        main([*inputs, "--out", str(tmp_path / out), "--teacher", architecture, "--samples-per-shard", "1"])
    index = json.loads((tmp_path / "one" / "index.json").read_text())
    assert index["teacher"] == teacher.card
    assert [shard["samples"] for shard in index["shards"]] == [1, 1]
    assert sum(shard["photos"] for shard in index["shards"]) == 5
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_underscores_and_a_config_file(inputs: list[str], tmp_path: Path) -> None:
    config = tmp_path / "prepare.yaml"
    config.write_text("max_photos: 2\nsamples_per_shard: 1\nstore_photos: true\n")
    main([*inputs[:-2], "--out", str(tmp_path / "out"), "--tile_size=16", f"--config={config}"])
    shards = json.loads((tmp_path / "out" / "index.json").read_text())["shards"]
    assert [shard["photos"] for shard in shards] == [2, 2]


def test_existing_shards(inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [*inputs, "--store-photos", "--out", str(tmp_path / "out")]
    main(args)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(args)
    printed = capsys.readouterr()
    assert "already holds shards" in printed.err
    assert printed.out == ""  # refused before any work
    main([*args, "--overwrite"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--sensor landsat", "Unknown sensor 'landsat'. Known sensors: sentinel"),
        ("--scenes /nowhere", "No scene at /nowhere"),
        ("--photos /nowhere.csv", "No photos at /nowhere.csv"),
        ("--sensor naip", "pixels of 10 x 10 m on the ground, sensor naip has 1 m"),
        ("--teacher ViT-B-32", "add --teacher-weights"),
        ("--teacher no-such --teacher-weights openai", "Unknown architecture 'no-such'"),
    ],
)
def test_one_line_for_a_fault(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, message: str
) -> None:
    line = fault([*inputs, "--store-photos", "--out", str(tmp_path / "out"), *more.split()], capsys)
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_wrong_option_ends_with_usage(inputs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*inputs, "--out", "out", "--tilesize", "3"])
    assert exit_.value.code == 2
    assert "--tilesize" in capsys.readouterr().err


def test_help_names_every_command_and_is_quick() -> None:
    begin = time.perf_counter()
    command = [sys.executable, "-X", "importtime", "-m", "graft.cli", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert time.perf_counter() - begin < 5
    for name in ("prepare", "atlas", "teacher", "segment"):
        assert f"\n    {name} " in shown.stdout
    for heavy in ("torch", "pandas", "rasterio"):
        assert f" {heavy}\n" not in shown.stderr
