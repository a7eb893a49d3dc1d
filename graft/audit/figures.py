"""The pictures of the page that are drawn: map, histograms, bars."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graft.audit.check_pixels import outlyingness
from graft.audit.notes import Notes, Words
from graft.audit.rows import NO_PHRASE, NO_TIME, Table

INK, SOFT, LINE = "#1c2733", "#5b6b7b", "#d9e0e6"
SPLIT_COLOURS = ("#1b6ca8", "#d98032", "#1b7f4d", "#8a4fa3", "#b3402a", "#6b7280")
_BANDS = ("#c0392b", "#2e8b57", "#2f6fb3")
HEAT = LinearSegmentedColormap.from_list("heat", ["#f4f7fa", "#bcd4e6", "#5f9cc5", "#1b6ca8", "#123f63"])
_DPI = 160
_POINTS = 20_000


def new_figure(width: float, height: float, columns: int = 1, **grid: Any) -> tuple[Figure, list[Axes]]:
    """A figure without frames: `width` and `height` in inches, as shown on the page at 96 pixels an inch."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(np.atleast_1d(figure.subplots(1, columns, **grid)))
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.spines[["left", "bottom"]].set_color(LINE)
        one.tick_params(colors=SOFT, labelsize=8, length=3)
        one.xaxis.label.set_color(SOFT)
        one.yaxis.label.set_color(SOFT)
        one.xaxis.label.set_fontsize(8.5)
        one.yaxis.label.set_fontsize(8.5)
    return figure, axes


def title(axes: Axes, text: str) -> None:
    """A small title over the left edge."""
    axes.set_title(text, fontsize=9.5, loc="left", color=INK)


def colour_bar(figure: Figure, axes: Axes, drawn: Any, label: str, shrink: float) -> None:
    """A plain scale of colours."""
    bar = figure.colorbar(drawn, ax=axes, shrink=shrink, pad=0.02)
    bar.set_label(label, color=SOFT, fontsize=8.5)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7.5, colors=SOFT, length=2)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def draw_photos(table: Table, sides: Sequence[int]) -> bytes:
    """Photos a tile, tiles a photo, and where in the tile photos lie."""
    figure, (left, middle, right) = new_figure(10.4, 3.1, 3, width_ratios=(1.2, 1, 1))
    counts = np.asarray(table.tiles["photos"])
    _bars(left, counts)
    title(left, "photos in a tile")
    left.set(xlabel="photos", ylabel="tiles")
    _bars(middle, np.unique(table.photos["id"], return_counts=True)[1])
    title(middle, "tiles that show a photo")
    middle.set(xlabel="tiles", ylabel="photos")
    side = np.asarray(sides)[table.photo_splits()]
    x, y = table.photos["x"] / side, table.photos["y"] / side
    heat, _, _ = np.histogram2d(y, x, bins=32, range=[[0, 1], [0, 1]])
    picture = right.imshow(heat, extent=(0, 1, 1, 0), cmap=HEAT, vmin=0, interpolation="nearest")
    title(right, "where in the tile")
    right.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    colour_bar(figure, right, picture, "photos", 0.85)
    return png(figure)


