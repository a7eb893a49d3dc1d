"""Sources of an index: which windows they have, what they show, and where they lie."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image

from graft.errors import GraftError
from graft.fit import fit_tile
from graft.index.plan import open_sources
from graft.index.rasters import DAMAGED
from graft.index.shard_tiles import BAD_SAMPLE
from graft.index.sources import NO_DATA
from graft.index.tile_folder import UNFIT
from tests.conftest import ShardFactory
from tests.index_source_inputs import (
    NORTH_UP,
    SIDE,
    STEP,
    UTM,
    degrees,
    look,
    only,
    read_all,
    shape_of,
    shown,
    tiles_of,
    write_raster,
    write_tile,
)
from tests.stac_inputs import serve

# --- rasters --------------------------------------------------------------------------------------


def test_windows_show_the_pixels_under_them(tmp_path: Path) -> None:
    stored = write_raster(tmp_path / "a.tif", size=(80, 96))
    tiles = tiles_of(only(tmp_path / "a.tif"))
    assert [facts.number for facts, _ in tiles] == list(range(9))
    assert {facts.window[:2] for facts, _ in tiles} == {(x, y) for x in (0, 32, 64) for y in (0, 32, 48)}
    for facts, pixels in tiles:
        x, y, width, height = (int(value) for value in facts.window)
        assert (width, height) == (SIDE, SIDE)
        np.testing.assert_array_equal(pixels, shown(stored[:, y : y + SIDE, x : x + SIDE]))
        assert (facts.path, facts.item, facts.valid, facts.cloud) == (str(tmp_path / "a.tif"), "", 1.0, None)
        assert facts.taken is not None
        assert facts.taken.isoformat() == "2021-07-03T10:00:00+00:00"
        assert facts.gsd_m == pytest.approx(10, rel=1e-3)


def test_groups_are_whole_rows_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.index.rasters.GROUP", 7)
    write_raster(tmp_path / "a.tif", size=(160, 96))
    source = only(tmp_path / "a.tif")
    assert [len(group.tiles) for group in read_all(source)] == [6, 6, 3]


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, NORTH_UP),
        (UTM, Affine(10, 0, 500_000, 0, 10, 5_000_000)),  # south up
        (UTM, Affine(8, 6, 500_000, 6, -8, 5_000_000)),  # rotated
        ("EPSG:4326", Affine(STEP, 0, 10, 0, -STEP, 0.5)),
        ("EPSG:4326", Affine(STEP, 0, 180 - 46 * STEP, 0, -STEP, 0.5)),  # counts on past 180
        ("EPSG:32701", Affine(10, 0, 166_021.4 - 400, 0, -10, 9_950_000)),  # west of its zone
        ("EPSG:3413", Affine(10, 0, -200, 0, -10, -3_000_000)),
    ],
    ids=["utm", "south-up", "rotated", "degrees", "antimeridian", "antimeridian-utm", "polar"],
)
def test_a_planted_object_lies_in_the_footprint_of_its_window(tmp_path: Path, crs: str, transform: Affine) -> None:
    stored = np.full((3, 96, 96), 500, np.uint16)
    stored[:, 70:74, 40:44] = 3000
    write_raster(tmp_path / "a.tif", stored, crs=crs, transform=transform)
    tiles = tiles_of(only(tmp_path / "a.tif"))
    (bright,) = [facts for facts, pixels in tiles if pixels.max() == 255]
    lon, lat = degrees(crs, transform, 42, 72)

    assert shape_of(bright).covers(shapely.Point(lon, lat))
    others = [facts for facts, _ in tiles if facts is not bright]
    assert not any(shape_of(facts).covers(shapely.Point(lon, lat)) for facts in others)
    middle = degrees(crs, transform, 48, 80)
    assert (bright.place.lon, bright.place.lat) == pytest.approx(middle)
    assert bright.place.epsg == int(crs.removeprefix("EPSG:"))


def test_a_footprint_across_the_antimeridian_is_in_two_parts(tmp_path: Path) -> None:
    transform = Affine(STEP, 0, 180 - 48 * STEP, 0, -STEP, 0.5)
    write_raster(tmp_path / "a.tif", size=(32, 96), crs="EPSG:4326", transform=transform)
    west, across, east = (facts for facts, _ in tiles_of(only(tmp_path / "a.tif")))
    assert [shape_of(facts).geom_type for facts in (west, across, east)] == ["Polygon", "MultiPolygon", "Polygon"]
    assert across.place.box is not None
    assert across.place.box[0] == pytest.approx(180 - 16 * STEP, abs=1e-6)
    assert across.place.box[2] == pytest.approx(-180 + 16 * STEP, abs=1e-6)
    for facts in (west, east):
        assert facts.place.box is not None
        assert facts.place.box[2] - facts.place.box[0] == pytest.approx(32 * STEP, abs=1e-6)
    assert shape_of(across).area == pytest.approx((32 * STEP) ** 2, rel=1e-3)


def test_windows_without_data_are_left_out_and_counted(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 3000, (3, 64, 96)).astype(np.uint16)
    stored[:, :, 30:80] = 0
    write_raster(tmp_path / "a.tif", stored)
    (group,) = read_all(only(tmp_path / "a.tif"))
    assert group.skipped.counts == {NO_DATA: 2}
    assert [(facts.number, facts.valid) for facts in group.tiles] == [(0, 30 / 32), (2, 0.5), (3, 30 / 32), (5, 0.5)]
    pixels = group.pixels[1].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(pixels[:, 16:], shown(stored[:, :32, 80:]))
    assert pixels[:, :16].max() == 0


def test_a_finer_raster_is_shown_at_the_gsd_of_the_model(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(1, 3000, (3, 64, 64)).astype(np.uint16)
    fine = coarse.repeat(2, 1).repeat(2, 2)
    write_raster(tmp_path / "a.tif", fine, transform=Affine(5, 0, 500_000, 0, -5, 5_000_000))
    tiles = tiles_of(only(tmp_path / "a.tif"))
    assert [facts.window for facts, _ in tiles] == [(x, y, 64.0, 64.0) for y in (0.0, 64.0) for x in (0.0, 64.0)]
    for facts, pixels in tiles:
        x, y = (int(value) // 2 for value in facts.window[:2])
        np.testing.assert_array_equal(pixels, shown(coarse[:, y : y + SIDE, x : x + SIDE]))


def test_a_raster_smaller_than_a_window_is_mirrored(tmp_path: Path) -> None:
    stored = write_raster(tmp_path / "a.tif", size=(20, 24))
    ((facts, pixels),) = tiles_of(only(tmp_path / "a.tif"))
    assert (facts.window, facts.valid) == ((0, 0, 24, 20), 1)
    np.testing.assert_array_equal(pixels[:20, :24], shown(stored))
    np.testing.assert_array_equal(pixels[20:, :24], pixels[18:6:-1, :24])


def test_cloud_is_what_the_scene_classification_says(tmp_path: Path) -> None:
    stored = np.full((4, 32, 64), 500, np.uint16)
    stored[3] = 4  # vegetation
    stored[3, :8, 32:] = 9  # cloud
    stored[3, 8:16, 32:] = 0  # not classified
    write_raster(tmp_path / "a.tif", stored, names=("B02", "B03", "B04", "SCL"), nodata=None)
    assert [facts.cloud for facts, _ in tiles_of(only(tmp_path / "a.tif"))] == [0, 8 / 24]


@pytest.mark.parametrize(
    ("tags", "taken"),
    [
        ({"TIFFTAG_DATETIME": "2020:06:01 10:00:00"}, "2020-06-01T10:00:00+00:00"),
        ({"DATETIME": "2020-06-01"}, "2020-06-01T00:00:00+00:00"),
        ({"DATETIME": "last summer"}, None),
        ({"DATETIME": "0001-01-01T00:00:00+05:00"}, None),
        ({}, None),
    ],
)
def test_times_are_utc(tmp_path: Path, tags: dict[str, str], taken: str | None) -> None:
    write_raster(tmp_path / "a.tif", size=(32, 32), tags=tags)
    ((facts, _),) = tiles_of(only(tmp_path / "a.tif"))
    assert (facts.taken and facts.taken.isoformat()) == taken


def test_damage_costs_the_windows_under_it(tmp_path: Path) -> None:
    tiled = {"tiled": True, "blockxsize": 32, "blockysize": 32, "compress": "deflate"}
    stored = write_raster(tmp_path / "a.tif", size=(96, 96), **tiled)
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with rasterio.open(tmp_path / "a.tif") as dataset:
        place = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content[place : place + 200] = bytes(200)
    (tmp_path / "a.tif").write_bytes(content)
    (group,) = read_all(only(tmp_path / "a.tif"))
    assert group.skipped.counts == {DAMAGED: 1}
    assert [facts.number for facts in group.tiles] == [0, 1, 2, 3, 5, 6, 7, 8]
    np.testing.assert_array_equal(group.pixels[3].permute(1, 2, 0).numpy(), shown(stored[:, 32:64, :32]))


def test_an_address_gives_what_the_file_gives(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", size=(64, 64))
    with serve(tmp_path) as archive:
        remote = only(f"{archive.url}/a.tif")
        assert remote.card.name == f"{archive.url}/a.tif"
        found = tiles_of(remote)
        again = only(f"{archive.url}/a.tif")
    assert again.card == remote.card
    local = tiles_of(only(tmp_path / "a.tif"))
    for (here, near), (there, far) in zip(local, found, strict=True):
        np.testing.assert_array_equal(near, far)
        assert (here.window, here.place, here.taken) == (there.window, there.place, there.taken)


def test_a_server_that_fails_at_times_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.imagery.remote.PAUSE_S", 0.01)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    write_raster(tmp_path / "a.tif", size=(64, 64))
    with serve(tmp_path) as archive:
        archive.faults["/a.tif"] = [503, "truncate"]
        assert len(tiles_of(only(f"{archive.url}/a.tif"))) == 4


def test_a_server_that_is_gone_is_the_fault_of_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.imagery.remote.PAUSE_S", 0.01)
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")
    write_raster(tmp_path / "a.tif", size=(3000, 64))  # more than is read to look for data
    with serve(tmp_path) as archive:
        source = only(f"{archive.url}/a.tif")
    with pytest.raises(GraftError, match=r"a\.tif"):
        source.read(0)


# --- folders of tiles -----------------------------------------------------------------------------


def test_a_folder_holds_tiles_and_scenes(tmp_path: Path) -> None:
    expected = {name: write_tile(tmp_path / name) for name in ("b/one.png", "a/two.png")}
    write_tile(tmp_path / "large.png", (64, 96), seed=1)
    small = write_tile(tmp_path / "small.png", (20, 24), seed=2)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("left alone")
    write_tile(tmp_path / ".hidden" / "three.png")
    stored = write_raster(tmp_path / "georeferenced.tif", size=(SIDE, SIDE))
    write_raster(tmp_path / "scene.tif", size=(64, 64))
    (scene, folder), faults = open_sources([str(tmp_path)], look())
    assert faults == []
    assert (scene.card.kind, scene.card.name, scene.card.windows) == ("raster", str(tmp_path / "scene.tif"), 4)
    assert (folder.card.kind, folder.card.name, folder.card.windows) == ("folder", str(tmp_path), 6)
    (group,) = read_all(folder)
    assert group.skipped.counts == {UNFIT: 1}
    assert "broken.jpg" in group.skipped.examples[UNFIT][0]
    found = {Path(facts.path).relative_to(tmp_path).as_posix(): (facts, pixels) for facts, pixels in tiles_of(folder)}
    assert [(facts.number, name) for name, (facts, _) in found.items()] == [
        (0, "a/two.png"),
        (1, "b/one.png"),
        (3, "georeferenced.tif"),
        (4, "large.png"),
        (5, "small.png"),
    ]
    for name, pixels in expected.items():
        np.testing.assert_array_equal(found[name][1], pixels)
        assert found[name][0].place.geometry is None
    facts, pixels = found["georeferenced.tif"]
    np.testing.assert_array_equal(pixels, shown(stored))
    assert facts.place.epsg == 32633
    assert found["large.png"][0].window == (16, 0, 64, 64)
    np.testing.assert_array_equal(found["small.png"][1], fit_tile(small, "pad_reflect", SIDE))


def test_tiles_of_a_known_gsd_are_shown_at_that_of_the_model(tmp_path: Path) -> None:
    pixels = write_tile(tmp_path / "a.png", (16, 16)).repeat(2, 0).repeat(2, 1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    ((facts, found),) = tiles_of(only(tmp_path, look(gsd_m=5.0)))
    assert (facts.window, facts.gsd_m) == ((0, 0, 32, 32), 5)
    halved = Image.fromarray(pixels).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(found[8:24, 8:24], np.asarray(halved))
    (group,) = read_all(only(tmp_path, look(gsd_m=1.0)))
    assert group.skipped.counts == {UNFIT: 1}


def test_more_files_than_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.index.tile_folder.GROUP", 2)
    for number in range(5):
        write_tile(tmp_path / f"{number}.png", seed=number)
    assert [len(group.tiles) for group in read_all(only(tmp_path))] == [2, 2, 1]


# --- shards ---------------------------------------------------------------------------------------


def test_shards_give_the_tile_of_each_sample(make_shards: ShardFactory, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], number: int) -> None:
        meta = json.loads(members["json"])
        meta |= {"gsd_m": 10.0, "crs": UTM, "transform": list(NORTH_UP[:6]), "datetime": "2020-06-01T10:00:00Z"}
        meta |= {"nodata": 0.25, "cloudy": 0.5 if number else None}
        members["json"] = json.dumps(meta).encode()
        if number == 3:
            members["tile.png"] = b"no picture"

    folder = make_shards(tmp_path / "shards", samples=6, shards=2, change=change)
    source = only(folder)
    (group,) = read_all(source)
    assert (source.card.kind, source.card.windows) == ("shards", 6)
    assert group.skipped.counts == {BAD_SAMPLE: 1}
    assert [facts.number for facts in group.tiles] == [0, 1, 2, 4, 5]
    assert [facts.item for facts in group.tiles] == [f"tile-{number}" for number in (0, 1, 2, 4, 5)]
    assert [Path(facts.path).name for facts in group.tiles] == ["shard-000000.tar"] * 3 + ["shard-000001.tar"] * 2
    first, second = group.tiles[:2]
    assert (first.valid, first.cloud, second.cloud, first.gsd_m) == (0.75, None, 0.5, 10)
    assert (first.place.lon, first.place.lat) == pytest.approx(degrees(UTM, NORTH_UP, 16, 16))
    with serve(folder) as archive:
        remote = only(archive.url)
        assert remote.card.fingerprint == source.card.fingerprint
        assert (remote.read(0).pixels == group.pixels).all()


def test_shards_of_another_gsd_are_refused(make_shards: ShardFactory, tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "shards", samples=2, shards=1)
    sources, (fault,) = open_sources([str(folder)], look(model_gsd_m=1.0))
    assert sources == []
    assert "of sensor sentinel" in fault
    assert "--any-gsd" in fault
    assert only(folder, look(model_gsd_m=1.0, any_gsd=True)).card.windows == 2


# --- which sources, and what they are known by ----------------------------------------------------


def test_the_same_source_named_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(tmp_path / "a.tif")
    monkeypatch.chdir(tmp_path)
    sources, faults = open_sources([str(tmp_path), "a.tif", str(tmp_path / "a.tif"), "../" + tmp_path.name], look())
    assert [source.card.name for source in sources] == [str(tmp_path / "a.tif")]
    assert faults == []


def test_faults_are_told_and_cost_one_source(tmp_path: Path) -> None:
    write_raster(tmp_path / "good.tif")
    write_raster(tmp_path / "single.tif", size=(64, 64), names=("B04",))
    write_raster(tmp_path / "far.tif", transform=Affine(30, 0, 500_000, 0, -30, 5_000_000))
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "empty").mkdir()
    names = ("good.tif", "single.tif", "far.tif", "text.tif", "empty", "gone.tif")
    sources, faults = open_sources([str(tmp_path / name) for name in names], look(), threads=2)
    assert [source.card.name for source in sources] == [str(tmp_path / "good.tif")]
    for name, words in {
        "single.tif": "has one band",
        "far.tif": "a mismatch of 3.0",
        "text.tif": "does not open as a raster",
        "empty": "holds no image",
        "gone.tif": "No source at",
    }.items():
        (fault,) = [fault for fault in faults if name in fault]
        assert words in fault


def test_what_a_source_is_known_by(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_raster(path)
    card = only(path).card
    assert only(path).card == card
    assert only(path, look(stride=16)).card.id != card.id
    assert only(path, look(precision="fp32")).card.id != card.id
    assert only(path, look(gsd_m=3.0)).card.id == card.id  # without effect on a raster that says its own
    os.utime(path, ns=(1, 1))
    assert only(path).card.fingerprint != card.fingerprint
    assert only(path).card.id != card.id


def test_a_vrt_is_known_by_the_files_that_it_names(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", size=(64, 64))
    with rasterio.open(tmp_path / "a.tif") as dataset:
        bands = "".join(
            f'<VRTRasterBand dataType="UInt16" band="{number}"><Description>{name}</Description><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">a.tif</SourceFilename><SourceBand>{number}</SourceBand>'
            f"</SimpleSource></VRTRasterBand>"
            for number, name in enumerate(dataset.descriptions, start=1)
        )
        grid = ", ".join(str(value) for value in dataset.transform.to_gdal())
        srs = f"<SRS>{UTM}</SRS><GeoTransform>{grid}</GeoTransform>"
    (tmp_path / "a.vrt").write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{srs}{bands}</VRTDataset>')
    before = only(tmp_path / "a.vrt").card
    assert before.windows == 4
    os.utime(tmp_path / "a.tif", ns=(1, 1))
    assert only(tmp_path / "a.vrt").card.fingerprint != before.fingerprint


@pytest.mark.parametrize("changes", [{"window": 30}, {"stride": 48}, {"gsd_m": 0.0}])
def test_numbers_that_do_not_fit_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(GraftError, match=r"expected multiples|more than 0"):
        look(**changes)
