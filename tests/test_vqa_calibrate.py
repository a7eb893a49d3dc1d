import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from graft.checkpoint import checkpoint_card, load_encoder
from graft.encoders import encoder_from_clip
from graft.errors import GraftError
from graft.index import make_look
from graft.teacher import Teacher
from graft.vqa.calibrate import Calibration, calibrate, load_calibration, no_calibration, write_calibration
from graft.vqa.concepts import concept_set_names, load_concepts
from graft.vqa.unlabelled import measure, measure_model, phrase_vectors, sample_tiles
from tests.conftest import ShardFactory
from tests.segment_inputs import COLOURS, PATCH, MeanColour, checkered

SHA = "ab" * 32
USUAL = Calibration(
    8.0,
    4,
    {"model_sha256": SHA, "teacher": "cd" * 32, "mode": "tokens", "seed": "0"},
    {"lake": (0.25, 0.125)},
    0.5,
    (0.5, -0.25),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, architecture: str, teacher: Teacher) -> Path:
    path = tmp_path_factory.mktemp("model") / "last.ckpt"
    encoder, config = encoder_from_clip(architecture, None)
    card = checkpoint_card(config, sensor="sentinel", radiometry="", teacher=teacher.card, logit_scale=14.0)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state, "graft": card, "global_step": 3}, path)
    return path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rasters of 96 x 96 pixels in Sentinel's numbers, 9 windows of 32 each; a corner of one lacks data."""
    folder = tmp_path_factory.mktemp("scenes")
    for number in range(2):
        stored = np.random.default_rng(number).integers(1000, 4000, (3, 96, 96)).astype(np.uint16)
        if number:
            stored[:, :32, :32] = 0
        with rasterio.open(
            folder / f"{number}.tif",
            "w",
            driver="GTiff",
            width=96,
            height=96,
            count=3,
            dtype="uint16",
            nodata=0,
            crs="EPSG:32633",
            transform=Affine(10, 0, 5e5 + 1e4 * number, 0, -10, 5e6),
        ) as dataset:
            dataset.descriptions = ("B04", "B03", "B02")
            dataset.write(stored)
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_calibration(tmp_path / "vqa.json", USUAL)
    assert load_calibration(tmp_path, SHA) == USUAL
    assert load_calibration(tmp_path / "last.ckpt", SHA) == USUAL
    assert no_calibration(14.0) == Calibration(14.0, 0, {})


def test_no_calibration_is_none(tmp_path: Path) -> None:
    assert load_calibration(tmp_path / "last.ckpt", SHA) is None


