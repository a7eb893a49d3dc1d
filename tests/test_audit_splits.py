"""Leakage between splits, each kind planted; and the ground: antimeridian, poles, zones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.audit.findings import Level
from graft.audit.ground import centres, lonlat, on_plane, side_m
from graft.sphere import degrees_of, lon_lat_box
from tests.audit_inputs import GSD, SIDE, TEACHER, Found, Sample, look, make_sample, with_pictures, write_split

FAR = 600_000.0


def two_splits(tmp_path: Path, train: list[Sample], val: list[Sample], stored: bool = False, **settings: Any) -> Found:
    write_split(tmp_path / "shards" / "train", train, stored=stored)
    write_split(tmp_path / "shards" / "val", val, stored=stored)
    return look(tmp_path / "shards", tmp_path / "work", **settings)


@pytest.fixture
def train() -> list[Sample]:
    return [make_sample(number) for number in range(12)]


@pytest.fixture
def val() -> list[Sample]:
    return [make_sample(number, split="val", east=FAR) for number in range(8)]


def test_sound_splits(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    found = two_splits(tmp_path, train, val)
    assert found.bad == {}
    assert [check.name for check in found.audit.checks if check.group == "Splits"] == [
        "alike",
        "shared photos",
        "shared vectors",
        "shared tiles",
        "shared ground",
    ]
    assert found["shared ground"].says == "no tile is within 320 m of one of another split"


def test_a_photo_in_two_splits(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    val[2].meta["photos"][1]["id"] = train[5].meta["photos"][0]["id"]
    found = two_splits(tmp_path, train, val)
    assert found.bad == {"Splits, shared photos": "fault", "Photos, ids": "fault"}
    assert found["shared photos"].says == "photos in both train and val: 1"
    assert "train/train-0005, photo train-5-0 = val/val-0002, photo train-5-0" in found["shared photos"].examples[0]


def test_a_copy_of_a_photo_in_two_splits(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    val[2].vectors[1] = train[5].vectors[0]
    found = two_splits(tmp_path, train, val)
    assert found.bad == {"Splits, shared vectors": "fault", "Copies, photos": "warning"}


def test_a_copy_of_a_stored_picture_in_two_splits(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    for sample in (*train, *val):
        with_pictures(sample)
    val[2].pictures[1] = train[5].pictures[0]
    assert two_splits(tmp_path, train, val, stored=True).bad == {"Splits, shared pictures": "fault"}


def test_the_same_tile_in_two_splits(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    val[2].pixels = train[5].pixels
    found = two_splits(tmp_path, train, val)
    assert found.bad == {"Splits, shared tiles": "fault", "Copies, tiles": "warning"}
    assert found["shared tiles"].examples == ["in both train and val: train/train-0005 = val/val-0002"]


@pytest.mark.parametrize(
    ("gap_m", "buffer_m", "level"),
    [
        (-100.0, 0.0, Level.FAULT),
        (0.0, 0.0, Level.WARNING),
        (200.0, 0.0, Level.WARNING),
        (200.0, 199.0, Level.WARNING),
        (200.0, 201.0, Level.FAULT),
        (400.0, 0.0, Level.OK),
        (400.0, 500.0, Level.FAULT),
    ],
)
def test_ground_of_two_splits(
    tmp_path: Path, train: list[Sample], val: list[Sample], gap_m: float, buffer_m: float, level: Level
) -> None:
    row = train[0].meta["transform"]
    val[2].meta["transform"] = [GSD, 0.0, row[2] - SIDE * GSD - gap_m, 0.0, -GSD, row[5]]
    found = two_splits(tmp_path, train, val, buffer_m=buffer_m)["shared ground"]
    assert found.level is level
    if level is not Level.OK:
        assert found.examples == [f"{found.says.removeprefix('pairs of tiles ')[:-3]}: train/train-0000 = val/val-0002"]
        assert found.numbers["nearest_m"] == pytest.approx(max(gap_m, 0), abs=2)


def test_overlap_is_seen_across_zones(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    """The same ground in UTM 33 and in UTM 32."""
    import pyproj

    lon, lat = lonlat("EPSG:32633", train[0].meta["transform"], np.array([[SIDE / 2, SIDE / 2]]))[0]
    east, north = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform(lon, lat)
    half = SIDE / 2 * GSD
    val[2].meta.update(crs="EPSG:32632", transform=[GSD, 0.0, east - half, 0.0, -GSD, north + half])
    assert two_splits(tmp_path, train, val)["shared ground"].says == "pairs of tiles of train and val that overlap: 1"


def test_splits_of_two_builds(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    write_split(tmp_path / "shards" / "train", train)
    other = {**TEACHER, "identity": "cd" * 32}
    for sample in val:
        sample.meta["teacher"] = other["identity"][:16]
    write_split(tmp_path / "shards" / "val", val, teacher=other)
    found = look(tmp_path / "shards", tmp_path / "work")
    assert found.bad == {"Splits, alike": "fault"}
    assert found["alike"].examples == [f"teacher: train {'ab' * 8}, val {'cd' * 8}"]


def test_a_sample_of_another_split(tmp_path: Path, train: list[Sample]) -> None:
    train[3].meta["split"] = "val"
    found = look(write_split(tmp_path / "train", train, split="train"), tmp_path / "work")["json"]
    assert "samples with another split than the index: 1" in found.says


def test_a_damaged_index_does_not_hide_the_other_split(tmp_path: Path, train: list[Sample], val: list[Sample]) -> None:
    write_split(tmp_path / "shards" / "train", train)
    (write_split(tmp_path / "shards" / "val", val) / "index.json").write_text("{")
    found = look(tmp_path / "shards", tmp_path / "work")
    assert found.bad == {"Files, index": "fault"}
    assert len(found.audit.table.tiles) == len(train)


@pytest.mark.parametrize(
    ("crs", "east", "north"),
    [("EPSG:32601", 300_000.0, 10_000.0), ("EPSG:32733", 500_000.0, 4e6), ("EPSG:3413", -160.0, 160.0)],
)
def test_footprints_at_the_antimeridian_in_the_south_and_at_the_pole(crs: str, east: float, north: float) -> None:
    """Area and overlap are those of the grid wherever on Earth it lies."""
    grid = np.array([(0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)], float)
    places = [lonlat(crs, [GSD, 0, east + shift, 0, -GSD, north], grid) for shift in (0.0, SIDE * GSD / 2)]
    corners = np.stack(places)
    origins = np.repeat(centres(corners)[:1], 2, axis=0)
    one, other = on_plane(corners, origins)
    assert side_m(corners) == pytest.approx(SIDE * GSD, rel=0.04)
    assert one.area == pytest.approx((SIDE * GSD) ** 2, rel=0.08)
    assert one.intersection(other).area / one.area == pytest.approx(0.5, abs=1e-3)


def test_the_box_of_a_place_at_the_antimeridian_is_narrow() -> None:
    west, south, east, north = lon_lat_box(np.array([[179.5, 1.0], [-179.5, 2.0], [179.0, -1.0]]))
    assert (west, south, east, north) == (179.0, -1.0, 180.5, 2.0)
    assert degrees_of(centres(np.array([[[179.9, 0.0], [-179.9, 0.0], [-179.9, 0.2], [179.9, 0.2]]])))[0] == (
        pytest.approx([180.0, 0.1], abs=1e-6)
    )


def test_splits_of_which_nothing_was_decoded_are_not_compared(
    tmp_path: Path, train: list[Sample], val: list[Sample]
) -> None:
    val[2].vectors[1] = train[5].vectors[0]
    found = two_splits(tmp_path, train, val, sample=1e-9)
    assert found["shared vectors"].level is found["shared tiles"].level is Level.UNCHECKED
    assert found["shared photos"].level is Level.OK
