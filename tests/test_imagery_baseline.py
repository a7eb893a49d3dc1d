from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from graft.errors import GraftError
from graft.imagery.baseline import Evidence, UnclearRadiometryError, dark_end, decide, evidence_of_item
from graft.imagery.folder import open_folder
from graft.imagery.read import read_tile
from graft.sensors import get_sensor
from tests.prepare_inputs import write_scene

SENTINEL, SHIFTED, NAIP = get_sensor("sentinel"), get_sensor("sentinel-04.00"), get_sensor("naip")
EARTH_SEARCH = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/31/U/FU/2022/2/B04.tif"
COLLECTION_1 = "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com/sentinel-2-c1-l2a/31/B04.tif"
PLANETARY = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/31/U/FU/2022/B04_10m.tif"
RASTER_BANDS = [{"data_type": "uint16", "scale": 0.0001, "offset": -0.1}]
UNREAD = -1.0
"""Of the dark end where it must not be looked at."""


def offset_of(evidence: Evidence, dark: float) -> float:
    def darkest() -> float:
        assert dark != UNREAD, "pixels were read although the metadata are clear"
        return dark

    return decide(evidence, darkest).offset


def item(
    baseline: str | None = None, *, href: str = EARTH_SEARCH, bands: Any = None, asset: str = "red", **more: Any
) -> Evidence:
    properties = {name.replace("__", ":"): value for name, value in more.items()}
    if baseline is not None:
        properties["s2:processing_baseline"] = baseline
    return evidence_of_item(
        "S2B_31UFU_20220201_0_L2A", properties, asset, {"raster:bands": bands} if bands else {}, href
    )


@pytest.mark.parametrize(
    ("evidence", "dark", "offset"),
    [
        pytest.param(item("02.14", earthsearch__boa_offset_applied=False), UNREAD, 0, id="before 04.00"),
        pytest.param(
            item("04.00", bands=RASTER_BANDS, earthsearch__boa_offset_applied=True),
            UNREAD,
            0,
            id="the flag wins",
        ),
        pytest.param(item("04.00", sentinel__boa_offset_applied=True), UNREAD, 0, id="the flag's older name"),
        pytest.param(
            item("04.00", bands=RASTER_BANDS, earthsearch__boa_offset_applied=False), 1030, -1000, id="false is true"
        ),
        pytest.param(
            item("04.00", bands=RASTER_BANDS, earthsearch__boa_offset_applied=False), 120, 0, id="false is false"
        ),
        pytest.param(item("05.09", bands=RASTER_BANDS), 120, 0, id="that collection without its flag"),
        pytest.param(item("05.00", href=COLLECTION_1, bands=RASTER_BANDS), UNREAD, -1000, id="collection 1 states it"),
        pytest.param(
            item(href=COLLECTION_1, bands=[{"scale": 1e-4, "offset": 0}]), UNREAD, 0, id="states 0, no baseline"
        ),
        pytest.param(
            item("05.00", href=COLLECTION_1, bands=[{"scale": 1e-4, "offset": 0}]), 90, 0, id="states 0 at 05.00"
        ),
        pytest.param(item("04.00", href=PLANETARY, asset="B04"), UNREAD, -1000, id="Planetary Computer keeps it"),
        pytest.param(item("03.01", href=PLANETARY, asset="B04"), UNREAD, 0, id="Planetary Computer before 04.00"),
        pytest.param(item("05.00", asset="visual"), UNREAD, 0, id="visual"),
        pytest.param(item("05.00", href=PLANETARY, asset="TCI_10m"), UNREAD, 0, id="TCI"),
        pytest.param(item("05.00", bands=[{"data_type": "uint8"}]), UNREAD, 0, id="8 bits"),
        pytest.param(item("05.00", href="https://elsewhere/B04.tif"), 1100, -1000, id="unknown archive, dark at 1100"),
        pytest.param(item("05.00", href="https://elsewhere/B04.tif"), 60, 0, id="unknown archive, dark at 60"),
        pytest.param(item(href="https://elsewhere/B04.tif"), 60, 0, id="nothing written, dark at 60"),
        pytest.param(item(href="https://x/a.tif", s2__product_uri="S2A_MSIL2A_2020_N0214_R1"), UNREAD, 0, id="by name"),
        pytest.param(item("02.14", href=COLLECTION_1, bands=RASTER_BANDS), 300, 0, id="contradiction, dark at 300"),
    ],
)
def test_offset_of_an_item(evidence: Evidence, dark: float, offset: float) -> None:
    assert offset_of(evidence, dark) == offset


