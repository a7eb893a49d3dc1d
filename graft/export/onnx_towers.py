"""Image and text tower as ONNX, for any number and size of images, checked with onnxruntime."""

import logging
import warnings
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from graft.encoders import SatelliteEncoder, run_blocks
from graft.errors import import_extra
from graft.export.parity import INT8_COSINE, RECORD, Parity, compare, probe_texts, probe_tiles
from graft.export.positions import positions_by_matrices
from graft.export.source import Source
from graft.files import whole_folder, write_json
from graft.model_folder import README

IMAGE, IMAGE_INT8, TEXT = "image.onnx", "image.int8.onnx", "text.onnx"
_OPSET = 18


class ImageTower(nn.Module):
    """What the image graph computes.

    Call with uint8 tiles [B, 3, H, W]; returns float32 unit vectors [B, D], and at pixel level the patch tokens
    [B, h, w, D] too. A remainder of H or W past whole patches is ignored.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, encoder: SatelliteEncoder) -> None:
        super().__init__()
        self.tower: VisionTransformer = encoder.tower
        self.projector = encoder.projector
        self.positions = encoder.positions
        mean, std = torch.tensor(encoder.mean), torch.tensor(encoder.std)
        self.register_buffer("scale", (1 / (255 * std))[:, None, None])
        self.register_buffer("shift", (-mean / std)[:, None, None])

    def forward(self, tile: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Look at tiles."""
        tower = self.tower
        patches = tower.conv1(tile.float() * self.scale + self.shift)
        rows, columns = patches.shape[-2:]
        tokens = patches.flatten(2).transpose(1, 2)
        first = tower.class_embedding.expand(tokens.shape[0], 1, -1)
        own = positions_by_matrices(tower.positional_embedding, rows, columns, self.positions)
        seen = run_blocks(tower, tower.ln_pre(torch.cat([first, tokens], dim=1) + own))
        if self.projector is None:
            return F.normalize(tower.ln_post(seen[:, 0]) @ tower.proj, dim=-1)
        projected = F.normalize(self.projector(seen[:, 1:]), dim=-1)
        return F.normalize(projected.mean(1), dim=-1), projected.reshape(-1, rows, columns, projected.shape[-1])


class TextTower(nn.Module):
    """What the text graph computes: token ids int64 [B, context] to float32 unit vectors [B, D]."""

    def __init__(self, clip: open_clip.CLIP) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, token: Tensor) -> Tensor:
        """Read sentences."""
        return F.normalize(self.clip.encode_text(token), dim=-1)


def export_onnx(source: Source, out: Path, *, int8: bool) -> list[Parity]:
    """Write `image.onnx`, `text.onnx`, the model card and a record of the comparison.

    Args:
        source: see `graft.export.source.open_source`.
        out: folder; must not be there.
        int8: also write `image.int8.onnx`, weights of linear maps in 8 bits.

    Raises:
        GraftError: onnx or onnxruntime is not installed, something lies there already, or it gives other vectors.
    """
    for module in ("onnx", "onnxscript", "onnxruntime"):
        import_extra(module, "export")
    with whole_folder(out) as partial:
        window = source.tower.window
        tile, words = probe_tiles(window), open_clip.get_tokenizer(source.architecture)(list(probe_texts()))
        outputs = ["image", "patches"] if source.card.level == "pixel" else ["image"]
        sizes = {0: "batch", 2: "height", 3: "width"}
        _write(ImageTower(source.encoder), tile, partial / IMAGE, ("tile", sizes), outputs)
        _write(TextTower(source.clip), words, partial / TEXT, ("token", {0: "batch"}), ["text"])
        # Sizes beside the window: smaller, larger, and not square.
        patch = source.tower.patch
        others = [(window, window), (window // 2, window // 2), (window + 4 * patch, window - patch)]
        parity = [_compare(source, partial / IMAGE, size) for size in others]
        with torch.inference_mode():
            ours = F.normalize(source.clip.encode_text(words), dim=-1)
        parity.append(compare("words by onnxruntime", _run(partial / TEXT, words)[0], ours))
        if int8:
            parity.append(_quantise(source, partial, (window, window)))
        (partial / README).write_text(source.readme, encoding="utf-8")
        write_json(
            partial / RECORD,
            {
                "card": source.card.plain(),
                "parity": [each.plain() for each in parity],
                "input": "uint8 RGB display values [batch, 3, height, width]; normalisation is inside",
                "tokenizer": "CLIP's byte-pair encoding, as open_clip and transformers have it",
                "context_length": int(words.shape[1]),
            },
        )
    return parity


def _write(
    module: nn.Module, example: Tensor, path: Path, given: tuple[str, dict[int, str]], outputs: list[str]
) -> None:
    name, sizes = given
    dynamic = dict.fromkeys(sizes, torch.export.Dim.DYNAMIC)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's, about operators of torchvision that nothing here has
            torch.onnx.export(
                module.eval(),
                (example,),
                path,
                input_names=[name],
                output_names=outputs,
                dynamic_shapes=(dynamic,),
                opset_version=_OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        logging.disable(logging.NOTSET)


def _run(path: Path, given: Tensor) -> list[Tensor]:
    runtime: Any = import_extra("onnxruntime", "export")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [torch.from_numpy(each) for each in session.run(None, {session.get_inputs()[0].name: given.numpy()})]


def _compare(source: Source, path: Path, size: tuple[int, int], *, least_cosine: float | None = None) -> Parity:
    tile = probe_tiles(max(size))[:, :, : size[0], : size[1]].contiguous()
    seen = _run(path, tile)
    pixel_level = source.card.level == "pixel"
    with torch.inference_mode():
        ours = source.encoder.tokens(tile) if pixel_level else source.encoder(tile)
    what = f"{'patches' if pixel_level else 'tiles'} of {size[1]} x {size[0]} px by onnxruntime"
    return compare(what + (" in 8 bits" if least_cosine else ""), seen[-1], ours, least_cosine=least_cosine)


def _quantise(source: Source, folder: Path, size: tuple[int, int]) -> Parity:
    quantisation: Any = import_extra("onnxruntime.quantization", "export")
    logging.disable(logging.WARNING)
    try:
        quantisation.quantize_dynamic(
            folder / IMAGE, folder / IMAGE_INT8, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True
        )
    finally:
        logging.disable(logging.NOTSET)
    return _compare(source, folder / IMAGE_INT8, size, least_cosine=INT8_COSINE)
