"""Pairs of pictures and label maps: real files, numbers that mean classes, faults told by name."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from PIL import Image

from graft.atlas import WorldSize, build_world
from graft.errors import GraftError
from graft.labelmaps import LabelledScenes, folder_pairs, load_profile, profile_names
from graft.prompts import load_prompts
from graft.scene import view_scene
from graft.scene_scores import canvas_of
from graft.sensors import get_sensor
from tests.labelmap_inputs import UTM, grey, ids_of, png, scene, tif

SMALL = WorldSize(scene=192, train=1, val=1, test=1, photos=2, captions=2, single=1, multi=1, tile_photos=2)


# --- profiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", profile_names())
def test_profiles_mean_classes_of_their_prompt_set_each_once(name: str) -> None:
    ids = ids_of(name)
    assert sorted(load_profile(name, ids).classes.values()) == list(range(len(ids)))


def test_the_two_orders_of_isprs_differ_in_clutter_and_boundary() -> None:
    ids = ids_of("isprs-mmseg")
    stored = np.array([[0, 1, 2, 3, 4, 5]])
    mmseg, torchgeo = (load_profile(name, ids).apply(stored)[0].tolist() for name in ("isprs-mmseg", "isprs-torchgeo"))
    assert mmseg == [255, 0, 1, 2, 3, 4]  # 0 is the boundary
    assert [ids[k] for k in torchgeo] == ["clutter", "impervious_surface", "building", "low_vegetation", "tree", "car"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
def test_numbers_outside_a_profile_are_refused_by_name(dtype: type) -> None:
    profile = load_profile("loveda", ids_of("loveda"))
    with pytest.raises(ValueError, match=r"holds 8, 9, but profile loveda knows 0, 1, 2, 3, 4, 5, 6, 7"):
        profile.apply(np.array([[0, 7, 8, 9]], dtype))


def test_negative_and_huge_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"holds -1, 70000, but"):
        load_profile("index", ("a", "b")).apply(np.array([[-1, 0, 255, 70_000]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"values": {1: "road"}}, "expected the keys values"),
        ({"values": {1: "road"}, "ignore": [], "more": 1}, "expected the keys values"),
        ({"values": {1: "road"}, "ignore": [1]}, "each of them once"),
        ({"values": {"one": "road"}, "ignore": []}, "expected whole numbers"),
        ({"values": {1: "street"}, "ignore": []}, "means the classes street, which the prompt set lacks"),
        ([1], "expected the keys values"),
    ],
)
def test_profile_files_that_break_the_form(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(GraftError, match=message):
        load_profile(tmp_path / "mine.yaml", ids_of("loveda"))


def test_a_profile_from_a_file_and_an_unknown_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("values: {10: road, 20: road}\nignore: [99]")
    assert load_profile(tmp_path / "mine.yaml", ("water", "road")).apply(np.array([[10, 20, 99]])).tolist() == [
        [1, 1, 255]
    ]
    with pytest.raises(GraftError, match=r"No label profile 'potsdam': .* index, or one of .*isprs-mmseg"):
        load_profile("potsdam", ("water",))


def test_a_class_id_that_yaml_reads_as_a_number_is_the_text(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("values: {0: 2, 5: 1}\nignore: []")
    assert load_profile(tmp_path / "mine.yaml", ("1", "2")).classes == {0: 1, 5: 0}


# --- pairs ----------------------------------------------------------------------------------------


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Crops as mmsegmentation stores them, with a partner missing on either side."""
    png(tmp_path / "img_dir" / "val" / "a.png", grey(8))
    png(tmp_path / "img_dir" / "val" / "b.jpg", grey(8, 200))
    png(tmp_path / "img_dir" / "val" / "lonely.png", grey(8))
    png(tmp_path / "ann_dir" / "val" / "a.png", np.full((8, 8), 7, np.uint8))
    png(tmp_path / "ann_dir" / "val" / "b.png", np.full((8, 8), 0, np.uint8))
    png(tmp_path / "ann_dir" / "val" / "widow.png", np.full((8, 8), 1, np.uint8))
    return tmp_path


def loveda_crops(root: Path, **settings: Any) -> LabelledScenes:
    layout = folder_pairs(root, "img_dir", "ann_dir", **settings)
    return LabelledScenes(layout, load_profile("loveda", ids_of("loveda")))


def test_pictures_and_labels_meet_by_name_and_the_rest_is_told(crops: Path) -> None:
    dataset = loveda_crops(crops, gsd_m=0.3)
    assert dataset.layout.names == ["val/a", "val/b"]
    assert dataset.layout.left_out == ["val/lonely: picture without label", "val/widow: label without picture"]
    a, b = scene(dataset, "val/a"), scene(dataset, "val/b")
    assert (a.image.shape, a.label.dtype, set(a.label.ravel()), a.gsd_m) == ((8, 8, 3), np.uint8, {6}, (0.3, 0.3))
    assert set(b.label.ravel()) == {255}
    assert abs(int(b.image.mean()) - 200) < 3


