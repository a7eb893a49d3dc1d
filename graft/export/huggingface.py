"""A CLIPModel folder of Hugging Face transformers, checked with plain transformers."""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from graft.clip_names import to_huggingface
from graft.encoders import PatchProjector, normalise
from graft.errors import GraftError, import_extra
from graft.export.parity import RECORD, Parity, compare_all, probe_texts, probe_tiles
from graft.export.source import Source
from graft.files import whole_folder, write_json
from graft.model_folder import PROJECTOR, README, write_tensors

_SPECIAL = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
"""open_clip's names of the two marks, and transformers'."""


def export_huggingface(source: Source, out: Path) -> list[Parity]:
    """Write `config.json`, `model.safetensors`, the tokenizer, the image processor, and a patch projector if any.

    Position embeddings at other sizes than the window are resized in transformers' way, whatever the model's own is.

    Raises:
        GraftError: transformers is not installed, something lies there already, or it gives other vectors.
    """
    transformers = import_extra("transformers", "export")
    transformers.utils.logging.disable_progress_bar()
    with whole_folder(out) as partial:
        model = transformers.CLIPModel(transformers.CLIPConfig(**_config(source)))
        model.load_state_dict(to_huggingface(source.clip.state_dict()))
        model.save_pretrained(partial)
        _write_tokenizer(transformers, source, partial)
        side = source.tower.window
        transformers.CLIPImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=list(source.tower.mean),
            image_std=list(source.tower.std),
        ).save_pretrained(partial)
        if source.projector is not None:
            write_tensors(partial / PROJECTOR, source.projector)
        (partial / README).write_text(source.readme, encoding="utf-8")
        parity = _check(transformers, source, partial)
        write_json(partial / RECORD, {"card": source.card.plain(), "parity": [each.plain() for each in parity]})
    return parity


def _config(source: Source) -> dict[str, Any]:
    model = source.clip_config["model_cfg"]
    vision, text, dim = model["vision_cfg"], model["text_cfg"], model["embed_dim"]
    act = "quick_gelu" if model.get("quick_gelu") else "gelu"
    return {
        "projection_dim": dim,
        "vision_config": {
            "hidden_size": vision["width"],
            "intermediate_size": int(vision["width"] * vision.get("mlp_ratio", 4.0)),
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["width"] // vision.get("head_width", 64),
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "projection_dim": dim,
            "hidden_act": act,
        },
        "text_config": {
            "hidden_size": text["width"],
            "intermediate_size": int(text["width"] * text.get("mlp_ratio", 4.0)),
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
            "vocab_size": text["vocab_size"],
            "projection_dim": dim,
            "hidden_act": act,
            "bos_token_id": text["vocab_size"] - 2,
            "eos_token_id": text["vocab_size"] - 1,
        },
    }


def _write_tokenizer(transformers: Any, source: Source, folder: Path) -> None:
    ours = open_clip.get_tokenizer(source.architecture)
    if not isinstance(ours, open_clip.SimpleTokenizer):
        raise GraftError(
            f"{source.architecture} reads words with a tokenizer of its own ({type(ours).__name__}); transformers' "
            "CLIPModel needs CLIP's. Export to open_clip."
        )
    merges = sorted(ours.bpe_ranks, key=ours.bpe_ranks.__getitem__)
    vocabulary = {_SPECIAL.get(word, word): number for word, number in ours.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=ours.context_length)
    tokenizer.save_pretrained(folder)


def _check(transformers: Any, source: Source, folder: Path) -> list[Parity]:
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
    texts = list(probe_texts())
    words = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
    tile = probe_tiles(source.tower.window)
    pixels = normalise(tile, source.tower.mean, source.tower.std, torch.float32)
    ours = open_clip.get_tokenizer(source.architecture)(texts)

    def text() -> Tensor:
        return F.normalize(model.text_projection(model.text_model(**words).pooler_output), dim=-1)

    def image() -> Tensor:
        return F.normalize(model.visual_projection(model.vision_model(pixels).pooler_output), dim=-1)

    def patches() -> Tensor:
        if source.encoder.projector is None:
            raise RuntimeError("an image-level encoder has no projector")
        projector: PatchProjector = source.encoder.projector
        return F.normalize(projector(model.vision_model(pixels).last_hidden_state[:, 1:]), dim=-1)

    pairs = [("words by plain transformers", text, lambda: F.normalize(source.clip.encode_text(ours), dim=-1))]
    if source.card.level == "pixel":
        pairs.append(("patches by plain transformers", patches, lambda: source.encoder.tokens(tile).flatten(1, 2)))
    else:
        pairs.append(("tiles by plain transformers", image, lambda: source.encoder(tile)))
    return compare_all(pairs)
