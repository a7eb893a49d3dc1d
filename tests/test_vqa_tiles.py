"""Questions about the tiles of an index: candidates by search, the program on their pixels, and what is written."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image

from graft.errors import GraftError
from graft.index.sources import Look
from graft.index.table import Index
from graft.search.hits import Hit
from graft.vqa.ask import ask
from graft.vqa.asking import read_program
from graft.vqa.concepts import load_concepts
from graft.vqa.ground import GroundGrid
from graft.vqa.looking import open_eyes
from graft.vqa.scoring import vision_of_array
from graft.vqa.tile_candidates import find_candidates, wanted_concepts
from graft.vqa.tile_pixels import tile_grid
from graft.vqa.tile_vision import visions_of_tiles
from graft.vqa.tiles import TileAnswer
from tests.index_inputs import source_card
from tests.page_inputs import SENSOR, index_of
from tests.segment_inputs import COLOURS, MeanColour
from tests.vqa_ask_inputs import ColourTower, colour_model, landscape

SIDE = 64
LOOK = Look(SENSOR, 10.0, patch=8, window=SIDE, stride=SIDE)
NEXT_TO = "which tiles have a lake next to a forest?"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, MeanColour]:
    return colour_model(monkeypatch, tmp_path, "sentinel")


def write_landscape(path: Path) -> Path:
    stored = np.rint(SENSOR.from_display(COLOURS[landscape()].transpose(2, 0, 1))).astype(np.uint16).clip(1)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "width": 320, "height": 320}
    with rasterio.open(path, "w", crs="EPSG:32633", transform=Affine(10, 0, 5e5, 0, -10, 5.2e6), **profile) as dataset:
        dataset.write(stored)
        dataset.descriptions = SENSOR.bands
    return path


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """25 tiles; those in the rows 0 and 1 of column 1 hold a lake beside a forest."""
    index_of(tmp_path / "index", [write_landscape(tmp_path / "scene.tif")], LOOK)
    return tmp_path / "index"


def places(found: TileAnswer) -> set[tuple[int, int]]:
    return {(int(tile.hit.window[1]) // SIDE, int(tile.hit.window[0]) // SIDE) for tile in found.tiles}


def found(index: Path, model: tuple[Path, MeanColour], question: str = NEXT_TO, **settings: object) -> TileAnswer:
    given = {"model": model[0], "concepts": "atlas", "precision": "fp32", "stride": 32} | settings
    answer = ask(str(index), question=[question], **given)  # type: ignore[arg-type]
    assert isinstance(answer, TileAnswer)
    return answer


def test_tiles_that_answer_yes_and_no_others(index: Path, model: tuple[Path, MeanColour]) -> None:
    answer = found(index, model)
    assert places(answer) == {(0, 1), (1, 1)}
    assert (answer.yes, answer.looked_at, answer.indexed, answer.unseen) == (2, 25, 25, {})
    order = [tile.answer.confidence for tile in answer.tiles]
    assert order == sorted(order, reverse=True)


def test_few_candidates_are_the_likeliest(index: Path, model: tuple[Path, MeanColour]) -> None:
    answer = found(index, model, candidates=4)
    assert answer.looked_at == 4
    assert places(answer) == {(0, 1), (1, 1)}


def test_a_tile_has_the_pixels_and_the_place_of_its_raster(index: Path, model: tuple[Path, MeanColour]) -> None:
    for tile in found(index, model).tiles:
        left, top, _, _ = tile.hit.window
        expected = COLOURS[landscape()][int(top) : int(top) + SIDE, int(left) : int(left) + SIDE]
        assert np.abs(tile.pixels.astype(int) - expected).max() <= 2
        lon, lat = tile.grid.lon_lat(np.array([[SIDE / 2, SIDE / 2]]))[0]
        assert (lon, lat) == pytest.approx((tile.hit.lon, tile.hit.lat), abs=1e-6)


def test_what_is_printed_and_written(
    index: Path, model: tuple[Path, MeanColour], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found(index, model, top=1, json=True, out=str(tmp_path / "found" / "near"))
    document = json.loads(capsys.readouterr().out)
    assert (document["tiles_yes"], len(document["tiles"])) == (2, 1)
    assert json.loads((tmp_path / "found" / "near.json").read_text()) == document
    (feature,) = json.loads((tmp_path / "found" / "near.geojson").read_text())["features"]
    shape = shapely.geometry.shape(feature["geometry"])
    assert shape.exterior.is_ccw
    assert feature["properties"]["confidence"] == document["tiles"][0]["confidence"] > 0.5
    assert Image.open(tmp_path / "found" / "near.q1.png").size[0] > 1000
    found(index, model, top=1)
    told = capsys.readouterr().out
    assert "2 of 25 tiles looked at answer yes; the index holds 25" in told
    assert "scene.tif [64 " in told


def test_tiles_whose_pixels_are_gone_are_counted(index: Path, model: tuple[Path, MeanColour], tmp_path: Path) -> None:
    (tmp_path / "scene.tif").unlink()
    answer = found(index, model)
    assert (answer.looked_at, answer.tiles) == (0, ())
    assert sum(answer.unseen.values()) == 25


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("How many lakes are there?", "answered by a number"),
        ("Warum ist der Himmel so hoch?", "English"),
    ],
)
def test_questions_without_a_yes(question: str, told: str, index: Path, model: tuple[Path, MeanColour]) -> None:
    with pytest.raises(GraftError, match=told):
        found(index, model, question)


def test_one_question_at_a_time(index: Path, model: tuple[Path, MeanColour]) -> None:
    with pytest.raises(GraftError, match="one at a time"):
        ask(str(index), model=model[0], question=["Is there a lake?", "Is there a forest?"])


def test_an_index_of_another_model(index: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = colour_model(monkeypatch, tmp_path, "naip")
    with pytest.raises(GraftError, match="10 m a pixel"):
        found(index, model)
    monkeypatch.setattr(ColourTower, "identity", "ef" * 32)
    with pytest.raises(GraftError, match="aligned to"):
        found(index, model)


def test_a_folder_that_is_no_index(tmp_path: Path, model: tuple[Path, MeanColour]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GraftError, match="index"):
        found(tmp_path / "empty", model)


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        ('exists(find("lake")) and not exists(find("forest"))', ("lake",)),
        ('not exists(find("forest"))', ()),
        ('compare(count(find("lake")), "more", count(find("forest")))', ("lake", "forest")),
        ('exists(where(find("lake"), "next to", find("forest")))', ("lake", "forest")),
        ('score("lake") > 0.5 if exists(find("forest")) else False', ("forest", "lake")),
        ('rural_or_urban() == "urban"', ()),
    ],
)
def test_concepts_that_are_wanted(program: str, wanted: tuple[str, ...]) -> None:
    assert wanted_concepts(read_program(program).written.program.statements) == wanted


def test_what_is_denied_is_not_searched_for(index: Path) -> None:
    tower, program = ColourTower(), read_program('exists(find("lake")) and not exists(find("forest"))').program
    find_candidates(Index.open(index), program, load_concepts("atlas"), tower, 5)
    assert any("lake" in text for text in tower.read)
    assert not any("forest" in text for text in tower.read)


def test_the_ground_of_a_tile_by_its_footprint_alone() -> None:
    rest: dict[str, object] = {"rank": 1, "score": 0.5, "likeness": None, "datetime": None, "gsd_m": 10.0}
    rest |= {"id": "a", "path": "a.png", "item": "", "source_id": "b", "valid": 1.0, "cloud": None}
    corners = [(15.0, 45.0), (15.008, 45.0), (15.008, 45.0058), (15.0, 45.0058)]
    hit = Hit(window=(0, 0, 64, 64), epsg=32633, lon=15.0, lat=45.0, geometry=shapely.Polygon(corners), **rest)  # type: ignore[arg-type]
    grid = tile_grid(hit, source_card(kind="folder"), 64, 64)
    assert grid.units == "metres"
    assert grid.pixel == pytest.approx((9.86, 10.07), rel=0.01)
    nowhere = Hit(window=(0, 0, 64, 64), epsg=None, lon=None, lat=None, geometry=None, **rest)  # type: ignore[arg-type]
    assert tile_grid(nowhere, source_card(kind="folder"), 64, 64).units == "pixels"


def test_tiles_seen_together_are_seen_as_each_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, _ = colour_model(monkeypatch, tmp_path)
    eyes = open_eyes(model, load_concepts("atlas"), (), precision="fp32")
    rng = np.random.default_rng(0)
    tiles = []
    for height, width in ((64, 64), (64, 64), (40, 70), (20, 20)):
        pixels = COLOURS[rng.integers(0, 3, (-(-height // 8), -(-width // 8)))].repeat(8, 0).repeat(8, 1)
        pixels = pixels[:height, :width].copy()
        pixels[:10, :10] = 0
        tiles.append((pixels, GroundGrid(height, width, None, None, "pixels")))
    together = list(visions_of_tiles(tiles, eyes, stride=16, batch_size=5))
    for (pixels, grid), seen in zip(tiles, together, strict=True):
        alone = vision_of_array(
            pixels, eyes.scorer, eyes.words, eyes.calibration, grid=grid, seen=np.asarray(pixels.any(axis=2)), stride=16
        )
        assert (seen.data == alone.data).all()
        for concept in ("lake", "forest", "water area"):
            one, other = seen.segment(concept), alone.segment(concept)
            assert (one.pixels == other.pixels).all()
            assert one.likeness is not None
            assert other.likeness is not None
            assert np.allclose(one.likeness, other.likeness, atol=1e-3)
