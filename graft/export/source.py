"""What is exported: the trained encoder inside its teacher's CLIP, with a card."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import open_clip
import yaml
from torch import Tensor

from graft.checkpoint import LoadedEncoder, load_encoder
from graft.clip import LOCAL, create_clip, identity_of
from graft.encoders import SatelliteEncoder, TowerConfig
from graft.errors import GraftError, first_line
from graft.files import sha256_file
from graft.model_card import ModelCard, model_readme
from graft.model_folder import CALIBRATION, is_model_folder, read_model_folder
from graft.results import ResultRow, read_rows
from graft.sensors import get_sensor
from graft.teacher import architecture_and_weights


@dataclass(frozen=True)
class Source:
    """A model that is to be exported.

    Attributes:
        encoder: in eval mode, float32.
        tower: what it was built from.
        clip: the teacher's CLIP with the encoder's tower in the place of its own.
        architecture: of the teacher, for its tokenizer.
        clip_config: `model_cfg` and `preprocess_cfg`.
        card: of the model folder.
        readme: the model card for people.
        calibration: `vqa.json` of the model, if there is one.
    """

    encoder: SatelliteEncoder
    tower: TowerConfig
    clip: open_clip.CLIP
    architecture: str
    clip_config: dict[str, Any]
    card: ModelCard
    readme: str
    calibration: Path | None

    @property
    def projector(self) -> dict[str, Tensor] | None:
        """Weights of the patch projector; None at image level."""
        return None if self.encoder.projector is None else dict(self.encoder.projector.state_dict())


def open_source(
    model: Path, teacher: str | None, teacher_weights: str | None, results: Path | None, licence: str
) -> Source:
    """Load a model and its teacher's text tower; see `graft.export.export` for the arguments.

    Raises:
        GraftError: no such model or teacher, another teacher, a control in the place of an encoder, or no rows of it.
    """
    loaded = load_encoder(model)
    encoder = loaded.encoder
    if not isinstance(encoder, SatelliteEncoder):
        raise GraftError(f"{model} holds {loaded.config.summary}, which has no tower to export. Give another --model.")
    if is_model_folder(model) and (teacher is not None or teacher_weights is not None):
        raise GraftError(f"{model} holds the text tower of its teacher. Leave --teacher and --teacher-weights out.")
    architecture, weights = architecture_and_weights(loaded.teacher["name"])
    if teacher is not None:
        architecture, weights = teacher, None
    clip = create_clip(architecture, teacher_weights or weights).eval().requires_grad_(requires_grad=False)
    if is_model_folder(model):
        folder = read_model_folder(model)
        card = replace(folder.card, licence=folder.card.licence if licence == "not stated" else licence)
        clip_config = folder.clip_config
    else:
        identity = identity_of(clip)
        if identity != loaded.teacher["identity"]:
            raise GraftError(
                f"The model was aligned to {loaded.teacher['name']} ({loaded.teacher['identity'][:12]}), but "
                f"{architecture} is another CLIP ({identity[:12]}). Give the --teacher it was aligned to."
            )
        card, clip_config = _card(model, loaded, licence), _clip_config(architecture, loaded.config)
        clip.visual.load_state_dict(encoder.tower.state_dict())
    rows = _rows_of(loaded.sha256, results)
    calibration = (model if model.is_dir() else model.parent) / CALIBRATION
    return Source(
        encoder.float(),
        loaded.config,
        clip,
        architecture,
        clip_config,
        card,
        model_readme(card, loaded.config.summary, rows),
        calibration if calibration.is_file() else None,
    )


def _card(model: Path, loaded: LoadedEncoder, licence: str) -> ModelCard:
    run = _run_config(model)
    return ModelCard(
        sensor=get_sensor(loaded.sensor).plain,
        radiometry=loaded.radiometry,
        level=loaded.level,
        temperature=1 / loaded.logit_scale,
        positions=loaded.config.positions,
        teacher=dict(loaded.teacher),
        source={"format": "graft checkpoint", "file": model.name, "sha256": sha256_file(model)},
        training={"step": loaded.step, "code_version": loaded.code_version, "config": run},
        licence=licence,
    )


def _run_config(model: Path) -> dict[str, Any] | None:
    """The run's `config.yaml`, which `main.py fit` leaves in the newest log folder beside the checkpoint."""
    found = sorted(model.parent.glob("lightning_logs/*/config.yaml"), key=lambda path: path.stat().st_mtime)
    try:
        config: dict[str, Any] | None = yaml.safe_load(found[-1].read_text(encoding="utf-8")) if found else None
    except (OSError, yaml.YAMLError) as error:
        raise GraftError(f"{found[-1]} cannot be read ({first_line(error)}). Mend or remove it.") from error
    return config


def _clip_config(architecture: str, tower: TowerConfig) -> dict[str, Any]:
    model_cfg: dict[str, Any] = open_clip.get_model_config(architecture)
    vision = {key: value for key, value in tower.vision_cfg.items() if key != "patch_dropout"}
    name = architecture.removeprefix(LOCAL)
    if "custom_text" in model_cfg or "text_cfg" not in model_cfg:
        raise GraftError(f"{name} has a text tower of its own kind, which open_clip's CLIP cannot hold.")
    preprocess = {"mean": list(tower.mean), "std": list(tower.std)}
    return {"model_cfg": model_cfg | {"vision_cfg": vision}, "preprocess_cfg": preprocess}


def _rows_of(model_sha256: str, results: Path | None) -> list[ResultRow]:
    if results is None:
        return []
    if not results.is_file():
        raise GraftError(f"No results file at {results}. Give the JSON that `main.py test` wrote.")
    rows = [row for row in read_rows(results) if row["model_sha256"] == model_sha256]
    if not rows:
        raise GraftError(
            f"{results} has no row of this model ({model_sha256[:12]}). Evaluate it first, or leave it out."
        )
    return rows
