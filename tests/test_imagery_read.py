from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

import graft.imagery.remote
from graft.errors import GraftError
from graft.imagery.folder import open_folder
from graft.imagery.geometry import to_lonlat, to_pixel
from graft.imagery.image import Image
from graft.imagery.read import Tile, read_tile
from graft.imagery.remote import open_raster
from graft.sensors import get_sensor
from tests.prepare_inputs import NORTH, UTM, WEST, write_scene
from tests.stac_inputs import serve

SENTINEL, NAIP = get_sensor("sentinel"), get_sensor("naip")


def tile_of(image: Image, column: int, row: int, size: int, sensor: Any = SENTINEL) -> Tile:
    tile = read_tile(image, column, row, size, sensor)
    assert tile is not None
    return tile


def served(image: Image, address: str) -> Image:
    red, green, blue = (number for _, number in image.bands)
    return replace(image, bands=((address, red), (address, green), (address, blue)))


def naip_scene(path: Path, gsd: float, size: int = 200, stored: np.ndarray | None = None, **more: Any) -> np.ndarray:
    if stored is None:
        stored = np.random.default_rng(0).integers(1, 256, (4, size, size)).astype(np.uint8)
    write_scene(path, stored, names=("R", "G", "B", "N"), gsd=gsd, **more)
    return stored


def area_means(stored: np.ndarray, gsd: float, size: int) -> np.ndarray:
    """Means over squares of 1 m, by cutting every pixel into 100 equal parts."""
    parts = np.repeat(np.repeat(stored.astype(float), round(gsd * 10), axis=1), round(gsd * 10), axis=2)
    cut = parts[:, : size * 10, : size * 10].reshape(len(parts), size, 10, size, 10)
    return cut.mean(axis=(2, 4))


@pytest.mark.parametrize("gsd", [0.6, 0.3])
def test_finer_pixels_are_averaged_over_their_area(tmp_path: Path, gsd: float) -> None:
    stored = naip_scene(tmp_path / "a.tif", gsd)
    (image,) = open_folder(tmp_path, NAIP)
    side = int(200 * gsd + 1e-6)
    assert (image.width, image.height, image.transform) == (side, side, (1, 0, WEST, 0, -1, NORTH))
    assert image.gsd_m == 1
    expected = area_means(stored[:3], gsd, side).transpose(1, 2, 0)
    whole = tile_of(image, 0, 0, side, NAIP)
    assert np.abs(whole.pixels - expected).max() <= 0.5 + 1e-4
    assert whole.invalid == 0
    part = tile_of(image, 17, 5, 32, NAIP)
    assert (part.pixels == whole.pixels[5:37, 17:49]).all()


