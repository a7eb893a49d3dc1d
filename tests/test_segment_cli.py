"""`graft segment` from a checkpoint, a teacher and a GeoTIFF to files, and its faults in one line."""

import inspect
import json
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from safetensors.torch import save_file

import graft.segment
from graft.checkpoint import checkpoint_card
from graft.cli import main
from graft.dense import DenseMode
from graft.encoders import Level, encoder_from_clip
from graft.refine import RefineName
from graft.sensors import get_sensor
from graft.teacher import Teacher
from tests.conftest import TINY_MODEL, write_clip_folder
from tests.prepare_inputs import write_scene
from tests.segment_inputs import checkered, write_rgb


def write_checkpoint(path: Path, architecture: str, teacher: Teacher, level: Level, sensor: str = "sentinel") -> Path:
    torch.manual_seed(0)
    encoder, config = encoder_from_clip(architecture, None, level=level)
    radiometry = get_sensor(sensor).radiometry
    card = checkpoint_card(config, sensor=sensor, radiometry=radiometry, teacher=teacher.card, logit_scale=14.0)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state, "graft": card, "global_step": 3}, path)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, architecture: str, teacher: Teacher) -> Path:
    """Checkpoints of both levels, aligned to the teacher in a local folder."""
    folder = tmp_path_factory.mktemp("models")
    write_checkpoint(folder / "pixel.ckpt", architecture, teacher, "pixel")
    write_checkpoint(folder / "image.ckpt", architecture, teacher, "image")
    write_checkpoint(folder / "naip.ckpt", architecture, teacher, "pixel", "naip")
    return folder


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    stored = np.random.default_rng(0).integers(1, 3000, (4, 90, 70)).astype(np.uint16)
    return write_scene(tmp_path / "scene.tif", stored)


def words(*arguments: object) -> list[str]:
    return ["segment", *map(str, arguments)]


