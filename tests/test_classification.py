"""The evaluation from files to result rows: planted answers, faults told in one sentence, one process and two."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import LightningDataModule, Trainer
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import average_precision_score

from datamodules import BigEarthNetFolder, ClassificationFolder
from graft.checkpoint import checkpoint_card, load_encoder
from graft.clip import create_clip
from graft.encoders import encoder_from_clip
from graft.errors import GraftError
from graft.labelled import LabelledFolder
from graft.prompts import TextVectors, load_prompts, load_text_vectors, save_text_vectors, text_vectors
from graft.results import ResultRow
from graft.teacher import Teacher
from lightning_modules import ZeroShotClassification
from main import main
from tests.test_benchmarks import write_patch

ARCHITECTURE = "graft-atlas"
IDS = ("Forest", "River", "SeaLake")


def noise(seed: int) -> Image.Image:
    """A tile of its own texture; tiles of one seed are the same tile."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher weights, a checkpoint of another encoder, words, and a benchmark whose tiles are class prototypes."""
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    save_file(create_clip(ARCHITECTURE, None).state_dict(), root / "teacher.safetensors")
    teacher = Teacher(ARCHITECTURE, str(root / "teacher.safetensors"))
    encoder, config = encoder_from_clip(ARCHITECTURE, None)
    card = checkpoint_card(config, sensor="sentinel", radiometry="", teacher=teacher.card, logit_scale=14.0)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state, "graft": card, "global_step": 3}, root / "last.ckpt")

    classes = [{"id": label, "name": label.lower()} for label in IDS]
    families = {"ground": ["a photo of {}.", "{}"], "satellite": ["a satellite photo of {}."]}
    (root / "three.yaml").write_text(json.dumps({"classes": classes, "families": families}))

    # Forest: 4 tiles, one of which looks like River; River: 1; SeaLake: 2.
    looks = {"Forest": [0, 0, 0, 1], "River": [1], "SeaLake": [2, 2]}
    lines = ["tile,path"]
    for label, seeds in looks.items():
        (root / "eurosat" / "2750" / label).mkdir(parents=True)
        for number, seed in enumerate(seeds):
            noise(seed).save(root / "eurosat" / "2750" / label / f"{label}_{number}.png")
            if number < 2:
                noise(10 + IDS.index(label)).save(root / "eurosat" / f"{label}_{number}_photo.png")
                lines.append(f"{label}_{number},{label}_{number}_photo.png")
    (root / "eurosat" / "photos.csv").write_text("\n".join(lines))
    return root


def planted_words(world: Path, seeds: tuple[int, ...], encode: Any, path: Path) -> Path:
    """A text-vector file whose class vectors are those of the class's own tile."""
    tiles = torch.stack([torch.from_numpy(np.array(noise(seed))).permute(2, 0, 1) for seed in seeds])
    identity = load_encoder(world / "last.ckpt").teacher["identity"]
    card = {"name": "planted", "family": "tiles", "sha256": "0" * 64}
    with torch.inference_mode():
        save_text_vectors(path, TextVectors(IDS, encode(tiles), card, identity))
    return path


def run(model: ZeroShotClassification, data: LightningDataModule, tmp_path: Path, **settings: Any) -> Trainer:
    defaults = {"accelerator": "cpu", "devices": 1, "use_distributed_sampler": False}
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = Trainer(default_root_dir=tmp_path, **{**defaults, **quiet, **settings})
    trainer.test(model, data, verbose=False)
    return trainer


def module(world: Path, tmp_path: Path, **changes: Any) -> ZeroShotClassification:
    arguments: dict[str, Any] = {
        "dataset": "toy set",
        "results": tmp_path / "results.json",
        "checkpoint": world / "last.ckpt",
        "prompts": str(world / "three.yaml"),
        "teacher": ARCHITECTURE,
        "teacher_weights": str(world / "teacher.safetensors"),
    }
    return ZeroShotClassification(**{**arguments, **changes})


def without_text_tower(text_file: Path) -> dict[str, Any]:
    return {"prompts": None, "teacher": None, "teacher_weights": None, "text_vectors": text_file}


def folder(world: Path, **changes: Any) -> ClassificationFolder:
    return ClassificationFolder(**{"root": world / "eurosat", "classes": str(world / "three.yaml"), **changes})


