"""Real Sentinel-2 patches read through a STAC archive, where the sample folder is there."""

import csv
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from graft.imagery.folder import open_folder
from graft.imagery.geometry import to_pixel
from graft.imagery.index import ImageIndex
from graft.imagery.read import read_tile
from graft.imagery.settings import StacSearch
from graft.imagery.stac import search_stac
from graft.sensors import get_sensor
from tests.stac_inputs import item_of, serve, write_catalogue
from tests.test_metrics import SAMPLE_DATA

PATCHES = SAMPLE_DATA / "sentinel2_patches"
SENTINEL = get_sensor("sentinel")
NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PATCHES.is_dir(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)"),
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The patches with names for their bands."""
    folder = tmp_path_factory.mktemp("patches")
    for path in sorted(PATCHES.glob("*.tif")):
        copy(path, folder / path.name, driver="GTiff", tiled=True, blockxsize=64, blockysize=64, interleave="band")
        with rasterio.open(folder / path.name, "r+") as dataset:
            dataset.descriptions = NAMES
    return folder


def test_tiles_over_http_are_the_tiles_on_disk(described: Path) -> None:
    local = open_folder(described, SENTINEL)
    with serve(described) as archive:
        bands = [{"name": name} for name in NAMES]
        about = {"s2:processing_baseline": "02.14"}
        items = [
            item_of(path, f"{archive.url}/{path.name}", assets={"data": {"eo:bands": bands}}, **about)
            for path in sorted(described.glob("*.tif"))
        ]
        write_catalogue(described, items)
        search = StacSearch(f"{archive.url}/catalog.json", "sentinel-2-l2a")
        images = search_stac(search, SENTINEL, [(-180.0, -90.0, 180.0, 90.0)])
        assert [image.item for image in images] == [image.item for image in local]
        assert len(images) == 23
        for near, far in zip(local, images, strict=True):
            expected, tile = (read_tile(image, 16, 24, 128, SENTINEL) for image in (near, far))
            assert expected is not None
            assert tile is not None
            assert (tile.pixels == expected.pixels).all()
            assert tile.invalid == expected.invalid
            assert archive.sent[f"/{far.item}.tif"] < 0.4 * (described / f"{far.item}.tif").stat().st_size


def test_the_index_finds_patches_where_their_list_says(described: Path) -> None:
    index = ImageIndex(open_folder(described, SENTINEL))
    with (PATCHES / "index.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (described / row["fn"]).is_file()]
    assert len(rows) >= 10
    for row in rows:
        (image,) = index.candidates(float(row["lon"]), float(row["lat"]), None)
        assert f"{image.item}.tif" == row["fn"]
        x, y = to_pixel(image, float(row["lon"]), float(row["lat"]))
        assert np.hypot(x - 128, y - 128) < 2  # the list gives their middles