def test_palette_labels_are_indices_and_not_colours(crops: Path) -> None:
    image = Image.fromarray(np.full((8, 8), 3, np.uint8), "P")
    image.putpalette([250, 10, 20] * 256)
    image.save(crops / "ann_dir" / "val" / "a.png")
    assert set(scene(loveda_crops(crops), "val/a").label.ravel()) == {2}


@pytest.mark.parametrize(
    ("label", "fault"),
    [
        (np.zeros((8, 7), np.uint8), r"val/a: the picture has 8 x 8 px, its label 7 x 8$"),
        (np.full((8, 8), 8, np.uint8), r"val/a: the label holds 8, but profile loveda knows 0, 1"),
        (np.zeros((8, 8, 3), np.uint8), r"val/a: the label has pixels of mode RGB; expected one band"),
    ],
)
def test_a_label_that_does_not_fit_costs_its_scene(crops: Path, label: Any, fault: str) -> None:
    png(crops / "ann_dir" / "val" / "a.png", label)
    sample = loveda_crops(crops)[0]
    assert sample.scene is None
    assert re.search(fault, sample.fault), sample.fault
    assert loveda_crops(crops)[1].scene is not None


def test_a_truncated_picture_costs_its_scene(crops: Path) -> None:
    path = crops / "img_dir" / "val" / "a.png"
    path.write_bytes(path.read_bytes()[:40])
    assert loveda_crops(crops)[0].fault.startswith("val/a: ")


def test_missing_folders_and_folders_without_pairs(crops: Path) -> None:
    with pytest.raises(GraftError, match=r"No benchmark folder at .*absent"):
        folder_pairs(crops / "absent", "img_dir", "ann_dir")
    with pytest.raises(GraftError, match=r"No benchmark folder at .*masks"):
        folder_pairs(crops, "img_dir", "masks")
    for path in crops.rglob("ann_dir/val/*"):
        path.unlink()
    with pytest.raises(GraftError, match=r"no picture with a label map of its name \(3 without a partner, e.g. val/a"):
        folder_pairs(crops, "img_dir", "ann_dir")


@pytest.mark.parametrize("gsd_m", [0.0, -1.0, float("nan"), float("inf")])
def test_a_gsd_that_is_no_length_is_refused(crops: Path, gsd_m: float) -> None:
    with pytest.raises(GraftError, match=r"gsd_m is .*; expected finite metres above 0"):
        loveda_crops(crops, gsd_m=gsd_m)


def test_two_pictures_of_one_name_are_refused(crops: Path) -> None:
    png(crops / "img_dir" / "val" / "a.jpg", grey(8))
    with pytest.raises(GraftError, match=r"Two pictures are named val/a: .*a\.jpg and .*a\.png"):
        folder_pairs(crops, "img_dir", "ann_dir")


@pytest.mark.parametrize("world", [1, 2])
def test_processes_read_every_scene_once(crops: Path, world: int) -> None:
    dataset = loveda_crops(crops)
    read = sorted(sample.name for rank in range(world) for sample in dataset.share(rank, world))
    assert read == ["val/a", "val/b"]


def test_more_processes_than_scenes_is_refused(crops: Path) -> None:
    with pytest.raises(GraftError, match="2 scenes cannot be shared by 3 processes"):
        loveda_crops(crops).share(0, 3)


# --- the embedded world ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sentinel", "naip"])
def test_scenes_of_the_embedded_world(tmp_path: Path, name: str) -> None:
    sensor = get_sensor(name)
    build_world(tmp_path / "world", sensor=name, seed=5, size=SMALL, workers=1)
    root = tmp_path / "world" / "benchmarks" / "test"
    ids = load_prompts("atlas").ids
    dataset = LabelledScenes(folder_pairs(root, "scenes", "labels", sensor=sensor), load_profile("index", ids))
    (found,) = [scene(dataset, name) for name in dataset.layout.names]
    with rasterio.open(root / "scenes" / "test00.tif") as file:
        red = file.read(file.descriptions.index(sensor.bands[0]) + 1)
        valid = file.dataset_mask() > 0
    np.testing.assert_array_equal(found.image[..., 0][valid], sensor.to_display(red)[valid])
    assert not found.image[~valid].any()
    with rasterio.open(root / "labels" / "test00.tif") as file:
        np.testing.assert_array_equal(found.label, file.read(1))
    assert set(found.label.ravel()) <= {*range(len(ids)), 255}
    assert found.gsd_m == pytest.approx((sensor.gsd_m, sensor.gsd_m), rel=2e-3)


