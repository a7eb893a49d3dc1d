from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.crs import CRS

from graft.errors import GraftError
from graft.scene import read_scene
from graft.vqa import scoring
from graft.vqa.calibrate import Calibration, no_calibration
from graft.vqa.ground import GroundGrid
from graft.vqa.scoring import SceneVision, vision_of_array, vision_of_scene
from tests.segment_inputs import COLOURS, UTM, checkered, view_of, write_rgb
from tests.vqa_vision_inputs import colour_concepts, colour_words, scorer_of

HOUSE, FOREST, LAKE = range(3)
PLAIN = no_calibration(20.0)


def halves(height: int = 64, width: int = 96) -> np.ndarray:
    """Lake to the left of column 48, forest to the right, a house of 16 x 16 pixels in the lake."""
    labels = np.full((height, width), FOREST)
    labels[:, :48] = LAKE
    labels[8:24, 8:24] = HOUSE
    return labels


def look(
    tmp_path: Path, labels: np.ndarray, *asked: str, calibration: Calibration = PLAIN, **more: object
) -> SceneVision:
    words = colour_words(tmp_path, *asked)
    return vision_of_array(COLOURS[labels], scorer_of(words), words, calibration, **more)  # type: ignore[arg-type]


def test_masks_lie_where_the_concepts_are(tmp_path: Path) -> None:
    labels = halves()
    vision = look(tmp_path, labels)
    truth = {"house": labels == HOUSE, "forest": labels == FOREST, "lake": labels == LAKE, "land": labels != LAKE}
    for concept, right in truth.items():
        mask = vision.segment(concept)
        assert mask.likeness is not None
        assert (mask.pixels == right).mean() > 0.95, concept
        assert mask.likeness[right].mean() > 0.8 > 0.2 > mask.likeness[~right].mean(), concept
        # The threshold and likeness one half are the same thing, but for the rounding of float16.
        assert ((mask.likeness >= 0.5) == mask.pixels).mean() > 0.999
    assert vision.least_px == 6 * 64
    assert (vision.grid.height, vision.grid.width, vision.grid.units) == (64, 96, "pixels")


def test_plurals_and_new_words_are_understood(tmp_path: Path) -> None:
    labels = halves()
    vision = look(tmp_path, labels, "Lakes", "some trees", "spaceship")
    assert (vision.segment("lakes").pixels == vision.segment("lake").pixels).all()
    # "some trees" means what "wood" means, so the forest is not against it.
    assert (vision.segment("Some  Trees").pixels == vision.segment("forest").pixels).all()
    assert not vision.segment("spaceship").pixels.any()
    with pytest.raises(ValueError, match="planned"):
        vision.segment("castle")


def test_what_else_is_asked_changes_nothing(tmp_path: Path) -> None:
    labels = halves()
    alone, beside = look(tmp_path, labels), look(tmp_path, labels, "trees", "roof", "pond with fish")
    for concept in ("house", "forest", "lake"):
        assert (alone.segment(concept).pixels == beside.segment(concept).pixels).all()


def test_what_has_nothing_against_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text("- {name: ground, includes: [lake]}\n- {name: lake, phrases: [pond]}\n")
    from graft.vqa.concepts import load_concepts
    from graft.vqa.scoring import plan_words
    from tests.vqa_vision_inputs import ColourTower

    with pytest.raises(GraftError, match="nothing to tell 'ground' from"):
        plan_words(load_concepts(path), ["ground"], ColourTower())


def test_without_data_there_is_nothing(tmp_path: Path) -> None:
    labels, seen = halves(), np.ones((64, 96), bool)
    seen[:, :40] = False
    seen[44:48, 72:80] = False  # half a patch of forest
    gentle = no_calibration(2.0)
    vision = look(tmp_path, labels, seen=seen, calibration=gentle)
    mask, whole = vision.segment("lake"), look(tmp_path, labels, calibration=gentle).segment("lake")
    assert not mask.pixels[:, :40].any()
    assert mask.pixels[:, 40:46].all()
    np.testing.assert_allclose(mask.likeness[32:, 64:], whole.likeness[32:, 64:], atol=1e-3)  # type: ignore[index]
    assert look(tmp_path, labels, seen=seen).classify(["forest", "lake"])["forest"] > 0.8
    blank = look(tmp_path, labels, seen=np.zeros((64, 96), bool))
    assert not blank.segment("lake").pixels.any()
    assert blank.likeness("lake") == 0.0
    assert blank.classify(["forest", "lake"]) == {"forest": 0.5, "lake": 0.5}


def test_the_image_as_a_whole(tmp_path: Path) -> None:
    labels = np.full((64, 96), FOREST)
    labels[:, :24] = LAKE
    vision = look(tmp_path, labels, "spaceship")
    assert vision.likeness("forest") > 0.8
    assert vision.likeness("lake") < 0.2
    shares = vision.classify(["lake", "forest", "spaceship"])
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["lake"] == pytest.approx(0.25, abs=0.05)
    assert shares["forest"] == pytest.approx(0.75, abs=0.05)
    assert list(shares) == ["lake", "forest", "spaceship"]