def test_overviews_are_not_taken_for_pixels(tmp_path: Path) -> None:
    naip_scene(tmp_path / "a.tif", 0.3)
    (image,) = open_folder(tmp_path, NAIP)
    before = tile_of(image, 3, 4, 40, NAIP)
    with rasterio.open(tmp_path / "a.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.build_overviews([2, 4])
    assert (tile_of(image, 3, 4, 40, NAIP).pixels == before.pixels).all()


def test_missing_pixels_do_not_darken_an_average(tmp_path: Path) -> None:
    stored = np.full((4, 100, 100), 200, np.uint8)
    stored[:, :, :40] = 0
    stored[0, 50, 50] = 0  # dark in one band is not without data
    naip_scene(tmp_path / "a.tif", 0.6, stored=stored)
    (image,) = open_folder(tmp_path, NAIP)
    tile = tile_of(image, 0, 0, 60, NAIP)
    assert tile.invalid == pytest.approx(24 / 60)
    assert (tile.pixels[:, :24] == 0).all()
    assert (np.delete(tile.pixels[:, 24:, 0], [29, 30], axis=0) == 200).all()
    assert 100 < tile.pixels[30, 30, 0] < 200


@pytest.mark.parametrize(("missing", "first"), [(41, 25), (42, 25)])
def test_an_average_needs_half_of_its_area(tmp_path: Path, missing: int, first: int) -> None:
    stored = np.full((4, 100, 100), 200, np.uint8)
    stored[:, :, :missing] = 0  # 24.6 m and 25.2 m
    naip_scene(tmp_path / "a.tif", 0.6, stored=stored)
    tile = tile_of(open_folder(tmp_path, NAIP)[0], 0, 0, 60, NAIP)
    assert (tile.pixels[:, first:] == 200).all()
    assert tile.pixels[:, :first].max() == 0


def test_averaged_pixels_lie_where_the_positions_say(tmp_path: Path) -> None:
    stored = np.full((4, 200, 200), 10, np.uint8)
    stored[:3, 100:105, 50:55] = 250  # 3 m of 0.6 m pixels
    naip_scene(tmp_path / "a.tif", 0.6, stored=stored)
    (image,) = open_folder(tmp_path, NAIP)
    to_degrees = rasterio.warp.transform(UTM, "EPSG:4326", [WEST + 52.5 * 0.6], [NORTH - 102.5 * 0.6])
    x, y = to_pixel(image, to_degrees[0][0], to_degrees[1][0])
    tile = tile_of(image, 0, 0, 120, NAIP)
    assert (tile.pixels[int(y), int(x)] == 250).all()
    rows, columns = np.nonzero(tile.pixels[..., 0] == 250)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx((float(y), float(x)), abs=0.01)


def test_a_grid_of_degrees_is_its_own_tile_grid(tmp_path: Path) -> None:
    step = 10 / 111_320
    write_scene(tmp_path / "a.tif", crs="EPSG:4326", gsd=step, west=10.0, north=0.01)
    (image,) = open_folder(tmp_path, SENTINEL)
    assert image.transform[0] == step
    assert to_lonlat(image, 0, 0) == pytest.approx((10.0, 0.01))


@pytest.mark.parametrize(("sensor", "gsd", "why"), [("sentinel", 2.0, "up to 4 times finer"), ("naip", 1.2, "made up")])
def test_rasters_too_fine_or_too_coarse(tmp_path: Path, sensor: str, gsd: float, why: str) -> None:
    write_scene(tmp_path / "a.tif", gsd=gsd)
    with pytest.raises(GraftError, match=f"on the ground, sensor {sensor} has .*{why}.*gdalwarp"):
        open_folder(tmp_path, get_sensor(sensor))


def test_outside_the_image_is_without_data(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", np.full((4, 64, 64), 1500, np.uint16))
    (image,) = open_folder(tmp_path, SENTINEL)
    tile = tile_of(image, -8, 56, 16)
    assert tile.invalid == pytest.approx(0.75)
    assert (tile.pixels[:8, 8:] > 0).all()
    assert tile.pixels[:, :8].max() == tile.pixels[8:].max() == 0
    assert tile_of(image, 500, 500, 16).invalid == 1


def test_zero_is_no_data_in_sentinel2_alone(tmp_path: Path) -> None:
    stored = np.full((3, 64, 64), 1500, np.uint16)
    stored[:, :16] = 0
    write_scene(tmp_path / "s2.tif", stored, names=("B04", "B03", "B02"), nodata=None)
    assert tile_of(open_folder(tmp_path / "s2.tif", SENTINEL)[0], 0, 0, 64).invalid == 0.25
    shadow = (stored // 10).astype(np.uint8)
    write_scene(tmp_path / "naip.tif", shadow, names=("R", "G", "B"), nodata=None, gsd=1.0)
    assert tile_of(open_folder(tmp_path / "naip.tif", NAIP)[0], 0, 0, 64, NAIP).invalid == 0


def test_a_file_that_lies_elsewhere_than_its_item_says(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 3000, (4, 64, 64)).astype(np.uint16)
    write_scene(tmp_path / "a.tif", stored)
    (image,) = open_folder(tmp_path, SENTINEL)
    a, b, c, d, e, f = image.transform
    shifted = replace(image, transform=(a, b, c - 160, d, e, f + 80))
    assert (tile_of(shifted, 20, 20, 16).pixels == tile_of(image, 4, 12, 16).pixels).all()
    for grid in ((0.0, 10.0, c, 10.0, 0.0, f), (10.0, 1.0, c, 0.0, -10.0, f)):
        assert read_tile(replace(image, transform=grid), 0, 0, 16, SENTINEL) is None


def write_classes(path: Path, classes: np.ndarray) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=classes.shape[1],
        height=classes.shape[0],
        count=1,
        dtype="uint8",
        crs=UTM,
        transform=Affine(20, 0, WEST, 0, -20, NORTH),
    ) as dataset:
        dataset.write(classes, 1)
    return path


def test_cloudy_share_of_the_window(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif")
    (image,) = open_folder(tmp_path / "a.tif", SENTINEL)
    assert tile_of(image, 0, 0, 16).cloudy is None
    classes = np.full((32, 32), 4, np.uint8)
    classes[:4] = np.repeat([8, 9, 10, 3, 0, 1, 5, 6], 4)  # of eight columns' groups the first six are unclear
    image = replace(image, scl=str(write_classes(tmp_path / "scl.tif", classes)))
    assert tile_of(image, 0, 0, 64).cloudy == pytest.approx(6 / 8 * 4 / 32)
    assert tile_of(image, 0, 8, 16).cloudy == 0
    assert tile_of(image, 7, 0, 8).cloudy == 1
    assert tile_of(image, 47, 4, 2).cloudy == 0.5  # from an odd pixel: one of its two columns


def test_a_window_over_http_costs_its_own_bytes(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 3000, (3, 1024, 1024)).astype(np.uint16)
    path = tmp_path / "a.tif"
    profile = {"width": 1024, "height": 1024, "count": 3, "dtype": "uint16", "crs": UTM, "tiled": True}
    blocks = {"blockxsize": 128, "blockysize": 128, "transform": Affine(10, 0, WEST, 0, -10, NORTH)}
    with rasterio.open(path, "w", driver="GTiff", **profile, **blocks, interleave="band") as dataset:
        dataset.write(stored)
        dataset.descriptions = ("B04", "B03", "B02")
    (image,) = open_folder(path, SENTINEL)
    with serve(tmp_path) as archive:
        remote = served(image, f"{archive.url}/a.tif")
        first = tile_of(remote, 300, 300, 64)
        assert (first.pixels == tile_of(image, 300, 300, 64).pixels).all()
        assert 0 < archive.sent["/a.tif"] < 0.1 * path.stat().st_size
        once = archive.sent["/a.tif"]
        tile_of(remote, 310, 310, 64)
        assert archive.sent["/a.tif"] == once


@pytest.mark.parametrize("faults", [["drop"], [503, "truncate"], ["truncate", "drop", 500], [404]])
def test_a_bad_server_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: list[int | str]) -> None:
    monkeypatch.setattr(graft.imagery.remote, "PAUSE_S", 0.01)
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    write_scene(tmp_path / "a.tif")
    (image,) = open_folder(tmp_path, SENTINEL)
    with serve(tmp_path) as archive:
        archive.faults["/a.tif"] = list(faults)
        tile = tile_of(served(image, f"{archive.url}/a.tif"), 8, 8, 16)
        assert archive.faults["/a.tif"] == []
        asked = archive.sent["/a.tif"]
        tile_of(served(image, f"{archive.url}/a.tif"), 8, 8, 16)
        assert archive.sent["/a.tif"] == asked, "bad bytes were met again"
    assert (tile.pixels == tile_of(image, 8, 8, 16).pixels).all()


def test_a_server_that_stays_bad_costs_the_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graft.imagery.remote, "PAUSE_S", 0.01)
    write_scene(tmp_path / "a.tif")
    (image,) = open_folder(tmp_path, SENTINEL)
    with serve(tmp_path) as archive:
        assert read_tile(served(image, f"{archive.url}/gone.tif"), 8, 8, 16, SENTINEL) is None


def test_a_signer_out_of_reach_costs_the_tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import planetary_computer
    import requests

    def refused(*_: object) -> None:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(planetary_computer.sas, "get_token", refused)
    monkeypatch.setattr(graft.imagery.remote, "PAUSE_S", 0.01)
    write_scene(tmp_path / "a.tif")
    (image,) = open_folder(tmp_path, SENTINEL)
    remote = replace(served(image, "https://naipeuwest.blob.core.windows.net/naip/a.tif"), sign=True)
    assert read_tile(remote, 0, 0, 16, SENTINEL) is None


def test_addresses_on_azure_are_signed_when_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import planetary_computer

    opened = []
    monkeypatch.setattr(planetary_computer.sas, "get_token", lambda *_: planetary_computer.sas.SASToken(**TOKEN))
    monkeypatch.setattr(rasterio, "open", opened.append)
    for address in ("https://naipeuwest.blob.core.windows.net/naip/signed.tif", "https://elsewhere/a.tif", "/a.tif"):
        with pytest.raises((TypeError, AttributeError)), open_raster(address, sign=True):
            pass
    signed = "https://naipeuwest.blob.core.windows.net/naip/signed.tif?sv=1&sig=x"
    assert opened == [signed, "https://elsewhere/a.tif", "/a.tif"]


TOKEN = {"msft:expiry": "2099-01-01T00:00:00Z", "token": "sv=1&sig=x"}