def test_that_of_another_model_is_refused(tmp_path: Path) -> None:
    write_calibration(tmp_path / "vqa.json", USUAL)
    with pytest.raises(GraftError, match="abababababab.*efefefefefef"):
        load_calibration(tmp_path, "ef" * 32)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("scale", 0),
        ("scale", None),
        ("scale", True),
        ("spread", float("nan")),
        ("spread", "0.1"),
        ("tiles", 0),
        ("token", [1, None]),
        ("token", 3),
        ("phrases", {"lake": [0.1]}),
        ("phrases", {"lake": [0.1, -0.1]}),
        ("phrases", ["lake"]),
        ("mode", 3),
        ("model_sha256", None),
        ("seed", ...),
    ],
)
def test_damage_is_told(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "vqa.json"
    write_calibration(path, USUAL)
    content = json.loads(path.read_text())
    if value is ...:
        del content[key]
    else:
        content[key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(GraftError, match=r"vqa\.json is no calibration.*graft calibrate"):
        load_calibration(tmp_path, SHA)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vqa.json").write_bytes(content)
    with pytest.raises(GraftError, match="is no calibration"):
        load_calibration(tmp_path, SHA)


def test_mean_and_sd_are_those_of_all_patches() -> None:
    pixels = torch.from_numpy(COLOURS[np.stack([checkered(32, 32, 8, seed) for seed in range(5)])]).permute(0, 3, 1, 2)
    vectors = torch.nn.functional.normalize(torch.randn(4, 3, generator=torch.manual_seed(0)), dim=-1)
    encoder = MeanColour().eval()
    mean, sd, token = measure(encoder, "tokens", pixels, vectors, 2)
    tokens = encoder.tokens(pixels).flatten(0, -2).double()
    cosines = tokens @ vectors.double().T
    assert len(tokens) == 5 * (32 // PATCH) ** 2
    torch.testing.assert_close(mean, cosines.mean(0))
    torch.testing.assert_close(sd, cosines.std(0, correction=0))
    torch.testing.assert_close(token, tokens.mean(0))


def test_the_command(model: Path, scenes: Path, teacher: Teacher, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate([str(scenes)], model=model, tiles=8, seed=3)
    written = (model.parent / "vqa.json").read_bytes()
    found = load_calibration(model, load_encoder(model).sha256)
    assert found is not None
    assert found.tiles == 8
    assert found.card["mode"] == "naclip"  # the model is of image level
    assert found.card["teacher"] == teacher.identity
    wanted = {phrase for name in concept_set_names() for each in load_concepts(name) for phrase in each.phrases}
    assert wanted <= set(found.phrases)
    # A mean of cosines is the cosine of the mean token.
    lake = phrase_vectors(["lake"], teacher)[0].double() @ torch.tensor(found.token, dtype=torch.float64)
    assert found.phrases["lake"][0] == pytest.approx(float(lake), abs=1e-6)
    said = capsys.readouterr().out
    assert "8 tiles, from 2 sources." in said
    assert str(model.parent / "vqa.json") in said

    # Again: the same. A damaged or foreign calibration does not stand in the way of a new one.
    (model.parent / "vqa.json").write_text("{")
    calibrate([str(scenes)], model=model, tiles=8, seed=3)
    assert (model.parent / "vqa.json").read_bytes() == written


def test_a_vocabulary_of_ones_own(model: Path, scenes: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("- {name: salt flat}\n- {name: mangrove}\n")
    calibrate([str(scenes / "0.tif")], model=model, tiles=2, concepts=str(mine))
    assert {"salt flat", "mangrove"} <= set(json.loads((model.parent / "vqa.json").read_text())["phrases"])


def test_tiles_are_drawn_from_all_sources_and_left_out_ones_told(
    model: Path, scenes: Path, make_shards: ShardFactory, tmp_path: Path
) -> None:
    shards = make_shards(tmp_path / "shards", samples=6, shards=2)
    look = make_look(load_encoder(model))
    sample = sample_tiles([str(scenes), str(shards), str(tmp_path / "nowhere.tif")], look, 100, 0)
    assert sample.pixels.shape == (9 + 8 + 6, 3, 32, 32)
    assert sample.sources == 3
    assert sum(sample.skipped.counts.values()) == 1
    said = "\n".join(sample.lines())
    assert "23 tiles of 100 wanted" in said
    assert "nowhere.tif" in said
    assert "1.tif, window 0" in said
    few, others = (sample_tiles([str(scenes), str(shards)], look, 9, seed) for seed in (1, 2))
    assert not torch.equal(few.pixels, others.pixels)
    assert len(few.pixels) == 9
    # Windows of a group are a share of what is wanted each: 3 groups, so some of the shards' tinted tiles and of noise.
    tinted = sum(bool((tile.float().mean((1, 2)) < 100).any()) for tile in few.pixels)
    assert 0 < tinted < 9


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"paths": []}, "Nothing to look at"),
        ({"paths": ["nowhere"]}, "nowhere"),
        ({"tiles": 0}, "--tiles is 0"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"concepts": "nothing.yaml"}, "nothing.yaml"),
        ({"model": Path("none.ckpt")}, "none.ckpt"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"bands": "1,2"}, "--bands is 1,2"),
    ],
)
def test_bad_settings_are_told(model: Path, scenes: Path, settings: dict[str, object], told: str) -> None:
    given: dict[str, object] = {"paths": [str(scenes)], "model": model} | settings
    with pytest.raises(GraftError, match=told):
        calibrate(**given)  # type: ignore[arg-type]


def test_another_teacher_is_refused(model: Path, scenes: Path, tmp_path: Path) -> None:
    from tests.conftest import TINY_MODEL, write_clip_folder

    other = write_clip_folder(tmp_path / "other", TINY_MODEL, seed=7)
    with pytest.raises(GraftError, match="Give the --teacher it was aligned to"):
        calibrate([str(scenes)], model=model, teacher=f"local-dir:{other}")


def test_a_model_that_sees_no_difference_is_told(model: Path, teacher: Teacher) -> None:
    loaded = load_encoder(model)
    for weights in loaded.encoder.parameters():
        weights.zero_()
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(GraftError, match="the same everywhere"):
        measure_model(loaded, teacher, [load_concepts("atlas")], "naclip", pixels, 0, 2)
