import copy
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from graft.clip import create_clip, identity_of
from graft.encoders import TowerConfig, build_encoder, encoder_from_clip, position_embedding, tower_tokens
from graft.errors import GraftError
from graft.teacher import Teacher
from tests.conftest import TINY_MODEL, write_clip_folder

TILES = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_agrees_with_open_clip(architecture: str, clip_folder: Path) -> None:
    clip, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{clip_folder}")
    normalise = preprocess.transforms[-1]
    with torch.no_grad():
        expected = torch.nn.functional.normalize(clip.eval().encode_image(normalise(TILES / 255)), dim=-1)
        encoder, config = encoder_from_clip(architecture, None)
        vectors = encoder.eval()(TILES)
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(Teacher(architecture).encode_image(TILES), expected, atol=1e-5, rtol=1e-4)
    assert config.quick_gelu


def test_any_input_size_agrees_with_resized_position_embeddings(clip_folder: Path) -> None:
    own = create_clip(f"local-dir:{clip_folder}", None).visual.eval()
    large = open_clip.create_model(f"local-dir:{clip_folder}", force_image_size=48).visual.eval()
    image = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(position_embedding(own, (6, 6)), large.positional_embedding, atol=1e-5, rtol=1e-4)
        assert tower_tokens(own, image).shape == (2, 37, 64)
        assert tower_tokens(own, torch.randn(1, 3, 32, 57)).shape == (1, 4 * 7 + 1, 64)


def test_rebuilt_from_its_configuration(architecture: str) -> None:
    encoder, config = encoder_from_clip(architecture, None)
    again = build_encoder(config)
    again.load_state_dict(encoder.state_dict())
    assert identity_of(again) == identity_of(encoder)
    with torch.no_grad():
        assert torch.equal(again.eval()(TILES), encoder.eval()(TILES))


def test_patch_dropout_acts_in_training_only(architecture: str) -> None:
    encoder, _ = encoder_from_clip(architecture, None, patch_dropout=0.5)
    with torch.no_grad():
        assert not torch.equal(encoder.train()(TILES), encoder.train()(TILES))
        assert torch.equal(encoder.eval()(TILES), encoder.eval()(TILES))


def test_controls_see_colour_and_no_structure(architecture: str) -> None:
    shuffled = TILES.flatten(2)[:, :, torch.randperm(32 * 32, generator=torch.Generator().manual_seed(1))]
    for kind in ("mean-colour", "colour-histogram"):
        control, config = encoder_from_clip(architecture, None, kind=kind)
        assert config.embed_dim == 32
        with torch.no_grad():
            vectors = control.eval()(TILES)
            torch.testing.assert_close(vectors, control(shuffled.reshape(TILES.shape)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))


def test_identity_follows_the_weights(clip_folder: Path, tmp_path: Path) -> None:
    clip = create_clip(f"local-dir:{clip_folder}", None)
    assert identity_of(clip) == identity_of(copy.deepcopy(clip)) == Teacher(f"local-dir:{clip_folder}").identity
    other = write_clip_folder(tmp_path / "other", TINY_MODEL, seed=2)
    assert Teacher(f"local-dir:{other}").identity != identity_of(clip)


def test_the_teacher_is_frozen_and_never_in_train_mode(teacher: Teacher) -> None:
    assert not isinstance(teacher, torch.nn.Module)
    assert not any(module.training for module in teacher._clip.modules())
    assert not any(parameter.requires_grad for parameter in teacher._clip.parameters())


def test_a_bf16_teacher_sees_nearly_the_same(architecture: str, teacher: Teacher) -> None:
    half = Teacher(architecture, dtype=torch.bfloat16)
    assert (half.encode_image(TILES) * teacher.encode_image(TILES)).sum(-1).min() > 0.999
    assert half.identity == teacher.identity


def test_weights_from_a_file_and_what_does_not_fit(clip_folder: Path, tmp_path: Path) -> None:
    state = load_file(clip_folder / "open_clip_model.safetensors")
    weights = tmp_path / "weights.pt"
    torch.save(state, weights)
    with pytest.raises(GraftError, match="weights.pt does not hold weights of ViT-B-32"):
        create_clip("ViT-B-32", str(weights))
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(GraftError, match="x.safetensors does not hold weights of RN50"):
        create_clip("RN50", str(tmp_path / "x.safetensors"))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (marker,)

    torch.save({"visual.proj": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(GraftError, match="evil.pt does not hold weights"):
        create_clip("ViT-B-32", str(tmp_path / "evil.pt"))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("ViT-B-61", None, "Unknown architecture 'ViT-B-61'"),
        ("ViT-B-16-quickgelu", "opneai", "neither a file nor a tag.*openai"),
        ("local-dir:/nowhere", None, "/nowhere does not hold weights"),
        ("local-dir:/nowhere", "openai", "holds its own weights, but weights 'openai' are given too"),
        ("ViT-B-16-quickgelu", "openai", "could not be downloaded.*--model.init_args.weights=/path/to"),
    ],
)
def test_what_cannot_be_had_is_told(architecture: str, weights: str | None, message: str) -> None:
    with pytest.raises(GraftError, match=message):
        create_clip(architecture, weights)


def test_towers_without_a_class_token_are_refused() -> None:
    with pytest.raises(GraftError, match="RN50 has no plain ViT image tower"):
        encoder_from_clip("RN50", None)
    with pytest.raises(GraftError, match="Unknown encoder"):
        build_encoder(TowerConfig("resnet", 8))
