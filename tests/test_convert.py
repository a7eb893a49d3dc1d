"""Published checkpoints to model folders: the same vectors as the library they came from."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import graft
from graft.cli import main
from graft.convert.published import published_table
from graft.encoders import normalise
from tests.official_inputs import (
    SMALL_CLIP,
    Official,
    make_official,
    small_teacher,
    write_huggingface,
    write_official,
    write_open_clip,
)

MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


@pytest.fixture(scope="module")
def official() -> Official:
    return make_official()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    return small_teacher(tmp_path_factory.mktemp("teacher") / "clip")


def tiles(side: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(side))


def pixels(tile: Tensor) -> Tensor:
    return normalise(tile, MEAN, STD, torch.float32)


def convert(checkpoint: Path, out: Path, layout: str, *options: str) -> None:
    main(["convert", str(checkpoint), f"--out={out}", f"--layout={layout}", "--sensor=naip", *options])


@pytest.mark.parametrize("side", [224, 336])
@pytest.mark.parametrize("level", ["image", "pixel"])
def test_graft_s_own_gives_the_vectors_of_transformers(
    tmp_path: Path, official: Official, teacher: str, side: int, level: str
) -> None:
    checkpoint = write_official(tmp_path / "graft_naip.ckpt", official)
    convert(checkpoint, tmp_path / "model", "graft", f"--architecture={teacher}", f"--level={level}")
    model = graft.load(tmp_path / "model", device="cpu")
    tile = tiles(side)
    if level == "image":
        torch.testing.assert_close(model.encode_image(tile), official.image(pixels(tile)), atol=1e-5, rtol=0)
    else:
        tokens = model.encode_patches(tile)
        assert tokens.shape == (2, side // 16, side // 16, 32)
        torch.testing.assert_close(tokens.flatten(1, 2), official.patches(pixels(tile)), atol=1e-5, rtol=0)
    card = json.loads((tmp_path / "model" / "graft.json").read_text())
    assert card["positions"] == "huggingface"
    assert card["temperature"] == pytest.approx(0.07)
    assert card["level"] == level


def test_words_are_the_teacher_s(tmp_path: Path, official: Official, teacher: str) -> None:
    checkpoint = write_official(tmp_path / "c.ckpt", official)
    convert(checkpoint, tmp_path / "model", "graft", f"--architecture={teacher}", "--level=image")
    clip, _, _ = open_clip.create_model_and_transforms(teacher)
    text = open_clip.get_tokenizer(teacher)(["a lake", "a forest"])
    expected = F.normalize(clip.eval().encode_text(text), dim=-1)
    found = graft.load(tmp_path / "model", device="cpu").encode_text(["a lake", "a forest"])
    torch.testing.assert_close(found, expected.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("layout", "prefix", "quick"), [("remoteclip", "", True), ("georsclip", "", True), ("skyclip", "module.", False)]
)
def test_open_clip_s_layouts(tmp_path: Path, layout: str, prefix: str, quick: bool) -> None:
    torch.manual_seed(3)
    clip = open_clip.CLIP(**(SMALL_CLIP | {"quick_gelu": quick})).eval()
    checkpoint = write_open_clip(tmp_path / "epoch_20.pt", clip, prefix)
    architecture = small_teacher(tmp_path / "architecture", quick_gelu=quick)
    convert(checkpoint, tmp_path / "model", layout, f"--architecture={architecture}")
    model = graft.load(tmp_path / "model", device="cpu")
    with torch.inference_mode():
        image = F.normalize(clip.encode_image(pixels(tiles(224))), dim=-1)
        text = F.normalize(clip.encode_text(open_clip.get_tokenizer(architecture)(["a lake"])), dim=-1)
    torch.testing.assert_close(model.encode_image(tiles(224)), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encode_text("a lake"), text, atol=1e-5, rtol=0)
    assert published_table()[layout].architecture is not None
    assert str(published_table()[layout].architecture).endswith("quickgelu") == quick


def test_senclip_s_image_tower_keeps_the_teacher_s_words(tmp_path: Path, teacher: str) -> None:
    torch.manual_seed(4)
    clip = open_clip.CLIP(**SMALL_CLIP).eval()
    state = {f"model.visual.{name}": value for name, value in clip.visual.state_dict().items()}
    torch.save({"state_dict": state | {"model.head.0.weight": torch.zeros(3)}}, tmp_path / "sen.ckpt")
    convert(tmp_path / "sen.ckpt", tmp_path / "model", "senclip", f"--architecture={teacher}")
    model = graft.load(tmp_path / "model", device="cpu")
    with torch.inference_mode():
        image = F.normalize(clip.encode_image(pixels(tiles(224))), dim=-1)
    torch.testing.assert_close(model.encode_image(tiles(224)), image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [224, 336])
def test_a_hugging_face_folder(tmp_path: Path, side: int) -> None:
    from transformers import CLIPModel

    torch.manual_seed(6)
    folder = write_huggingface(tmp_path / "rsicd", open_clip.CLIP(**SMALL_CLIP))
    convert(folder, tmp_path / "model", "clip-rsicd")
    theirs = CLIPModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        seen = theirs.vision_model(pixels(tiles(side)), interpolate_pos_encoding=True).pooler_output
        image = F.normalize(theirs.visual_projection(seen), dim=-1)
    model = graft.load(tmp_path / "model", device="cpu")
    torch.testing.assert_close(model.encode_image(tiles(side)), image, atol=1e-5, rtol=0)
    assert json.loads((tmp_path / "model" / "open_clip_config.json").read_text())["model_cfg"]["quick_gelu"]


def test_positions_matter_at_other_sizes(tmp_path: Path, official: Official, teacher: str) -> None:
    checkpoint = write_official(tmp_path / "c.ckpt", official)
    convert(checkpoint, tmp_path / "model", "graft", f"--architecture={teacher}", "--level=image")
    model = graft.load(tmp_path / "model", device="cpu")
    small, large = (model.encode_image(tiles(side)) for side in (224, 112))
    model.loaded.encoder.positions = "open_clip"
    assert torch.equal(model.encode_image(tiles(224)), small)
    assert (model.encode_image(tiles(112)) - large).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("layout", "options", "told"),
    [
        ("graft", ["--architecture=ARCH"], "Give --level pixel"),
        ("graft", ["--architecture=local-dir:nowhere", "--level=image"], "nowhere"),
        ("remoteclip", ["--architecture=ARCH"], "huggingface's: give another --layout"),
        ("nothing", [], "There is no layout 'nothing'. Give --layout one of graft"),
        ("graft", ["--architecture=ViT-B-32", "--teacher-weights=no", "--level=image"], "neither a file nor a tag"),
    ],
)
def test_faults_are_told(
    tmp_path: Path,
    official: Official,
    teacher: str,
    capsys: pytest.CaptureFixture[str],
    layout: str,
    options: list[str],
    told: str,
) -> None:
    checkpoint = write_official(tmp_path / "c.ckpt", official)
    with pytest.raises(SystemExit):
        convert(checkpoint, tmp_path / "model", layout, *(option.replace("ARCH", teacher) for option in options))
    assert told in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_the_temperature_and_a_biased_projector(
    tmp_path: Path, teacher: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_official()
    model.logit_scale.fill_(5.0)
    checkpoint = write_official(tmp_path / "warm.ckpt", model)
    convert(checkpoint, tmp_path / "model", "graft", f"--architecture={teacher}", "--level=image")
    assert json.loads((tmp_path / "model" / "graft.json").read_text())["temperature"] == pytest.approx(0.2)
    model.projector[1].bias = torch.nn.Parameter(torch.ones(32))
    checkpoint = write_official(tmp_path / "biased.ckpt", model)
    with pytest.raises(SystemExit):
        convert(checkpoint, tmp_path / "other", "graft", f"--architecture={teacher}", "--level=pixel")
    assert "projector with a bias" in capsys.readouterr().err


def test_a_resnet_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"visual.layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "RemoteCLIP-RN50.pt")
    with pytest.raises(SystemExit):
        convert(tmp_path / "RemoteCLIP-RN50.pt", tmp_path / "model", "remoteclip")
    assert "ResNet" in capsys.readouterr().err
