"""Checkpoints in the layouts that others published, small and with random weights."""

import pickle
from pathlib import Path
from typing import Any

import open_clip
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from graft.clip_names import to_huggingface
from tests.conftest import write_clip_folder

WINDOW = 224
SMALL_CLIP: dict[str, Any] = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": WINDOW, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


class Official(nn.Module):
    """GRAFT's model as the public code that loads its checkpoints builds it."""

    def __init__(self) -> None:
        super().__init__()
        config = CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=WINDOW,
            patch_size=16,
            projection_dim=32,
        )
        self.satellite_image_backbone = CLIPVisionModelWithProjection(config).eval()
        self.projector = nn.Sequential(nn.LayerNorm(64, eps=config.layer_norm_eps), nn.Linear(64, 32, bias=False))
        self.register_buffer("logit_scale", torch.tensor(1 / 0.07))
        nn.init.normal_(self.projector[0].weight, 1, 0.1)

    @torch.inference_mode()
    def image(self, pixels: Tensor) -> Tensor:
        seen = self.satellite_image_backbone(pixels, interpolate_pos_encoding=True)
        return nn.functional.normalize(seen.image_embeds, dim=-1)

    @torch.inference_mode()
    def patches(self, pixels: Tensor) -> Tensor:
        seen = self.satellite_image_backbone(pixels, interpolate_pos_encoding=True)
        return nn.functional.normalize(self.projector(seen.last_hidden_state), dim=-1)[:, 1:]


def make_official(seed: int = 0) -> Official:
    torch.manual_seed(seed)
    model = Official().eval()
    for parameter in model.parameters():  # transformers starts norms and biases at one and zero
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    return model


def write_official(path: Path, model: Official, **entries: object) -> Path:
    """A Lightning checkpoint with a pickled omegaconf configuration in it."""
    settings = {"lr": 1e-5, "data": {"sizes": [224, 224], "lr": "${lr}"}, "name": None}
    torch.save(
        {
            "epoch": 9,
            "global_step": 1234,
            "pytorch-lightning_version": "2.0.0",
            "state_dict": model.state_dict(),
            "hyper_parameters": {"config": OmegaConf.create(settings)},
            "callbacks": {},
            **entries,
        },
        path,
    )
    return path


class Bomb:
    """Runs a command where it is unpickled in the usual way."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (self.command,)


def small_teacher(folder: Path, **changes: object) -> str:
    """An open_clip folder in the place of OpenAI's ViT-B/16."""
    return f"local-dir:{write_clip_folder(folder, SMALL_CLIP | changes, seed=5)}"


def write_open_clip(path: Path, clip: open_clip.CLIP, prefix: str = "") -> Path:
    """A state dict as RemoteCLIP and GeoRSCLIP publish it; with a prefix as open_clip's training saves it."""
    state = {prefix + name: value for name, value in clip.state_dict().items()}
    torch.save({"epoch": 20, "name": "x", "state_dict": state, "optimizer": {}} if prefix else state, path)
    return path


def write_huggingface(folder: Path, clip: open_clip.CLIP) -> Path:
    """A CLIPModel folder by transformers itself."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig

    vision, text = SMALL_CLIP["vision_cfg"], SMALL_CLIP["text_cfg"]
    config = CLIPConfig(
        text_config=CLIPTextConfig(
            hidden_size=text["width"],
            intermediate_size=4 * text["width"],
            num_hidden_layers=text["layers"],
            num_attention_heads=text["heads"],
            max_position_embeddings=text["context_length"],
            projection_dim=32,
        ).to_dict(),
        vision_config=CLIPVisionConfig(
            hidden_size=vision["width"],
            intermediate_size=4 * vision["width"],
            num_hidden_layers=vision["layers"],
            num_attention_heads=2,
            image_size=vision["image_size"],
            patch_size=vision["patch_size"],
            projection_dim=32,
        ).to_dict(),
        projection_dim=32,
    )
    model = CLIPModel(config)
    model.load_state_dict(to_huggingface(clip.state_dict()))
    model.save_pretrained(folder)
    return folder


def pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=2)
