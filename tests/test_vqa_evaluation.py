"""Questions from files to result rows: planted answers, the truth's own, faults told, one process and two."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from datamodules import RSVQAFolder
from graft.checkpoint import load_encoder
from graft.clip import create_clip
from graft.errors import GraftError
from graft.results import ResultRow
from graft.teacher import Teacher
from graft.vqa.toolbox import UrbanRule
from lightning_modules import ZeroShotVQA
from main import main
from tests.labelmap_inputs import tif
from tests.rsvqa_inputs import HR_PLACE, Asked, lists_of, write_lists, write_picture
from tests.test_classification import ARCHITECTURE, run
from tests.test_segmentation import save_checkpoint

ROOT = Path(__file__).parents[1]
FOREST, LAKE, BUILDING = range(3)
COLOURS = np.array([[40, 220, 40], [40, 40, 220], [220, 40, 40]], np.uint8)
CONCEPTS = [
    {"name": "forest", "phrases": ["forest"], "classes": ["Forest"]},
    {"name": "lake", "phrases": ["lake"], "classes": ["Lake"]},
    {"name": "building", "phrases": ["building"], "classes": ["Town"]},
    {"name": "water area", "includes": ["lake"], "phrases": []},
]

# Image 0: two lakes and three buildings in a forest. Image 1: one lake of 40 x 48 m in a forest.
RURAL = ("rural_urban", "Is it a rural or an urban area?")
QUESTIONS: dict[int, list[Asked]] = {
    0: [
        ("presence", "Is there a lake?", "yes"),
        ("presence", "Is a  small building present in the image?", "no"),
        ("count", "How many buildings are there?", "3"),
        ("count", "What is the number of water areas?", "2"),
        ("comp", "Are there less lakes than buildings?", "yes"),
        ("comp", "Is the number of lakes equal to the number of buildings?", "no"),
        ("area", "What is the area covered by lakes?", "1152m2"),
        (*RURAL, "urban"),
    ],
    1: [
        ("presence", "Is there a building?", "no"),
        ("presence", "Is there a lake?", "yes"),
        ("count", "How many lakes are there?", "1"),
        ("comp", "Are there more buildings than lakes?", "no"),
        ("area", "What is the area covered by lakes?", "1920m2"),
        (*RURAL, "rural"),
        ("count", "How many flying saucers came over?", "0"),
    ],
}
TRAIN: dict[int, list[Asked]] = {
    5: [
        ("presence", "Is there a lake?", "yes"),
        ("presence", "Is there a forest?", "yes"),
        ("presence", "Is there a building?", "no"),
        ("count", "How many lakes are there?", "3"),
        ("comp", "Are there less lakes than buildings?", "no"),
        ("area", "What is the area covered by lakes?", "0m2"),
        (*RURAL, "urban"),
    ]
}


def label_map(image: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    label = np.full((96, 128), FOREST, np.uint8)
    if image == 0:
        for row, column in ((8, 8), (64, 40)):
            label[row : row + 24, column : column + 24] = LAKE
        for row, column in ((8, 64), (56, 88), (8, 96)):
            label[row : row + 24, column : column + 24] = BUILDING
    else:
        label[24:72, 40:80] = LAKE
    return label


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher weights, encoders, concepts, and questions of the HR layout about painted images."""
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    save_file(create_clip(ARCHITECTURE, None).state_dict(), root / "teacher.safetensors")
    teacher = Teacher(ARCHITECTURE, str(root / "teacher.safetensors"))
    save_checkpoint(root / "colour.ckpt", teacher, kind="token-colour", level="pixel")
    save_checkpoint(root / "naip.ckpt", teacher, level="pixel")
    save_checkpoint(root / "sentinel.ckpt", teacher, "sentinel", level="pixel")
    (root / "three.yaml").write_text(yaml.safe_dump(CONCEPTS))
    classes = [{"id": i, "name": i.lower()} for i in ("Forest", "Lake", "Town")]
    (root / "classes.yaml").write_text(yaml.safe_dump({"classes": classes, "families": {"ground": ["{}"]}}))
    write_set(root / "hr")
    return root


