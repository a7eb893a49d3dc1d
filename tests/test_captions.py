"""Captions from files to result rows: the layout of RSICD, RSITMD and UCM captions, planted answers, faults."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from datamodules import CaptionFolder
from graft.captions import CaptionedImages, caption_card, flatten_captions
from graft.checkpoint import load_encoder
from graft.errors import GraftError
from graft.recall import recall_both_ways
from graft.retrieval_metrics import chance_at
from graft.teacher import Teacher
from lightning_modules import CaptionRetrieval
from main import main
from tests.test_classification import ARCHITECTURE, noise, rows_of, run, world

__all__ = ["world"]  # a fixture

SENTENCES = {
    "a_1.jpg": ["many planes are parked .", "planes  at an airport .", "an airport ."],
    "b_1.jpg": ["a green forest .", "an airport ."],
    "b_2.jpg": ["a green forest .", "trees ."],
    "c_1.jpg": ["the sea ."],
}


def entry(name: str, sentences: list[str], split: str = "test") -> dict[str, Any]:
    raw = [{"tokens": text.split(), "raw": text, "imgid": 0, "sentid": 0} for text in sentences]
    return {"filename": name, "imgid": 0, "sentences": raw, "split": split, "sentids": [0]}


def write_set(folder: Path, images: list[dict[str, Any]]) -> dict[str, Path]:
    (folder / "images").mkdir(parents=True)
    for number, image in enumerate(images):
        noise(number).save(folder / "images" / image["filename"], quality=95)
    (folder / "dataset.json").write_text(json.dumps({"images": images, "dataset": "toy"}))
    return {"root": folder / "images", "captions": folder / "dataset.json"}


@pytest.fixture
def toy(tmp_path: Path) -> dict[str, Path]:
    images = [entry(name, sentences) for name, sentences in SENTENCES.items()]
    return write_set(tmp_path / "toy", [entry("train.jpg", ["a field ."], "train"), *images])


# --- reading --------------------------------------------------------------------------------------


def test_a_split_is_read_in_the_order_of_the_file(toy: dict[str, Path]) -> None:
    images = CaptionedImages(**toy, split="test")
    assert images.names == list(SENTENCES)
    assert images.captions[0] == ("many planes are parked .", "planes at an airport .", "an airport .")
    assert images.labels.tolist() == [0, 1, 2, 3]
    assert images[3].tile is not None
    assert len(CaptionedImages(**toy, split=None)) == 5
    with pytest.raises(GraftError, match="no image of the split 'val'; it has: test, train"):
        CaptionedImages(**toy, split="val")


def test_sentences_without_words_are_left_out_and_counted(tmp_path: Path) -> None:
    files = write_set(tmp_path / "set", [entry("a.png", ["", " \n", "a lake ."]), entry("b.png", [" "])])
    images = CaptionedImages(**files, split="test")
    assert images.captions == (("a lake .",),)
    assert images.left_out.counts == {"sentences without a word": 3, "images without a sentence": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "holds no captions"),
        ('{"pictures": []}', "holds no captions"),
        ('{"images": []}', "it has: no image"),
        ('{"images": {"a": 1}}', r"images\[0\]: the file name is None"),
        ('{"images": [3]}', r"images\[0\]: no object"),
        ('{"images": [{"filename": "../../etc/passwd", "sentences": []}]}', "leads out of the folder"),
        ('{"images": [{"filename": "/etc/passwd", "sentences": []}]}', "leads out of the folder"),
        ('{"images": [{"filename": "a.jpg", "sentences": "a lake"}]}', "the sentences are str"),
        ('{"images": [{"filename": "a.jpg", "sentences": [{"raw": 3}]}]}', "a sentence has no text"),
        ('{"images": [{"filename": "a.jpg", "sentences": [], "split": "test"}]}', "has a sentence"),
    ],
)
def test_files_of_another_form_are_told_in_a_sentence(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(GraftError, match=message):
        CaptionedImages(tmp_path, tmp_path / "dataset.json", split="test")


def test_absent_files_are_told(tmp_path: Path, toy: dict[str, Path]) -> None:
    with pytest.raises(GraftError, match=r"No caption file at .*none\.json"):
        CaptionedImages(toy["root"], tmp_path / "none.json", split="test")
    with pytest.raises(GraftError, match="No benchmark folder"):
        CaptionedImages(tmp_path / "none", toy["captions"], split="test")


def test_captions_are_flattened_to_different_sentences() -> None:
    sentences, sentence_of, owner_of = flatten_captions([("x", "y"), ("y",), ("z", "x", "z")])
    assert sentences == ["x", "y", "z"]
    assert sentence_of.tolist() == [0, 1, 1, 2, 0, 2]
    assert owner_of.tolist() == [0, 0, 1, 2, 2, 2]
    cards = [caption_card("toy", captions)["sha256"] for captions in ([("x", "y"), ("y",)], [("x",), ("y", "y")])]
    assert cards[0] != cards[1]


# --- rows -----------------------------------------------------------------------------------------


def module(world: Path, tmp_path: Path, **changes: Any) -> CaptionRetrieval:
    arguments: dict[str, Any] = {
        "dataset": "toy captions",
        "results": tmp_path / "results.json",
        "checkpoint": world / "last.ckpt",
        "teacher": ARCHITECTURE,
        "teacher_weights": str(world / "teacher.safetensors"),
    }
    return CaptionRetrieval(**{**arguments, **changes})


def test_rows_are_recall_on_the_models_own_vectors(world: Path, tmp_path: Path, toy: dict[str, Path]) -> None:
    data = CaptionFolder(**toy, fit="native", batch_size=3)
    run(module(world, tmp_path, baseline=True), data, tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "chance"]
    teacher = Teacher(ARCHITECTURE, str(world / "teacher.safetensors"))
    (batch,) = read(toy)
    texts = [" ".join(text.split()) for group in SENTENCES.values() for text in group]
    owner = torch.tensor([n for n, group in enumerate(SENTENCES.values()) for _ in group])
    words = teacher.encode_text(texts)
    for name, encode in (("aligned", load_encoder(world / "last.ckpt").encoder), ("clip_baseline", teacher.tower)):
        with torch.inference_mode():
            expected = recall_both_ways(words, owner, encode(batch.tile), torch.arange(4), "caption")
        metrics = rows[name]["metrics"]
        assert metrics == pytest.approx(
            {**expected, "captions": 8, "mean_recall": sum(expected.values()) / 6}, abs=1e-6
        )
    chance = rows["chance"]["metrics"]
    assert chance["recall_at_1"] == pytest.approx(chance_at(4, 1, 1).precision)
    assert chance["tile_to_caption_recall_at_1"] == pytest.approx(8 / 8 / 4)
    assert chance["recall_at_5"] == 1
    aligned = rows["aligned"]
    assert (aligned["task"], aligned["n"], aligned["skipped"]) == ("retrieval", 4, 0)
    assert aligned["prompts"] == caption_card("toy captions", data.captions)
    assert aligned["preprocessing"] == "8-bit RGB as stored, native size"
    assert (rows["chance"]["prompts"], rows["chance"]["model_sha256"]) == (None, None)


def read(toy: dict[str, Path]) -> Any:
    data = CaptionFolder(**toy, fit="native")
    data.setup("test")
    return list(data.test_dataloader())


def test_planted_captions_are_found(
    world: Path, tmp_path: Path, toy: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (batch,) = read(toy)
    with torch.inference_mode():
        tiles = load_encoder(world / "last.ckpt").encoder(batch.tile)
    # Of image 1's two sentences one is also image 2's and one image 0's; each sentence is the vector of one image.
    meant = {"many planes are parked .": 0, "planes at an airport .": 0, "an airport .": 0, "a green forest .": 1}
    meant |= {"trees .": 2, "the sea .": 3}
    monkeypatch.setattr(Teacher, "encode_text", lambda _, texts: tiles[[meant[text] for text in texts]])
    run(module(world, tmp_path), CaptionFolder(**toy, fit="native", batch_size=2), tmp_path)
    metrics = rows_of(tmp_path)["aligned"]["metrics"]
    # Sentences: three of image 0 hit; forest hits for image 1 and not for 2; airport of image 1 misses; two more hit.
    assert metrics["recall_at_1"] == pytest.approx(6 / 8)
    # Images: 0 has four sentences on top, three its own; 1 has forest twice, one of them its own; 2 and 3 hit.
    assert metrics["tile_to_caption_recall_at_1"] == pytest.approx((3 / 4 + 1 / 2 + 1 + 1) / 4)


def test_captions_of_unreadable_images_are_not_searched_with(
    world: Path, tmp_path: Path, toy: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (toy["root"] / "b_1.jpg").write_bytes(b"\xff\xd8")
    (toy["root"] / "c_1.jpg").unlink()
    run(module(world, tmp_path), CaptionFolder(**toy, fit="native", batch_size=1), tmp_path)
    row = rows_of(tmp_path)["aligned"]
    assert (row["n"], row["skipped"], row["metrics"]["captions"]) == (2, 2, 5)
    assert "c_1.jpg" in caplog.text


def test_nothing_readable_is_an_error(world: Path, tmp_path: Path, toy: dict[str, Path]) -> None:
    for path in toy["root"].iterdir():
        path.unlink()
    with pytest.raises(GraftError, match="No image could be read"):
        run(module(world, tmp_path), CaptionFolder(**toy, fit="native"), tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_a_teacher_of_another_encoder_is_refused(world: Path, tmp_path: Path, toy: dict[str, Path]) -> None:
    with pytest.raises(GraftError, match=r"was aligned to .* Give the teacher it was aligned to"):
        run(module(world, tmp_path, teacher_weights=None), CaptionFolder(**toy), tmp_path)


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(world: Path, tmp_path: Path, toy: dict[str, Path]) -> None:
    found = []
    for name, settings in (("one", {}), ("two", {"devices": 2, "strategy": "ddp_spawn"})):
        (tmp_path / name).mkdir()
        model = module(world, tmp_path / name, baseline=True)
        run(model, CaptionFolder(**toy, fit="native", batch_size=1), tmp_path / name, **settings)
        found.append({model: (row["n"], row["metrics"]) for model, row in rows_of(tmp_path / name).items()})
    assert found[1] == found[0]


@pytest.mark.parametrize("name", ["rsicd", "rsitmd", "ucm_captions"])
def test_shipped_configurations_run_from_the_command_line(
    world: Path, tmp_path: Path, toy: dict[str, Path], name: str
) -> None:
    suffix = "tif" if name == "ucm_captions" else "jpg"
    for path in toy["root"].iterdir():
        with Image.open(path) as image:
            image.resize((80, 60)).save(path.with_suffix(f".{suffix}"))
    toy["captions"].write_text(toy["captions"].read_text().replace(".jpg", f".{suffix}"))
    settings = {
        "model.init_args.checkpoint": world / "last.ckpt",
        "model.init_args.results": tmp_path / "results.json",
        "model.init_args.teacher": ARCHITECTURE,
        "model.init_args.teacher_weights": world / "teacher.safetensors",
        "data.init_args.root": toy["root"],
        "data.init_args.captions": toy["captions"],
        "data.init_args.image_size": 64,
        "data.init_args.num_workers": 0,
        "trainer.default_root_dir": tmp_path,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
    }
    config = Path(__file__).parents[1] / "configs" / "eval" / f"{name}.yaml"
    main(["test", "--config", str(config), *(f"--{key}={value}" for key, value in settings.items())])
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "chance"]
    assert (rows["aligned"]["n"], rows["aligned"]["seed"]) == (4, 0)
    assert rows["aligned"]["preprocessing"] == "8-bit RGB as stored, resize to 64 px"
