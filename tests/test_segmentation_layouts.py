"""Layouts of published benchmarks, as small trees of real files with their traps planted."""

import builtins
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.errors import GraftError
from graft.labelmaps import LabelledScenes, load_profile
from graft.labelmaps.landcover import open_chesapeake, open_openearthmap
from graft.labelmaps.official import open_loveda, open_potsdam, open_vaihingen
from graft.labelmaps.satlas import SatlasLandCover, tile_gsd_m
from tests.labelmap_inputs import UTM, grey, ids_of, isprs_mask, png, scene, tif

# --- through torchgeo -----------------------------------------------------------------------------


def test_loveda_in_its_official_layout(tmp_path: Path) -> None:
    pytest.importorskip("torchgeo")
    for half, stem, value in (("Urban", "1366", 2), ("Urban", "1367", 7), ("Rural", "1366", 0)):
        png(tmp_path / "Val" / half / "images_png" / f"{stem}.png", grey(16, 10 * value))
        png(tmp_path / "Val" / half / "masks_png" / f"{stem}.png", np.full((16, 16), value, np.uint8))
    png(tmp_path / "Val" / "Rural" / "images_png" / "9.png", grey(16))
    png(tmp_path / "Val" / "Rural" / "masks_png" / "8.png", np.zeros((16, 16), np.uint8))
    layout = open_loveda(tmp_path, "val", ["urban", "rural"])
    assert layout.names == ["Rural/1366", "Urban/1366", "Urban/1367"]
    assert layout.left_out == ["Rural/9: picture without label", "Rural/8: label without picture"]
    dataset = LabelledScenes(layout, load_profile("loveda", ids_of("loveda")))
    building = scene(dataset, "Urban/1366")
    assert (building.label[0, 0], building.image[0, 0].tolist(), building.gsd_m) == (1, [20, 20, 20], (0.3, 0.3))
    assert scene(dataset, "Urban/1367").label[0, 0] == 6
    assert scene(dataset, "Rural/1366").label[0, 0] == 255
    assert open_loveda(tmp_path, "val", ["rural"]).names == ["Rural/1366"]
    with pytest.raises(GraftError, match=r"does not hold LoveDA in its official layout"):
        open_loveda(tmp_path, "train", ["urban"])


def test_potsdam_in_its_official_layout(tmp_path: Path) -> None:
    pytest.importorskip("torchgeo")
    bands = np.stack([np.full((6, 6), value, np.uint8) for value in (10, 20, 30, 200)])
    tif(tmp_path / "4_Ortho_RGBIR" / "top_potsdam_2_13_RGBIR.tif", bands, **UTM)
    tif(tmp_path / "top_potsdam_2_13_label.tif", isprs_mask(6).transpose(2, 0, 1), photometric="RGB")
    tif(tmp_path / "4_Ortho_RGBIR" / "top_potsdam_2_14_RGBIR.tif", bands, **UTM)
    layout = open_potsdam(tmp_path, "test")
    assert layout.names == ["top_potsdam_2_13"]
    assert "top_potsdam_2_14: of the test split, without label" in layout.left_out
    assert "top_potsdam_3_13: of the test split, without picture" in layout.left_out
    assert len(layout.left_out) == 13
    ids = ids_of("isprs-torchgeo")
    found = scene(LabelledScenes(layout, load_profile("isprs-torchgeo", ids)), "top_potsdam_2_13")
    rows = [ids[k] for k in found.label[:, 0]]
    assert rows == ["clutter", "impervious_surface", "building", "low_vegetation", "tree", "car"]
    assert found.image[0, 0].tolist() == [10, 20, 30]
    assert found.gsd_m == (0.05, 0.05)


def test_vaihingen_in_its_official_layout(tmp_path: Path) -> None:
    pytest.importorskip("torchgeo")
    tif(tmp_path / "top" / "top_mosaic_09cm_area2.tif", np.full((3, 6, 6), 60, np.uint8))
    tif(tmp_path / "top_mosaic_09cm_area2.tif", isprs_mask(6).transpose(2, 0, 1), photometric="RGB")
    layout = open_vaihingen(tmp_path, "test")
    assert layout.names == ["top_mosaic_09cm_area2"]
    ids = ids_of("isprs-torchgeo")
    found = scene(LabelledScenes(layout, load_profile("isprs-torchgeo", ids)), "top_mosaic_09cm_area2")
    assert ids[found.label[2, 0]] == "building"
    assert found.gsd_m == (0.09, 0.09)
    with pytest.raises(GraftError, match=r"holds no picture with its mask \(16 files without a partner"):
        open_vaihingen(tmp_path, "train")


