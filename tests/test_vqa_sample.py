"""Everyday questions on real LoveDA tiles, answered by their label maps, where the sample folder is there.

The expected values come from the label maps by SciPy and GDAL's polygons, not by the project's own objects.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import shapes
from scipy import ndimage
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from graft.labelmaps.pairs import read_label
from graft.labelmaps.profiles import load_profile
from graft.vqa.check import check
from graft.vqa.concepts import load_concepts
from graft.vqa.grammar.everyday import EverydayWriter
from graft.vqa.ground import GroundGrid
from graft.vqa.interpreter import run
from graft.vqa.oracle import OracleVision
from graft.vqa.toolbox import Toolbox
from graft.vqa.values import Number, Text, Truth
from graft.vqa.writers import write_program
from tests.test_metrics import SAMPLE_DATA

TILES = SAMPLE_DATA / "segmentation_tiles" / "pseudo_loveda_dataset" / "ann_dir"
pytestmark = pytest.mark.skipif(not TILES.is_dir(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)")
CLASSES = ("background", "building", "road", "water", "barren", "forest", "agriculture")
MEANING = {
    "building": ("building",),
    "road": ("road",),
    "water area": ("water",),
    "bare land": ("barren",),
    "forest": ("forest",),
    "farmland": ("agriculture",),
    "built-up area": ("building",),
}
LEAST_PX, GSD_M = 64, 0.3
# UTM's scale on its central meridian: a grid metre there is 1 / 0.9996 m on the ground.
PIXEL_M = GSD_M / 0.9996


class Truths:
    """What a label map says, by other means than the project's."""

    def __init__(self, labels: npt.NDArray[np.uint8]) -> None:
        self.labels = labels

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        return self.labels == CLASSES.index(name)

    def objects(self, name: str) -> list[BaseGeometry]:
        """Polygons of the parts of at least LEAST_PX pixels, in pixels."""
        found = shapes(self.mask(name).astype(np.uint8), mask=self.mask(name), connectivity=4)
        return [part for part, _ in ((shape(geometry), value) for geometry, value in found) if part.area >= LEAST_PX]

    def count(self, name: str) -> int:
        parts, _ = ndimage.label(self.mask(name))
        return int((np.bincount(parts.ravel())[1:] >= LEAST_PX).sum())

    def hectares(self, name: str) -> float:
        return float(self.mask(name).sum()) * PIXEL_M**2 / 1e4

    def share(self, *names: str) -> float:
        return sum(float(self.mask(name).sum()) for name in names) / float((self.labels != 255).sum())

    def within(self, name: str, other: str, metres: float) -> int:
        others = self.objects(other)
        near = metres / PIXEL_M
        return sum(any(part.distance(each) <= near for each in others) for part in self.objects(name))

    def larger(self, name: str, metres2: float) -> int:
        return sum(part.area * PIXEL_M**2 > metres2 for part in self.objects(name))

    def gap(self, name: str, other: str) -> float | str:
        pairs = [a.distance(b) for a in self.objects(name) for b in self.objects(other)]
        return min(pairs) * PIXEL_M if pairs else "none"

    def largest_at(self, name: str) -> str:
        """Ninth of the image that holds the centre of the largest part."""
        parts = self.objects(name)
        if not parts:
            return "none"
        centre = max(parts, key=lambda part: part.area).centroid
        height, width = self.labels.shape
        row = ("north", "", "south")[min(int(3 * centre.y / height), 2)]
        column = ("west", "", "east")[min(int(3 * centre.x / width), 2)]
        return "-".join(word for word in (row, column) if word) or "centre"


QUESTIONS: list[tuple[str, Callable[[Truths], object]]] = [
    ("Is there a building?", lambda t: t.count("building") > 0),
    ("Is there any water?", lambda t: t.count("water") > 0),
    ("Is there a road but no forest?", lambda t: t.count("road") > 0 and not t.count("forest")),
    ("How many buildings are there?", lambda t: t.count("building")),
    ("How many buildings are bigger than 200 m2?", lambda t: t.larger("building", 200)),
    ("How many buildings are within 10 m of a road?", lambda t: t.within("building", "road", 10)),
    ("How many hectares of farmland are there?", lambda t: t.hectares("agriculture")),
    ("How much of the area is forest or farmland?", lambda t: t.share("forest", "agriculture")),
    ("Is there more farmland than forest?", lambda t: t.share("agriculture") > t.share("forest")),
    ("Are there more buildings than roads?", lambda t: t.count("building") > t.count("road")),
    ("How far is the nearest building from the water?", lambda t: t.gap("building", "water")),
    ("Where is the largest building?", lambda t: t.largest_at("building")),
]


@pytest.mark.parametrize("tile", [0, 1, 2])
@pytest.mark.parametrize(("question", "truth"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_label_maps_answer(tile: int, question: str, truth: Callable[[Truths], object]) -> None:
    labels = load_profile("loveda", CLASSES).apply(read_label(TILES / f"{tile}.png"))
    height, width = labels.shape
    transform = Affine(GSD_M, 0, 500_000, 0, -GSD_M, 3_500_000)
    grid = GroundGrid.of_canvas(CRS.from_epsg(32650), transform, (height, width), (height, width), "metres")
    toolbox = Toolbox(OracleVision(labels, CLASSES, MEANING, grid, LEAST_PX))
    written = write_program(question, [EverydayWriter(load_concepts("everyday"))])
    answer, expected = run(check(written.program), toolbox), truth(Truths(labels))
    assert isinstance(answer, Number | Truth | Text)
    if isinstance(expected, str):
        assert isinstance(answer, Text)
        assert answer.value == expected or (expected == "none" and "no " in answer.value)
    elif isinstance(expected, float):
        value = float(answer.value) * (1e-4 if isinstance(answer, Number) and answer.unit == "m2" else 1.0)
        assert math.isclose(value, expected, rel_tol=1e-3)
    else:
        assert answer.value == expected