def _bars(axes: Axes, numbers: npt.NDArray[Any]) -> None:
    """How often each whole number occurs."""
    counts = np.bincount(np.asarray(numbers, np.int64))
    values = np.flatnonzero(counts)
    axes.bar(values, counts[values], width=0.8, color=SPLIT_COLOURS[0])
    axes.set_xlim(0.3, max(int(values.max(initial=0)), 4) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_bands(notes: Notes, table: Table) -> bytes:
    """Display values of the three bands, and brightness against contrast of every tile."""
    figure, (left, right) = new_figure(10.4, 3.2, 2, width_ratios=(1.3, 1))
    total = max(notes.histogram[0].sum(), 1)
    for counts, colour, name in zip(notes.histogram, _BANDS, ("red", "green", "blue"), strict=True):
        smooth = counts / total * 100
        left.fill_between(np.arange(256), smooth, step="mid", color=colour, alpha=0.13, linewidth=0)
        left.step(np.arange(256), smooth, where="mid", color=colour, linewidth=1.1, label=name)
    top = notes.histogram[:, 1:255].max() / total * 100
    title(left, "display values")
    left.set(xlabel="0 … 255", ylabel="% of pixels", xlim=(0, 255), ylim=(0, max(top * 1.15, 1e-9)))
    left.legend(frameon=False, fontsize=8, labelcolor=INK)
    known = np.flatnonzero(np.isfinite(table.tiles["mean"][:, 0]))
    known = known[:: max(len(known) // _POINTS, 1)]
    mean, std = table.tiles["mean"][known].mean(axis=1), table.tiles["std"][known].mean(axis=1)
    odd = outlyingness(table)[known] > 8
    right.scatter(mean, std, s=3, alpha=0.25, color=SPLIT_COLOURS[0], linewidths=0)
    if odd.any():
        right.scatter(mean[odd], std[odd], s=14, facecolors="none", edgecolors="#b3402a", linewidths=0.8, label="odd")
        right.legend(frameon=False, fontsize=8)
    title(right, "every tile")
    right.set(xlabel="brightness (mean)", ylabel="contrast (deviation)", xlim=(0, 255), ylim=(0, None))
    return png(figure)


def draw_times(table: Table) -> bytes | None:
    """Years of tiles and photos, and months of tiles; None without times."""
    tiles = table.tiles["time"][table.tiles["time"] != NO_TIME]
    photos = table.photos["time"][table.photos["time"] != NO_TIME]
    if not len(tiles) and not len(photos):
        return None
    figure, (left, right) = new_figure(10.4, 2.5, 2, width_ratios=(1.5, 1))
    for values, name, colour, shift in (
        (photos, "photos", SPLIT_COLOURS[0], -0.2),
        (tiles, "tiles", SPLIT_COLOURS[1], 0.2),
    ):
        for axes, unit, start in ((left, "Y", 1970), (right, "M", 1)):
            months = values.astype("datetime64[s]").astype(f"datetime64[{unit}]").astype(np.int64)
            numbers = months + start if unit == "Y" else months % 12 + start
            which, counts = np.unique(numbers, return_counts=True)
            if len(which):
                axes.bar(which + shift, 100 * counts / counts.sum(), width=0.4, color=colour, label=name)
    title(left, "years")
    left.set(ylabel="% of each")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(frameon=False, fontsize=8, labelcolor=INK)
    title(right, "months")
    right.set(xticks=range(1, 13), xticklabels="JFMAMJJASOND")
    return png(figure)


def draw_view(table: Table, words: Words) -> bytes:
    """How many photos the teacher sees each class in, and the phrases it chose most."""
    known = table.photos["phrase"] != NO_PHRASE
    _, rows = np.unique(table.photos["id"][known], return_index=True)
    phrases = table.photos["phrase"][known][rows]
    sets = [("classes", np.bincount(words.owner[phrases], minlength=len(words.classes)), words.classes)]
    if len(words.phrases) > len(words.classes):
        sets.append(("phrases", np.bincount(phrases, minlength=len(words.phrases)), words.phrases))
    shown = [min(int((counts > 0).sum()), 16) for _, counts, _ in sets]
    figure, axes = new_figure(10.4, 0.6 + 0.235 * max(shown), len(sets))
    for one, (heading, counts, names), number in zip(axes, sets, shown, strict=True):
        best = np.argsort(-counts, kind="stable")[:number][::-1]
        shares = 100 * counts[best] / max(len(phrases), 1)
        one.barh(range(number), shares, color=SPLIT_COLOURS[0], height=0.72)
        one.set(yticks=range(number), yticklabels=[names[k] for k in best], xlabel="% of photos")
        title(one, heading)
        one.set_xlim(0, float(shares.max(initial=1)) * 1.14)
        one.tick_params(axis="y", length=0, labelcolor=INK)
        for place, value in enumerate(shares):
            one.text(value, place, f" {value:.1f}", va="center", fontsize=7.5, color=SOFT)
    return png(figure)


def draw_clear(table: Table) -> bytes:
    """Nodata and clouds, tile by tile, sorted: how much of the set is above which share."""
    figure, (axes,) = new_figure(10.4, 2.3)
    for values, name, colour in (
        (np.fmax(np.asarray(table.tiles["black"]), np.asarray(table.tiles["nodata"])), "without data", INK),
        (np.asarray(table.tiles["cloudy"]), "cloudy", SPLIT_COLOURS[0]),
    ):
        some = np.sort(values[np.isfinite(values)])[::-1]
        if len(some):
            part = np.arange(1, len(some) + 1) / len(some) * 100
            axes.step(some * 100, part, where="post", color=colour, label=name, linewidth=1.4)
    title(axes, "how much of the ground cannot be seen")
    axes.set(xlabel="at least this % of a tile", ylabel="% of tiles", xlim=(0, None), ylim=(0, None))
    axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return png(figure)
