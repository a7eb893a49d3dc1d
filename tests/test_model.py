"""`graft.load`: images in any form, words, classes and maps."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

import graft
from graft.encoders import Level
from graft.errors import GraftError
from graft.model import Model
from graft.sensors import get_sensor
from graft.teacher import Teacher
from tests.export_inputs import checkpoints, write_checkpoint


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, architecture: str) -> dict[Level, Model]:
    runs = checkpoints(tmp_path_factory, architecture)
    return {level: graft.load(path, device="cpu") for level, path in runs.items()}


@pytest.fixture(scope="module")
def model(models: dict[Level, Model]) -> Model:
    return models["image"]


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (40, 48, 3), dtype=np.uint8)


def test_forms_of_an_image_are_the_same_image(tmp_path: Path, model: Model, pixels: np.ndarray) -> None:
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    picture = Image.fromarray(pixels)
    picture.save(tmp_path / "a.png")
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", height=40, width=48, count=3, dtype="uint8") as raster:
        raster.write(tensor.numpy())
    expected = model.loaded.encoder(tensor[None])
    forms = [pixels, tensor, picture, tmp_path / "a.png", str(tmp_path / "a.png"), tmp_path / "a.tif"]
    for form in (*forms, pixels[None], tensor[None]):
        assert torch.equal(model.encode_image(form), expected)
    torch.testing.assert_close(model.encode_image(forms), expected.expand(len(forms), -1), atol=1e-6, rtol=0)


def test_stored_numbers_are_rendered_by_the_model_s_sensor(tmp_path: Path, architecture: str) -> None:
    model = graft.load(write_checkpoint(tmp_path / "s" / "last.ckpt", architecture, "image", "sentinel"), device="cpu")
    stored = np.random.default_rng(3).integers(0, 4000, (3, 32, 32)).astype(np.uint16)
    with rasterio.open(tmp_path / "s.tif", "w", driver="GTiff", height=32, width=32, count=3, dtype="uint16") as raster:
        raster.write(stored)
        raster.descriptions = ("B04", "B03", "B02")
    shown = get_sensor("sentinel").to_display(stored)
    assert torch.equal(model.encode_image(tmp_path / "s.tif"), model.encode_image(shown.transpose(1, 2, 0)))


def test_images_of_several_sizes_keep_their_order(model: Model, pixels: np.ndarray) -> None:
    several = [pixels, pixels[:32, :32], pixels[::-1].copy()]
    together = model.encode_image(several)
    for one, vector in zip(several, together, strict=True):
        torch.testing.assert_close(model.encode_image(one)[0], vector, atol=1e-6, rtol=0)
    with pytest.raises(GraftError, match="several sizes"):
        model.encode_patches(several)


def test_more_images_than_a_batch(model: Model, pixels: np.ndarray) -> None:
    assert model.encode_image(np.repeat(pixels[None], 70, axis=0)).shape == (70, 32)


def test_classes_are_a_softmax_of_cosines(model: Model, pixels: np.ndarray) -> None:
    likely = model.classify(pixels, ["a lake", "a forest", "a town"], ["{}", "so {}"])
    text = torch.stack(
        [
            torch.nn.functional.normalize(model.encode_text([t, f"so {t}"]).mean(0), dim=0)
            for t in ("a lake", "a forest", "a town")
        ]
    )
    expected = (20 * model.encode_image(pixels) @ text.T).softmax(-1)
    torch.testing.assert_close(likely, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", ["image", "pixel"])
def test_patches_and_maps(models: dict[Level, Model], pixels: np.ndarray, level: Level) -> None:
    model = models[level]
    tokens = model.encode_patches(pixels)
    assert tokens.shape == (1, 5, 6, 32)
    torch.testing.assert_close(tokens.norm(dim=-1), torch.ones(1, 5, 6), atol=1e-5, rtol=0)
    large = np.tile(pixels, (3, 4, 1))[:101, :150]
    labels, names = model.segment(large, "water; wood, forest; town")
    assert labels.shape == (101, 150)
    assert names == ("water", "wood", "town")
    assert set(np.unique(labels)) <= {0, 1, 2}
    assert np.array_equal(labels, model.segment(large, ["water", "wood, forest", "town"])[0])


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ([], "no images"),
        (np.zeros((40, 40), np.uint8), "expected uint8"),
        (np.zeros((40, 40, 3), np.float32), "Render stored numbers"),
        (torch.zeros(40, 40, 3, dtype=torch.uint8), r"\[3, H, W\]"),
        (np.zeros((4, 40, 3), np.uint8), "the model's patch 8"),
        ("nowhere.png", "cannot be read as an image"),
    ],
)
def test_bad_images_are_told(model: Model, image: object, told: str) -> None:
    with pytest.raises(GraftError, match=told):
        model.encode_image(image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("classes", "templates", "told"),
    [
        ("lake", None, "a list of two"),
        (["lake"], None, "a list of two"),
        (["a", "b"], ["x"], "no {}"),
        (["a", "b"], [], "no templates"),
    ],
)
def test_bad_words_are_told(
    model: Model, pixels: np.ndarray, classes: list[str], templates: list[str] | None, told: str
) -> None:
    with pytest.raises(GraftError, match=told):
        model.classify(pixels, classes, templates)


def test_another_teacher_is_refused(tmp_path: Path, architecture: str) -> None:
    path = write_checkpoint(tmp_path / "last.ckpt", architecture, "image")
    assert Teacher("graft-atlas").dim == 128
    with pytest.raises(GraftError, match="Give the --teacher it was aligned to"):
        graft.load(path, teacher="graft-atlas")
    with pytest.raises(GraftError, match="No model at"):
        graft.load(tmp_path / "no.ckpt")