def rows_of(tmp_path: Path) -> dict[str, ResultRow]:
    rows = json.loads((tmp_path / "results.json").read_text())
    return {row["model"]: row for row in rows}


# --- answers --------------------------------------------------------------------------------------


def test_planted_single_label_answers(world: Path, tmp_path: Path) -> None:
    text = planted_words(world, (0, 1, 2), load_encoder(world / "last.ckpt").encoder, tmp_path / "text.safetensors")
    model = module(world, tmp_path, **without_text_tower(text))
    run(model, folder(world, batch_size=2, classes=str(text)), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "chance"]
    aligned = rows["aligned"]
    assert aligned["metrics"] == pytest.approx(
        {
            "top1": 6 / 7,
            "top1_macro": (3 / 4 + 1 + 1) / 3,
            "classes_skipped": 0,
            "accuracy_Forest": 3 / 4,
            "accuracy_River": 1,
            "accuracy_SeaLake": 1,
        }
    )
    assert (aligned["task"], aligned["dataset"], aligned["n"], aligned["skipped"]) == (
        "classification",
        "toy set",
        7,
        0,
    )
    assert aligned["prompts"] == {"name": "planted", "family": "tiles", "sha256": "0" * 64}
    assert aligned["model_sha256"] == load_encoder(world / "last.ckpt").sha256
    assert aligned["preprocessing"] == "8-bit RGB as stored, native size"
    assert rows["chance"]["metrics"] == pytest.approx({"top1": 1 / 3, "top1_macro": 1 / 3})
    assert (rows["chance"]["prompts"], rows["chance"]["model_sha256"]) == (None, None)

    details = json.loads((tmp_path / "toy-set_test_aligned_per_class.json").read_text())
    assert details["confusion"] == [[3, 1, 0], [0, 1, 0], [0, 0, 2]]
    assert details["images"] == [4, 1, 2]
    with Image.open(tmp_path / "toy-set_test_aligned_confusion.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 300


def test_planted_multi_label_answers(world: Path, tmp_path: Path) -> None:
    """Against scikit-learn on the encoder's own cosines; SeaLake is in no patch and must not count as 0."""
    labels = [["Forest"], ["River"], ["Forest", "River"], [], ["River"]]
    random = np.random.default_rng(3)
    for index, present in enumerate(labels):
        write_patch(tmp_path / "ben", f"p{index}", present, random.integers(0, 3000, 3).tolist())
    run(
        module(world, tmp_path, families=["satellite", "ground"], baseline=True),
        BigEarthNetFolder(tmp_path / "ben", str(world / "three.yaml"), "sentinel", batch_size=2),
        tmp_path,
    )
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "chance"]

    data = BigEarthNetFolder(tmp_path / "ben", str(world / "three.yaml"), "sentinel", batch_size=5)
    data.setup("test")
    (batch,) = data.test_dataloader()
    teacher = Teacher(ARCHITECTURE, str(world / "teacher.safetensors"))
    truth = batch.label.numpy()
    for name, encode in (
        ("aligned", load_encoder(world / "last.ckpt").encoder),
        ("clip_baseline", teacher.encode_image),
    ):
        metrics = rows[name]["metrics"]
        for family, suffix in (("satellite", ""), ("ground", "_ground")):
            words = text_vectors(teacher.encode_text, load_prompts(world / "three.yaml"), family)
            with torch.inference_mode():
                scores = (encode(batch.tile) @ words.T).numpy()
            each = [average_precision_score(truth[:, c], scores[:, c]) for c in (0, 1)]
            assert metrics[f"map_macro{suffix}"] == pytest.approx(np.mean(each), abs=1e-6)
            micro = average_precision_score(truth.ravel(), scores.ravel())
            assert metrics[f"map_micro{suffix}"] == pytest.approx(micro, abs=1e-6)
        assert metrics["classes_skipped"] == 1
        assert "ap_SeaLake" not in metrics
        assert (rows[name]["task"], rows[name]["n"]) == ("multilabel", 5)
    assert rows["chance"]["metrics"] == pytest.approx({"map_macro": (2 / 5 + 3 / 5) / 2, "map_micro": 5 / 15})


