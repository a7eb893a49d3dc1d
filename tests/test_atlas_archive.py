"""The dirt of an archive, and the truth about it beside the table."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import Transformer
from rasterio.coords import BoundingBox

import graft
from graft.atlas import WorldSize, build_world
from graft.atlas.archive import COLUMNS, TRUTH_COLUMNS, photo_row, truth_row, upload
from graft.atlas.ground import OTHER_VIEWS
from graft.atlas.landcover import land_cover
from graft.atlas.photos import plan_photos
from graft.atlas.sizes import CRS, Region
from graft.sensors import get_sensor

SIZE = WorldSize(scene=256, train=3, val=0, test=0, photos=150, captions=1, single=1, multi=1, tile_photos=2)


@pytest.fixture(scope="module", params=["sentinel", "naip"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("archive") / request.param
    build_world(out, sensor=request.param, seed=4, size=SIZE, workers=1)
    return out


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["photo_id"]: row for row in csv.DictReader(file)}


def utm(row: dict[str, str]) -> tuple[float, float]:
    to_utm = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    east, north = to_utm.transform(float(row["lon"]), float(row["lat"]))
    return east, north


def bounds(path: Path) -> BoundingBox:
    with rasterio.open(path) as file:
        return file.bounds


def tags(path: Path) -> dict[str, str]:
    with rasterio.open(path) as file:
        found: dict[str, str] = file.tags()
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_photo_has_a_line_of_truth(world: Path) -> None:
    photos, truth = table(world / "photos.csv"), table(world / "truth.csv")
    assert list(photos) == list(truth)
    assert tuple(next(iter(photos.values()))) == COLUMNS
    assert tuple(next(iter(truth.values()))) == TRUTH_COLUMNS
    assert {row["path"] for row in photos.values()} == {f"photos/{path.name}" for path in (world / "photos").iterdir()}
    assert {row["kind"] for row in truth.values()} == {"good", *OTHER_VIEWS}
    assert {row["copy_of"] for row in truth.values()} <= {"", *truth}
    assert all(truth[row["copy_of"]]["copy_of"] == "" for row in truth.values() if row["copy_of"])


def test_faulty_positions_are_as_told(world: Path) -> None:
    photos, truth = table(world / "photos.csv"), table(world / "truth.csv")
    faults: dict[str, list[dict[str, str]]] = {}
    for photo_id, row in truth.items():
        faults.setdefault(row["fault"], []).append(photos[photo_id])
    assert set(faults) == {"", "centre", "rounded", "zero", "swapped", "empty", "rights", "moved"}
    assert len({(row["lon"], row["lat"]) for row in faults["centre"]}) == 1
    assert len({row["author"] for row in faults["centre"]}) >= 3
    assert {(row["lon"], row["lat"]) for row in faults["zero"]} == {("0", "0")}
    assert {(row["lon"], row["lat"]) for row in faults["empty"]} == {("", "")}
    assert all(float(row["lon"]) > 46 and 12 < float(row["lat"]) < 13 for row in faults["swapped"])
    assert all(len(row["lon"].split(".")[1]) <= 3 for row in faults["rounded"])
    assert {row["license"] for row in faults["rights"]} == {"All rights reserved"}
    right = [row for fault in ("", "rights", "moved") for row in faults[fault]]
    assert all(12 < float(row["lon"]) < 13 and 46 < float(row["lat"]) < 48 for row in right)
    assert all(len(row["lon"].split(".")[1]) == 7 for row in right)
    free = [row for fault, rows in faults.items() if fault != "rights" for row in rows]
    assert {row["license"] for row in free} == {"CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0"}


def test_copies_are_as_told(world: Path) -> None:
    photos, truth = table(world / "photos.csv"), table(world / "truth.csv")
    first: dict[str, str] = {}
    for photo_id, row in truth.items():
        same = first.setdefault(digest(world / photos[photo_id]["path"]), row["copy_of"] or photo_id)
        assert same == (row["copy_of"] or photo_id)  # no two originals are equal, no copy is of another original
        if row["copy_of"]:
            original = photos[row["copy_of"]]
            equal = digest(world / photos[photo_id]["path"]) == digest(world / original["path"])
            assert equal == (row["exact"] == "1")
            with Image.open(world / photos[photo_id]["path"]) as copy, Image.open(world / original["path"]) as image:
                difference = np.asarray(copy.resize((12, 12)), int) - np.asarray(image.resize((12, 12)), int)
            assert np.abs(difference).mean() < 20
        else:
            assert row["exact"] == "0"


def test_some_copies_are_uploaded_in_another_scene_by_somebody_else(world: Path) -> None:
    photos, truth = table(world / "photos.csv"), table(world / "truth.csv")
    moved = [photo_id for photo_id, row in truth.items() if row["fault"] == "moved"]
    assert {truth[photo_id]["exact"] for photo_id in moved} == {"0", "1"}
    for photo_id in moved:
        copy, original = photos[photo_id], photos[truth[photo_id]["copy_of"]]
        assert truth[original["photo_id"]] | {"photo_id": "", "lost": ""} == {
            **dict.fromkeys(TRUTH_COLUMNS, ""),
            "kind": "good",
            "exact": "0",
        }
        assert copy["author"] != original["author"]
        homes = []
        for row in (copy, original):
            east, north = utm(row)
            homes += [
                path.stem
                for path in (world / "scenes").glob("train??.tif")
                for box in (bounds(path),)
                if box.left <= east <= box.right and box.bottom <= north <= box.top
            ]
        assert len(set(homes)) == 2


def test_an_archive_is_as_dirty_as_told_and_people_are_unequal() -> None:
    region = Region(5, get_sensor("sentinel"), "train", 0, 1024)
    uploads = upload(region, plan_photos(region, land_cover(region), 3000))
    truth = [truth_row(row) for row in uploads]
    kinds = Counter(row["kind"] for row in truth)
    assert 0.10 < 1 - kinds["good"] / len(truth) < 0.14
    assert all(0.010 < kinds[kind] / len(truth) < 0.025 for kind in OTHER_VIEWS)
    lost = [row.shot.error_m for row, fact in zip(uploads, truth, strict=True) if fact["lost"] == "1"]
    kept = [row.shot.error_m for row, fact in zip(uploads, truth, strict=True) if fact["lost"] == "0"]
    assert 0.004 < len(lost) / len(truth) < 0.016
    assert np.median(lost) > 200
    assert max(kept) < 50
    faults = Counter(row["fault"] for row in truth)
    assert 0.012 < faults["rights"] / len(truth) < 0.03
    authors = Counter(photo_row(row)["author"] for row in uploads).most_common()
    assert 200 < len(authors) <= 300
    assert 0.04 < authors[0][1] / len(uploads) < 0.08
    assert sum(count for _, count in authors[:30]) > 0.35 * len(uploads)
    assert np.median([count for _, count in authors]) < 10


def test_a_copy_shares_the_row_of_its_original() -> None:
    region = Region(5, get_sensor("sentinel"), "train", 0, 512)
    rows = {row.shot.photo_id: row for row in upload(region, plan_photos(region, land_cover(region), 800))}
    copies = [row for row in rows.values() if row.shot.copy_of]
    assert len(copies) > 20
    for row in copies:
        original = rows[row.shot.copy_of]
        assert (row.lon, row.lat, row.author, row.license, row.fault) == (
            (original.lon, original.lat, original.author, original.license, original.fault)
        )


def test_later_acquisitions_show_the_same_land_on_another_day(world: Path) -> None:
    sensor = get_sensor(world.name)
    for number, cloudy in ((0, False), (1, True), (2, False)):
        first, again = (world / "scenes" / f"train{number:02d}{name}.tif" for name in ("", "b"))
        assert tags(first)["DATETIME"][:4] != tags(again)["DATETIME"][:4]
        assert tags(first)["ITEM"] != tags(again)["ITEM"]
        with rasterio.open(first) as old, rasterio.open(again) as new:
            window = old.window(*new.bounds)
            assert (window.col_off, window.row_off) == (round(window.col_off), round(window.row_off))
            assert (new.shape == old.shape) == (number == 0)
            assert new.shape[0] * new.shape[1] > 0.4 * old.shape[0] * old.shape[1]
            bands = [old.descriptions.index(name) + 1 for name in sensor.bands]
            before, after = old.read(bands, window=window).astype(float), new.read(bands).astype(float)
        raised = 1000 if tags(again).get("PROCESSING_BASELINE") else 0
        assert raised == (1000 if world.name == "sentinel" and number == 0 else 0)
        seen = (before > 0).all(0) & (after > 0).all(0)
        assert after[after > 0].min() > raised
        shown = [sensor.to_display(values.transpose(1, 2, 0))[seen] for values in (before, after - raised)]
        white = [(values.min(-1) > 190).mean() for values in shown]
        assert (white[1] > white[0] + 0.1) == cloudy
        if not cloudy:
            assert np.corrcoef(shown[0].ravel(), shown[1].ravel())[0, 1] > 0.75
            assert abs(np.median(shown[1]) / np.median(shown[0]) - 1) < 0.35
        if world.name == "sentinel":
            shares = [float(tags(path)["CLOUD_COVERAGE_ASSESSMENT"]) for path in (first, again)]
            assert (shares[1] > shares[0] + 10) == cloudy


def test_no_stage_of_the_pipeline_reads_the_truth() -> None:
    package = Path(graft.__file__).parent
    readers = [
        path for path in package.rglob("*.py") if path.parent.name != "atlas" and "truth.csv" in path.read_text()
    ]
    assert readers == []


def test_one_region_has_no_elsewhere(tmp_path: Path) -> None:
    size = WorldSize(scene=192, train=1, val=0, test=0, photos=1, captions=1, single=1, multi=1, tile_photos=2)
    build_world(tmp_path / "w", seed=1, size=size, workers=1)
    assert len(table(tmp_path / "w" / "truth.csv")) == 1
