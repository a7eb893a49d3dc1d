"""Training curves as a picture."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from graft.files import atomic_path


def draw_curves(logs: Sequence[Path], picture: Path) -> None:
    """Draw `train/loss` and every `val/` metric of one run over its steps.

    Args:
        logs: CSV files with the column `step` and one column a metric, with gaps where a step did not log it; one
            file for each time the run was taken up. Where two hold the same step, the later file stands.
        picture: PNG to write. Nothing is written while the logs hold no loss.
    """
    tables = [pd.read_csv(log) for log in logs]
    if not any("train/loss" in table for table in tables):
        return
    table = pd.concat(tables).groupby("step", as_index=False).last()
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    loss = table.dropna(subset=["train/loss"])
    left.plot(loss["step"], loss["train/loss"], color="#1b6ca8")
    left.set(xlabel="step", ylabel="loss", title="alignment loss")
    for column in sorted(name for name in table.columns if name.startswith("val/")):
        probe = table.dropna(subset=[column])
        right.plot(probe["step"], probe[column], marker="o", markersize=3, label=column.removeprefix("val/"))
    right.set(xlabel="step", ylabel="fraction right", title="zero-shot probe", ylim=(0, 1))
    if right.lines:
        right.legend()
    FigureCanvasAgg(figure)
    with atomic_path(picture) as partial:
        figure.savefig(partial, dpi=120, format="png")