def test_ceiling_is_the_mean_photo_of_each_tile_that_has_one(world: Path, tmp_path: Path) -> None:
    teacher = Teacher(ARCHITECTURE, str(world / "teacher.safetensors"))
    # The photos' classes are planted as words, so the ceiling is perfect, on the five tiles that have photos.
    text = planted_words(world, (10, 11, 12), teacher.encode_image, tmp_path / "text.safetensors")
    photos = world / "eurosat" / "photos.csv"
    model = module(world, tmp_path, prompts=None, text_vectors=text, baseline=True)
    run(model, folder(world, photos=photos, photo_size=64, batch_size=3), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "ceiling", "chance"]
    assert rows["ceiling"]["metrics"]["top1"] == 1
    assert (rows["ceiling"]["n"], rows["aligned"]["n"]) == (5, 7)
    assert rows["ceiling"]["model_sha256"] == rows["clip_baseline"]["model_sha256"] == teacher.identity


def test_words_left_behind_give_the_same_answers_without_a_text_tower(world: Path, tmp_path: Path) -> None:
    run(module(world, tmp_path, families=["satellite"]), folder(world), tmp_path)
    text = tmp_path / "toy-set_test_text.safetensors"
    assert load_text_vectors(text).card == load_prompts(world / "three.yaml").card("satellite")
    before = rows_of(tmp_path)["aligned"]
    run(module(world, tmp_path, **without_text_tower(text)), folder(world), tmp_path)
    after = rows_of(tmp_path)["aligned"]
    assert after == before
    assert len(json.loads((tmp_path / "results.json").read_text())) == 2  # replaced, not repeated


def test_baseline_alone_needs_no_checkpoint(world: Path, tmp_path: Path) -> None:
    run(module(world, tmp_path, checkpoint=None, baseline=True), folder(world), tmp_path)
    assert list(rows_of(tmp_path)) == ["clip_baseline", "chance"]


def test_a_debug_run_writes_no_rows(world: Path, tmp_path: Path) -> None:
    run(module(world, tmp_path), folder(world), tmp_path, fast_dev_run=True)
    assert not (tmp_path / "results.json").exists()


def test_logged_figures_are_the_rows(world: Path, tmp_path: Path) -> None:
    trainer = run(module(world, tmp_path, name="mine"), folder(world), tmp_path)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert logged["test/mine/top1_macro"] == pytest.approx(rows_of(tmp_path)["mine"]["metrics"]["top1_macro"])
    assert logged["test/chance/top1"] == pytest.approx(1 / 3)


def test_text_vectors_are_in_no_state_dict(world: Path, tmp_path: Path) -> None:
    model = module(world, tmp_path)
    run(model, folder(world), tmp_path)
    assert not [name for name in model.state_dict() if not name.startswith("encoder.")]


# --- what goes wrong ------------------------------------------------------------------------------