def write_set(root: Path, **profile: Any) -> Path:
    write_lists(root, "hr", lists_of({"train": TRAIN, "test": QUESTIONS}))
    for image in QUESTIONS:
        write_picture(root, "hr", image, COLOURS[label_map(image)], **profile)
        tif(root / "labels" / f"{image}.tif", label_map(image), **HR_PLACE)
    return root


@pytest.fixture
def planted(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(world, monkeypatch)


def plant(world: Path, patch: pytest.MonkeyPatch) -> None:
    """A text tower that knows the colour of each word as the colour encoder sees it."""
    tiles = torch.from_numpy(COLOURS)[:, :, None, None].expand(-1, -1, 64, 64).contiguous()
    with torch.inference_mode():
        vectors = load_encoder(world / "colour.ckpt").encoder(tiles)
    words = [concept["name"] for concept in CONCEPTS[:3]]

    def encode_text(_: Teacher, texts: list[str]) -> torch.Tensor:
        known = [[words.index(word) for word in words if word in text] for text in texts]
        return torch.stack([vectors[numbers[0]] if numbers else -vectors.sum(0) for numbers in known])

    patch.setattr(Teacher, "encode_text", encode_text)


def module(world: Path, tmp_path: Path, **changes: Any) -> ZeroShotVQA:
    arguments: dict[str, Any] = {
        "dataset": "toy questions",
        "results": tmp_path / "results.json",
        "name": "pixel",
        "checkpoint": world / "colour.ckpt",
        "teacher": ARCHITECTURE,
        "teacher_weights": str(world / "teacher.safetensors"),
        "concepts": str(world / "three.yaml"),
        "calibration": None,
    }
    return ZeroShotVQA(**{**arguments, **changes})


def folder(world: Path, **changes: Any) -> RSVQAFolder:
    truth = {"labels": "labels", "label_classes": str(world / "classes.yaml")}
    return RSVQAFolder(**{"root": world / "hr", "layout": "hr", **truth, **changes})


def rows_of(tmp_path: Path) -> dict[str, ResultRow]:
    return {row["model"]: row for row in json.loads((tmp_path / "results.json").read_text())}


def answers_of(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "toy-questions_test_pixel_questions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# --- answers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answered(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one evaluation with every row."""
    out = tmp_path_factory.mktemp("answered")
    with pytest.MonkeyPatch.context() as patch:
        plant(world, patch)
        with pytest.warns(UserWarning, match="no program was written for: 1 .*flying saucers"):
            trainer = run(module(world, out, baseline=True), folder(world), out)
    assert float(trainer.callback_metrics["test/pixel/accuracy"]) == pytest.approx(14 / 15)
    return out


def test_planted_images_are_answered(world: Path, answered: Path) -> None:
    rows = rows_of(answered)
    assert list(rows) == ["pixel", "clip_baseline", "majority", "oracle"]
    for model in ("pixel", "oracle"):
        metrics = rows[model]["metrics"]
        wrong = [row for row in answers_of(answered) if row["type"] != "area" and row[model] != row["truth"]]
        assert [row["question"] for row in wrong] == ["How many flying saucers came over?"]
        assert {k: v for k, v in metrics.items() if k.startswith("accuracy_")} == {
            "accuracy_average": pytest.approx((1 + 1 + 1 + 3 / 4 + 1) / 5),
            "accuracy_presence": 1,
            "accuracy_comp": 1,
            "accuracy_area": 1,
            "accuracy_rural_urban": 1,
            "accuracy_count": 0.75,
            "accuracy_count_bucketed": 0.75,
        }
        assert metrics["accuracy"] == pytest.approx(14 / 15)
        assert (metrics["answered"], metrics["unparsed"], metrics["refused"]) == (pytest.approx(14 / 15), 1, 0)
    assert rows["oracle"]["metrics"]["confidence"] == 1
    assert 0.5 < rows["pixel"]["metrics"]["confidence"] < 1
    pixel = rows["pixel"]
    assert (pixel["task"], pixel["dataset"], pixel["split"], pixel["n"]) == ("vqa", "toy questions", "test", 15)
    assert pixel["model_sha256"] == load_encoder(world / "colour.ckpt").sha256
    assert (pixel["prompts"] or {})["name"] == "three"
    assert pixel["preprocessing"] == (
        "8-bit RGB as stored, units metres, urban by count above 2, resampled to 1 m if 10 % off, windows of 64 px "
        "every 32 px, tokens, uncalibrated"
    )
    assert "maskclip" in rows["clip_baseline"]["preprocessing"]
    for model in ("majority", "oracle"):
        assert (rows[model]["prompts"], rows[model]["model_sha256"]) == (None, None)


def test_every_question_is_listed_with_all_answers(answered: Path) -> None:
    rows = answers_of(answered)
    assert [(int(row["image_id"]), row["type"], row["question"], row["truth"]) for row in rows] == [
        (image, *asked) for image, questions in QUESTIONS.items() for asked in questions
    ]
    areas = [float(row["oracle"].removesuffix("m2")) for row in rows if row["type"] == "area"]
    assert areas == pytest.approx([1152, 1920], rel=2e-3)  # true metres: a metre of UTM is 0.9996 of one here
    saucers = next(row for row in rows if "saucers" in row["question"])
    assert (saucers["pixel"], saucers["pixel_confidence"], saucers["majority"]) == ("", "", "3")
    assert all(0 <= float(row["pixel_confidence"]) <= 1 for row in rows if row["pixel"])
    assert {row["majority_confidence"] for row in rows} == {""}


def test_the_majority_is_that_of_the_training_answers(answered: Path) -> None:
    metrics = rows_of(answered)["majority"]["metrics"]
    # yes; no; exactly 3, or between 0 and 10; 0m2; urban
    assert metrics["accuracy_presence"] == 0.5
    assert metrics["accuracy_comp"] == pytest.approx(2 / 3)
    assert (metrics["accuracy_count"], metrics["accuracy_count_bucketed"]) == (0.25, 0.75)
    assert (metrics["accuracy_area"], metrics["accuracy_rural_urban"]) == (0, 0.5)


@pytest.mark.usefixtures("planted")
def test_units_least_object_and_urban_rule_reach_the_programs(world: Path, tmp_path: Path) -> None:
    # At 40 degrees north an EPSG:3857 metre is 0.77 m: areas are 1.7 times as large.
    changes = {"units": "epsg3857", "urban": UrbanRule("count", 3), "oracle_least_px": 600}
    run(module(world, tmp_path, **changes), folder(world), tmp_path)
    found = {(row["image_id"], row["question"]): row["oracle"] for row in answers_of(tmp_path)}
    assert found["0", "How many buildings are there?"] == "0"
    assert found["0", "Is it a rural or an urban area?"] == "rural"
    area = float(found["1", "What is the area covered by lakes?"].removesuffix("m2"))
    assert area == pytest.approx(1920 / np.cos(np.deg2rad(39.93)) ** 2, rel=0.01)
    assert "units epsg3857, urban by count above 3" in rows_of(tmp_path)["pixel"]["preprocessing"]


def test_a_debug_run_writes_nothing(world: Path, tmp_path: Path) -> None:
    run(module(world, tmp_path), folder(world, labels=None, label_classes=None), tmp_path, fast_dev_run=True)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".json", ".csv")]


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.usefixtures("planted")
def test_images_that_cannot_be_read_are_left_out_counted_and_said(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_set(tmp_path / "mine")
    (root / "Data" / "0.tif").unlink()
    run(module(world, tmp_path), folder(world, root=root), tmp_path)
    rows = rows_of(tmp_path)
    assert {(row["n"], row["skipped"]) for row in rows.values()} == {(7, 1)}
    assert "image 0: " in caplog.text
    assert {row["image_id"] for row in answers_of(tmp_path)} == {"1"}
    (root / "Data" / "1.tif").unlink()
    with pytest.raises(GraftError, match="No image could be read, so nothing was answered"):
        run(module(world, tmp_path), folder(world, root=root), tmp_path)


@pytest.mark.usefixtures("planted")
def test_areas_without_georeference_are_not_guessed(world: Path, tmp_path: Path) -> None:
    root = write_set(tmp_path / "mine", crs=None, transform=None)
    with pytest.warns(UserWarning, match="Programs of pixel without an answer"):
        run(module(world, tmp_path, resample="native"), folder(world, root=root), tmp_path)
    metrics = rows_of(tmp_path)["pixel"]["metrics"]
    assert (metrics["accuracy_area"], metrics["accuracy_count"], metrics["refused"]) == (0, 0.75, 3)
    run(module(world, tmp_path), folder(world, root=root, gsd_m=1.0), tmp_path)
    assert [row["metrics"]["refused"] for row in rows_of(tmp_path).values() if "refused" in row["metrics"]] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": None, "baseline": True}, "resample: model needs a checkpoint"),
        ({"checkpoint": None}, "Nothing to evaluate"),
        ({"window": 50}, r"Window 50 and stride \d+ px"),
        ({"concepts": "nowhere"}, "No concepts 'nowhere'"),
        ({"teacher_weights": None}, r"was aligned to .* Give the teacher it was aligned to"),
        ({"calibration": "nowhere"}, "nowhere"),
    ],
)
def test_settings_that_do_not_fit(world: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GraftError, match=message):
        run(module(world, tmp_path, **changes), folder(world), tmp_path)
    assert not (tmp_path / "results.json").exists()