def test_without_torchgeo_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("torchgeo"):
            raise ImportError("No module named 'torchgeo'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(GraftError, match=r'LoveDA is read through torchgeo.*pip install "graft\[benchmarks\]"'):
        open_loveda(tmp_path, "val", ["urban"])


# --- own readers ----------------------------------------------------------------------------------


def test_openearthmap_by_region_and_split(tmp_path: Path) -> None:
    for name, value in (("tokyo_1", 8), ("tokyo_2", 0), ("koeln_50", 1)):
        region = name.split("_")[0]
        where = UTM if name == "tokyo_1" else {}
        tif(tmp_path / region / "images" / f"{name}.tif", np.full((3, 8, 8), 50, np.uint8), **where)
        tif(tmp_path / region / "labels" / f"{name}.tif", np.full((8, 8), value, np.uint8), **where)
    tif(tmp_path / "palu" / "labels" / "palu_3.tif", np.full((8, 8), 1, np.uint8))
    (tmp_path / "val.txt").write_text("tokyo_1.tif\ntokyo_2.tif\npalu_3.tif\nbeirut_4.tif\n")
    layout = open_openearthmap(tmp_path, "val", 0.5)
    assert layout.names == ["tokyo_1", "tokyo_2"]
    assert layout.left_out == ["palu_3: label without picture", "beirut_4: in val.txt, without picture and label"]
    ids = ids_of("openearthmap")
    dataset = LabelledScenes(layout, load_profile("openearthmap", ids))
    first, second = scene(dataset, "tokyo_1"), scene(dataset, "tokyo_2")
    assert ids[first.label[0, 0]] == "building"
    assert second.label[0, 0] == 255
    assert (first.gsd_m, second.gsd_m) == (pytest.approx((1, 1), rel=2e-3), (0.5, 0.5))
    assert open_openearthmap(tmp_path, None, None).names == ["koeln_50", "tokyo_1", "tokyo_2"]
    with pytest.raises(GraftError, match=r"No split file at .*train\.txt"):
        open_openearthmap(tmp_path, "train", None)


def test_chesapeake_pairs_ignore_no_data(tmp_path: Path) -> None:
    folder = tmp_path / "md_1m_2013_extended-debuffered-test_tiles"
    bands = np.stack([np.full((8, 8), value, np.uint8) for value in (10, 20, 30, 0)])  # deep water is black in NIR
    tif(folder / "m_1_naip-new.tif", bands, **UTM)
    tif(folder / "m_1_naip-old.tif", bands, **UTM)
    tif(folder / "m_1_lc.tif", np.array([[1, 2, 3, 4, 5, 6, 15, 0]] * 8, np.uint8), **UTM)
    tif(folder / "m_2_lc.tif", np.zeros((8, 8), np.uint8), **UTM)
    ids = ids_of("chesapeake")
    layout = open_chesapeake(tmp_path)
    assert layout.left_out == [f"{folder.name}/m_2: label without picture"]
    found = scene(LabelledScenes(layout, load_profile("chesapeake", ids)), f"{folder.name}/m_1")
    assert found.label[0].tolist() == [0, 1, 2, 3, 4, 5, 255, 255]
    assert found.image[0, 0].tolist() == [10, 20, 30]
    assert found.gsd_m == pytest.approx((1, 1), rel=2e-3)


OLD, NEW = "S2A_MSIL1C_20210601T000000", "S2B_MSIL1C_20220101T000000"


@pytest.fixture
def satlas(tmp_path: Path) -> Path:
    """Tile 100_200 seen twice, tile 101_200 once and not annotated; its label has one class per 32 px column."""
    columns = np.repeat(np.arange(16) % 12, 32).astype(np.uint8)
    label = np.tile(columns, (512, 1))
    label[:32] = 0
    png(tmp_path / "static" / "100_200" / "land_cover.png", label)
    (tmp_path / "static" / "101_200").mkdir()
    png(tmp_path / "sentinel2" / NEW / "tci" / "100_200.png", grey(512, 50))
    png(tmp_path / "sentinel2" / OLD / "tci" / "100_200.png", grey(512, 10))
    png(tmp_path / "sentinel2" / OLD / "tci" / "101_200.png", grey(512, 10))
    (tmp_path / "metadata").mkdir()
    return tmp_path


def satlas_scenes(layout: SatlasLandCover) -> LabelledScenes:
    return LabelledScenes(layout, load_profile("satlas-landcover", ids_of("satlas-landcover")))


def test_satlas_takes_the_newest_scene_or_the_named_one(satlas: Path) -> None:
    layout = SatlasLandCover(satlas, "sentinel2")
    assert layout.names == ["100_200"]
    assert layout.left_out == ["101_200: not annotated (no static/101_200/land_cover.png)"]
    newest = scene(satlas_scenes(layout), "100_200")
    assert newest.image[0, 0, 0] == 50
    assert [newest.label[40, x] for x in (0, 32, 352)] == [255, 0, 10]  # invalid, water, moss
    assert newest.label[0, 40] == 255
    assert scene(satlas_scenes(SatlasLandCover(satlas, "sentinel2", OLD)), "100_200").image[0, 0, 0] == 10
    with pytest.raises(GraftError, match="no annotated picture .* of scene absent"):
        SatlasLandCover(satlas, "sentinel2", "absent")


def test_satlas_times_come_before_names(satlas: Path) -> None:
    times = {OLD: "2023-01-01T00:00:00+00:00", NEW: "2022-01-01T00:00:00+00:00"}
    (satlas / "metadata" / "image_times.json").write_text(json.dumps(times))
    assert scene(satlas_scenes(SatlasLandCover(satlas, "sentinel2")), "100_200").image[0, 0, 0] == 10
    (satlas / "sentinel2" / "undated").mkdir()
    with pytest.raises(GraftError, match=r"When scene .*undated was taken is neither in .*image_times\.json nor"):
        SatlasLandCover(satlas, "sentinel2")


def test_satlas_naip_is_held_against_its_part_of_the_parent_label(satlas: Path) -> None:
    column, row = 100 * 16 + 5, 200 * 16 + 3
    png(satlas / "naip" / "m_2508029_ne_17_1_20190104" / "tci" / f"{column}_{row}.png", grey(512, 70))
    png(satlas / "naip" / "m_2508029_ne_17_1_20190104" / "tci" / f"{column}_{row - 3}.png", grey(512, 70))
    dataset = satlas_scenes(SatlasLandCover(satlas, "naip"))
    found = scene(dataset, f"{column}_{row}")
    assert found.image.shape == (512, 512, 3)
    assert found.label.shape == (32, 32)
    assert set(found.label.ravel()) == {4}  # sixth column of the parent holds 5: grass, class 4
    assert set(scene(dataset, f"{column}_{row - 3}").label.ravel()) == {255}  # its first 32 rows are invalid
    latitude = math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * (row + 0.5) / 2**17))))
    assert found.gsd_m == pytest.approx((0.5972 * math.cos(math.radians(latitude)),) * 2, rel=1e-3)


