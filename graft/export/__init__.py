"""`graft export`: a trained model in the formats that other software reads."""

from pathlib import Path
from typing import Literal


def export(
    model: Path,
    *,
    out: Path,
    format: Literal["open_clip", "transformers", "onnx"] = "open_clip",
    int8: bool = False,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    results: Path | None = None,
    licence: str = "not stated",
) -> None:
    """Write a model in the format of open_clip, transformers or ONNX, and check that it gives the same vectors.

    open_clip is the model folder that graft.load and every --model read, and that plain open_clip loads. transformers
    is a CLIPModel folder with its tokenizer. ONNX is an image tower for any number and size of images, and a text
    tower.

    Args:
        model: training checkpoint, runs/NAME/last.ckpt, or a model folder.
        out: folder to write; must not be there.
        format: open_clip, transformers or onnx.
        int8: also write an ONNX image tower with 8-bit weights: smaller, and less exact.
        teacher: architecture of the CLIP whose text tower goes in; the one that the model was aligned to if not given.
        teacher_weights: tag or file.
        results: results file whose rows of this model go into the model card.
        licence: of the weights, written to the model card.

    Raises:
        GraftError: input that is missing or does not fit, or an export that gives other vectors.
    """
    from graft.errors import GraftError
    from graft.export.parity import parity_lines
    from graft.export.source import open_source

    if int8 and format != "onnx":
        raise GraftError(f"--int8 is for ONNX, and --format is {format}. Give --format onnx, or leave --int8 out.")
    source = open_source(model, teacher, teacher_weights, results, licence)
    if format == "open_clip":
        from graft.export.folder import export_folder

        parity = export_folder(source, out)
    elif format == "transformers":
        from graft.export.huggingface import export_huggingface

        parity = export_huggingface(source, out)
    else:
        from graft.export.onnx_towers import export_onnx

        parity = export_onnx(source, out, int8=int8)
    print(f"{out}: {source.tower.summary}")
    for line in parity_lines(parity):
        print(line)
