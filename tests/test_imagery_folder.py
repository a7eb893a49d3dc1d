from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from graft.errors import GraftError
from graft.imagery.folder import open_folder
from graft.imagery.image import Image
from graft.imagery.read import Tile, read_tile
from graft.sensors import get_sensor
from tests.prepare_inputs import write_scene

SENTINEL, NAIP = get_sensor("sentinel"), get_sensor("naip")
RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def first_tile(image: Image, sensor_name: str = "sentinel", corner: tuple[int, int] = (0, 0), size: int = 16) -> Tile:
    tile = read_tile(image, *corner, size, get_sensor(sensor_name))
    assert tile is not None
    return tile


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (("B02", "B03", "B04", "B08"), (3, 2, 1)),
        (("b4", "B3", "B2"), (1, 2, 3)),
        (("Red", "Green", "Blue"), (1, 2, 3)),
    ],
)
def test_bands_by_description(tmp_path: Path, names: tuple[str, ...], bands: tuple[int, ...]) -> None:
    (image,) = open_folder(write_scene(tmp_path / "a.tif", names=names), SENTINEL)
    assert tuple(number for _, number in image.bands) == bands


def test_bands_by_colour(tmp_path: Path) -> None:
    colours = (ColorInterp.undefined, ColorInterp.blue, ColorInterp.green, ColorInterp.red)
    path = write_scene(tmp_path / "a.tif", names=(None,) * 4, colours=colours)
    assert [number for _, number in open_folder(path, SENTINEL)[0].bands] == [4, 3, 2]


def test_missing_bands_name_what_was_found(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", names=("B02", "B03", "B8A"))
    with pytest.raises(
        GraftError, match=r"which of its 3 bands are B04, B03, B02 .* its descriptions are B02, B03, B8A"
    ):
        open_folder(path, SENTINEL)


def test_tile_is_the_rendered_window(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 4000, (4, 40, 48)).astype(np.uint16)
    (image,) = open_folder(write_scene(tmp_path / "a.tif", stored), SENTINEL)
    tile = first_tile(image, corner=(20, 10))
    expected = np.clip(stored[[2, 1, 0], 10:26, 20:36] / 3000 * 255, 0, 255).transpose(1, 2, 0)
    assert tile.pixels.dtype == np.uint8
    assert np.abs(tile.pixels - expected).max() <= 0.51
    assert tile.invalid == 0
    assert (image.crs, image.gsd_m, image.datetime, image.item) == (
        "EPSG:32633",
        10.0,
        "2020-06-01T10:00:00",
        "product of a",
    )


def test_invalid_share_and_black(tmp_path: Path) -> None:
    stored = np.full((4, 32, 32), 1500, np.uint16)
    stored[:, :, :4] = 0
    stored[3, 8, 8] = stored[0, 9, 9] = 0  # dark in one band is not nodata
    (image,) = open_folder(write_scene(tmp_path / "a.tif", stored), SENTINEL)
    tile = first_tile(image)
    assert tile.invalid == pytest.approx(4 / 16)
    assert (tile.pixels[:, :4] == 0).all()
    assert tile.pixels[8, 8].tolist() == pytest.approx([127.5, 127.5, 127.5], abs=1)


def test_invalid_is_black_whatever_the_offset(tmp_path: Path) -> None:
    stored = np.zeros((4, 32, 32), np.uint16)
    bright = replace(SENTINEL, offset=500.0)
    tile = read_tile(open_folder(write_scene(tmp_path / "a.tif", stored), bright)[0], 0, 0, 16, bright)
    assert tile is not None
    assert tile.pixels.max() == 0


def test_float_scene_with_nan(tmp_path: Path) -> None:
    stored = np.full((3, 32, 32), 1500, np.float32)
    stored[1, :8] = np.nan
    path = write_scene(tmp_path / "a.tif", stored, names=("B04", "B03", "B02"), nodata=None)
    tile = first_tile(open_folder(path, SENTINEL)[0])
    assert tile.invalid == pytest.approx(0.5)
    assert tile.pixels.max() == pytest.approx(127.5, abs=1)


def test_near_infrared_is_no_mask(tmp_path: Path) -> None:
    stored = np.full((4, 32, 32), 100, np.uint8)
    stored[3] = 0  # water is black in the near infrared
    for name, invalid in (("N", 0.0), ("alpha", 1.0)):
        path = write_scene(
            tmp_path / f"{name}.tif",
            stored,
            names=("R", "G", "B", name),
            gsd=1.0,
            nodata=None,
            colours=(*RGB, ColorInterp.alpha),
        )
        assert first_tile(open_folder(path, NAIP)[0], "naip").invalid == invalid


def test_wrong_resolution(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", gsd=20.0)
    with pytest.raises(GraftError, match=r"pixels of 20 x 20 m on the ground, sensor sentinel has 10 m"):
        open_folder(path, SENTINEL)
    assert len(open_folder(write_scene(tmp_path / "b.tif", gsd=10.8), SENTINEL)) == 1


def test_web_mercator_metres_are_not_ground_metres(tmp_path: Path) -> None:
    place: dict[str, Any] = {"crs": "EPSG:3857", "west": 1_000_000.0, "north": 8_399_738.0}  # 60 degrees north
    (averaged,) = open_folder(write_scene(tmp_path / "a.tif", gsd=10.0, **place), SENTINEL)
    assert (averaged.width, averaged.transform[0]) == (32, pytest.approx(20, abs=0.2))
    (image,) = open_folder(write_scene(tmp_path / "b.tif", gsd=20.0, **place), SENTINEL)
    assert image.gsd_m == pytest.approx(10, abs=0.1)


def test_number_type_that_cannot_hold_white(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", np.ones((3, 32, 32), np.uint8), names=("B04", "B03", "B02"))
    with pytest.raises(GraftError, match=r"stores uint8 numbers, but sensor sentinel shows 3000 as white"):
        open_folder(path, SENTINEL)


def test_no_scenes(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"No scenes in .*looked for files ending in \.tif"):
        open_folder(tmp_path, SENTINEL)
    with pytest.raises(GraftError, match="No scene at"):
        open_folder(tmp_path / "none.tif", SENTINEL)


def test_scene_that_is_no_raster_or_has_no_crs(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("not a raster")
    with pytest.raises(GraftError, match=r"a\.tif does not open as a raster"):
        open_folder(tmp_path, SENTINEL)
    with pytest.raises(GraftError, match="has no coordinate reference system"):
        open_folder(write_scene(tmp_path / "b.tif", crs=None), SENTINEL)


def test_slugs_are_safe_and_unique(tmp_path: Path) -> None:
    names = ["a/Zürich.2020 (1)", "b/Zurich-2020-1", "c/北京", "d/S2A_T33TUL"]
    for name in names:
        write_scene(tmp_path / f"{name}.tif")
    images = open_folder([tmp_path / "a", tmp_path], SENTINEL)
    assert [image.slug for image in images] == ["zurich-2020-1", "zurich-2020-1-2", "scene", "s2a_t33tul"]


def test_damaged_window_costs_itself(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 3000, (4, 64, 64)).astype(np.uint16)
    path = write_scene(tmp_path / "a.tif", stored)
    (image,) = open_folder(path, SENTINEL)
    with rasterio.open(path) as dataset:
        third_strip = int(dataset.get_tag_item("BLOCK_OFFSET_0_2", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[third_strip : third_strip + 100] = bytes(100)
    path.write_bytes(content)
    upper, lower = (read_tile(image, 0, row, 16, SENTINEL) for row in (0, 32))
    assert [upper is None, lower is None] == [False, True]
