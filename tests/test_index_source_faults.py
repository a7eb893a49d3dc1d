"""Sources of an index that overlap, go away, are malformed, or are named in unusual ways."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import shapely

from graft.errors import GraftError
from graft.imagery.remote import path_of
from graft.index.plan import open_sources, plain_name
from graft.index.rasters import cloud_share
from graft.index.shard_tiles import BAD_SAMPLE
from graft.index.tile_folder import list_images
from graft.scene import open_raster
from tests.conftest import ShardFactory
from tests.index_source_inputs import (
    NORTH_UP,
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


def test_a_file_is_in_one_source(tmp_path: Path) -> None:
    for name in ("data/a.png", "data/sub/b.png"):
        write_tile(tmp_path / name)
    write_raster(tmp_path / "data" / "c.tif", size=(32, 32))
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "data" / "a.png")
    data = tmp_path / "data"
    sources, faults = open_sources([str(data), str(data / "sub"), str(data / "c.tif")], look())
    assert [(source.card.name, source.card.windows) for source in sources] == [(str(data), 3)]
    sources, more = open_sources([str(data / "c.tif"), str(data / "sub"), str(data)], look())
    assert [(Path(source.card.name).name, source.card.windows) for source in sources] == [
        ("c.tif", 1),
        ("sub", 1),
        ("data", 1),
    ]
    assert faults == more == []


def test_addresses_are_one_however_they_are_spelt(tmp_path: Path) -> None:
    assert plain_name("/vsis3/b/x.tif") == "s3://b/x.tif"
    write_raster(tmp_path / "a.tif", size=(32, 32))
    with serve(tmp_path) as archive:
        address = f"{archive.url}/a.tif"
        sources, faults = open_sources([address, f"/vsicurl/{address}", f"{address}?signature=a/b.c"], look())
    assert faults == []
    assert [source.card.name for source in sources] == [address, f"{address}?signature=a/b.c"]


def test_files_inside_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(tmp_path / "a.tif", size=(32, 32))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.tif", "sub/a.tif")
    monkeypatch.setattr("graft.imagery.remote.time.sleep", lambda _: pytest.fail("no network, no retry"))
    assert len(tiles_of(only(f"/vsizip/{tmp_path}/a.zip/sub/a.tif"))) == 1
    monkeypatch.chdir(tmp_path)
    assert len(tiles_of(only("/vsizip/a.zip/sub/a.tif"))) == 1
    (fault,) = open_sources([f"/vsizip/{tmp_path}/gone.zip/a.tif"], look())[1]
    assert "does not open" in fault


def write_vrt(path: Path, member: str, side: int) -> None:
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{number}"><Description>{name}</Description><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{member}</SourceFilename><SourceBand>{number}</SourceBand>'
        f'<SourceProperties RasterXSize="{side}" RasterYSize="{side}" DataType="UInt16"/>'
        f'<SrcRect xOff="0" yOff="0" xSize="{side}" ySize="{side}"/>'
        f'<DstRect xOff="0" yOff="0" xSize="{side}" ySize="{side}"/></SimpleSource></VRTRasterBand>'
        for number, name in enumerate(("B02", "B03", "B04"), start=1)
    )
    grid = ", ".join(str(value) for value in NORTH_UP.to_gdal())
    srs = f"<SRS>{UTM}</SRS><GeoTransform>{grid}</GeoTransform>"
    path.write_text(f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}">{srs}{bands}</VRTDataset>')


def test_a_vrt_over_an_address_is_at_the_mercy_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.imagery.remote.PAUSE_S", 0.01)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    write_raster(tmp_path / "a.tif", size=(1600, 1600))  # more than is read to look for data
    with serve(tmp_path) as archive:
        write_vrt(tmp_path / "a.vrt", f"/vsicurl/{archive.url}/a.tif", 1600)
        source = only(tmp_path / "a.vrt")
    with pytest.raises(GraftError, match=r"a\.vrt"):
        read_all(source)


def test_small_rasters_of_a_folder_keep_their_pixels_and_their_place(tmp_path: Path) -> None:
    stored = write_raster(tmp_path / "a.tif", size=(30, 50))
    ((facts, pixels),) = tiles_of(only(tmp_path))
    assert facts.window == (9, 0, 32, 30)
    np.testing.assert_array_equal(pixels[1:31], shown(stored[:, :, 9:41]))
    lon, lat = degrees(UTM, NORTH_UP, 25, 15)
    assert (facts.place.lon, facts.place.lat) == pytest.approx((lon, lat))
    assert not shape_of(facts).covers(shapely.Point(degrees(UTM, NORTH_UP, 8, 15)))
    assert shape_of(facts).covers(shapely.Point(degrees(UTM, NORTH_UP, 10, 15)))


def test_clouds_that_an_address_does_not_tell_are_its_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.imagery.remote.PAUSE_S", 0.01)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    write_raster(tmp_path / "a.tif", size=(3000, 64), names=("B02", "B03", "B04", "SCL"), interleave="band")
    with serve(tmp_path) as archive:
        path = path_of(f"{archive.url}/a.tif")
        with open_raster(path) as dataset:
            archive.faults["/a.tif"] = [404] * 9
            with pytest.raises(GraftError, match="cannot be read"):
                cloud_share(dataset, 4, (0, 2900, 64, 64))


def test_malformed_samples_cost_themselves(make_shards: ShardFactory, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], number: int) -> None:
        wrong = [{"gsd_m": [1]}, {"datetime": 5}, {"nodata": "much"}, {"crs": ["a"]}, {}, {"gsd_m": "ten"}]
        members["json"] = json.dumps(json.loads(members["json"]) | wrong[number]).encode()

    (group,) = read_all(only(make_shards(tmp_path / "shards", samples=6, shards=1, change=change)))
    assert group.skipped.counts == {BAD_SAMPLE: 5}


def test_what_cannot_be_listed_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.png", "b/1.png"):
        write_tile(tmp_path / name)
    monkeypatch.setattr("graft.index.plan.list_images", lambda folder: forbidden(folder) or list_images(folder))
    sources, (fault,) = open_sources([str(tmp_path / "a"), str(tmp_path / "b")], look())
    assert [source.card.name for source in sources] == [str(tmp_path / "b")]
    assert "Permission denied" in fault


def forbidden(folder: Path) -> None:
    if folder.name == "a":
        raise PermissionError(13, "Permission denied", str(folder))


def test_statistics_beside_a_raster_do_not_change_it(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", size=(32, 32))
    before = only(tmp_path / "a.tif").card
    (tmp_path / "a.tif.aux.xml").write_text('<PAMDataset><PAMRasterBand band="1"/></PAMDataset>')
    assert only(tmp_path / "a.tif").card == before
