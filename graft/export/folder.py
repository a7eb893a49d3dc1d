"""The model folder, checked with plain open_clip."""

from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from graft.clip import LOCAL
from graft.encoders import PatchProjector, normalise
from graft.export.parity import Parity, compare_all, probe_texts, probe_tiles
from graft.export.source import Source
from graft.model_folder import PROJECTOR, write_model_folder


def export_folder(source: Source, out: Path) -> list[Parity]:
    """Write a model folder.

    Raises:
        GraftError: something lies there already, or plain open_clip gives other vectors.
    """
    parity: list[Parity] = []
    write_model_folder(
        out,
        clip_config=source.clip_config,
        clip_state=source.clip.state_dict(),
        projector=source.projector,
        card=source.card,
        readme=source.readme,
        calibration=source.calibration,
        check=lambda folder: parity.extend(_check(source, folder)),
    )
    return parity


def _check(source: Source, folder: Path) -> list[Parity]:
    clip, _, _ = open_clip.create_model_and_transforms(f"{LOCAL}{folder}")
    clip.eval()
    tile, tokenizer = probe_tiles(source.tower.window), open_clip.get_tokenizer(f"{LOCAL}{folder}")
    words = tokenizer(list(probe_texts()))
    pixels = normalise(tile, source.tower.mean, source.tower.std, torch.float32)
    pairs = [
        (
            "words by plain open_clip",
            lambda: F.normalize(clip.encode_text(words), dim=-1),
            lambda: F.normalize(source.clip.encode_text(words), dim=-1),
        )
    ]
    if source.card.level == "pixel":
        pairs.append(
            ("patches by plain open_clip", lambda: _patches(clip, pixels, folder), lambda: _ours(source, tile))
        )
    else:
        pairs.append(
            (
                "tiles by plain open_clip",
                lambda: F.normalize(clip.encode_image(pixels), dim=-1),
                lambda: source.encoder(tile),
            )
        )
    return compare_all(pairs)


def _ours(source: Source, tile: Tensor) -> Tensor:
    return source.encoder.tokens(tile).flatten(1, 2)


def _patches(clip: open_clip.CLIP, pixels: Tensor, folder: Path) -> Tensor:
    """Patch tokens by the tower's own forward; a hook takes them before `ln_post`."""
    from safetensors.torch import load_file

    seen: list[Tensor] = []
    hook = clip.visual.transformer.register_forward_hook(lambda module, given, out: seen.append(out))
    clip.encode_image(pixels)
    hook.remove()
    projector = PatchProjector(clip.visual)
    projector.load_state_dict(load_file(folder / PROJECTOR))
    return F.normalize(projector(seen[0][:, 1:]), dim=-1)