def fault(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    (line,) = [line for line in error.splitlines() if line.startswith("graft: ")]
    return line


@pytest.mark.parametrize("level", ["pixel", "image"])
def test_from_scene_to_files(
    models: Path, scene: Path, tmp_path: Path, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maps"
    main(
        words(
            scene,
            "--prompts",
            "water, forest, town",
            "--model",
            models / f"{level}.ckpt",
            "--out",
            f"{out}/",
            "--scores",
        )
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "scene.classes.tif",
        "scene.geojson",
        "scene.json",
        "scene.quicklook.png",
        "scene.scores.tif",
    ]
    told = json.loads((out / "scene.json").read_text())
    assert [row["id"] for row in told["classes"]] == ["water", "forest", "town"]
    assert sum(row["share"] for row in told["classes"]) == pytest.approx(1)
    assert sum(row["area_m2"] for row in told["classes"]) == pytest.approx(90 * 70 * 100, rel=1e-3)
    assert told["settings"]["GRAFT_MODE"] == ("tokens" if level == "pixel" else "naclip")
    with rasterio.open(out / "scene.classes.tif") as made:
        assert made.shape == (90, 70)
        assert set(np.unique(made.read(1))) <= {0, 1, 2}
        assert len(made.tags()["GRAFT_MODEL_SHA256"]) == 64
    printed = capsys.readouterr().out
    assert "water" in printed
    assert str(out / "scene.classes.tif") in printed


def test_synonyms_files_and_stored_vectors(models: Path, scene: Path, tmp_path: Path, teacher: Teacher) -> None:
    (tmp_path / "classes.txt").write_text("water, lake, river\nforest\n")
    vectors = teacher.encode_text(["water", "forest"])
    metadata = {"classes": '["water", "forest"]', "teacher": teacher.identity}
    save_file({"text": vectors}, tmp_path / "words.safetensors", metadata=metadata)
    for number, source in enumerate(("classes.txt", "words.safetensors")):
        main(
            words(
                scene,
                "--prompts",
                tmp_path / source,
                "--model",
                models / "pixel.ckpt",
                "--out",
                tmp_path / f"out{number}",
            )
        )
        told = json.loads((tmp_path / f"out{number}.json").read_text())
        assert [row["id"] for row in told["classes"]] == ["water", "forest"]


def test_stored_vectors_need_no_teacher(models: Path, scene: Path, tmp_path: Path, teacher: Teacher) -> None:
    content = torch.load(models / "pixel.ckpt", weights_only=True)
    content["graft"]["teacher"]["name"] = "local-dir:/gone"
    torch.save(content, tmp_path / "moved.ckpt")
    metadata = {"classes": '["water", "forest"]', "teacher": teacher.identity}
    save_file({"text": teacher.encode_text(["water", "forest"])}, tmp_path / "words.safetensors", metadata=metadata)
    main(
        words(
            scene,
            "--prompts",
            tmp_path / "words.safetensors",
            "--model",
            tmp_path / "moved.ckpt",
            "--out",
            tmp_path / "out",
        )
    )
    assert (tmp_path / "out.classes.tif").exists()


def test_a_picture_with_gsd(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)).save(tmp_path / "a.png")
    command = words(
        tmp_path / "a.png", "--prompts", "water, forest", "--model", models / "naip.ckpt", "--out", tmp_path / "out"
    )
    assert "has no coordinate reference system" in fault(command, capsys)
    main([*command, "--gsd", "0.6"])
    assert "No GeoJSON" in capsys.readouterr().out


def test_display_values_and_another_sensor_row(models: Path, scene: Path, tmp_path: Path) -> None:
    rgb = write_rgb(tmp_path / "tci.tif", checkered(64, 64), gsd=10.0)
    common = ("--prompts", "water, forest", "--model", models / "pixel.ckpt")
    main(words(rgb, *common, "--out", tmp_path / "a", "--display"))
    main(words(scene, *common, "--out", tmp_path / "b", "--sensor", "sentinel-04.00"))
    settings = [json.loads((tmp_path / f"{name}.json").read_text())["settings"] for name in "ab"]
    assert settings[0]["GRAFT_RADIOMETRY"] == "stored 8-bit display values"
    assert settings[1]["GRAFT_SENSOR"] == "sentinel-04.00"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("--prompts empty.txt", "holds no words"),
        ("--prompts none.txt", "No file of words at none.txt"),
        ("--prompts water,forest,Water", "Water"),
        ("--model none.ckpt", "No model at none.ckpt"),
        ("--sensor landsat", "Unknown sensor 'landsat'"),
        ("--bands 4,3", "--bands is 4,3; expected three numbers"),
        ("--bands red", "--bands is 'red'; expected three numbers"),
        ("--gsd 10", "--gsd is for rasters without one"),
        ("--window 20", "Window 20 and stride"),
        ("--stride 5", "and stride 5 px: expected multiples of the patch"),
        ("--batch-size 0", "--batch-size is 0; it must be at least 1"),
        ("--min-area -1", "--min-area is -1; it must be at least 0"),
        ("--device cuda:99", "--device cuda:99 is not to be had here"),
        ("--mode tokens --model image.ckpt", "no trained patch tokens"),
        ("--refine sam", "sam"),
        ("--teacher no-such", "Unknown architecture 'no-such'"),
        ("--teacher other", "The model was aligned to"),
        ("--out empty.txt/map", "Could not write"),
    ],
)
def test_one_line_for_a_fault(
    models: Path,
    scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n# nothing\n")
    (tmp_path / "image.ckpt").write_bytes((models / "image.ckpt").read_bytes())
    if more == "--teacher other":
        more = f"--teacher local-dir:{write_clip_folder(tmp_path / 'other', TINY_MODEL, seed=9)}"
    there = sorted(tmp_path.iterdir())
    settings = {"--prompts": "water, forest", "--model": str(models / "pixel.ckpt"), "--out": "map"}
    given = more.split()
    settings |= dict(zip(given[::2], given[1::2], strict=True))
    line = fault(words(scene, *(part for pair in settings.items() for part in pair)), capsys)
    assert message in line
    assert sorted(tmp_path.iterdir()) == there


def test_missing_and_unfit_scenes(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("--prompts", "water, forest", "--model", models / "pixel.ckpt", "--out", tmp_path / "map")
    assert "No scene at nowhere.tif" in fault(words("nowhere.tif", *common), capsys)
    coarse = write_scene(tmp_path / "coarse.tif", size=16, gsd=30.0)
    assert "a mismatch of 3.0" in fault(words(coarse, *common), capsys)
    main(words(coarse, *common, "--any-gsd"))


def test_choices_are_those_of_the_library() -> None:
    annotations = inspect.signature(graft.segment.segment).parameters
    assert set(get_args(get_args(annotations["mode"].annotation)[0])) == set(get_args(DenseMode))
    assert set(get_args(annotations["refine"].annotation)) == set(get_args(RefineName))
