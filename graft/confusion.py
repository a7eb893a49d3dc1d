"""A confusion matrix as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from graft.files import atomic_path


def save_confusion_png(path: Path, confusion: Tensor, classes: Sequence[str], title: str) -> None:
    """Draw a confusion matrix, rows normalised to the images of the true class, and write it as a PNG.

    Args:
        path: where to write, whole or not at all.
        confusion: int64 [C, C], rows are the true class, columns the predicted one.
        classes: C names, in the order of the matrix.
        title: one line above the picture.
    """
    counts = confusion.cpu().numpy()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 0.45 * len(classes) + 2.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes, rotation=90)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    for row, column in zip(*np.nonzero(share >= 0.005), strict=True):
        axes.text(
            column,
            row,
            f"{100 * share[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if share[row, column] > 0.5 else "black",
        )
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=120)
