"""Search from files to result rows: planted answers for words and photos, the oracle, one process and two."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from datamodules import BigEarthNetFolder, GalleryFolder
from graft.checkpoint import load_encoder
from graft.errors import GraftError
from graft.prompts import load_prompts, text_vectors
from graft.retrieval_metrics import chance_at
from graft.teacher import Teacher
from lightning_modules import ZeroShotRetrieval
from main import main
from tests.test_benchmarks import write_patch
from tests.test_classification import (
    ARCHITECTURE,
    IDS,
    folder,
    noise,
    planted_words,
    rows_of,
    run,
    without_text_tower,
    world,
)

__all__ = ["world"]  # a fixture

# Share of each class in six tiles, and the subject of their photos.
MIXTURES = [(1.0, 0, 0), (0.6, 0.4, 0), (0, 1.0, 0), (0, 0.5, 0.5), (0.6, 0, 0.4), (0, 0.95, 0.05)]
SUBJECTS = [[0], [0, 1], [], [2], [0], [1]]


def module(world: Path, tmp_path: Path, **changes: Any) -> ZeroShotRetrieval:
    arguments: dict[str, Any] = {
        "dataset": "toy set",
        "results": tmp_path / "results.json",
        "checkpoint": world / "last.ckpt",
        "prompts": str(world / "three.yaml"),
        "teacher": ARCHITECTURE,
        "teacher_weights": str(world / "teacher.safetensors"),
    }
    return ZeroShotRetrieval(**{**arguments, **changes})


def write_gallery(root: Path, ids: tuple[str, ...] = IDS) -> dict[str, Any]:
    (root / "tiles").mkdir(parents=True)
    (root / "photos").mkdir()
    with (root / "mixtures.csv").open("w", newline="") as shares, (root / "photos.csv").open("w", newline="") as photos:
        csv.writer(shares).writerow(["tile", *ids])
        csv.writer(photos).writerow(["tile", "path", "subject"])
        for number, mixture in enumerate(MIXTURES):
            noise(number).save(root / "tiles" / f"t{number}.png")
            csv.writer(shares).writerow([f"t{number}", *mixture, *[0] * (len(ids) - 3)])
            for place, subject in enumerate(SUBJECTS[number]):
                noise(20 + 2 * number + place).save(root / "photos" / f"t{number}-{place}.png")
                csv.writer(photos).writerow([f"t{number}", f"photos/t{number}-{place}.png", ids[subject]])
    return {"root": root, "photos": root / "photos.csv", "photo_size": 64}


@pytest.fixture
def gallery(tmp_path: Path) -> dict[str, Any]:
    return write_gallery(tmp_path / "gallery")


def searched(world: Path, gallery: dict[str, Any], **changes: Any) -> GalleryFolder:
    return GalleryFolder(**{"classes": str(world / "three.yaml"), **gallery, **changes})


# --- answers --------------------------------------------------------------------------------------


def test_planted_words_find_their_tiles(world: Path, tmp_path: Path) -> None:
    """Forest: 4 tiles, one of which looks like River's only one; words look like the classes' tiles."""
    text = planted_words(world, (0, 1, 2), load_encoder(world / "last.ckpt").encoder, tmp_path / "text.safetensors")
    run(module(world, tmp_path, **without_text_tower(text)), folder(world, batch_size=2, classes=str(text)), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "chance"]
    aligned = rows["aligned"]["metrics"]
    details = json.loads((tmp_path / "toy-set_test_aligned_retrieval.json").read_text())
    # River's word finds River's tile and Forest's odd one, which are the same: tied at the first two ranks.
    assert details["map"][1] == pytest.approx(1 / 2)
    assert details["map_at_20_hits"][1] == details["map_at_20_min"][1] == pytest.approx((1 + 1 / 2) / 2)
    assert details["map"][2] == details["map_at_100_hits"][2] == 1
    assert details["images"] == [4, 1, 2]
    assert aligned["map_at_20_hits"] == pytest.approx(np.mean(details["map_at_20_hits"]))
    assert aligned["precision_at_20"] == pytest.approx((4 + 1 + 2) / 3 / 20)
    assert aligned["classes_skipped"] == 0
    assert rows["chance"]["metrics"]["map"] == pytest.approx(np.mean([chance_at(7, r, 7).all for r in (4, 1, 2)]))
    assert (rows["aligned"]["task"], rows["aligned"]["n"], rows["aligned"]["skipped"]) == ("retrieval", 7, 0)
    assert rows["aligned"]["prompts"] == {"name": "planted", "family": "tiles", "sha256": "0" * 64}
    assert (rows["chance"]["prompts"], rows["chance"]["model_sha256"]) == (None, None)


def test_patches_of_several_classes_and_families(world: Path, tmp_path: Path) -> None:
    """Against scikit-learn on the models' own cosines; SeaLake is in no patch and must not count as 0."""
    random = np.random.default_rng(3)
    for index, present in enumerate([["Forest"], ["River"], ["Forest", "River"], [], ["River"]]):
        write_patch(tmp_path / "ben", f"p{index}", present, random.integers(0, 3000, 3).tolist())
    arguments = (tmp_path / "ben", str(world / "three.yaml"), "sentinel")
    data = BigEarthNetFolder(*arguments, batch_size=2)
    run(module(world, tmp_path, families=["satellite", "ground"], baseline=True), data, tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "chance"]
    data = BigEarthNetFolder(*arguments, batch_size=5)
    data.setup("test")
    (batch,) = data.test_dataloader()
    teacher = Teacher(ARCHITECTURE, str(world / "teacher.safetensors"))
    for name, encode in (("aligned", load_encoder(world / "last.ckpt").encoder), ("clip_baseline", teacher.tower)):
        metrics = rows[name]["metrics"]
        for family, suffix in (("satellite", ""), ("ground", "_ground")):
            words = text_vectors(teacher.encode_text, load_prompts(world / "three.yaml"), family)
            with torch.inference_mode():
                scores = (encode(batch.tile) @ words.T).numpy()
            each = [average_precision_score(batch.label[:, c], scores[:, c]) for c in (0, 1)]
            assert metrics[f"map{suffix}"] == pytest.approx(np.mean(each), abs=1e-6)
            assert metrics[f"map_at_100_hits{suffix}"] == pytest.approx(np.mean(each), abs=1e-6)
        assert metrics["classes_skipped"] == 1
        assert "classes_skipped_ground" not in metrics


