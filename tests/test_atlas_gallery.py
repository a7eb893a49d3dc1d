"""The gallery that the embedded world writes: tiles that lie on their scene, true mixtures, photos of their land."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from graft.atlas import DEMO, TINY, build_world
from graft.atlas.classes import IDS
from graft.atlas.gallery import write_gallery
from graft.atlas.geotiff import UNLABELLED
from graft.atlas.overhead import paint_scene
from graft.atlas.sizes import TILE, Region
from graft.sensors import get_sensor


@pytest.fixture(scope="module", params=["sentinel", "naip"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gallery") / request.param
    build_world(out, sensor=request.param, seed=5, size=TINY, workers=1)
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def place(tile: str) -> tuple[str, int, int]:
    region, down, across = tile.split("_")
    return region, TILE * int(down), TILE * int(across)


@pytest.mark.parametrize("split", ["val", "test"])
def test_mixtures_are_what_the_label_map_says(world: Path, split: str) -> None:
    root = world / "benchmarks" / split
    rows = table(root / "gallery/mixtures.csv")
    assert {row["tile"] for row in rows} == {path.stem for path in (root / "gallery/tiles").iterdir()}
    assert 25 < len(rows) <= (TINY.scene // TILE) ** 2
    labels = {path.stem: rasterio.open(path).read(1) for path in (root / "labels").glob("*.tif")}
    for row in rows:
        region, top, left = place(row["tile"])
        truth = labels[region][top : top + TILE, left : left + TILE]
        hidden = (truth == UNLABELLED).mean()
        assert hidden < 0.03
        shares = [float(row[name]) for name in IDS]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        for label, share in enumerate(shares):
            assert (truth == label).mean() <= share + 1e-4
            assert (truth == label).mean() + hidden >= share - 1e-4


def test_tiles_are_windows_of_the_scene_side_by_side(world: Path) -> None:
    root, sensor = world / "benchmarks/test", get_sensor(world.name)
    with rasterio.open(root / "scenes/test00.tif") as file:
        stored = np.stack([file.read(file.descriptions.index(band) + 1) for band in sensor.bands], -1)
    shown = sensor.to_display(stored).astype(int)
    tiles = sorted((root / "gallery/tiles").iterdir())
    assert len({place(path.stem) for path in tiles}) == len(tiles)
    for path in tiles:
        _, top, left = place(path.stem)
        with Image.open(path) as image:
            pixels = np.asarray(image).astype(int)
        assert pixels.shape == (TILE, TILE, 3)
        assert np.abs(pixels - shown[top : top + TILE, left : left + TILE]).mean() < 4, "JPEG's loss alone"


def test_photos_show_a_class_of_their_tile(world: Path) -> None:
    root = world / "benchmarks/test/gallery"
    mixtures = {row["tile"]: row for row in table(root / "mixtures.csv")}
    rows = table(root / "photos.csv")
    assert all(float(mixtures[row["tile"]][row["subject"]]) > 0 for row in rows)
    assert {row["path"] for row in rows} == {f"photos/{path.name}" for path in (root / "photos").iterdir()}
    photos = Counter(row["tile"] for row in rows)
    assert set(photos.values()) <= {1, 2}
    assert len(photos) > 0.9 * len(mixtures)
    assert 1.5 * len(mixtures) < len(rows), "one photo in eight shows no land and is not written"
    mean = np.mean([float(mixtures[row["tile"]][row["subject"]]) for row in rows])
    assert mean > 0.5, "photos are taken at random places of the tile"


def test_a_demo_has_more_than_a_thousand_tiles_to_search(tmp_path: Path) -> None:
    region = Region(1, get_sensor("sentinel"), "test", 0, DEMO.scene)
    rows = write_gallery(tmp_path, region, paint_scene(region))
    assert len(rows["mixtures"]) * DEMO.test > 1000
    assert len({tuple(row.values()) for row in rows["photos"]}) == len(rows["photos"])
