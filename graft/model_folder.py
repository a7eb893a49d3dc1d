"""Model folders: an open_clip folder with a card, that plain open_clip, `graft.load` and every command read."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from graft.encoders import TowerConfig
from graft.errors import GraftError, first_line
from graft.files import sha256_file, whole_folder, write_json
from graft.model_card import ModelCard, read_card
from graft.sensors import add_sensor

CARD, CONFIG, WEIGHTS = "graft.json", "open_clip_config.json", "open_clip_model.safetensors"
PROJECTOR, README, CALIBRATION = "patch_projector.safetensors", "README.md", "vqa.json"


@dataclass(frozen=True)
class ModelFolder:
    """A folder whose files are what its card says.

    Attributes:
        path: of the folder.
        card: `graft.json`.
        clip_config: `open_clip_config.json`: `model_cfg` and `preprocess_cfg`.
    """

    path: Path
    card: ModelCard
    clip_config: dict[str, Any]

    @property
    def tower(self) -> TowerConfig:
        """What the satellite encoder is built from."""
        model, pixels = self.clip_config["model_cfg"], self.clip_config["preprocess_cfg"]
        return TowerConfig(
            "tower",
            int(model["embed_dim"]),
            bool(model.get("quick_gelu", False)),
            dict(model["vision_cfg"]),
            tuple(pixels["mean"]),
            tuple(pixels["std"]),
            self.card.level,
            self.card.positions,
        )

    def encoder_state(self) -> dict[str, Tensor]:
        """The weights under the names of `graft.encoders.SatelliteEncoder`."""
        weights = _tensors(self.path / WEIGHTS)
        state = {f"tower.{k.removeprefix('visual.')}": v for k, v in weights.items() if k.startswith("visual.")}
        if self.card.level == "pixel":
            state |= {f"projector.{key}": value for key, value in _tensors(self.path / PROJECTOR).items()}
        return state


def is_model_folder(path: Path) -> bool:
    """Whether a path looks like a model folder."""
    return (path / CARD).is_file()


def write_model_folder(
    folder: Path,
    *,
    clip_config: Mapping[str, Any],
    clip_state: Mapping[str, Tensor],
    projector: Mapping[str, Tensor] | None,
    card: ModelCard,
    readme: str,
    calibration: Path | None = None,
    check: Callable[[Path], None] | None = None,
) -> ModelFolder:
    """Write a model folder, whole or not at all.

    Args:
        folder: must not exist, or be empty.
        clip_config: `model_cfg` and `preprocess_cfg` as open_clip writes them.
        clip_state: float weights of a whole open_clip CLIP: the satellite tower in `visual.`, the teacher's text tower.
        projector: of `graft.encoders.PatchProjector`; None at image level.
        card: `hashes` are filled in here.
        readme: see `graft.model_card.model_readme`.
        calibration: `vqa.json` of the same weights.
        check: looks at the open_clip folder before it appears, and may raise.

    Raises:
        GraftError: something lies there already, or the folder cannot be written.
    """
    with whole_folder(folder) as partial:
        write_json(partial / CONFIG, clip_config)
        write_tensors(partial / WEIGHTS, clip_state)
        if projector is not None:
            write_tensors(partial / PROJECTOR, projector)
        (partial / README).write_text(readme, encoding="utf-8")
        if calibration is not None:
            shutil.copyfile(calibration, partial / CALIBRATION)
        if check is not None:
            check(partial)
        whole = replace(card, hashes={file.name: sha256_file(file) for file in sorted(partial.iterdir())})
        write_json(partial / CARD, whole.plain())
    return ModelFolder(folder, whole, dict(clip_config))


def read_model_folder(folder: Path) -> ModelFolder:
    """Open a model folder: check the card and every hash; only JSON and safetensors files are read.

    Its sensor becomes known to `graft.sensors` for this process.

    Raises:
        GraftError: no model folder, files that are missing, links or other than the card says, or another format.
    """
    if not is_model_folder(folder):
        raise GraftError(
            f"{folder} is no model folder: it has no {CARD}. Make one with `graft export` from a checkpoint, or with "
            "`graft convert` from somebody else's weights."
        )
    card = read_card(_json(folder / CARD), str(folder / CARD))
    needed = {CONFIG, WEIGHTS} | ({PROJECTOR} if card.level == "pixel" else set())
    if missing := needed - card.hashes.keys():
        raise GraftError(f"{folder / CARD} does not list {', '.join(sorted(missing))}. Get the folder again.")
    for name, expected in card.hashes.items():
        file = folder / name
        if Path(name).name != name or file.is_symlink() or not file.is_file():
            raise GraftError(f"{file} is missing, or no plain file of the folder. Get the folder again.")
        # A person may edit README.md, and `graft calibrate` writes vqa.json anew, bound to the weights by itself.
        if name not in (README, CALIBRATION) and sha256_file(file) != expected:
            raise GraftError(f"{file} is not the file that {CARD} describes (other sha256). Get the folder again.")
    clip_config = _json(folder / CONFIG)
    if not isinstance(clip_config, dict) or not {"model_cfg", "preprocess_cfg"} <= clip_config.keys():
        raise GraftError(f"{folder / CONFIG} has no model_cfg and preprocess_cfg. Get the folder again.")
    add_sensor(card.sensor_row)
    return ModelFolder(folder, card, clip_config)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, which takes contiguous ones alone."""
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GraftError(f"{path} cannot be read as JSON ({first_line(error)}). Get the folder again.") from error


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise GraftError(f"{path} cannot be read ({first_line(error)}). Get the folder again.") from error