def test_planted_photos_find_their_tiles_and_the_oracle_its_ties(
    world: Path, tmp_path: Path, gallery: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = searched(world, gallery)
    data.setup("test")
    (batch,) = data.test_dataloader()
    with torch.inference_mode():
        tiles = load_encoder(world / "last.ckpt").encoder(batch.tile)
    # Photos in order are of the tiles 0, 1, 1, 3, 4, 5; the third looks like tile 2, the sixth like tile 0.
    monkeypatch.setattr(ZeroShotRetrieval, "photo_vectors", lambda *_: tiles[[0, 1, 2, 3, 4, 0]])
    run(module(world, tmp_path, baseline=True), searched(world, gallery), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "chance", "oracle"]
    aligned = rows["aligned"]["metrics"]
    assert aligned["photos"] == 6
    assert aligned["recall_at_1"] == pytest.approx(4 / 6)
    assert aligned["recall_at_10"] == 1
    # Tile 0 is tied between its own photo and tile 5's; 1, 3 and 4 find theirs; 5 does not; 2 has none.
    assert aligned["tile_to_photo_recall_at_1"] == pytest.approx((1 / 2 + 1 + 1 + 1 + 0) / 5)
    assert rows["chance"]["metrics"]["recall_at_1"] == pytest.approx(1 / 6)
    assert rows["chance"]["metrics"]["recall_at_5"] == pytest.approx(5 / 6)
    oracle = rows["oracle"]["metrics"]
    # Forest photos of 0 (first alone), 1 and 4 (behind 0, tied); River of 1 (fourth) and 5 (second); SeaLake of 3.
    assert oracle["recall_at_1"] == pytest.approx((1 + 0 + 0 + 0 + 1 + 0) / 6)
    assert oracle["recall_at_5"] == 1
    # Tile 0 likes the three Forest photos alike, 1 does with Forest on top, one of them its own; 3 likes the SeaLake
    # photo, its own, as much as the two River photos; 4 as 1; 5 likes two River photos, one its own.
    assert oracle["tile_to_photo_recall_at_1"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 3 + 1 / 3 + 1 / 2) / 5)
    assert "map" not in oracle
    assert (rows["oracle"]["prompts"], rows["oracle"]["model_sha256"], rows["oracle"]["n"]) == (None, None, 6)


def test_photos_without_a_teacher_are_not_searched_with(world: Path, tmp_path: Path, gallery: dict[str, Any]) -> None:
    text = planted_words(world, (0, 1, 2), load_encoder(world / "last.ckpt").encoder, tmp_path / "text.safetensors")
    with pytest.warns(UserWarning, match="nobody looks at them without a teacher"):
        run(module(world, tmp_path, **without_text_tower(text)), searched(world, gallery, classes=str(text)), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "chance"]
    assert "recall_at_1" not in rows["aligned"]["metrics"]


