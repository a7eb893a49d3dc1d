"""`graft convert`: somebody else's satellite CLIP as a model folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from graft.model_folder import ModelFolder


def convert(
    checkpoint: Path,
    *,
    out: Path,
    layout: str,
    sensor: str,
    level: Literal["image", "pixel"] | None = None,
    architecture: str | None = None,
    teacher_weights: str | None = None,
    licence: str = "not stated",
) -> "ModelFolder":
    """Write somebody else's satellite CLIP as a model folder that every command and graft.load reads.

    Nothing in the checkpoint is run: it is read as data, and one that asks for more is refused.

    Args:
        checkpoint: as published: .ckpt, .pt, .bin, .safetensors, or a Hugging Face folder.
        out: folder to write.
        layout: whose it is: graft, remoteclip, georsclip, skyclip, senclip or clip-rsicd; docs/evaluation.md says how
            each is loaded.
        sensor: row of sensors.yaml that renders the tiles it is to be used on.
        level: image, or pixel for GRAFT's patch models; needed where the checkpoint has a patch projector.
        architecture: open_clip name, or local-dir:FOLDER; that of the layout if not given.
        teacher_weights: tag or file of the CLIP whose text tower is used, where the checkpoint has none.
        licence: of the weights, written to the model card.

    Returns:
        The folder.

    Raises:
        GraftError: input that is missing, hostile or does not fit, one sentence each.
    """
    from graft.convert.folder import convert_checkpoint

    settings: dict[str, Any] = {"architecture": architecture, "teacher_weights": teacher_weights, "licence": licence}
    folder = convert_checkpoint(checkpoint, out, layout, sensor, level, **settings)
    print(f"{folder.path}: {folder.tower.summary}, for {folder.card.sensor['name']} tiles.")
    return folder