def test_pixels_without_data_are_black_whatever_number_says_so(tmp_path: Path) -> None:
    bands = np.full((3, 8, 8), 1200, np.uint16)
    bands[:, :2] = 9999
    bands[0, 4] = 9999  # in one band alone it is a bright pixel
    tif(tmp_path / "scenes" / "a.tif", bands, nodata=9999, **UTM)
    with rasterio.open(tmp_path / "scenes" / "a.tif", "r+") as file:
        file.descriptions = ("B04", "B03", "B02")
    tif(tmp_path / "labels" / "a.tif", np.zeros((8, 8), np.uint8), **UTM)
    layout = folder_pairs(tmp_path, "scenes", "labels", sensor=get_sensor("sentinel"))
    image = scene(LabelledScenes(layout, load_profile("index", ("a", "b"))), "a").image
    assert not image[:2].any()
    assert image[4, 0].tolist() == [255, 102, 102]


def test_the_wrong_sensor_costs_the_scene_and_says_why(tmp_path: Path) -> None:
    tif(tmp_path / "scenes" / "a.tif", np.zeros((3, 8, 8), np.uint16), **UTM)
    tif(tmp_path / "labels" / "a.tif", np.zeros((8, 8), np.uint8), **UTM)
    layout = folder_pairs(tmp_path, "scenes", "labels", sensor=get_sensor("sentinel"))
    sample = LabelledScenes(layout, load_profile("index", ("a", "b")))[0]
    assert "does not say which of its 3 bands are B04, B03, B02" in sample.fault
    layout = folder_pairs(tmp_path, "scenes", "labels")
    sample = LabelledScenes(layout, load_profile("index", ("a", "b")))[0]
    assert "3 bands of uint16; expected three of 8 bits, or a sensor" in sample.fault


# --- rasters: the size of their pixels, and where they have no data -------------------------------


def raster_pair(root: Path, name: str, bands: Any, **profile: Any) -> Path:
    tif(root / "labels" / f"{name}.tif", np.zeros(np.shape(bands)[1:], np.uint8))
    return tif(root / "scenes" / f"{name}.tif", bands, **profile)


def indexed(root: Path) -> LabelledScenes:
    return LabelledScenes(folder_pairs(root, "scenes", "labels"), load_profile("index", ("a", "b")))


def test_pixels_that_are_not_square_are_resampled_axis_by_axis_as_segment_does(tmp_path: Path) -> None:
    bands = np.zeros((3, 120, 80), np.uint8)
    bands[:, :, 40:] = 200
    degrees = {"crs": "EPSG:4326", "transform": Affine(1e-5, 0, 10, 0, -1e-5, 60)}
    path = raster_pair(tmp_path, "sixty-north", bands, **degrees)
    found = scene(indexed(tmp_path), "sixty-north")
    assert found.gsd_m == pytest.approx((0.558, 1.114), rel=1e-3)
    canvas = canvas_of(found, 1.0)
    assert canvas.shape == (134, 45, 3)
    assert canvas.shape[:2] == view_scene(path, get_sensor("naip"), 1.0).canvas
    assert (set(canvas[:, :22].ravel()), set(canvas[:, 23:].ravel())) == ({0}, {200})
    assert canvas_of(found, 1.05).shape == (120, 43, 3)  # six per cent down are left alone


@pytest.mark.parametrize(
    ("profile", "fault"),
    [
        ({"crs": UTM["crs"], "transform": Affine(10, 0, 1e9, 0, -10, 1e9)}, "outside the area of its coordinate"),
        ({"crs": 'LOCAL_CS["x",UNIT["metre",1]]', "transform": UTM["transform"]}, "nowhere on Earth that PROJ"),
    ],
    ids=["outside", "local"],
)
def test_a_raster_that_lies_nowhere_costs_its_scene(tmp_path: Path, profile: dict[str, Any], fault: str) -> None:
    raster_pair(tmp_path, "a", np.full((3, 8, 8), 9, np.uint8), **UTM)
    raster_pair(tmp_path, "lost", np.full((3, 8, 8), 9, np.uint8), **profile)
    good, lost = indexed(tmp_path)
    assert good.scene is not None
    assert lost.scene is None
    assert re.match(rf"lost: The scene .*lost\.tif lies {fault}", lost.fault), lost.fault


def test_pixels_without_data_are_black_without_a_sensor_too(tmp_path: Path) -> None:
    bands = np.full((3, 8, 8), 90, np.uint8)
    bands[:, :2] = 255
    bands[0, 4] = 255  # in one band alone it is a bright pixel
    raster_pair(tmp_path, "number", bands, nodata=255, **UTM)
    alpha = np.full((1, 8, 8), 255, np.uint8)
    alpha[:, :2] = 0
    raster_pair(tmp_path, "alpha", np.concatenate([bands, alpha]), photometric="RGB", alpha="YES", **UTM)
    for name in ("number", "alpha"):
        image = scene(indexed(tmp_path), name).image
        assert not image[:2].any()
        assert image[4, 0].tolist() == [255, 90, 90]
        assert set(image[5:].ravel()) == {90}
