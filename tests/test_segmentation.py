"""The evaluation of label maps from files to result rows: planted answers, faults told, one process and two."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image
from safetensors.torch import save_file
from torchmetrics.functional.classification import multiclass_confusion_matrix

from datamodules import PairedScenes
from graft.checkpoint import checkpoint_card, load_encoder
from graft.clip import create_clip
from graft.encoders import encoder_from_clip
from graft.errors import GraftError
from graft.prompts import TextVectors, load_prompts, save_text_vectors
from graft.results import ResultRow
from graft.segmentation_metrics import segmentation_metrics
from graft.sliding import DenseScorer, WindowGrid, score_array, upsample
from graft.teacher import Teacher
from graft.words import read_class_words
from lightning_modules import ZeroShotSegmentation
from main import main
from tests.labelmap_inputs import UTM, isprs_mask, png, tif
from tests.test_classification import ARCHITECTURE, run

IDS = ("Red", "Green", "Blue")
COLOURS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]], np.uint8)
ROOT = Path(__file__).parents[1]


def save_checkpoint(path: Path, teacher: Teacher, sensor: str = "naip", **settings: Any) -> None:
    encoder, config = encoder_from_clip(ARCHITECTURE, None, **settings)
    card = checkpoint_card(config, sensor=sensor, radiometry="", teacher=teacher.card, logit_scale=14.0)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save({"state_dict": state, "graft": card, "global_step": 3}, path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher weights, encoders of each kind, words planted on colours, and scenes of coloured squares of 24 px."""
    root = tmp_path_factory.mktemp("world")
    torch.manual_seed(0)
    save_file(create_clip(ARCHITECTURE, None).state_dict(), root / "teacher.safetensors")
    teacher = Teacher(ARCHITECTURE, str(root / "teacher.safetensors"))
    save_checkpoint(root / "colour.ckpt", teacher, kind="token-colour", level="pixel")
    save_checkpoint(root / "pixel.ckpt", teacher, level="pixel")
    save_checkpoint(root / "sentinel.ckpt", teacher, "sentinel", level="pixel")
    save_checkpoint(root / "image.ckpt", teacher)

    tiles = torch.from_numpy(COLOURS)[:, :, None, None].expand(-1, -1, 64, 64).contiguous()
    with torch.inference_mode():
        vectors = load_encoder(root / "colour.ckpt").encoder(tiles)
    words = TextVectors(IDS, vectors, {"name": "planted", "family": "colours", "sha256": "0" * 64}, teacher.identity)
    save_text_vectors(root / "text.safetensors", words)
    classes = [{"id": i, "name": i.lower()} for i in IDS]
    classes[0]["synonyms"] = ["scarlet"]
    families = {"ground": ["a photo of {}.", "{}"], "satellite": ["a satellite photo of {}."]}
    (root / "three.yaml").write_text(json.dumps({"classes": classes, "families": families}))

    random = np.random.default_rng(0)
    for name, (rows, columns) in (("a", (4, 5)), ("b", (5, 3)), ("c", (3, 3))):
        label = random.integers(0, 3, (rows, columns)).astype(np.uint8).repeat(24, 0).repeat(24, 1)
        png(root / "squares" / "img_dir" / f"{name}.png", COLOURS[label])
        label[:, :10] = 255
        png(root / "squares" / "ann_dir" / f"{name}.png", label)
    return root


def module(world: Path, tmp_path: Path, **changes: Any) -> ZeroShotSegmentation:
    arguments: dict[str, Any] = {
        "dataset": "toy squares",
        "results": tmp_path / "results.json",
        "name": "pixel",
        "checkpoint": world / "colour.ckpt",
        "text_vectors": world / "text.safetensors",
        "resample": "native",
        "pictures": 1,
    }
    return ZeroShotSegmentation(**{**arguments, **changes})


def with_text_tower(world: Path, **changes: Any) -> dict[str, Any]:
    words = {"text_vectors": None, "prompts": str(world / "three.yaml")}
    teacher = {"teacher": ARCHITECTURE, "teacher_weights": str(world / "teacher.safetensors")}
    return {**words, **teacher, **changes}


def squares(world: Path, **changes: Any) -> PairedScenes:
    return PairedScenes(**{"root": world / "squares", "classes": str(world / "three.yaml"), **changes})


def rows_of(tmp_path: Path) -> dict[str, ResultRow]:
    rows = json.loads((tmp_path / "results.json").read_text())
    return {row["model"]: row for row in rows}


