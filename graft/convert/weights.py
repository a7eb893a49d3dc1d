"""Weights out of somebody else's file or folder, under open_clip's names."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file
from torch import Tensor

from graft.clip_names import from_huggingface
from graft.convert.published import Names
from graft.errors import GraftError, first_line
from graft.torch_file import read_torch_file

_NESTS = ("state_dict", "model_state_dict", "model", "module")
_ANCHORS: dict[Names, str] = {
    "huggingface": "vision_model.embeddings.class_embedding",
    "open_clip": "visual.class_embedding",
}
_SATELLITE = ("satellite", "student", "sat_")
_HEADS = ("visual_projection.weight", "text_projection.weight", "logit_scale")
_VOCABULARY = 49408


@dataclass(frozen=True)
class FoundWeights:
    """What a checkpoint holds.

    Attributes:
        towers: weights under open_clip's names, as many as there are: `visual.…`, and those of the text tower.
        projector: of patch tokens, under the names of `graft.encoders.PatchProjector`; empty where there is none.
        logit_scale: 1 / temperature where it is in the file as a plain number, as GRAFT's is.
        model_cfg: open_clip's, where the checkpoint says it.
        file: where the weights lie.
    """

    towers: dict[str, Tensor]
    projector: dict[str, Tensor]
    logit_scale: float | None
    model_cfg: dict[str, Any] | None
    file: Path


def find_weights(path: Path, names: Names) -> FoundWeights:
    """Read a checkpoint and find the satellite CLIP in it.

    Args:
        path: `.ckpt`, `.pt`, `.bin` or `.safetensors`, or a Hugging Face folder.
        names: whose names it uses.

    Raises:
        GraftError: nothing to read, no such tower in it, or several.
    """
    model_cfg = None
    if path.is_dir():
        model_cfg = _config_of(path / "config.json")
        path = next(
            (path / name for name in ("model.safetensors", "pytorch_model.bin") if (path / name).is_file()), path
        )
    state = _state(path)
    prefix = _prefix(state, names, path)
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    try:
        towers = _towers(inside, names)
    except KeyError as error:
        raise GraftError(f"{path} has weights that no plain CLIP has: {error.args[0]}. Give another file.") from error
    outer = prefix.rpartition(".")[0].rpartition(".")[0]
    beside = f"{outer}." if outer else ""
    scale = _scale(state, beside, path) if prefix and names == "huggingface" else None
    return FoundWeights(towers, _projector(state, beside, path), scale, model_cfg, path)


def _state(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise GraftError(f"{path} cannot be read ({first_line(error)}). Get it again.") from error
    content: Mapping[Any, Any] = read_torch_file(path)
    for nest in _NESTS:
        if isinstance(content.get(nest), Mapping):
            content = content[nest]
            break
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _prefix(state: Mapping[str, Tensor], names: Names, path: Path) -> str:
    """What stands before the names of the satellite CLIP."""
    anchor = _ANCHORS[names]
    found = [name.removesuffix(anchor) for name in state if name == anchor or name.endswith(f".{anchor}")]
    satellite = [prefix for prefix in found if any(word in prefix for word in _SATELLITE)]
    chosen = satellite or found
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        raise GraftError(f"{path} holds several image towers ({', '.join(map(repr, chosen))}). Give a file with one.")
    if any(name.endswith("visual.layer1.0.conv1.weight") for name in state):
        raise GraftError(f"{path} holds a ResNet, which has no patch tokens. Give a ViT of the same project.")
    other = next(each for each in _ANCHORS if each != names)
    hint = f" Its names are {other}'s: give another --layout." if any(_ANCHORS[other] in name for name in state) else ""
    raise GraftError(f"{path} holds {len(state)} tensors and no image tower under {names}'s names.{hint}")


def _towers(inside: Mapping[str, Tensor], names: Names) -> dict[str, Tensor]:
    if names == "open_clip":
        return {name: value for name, value in inside.items() if name != "attn_mask"}
    kept = {name: value for name, value in inside.items() if name.startswith(("vision_model.", "text_model.", *_HEADS))}
    return from_huggingface(kept)


def _projector(state: Mapping[str, Tensor], beside: str, path: Path) -> dict[str, Tensor]:
    """GRAFT's `projector`: Sequential(LayerNorm, Linear without bias)."""
    bias = state.get(f"{beside}projector.1.bias")
    if bias is not None and bias.any():
        raise GraftError(
            f"{path} has a patch projector with a bias, which GRAFT's published ones do not, and a model folder has no "
            "place for it."
        )
    names = {"norm.weight": "0.weight", "norm.bias": "0.bias", "linear.weight": "1.weight"}
    held = {ours: state.get(f"{beside}projector.{theirs}") for ours, theirs in names.items()}
    return {name: value for name, value in held.items() if value is not None} if None not in held.values() else {}


def _scale(state: Mapping[str, Tensor], beside: str, path: Path) -> float | None:
    """GRAFT's `logit_scale` buffer, which is the scale itself; CLIP's parameter is its logarithm."""
    value = state.get(f"{beside}logit_scale")
    if value is None:
        return None
    if value.numel() != 1 or not 0 < float(value) < float("inf"):
        raise GraftError(
            f"{path} has a logit_scale that is no scale; expected 1 / temperature, such as {1 / 0.07:.2f}."
        )
    return float(value)


def _config_of(path: Path) -> dict[str, Any]:
    """open_clip's model configuration out of transformers' `config.json` of a CLIPModel.

    Raises:
        GraftError: no such file, or something that open_clip's CLIP cannot be.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        vision, text = config["vision_config"], config["text_config"]
        acts = {part.get("hidden_act", "quick_gelu") for part in (vision, text)}
        if len(acts) > 1 or not acts <= {"quick_gelu", "gelu"} or text.get("vocab_size", _VOCABULARY) != _VOCABULARY:
            raise ValueError(f"activations {', '.join(acts)}, vocabulary {text.get('vocab_size')}")
        width, their_width = vision.get("hidden_size", 768), text.get("hidden_size", 512)
        return {
            "embed_dim": config.get("projection_dim", 512),
            "quick_gelu": acts == {"quick_gelu"},
            "vision_cfg": {
                "image_size": vision.get("image_size", 224),
                "layers": vision.get("num_hidden_layers", 12),
                "width": width,
                "head_width": width // vision.get("num_attention_heads", 12),
                "patch_size": vision.get("patch_size", 32),
                "mlp_ratio": vision.get("intermediate_size", 3072) / width,
            },
            "text_cfg": {
                "context_length": text.get("max_position_embeddings", 77),
                "vocab_size": _VOCABULARY,
                "width": their_width,
                "heads": text.get("num_attention_heads", 8),
                "layers": text.get("num_hidden_layers", 12),
                "mlp_ratio": text.get("intermediate_size", 2048) / their_width,
            },
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise GraftError(
            f"{path} does not describe a CLIPModel that open_clip can be ({first_line(error)}). Give the folder of one."
        ) from error
