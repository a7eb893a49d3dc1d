"""Maps drawn by hand: one letter a pixel, on grids of every kind."""

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine
from rasterio.crs import CRS

from graft.vqa.check import check
from graft.vqa.ground import Floats, GroundGrid, Units
from graft.vqa.interpreter import run
from graft.vqa.oracle import OracleVision
from graft.vqa.python_form import read_python
from graft.vqa.toolbox import Toolbox
from graft.vqa.values import Mask, Thing, Value

GEOD = pyproj.Geod(ellps="WGS84")
PLACES = {
    "utm": ("EPSG:32633", Affine(10, 0, 500_000, 0, -10, 5_500_000)),
    "degrees": ("EPSG:4326", Affine(2e-4, 0, 12.3, 0, -1e-4, 60.1)),
    "mercator": ("EPSG:3857", Affine(20, 0, 1_300_000, 0, -20, 8_300_000)),
    "rotated": ("EPSG:32633", Affine.translation(400_000, 5_500_000) @ Affine.rotation(-30) @ Affine.scale(10, -10)),
    "south up": ("EPSG:32733", Affine(10, 0, 500_000, 0, 10, 6_500_000)),
    "antimeridian": ("EPSG:32701", Affine(10, 0, 180_200, 0, -10, 8_120_000)),
}
"""CRS and transform of each kind of raster."""
CLASSES = {".": "Meadow", "L": "Lake", "F": "Forest", "H": "House", "R": "River"}
MEANING = {name.lower(): (name,) for name in CLASSES.values()} | {
    "water area": ("Lake", "River"),
    "building": ("House",),
    "built-up area": ("House",),
}


def grid_at(place: str, height: int, width: int, units: Units = "metres") -> GroundGrid:
    if place == "nowhere":
        return GroundGrid.of_canvas(None, Affine.identity(), (height, width), (height, width), units)
    crs, transform = PLACES[place]
    return GroundGrid.of_canvas(CRS.from_string(crs), transform, (height, width), (height, width), units)


def blank(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.zeros((height, width), np.uint8)


def draw(labels: npt.NDArray[np.uint8], letter: str, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    labels[slice(*rows), slice(*columns)] = list(CLASSES).index(letter)


def read_map(text: str) -> npt.NDArray[np.uint8]:
    letters = [*CLASSES]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return np.array([[255 if letter == "?" else letters.index(letter) for letter in line] for line in lines], np.uint8)


def tools(
    labels: npt.NDArray[np.uint8] | str,
    place: str = "utm",
    units: Units = "metres",
    least_px: int = 1,
    **settings: object,
) -> Toolbox:
    drawn = read_map(labels) if isinstance(labels, str) else labels
    grid = grid_at(place, *drawn.shape, units)
    return Toolbox(OracleVision(drawn, [*CLASSES.values()], MEANING, grid, least_px), **settings)  # type: ignore[arg-type]


def mask_of(pixels: npt.NDArray[np.bool_]) -> Mask:
    return Mask("lake", pixels, None, None)


def lon_lat(grid: GroundGrid, *places: tuple[float, float]) -> Floats:
    """Rows and columns in degrees, by the transform and PROJ alone."""
    to_degrees = pyproj.Transformer.from_crs(pyproj.CRS.from_wkt(grid.crs.to_wkt()), "EPSG:4326", always_xy=True)
    row, column = np.array(places).T
    a, b, c, d, e, f = grid.transform[:6]
    return np.stack(to_degrees.transform(a * column + b * row + c, d * column + e * row + f), axis=1)


def metres(grid: GroundGrid, one: tuple[float, float], other: tuple[float, float]) -> float:
    """Geodesic between two places."""
    ends = lon_lat(grid, one, other)
    return float(GEOD.inv(*ends[0], *ends[1])[2])


def square_metres(grid: GroundGrid, rows: tuple[int, int], columns: tuple[int, int]) -> float:
    """Geodesic polygon around a rectangle of pixels, its sides cut in 50."""
    down, across = np.linspace(*rows, 51), np.linspace(*columns, 51)
    ring = [(rows[0], x) for x in across] + [(y, columns[1]) for y in down]
    ring += [(rows[1], x) for x in across[::-1]] + [(y, columns[0]) for y in down[::-1]]
    return abs(float(GEOD.polygon_area_perimeter(*lon_lat(grid, *ring).T)[0]))


def thing_of(pixels: npt.NDArray[np.bool_], box: tuple[int, int, int, int]) -> Thing:
    return Thing(1, box, pixels, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), float(pixels.sum()), 1.0)


def ask(program: str, tools: Toolbox) -> Value:
    """Run a program over what a toolbox sees."""
    return run(check(read_python(program)), tools)