def test_satlas_gsd_at_the_equator() -> None:
    assert tile_gsd_m(4096, 13, 512) == pytest.approx(9.554, abs=1e-3)


def test_satlas_splits_are_lists_of_tiles(satlas: Path) -> None:
    png(satlas / "static" / "101_200" / "land_cover.png", np.ones((512, 512), np.uint8))
    (satlas / "metadata" / "test_lowres.json").write_text("[[101, 200]]")
    assert SatlasLandCover(satlas, "sentinel2", split="test_lowres").names == ["101_200"]
    (satlas / "metadata" / "test_lowres.json").write_text('{"a": 1}')
    with pytest.raises(GraftError, match=r"test_lowres\.json is no list of \[column, row\] pairs"):
        SatlasLandCover(satlas, "sentinel2", split="test_lowres")
    with pytest.raises(GraftError, match=r"No split file at .*train\.json"):
        SatlasLandCover(satlas, "sentinel2", split="train")


def test_a_satlas_split_of_finer_tiles_than_the_pictures_is_refused(satlas: Path) -> None:
    (satlas / "metadata" / "test_highres.json").write_text("[[16000, 32000]]")
    with pytest.raises(GraftError, match=r"lists tiles of zoom level 17, but sentinel2 pictures are at 13"):
        SatlasLandCover(satlas, "sentinel2", split="test_highres")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"S2A', "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b'["S2A_MSIL1C_20210601T000000"]', "is no table of scenes and times"),
        (b'{"S2A_MSIL1C_20210601T000000": null}', "is no table of scenes and times"),
    ],
)
def test_damaged_satlas_times_are_told(satlas: Path, content: bytes, message: str) -> None:
    (satlas / "metadata" / "image_times.json").write_bytes(content)
    with pytest.raises(GraftError, match=rf"image_times\.json {message}"):
        SatlasLandCover(satlas, "sentinel2")
    assert SatlasLandCover(satlas, "sentinel2", OLD).names == ["100_200"]  # a named scene needs no times


@pytest.mark.parametrize("content", [b"[[1, 2", b"\xff\xfe[", b"[[1, 2, 3]]", b"[1]", b"[[1, Infinity]]"])
def test_damaged_satlas_splits_are_told(satlas: Path, content: bytes) -> None:
    (satlas / "metadata" / "test_lowres.json").write_bytes(content)
    with pytest.raises(GraftError, match=r"test_lowres\.json is no list of \[column, row\] pairs"):
        SatlasLandCover(satlas, "sentinel2", split="test_lowres")


def test_a_satlas_label_of_another_size_costs_its_tile(satlas: Path) -> None:
    png(satlas / "static" / "100_200" / "land_cover.png", np.ones((256, 512), np.uint8))
    sample = satlas_scenes(SatlasLandCover(satlas, "sentinel2"))[0]
    assert sample.fault == "100_200: the label of its tile has 512 x 256 px; expected 512 x 512"
