"""Stand-ins for the tests of `graft segment`: an encoder that looks at colour alone, scenes of three colours."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
import torch.nn.functional as F
from affine import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from torch import Tensor, nn

from graft.scene import SceneView, view_scene
from graft.segment import segment_scene
from graft.segment.summary import Summary
from graft.sensors import get_sensor
from graft.sliding import DenseScorer
from graft.words import ClassWords

UTM = "EPSG:32633"
COLOURS = np.array([[220, 40, 40], [40, 220, 40], [40, 40, 220]], np.uint8)
IDS = ("red", "green", "blue")
PATCH, WINDOW = 8, 32


class MeanColour(nn.Module):
    """A token is the direction of its patch's mean colour. Counts the windows that it was shown."""

    level = "pixel"

    def __init__(self, patch: int = PATCH) -> None:
        super().__init__()
        self.patch, self.shown = patch, 0
        self.bias = nn.Parameter(torch.ones(3), requires_grad=False)

    def tokens(self, tile: Tensor) -> Tensor:
        self.shown += len(tile)
        mean = F.avg_pool2d(tile.float(), self.patch).permute(0, 2, 3, 1)
        return F.normalize(mean + self.bias, dim=-1)


def colour_scorer(patch: int = PATCH, window: int = WINDOW, ids: Sequence[str] = IDS) -> DenseScorer:
    """Classes are the directions of `COLOURS`; further classes point away from every colour."""
    vectors = F.normalize(torch.from_numpy(COLOURS).float(), dim=-1)
    away = -torch.ones(len(ids) - 3, 3) / 3**0.5
    words = ClassWords(
        tuple(ids),
        torch.cat([vectors, away]),
        torch.arange(len(ids)),
        {"name": "colours", "family": "plain", "sha256": "0" * 64},
        None,
    )
    return DenseScorer(MeanColour(patch).eval(), words, "tokens", patch, window)


def checkered(height: int, width: int, side: int = 40, seed: int = 0) -> np.ndarray:
    """Class indices [H, W]: squares of random classes."""
    coarse = np.random.default_rng(seed).integers(0, 3, (-(-height // side), -(-width // side)))
    return coarse.repeat(side, 0).repeat(side, 1)[:height, :width]


def write_rgb(
    path: Path,
    labels: np.ndarray,
    *,
    crs: str | None = UTM,
    transform: Affine | None = None,
    gsd: float = 1.0,
    nodata: np.ndarray | None = None,
    driver: str = "GTiff",
) -> Path:
    """An 8-bit RGB scene (1 m unless said) with the colours of its classes; 0, which means no data, under `nodata`."""
    pixels = COLOURS[labels].transpose(2, 0, 1).copy()
    if nodata is not None:
        pixels[:, nodata] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    place: dict[str, Affine] = {}
    if crs is not None or transform is not None:
        place["transform"] = transform or Affine(gsd, 0, 5e5, 0, -gsd, 5e6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a plain picture is meant
        dataset = rasterio.open(
            path,
            "w",
            driver=driver,
            width=labels.shape[1],
            height=labels.shape[0],
            count=3,
            dtype="uint8",
            crs=crs,
            nodata=None if nodata is None else 0,
            **place,
        )
    with dataset:
        dataset.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        dataset.write(pixels)
    return path


def view_of(path: Path, **settings: Any) -> SceneView:
    return view_scene(path, get_sensor("naip"), 1.0, **settings)


def run(path: Path, out: Path, scorer: Any = None, view: dict[str, Any] | None = None, **settings: Any) -> Summary:
    return segment_scene(view_of(path, **(view or {})), scorer or colour_scorer(), out, **settings)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def class_map(out: Path) -> np.ndarray:
    return read(out.with_name(f"{out.name}.classes.tif"))[0]
