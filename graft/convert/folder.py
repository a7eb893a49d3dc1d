"""Weights of somebody else, put together with a text tower and a card."""

from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor

from graft.clip import LOCAL, create_clip, identity_of, plain_tower
from graft.convert.published import Published, published
from graft.convert.weights import FoundWeights, find_weights
from graft.encoders import Level, TowerConfig
from graft.errors import GraftError, first_line
from graft.files import sha256_file
from graft.model_card import ModelCard, model_readme
from graft.model_folder import ModelFolder, write_model_folder
from graft.sensors import get_sensor


def convert_checkpoint(
    checkpoint: Path,
    out: Path,
    layout: str,
    sensor: str,
    level: Level | None = None,
    *,
    architecture: str | None = None,
    teacher_weights: str | None = None,
    licence: str = "not stated",
) -> ModelFolder:
    """See `graft.convert.convert`.

    Raises:
        GraftError: input that does not fit.
    """
    row, eye = published(layout), get_sensor(sensor)
    found = find_weights(checkpoint, row.names)
    chosen = _level(found, level, checkpoint)
    clip, name = _clip(found, row, architecture, teacher_weights)
    plain_tower(clip.visual, name)
    identity = identity_of(clip)
    _put_in(clip, found, row, checkpoint)
    if row.text == "own":
        identity = identity_of(clip)
    own_scale = float(clip.logit_scale.detach().exp())
    temperature = 1 / found.logit_scale if found.logit_scale else row.temperature or 1 / own_scale
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    model_cfg = _model_cfg(found, row, architecture)
    card = ModelCard(
        sensor=eye.plain,
        radiometry=eye.radiometry,
        level=chosen,
        temperature=temperature,
        positions=row.positions,
        teacher={"name": name, "identity": identity, "dim": clip.visual.output_dim},
        source={"format": layout, "file": found.file.name, "sha256": sha256_file(found.file), "published": row.source},
        licence=licence,
    )
    vision = dict(model_cfg["vision_cfg"])
    tower = TowerConfig("tower", clip.visual.output_dim, bool(model_cfg.get("quick_gelu")), vision, level=chosen)
    return write_model_folder(
        out,
        clip_config={"model_cfg": model_cfg, "preprocess_cfg": preprocess},
        clip_state=clip.state_dict(),
        projector=found.projector if chosen == "pixel" else None,
        card=card,
        readme=model_readme(card, tower.summary),
    )


def _level(found: FoundWeights, level: Level | None, checkpoint: Path) -> Level:
    if found.projector and level is None:
        raise GraftError(
            f"{checkpoint} has a patch projector, which GRAFT's image models carry untrained. Give --level pixel for a "
            "patch model (graft_naip_patch, graft_sentinel_patch), --level image for the others."
        )
    if level == "pixel" and not found.projector:
        raise GraftError(f"{checkpoint} has no patch projector. Give --level image.")
    return level or "image"


def _model_cfg(found: FoundWeights, row: Published, architecture: str | None) -> dict[str, Any]:
    if found.model_cfg is not None and architecture is None:
        return found.model_cfg
    name = architecture or row.architecture
    if name is None:
        raise GraftError("The checkpoint does not say what it is. Give --architecture, or the folder with config.json.")
    known: dict[str, Any] | None = open_clip.get_model_config(name)
    if known is None:
        raise GraftError(f"open_clip knows no architecture {name!r}. Give --architecture one of its names.")
    return known


def _clip(
    found: FoundWeights, row: Published, architecture: str | None, teacher_weights: str | None
) -> tuple[open_clip.CLIP, str]:
    """The CLIP whose towers are replaced, and its name."""
    if found.model_cfg is not None and architecture is None:
        return open_clip.CLIP(**found.model_cfg).eval(), found.file.parent.name
    name = architecture or row.architecture or ""
    if row.text == "own":
        _model_cfg(found, row, architecture)
        return create_clip(name, None).eval(), f"{name}/{found.file.name}"
    weights = None if name.startswith(LOCAL) else teacher_weights or row.teacher_weights
    return create_clip(name, weights).eval(), f"{name}/{weights}" if weights else name


def _put_in(clip: open_clip.CLIP, found: FoundWeights, row: Published, checkpoint: Path) -> None:
    """Replace the towers that the file holds, whole."""
    state: dict[str, Tensor] = clip.state_dict()
    wanted = {name for name in state if row.text == "own" or name.startswith("visual.")}
    towers = {name: value for name, value in found.towers.items() if row.text == "own" or name in wanted}
    given = towers.keys()
    if given != wanted:
        missing, odd = sorted(wanted - given)[:3], sorted(given - wanted)[:3]
        told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(odd)}"] * bool(odd)
        raise GraftError(f"{checkpoint} {' and '.join(told)}: another architecture. Give --architecture.")
    try:
        clip.load_state_dict(state | {name: value.float() for name, value in towers.items()})
    except RuntimeError as error:
        raise GraftError(
            f"{checkpoint} is of another size than the architecture ({first_line(error)}). Give --architecture."
        ) from error