@pytest.mark.parametrize(
    ("evidence", "dark"),
    [
        pytest.param(item(href="https://elsewhere/B04.tif"), 1100, id="nothing written, 1100 may be either"),
        pytest.param(item("05.00", href="https://elsewhere/B04.tif"), 2500, id="bright everywhere"),
        pytest.param(item("05.00", href="https://elsewhere/B04.tif"), float("inf"), id="no data"),
        pytest.param(item("02.14", href=COLLECTION_1, bands=RASTER_BANDS), 1100, id="contradiction, dark at 1100"),
    ],
)
def test_doubt_is_refused_in_one_sentence(evidence: Evidence, dark: float) -> None:
    with pytest.raises(UnclearRadiometryError, match=r"Nothing tells whether 1000 is added .* BOA_ADD_OFFSET") as error:
        offset_of(evidence, dark)
    assert "\n" not in str(error.value)


def test_the_reason_is_recorded() -> None:
    note = decide(item("04.00", href=PLANETARY, asset="B04"), lambda: 0).note
    assert note == "processing baseline 04.00; this archive keeps ESA's numbers"
    note = decide(item("04.00", earthsearch__boa_offset_applied=False), lambda: 96).note
    assert "red goes down to 96" in note


def test_another_scale_is_refused() -> None:
    with pytest.raises(UnclearRadiometryError, match=r"scales its numbers by 2.75e-05; expected 0.0001"):
        item(bands=[{"scale": 2.75e-5, "offset": -0.2}])


def test_dark_end_ignores_a_few_pixels_and_what_is_not_valid() -> None:
    red = np.full((20, 20), 1500)
    red[0, :3] = 5
    red[1, :8] = 1100
    valid = np.ones(red.shape, np.bool_)
    assert dark_end(red, valid) == 1100
    valid[0] = valid[1] = False
    assert dark_end(red, valid) == 1500
    assert dark_end(red, np.zeros_like(valid)) == float("inf")


def tagged(path: Path, stored: np.ndarray, **tags: str) -> Path:
    write_scene(path, stored)
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(**tags)
    return path


def ground(dark: int = 100) -> np.ndarray:
    return np.random.default_rng(0).integers(dark, dark + 2500, (4, 64, 64)).astype(np.uint16)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({}, {"BOA_ADD_OFFSET": "-1000"}),
        ({"PROCESSING_BASELINE": "02.14"}, {"PROCESSING_BASELINE": "04.00", "BOA_ADD_OFFSET": "-1000"}),
        ({"BOA_ADD_OFFSET": "0", "PROCESSING_BASELINE": "05.09"}, {"processing_baseline": "N0509"}),
    ],
)
def test_two_baselines_of_one_place_give_the_same_tile(
    tmp_path: Path, older: dict[str, str], newer: dict[str, str]
) -> None:
    stored = ground()
    stored[:, :5] = 0
    shifted = np.where(stored > 0, stored + 1000, 0).astype(np.uint16)
    tagged(tmp_path / "a.tif", stored, **older)
    tagged(tmp_path / "b.tif", shifted, **newer)
    for sensor in (SENTINEL,) if not older else (SENTINEL, SHIFTED):
        images = open_folder(tmp_path, sensor)
        tiles = [read_tile(image, 0, 0, 48, sensor) for image in images]
        assert [image.offset for image in images] == [0, -1000]
        assert tiles[0] is not None
        assert tiles[1] is not None
        assert (tiles[0].pixels == tiles[1].pixels).all()
        assert tiles[0].pixels.std() > 30
        assert tiles[0].invalid == tiles[1].invalid == pytest.approx(5 / 48)


def test_gdal_band_offset_is_read_too(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", ground(1100))
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.scales, dataset.offsets = [1e-4] * 4, [-0.1] * 4
    assert open_folder(path, SENTINEL)[0].offset == -1000


def test_without_tags_the_row_decides(tmp_path: Path) -> None:
    path = write_scene(tmp_path / "a.tif", ground(1100))
    assert [open_folder(path, sensor)[0].offset for sensor in (SENTINEL, SHIFTED)] == [0, -1000]
    assert open_folder(path, SHIFTED)[0].radiometry_note == "row sentinel-04.00 of sensors.yaml"


def test_a_tagged_raster_without_dark_ground_is_refused(tmp_path: Path) -> None:
    path = tagged(tmp_path / "a.tif", ground(4000), PROCESSING_BASELINE="04.00")
    with pytest.raises(GraftError, match=r"The scene .*a\.tif: Nothing tells .*red goes down to 40\d\d"):
        open_folder(path, SENTINEL)
    assert open_folder(path, SHIFTED)[0].offset == -1000
    tagged(tmp_path / "b.tif", ground(4000), PROCESSING_BASELINE="04.00", BOA_ADD_OFFSET="0")
    assert open_folder(tmp_path / "b.tif", SENTINEL)[0].offset == 0


def test_other_sensors_have_no_baseline(tmp_path: Path) -> None:
    stored = np.full((3, 32, 32), 200, np.uint8)
    path = write_scene(tmp_path / "a.tif", stored, names=("R", "G", "B"), gsd=1.0)
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.update_tags(PROCESSING_BASELINE="04.00")
    assert open_folder(path, NAIP)[0].offset == 0