def test_unreadable_photos_and_tiles_cost_themselves(world: Path, tmp_path: Path, gallery: dict[str, Any]) -> None:
    (gallery["root"] / "photos" / "t1-0.png").write_bytes(b"\x89PNG")
    (gallery["root"] / "tiles" / "t0.png").write_bytes(b"\x89PNG")
    run(module(world, tmp_path), searched(world, gallery, batch_size=1), tmp_path)
    rows = rows_of(tmp_path)
    assert (rows["aligned"]["n"], rows["aligned"]["skipped"], rows["aligned"]["metrics"]["photos"]) == (5, 1, 4)
    # Left: River of tile 1 (third), SeaLake of 3 (first), Forest of 4 (tied with tile 1), River of 5 (second).
    assert rows["oracle"]["metrics"]["recall_at_1"] == pytest.approx((0 + 1 + 1 / 2 + 0) / 4)


def test_no_readable_photo_leaves_the_words(world: Path, tmp_path: Path, gallery: dict[str, Any]) -> None:
    for path in (gallery["root"] / "photos").iterdir():
        path.write_bytes(b"\x89PNG")
    with pytest.warns(UserWarning, match="No photo could be read"):
        run(module(world, tmp_path), searched(world, gallery), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "chance"]
    assert "map" in rows["aligned"]["metrics"]


def test_nothing_to_find_is_an_error(world: Path, tmp_path: Path) -> None:
    write_patch(tmp_path / "ben", "p0", [], [0, 0, 0])
    with pytest.raises(GraftError, match="nothing to find"):
        run(
            module(world, tmp_path),
            BigEarthNetFolder(tmp_path / "ben", str(world / "three.yaml"), "sentinel"),
            tmp_path,
        )
    assert not (tmp_path / "results.json").exists()


# --- processes and configurations -----------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(world: Path, tmp_path: Path, gallery: dict[str, Any]) -> None:
    found = []
    for name, settings in (("one", {}), ("two", {"devices": 2, "strategy": "ddp_spawn"})):
        (tmp_path / name).mkdir()
        run(
            module(world, tmp_path / name, baseline=True),
            searched(world, gallery, batch_size=2),
            tmp_path / name,
            **settings,
        )
        found.append({model: (row["n"], row["metrics"]) for model, row in rows_of(tmp_path / name).items()})
    assert list(found[0]) == ["aligned", "clip_baseline", "chance", "oracle"]
    assert found[1] == found[0]


@pytest.mark.parametrize("name", ["retrieval_atlas", "retrieval_eurosat", "retrieval_bigearthnet"])
def test_shipped_configurations_run_from_the_command_line(world: Path, tmp_path: Path, name: str) -> None:
    ids = load_prompts(name.removeprefix("retrieval_")).ids
    settings: dict[str, Any] = {"data.init_args.root": tmp_path / "set"}
    if name == "retrieval_atlas":
        settings |= {f"data.init_args.{key}": value for key, value in write_gallery(tmp_path / "set", ids).items()}
    else:
        settings["data.init_args.image_size"] = 130
    for index, label in enumerate(ids[:10] if name == "retrieval_eurosat" else ()):
        (tmp_path / "set" / "2750" / label).mkdir(parents=True)
        noise(index).save(tmp_path / "set" / "2750" / label / f"p{index}.png")
    if name == "retrieval_bigearthnet":
        settings["data.init_args.split"] = tmp_path / "test.csv"
        (tmp_path / "test.csv").write_text("p0\np1\n")
        for index in range(3):
            write_patch(tmp_path / "set" / "BigEarthNet-v1.0", f"p{index}", [ids[20], ids[28]], (100 * index, 0, 900))
    settings |= {
        "model.init_args.checkpoint": world / "last.ckpt",
        "model.init_args.results": tmp_path / "results.json",
        "model.init_args.teacher": ARCHITECTURE,
        "model.init_args.teacher_weights": world / "teacher.safetensors",
        "data.init_args.num_workers": 0,
        "trainer.default_root_dir": tmp_path,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
    }
    config = Path(__file__).parents[1] / "configs" / "eval" / f"{name}.yaml"
    main(["test", "--config", str(config), *(f"--{key}={value}" for key, value in settings.items())])
    rows = rows_of(tmp_path)
    atlas = name == "retrieval_atlas"
    assert list(rows) == ["aligned", "clip_baseline", "chance", *(["oracle"] if atlas else [])]
    assert {"map_at_20_hits", "map_at_100_min", "map_satellite"} <= set(rows["aligned"]["metrics"])
    assert ("recall_at_10" in rows["aligned"]["metrics"]) == atlas
    assert (rows["aligned"]["task"], rows["aligned"]["seed"]) == ("retrieval", 0)
