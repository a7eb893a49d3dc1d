import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from graft.cli import commands, main
from graft.teacher import Teacher
from tests.prepare_inputs import photo_at, write_scene, write_table


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """A configuration of a small world: one scene of four tiles, five photos in two of them."""
    write_scene(tmp_path / "scenes" / "a.tif", size=32)
    rows = [photo_at(tmp_path / "photos", f"p{n}", 1 + 5.5 * n, 9, seed=n) for n in range(5)]
    table = write_table(tmp_path / "photos" / "photos.csv", rows)
    main(["photos", str(table), "--format=table", f"--out={tmp_path / 'photos.parquet'}"])
    config = tmp_path / "prepare.yaml"
    settings = {
        "photos": str(tmp_path / "photos.parquet"),
        "imagery": {"scenes": [str(tmp_path / "scenes")]},
        "sensor": "sentinel",
        "filters": {"min_side": 16},
        "content": {"min_scene": 0.0, "near_duplicates": False},
        "tiles": {"size": 16},
        "cluster": {"workers": 1},
    }
    config.write_text(yaml.safe_dump(settings))
    return ["prepare", str(config)]


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
        main([*inputs, f"--out={tmp_path / out}", f"--teacher.architecture={architecture}", "--shards.samples=1"])
    index = json.loads((tmp_path / "one" / "train" / "index.json").read_text())
    assert index["teacher"] == teacher.card
    assert [shard["samples"] for shard in index["shards"]] == [1, 1]
    assert sum(shard["photos"] for shard in index["shards"]) == 5
    for file in (tmp_path / "one" / "train").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / "train" / file.name).read_bytes()


def test_a_second_configuration_and_options_override_the_first(inputs: list[str], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("tiles: {max_photos: 2}\nshards: {samples: 1, photos: true}\nout: elsewhere\n")
    main([*inputs, str(overlay), f"--out={tmp_path / 'out'}", "--seed=4"])
    index = json.loads((tmp_path / "out" / "train" / "index.json").read_text())
    assert [shard["photos"] for shard in index["shards"]] == [2, 2]
    assert (index["build"]["settings"]["seed"], index["build"]["settings"]["tiles"]["size"]) == (4, 16)


def test_existing_shards(inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [*inputs, "--shards.photos=true", f"--out={tmp_path / 'out'}"]
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
        ("--imagery.scenes [/nowhere]", "No scene at /nowhere"),
        ("--imagery.scenes null", "neither of scenes and stac"),
        ("--photos /nowhere.parquet", "No photo table at /nowhere.parquet. Make one with graft photos"),
        ("--sensor naip", "pixels of 10 x 10 m on the ground, sensor naip has 1 m"),
        ("--teacher.architecture no-such --teacher.weights openai", "Unknown architecture 'no-such'"),
        ('--splits.shares {"train":0.5}', "sum to 1"),
    ],
)
def test_one_line_for_a_fault(
    inputs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, message: str
) -> None:
    line = fault([*inputs, "--shards.photos=true", "--out", str(tmp_path / "out"), *more.split()], capsys)
    assert message in line
    assert not list((tmp_path / "out").glob("train"))


def test_a_wrong_option_ends_with_usage(inputs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([*inputs, "--out", "out", "--tiles.sise", "3"])
    assert exit_.value.code == 2
    assert "tiles.sise" in capsys.readouterr().err


def test_help_names_every_command_and_is_quick() -> None:
    begin = time.perf_counter()
    command = [sys.executable, "-X", "importtime", "-m", "graft.cli", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert time.perf_counter() - begin < 5
    for name in commands():
        assert f"\n    {name} " in shown.stdout
    for heavy in ("torch", "pandas", "rasterio", "duckdb", "pyarrow", "dask", "requests"):
        assert f" {heavy}\n" not in shown.stderr
