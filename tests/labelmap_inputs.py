"""Pictures and label maps as files, and the prompt set of each label profile."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from PIL import Image

from graft.labelmaps import LabelledScene, LabelledScenes
from graft.prompts import load_prompts

UTM = {"crs": "EPSG:32633", "transform": Affine(1, 0, 500_000, 0, -1, 5_500_000)}
PROMPTS_OF = {
    "loveda": "loveda",
    "isprs-torchgeo": "potsdam",
    "isprs-mmseg": "potsdam",
    "openearthmap": "openearthmap",
    "chesapeake": "chesapeake",
    "satlas-landcover": "satlas_landcover",
}


def ids_of(profile: str) -> tuple[str, ...]:
    return load_prompts(PROMPTS_OF[profile]).ids


def png(path: Path, values: Any, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values), mode).save(path)
    return path


def tif(path: Path, bands: Any, **profile: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(bands)
    values = values[None] if values.ndim == 2 else values
    count, height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, **profile
    ) as file:
        file.write(values)
    return path


def grey(side: int, value: int = 90) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((side, side, 3), value, np.uint8)


def scene(dataset: LabelledScenes, name: str) -> LabelledScene:
    sample = dataset[list(dataset.layout.names).index(name)]
    assert sample.scene is not None, sample.fault
    return sample.scene


def isprs_mask(side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The official colours: one row each of clutter, impervious, building, low vegetation, tree, car."""
    colours = [(255, 0, 0), (255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0)]
    return np.repeat(np.array(colours, np.uint8)[:, None], side, axis=1)
