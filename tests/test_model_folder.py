"""Model folders: written whole, read by hash, the same model as the checkpoint, and nothing in them runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch

import graft
from graft.checkpoint import load_encoder
from graft.cli import main
from graft.encoders import Level
from graft.errors import GraftError
from graft.model_folder import read_model_folder
from graft.results import append_rows
from graft.sensors import get_sensor, sensor_names
from graft.teacher import Teacher
from graft.vqa.calibrate import write_calibration
from lightning_modules import ZeroShotVQA
from tests.export_inputs import LEVELS, checkpoints
from tests.test_results import row
from tests.test_vqa_calibrate import USUAL


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, architecture: str) -> dict[Level, Path]:
    return checkpoints(tmp_path_factory, architecture)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, runs: dict[Level, Path]) -> dict[Level, Path]:
    root = tmp_path_factory.mktemp("models")
    for level, checkpoint in runs.items():
        main(["export", str(checkpoint), f"--out={root / level}", "--licence=CC-BY-4.0"])
    return {level: root / level for level in runs}


@pytest.fixture
def folder(tmp_path: Path, folders: dict[Level, Path]) -> Path:
    """A pixel-level folder that may be spoilt."""
    return Path(shutil.copytree(folders["pixel"], tmp_path / "model"))


def tiles(side: int = 48) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("level", LEVELS)
def test_it_is_the_model_of_the_checkpoint(runs: dict[Level, Path], folders: dict[Level, Path], level: Level) -> None:
    trained, loaded = load_encoder(runs[level]), load_encoder(folders[level])
    assert torch.equal(loaded.encoder(tiles()), trained.encoder(tiles()))
    for name in ("dim", "sensor", "radiometry", "sha256", "step", "level", "patch", "window", "code_version"):
        assert getattr(loaded, name) == getattr(trained, name)
    assert loaded.logit_scale == pytest.approx(trained.logit_scale)
    assert loaded.teacher["identity"] == trained.teacher["identity"]


@pytest.mark.parametrize("level", LEVELS)
def test_the_card_says_what_it_is(folders: dict[Level, Path], architecture: str, level: Level) -> None:
    card = json.loads((folders[level] / "graft.json").read_text())
    assert card["sensor"] == get_sensor("naip").plain
    assert card["level"] == level
    assert card["temperature"] == pytest.approx(1 / 20)
    assert card["positions"] == "open_clip"
    assert card["teacher"] == Teacher(architecture).card
    assert card["training"] == {"step": 3, "code_version": "abc", "config": {"seed_everything": 3}}
    assert card["hashes"].keys() == {path.name for path in folders[level].iterdir()} - {"graft.json"}
    readme = (folders[level] / "README.md").read_text()
    for told in ("CC-BY-4.0", "1 m", card["radiometry"], card["source"]["sha256"][:16], "## Limits"):
        assert told in readme


def test_plain_open_clip_loads_it(folders: dict[Level, Path]) -> None:
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folders['image']}")
    ours = load_encoder(folders["image"]).encoder
    tile = tiles(32)
    pixels = torch.stack([preprocess(each) for each in map(_picture, tile)])
    with torch.inference_mode():
        theirs = clip.eval().encode_image(pixels, normalize=True)
    torch.testing.assert_close(ours(tile), theirs, atol=1e-5, rtol=0)


def _picture(tile: torch.Tensor) -> object:
    from PIL import Image

    return Image.fromarray(tile.permute(1, 2, 0).numpy())


def test_results_of_this_model_go_into_the_card(tmp_path: Path, runs: dict[Level, Path]) -> None:
    made = row(top1=0.75)
    made |= {"n": 9, "code_version": "1234567", "model_sha256": load_encoder(runs["image"]).sha256}
    append_rows(tmp_path / "r.json", [made, made | {"model": "other", "model_sha256": "0"}])  # type: ignore[typeddict-item]
    main(["export", str(runs["image"]), f"--out={tmp_path / 'm'}", f"--results={tmp_path / 'r.json'}"])
    assert (
        "| classification | eurosat | test | 9 | top1 0.750 | `1234567` |" in (tmp_path / "m" / "README.md").read_text()
    )
    with pytest.raises(SystemExit):
        main(["export", str(runs["pixel"]), f"--out={tmp_path / 'n'}", f"--results={tmp_path / 'r.json'}"])
    assert not (tmp_path / "n").exists()


def test_a_folder_that_is_there_is_kept(tmp_path: Path, runs: dict[Level, Path]) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "mine").touch()
    with pytest.raises(SystemExit):
        main(["export", str(runs["image"]), f"--out={tmp_path / 'm'}"])
    assert [path.name for path in tmp_path.rglob("*")] == ["m", "mine"]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("open_clip_model.safetensors", b"x", "other sha256"),
        ("patch_projector.safetensors", b"x", "other sha256"),
        ("patch_projector.safetensors", None, "missing"),
        ("graft.json", b"{}", "format None"),
        ("graft.json", b"[", "cannot be read as JSON"),
        ("graft.json", b"[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_a_spoilt_folder_is_told(folder: Path, file: str, content: bytes | None, told: str) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(GraftError, match=told):
        read_model_folder(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"level": "both"},
        {"temperature": -1},
        {"temperature": "x"},
        {"positions": "mine"},
        {"teacher": {}},
        {"sensor": {"name": "naip"}},
        {"hashes": {"../../etc/passwd": "0"}},
        {"hashes": {}},
        {"more": 1},
    ],
)
def test_a_card_that_does_not_fit_is_told(folder: Path, change: dict[str, object]) -> None:
    card = json.loads((folder / "graft.json").read_text())
    (folder / "graft.json").write_text(json.dumps(card | change))
    with pytest.raises(GraftError):
        read_model_folder(folder)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    target = (folder / "patch_projector.safetensors").rename(tmp_path / "elsewhere")
    (folder / "patch_projector.safetensors").symlink_to(target)
    with pytest.raises(GraftError, match="no plain file"):
        read_model_folder(folder)


def test_a_sensor_of_somebody_else_comes_with_the_folder(folder: Path) -> None:
    card = json.loads((folder / "graft.json").read_text())
    row = {
        "name": "kestrel",
        "bands": ["red", "green", "blue"],
        "gsd_m": 2,
        "scale": 1,
        "offset": 0,
        "display": [0, 255],
    }
    (folder / "graft.json").write_text(json.dumps(card | {"sensor": row}))
    assert load_encoder(folder).sensor == "kestrel"
    assert "kestrel" in sensor_names()
    assert get_sensor("kestrel").gsd_m == 2
    (folder / "graft.json").write_text(json.dumps(card | {"sensor": row | {"name": "naip"}}))
    with pytest.raises(GraftError, match="Rename your own row"):
        read_model_folder(folder)


def test_the_folder_is_a_teacher_for_words_alone(folders: dict[Level, Path], architecture: str) -> None:
    teacher, own = Teacher(f"local-dir:{folders['pixel']}"), Teacher(architecture)
    assert teacher.identity == own.identity
    assert torch.equal(teacher.encode_text(["a lake"]), own.encode_text(["a lake"]))
    with pytest.raises(GraftError, match="not the tower that looks at photos"):
        teacher.encode_image(tiles())


def test_commands_take_a_folder_in_place_of_a_checkpoint(
    tmp_path: Path, runs: dict[Level, Path], folders: dict[Level, Path]
) -> None:
    import rasterio

    path = tmp_path / "scene.tif"
    pixels = tiles(96)[0].numpy()
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(1, 0, 500_000, 0, -1, 5_000_000)}
    with rasterio.open(path, "w", driver="GTiff", height=96, width=96, count=3, dtype="uint8", **place) as raster:
        raster.write(pixels)
    for name, model in (("a", runs["pixel"]), ("b", folders["pixel"])):
        main(
            [
                "segment",
                str(path),
                "--prompts=water, forest",
                f"--model={model}",
                f"--out={tmp_path / name / 'x'}",
                "--display",
            ]
        )
    maps = [next((tmp_path / name).glob("*.tif")) for name in "ab"]
    with rasterio.open(maps[0]) as a, rasterio.open(maps[1]) as b:
        assert (a.read() == b.read()).all()


def test_its_calibration_is_its_own(tmp_path: Path, folder: Path, architecture: str) -> None:
    loaded = load_encoder(folder)
    write_calibration(folder / "vqa.json", replace(USUAL, card=USUAL.card | {"model_sha256": loaded.sha256}))
    module = ZeroShotVQA(architecture, dataset="x", results=tmp_path / "r.json", checkpoint=folder)
    assert module._calibration(loaded).tiles == USUAL.tiles > 0


def test_three_lines(folders: dict[Level, Path]) -> None:
    model = graft.load(str(folders["image"]), device="cpu")
    assert model.classify(tiles(), ["forest", "lake"]).shape == (2, 2)