def test_unreadable_tiles_are_left_out_counted_and_said(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label in IDS:
        (tmp_path / "2750" / label).mkdir(parents=True)
        for number in range(2):
            noise(number).save(tmp_path / "2750" / label / f"{label}_{number}.png")
    (tmp_path / "2750" / "River" / "River_1.png").write_bytes(b"\x89PNG")
    # Batches of one: the bad tile makes a batch of nothing.
    run(module(world, tmp_path), folder(world, root=tmp_path, batch_size=1), tmp_path)
    aligned = rows_of(tmp_path)["aligned"]
    assert (aligned["n"], aligned["skipped"]) == (5, 1)
    assert "River_1" in caplog.text


def test_nothing_readable_is_an_error(world: Path, tmp_path: Path) -> None:
    for label in IDS:
        (tmp_path / "2750" / label).mkdir(parents=True)
        (tmp_path / "2750" / label / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(GraftError, match="No image was scored"):
        run(module(world, tmp_path), folder(world, root=tmp_path), tmp_path)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": None}, "The words come from prompts or from text_vectors"),
        ({"text_vectors": Path("t.safetensors")}, "The words come from prompts or from text_vectors"),
        ({"prompts": None, "text_vectors": Path("t.safetensors"), "families": ["ground"]}, "holds one family"),
        ({"teacher": None}, "need the teacher"),
        ({"checkpoint": None}, "Nothing to evaluate"),
    ],
)
def test_arguments_that_contradict_each_other(
    world: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(GraftError, match=message):
        module(world, tmp_path, **changes)


def test_data_of_other_classes(world: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(
        json.dumps({"classes": [{"id": i, "name": i} for i in IDS[::-1]], "families": {"ground": ["{}"]}})
    )
    with pytest.raises(GraftError, match=r"Forest, River, SeaLake, the data of SeaLake, River, Forest"):
        run(module(world, tmp_path), folder(world, classes=str(tmp_path / "other.yaml")), tmp_path)


def test_words_of_another_teacher(world: Path, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"last\.ckpt was aligned to .* Give the teacher it was aligned to"):
        run(module(world, tmp_path, teacher_weights=None), folder(world), tmp_path)


def test_words_of_another_width(world: Path, tmp_path: Path) -> None:
    card = {"name": "x", "family": "file", "sha256": ""}
    save_text_vectors(tmp_path / "t.safetensors", TextVectors(IDS, torch.eye(3, 64), card, None))
    with pytest.raises(GraftError, match=r"\(D=128, \w+\), but the words come from .*t\.safetensors \(D=64, unknown\)"):
        run(module(world, tmp_path, **without_text_tower(tmp_path / "t.safetensors")), folder(world), tmp_path)


def test_a_checkpoint_of_another_architecture(world: Path, tmp_path: Path) -> None:
    content = torch.load(world / "last.ckpt", weights_only=True)
    content["graft"]["encoder"]["vision_cfg"]["width"] = 64
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(GraftError, match=r"weights in .*other\.ckpt do not fit the architecture"):
        run(module(world, tmp_path, checkpoint=tmp_path / "other.ckpt"), folder(world), tmp_path)


# --- processes and configurations -----------------------------------------------------------------


def test_two_processes_give_the_rows_of_one(world: Path, tmp_path: Path) -> None:
    photos = world / "eurosat" / "photos.csv"
    found = []
    # Lightning's own sampler is left on: it must not share the share out again.
    for name, settings in (
        ("one", {}),
        ("two", {"devices": 2, "strategy": "ddp_spawn", "use_distributed_sampler": True}),
    ):
        (tmp_path / name).mkdir()
        model = module(world, tmp_path / name, baseline=True)
        run(model, folder(world, photos=photos, photo_size=64, batch_size=2), tmp_path / name, **settings)
        rows = rows_of(tmp_path / name)
        assert len(rows) == 4
        found.append({model: (row["n"], row["metrics"]) for model, row in rows.items()})
    assert found[0]["aligned"][0] == len(LabelledFolder(world / "eurosat", IDS))
    assert found[1] == found[0]


@pytest.mark.parametrize("name", ["eurosat", "atlas", "atlas_multilabel"])
def test_shipped_configurations_run_from_the_command_line(world: Path, tmp_path: Path, name: str) -> None:
    ids = load_prompts(name.split("_")[0]).ids
    for index, label in enumerate(ids):
        if name == "atlas_multilabel":
            write_patch(tmp_path / "set" / "BigEarthNet-v1.0", f"p{index}", [label], (100 * index, 0, 900))
        else:
            (tmp_path / "set" / "2750" / label).mkdir(parents=True)
            noise(index).save(tmp_path / "set" / "2750" / label / f"p{index}.png")
    noise(0).save(tmp_path / "photo.png")
    (tmp_path / "photos.csv").write_text("tile,path\np0,photo.png\np1,photo.png\n")
    settings = {
        "model.init_args.checkpoint": world / "last.ckpt",
        "model.init_args.results": tmp_path / "results.json",
        "model.init_args.teacher": ARCHITECTURE,
        "model.init_args.teacher_weights": world / "teacher.safetensors",
        "data.init_args.root": tmp_path / "set",
        "data.init_args.photos": tmp_path / "photos.csv",
        "data.init_args.photo_size": 64,
        "data.init_args.num_workers": 0,
        "trainer.default_root_dir": tmp_path,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
    }
    config = Path(__file__).parents[1] / "configs" / "eval" / f"{name}.yaml"
    main(["test", "--config", str(config), *(f"--{key}={value}" for key, value in settings.items())])
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "ceiling", "chance"]
    assert (rows["aligned"]["n"], rows["ceiling"]["n"]) == (len(ids), 2)
    assert rows["aligned"]["seed"] == 0
    assert {"map_macro_described", "top1_macro_described"} & set(rows["aligned"]["metrics"])