# --- processes and configurations -----------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(world: Path, tmp_path: Path) -> None:
    found = []
    for name, settings in (("one", {}), ("two", {"devices": 2, "strategy": "ddp_spawn"})):
        (tmp_path / name).mkdir()
        run(module(world, tmp_path / name, checkpoint=world / "naip.ckpt"), folder(world), tmp_path / name, **settings)
        rows = rows_of(tmp_path / name)
        found.append(({model: (row["n"], row["metrics"]) for model, row in rows.items()}, answers_of(tmp_path / name)))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("vqa_atlas", "lr"),
        pytest.param("rsvqa_lr", "lr", marks=pytest.mark.slow),
        pytest.param("rsvqa_hr", "hr", marks=pytest.mark.slow),
    ],
)
def test_shipped_configurations_run_from_the_command_line(world: Path, tmp_path: Path, name: str, layout: str) -> None:
    sensor = {"lr": "sentinel", "hr": "naip"}[layout]
    asked: dict[int, list[Asked]] = {
        0: [
            ("presence", "Is there a forest?", "yes"),
            ("count", "How many meadows are there?", "0"),
            ("comp", "Are there more forests than  meadows in the image?", "no"),
        ]
    }
    write_lists(tmp_path / "set", layout, lists_of({"test": asked, "train": asked}))
    write_picture(tmp_path / "set", layout, 0, np.zeros((80, 80, 3), np.uint8))
    tif(tmp_path / "set" / "labels" / "0.tif", np.zeros((80, 80), np.uint8))
    settings = {
        "model.init_args.checkpoint": world / f"{sensor}.ckpt",
        "model.init_args.results": tmp_path / "results.json",
        "model.init_args.teacher": ARCHITECTURE,
        "model.init_args.teacher_weights": world / "teacher.safetensors",
        "data.init_args.root": tmp_path / "set",
        "data.init_args.num_workers": 0,
        "trainer.default_root_dir": tmp_path,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
    }
    config = ROOT / "configs" / "eval" / f"{name}.yaml"
    main(["test", "--config", str(config), *(f"--{key}={value}" for key, value in settings.items())])
    rows = rows_of(tmp_path)
    assert list(rows) == ["pixel", "clip_baseline", "majority", *(["oracle"] if name == "vqa_atlas" else [])]
    assert rows["pixel"]["metrics"]["answered"] == 1
    assert rows["majority"]["metrics"]["accuracy"] == 1
    if name == "vqa_atlas":
        assert rows["oracle"]["metrics"]["accuracy_presence"] == 1
        assert "urban by cover above 0.2" in rows["oracle"]["preprocessing"]
