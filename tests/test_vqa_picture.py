"""The picture of an answer, and its objects as GeoJSON."""

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from PIL import Image
from rasterio.crs import CRS

from graft.vqa.answer import Answer, make_answer, phrase, quantity
from graft.vqa.evidence_geojson import evidence_collection
from graft.vqa.ground import GroundGrid
from graft.vqa.oracle import OracleVision
from graft.vqa.overlay import colours, layers_of
from graft.vqa.picture import draw_answer, write_picture
from graft.vqa.python_form import read_python
from graft.vqa.toolbox import Toolbox
from graft.vqa.values import Number, Objects, Text, Truth
from graft.vqa.written import Written
from tests.vqa_ask_inputs import landscape

NAMES = ("quarry", "forest", "lake")
ELLIPSOID = pyproj.Geod(ellps="WGS84")
UTM = CRS.from_epsg(32633)


def toolbox(crs: CRS | None = UTM, transform: Affine | None = None, least_px: int = 1) -> Toolbox:
    labels = landscape().astype(np.uint8)
    place = transform or Affine(10, 0, 5e5, 0, -10, 5e6)
    grid = GroundGrid.of_canvas(crs, place, labels.shape, labels.shape, "metres")
    return Toolbox(OracleVision(labels, NAMES, {name: (name,) for name in NAMES}, grid, least_px))


def answered(program: str, tools: Toolbox, value: Number | Truth | Text, type_: str = "count") -> Answer:
    written = Written(read_python(program), type_, "hand")
    return make_answer("How many lakes?", written, value, area_unit=tools.vision.grid.area_unit)


def grey(width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def sheet(answer: Answer, tools: Toolbox) -> np.ndarray:
    return np.asarray(draw_answer(answer, tools.vision.grid, grey, "scene.tif"))


def lakes(tools: Toolbox) -> Answer:
    return answered('return count(find("lake"))', tools, tools.count(tools.find("lake")))


def test_objects_are_filled_where_they_lie() -> None:
    tools = toolbox()
    drawn = sheet(lakes(tools), tools)
    top = np.flatnonzero((drawn == 128).all(axis=2).any(axis=1))[0]  # first row of the image
    left = np.flatnonzero((drawn == 128).all(axis=2).any(axis=0))[0]
    scale = 940 / 320
    inside = drawn[int(top + 60 * scale), int(left + 60 * scale)]
    outside = drawn[int(top + 160 * scale), int(left + 160 * scale)]
    assert inside[2] > inside[0] + 30  # water is drawn blue
    assert (outside == 128).all()


def test_the_same_answer_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        tools = toolbox()
        write_picture(lakes(tools), tools.vision.grid, grey, "scene.tif", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").mode == "RGB"


def test_long_words_stay_on_the_sheet() -> None:
    tools = toolbox()
    words = "x" * 900
    answer = answered("return 1", tools, Text(words, 0.5, ()), "classify")
    drawn = sheet(answer, tools)
    assert (drawn[:, -20:] == 255).all()  # the right margin


@pytest.mark.parametrize("shape", [(3, 400), (400, 3), (1, 1)])
def test_images_of_any_shape(shape: tuple[int, int]) -> None:
    grid = GroundGrid.of_canvas(None, Affine.identity(), shape, shape, "pixels")
    vision = OracleVision(np.zeros(shape, np.uint8), NAMES, {"lake": ("quarry",)}, grid)
    tools = Toolbox(vision)
    answer = answered('return count(find("lake"))', tools, tools.count(tools.find("lake")))
    assert sheet(answer, tools).shape[1] > 400


def test_a_joined_mask_leaves_its_parts_as_outlines() -> None:
    tools = toolbox()
    share = tools.fraction(tools.union(tools.segment("lake"), tools.segment("forest")))
    faint = {layer.concept: layer.faint for layer in layers_of(share.evidence)}
    assert faint == {"lake": True, "forest": True, "lake or forest": False}


def test_the_last_objects_of_a_concept_are_shown() -> None:
    tools = toolbox()
    near = tools.where(tools.find("lake"), "touching", tools.find("forest"))
    shown = {layer.concept: len(layer.things or ()) for layer in layers_of(tools.count(near).evidence)}
    assert shown == {"lake": 1, "forest": 1}


def test_a_line_is_drawn_for_a_distance() -> None:
    tools = toolbox()
    small = tools.smallest(tools.find("lake"))
    gap = tools.distance(small, tools.find("forest"))
    with_line = answered("return 1", tools, gap, "distance")
    without = answered("return 1", tools, gap, "count")
    changed = (sheet(with_line, tools) != sheet(without, tools)).any(axis=2)
    assert changed.any(axis=1).sum() > 100  # from (240, 240) to (112, 176) at 940 / 320


def test_colours_differ_and_suit() -> None:
    chosen = colours(["lake", "water area", "forest", *(f"thing {number}" for number in range(20))])
    assert len(set(chosen)) == 23
    assert chosen[0] == (0, 190, 255)


def test_geojson_has_the_true_areas_and_counts_questions() -> None:
    tools = toolbox()
    content = json.loads(json.dumps(evidence_collection({2: lakes(tools)}, tools.vision.grid)))
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in content["features"]]
    assert [feature["properties"]["object"] for feature in content["features"]] == [1, 2, 3]
    assert {feature["properties"]["question"] for feature in content["features"]} == {2}
    for feature, shape in zip(content["features"], shapes, strict=True):
        assert shape.is_valid
        assert shape.exterior.is_ccw
        area = abs(ELLIPSOID.geometry_area_perimeter(shape)[0])
        assert area == pytest.approx(feature["properties"]["area_m2"], rel=2e-3)


def test_geojson_is_cut_at_the_antimeridian() -> None:
    tools = toolbox(CRS.from_epsg(4326), Affine(0.01, 0, 179.2, 0, -0.01, 1))
    content = evidence_collection({1: lakes(tools)}, tools.vision.grid)
    assert [feature["geometry"]["type"] for feature in content["features"]] == [
        "MultiPolygon",
        "MultiPolygon",
        "Polygon",
    ]
    for feature in content["features"]:
        west, _, east, _ = shapely.geometry.shape(feature["geometry"]).bounds
        assert -180 <= west < east <= 180


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (12.0, "", "12"),
        (1234.0, "", "1,234"),
        (0.5, "", "0.5"),
        (0.0004, "share", "less than 0.1 %"),
        (0.4123, "share", "41.2 %"),
        (0.0, "share", "0 %"),
        (850.0, "m2", "850 m²"),
        (34_000.0, "m2", "3.4 ha"),
        (7.54e6, "m2", "7.54 km²"),
        (971.2, "m", "971 m"),
        (1520.0, "m", "1.52 km"),
        (40.0, "px2", "40 square pixels"),
    ],
)
def test_quantities_in_words(value: float, unit: str, words: str) -> None:
    assert quantity(value, unit) == words  # type: ignore[arg-type]


def test_objects_in_words() -> None:
    tools = toolbox()
    found = tools.find("lake")
    assert phrase(found, "m2") == "3 lakes (64.1 ha, 41 ha, 23.1 ha)"
    none = Objects("lake", (), found.mask, {})
    assert phrase(none, "m2") == "no lake"
    assert phrase((Truth(True, 1, ()), found), "m2") == "yes, 3 lakes (64.1 ha, 41 ha, 23.1 ha)"


def test_what_was_left_out_is_told() -> None:
    tools = toolbox(least_px=3000)
    assert lakes(tools).notes == ("Left out of lake: 1 smaller than 3000 pixels.",)
