"""Shards from a STAC archive on loopback equal shards from the same files on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.imagery.folder import open_folder
from graft.imagery.geometry import to_lonlat
from graft.imagery.settings import ImagerySettings, StacSearch
from graft.photos.schema import PhotoTableWriter
from graft.prepare import prepare
from graft.prepare.settings import ClusterSettings, ShardSettings, TileSettings
from graft.select.settings import ContentFilters, MetadataFilters
from graft.sensors import get_sensor
from tests.prepare_inputs import photo_at, write_photo, write_scene
from tests.stac_inputs import item_of, serve, write_catalogue
from tests.test_imagery_sample import NAMES, PATCHES, described  # noqa: F401  # a fixture
from tests.test_prepare_build import members, write_photos

SENTINEL = get_sensor("sentinel")


def build(table: Path, out: Path, imagery: ImagerySettings, size: int) -> dict[str, Any]:
    prepare(
        photos=table,
        imagery=imagery,
        sensor="sentinel",
        out=out,
        filters=MetadataFilters(min_side=16),
        content=ContentFilters(near_duplicates=False, min_colour=0),
        tiles=TileSettings(size=size),
        shards=ShardSettings(photos=True),
        cluster=ClusterSettings(workers=1),
    )
    found = {}
    for name, content in members(out).items():
        if name.endswith(".json"):
            sample = json.loads(content)
            found[sample["tile_id"]] = (sample, members(out)[name.replace(".json", ".tile.png")])
    return found


def test_an_archive_gives_the_tiles_of_its_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(300, 3000, (4, 96, 96)).astype(np.uint16)
    clear = write_scene(tmp_path / "scenes" / "clear.tif", stored)
    later = write_scene(tmp_path / "later" / "later.tif", stored + np.uint16(1000))
    rows = [
        photo_at(tmp_path / "photos", f"p{n}", *rng.uniform(0, 96, 2), seed=n, taken_at="2020-06-02") for n in range(40)
    ]
    table = write_photos(tmp_path / "photos", rows)
    near = build(table, tmp_path / "near", ImagerySettings(scenes=[tmp_path / "scenes"]), 24)
    with serve(tmp_path) as archive:
        bands = {"eo:bands": [{"name": name} for name in ("B02", "B03", "B04", "B08")]}
        shifted = {"raster:bands": [{"scale": 0.0001, "offset": -0.1}] * 4}
        old = {"s2:processing_baseline": "02.14", "eo:cloud_cover": 60}
        new = {"s2:processing_baseline": "05.09", "eo:cloud_cover": 1}
        items = [
            item_of(clear, f"{archive.url}/scenes/clear.tif", assets={"data": bands}, **old),
            item_of(later, f"{archive.url}/later/later.tif", assets={"data": bands | shifted}, **new),
        ]
        write_catalogue(tmp_path, items)
        search = StacSearch(f"{archive.url}/catalog.json", "sentinel-2-l2a", max_cloud=20)
        archive.faults["/later/later.tif"] = ["drop", 503, "truncate"]
        far = build(table, tmp_path / "far", ImagerySettings(stac=search), 24)
    assert len(near) == len(far) > 10
    assert {sample["offset"] for sample, _ in near.values()} == {0.0}
    assert {sample["offset"] for sample, _ in far.values()} == {-1000.0}, "the cloudy item is left out"
    for key, (sample, png) in near.items():
        other, same = far[key.replace("clear", "later")]
        assert png == same, "one place under two baselines is one tile"
        assert [(p["id"], p["x"], p["y"]) for p in sample["photos"]] == [
            (p["id"], p["x"], p["y"]) for p in other["photos"]
        ]


@pytest.mark.slow
@pytest.mark.skipif(not PATCHES.is_dir(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)")
def test_real_patches_through_an_archive(described: Path, tmp_path: Path) -> None:  # noqa: F811
    rng = np.random.default_rng(0)
    with PhotoTableWriter(tmp_path / "photos.parquet") as writer:
        for place, image in enumerate(open_folder(described, SENTINEL)):
            for number in range(6):
                lon, lat = to_lonlat(image, *rng.uniform(1, 255, 2))
                name = f"{image.slug}-{number}"
                path = write_photo(tmp_path / f"{name}.jpg", 6 * place + number)
                writer.add({"photo_id": name, "path": str(path), "lon": float(lon), "lat": float(lat)})
    near = build(tmp_path / "photos.parquet", tmp_path / "near", ImagerySettings(scenes=[described]), 112)
    with serve(described) as archive:
        bands = [{"name": name} for name in NAMES]
        items = [
            item_of(
                path,
                f"{archive.url}/{path.name}",
                assets={"data": {"eo:bands": bands}},
                **{"s2:processing_baseline": "02.14"},
            )
            for path in sorted(described.glob("*.tif"))
        ]
        write_catalogue(described, items)
        search = StacSearch(f"{archive.url}/catalog.json", "sentinel-2-l2a")
        far = build(tmp_path / "photos.parquet", tmp_path / "far", ImagerySettings(stac=search), 112)
    assert len(near) > 40
    assert {key: png for key, (_, png) in near.items()} == {key: png for key, (_, png) in far.items()}