def test_a_calibration_takes_off_what_is_usual(tmp_path: Path) -> None:
    # The word for lakes is high everywhere, by 0.5: without a calibration the lake is all over the forest.
    labels = halves()
    words = colour_words(tmp_path)
    scorer = scorer_of(words)
    vision = vision_of_array(COLOURS[labels], scorer, words, PLAIN)
    vision.weighed[..., words.words.ids.index("pond")] += 0.7
    assert vision.segment("lake").pixels.all()
    usual = {"brick": (0.0, 0.1), "wood": (0.0, 0.1), "pond": (0.7, 0.1)}
    calibration = Calibration(8.0, 10, {"mode": "tokens"}, usual, 0.1, (0.0, 0.0, 0.0))
    mended = SceneVision(*(getattr(vision, name) for name in list(vision.__dataclass_fields__)[:-1]), calibration)
    assert (mended.segment("lake").pixels == (labels == LAKE)).mean() > 0.95
    # Likeness is in units of sd + spread: cosines of 0.2 apart are 1 apart, and sigmoid(8) is sure.
    assert mended.segment("forest").likeness[:, 80:].min() > 0.99  # type: ignore[index]


def test_words_that_were_not_calibrated_get_the_mean_of_the_mean_token(tmp_path: Path) -> None:
    words = colour_words(tmp_path, "trees")
    calibration = Calibration(8.0, 10, {}, {"pond": (0.25, 0.125)}, 0.5, (0.0, 1.0, 0.0))
    vision = vision_of_array(COLOURS[halves()], scorer_of(words), words, calibration)
    mean, width = vision._usual
    row = words.words.ids.index("trees")
    assert mean[row] == pytest.approx(float(words.words.vectors[row, 1]))
    assert width[row] == 1.0
    pond = words.words.ids.index("pond")
    assert (float(mean[pond]), float(width[pond])) == (0.25, 0.625)


def test_a_scene_is_seen_as_an_array_is(tmp_path: Path) -> None:
    labels = checkered(150, 200)
    nodata = np.zeros(labels.shape, bool)
    nodata[:, 190:] = True
    path = write_rgb(tmp_path / "scene.tif", labels, nodata=nodata)
    words = colour_words(tmp_path)
    scorer = scorer_of(words)
    with read_scene(view_of(path)) as reader:
        vision = vision_of_scene(reader, scorer, words, PLAIN)
    shown = np.where(nodata[..., None], 0, COLOURS[labels])
    same = vision_of_array(shown, scorer, words, PLAIN, seen=~nodata)
    for concept in ("house", "forest", "lake"):
        seen, expected = vision.segment(concept), same.segment(concept)
        assert (seen.pixels == expected.pixels).all()
        np.testing.assert_allclose(seen.likeness, expected.likeness, atol=1e-3)  # type: ignore[arg-type]
    assert (vision.data == ~nodata).all()
    assert vision.notes == ()
    assert vision.grid.units == "metres"
    assert vision.grid.pixel_area == pytest.approx(1.0, rel=0.01)
    assert vision.likeness("lake") == pytest.approx(same.likeness("lake"), abs=1e-4)


def test_a_large_scene_is_coarsened_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = checkered(160, 202, side=64)
    path = write_rgb(tmp_path / "scene.tif", labels)
    words = colour_words(tmp_path)
    scorer = scorer_of(words)
    with read_scene(view_of(path)) as reader:
        fine = vision_of_scene(reader, scorer, words, PLAIN)
        monkeypatch.setattr(scoring, "_MOST_PIXELS", 4000)
        monkeypatch.setattr(scoring, "_BAND", 1000)  # several bands, in data and in masks
        coarse = vision_of_scene(reader, scorer, words, PLAIN)
    assert coarse.data.shape == (54, 68)  # of 3 pixels a side
    assert "54 x 68" in coarse.notes[0]
    assert coarse.least_px == round(384 * 54 * 68 / (160 * 202))
    assert coarse.grid.pixel_area == pytest.approx(fine.grid.pixel_area * 160 * 202 / (54 * 68), rel=1e-3)
    for concept in ("house", "forest", "lake"):
        areas = [vision.grid.area(vision.segment(concept).pixels) for vision in (fine, coarse)]
        assert areas[1] == pytest.approx(areas[0], rel=0.05)


def test_a_calibration_of_another_mode_is_refused(tmp_path: Path) -> None:
    calibration = Calibration(8.0, 10, {"mode": "naclip"}, {}, 0.1, (0.0, 0.0, 0.0))
    with pytest.raises(GraftError, match="--mode naclip"):
        look(tmp_path, halves(), calibration=calibration)


def test_a_grid_on_the_ground_is_kept(tmp_path: Path) -> None:
    grid = GroundGrid.of_canvas(CRS.from_string(UTM), Affine(10, 0, 5e5, 0, -10, 5e6), (64, 96), (64, 96), "metres")
    vision = look(tmp_path, halves(), grid=grid, least_px=10, stride=32, batch_size=1)
    assert vision.grid is grid
    assert vision.least_px == 10
    assert torch.is_tensor(vision.weighed)
    assert colour_concepts(tmp_path).names == ("house", "forest", "lake", "land")
