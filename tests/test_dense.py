from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graft.atlas.controls import MeanColour, TokenColour
from graft.clip import create_clip
from graft.dense import TRAINING_FREE, DenseMode, default_mode, dense_features, remove_global_bias
from graft.encoders import PatchProjector, SatelliteEncoder, build_encoder, encoder_from_clip, tower_tokens
from graft.errors import GraftError
from graft.teacher import Teacher

TILES = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def encoder(architecture: str) -> SatelliteEncoder:
    made, _ = encoder_from_clip(architecture, None)
    assert isinstance(made, SatelliteEncoder)
    return made.eval()


def normalised(encoder: SatelliteEncoder, tile: Tensor) -> Tensor:
    mean, std = (torch.tensor(list(values))[:, None, None] for values in (encoder.mean, encoder.std))
    return (tile / 255 - mean) / std


def by_hand(encoder: SatelliteEncoder, tile: Tensor, mode: str) -> Tensor:
    """The table of graft/dense.py, head by head and token by token."""
    tower = encoder.tower
    tokens = tower_tokens_before_last(encoder, tile)
    block = tower.transformer.resblocks[-1]
    normal = block.ln_1(tokens)
    heads, width = block.attn.num_heads, tokens.shape[-1]
    each = width // heads
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    q, k, v = (normal @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width] for i in range(3))
    side = int((tokens.shape[1] - 1) ** 0.5)
    out = torch.zeros_like(tokens)
    for head in range(heads):
        a, b, c = (x[..., head * each : (head + 1) * each] for x in (q, k, v))

        def soft(x: Tensor, y: Tensor, near: Tensor | float = 0.0) -> Tensor:
            return (x @ y.transpose(1, 2) / each**0.5 + near).softmax(-1)

        near = torch.zeros(tokens.shape[1], tokens.shape[1])
        for i in range(side * side):
            for j in range(side * side):
                square = (i // side - j // side) ** 2 + (i % side - j % side) ** 2
                near[1 + i, 1 + j] = torch.tensor(-square / 50.0).exp()
        attention = {
            "vanilla": lambda a=a, b=b: soft(a, b),
            "maskclip": lambda a=a: torch.eye(a.shape[1]).expand(len(a), -1, -1),
            "sclip": lambda a=a, b=b: soft(a, a) + soft(b, b),
            "clearclip": lambda a=a: soft(a, a),
            "naclip": lambda b=b, near=near: soft(b, b, near),
            "segearth": lambda a=a, b=b, c=c: soft(a, a) + soft(b, b) + soft(c, c),
        }[mode]()
        out[..., head * each : (head + 1) * each] = attention @ c
    seen = block.attn.out_proj(out)
    if mode in ("vanilla", "sclip"):
        seen = tokens + seen
        seen = seen + block.mlp(block.ln_2(seen))
    return F.normalize(tower.ln_post(seen[:, 1:]) @ tower.proj, dim=-1).reshape(len(tile), side, side, -1)


def tower_tokens_before_last(encoder: SatelliteEncoder, tile: Tensor) -> Tensor:
    tower = encoder.tower
    kept: list[Tensor] = []
    handle = tower.transformer.resblocks[-1].register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    tower_tokens(tower, normalised(encoder, tile))
    handle.remove()
    return kept[0]


@pytest.mark.parametrize("mode", TRAINING_FREE)
@torch.inference_mode()
def test_training_free_modes_follow_their_formulas(encoder: SatelliteEncoder, mode: DenseMode) -> None:
    found = dense_features(encoder, TILES, mode)
    torch.testing.assert_close(found.tokens, by_hand(encoder, TILES, mode), atol=1e-5, rtol=1e-4)
    assert found.pooled is None


@torch.inference_mode()
def test_vanilla_is_what_open_clip_hands_out(encoder: SatelliteEncoder, clip_folder: Path) -> None:
    visual = open_clip.create_model(f"local-dir:{clip_folder}").visual.eval()
    visual.output_tokens = True
    _, tokens = visual(normalised(encoder, TILES))
    expected = F.normalize(tokens @ visual.proj, dim=-1).reshape(2, 4, 4, -1)
    found = dense_features(encoder, TILES, "vanilla", pooled=True)
    torch.testing.assert_close(found.tokens, expected, atol=1e-5, rtol=1e-4)
    assert found.pooled is not None
    torch.testing.assert_close(found.pooled, encoder(TILES))


@torch.inference_mode()
def test_any_size_in_one_pass() -> None:
    visual = open_clip.create_model("ViT-B-16-quickgelu").visual
    visual.transformer.resblocks = visual.transformer.resblocks[:2]
    encoder = SatelliteEncoder(visual.eval(), (0.5,) * 3, (0.25,) * 3)
    tile = torch.randint(0, 256, (1, 3, 320, 448), dtype=torch.uint8)
    for mode in TRAINING_FREE:
        assert dense_features(encoder, tile, mode).tokens.shape == (1, 20, 28, 512)


@torch.inference_mode()
def test_another_size_agrees_with_force_image_size(encoder: SatelliteEncoder, clip_folder: Path) -> None:
    large = open_clip.create_model(f"local-dir:{clip_folder}", force_image_size=(40, 56)).visual.eval()
    tile = torch.randint(0, 256, (2, 3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    theirs = F.normalize(large(normalised(encoder, tile)), dim=-1)
    assert (encoder(tile) * theirs).sum(-1).min() > 0.999
    large.output_tokens = True
    _, tokens = large(normalised(encoder, tile))
    ours = dense_features(encoder, tile, "vanilla").tokens
    assert ours.shape == (2, 5, 7, 32)
    assert (ours.flatten(1, 2) * F.normalize(tokens @ large.proj, dim=-1)).sum(-1).min() > 0.999


@torch.inference_mode()
def test_the_projector_starts_as_clips_own_and_takes_tokens_before_ln_post(architecture: str) -> None:
    encoder, config = encoder_from_clip(architecture, None, level="pixel")
    assert isinstance(encoder, SatelliteEncoder)
    encoder.eval()
    assert config.level == "pixel"
    vanilla = dense_features(replace_level(encoder), TILES, "vanilla").tokens
    torch.testing.assert_close(encoder.tokens(TILES), vanilla, atol=1e-5, rtol=1e-4)
    assert not any(p.requires_grad for p in (*encoder.tower.ln_post.parameters(), encoder.tower.proj))
    torch.testing.assert_close(encoder(TILES), F.normalize(vanilla.mean((1, 2)), dim=-1), atol=1e-5, rtol=1e-4)
    again = build_encoder(config)
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again.eval()(TILES), encoder(TILES))
    assert dense_features(encoder, TILES).tokens.shape == (2, 4, 4, 32)


def replace_level(encoder: SatelliteEncoder) -> SatelliteEncoder:
    """The same tower at image level."""
    return SatelliteEncoder(encoder.tower, encoder.mean, encoder.std).eval()


def test_global_bias_is_removed_from_every_token() -> None:
    tokens, pooled = torch.rand(2, 3, 4, 5), torch.rand(2, 5)
    found = remove_global_bias(tokens, pooled, -0.3)
    torch.testing.assert_close(found[1, 2, 3], tokens[1, 2, 3] - 0.3 * pooled[1])
    assert torch.equal(remove_global_bias(tokens, pooled, 0.0), tokens)


@torch.inference_mode()
def test_half_precision_sees_nearly_the_same(encoder: SatelliteEncoder, architecture: str) -> None:
    half = Teacher(architecture, dtype=torch.bfloat16).tower
    for mode in TRAINING_FREE:
        ours = dense_features(half, TILES, mode).tokens
        assert ours.dtype == torch.float32
        assert (ours * dense_features(encoder, TILES, mode).tokens).sum(-1).min() > 0.99


def test_the_default_mode_fits_the_encoder(encoder: SatelliteEncoder, architecture: str) -> None:
    assert default_mode(encoder) in TRAINING_FREE
    assert default_mode(encoder_from_clip(architecture, None, level="pixel")[0]) == "tokens"
    assert default_mode(TokenColour(8, 4)) == "tokens"


def test_a_mode_the_encoder_has_not_is_told(encoder: SatelliteEncoder) -> None:
    with pytest.raises(GraftError, match="image-level: it has no trained patch tokens. Choose another"):
        dense_features(encoder, TILES, "tokens")
    with pytest.raises(GraftError, match="naclip needs a ViT tower, but the encoder is a MeanColour"):
        dense_features(MeanColour(8), TILES, "naclip")
    with pytest.raises(GraftError, match="needs a ViT tower|no trained patch tokens"):
        dense_features(MeanColour(8), TILES, "tokens")


def test_towers_of_other_blocks_are_told(clip_folder: Path) -> None:
    tower = create_clip(f"local-dir:{clip_folder}", None).visual

    class Custom(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return tokens

    tower.transformer.resblocks[-1] = Custom()
    with pytest.raises(GraftError, match="default attention blocks, this tower has Custom"):
        dense_features(SatelliteEncoder(tower, (0.5,) * 3, (0.25,) * 3), TILES, "sclip")


@torch.inference_mode()
def test_the_token_control_sees_the_colour_of_each_patch_alone() -> None:
    control = TokenColour(16, 8).eval()
    changed = TILES.clone()
    changed[:, :, 8:16, 8:16] = changed[:, :, 8:16, 8:16].flip(-1)  # other structure, same colours
    changed[:, :, :8, :8] = 255
    before, after = control.tokens(TILES), control.tokens(changed)
    assert before.shape == (2, 4, 4, 16)
    same = torch.ones(4, 4, dtype=torch.bool)
    same[0, 0] = False
    torch.testing.assert_close(before[:, same], after[:, same])
    assert not torch.allclose(before[:, 0, 0], after[:, 0, 0], atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "mean-colour", "level": "pixel"}, "mean-colour does not fit level pixel: .*token-colour"),
        ({"kind": "token-colour", "level": "image"}, "token-colour does not fit level image: .*colour-histogram"),
        ({"level": "pixel", "patch_dropout": 0.5}, "set patch_dropout to 0 at pixel level"),
    ],
)
def test_what_does_not_go_together_is_told(architecture: str, settings: dict[str, object], message: str) -> None:
    with pytest.raises(GraftError, match=message):
        encoder_from_clip(architecture, None, **settings)  # type: ignore[arg-type]


def test_the_projector_keeps_leading_dimensions(encoder: SatelliteEncoder) -> None:
    assert PatchProjector(encoder.tower)(torch.rand(2, 5, 64)).shape == (2, 5, 32)


def test_summaries_tell_the_levels_apart(architecture: str) -> None:
    _, config = encoder_from_clip(architecture, None)
    assert config.summary != replace(config, level="pixel").summary
