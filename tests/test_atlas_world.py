"""The world folder: same bytes for the same seed, formats a user has, places that agree with one another."""

import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from pyproj import Transformer
from shapely.geometry import Point, box, shape

from graft.atlas import TINY, WorldSize, build_world
from graft.atlas.classes import IDS
from graft.atlas.ground import OTHER_VIEWS
from graft.atlas.landcover import land_cover
from graft.atlas.photos import plan_photos
from graft.atlas.sizes import CRS, TILE, Region
from graft.errors import GraftError
from graft.prompts import load_prompts
from graft.sensors import get_sensor

SMALL = WorldSize(scene=256, train=2, val=1, test=1, photos=12, captions=12, single=1, multi=2, tile_photos=2)


@pytest.fixture(scope="module", params=["sentinel", "naip"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("atlas") / request.param
    build_world(out, sensor=request.param, seed=5, size=TINY, workers=1)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def well_placed(world: Path) -> list[dict[str, str]]:
    """Rows whose position is what the camera wrote."""
    fault = {row["photo_id"]: row["fault"] for row in table(world / "truth.csv")}
    return [row for row in table(world / "photos.csv") if fault[row["photo_id"]] in ("", "rights")]


def test_same_seed_gives_the_same_bytes_whatever_the_processes(tmp_path: Path) -> None:
    build_world(tmp_path / "one", seed=3, size=SMALL, workers=1)
    build_world(tmp_path / "two", seed=3, size=SMALL, workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_another_seed_is_another_world(tmp_path: Path) -> None:
    build_world(tmp_path / "a", seed=3, size=SMALL, workers=1)
    build_world(tmp_path / "b", seed=4, size=SMALL, workers=1)
    a, b = digests(tmp_path / "a"), digests(tmp_path / "b")
    same = [name for name in a if a[name] == b.get(name)]
    assert all(name.endswith("_images.json") for name in same), "where a piece lies does not depend on the seed"


def test_regions_never_overlap_and_never_repeat() -> None:
    for sensor in ("sentinel", "naip"):
        regions = [Region(1, get_sensor(sensor), role, k, 512) for role in ("train", "val", "test") for k in range(30)]
        squares = []
        for region in regions:
            west, north = region.utm(0, 0)
            east, south = region.utm(512, 512)
            squares.append(box(west, south, east, north))
        assert not any(a.intersects(b) for i, a in enumerate(squares) for b in squares[:i])
        seeds = {region.dice("landcover").getrandbits(64) for region in regions}
        assert len(seeds) == len(regions)


def test_scenes_are_geotiffs_of_the_sensor(world: Path) -> None:
    sensor = get_sensor(world.name)
    scenes = sorted((world / "scenes").glob("*.tif"))
    assert [path.stem for path in scenes] == ["train00", "train00b", "train01", "train01b"]
    for path in scenes:
        with rasterio.open(path) as file:
            assert set(sensor.bands) < set(file.descriptions)
            assert file.count == 4
            assert file.dtypes[0] == ("uint16" if world.name == "sentinel" else "uint8")
            assert file.crs.to_epsg() == 32633
            assert file.res == (sensor.gsd_m, sensor.gsd_m)
            assert file.nodata == 0
            assert {"DATETIME", "ITEM"} <= set(file.tags())
            stored = np.stack([file.read(file.descriptions.index(b) + 1).astype(float) for b in sensor.bands])
            raised = 1000 if "PROCESSING_BASELINE" in file.tags() else 0
            picture = sensor.to_display(stored - raised)
        assert 20 < picture.mean() < 200
        assert picture.std() > 20


def test_photos_stand_where_polygons_show_their_class(world: Path) -> None:
    sensor = get_sensor(world.name)
    region = Region(5, sensor, "train", 0, TINY.scene)
    shots = {shot.photo_id: shot for shot in plan_photos(region, land_cover(region), TINY.photos)}
    features = json.loads((world / "polygons.geojson").read_text())["features"]
    outlines = [
        (f["properties"]["class"], shape(f["geometry"])) for f in features if f["properties"]["region"] == region.name
    ]
    to_lonlat = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    errors = []
    for row in well_placed(world):
        shot = shots.get(row["photo_id"])
        if shot is None:
            continue
        east, north = region.utm(shot.x, shot.y)
        place = Point(*to_lonlat.transform(east, north))
        reported = Transformer.from_crs("EPSG:4326", CRS, always_xy=True).transform(
            float(row["lon"]), float(row["lat"])
        )
        errors.append(np.hypot(reported[0] - east, reported[1] - north))
        assert errors[-1] == pytest.approx(shot.error_m, abs=0.05)
        if shot.subject in OTHER_VIEWS:
            continue
        metre = 1 / 80_000  # degrees, roughly
        assert any(
            name == shot.subject and outline.distance(place) < 1.5 * sensor.gsd_m * metre for name, outline in outlines
        )
    assert len(errors) > 0.8 * TINY.photos
    assert 1 < np.median(errors) < 15


def test_scene_bounds_hold_the_photos(world: Path) -> None:
    bounds = []
    for path in (world / "scenes").glob("*.tif"):
        with rasterio.open(path) as file:
            bounds.append(box(*file.bounds))
    project = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    rows = well_placed(world)
    inside = sum(
        any(b.contains(Point(*project.transform(float(r["lon"]), float(r["lat"])))) for b in bounds) for r in rows
    )
    assert inside > 0.9 * len(rows)


def test_exif_agrees_with_the_table(world: Path) -> None:
    headings = 0
    for row in well_placed(world):
        with Image.open(world / row["path"]) as image:
            exif = image.getexif()
        gps = exif.get_ifd(0x8825)
        for value, ref, column in ((2, 1, "lat"), (4, 3, "lon")):
            degrees = sum(float(part) / 60**i for i, part in enumerate(gps[value]))
            assert gps[ref] in ("N", "E")
            assert degrees == pytest.approx(float(row[column]), abs=1e-6)
        assert exif.get_ifd(0x8769)[0x9003] == row["taken_at"].replace("-", ":").replace("T", " ")
        if row["heading"]:
            headings += 1
            assert float(gps[17]) == pytest.approx(float(row["heading"]), abs=1e-3)
        else:
            assert 17 not in gps
    assert headings > 0


def test_photos_are_as_dirty_as_real_ones() -> None:
    region = Region(5, get_sensor("sentinel"), "train", 0, 1024)
    shots = plan_photos(region, land_cover(region), 700)
    irrelevant = np.mean([shot.subject in OTHER_VIEWS for shot in shots])
    assert 0.08 < irrelevant < 0.17
    assert len({shot.photo_id for shot in shots}) == len(shots)
    assert sum(shot.edited for shot in shots) >= 5
    copies = len(shots) - len({(shot.seed, shot.edited) for shot in shots})
    assert copies >= 3
    originals = {shot.photo_id: shot for shot in shots if not shot.copy_of}
    assert all(originals[shot.copy_of].seed == shot.seed for shot in shots if shot.copy_of)
    assert len({shot.seed for shot in shots}) == len(originals)
    tiles = np.zeros((16, 16), int)
    for shot in shots:
        tiles[int(shot.y) // TILE, int(shot.x) // TILE] += 1
    assert (tiles == 0).sum() >= 5
    assert (tiles >= 3).sum() >= 60


def test_single_label_folder(world: Path) -> None:
    for split, scenes in (("val", TINY.val), ("test", TINY.test)):
        root = world / "benchmarks" / split / "eurosat"
        tiles = sorted((root / "2750").glob("*/*.jpg"))
        assert {tile.parent.name for tile in tiles} == set(IDS)  # an empty folder is an error to torchvision
        assert len(IDS) <= len(tiles) <= scenes * TINY.single * len(IDS)
        for tile in tiles:
            assert tile.stem.startswith(tile.parent.name + "_")
            with Image.open(tile) as image:
                assert image.size == (TILE, TILE)
        rows = table(root / "photos.csv")
        assert {row["tile"] for row in rows} == {tile.stem for tile in tiles}
        assert all((root / row["path"]).is_file() for row in rows)


def test_multi_label_folder(world: Path) -> None:
    sensor = get_sensor(world.name)
    root = world / "benchmarks" / "test" / "bigearthnet"
    patches = sorted((root / "BigEarthNet-v1.0").iterdir())
    assert 0 < len(patches) <= TINY.multi
    for patch in patches:
        labels = json.loads((patch / f"{patch.name}_labels_metadata.json").read_text())["labels"]
        assert 1 <= len(labels) <= 4
        assert set(labels) <= set(IDS)
        for band in sensor.bands:
            with rasterio.open(patch / f"{patch.name}_{band}.tif") as file:
                assert file.shape == (TILE, TILE)
                assert (file.read(1) > 0).all()
    rows = table(root / "photos.csv")
    assert {row["tile"] for row in rows} == {patch.name for patch in patches}


def test_multi_labels_are_what_the_polygons_say(world: Path) -> None:
    outlines: dict[str, list[tuple[str, object]]] = {}
    project = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    for feature in json.loads((world / "polygons.geojson").read_text())["features"]:
        rings = [[project.transform(*point[:2]) for point in ring] for ring in feature["geometry"]["coordinates"]]
        polygon = shape({"type": "Polygon", "coordinates": rings}).buffer(0)
        outlines.setdefault(feature["properties"]["region"], []).append((feature["properties"]["class"], polygon))
    for patch in sorted((world / "benchmarks/test/bigearthnet/BigEarthNet-v1.0").iterdir()):
        band = next(patch.glob("*.tif"))
        with rasterio.open(band) as file:
            tile = box(*file.bounds)
        share = dict.fromkeys(IDS, 0.0)
        for name, polygon in outlines[patch.name.split("_")[1]]:
            share[name] += polygon.intersection(tile).area / tile.area
        labels = json.loads((patch / f"{patch.name}_labels_metadata.json").read_text())["labels"]
        assert {name for name, part in share.items() if part > 0.08} == set(labels)


def test_label_maps_lie_on_their_scene_and_are_what_the_polygons_say(world: Path) -> None:
    features = json.loads((world / "polygons.geojson").read_text())["features"]
    inside = {path.stem: 0 for path in (world / "benchmarks").glob("*/labels/*.tif")}
    assert sorted(inside) == ["test00", "val00"]
    for split, name in (("test", "test00"), ("val", "val00")):
        root = world / "benchmarks" / split
        with (
            rasterio.open(root / "scenes" / f"{name}.tif") as scene,
            rasterio.open(root / "labels" / f"{name}.tif") as truth,
        ):
            assert (truth.crs, truth.transform, truth.shape) == (scene.crs, scene.transform, scene.shape)
            labels, bands, inverse = truth.read(1), scene.read(), ~scene.transform
        assert set(np.unique(labels)) <= {*range(len(IDS)), 255}
        assert (labels[(bands == 0).all(0)] == 255).all()
        to_scene = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
        for feature in features:
            point = shape(feature["geometry"]).representative_point()
            column, row = inverse @ to_scene.transform(point.x, point.y)
            if 0 <= column < labels.shape[1] and 0 <= row < labels.shape[0] and labels[int(row), int(column)] != 255:
                assert IDS[labels[int(row), int(column)]] == feature["properties"]["class"]
                inside[name] += 1
    assert min(inside.values()) > 8


def test_captions_never_mention_a_tile(world: Path) -> None:
    rows = table(world / "captions" / "captions.csv")
    assert len(rows) == TINY.captions
    assert set(rows[0]) == {"path", "caption"}
    shown = {hashlib.sha256(path.read_bytes()).hexdigest() for path in world.rglob("benchmarks/**/*.jpg")}
    shown |= {hashlib.sha256(path.read_bytes()).hexdigest() for path in (world / "photos").iterdir()}
    for row in rows:
        path = world / "captions" / row["path"]
        assert path.parent == world / "captions"
        assert hashlib.sha256(path.read_bytes()).hexdigest() not in shown
        assert not any(word in row["caption"] for word in ("satellite", "aerial", "from above", "tile"))


def test_classes_and_prompts_agree() -> None:
    assert tuple(load_prompts("atlas").ids) == IDS


def test_world_names_its_counts(world: Path) -> None:
    summary = json.loads((world / "world.json").read_text())
    assert summary["seed"] == 5
    assert summary["sensor"] == world.name
    assert summary["classes"] == list(IDS)
    assert summary["size"] == dataclasses.asdict(TINY)
    assert summary["photos"] == len(table(world / "photos.csv"))


def test_refuses_a_full_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(GraftError, match="not empty"):
        build_world(tmp_path, size=SMALL, workers=1)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("sensor", ["landsat", "sentinel-04.00"])
def test_refuses_a_sensor_it_cannot_imitate(tmp_path: Path, sensor: str) -> None:
    with pytest.raises(GraftError, match="sensor"):
        build_world(tmp_path / "w", sensor=sensor, size=SMALL, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_leaves_nothing_behind_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("graft.atlas.world.write_scene", broken)
    with pytest.raises(OSError, match="disk full"):
        build_world(tmp_path / "w", size=SMALL, workers=1)
    assert list(tmp_path.iterdir()) == []
