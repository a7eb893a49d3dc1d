"""CLIP models from open_clip: made, checked and identified."""

import hashlib
import logging
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import open_clip
from open_clip.transformer import VisionTransformer
from torch import nn

from graft.errors import GraftError, first_line

LOCAL: str = open_clip.factory.LOCAL_DIR_PREFIX
"""Before the path of an open_clip folder in the place of an architecture."""


@cache
def _register_model_configs() -> None:
    with as_file(files("graft") / "model_configs") as folder:
        open_clip.add_model_config(folder)


def create_clip(architecture: str, weights: str | None, *, patch_dropout: float | None = None) -> open_clip.CLIP:
    """Create a CLIP model (both towers) with its weights, on the CPU in float32.

    Args:
        architecture: an open_clip name, a name in `graft/model_configs`, or `local-dir:PATH` (an open_clip folder).
        weights: a tag of open_clip, the path of a `.safetensors` or `.pt` state dict, or None (random, or the
            folder's own for `local-dir:`).
        patch_dropout: fraction of patch tokens dropped in train mode.

    Raises:
        GraftError: unknown architecture, weights that cannot be found or downloaded or do not fit.
    """
    _register_model_configs()
    local = architecture.startswith(LOCAL)
    if local and weights is not None:
        raise GraftError(
            f"{architecture} holds its own weights, but weights {weights!r} are given too: set weights to null."
        )
    if not local and architecture not in open_clip.list_models():
        raise GraftError(
            f"Unknown architecture {architecture!r}: expected a name of open_clip.list_models() "
            "(OpenAI weights need a '-quickgelu' name) or local-dir:FOLDER with an open_clip_config.json."
        )
    known_tags = [] if local else open_clip.list_pretrained_tags_by_model(architecture)
    is_file = weights is not None and Path(weights).is_file()
    if weights is not None and not local and not is_file and weights not in known_tags:
        raise GraftError(
            f"Weights {weights!r} are neither a file nor a tag of {architecture}. "
            f"Tags: {', '.join(known_tags) or 'none'}."
        )
    logging.disable(logging.ERROR)  # open_clip and the hub client log the fault that is told below
    try:
        return open_clip.create_model(
            architecture,
            pretrained=None if local else weights,
            force_patch_dropout=patch_dropout,
            require_pretrained=local or weights is not None,
        )
    except Exception as error:  # open_clip and the hub client raise many types for one fault
        if is_file or local:
            where = weights if is_file else architecture
            raise GraftError(f"{where} does not hold weights of {architecture}: {first_line(error)}") from error
        raise GraftError(
            f"The weights {weights!r} of {architecture} could not be downloaded ({first_line(error)}). "
            "Fetch them on a machine with a network and point to the file, "
            "e.g. --model.init_args.weights=/path/to/open_clip_model.safetensors (graft prepare: --teacher-weights)."
        ) from error
    finally:
        logging.disable(logging.NOTSET)


def plain_tower(visual: nn.Module, architecture: str) -> VisionTransformer:
    """The image tower, if it is a plain ViT with a class token.

    Raises:
        GraftError: any other kind of tower.
    """
    plain = isinstance(visual, VisionTransformer) and visual.pool_type == "tok" and visual.attn_pool is None
    if not plain:
        raise GraftError(
            f"{architecture} has no plain ViT image tower with a class token, which graft needs. "
            "Use one such as ViT-B-16-quickgelu or ViT-L-14-quickgelu."
        )
    return visual


def identity_of(model: nn.Module) -> str:
    """Hex sha256 over names, shapes and float32 values of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()
