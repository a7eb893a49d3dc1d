"""The map: where on Earth the tiles lie, far away and near."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from graft.audit.check_places import equal_area_cells
from graft.audit.figures import HEAT, INK, LINE, SPLIT_COLOURS, colour_bar, new_figure, png, title
from graft.audit.ground import centres, side_m
from graft.audit.rows import Table
from graft.sphere import EARTH_M, degrees_of, lon_lat_box

_WORLD = 120.0
_NEAR_SIDES = 14
_MOST_DOTS = 200_000
_MOST_FOOTPRINTS = 3_000
_METRES_A_DEGREE = math.radians(1) * EARTH_M


def draw_map(table: Table, splits: Sequence[str]) -> bytes | None:
    """All tiles on a graticule, and the fullest spot with footprints and photos; None where no tile has a place."""
    corners = table.tiles["corners"]
    rows = np.flatnonzero(np.isfinite(corners[:, 0, 0]))
    if not len(rows):
        return None
    degrees = degrees_of(centres(corners[rows]))
    figure, (far, near) = new_figure(10.4, 3.8, 2, width_ratios=(1.75, 1))
    _draw_far(figure, far, degrees, table.tiles["split"][rows], splits)
    side = float(np.median(side_m(corners[rows][:10_000])))
    _draw_near(near, table, rows, degrees, side)
    return png(figure)


def _draw_far(
    figure: Figure, axes: Axes, degrees: npt.NDArray[np.float64], split: npt.NDArray[np.uint8], splits: Sequence[str]
) -> None:
    west, south, east, north = lon_lat_box(degrees)
    lon, lat = np.where(degrees[:, 0] < west, degrees[:, 0] + 360, degrees[:, 0]), degrees[:, 1]
    if east - west > _WORLD:
        lon, extent, stretch = degrees[:, 0], (-180.0, 180.0, -75.0, 85.0), 1.0
    else:
        stretch = 1 / max(math.cos(math.radians((south + north) / 2)), 0.05)
        extent = _padded(west, south, east, north, stretch)
    _graticule(axes, extent, stretch)
    if len(splits) == 1:
        step = max(len(lon) // _MOST_DOTS, 1)
        cells = axes.hexbin(
            lon[::step],
            lat[::step],
            gridsize=(70, 35),
            extent=extent,
            mincnt=1,
            cmap=HEAT,
            norm=LogNorm(),
            linewidths=0.2,
        )
        colour_bar(figure, axes, cells, "tiles" if step == 1 else f"tiles / {step}", 0.6)
    else:
        for number, name in enumerate(splits):
            mine = np.flatnonzero(split == number)
            mine = mine[:: max(len(mine) // _MOST_DOTS, 1)]
            colour = SPLIT_COLOURS[number % len(SPLIT_COLOURS)]
            axes.scatter(lon[mine], lat[mine], s=9, alpha=0.6, linewidths=0, color=colour, label=name)
        axes.legend(frameon=False, fontsize=8, markerscale=2.5, loc="upper left", labelcolor=INK)
    title(axes, f"{len(degrees):,} tiles")


def _padded(west: float, south: float, east: float, north: float, stretch: float) -> tuple[float, float, float, float]:
    """West, east, south, north of a frame of 1.7 to 1 around a box, with a margin."""
    width, height = max(east - west, 0.02) * 1.1, max(north - south, 0.02) * 1.1
    height = max(height, width / stretch / 1.7)
    width = max(width, height * stretch * 1.7)
    x, y = (west + east) / 2, (south + north) / 2
    return x - width / 2, x + width / 2, max(y - height / 2, -90.0), min(y + height / 2, 90.0)


def _graticule(axes: Axes, extent: tuple[float, float, float, float], stretch: float) -> None:
    axes.set(xlim=extent[:2], ylim=extent[2:])
    axes.set_aspect(stretch)
    axes.set_facecolor("#f7f9fb")
    axes.grid(color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for axis, letters, bins in ((axes.xaxis, "EW", 6), (axes.yaxis, "NS", 5)):
        axis.set_major_locator(MaxNLocator(bins, steps=[1, 1.5, 2, 3, 5, 6, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _, letters=letters: _label(value, letters)))


def _label(value: float, letters: str) -> str:
    value = (value + 180) % 360 - 180 if letters == "EW" and abs(value) != 180 else value
    side = "" if abs(value) < 1e-9 or abs(value) == 180 else f" {letters[0] if value > 0 else letters[1]}"
    return f"{abs(value):.6g}°{side}"


def _draw_near(
    axes: Axes, table: Table, rows: npt.NDArray[np.int64], degrees: npt.NDArray[np.float64], side: float
) -> None:
    """Footprints and photos around the fullest cell, in metres from its middle."""
    cells = equal_area_cells(degrees, side * _NEAR_SIDES / 1000)
    names, counts = np.unique(cells, return_counts=True)
    inside = np.flatnonzero(cells == names[counts.argmax()])
    west, south, east, north = lon_lat_box(degrees[inside])
    middle = np.array([(west + east) / 2, (south + north) / 2])
    scale = np.array([_METRES_A_DEGREE * math.cos(math.radians(middle[1])), _METRES_A_DEGREE])
    unit, name = (1000.0, "km") if side > 500 else (1.0, "m")

    def metres(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        shifted = points - middle
        shifted[..., 0] = (shifted[..., 0] + 180) % 360 - 180
        return np.asarray(shifted * scale / unit)

    reach = side * _NEAR_SIDES * 0.62 / unit
    shown = np.flatnonzero((np.abs(metres(degrees)) < reach + side / unit).all(axis=1))
    shown = shown[:: max(len(shown) // _MOST_FOOTPRINTS, 1)]
    colours = [SPLIT_COLOURS[s % len(SPLIT_COLOURS)] for s in table.tiles["split"][rows[shown]]]
    footprints = metres(np.asarray(table.tiles["corners"][rows[shown]]))
    axes.add_collection(PolyCollection(list(footprints), facecolors=colours, alpha=0.06))
    axes.add_collection(
        PolyCollection(list(footprints), facecolors="none", edgecolors=colours, linewidths=0.5, alpha=0.7)
    )
    photos = table.photos[np.isin(table.photos["tile"], rows[shown])]
    points = metres(np.stack([photos["lon"], photos["lat"]], axis=1))
    axes.scatter(points[:, 0], points[:, 1], s=3, color=INK, linewidths=0, zorder=3)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel=name)
    axes.set_facecolor("#f7f9fb")
    title(axes, f"the fullest spot: {_label(round(middle[1], 3), 'NS')}, {_label(round(middle[0], 3), 'EW')}")
