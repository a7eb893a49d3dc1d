"""Rasters as a model sees them: bands, ground size, canvas, masks, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from graft.errors import GraftError
from graft.resample import axis_weights
from graft.scene import SceneView, read_scene, view_scene
from graft.sensors import get_sensor
from tests.prepare_inputs import write_scene
from tests.segment_inputs import COLOURS, checkered, write_rgb

SENTINEL, NAIP = get_sensor("sentinel"), get_sensor("naip")
RGB = ("B04", "B03", "B02")


def canvas_of(view: SceneView) -> np.ndarray:
    with read_scene(view) as reader:
        return reader.canvas_rows(0, view.canvas[0])[0]


def sentinel(path: Path, stored: np.ndarray | None = None, **more: Any) -> SceneView:
    keywords = {key: more.pop(key) for key in ("bands", "display", "any_gsd", "gsd_m") if key in more}
    return view_scene(write_scene(path, stored, **more), SENTINEL, 10.0, **keywords)


def test_display_values_follow_the_sensor_row(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 4000, (4, 40, 48)).astype(np.uint16)
    view = sentinel(tmp_path / "a.tif", stored)
    expected = np.clip(stored[[2, 1, 0]] / 3000 * 255, 0, 255).transpose(1, 2, 0)
    assert view.canvas == (40, 48)
    assert np.abs(canvas_of(view) - expected).max() <= 0.51
    later = view_scene(view.path, get_sensor("sentinel-04.00"), 10.0)
    expected = np.clip((stored[[2, 1, 0]] - 1000.0) / 3000 * 255, 0, 255).transpose(1, 2, 0)
    assert np.abs(canvas_of(later) - expected).max() <= 0.51


def test_blocks_are_cut_out_of_the_scene(tmp_path: Path) -> None:
    view = sentinel(tmp_path / "a.tif")
    with read_scene(view) as reader:
        whole, valid = reader.block((0, 64), (0, 64))
        part, _ = reader.block((10, 30), (5, 64))
    assert valid.all()
    np.testing.assert_array_equal(part, whole[10:30, 5:])


def test_bands_by_number(tmp_path: Path) -> None:
    stored = np.stack([np.full((8, 8), value, np.uint16) for value in (310, 600, 900)])
    path = write_scene(tmp_path / "a.tif", stored, names=(None,) * 3)
    with pytest.raises(GraftError, match=r"does not say which of its 3 bands .*--bands 4,3,2"):
        view_scene(path, SENTINEL, 10.0)
    assert canvas_of(view_scene(path, SENTINEL, 10.0, bands=[3, 1, 2]))[0, 0].tolist() == [76, 26, 51]
    with pytest.raises(GraftError, match=r"--bands is 4,3,2; expected three numbers from 1 to 3"):
        view_scene(path, SENTINEL, 10.0, bands=[4, 3, 2])


def test_near_enough_pixels_are_not_resampled(tmp_path: Path) -> None:
    assert sentinel(tmp_path / "a.tif", gsd=10.8).canvas == (64, 64)
    assert sentinel(tmp_path / "b.tif", gsd=5.0).canvas == (32, 32)
    assert sentinel(tmp_path / "c.tif", gsd=20.0).canvas == (128, 128)


def test_twice_finer_pixels_give_the_same_canvas(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(1, 3000, (3, 32, 40)).astype(np.uint16)
    fine = coarse.repeat(2, 1).repeat(2, 2)
    one = sentinel(tmp_path / "a.tif", coarse, names=RGB)
    two = sentinel(tmp_path / "b.tif", fine, names=RGB, gsd=5.0)
    np.testing.assert_array_equal(canvas_of(one), canvas_of(two))


def test_resampled_canvas_does_not_depend_on_where_it_is_cut(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 3000, (3, 60, 70)).astype(np.uint16)
    for gsd in (6.3, 17.0):
        view = sentinel(tmp_path / f"{gsd}.tif", stored, names=RGB, gsd=gsd)
        whole = canvas_of(view)
        with read_scene(view) as reader:
            rows = [reader.canvas_rows(y, y + 1)[0] for y in range(view.canvas[0])]
        np.testing.assert_array_equal(np.concatenate(rows), whole)


def test_degrees_are_measured_on_each_axis(tmp_path: Path) -> None:
    # At 60 degrees north a degree of longitude is half as long as one of latitude.
    step = 10 / 111_412
    view = sentinel(tmp_path / "a.tif", crs="EPSG:4326", west=10.0, north=60.0, gsd=step)
    assert view.gsd_m == pytest.approx((5.0, 10.0), rel=0.01)
    assert view.canvas == (64, 32)


def test_area_weights_keep_a_mean_and_line_weights_a_slope() -> None:
    for source, canvas in ((37, 11), (640, 64), (10, 3)):
        weights = axis_weights(source, canvas, 0, canvas)
        assert weights.matrix is not None
        np.testing.assert_allclose(weights.matrix.sum(0), canvas / source, rtol=1e-5)
    slope = axis_weights(10, 20, 4, 12)
    assert slope.matrix is not None
    values = slope.matrix @ np.arange(slope.start, slope.stop)
    assert values[0] == pytest.approx(1.75)  # its centre is at 2.25, centres are at halves
    np.testing.assert_allclose(np.diff(values), 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("gsd", "first"),
    [
        (10.0, 22),
        (5.0, 11),
        (10 / 3, 7),  # two thirds of pixel 7 have data, and alone make its colour
        (2.0, 5),  # three fifths of pixel 4 lack it
        (20.0, 44),
    ],
)
def test_missing_data_is_black_and_not_mixed_into_its_neighbours(tmp_path: Path, gsd: float, first: int) -> None:
    stored = np.full((3, 66, 66), 1530, np.uint16)
    stored[:, :, :22] = 0
    if gsd == 2.0:
        stored[:, :, 22] = 0
    view = sentinel(tmp_path / "a.tif", stored, names=RGB, gsd=gsd, any_gsd=True)
    canvas = canvas_of(view)
    assert (canvas[:, :first] == 0).all()
    assert (canvas[:, first:] == 130).all()
    with read_scene(view) as reader:
        np.testing.assert_array_equal(reader.block((0, 66), (0, 66))[1], stored[0] > 0)


def test_nan_is_no_data(tmp_path: Path) -> None:
    stored = np.full((3, 32, 32), 1530, np.float32)
    stored[1, :8] = np.nan
    view = sentinel(tmp_path / "a.tif", stored, names=RGB, nodata=None)
    assert view.nan_share == pytest.approx(0.25)
    assert (canvas_of(view)[:8] == 0).all()
    assert (canvas_of(view)[8:] == 130).all()


@pytest.mark.parametrize("empty", ["nan", "nodata"])
def test_a_scene_without_data(tmp_path: Path, empty: str) -> None:
    stored = np.full((3, 32, 32), np.nan, np.float32) if empty == "nan" else np.zeros((3, 32, 32), np.uint16)
    with pytest.raises(GraftError, match=r"a\.tif holds no data"):
        sentinel(tmp_path / "a.tif", stored, names=RGB)


def test_reflectance_of_another_scale(tmp_path: Path) -> None:
    stored = np.full((3, 32, 32), 0.4, np.float32)
    with pytest.raises(GraftError, match=r"numbers up to 0\.4, which looks like reflectance .* Multiply it by 10000"):
        sentinel(tmp_path / "a.tif", stored, names=RGB, nodata=None)


def test_display_values_for_a_reflectance_model(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "tci.tif", checkered(32, 32), gsd=10.0)
    with pytest.raises(GraftError, match=r"stores uint8 numbers, but sensor sentinel .* give --display"):
        view_scene(path, SENTINEL, 10.0)
    view = view_scene(path, SENTINEL, 10.0, display=True)
    np.testing.assert_array_equal(canvas_of(view), COLOURS[checkered(32, 32)])
    assert view.radiometry == "stored 8-bit display values"
    with pytest.raises(GraftError, match=r"stores uint16 numbers, but --display takes 8-bit"):
        sentinel(tmp_path / "b.tif", display=True)


def test_a_picture_without_georeference(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.png", checkered(32, 32), crs=None, driver="PNG")
    with pytest.raises(GraftError, match=r"a\.png has no coordinate reference system: .*--gsd METRES"):
        view_scene(path, NAIP, 1.0)
    view = view_scene(path, NAIP, 1.0, gsd_m=0.5)
    assert (view.crs, view.transform, view.canvas) == (None, Affine.identity(), (16, 16))
    with pytest.raises(GraftError, match="--gsd is 0; it must be more than 0"):
        view_scene(path, NAIP, 1.0, gsd_m=0)
    with pytest.raises(GraftError, match="--gsd is for rasters without one"):
        view_scene(write_rgb(tmp_path / "a.tif", checkered(32, 32)), NAIP, 1.0, gsd_m=1.0)


def test_too_far_from_the_models_resolution(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"pixels of 30 x 30 m .*trained at 10 m: a mismatch of 3\.0.*--any-gsd"):
        sentinel(tmp_path / "a.tif", gsd=30.0)
    assert sentinel(tmp_path / "a.tif", gsd=30.0, any_gsd=True).canvas == (192, 192)


def test_one_band(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"a\.tif has one band; expected red, green and blue"):
        sentinel(tmp_path / "a.tif", np.ones((1, 32, 32), np.uint16), names=("B04",))


def test_no_raster(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no raster")
    with pytest.raises(GraftError, match=r"a\.tif does not open as a raster"):
        view_scene(tmp_path / "a.tif", SENTINEL, 10.0)
    with pytest.raises(GraftError, match=r"No scene at .*none\.tif"):
        view_scene(tmp_path / "none.tif", SENTINEL, 10.0)


def test_a_damaged_file_is_told_where_it_is_read(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 3000, (4, 64, 64)).astype(np.uint16)
    path = write_scene(tmp_path / "a.tif", stored)
    view = view_scene(path, SENTINEL, 10.0)
    with rasterio.open(path) as dataset:
        third_strip = int(dataset.get_tag_item("BLOCK_OFFSET_0_2", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[third_strip : third_strip + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(GraftError, match=r"a\.tif is damaged and cannot be read"):
        canvas_of(view)


def test_reading_leaves_no_warning_about_plain_pictures(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = write_rgb(tmp_path / "a.png", checkered(32, 32), crs=None, driver="PNG")
    recwarn.clear()
    canvas_of(view_scene(path, NAIP, 1.0, gsd_m=1.0))
    assert not recwarn.list
