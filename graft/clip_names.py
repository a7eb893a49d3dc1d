"""CLIP's weights under open_clip's names and under Hugging Face transformers' names, both ways.

open_clip keeps query, key and value in one matrix (`attn.in_proj_weight`), transformers in three; projections to the
shared space are transposed. `pre_layrnorm` is how transformers spells it.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_VISION = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TEXT = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text_projection": "text_projection.weight"}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_THEIR_BLOCK = {theirs: ours for ours, theirs in _BLOCK.items()}
_THEIR_NAME = {theirs: ours for ours, theirs in (_VISION | _TEXT).items()}
_THEIR_TRANSPOSED = {theirs: ours for ours, theirs in _TRANSPOSED.items()}
_OUR_LAYER = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)\.(weight|bias)")
_THEIR_LAYER = re.compile(r"(vision|text)_model\.encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
_PARTS = ("q_proj", "k_proj", "v_proj")
_BUFFERS = ("vision_model.embeddings.position_ids", "text_model.embeddings.position_ids", "attn_mask")


def to_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an open_clip CLIP, or of its image tower alone, under transformers' names.

    Raises:
        KeyError: a name that a plain CLIP does not have.
    """
    made: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in _BUFFERS:
            continue
        joined = re.fullmatch(r"(visual\.)?transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)", name)
        if joined:
            for part, third in zip(_PARTS, value.chunk(3), strict=True):
                made[f"{_model(joined[1])}.encoder.layers.{joined[2]}.self_attn.{part}.{joined[3]}"] = third
        elif layer := _OUR_LAYER.fullmatch(name):
            made[f"{_model(layer[1])}.encoder.layers.{layer[2]}.{_BLOCK[layer[3]]}.{layer[4]}"] = value
        elif name in _TRANSPOSED:
            made[_TRANSPOSED[name]] = value.T
        else:
            made[(_VISION | _TEXT)[name]] = value
    return {name: value.contiguous() for name, value in made.items()}


def from_huggingface(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The opposite of `to_huggingface`.

    Raises:
        KeyError: a name that a plain CLIP does not have, or a query, key or value projection that is missing.
    """
    made: dict[str, Tensor] = {}
    for name, value in state.items():
        if name in _BUFFERS:
            continue
        if layer := _THEIR_LAYER.fullmatch(name):
            tower = "visual." if layer[1] == "vision" else ""
            block = f"{tower}transformer.resblocks.{layer[2]}"
            _, _, part = layer[3].rpartition(".")
            if part == _PARTS[0]:
                thirds = [state[name.replace(_PARTS[0], each)] for each in _PARTS]
                made[f"{block}.attn.in_proj_{layer[4]}"] = torch.cat(thirds)
            elif part not in _PARTS:
                made[f"{block}.{_THEIR_BLOCK[layer[3]]}.{layer[4]}"] = value
        elif name in _THEIR_TRANSPOSED:
            made[_THEIR_TRANSPOSED[name]] = value.T
        else:
            made[_THEIR_NAME[name]] = value
    return {name: value.contiguous() for name, value in made.items()}


def _model(prefix: str | None) -> str:
    return "vision_model" if prefix else "text_model"
