"""A scene, its truth and a prediction side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from graft.files import atomic_path
from graft.palette import palette
from graft.segmentation_metrics import IGNORED

_SIDE = 700
_IGNORED_COLOUR = (0.85, 0.85, 0.85)


def save_scene_png(
    path: Path,
    image: npt.NDArray[np.uint8],
    maps: Sequence[tuple[str, npt.NDArray[np.uint8]]],
    ids: Sequence[str],
    title: str,
) -> None:
    """Draw a picture and label maps of the same ground side by side, with a legend, and write them as a PNG.

    Args:
        path: where to write, whole or not at all.
        image: uint8 [H, W, 3].
        maps: title and uint8 [h, w] class indices or 255, of any size each.
        ids: C class ids.
        title: one line above the pictures.
    """
    colours = np.array(palette(ids)) / 255
    table = np.full((IGNORED + 1, 3), _IGNORED_COLOUR)
    table[: len(ids)] = colours
    scale = min(_SIDE / max(image.shape[:2]), 1)
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    figure = Figure(figsize=(4.5 * (1 + len(maps)), 4.5 * size[1] / size[0] + 1.2), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(maps))
    first.imshow(np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)))
    first.set_title("picture", fontsize=9)
    shown = np.zeros(IGNORED + 1, bool)
    for axes, (name, labels) in zip(others, maps, strict=True):
        small = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
        shown[np.unique(small)] = True
        axes.imshow(table[small])
        axes.set_title(name, fontsize=9)
    for axes in (first, *others):
        axes.set_axis_off()
    entries = [Patch(color=colours[k], label=name) for k, name in enumerate(ids) if shown[k]]
    if shown[IGNORED]:
        entries.append(Patch(color=_IGNORED_COLOUR, label="not scored"))
    figure.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), 7), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=100)