# --- answers --------------------------------------------------------------------------------------


def test_planted_colours_are_found(world: Path, tmp_path: Path) -> None:
    run(module(world, tmp_path), squares(world), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["pixel", "ceiling", "chance"]
    pixel = rows["pixel"]
    # Squares are whole patches, so every token is right; between two centres pixels may turn to a third colour.
    assert (pixel["metrics"]["miou_token"], pixel["metrics"]["accuracy_token"]) == (1, 1)
    assert 0.85 < pixel["metrics"]["miou"] <= 1
    assert (pixel["task"], pixel["dataset"], pixel["n"], pixel["skipped"]) == ("segmentation", "toy squares", 3, 0)
    assert pixel["prompts"] == {"name": "planted", "family": "colours", "sha256": "0" * 64}
    assert pixel["model_sha256"] == load_encoder(world / "colour.ckpt").sha256
    assert rows["ceiling"]["metrics"]["miou"] == 1
    for name in ("ceiling", "chance"):
        assert (rows[name]["prompts"], rows[name]["model_sha256"]) == (None, None)
    assert rows["chance"]["metrics"]["accuracy"] == pytest.approx(1 / 3)
    base = "8-bit RGB as stored, native pixels, patches of 8 px"
    assert rows["ceiling"]["preprocessing"] == base
    assert pixel["preprocessing"] == f"{base}, windows of 64 px every 32 px, tokens"


def test_figures_are_those_of_all_pixels_together(world: Path, tmp_path: Path) -> None:
    changes = with_text_tower(world, checkpoint=world / "pixel.ckpt", families=["satellite"], bias_removal=-0.3)
    run(module(world, tmp_path, **changes, window=48, stride=24), squares(world), tmp_path)
    teacher = Teacher(ARCHITECTURE, str(world / "teacher.safetensors"))
    words = read_class_words(str(world / "three.yaml"), teacher, "satellite")
    scorer = DenseScorer(load_encoder(world / "pixel.ckpt").encoder, words, "tokens", 8, 48, -0.3)
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for path in sorted((world / "squares" / "img_dir").iterdir()):
        image = np.asarray(Image.open(path))
        label = torch.from_numpy(np.array(Image.open(world / "squares" / "ann_dir" / path.name))).long()
        height, width = image.shape[:2]
        tokens = score_array(image, scorer, stride=24)
        scores = upsample(tokens, WindowGrid(height, width, 48, 24, 8), (height, width), (0, height), (0, width))
        confusion += multiclass_confusion_matrix(scores.argmax(0), label, 3, ignore_index=255)
    row = rows_of(tmp_path)["pixel"]
    expected = segmentation_metrics(confusion)
    assert {name: row["metrics"][name] for name in expected} == pytest.approx(expected)
    assert row["preprocessing"].endswith("windows of 48 px every 24 px, tokens, global bias * -0.3 added")
    details = json.loads((tmp_path / "toy-squares_test_pixel_per_class.json").read_text())
    assert details["confusion"] == confusion.tolist()
    assert details["pixels"] == confusion.sum(1).tolist()
    with Image.open(tmp_path / "toy-squares_test_pixel_confusion.png") as picture:
        assert picture.format == "PNG"


def test_further_modes_and_families_have_their_names_as_suffix(world: Path, tmp_path: Path) -> None:
    changes = with_text_tower(world, checkpoint=world / "image.ckpt", name="aligned", baseline=True)
    modes: dict[str, Any] = {"dense": ["naclip", "maskclip"], "baseline_dense": ["segearth"]}
    run(module(world, tmp_path, **changes, **modes), squares(world), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "ceiling", "chance"]
    aligned, baseline = rows["aligned"], rows["clip_baseline"]
    wanted = {"miou", "miou_satellite", "miou_maskclip", "miou_maskclip_satellite", "map_macro_maskclip", "ap_Red"}
    assert wanted <= set(aligned["metrics"])
    assert "iou_Red_maskclip" not in aligned["metrics"]
    assert (aligned["preprocessing"][-6:], baseline["preprocessing"][-8:]) == ("naclip", "segearth")
    assert baseline["model_sha256"] == Teacher(ARCHITECTURE, str(world / "teacher.safetensors")).identity

    (tmp_path / "alone").mkdir()
    alone = {**changes, "dense": ["maskclip"], "families": ["satellite"], "baseline": False}
    run(module(world, tmp_path / "alone", **alone), squares(world), tmp_path / "alone")
    for name in ("miou", "accuracy", "map_macro", "miou_token"):
        found = rows_of(tmp_path / "alone")["aligned"]["metrics"][name]
        assert found == pytest.approx(aligned["metrics"][f"{name}_maskclip_satellite"])


def test_an_image_level_encoder_looks_by_naclip(world: Path, tmp_path: Path) -> None:
    changes = with_text_tower(world, checkpoint=world / "image.ckpt", families=["ground"])
    run(module(world, tmp_path, **changes), squares(world), tmp_path)
    assert rows_of(tmp_path)["pixel"]["preprocessing"].endswith("naclip")


def test_scenes_are_brought_to_the_sensors_gsd(world: Path, tmp_path: Path) -> None:
    data = squares(world, gsd_m=0.5)
    run(module(world, tmp_path, resample="model"), data, tmp_path)
    rows = rows_of(tmp_path)
    assert "resampled to 1 m if 10 % off, patches of 8 px" in rows["chance"]["preprocessing"]
    # A square of 24 px is one and a half patches now: not even the truth fits the token grid.
    assert 0.5 < rows["ceiling"]["metrics"]["miou"] < 0.95
    assert rows["pixel"]["metrics"]["miou"] > 0.5


def test_the_baseline_alone_needs_no_checkpoint(world: Path, tmp_path: Path) -> None:
    changes = with_text_tower(world, checkpoint=None, baseline=True, families=["ground"])
    run(module(world, tmp_path, **changes), squares(world), tmp_path)
    rows = rows_of(tmp_path)
    assert list(rows) == ["clip_baseline", "ceiling", "chance"]
    assert "windows of 64 px every 32 px, maskclip" in rows["clip_baseline"]["preprocessing"]


def test_the_first_scenes_are_drawn(world: Path, tmp_path: Path) -> None:
    run(module(world, tmp_path, pictures=2), squares(world), tmp_path)
    drawn = sorted(path.name for path in tmp_path.glob("*_scene.png"))
    assert drawn == ["toy-squares_test_pixel_a_scene.png", "toy-squares_test_pixel_b_scene.png"]
    with Image.open(tmp_path / drawn[0]) as picture:
        seen = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    for colour in COLOURS[:2]:
        assert (np.abs(seen - colour).max(1) < 6).sum() > 1000


def test_logged_figures_are_the_rows_and_a_debug_run_writes_none(world: Path, tmp_path: Path) -> None:
    trainer = run(module(world, tmp_path), squares(world), tmp_path, fast_dev_run=True)
    assert not list(tmp_path.glob("*.json")) + list(tmp_path.glob("*.png"))
    trainer = run(module(world, tmp_path), squares(world), tmp_path)
    miou = rows_of(tmp_path)["pixel"]["metrics"]["miou"]
    assert float(trainer.callback_metrics["test/pixel/miou"]) == pytest.approx(miou)


# --- what goes wrong ------------------------------------------------------------------------------


def copy_of_squares(world: Path, tmp_path: Path) -> Path:
    for path in sorted((world / "squares").rglob("*.png")):
        there = tmp_path / "mine" / path.relative_to(world / "squares")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    return tmp_path / "mine"


def test_scenes_that_cannot_be_read_are_left_out_counted_and_said(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = copy_of_squares(world, tmp_path)
    (root / "img_dir" / "b.png").write_bytes(b"\x89PNG")
    png(root / "ann_dir" / "c.png", np.full((72, 72), 9, np.uint8))
    png(root / "img_dir" / "d.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.warns(UserWarning, match="1 files are left out, they have no partner: d: picture without label"):
        run(module(world, tmp_path), squares(world, root=root), tmp_path)
    pixel = rows_of(tmp_path)["pixel"]
    assert (pixel["n"], pixel["skipped"]) == (1, 2)
    assert "c: the label holds 9, but profile index knows 0, 1, 2, 255" in caplog.text


def test_a_raster_outside_its_reference_system_is_counted_as_skipped(world: Path, tmp_path: Path) -> None:
    root = copy_of_squares(world, tmp_path)
    nowhere = {"crs": UTM["crs"], "transform": Affine(1, 0, 1e9, 0, -1, 1e9)}
    tif(root / "img_dir" / "d.tif", np.zeros((3, 72, 72), np.uint8), **nowhere)
    png(root / "ann_dir" / "d.png", np.zeros((72, 72), np.uint8))
    run(module(world, tmp_path, resample="model"), squares(world, root=root, gsd_m=1.0), tmp_path)
    pixel = rows_of(tmp_path)["pixel"]
    assert (pixel["n"], pixel["skipped"]) == (3, 1)


def test_nothing_readable_is_an_error(world: Path, tmp_path: Path) -> None:
    root = copy_of_squares(world, tmp_path)
    for path in (root / "ann_dir").iterdir():
        path.write_bytes(b"\x89PNG")
    with pytest.raises(GraftError, match="No pixel was scored"):
        run(module(world, tmp_path), squares(world, root=root), tmp_path)
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        ({"resample": "model"}, {"gsd_m": 2.1}, r"pixels of 2\.1 x 2\.1 m, the encoder's sensor 1 m: more than twice"),
        ({"resample": "model"}, {}, r"Scene a does not say its GSD\. Give data\.init_args\.gsd_m"),
        ({"checkpoint": "image.ckpt", "dense": ["tokens"]}, {}, "image-level: it has no trained patch tokens"),
        ({"window": 50}, {}, r"Window 50 and stride \d+ px: expected multiples of the patch of 8 px"),
        ({"stride": 128}, {}, r"Window 64 and stride 128 px"),
        ({"window": 0}, {}, r"Window 0 and stride 8 px"),
        ({"stride": 0}, {}, r"Window 64 and stride 0 px"),
        ({"dense": ["tokens", "naclip", "tokens"]}, {}, "dense is tokens, naclip, tokens: give every mode once"),
        ({"baseline_dense": ["maskclip"] * 2}, {}, "baseline_dense is maskclip, maskclip: give every mode once"),
        ({}, {"classes": "atlas"}, r"The words are of the classes Red, Green, Blue, the data of Forest"),
        ({}, {"root": Path("absent")}, "No benchmark folder at absent"),
        ({}, {"profile": "loveda"}, "means the classes agriculture, .* which the prompt set lacks"),
    ],
)
def test_settings_that_do_not_fit(
    world: Path, tmp_path: Path, changes: dict[str, Any], data: dict[str, Any], message: str
) -> None:
    if "checkpoint" in changes:
        changes = {**changes, "checkpoint": world / changes["checkpoint"]}
    with pytest.raises(GraftError, match=message):
        run(module(world, tmp_path, **changes), squares(world, **data), tmp_path)
    assert not (tmp_path / "results.json").exists()


def test_resampling_needs_a_checkpoint(world: Path, tmp_path: Path) -> None:
    changes = with_text_tower(world, checkpoint=None, baseline=True, resample="model")
    with pytest.raises(GraftError, match="resample: model needs a checkpoint"):
        module(world, tmp_path, **changes)


# --- processes and configurations -----------------------------------------------------------------


def test_two_processes_give_the_rows_of_one(world: Path, tmp_path: Path) -> None:
    found = []
    two = {"devices": 2, "strategy": "ddp_spawn", "use_distributed_sampler": True}
    for name, settings in (("one", {}), ("two", two)):
        (tmp_path / name).mkdir()
        run(
            module(world, tmp_path / name, checkpoint=world / "pixel.ckpt"), squares(world), tmp_path / name, **settings
        )
        rows = rows_of(tmp_path / name)
        found.append({model: (row["n"], row["metrics"]) for model, row in rows.items()})
    assert list(found[0]) == ["pixel", "ceiling", "chance"]
    assert found[0]["pixel"][0] == 3
    for model in found[0]:
        assert found[1][model][0] == found[0][model][0]
        assert found[1][model][1] == pytest.approx(found[0][model][1])


def write_atlas(root: Path) -> None:
    bands = np.random.default_rng(0).integers(1, 3000, (4, 64, 96)).astype(np.uint16)
    place = {"crs": UTM["crs"], "transform": Affine(10, 0, 500_000, 0, -10, 5_500_000)}
    tif(root / "scenes" / "test00.tif", bands, **place)
    with rasterio.open(root / "scenes" / "test00.tif", "r+") as file:
        for number, name in enumerate(("B02", "B03", "B04", "B08"), start=1):
            file.set_band_description(number, name)
    tif(root / "labels" / "test00.tif", np.repeat(np.arange(12, dtype=np.uint8), 8)[None].repeat(64, 0), **UTM)


def write_loveda(root: Path) -> None:
    png(root / "Val" / "Rural" / "images_png" / "1.png", np.zeros((64, 64, 3), np.uint8))
    png(root / "Val" / "Rural" / "masks_png" / "1.png", np.full((64, 64), 3, np.uint8))
    (root / "Val" / "Urban").mkdir()


def write_potsdam(root: Path) -> None:
    mask = isprs_mask(96).repeat(16, 0).transpose(2, 0, 1)
    tif(root / "4_Ortho_RGBIR" / "top_potsdam_2_13_RGBIR.tif", np.zeros((4, 96, 96), np.uint8))
    tif(root / "top_potsdam_2_13_label.tif", mask, photometric="RGB")


def write_vaihingen(root: Path) -> None:
    tif(root / "top" / "top_mosaic_09cm_area2.tif", np.zeros((3, 96, 96), np.uint8))
    tif(root / "top_mosaic_09cm_area2.tif", isprs_mask(96).repeat(16, 0).transpose(2, 0, 1), photometric="RGB")


def write_openearthmap(root: Path) -> None:
    tif(root / "tokyo" / "images" / "tokyo_1.tif", np.zeros((3, 64, 64), np.uint8))
    tif(root / "tokyo" / "labels" / "tokyo_1.tif", np.full((64, 64), 8, np.uint8))
    (root / "val.txt").write_text("tokyo_1.tif")


def write_chesapeake(root: Path) -> None:
    tif(root / "tiles" / "m_1_naip-new.tif", np.zeros((4, 64, 64), np.uint8), **UTM)
    tif(root / "tiles" / "m_1_lc.tif", np.full((64, 64), 6, np.uint8), **UTM)


def write_satlas(root: Path) -> None:
    png(root / "sentinel2" / "S2A_20220101" / "tci" / "1_2000.png", np.zeros((512, 512, 3), np.uint8))
    png(root / "static" / "1_2000" / "land_cover.png", np.full((512, 512), 11, np.uint8))
    (root / "metadata").mkdir()
    (root / "metadata" / "test_lowres.json").write_text("[[1, 2000]]")


WRITERS = {
    "segmentation_atlas": write_atlas,
    "loveda": write_loveda,
    "potsdam": write_potsdam,
    "vaihingen": write_vaihingen,
    "openearthmap": write_openearthmap,
    "chesapeake": write_chesapeake,
    "satlas_landcover": write_satlas,
}


QUICK = "segmentation_atlas"  # the readers themselves are tested in test_labelmaps.py


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != QUICK)) for n in WRITERS])
def test_shipped_configurations_run_from_the_command_line(world: Path, tmp_path: Path, name: str) -> None:
    if name in ("loveda", "potsdam", "vaihingen"):
        pytest.importorskip("torchgeo")
    WRITERS[name](tmp_path / "set")
    sensor = "sentinel" if name in ("segmentation_atlas", "satlas_landcover") else "pixel"
    settings = {
        "model.init_args.checkpoint": world / f"{sensor}.ckpt",
        "model.init_args.results": tmp_path / "results.json",
        "model.init_args.teacher": ARCHITECTURE,
        "model.init_args.teacher_weights": world / "teacher.safetensors",
        "model.init_args.families": "[ground]",
        "model.init_args.baseline_dense": "[maskclip]",
        "data.init_args.root": tmp_path / "set",
        "data.init_args.num_workers": 0,
        "trainer.default_root_dir": tmp_path,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
    }
    config = ROOT / "configs" / "eval" / f"{name}.yaml"
    main(["test", "--config", str(config), *(f"--{key}={value}" for key, value in settings.items())])
    rows = rows_of(tmp_path)
    assert list(rows) == ["pixel", "clip_baseline", "ceiling", "chance"]
    assert rows["pixel"]["prompts"] == load_prompts(rows["pixel"]["prompts"]["name"]).card("ground")  # type: ignore[index]
    assert {"miou", "accuracy", "map_macro", "miou_token"} <= set(rows["clip_baseline"]["metrics"])
    assert list(tmp_path.glob("*_pixel_*_scene.png"))


def test_every_segmentation_config_is_run() -> None:
    shipped = {path.stem for path in (ROOT / "configs" / "eval").glob("*.yaml") if "Segmentation" in path.read_text()}
    assert shipped == set(WRITERS)
