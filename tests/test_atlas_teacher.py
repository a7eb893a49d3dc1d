"""The teacher: learns from captions, becomes an open_clip folder that plain open_clip loads."""

import json
import random
from pathlib import Path

import open_clip
import pytest
import torch
from PIL import Image

from graft.atlas import WorldSize, build_world
from graft.atlas.captions import caption
from graft.atlas.classes import CLASSES, IDS, IRRELEVANT
from graft.atlas.ground import OTHER_VIEWS, PHOTO_SIZE, take_photo
from graft.atlas.teacher import TeacherRecipe, train_teacher
from graft.errors import GraftError
from graft.teacher import Teacher

SIZE = WorldSize(scene=192, train=1, val=0, test=0, photos=1, captions=96, single=1, multi=1, tile_photos=2)
SHORT = TeacherRecipe(epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("atlas") / "world"
    build_world(out, seed=2, size=SIZE, workers=1)
    return out


@pytest.fixture(scope="module")
def folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teacher") / "clip"
    train_teacher(world, out, seed=1, recipe=SHORT)
    return out


def test_plain_open_clip_loads_it(folder: Path) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["a photo of a forest", "a lake"])
    image = preprocess(Image.new("RGB", (80, 60), (90, 120, 200)))
    with torch.no_grad():
        assert model.encode_image(image[None]).shape == (1, model.visual.output_dim)
        assert model.encode_text(tokens).shape == (2, model.visual.output_dim)
    assert tuple(model.visual.image_mean) == open_clip.OPENAI_DATASET_MEAN


def test_is_trained_and_reproducible(world: Path, folder: Path, tmp_path: Path) -> None:
    train_teacher(world, tmp_path / "again", seed=1, recipe=SHORT)
    train_teacher(world, tmp_path / "other", seed=2, recipe=SHORT)
    vectors = []
    for path in (folder, tmp_path / "again", tmp_path / "other"):
        vectors.append(Teacher(f"local-dir:{path}").encode_text(["a forest", "a beach"]))
    assert torch.allclose(vectors[0], vectors[1], atol=1e-3)
    assert not torch.allclose(vectors[0], vectors[2], atol=1e-2)


def test_configuration_names_towers_and_preprocessing(folder: Path) -> None:
    settings = json.loads((folder / "open_clip_config.json").read_text())
    assert settings["model_cfg"]["vision_cfg"]["image_size"] == 64
    assert settings["preprocess_cfg"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)


def test_world_without_captions(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="captions.csv does not exist"):
        train_teacher(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("subject", [*IDS, *OTHER_VIEWS])
def test_photos_are_seeded_pictures(subject: str) -> None:
    photos = [take_photo(random.Random(seed), subject, "Lake") for seed in ("a", "a", "b")]
    first, again, other = (photo.image for photo in photos)
    assert first.size == (PHOTO_SIZE, PHOTO_SIZE)
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()
    assert len(first.getcolors(PHOTO_SIZE**2) or []) > 200


def test_captions_use_language() -> None:
    """Every class has several names, mixtures name both places, photos of no place get words of their own."""
    dice = random.Random(0)
    for cover in CLASSES:
        photo = take_photo(random.Random(1), cover.id)
        said = {caption(dice, photo) for _ in range(60)}
        assert len(said) > 20
        assert all(any(noun in text for text in said) for noun in cover.nouns)
    mixed = take_photo(random.Random(1), "Residential", "Lake")
    assert mixed.behind == "Lake"
    assert any("village" in text and "a lake" in text for text in (caption(dice, mixed) for _ in range(200)))
    assert set(IRRELEVANT) == set(OTHER_VIEWS)
    for kind, words in IRRELEVANT.items():
        elsewhere = take_photo(random.Random(1), kind, "Lake")
        assert elsewhere.behind is None
        assert all(any(word in text for word in words) for text in (caption(dice, elsewhere) for _ in range(20)))
