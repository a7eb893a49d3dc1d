"""What somebody without this project does with an export: only numpy, torch and the library itself.

Run as a script: FORMAT FOLDER TILES.npy WORDS.json OUT.npz. No docstring of graft's, no import of graft.
"""

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np


class NoGraft:
    """Makes graft impossible to import, wherever it is installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] == "graft":
            raise ImportError("graft is not here")
        return None


def by_open_clip(folder: Path, tiles: Any, words: list[str]) -> dict[str, Any]:
    import open_clip
    import torch
    from PIL import Image

    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    pixels = torch.stack([preprocess(Image.fromarray(tile)) for tile in tiles])
    with torch.inference_mode():
        image = model.eval().encode_image(pixels, normalize=True)
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(words), normalize=True)
    return {"image": image.numpy(), "text": text.numpy()}


def by_transformers(folder: Path, tiles: Any, words: list[str]) -> dict[str, Any]:
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    model = CLIPModel.from_pretrained(folder).eval()
    pixels = CLIPImageProcessor.from_pretrained(folder)([Image.fromarray(tile) for tile in tiles], return_tensors="pt")
    token = CLIPTokenizer.from_pretrained(folder)(words, padding="max_length", truncation=True, return_tensors="pt")
    with torch.inference_mode():
        image = model.visual_projection(model.vision_model(**pixels).pooler_output)
        text = model.text_projection(model.text_model(**token).pooler_output)
    return {name: (v / v.norm(dim=-1, keepdim=True)).numpy() for name, v in (("image", image), ("text", text))}


def by_onnx(folder: Path, tiles: Any, words: list[str]) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "image.onnx", providers=["CPUExecutionProvider"])
    return {"image": session.run(["image"], {"tile": np.ascontiguousarray(tiles.transpose(0, 3, 1, 2))})[0]}


if __name__ == "__main__":
    sys.meta_path.insert(0, NoGraft())
    kind, folder, tiles, words, out = sys.argv[1:]
    run = {"open_clip": by_open_clip, "transformers": by_transformers, "onnx": by_onnx}[kind]
    np.savez(out, **run(Path(folder), np.load(tiles), json.loads(Path(words).read_text())))
    assert "graft" not in sys.modules
