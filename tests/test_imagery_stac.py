from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import graft.imagery.remote
from graft.errors import GraftError
from graft.imagery import find_images
from graft.imagery.folder import open_folder
from graft.imagery.geometry import to_lonlat
from graft.imagery.index import ImageIndex
from graft.imagery.read import read_tile
from graft.imagery.settings import ImagerySettings, StacSearch
from graft.imagery.stac import search_stac
from graft.sensors import get_sensor
from tests.prepare_inputs import NORTH, WEST, write_scene
from tests.stac_inputs import CORE, SEARCH, Archive, item_of, serve, write_catalogue
from tests.test_imagery_read import naip_scene, write_classes

SENTINEL, NAIP = get_sensor("sentinel"), get_sensor("naip")
WORLD = [(-180.0, -90.0, 180.0, 90.0)]
COLOURS = ("red", "green", "blue")
S2 = "sentinel-2-l2a"


def write_bands(folder: Path, name: str, *, seed: int = 0, shift: int = 0, **place: Any) -> np.ndarray:
    """Red, green and blue of one place as files of their own."""
    stored = np.random.default_rng(seed).integers(1, 3000, (3, 64, 64)).astype(np.uint16)
    for colour, band in zip(COLOURS, stored, strict=True):
        write_scene(folder / name / f"{colour}.tif", band[None] + np.uint16(shift), names=(None,), **place)
    return stored


def sentinel_item(archive: Archive, name: str, keys: tuple[str, ...] = COLOURS, **properties: Any) -> dict[str, Any]:
    hrefs = [f"{archive.url}/{name}/{colour}.tif" for colour in COLOURS]
    assets: dict[str, dict[str, Any]] = {key: {"href": href} for key, href in zip(keys, hrefs, strict=True)}
    bands = [{"name": colour, "common_name": colour} for colour in COLOURS]
    assets["visual"] = {"href": f"{archive.url}/TCI.tif", "eo:bands": bands, "roles": ["visual"]}
    about = {"s2:processing_baseline": "02.14", "eo:cloud_cover": 3.0, **properties}
    item = item_of(archive.folder / name / "red.tif", hrefs[0], assets=assets, **about)
    return {**item, "id": name}


def shown(stored: np.ndarray) -> np.ndarray:
    return SENTINEL.to_display(stored.transpose(1, 2, 0))


def test_static_catalogue_of_earth_search_items(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = write_bands(tmp_path, "S2A_33TXN_20200601_0_L2A")
    classes = np.full((32, 32), 4, np.uint8)
    classes[:, :8] = 9
    write_classes(tmp_path / "scl.tif", classes)
    with serve(tmp_path) as archive:
        item = sentinel_item(archive, "S2A_33TXN_20200601_0_L2A")
        item["assets"]["scl"] = {"href": f"{archive.url}/scl.tif"}
        write_catalogue(tmp_path, [item])
        (image,) = search_stac(StacSearch(f"{archive.url}/catalog.json", S2), SENTINEL, WORLD)
        tile = read_tile(image, 8, 4, 32, SENTINEL)
    assert tile is not None
    assert (tile.pixels == shown(stored)[4:36, 8:40]).all()
    assert (tile.invalid, tile.cloudy) == (0, 0.25)
    assert (image.slug, image.datetime, image.cloud) == ("s2a_33txn_20200601_0_l2a", "2020-06-01T10:00:00Z", 3.0)
    assert (image.crs, image.gsd_m, image.width, image.sign) == ("EPSG:32633", 10.0, 64, False)
    assert "1 items of http" in capsys.readouterr().out


def test_items_of_planetary_computer(tmp_path: Path) -> None:
    stored = write_bands(tmp_path, "S2A_MSIL2A_20220601T100031_R122_T33TXN_20220601T160000", shift=1000)
    with serve(tmp_path) as archive:
        name = "S2A_MSIL2A_20220601T100031_R122_T33TXN_20220601T160000"
        item = sentinel_item(archive, name, ("B04", "B03", "B02"), **{"s2:processing_baseline": "04.00"})
        item["properties"]["proj:code"] = f"EPSG:{item['properties'].pop('proj:epsg')}"
        archive.items.append(item)
        (image,) = search_stac(StacSearch(f"{archive.url}/api", S2, sign=True), SENTINEL, WORLD)
        tile = read_tile(image, 0, 0, 64, SENTINEL)
    assert tile is not None
    assert image.offset == -1000
    assert "red goes down to no less than 10" in image.radiometry_note
    assert (tile.pixels == shown(stored)).all()


def test_naip_items_are_averaged_to_one_metre(tmp_path: Path) -> None:
    naip_scene(tmp_path / "ca_m_3712213_sw_10_060_20180719.tif", 0.6)
    with serve(tmp_path) as archive:
        path = tmp_path / "ca_m_3712213_sw_10_060_20180719.tif"
        bands = [{"name": name, "common_name": name.lower()} for name in ("Red", "Green", "Blue", "NIR")]
        assets = {"image": {"eo:bands": bands, "roles": ["data"]}, "thumbnail": {"roles": ["thumbnail"]}}
        about = {"naip:year": "2018", "gsd": 0.6, "collection": "naip"}
        archive.items.append(item_of(path, f"{archive.url}/{path.name}", assets=assets, **about))
        (image,) = search_stac(StacSearch(f"{archive.url}/api", "naip"), NAIP, WORLD)
        tile = read_tile(image, 10, 20, 64, NAIP)
    (local,) = open_folder(tmp_path, NAIP)
    assert (image.gsd_m, image.width, image.offset, image.scl) == (1.0, 120, 0.0, None)
    assert image.transform == local.transform
    expected = read_tile(local, 10, 20, 64, NAIP)
    assert tile is not None
    assert expected is not None
    assert (tile.pixels == expected.pixels).all()


@pytest.mark.parametrize("place", ["static", "api"])
def test_what_is_left_out_is_counted_by_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(graft.imagery.remote, "PAUSE_S", 0.01)
    write_bands(tmp_path, "fits")
    write_bands(tmp_path, "coarse", gsd=20.0)
    with serve(tmp_path) as archive:
        items = [
            sentinel_item(archive, "fits"),
            {**sentinel_item(archive, "coarse"), "id": "a-coarse"},
            {**sentinel_item(archive, "fits", **{"eo:cloud_cover": 30.0}), "id": "b-cloudy"},
            {**sentinel_item(archive, "fits", ("B04", "B03", "B8A")), "id": "c-bands"},
            {**sentinel_item(archive, "fits", **{"proj:epsg": None}), "id": "d-unplaced"},
            {**sentinel_item(archive, "fits"), "id": "e-unread"},
        ]
        items[5]["assets"]["red"]["href"] = f"{archive.url}/gone.tif"
        items[5]["properties"]["s2:processing_baseline"] = "05.00"
        archive.items += items
        archive.conforms = [CORE, SEARCH]
        write_catalogue(tmp_path, items)
        url = f"{archive.url}/{'catalog.json' if place == 'static' else 'api'}"
        images = search_stac(StacSearch(url, S2, max_cloud=10), SENTINEL, WORLD)
    assert [image.slug for image in images] == ["fits"]
    said = capsys.readouterr().out
    assert "6 items" in said
    assert "1 of sentinel-2-l2a fit" in said
    for reason in (
        "1  other GSD (20 m for 10 m) (a-coarse)",
        "1  too cloudy (more than 10 per cent of the item) (b-cloudy)",
        "1  missing assets (B04, B03, B02, or red, green and blue) (c-bands)",
        "1  no projection (proj:code, proj:transform and proj:shape) (d-unplaced)",
        "1  red band does not read (e-unread)",
    ):
        assert reason in said


def test_doubtful_radiometry_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bands(tmp_path, "dark")
    write_bands(tmp_path, "bright", shift=4000)
    with serve(tmp_path) as archive:
        archive.items += [
            sentinel_item(archive, name, **{"s2:processing_baseline": "05.00"}) for name in ("dark", "bright")
        ]
        (image,) = search_stac(StacSearch(f"{archive.url}/api", S2), SENTINEL, WORLD)
    assert (image.slug, image.offset) == ("dark", 0.0)
    assert "1  radiometry in doubt" in capsys.readouterr().out


def test_an_api_is_asked_page_by_page_and_each_item_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bands(tmp_path, "a")
    with serve(tmp_path) as archive:
        archive.items += [{**sentinel_item(archive, "a"), "id": f"item-{number}"} for number in (4, 2, 0, 3, 1)]
        archive.items.append({**sentinel_item(archive, "a", **{"eo:cloud_cover": 50.0}), "id": "cloudy"})
        areas = [(14.0, 44.0, 16.0, 46.0), (14.5, 44.0, 16.0, 46.0), (100.0, 0.0, 101.0, 1.0)]
        search = StacSearch(f"{archive.url}/api", S2, datetime="2020-06", max_cloud=20)
        images = search_stac(search, SENTINEL, areas)
    assert [image.slug for image in images] == [f"item-{number}" for number in range(5)]
    assert len(archive.asked) == 3 + 3 + 1
    assert archive.asked[0]["datetime"] == "2020-06-01T00:00:00Z/2020-06-30T23:59:59Z"
    assert archive.asked[0]["query"] == {"eo:cloud_cover": {"lte": 20}}
    assert "asked for items with at most 20 per cent of cloud" in capsys.readouterr().out


def test_a_bad_archive_is_asked_again(tmp_path: Path) -> None:
    write_bands(tmp_path, "a")
    with serve(tmp_path) as archive:
        item = sentinel_item(archive, "a")
        archive.items.append(item)
        write_catalogue(tmp_path, [item])
        archive.faults |= {"/api": [503, "drop"], "/api/search": ["drop", 503], "/sentinel-2-l2a/a.json": [503]}
        for place in ("api", "catalog.json"):
            assert len(search_stac(StacSearch(f"{archive.url}/{place}", S2), SENTINEL, WORLD)) == 1
        assert not any(archive.faults.values())


def test_areas_across_the_antimeridian_are_asked_in_two(tmp_path: Path) -> None:
    write_bands(tmp_path, "a", crs="EPSG:32760", west=825_000.0, north=8_120_000.0)
    with serve(tmp_path) as archive:
        archive.items.append(sentinel_item(archive, "a"))
        search_stac(StacSearch(f"{archive.url}/api", S2), SENTINEL, [(179.0, -18.0, -179.0, -16.0)])
    assert [body["bbox"] for body in archive.asked] == [[179.0, -18.0, 180.0, -16.0], [-180.0, -18.0, -179.0, -16.0]]


@pytest.mark.parametrize(
    ("datetime", "areas", "reason"),
    [
        ("2019/2020-05", WORLD, "outside the times asked for"),
        ("2020-06-02/..", WORLD, "outside the times asked for"),
        ("2020-06-01", [(20.0, 40.0, 21.0, 50.0)], "outside the areas"),
    ],
)
def test_a_static_catalogue_is_filtered_as_an_api_would(
    tmp_path: Path, datetime: str, areas: list[tuple[float, float, float, float]], reason: str
) -> None:
    write_bands(tmp_path, "a")
    with serve(tmp_path) as archive:
        path = write_catalogue(tmp_path, [sentinel_item(archive, "a")])
    assert len(search_stac(StacSearch(str(path), S2, datetime="2020-06"), SENTINEL, [(14, 44, 16, 46)])) == 1
    with pytest.raises(GraftError, match=rf"No item of sentinel-2-l2a in .* fits: 1 {reason}"):
        search_stac(StacSearch(str(path), S2, datetime=datetime), SENTINEL, areas)
    with pytest.raises(GraftError, match="1 of another collection"):
        search_stac(StacSearch(str(path), "naip"), SENTINEL, WORLD)


def test_assets_by_name_and_a_picture_of_8_bits(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(1, 256, (3, 64, 64)).astype(np.uint8)
    write_scene(tmp_path / "TCI.tif", stored, names=("B04", "B03", "B02"))
    write_bands(tmp_path, "a", shift=1000)
    tci = picture_sensor()
    with serve(tmp_path) as archive:
        archive.items.append(sentinel_item(archive, "a", **{"s2:processing_baseline": "05.09"}))
        url = f"{archive.url}/api"
        (image,) = search_stac(StacSearch(url, S2, assets=["visual"]), tci, WORLD)
        tile = read_tile(image, 0, 0, 64, tci)
        named = search_stac(StacSearch(url, S2, assets=["red", "green", "blue"]), SENTINEL, WORLD)
        with pytest.raises(GraftError, match=r"1 missing assets \(B04\)"):
            search_stac(StacSearch(url, S2, assets=["B04", "green", "blue"]), SENTINEL, WORLD)
        with pytest.raises(GraftError, match=r"stores uint8 numbers, but sensor sentinel shows 3000 as white"):
            read_tile(image, 0, 0, 64, SENTINEL)
    assert (image.offset, image.radiometry_note) == (0.0, "8-bit picture, never shifted")
    assert tile is not None
    assert (tile.pixels == stored.transpose(1, 2, 0)).all()
    assert named[0].offset == -1000


def picture_sensor() -> Any:
    """A row for pictures of 8 bits at 10 m, as a user would add one."""
    from dataclasses import replace

    return replace(SENTINEL, name="tci", scale=1 / 255, display=(0.0, 1.0))


def test_an_item_s_own_outline_of_data_counts(tmp_path: Path) -> None:
    write_bands(tmp_path, "a")
    with serve(tmp_path) as archive:
        item = sentinel_item(archive, "a")
        west, south, east, north = item["bbox"]
        middle = (west + east) / 2
        half = [[west, south], [middle, south], [middle, north], [west, north], [west, south]]
        whole = [[-180, south], [180, south], [180, north], [-180, north], [-180, south]]
        archive.items += [
            {**item, "id": "half", "geometry": {"type": "Polygon", "coordinates": [half]}},
            {**item, "id": "wrong", "geometry": {"type": "Polygon", "coordinates": [whole]}},
        ]
        images = search_stac(StacSearch(f"{archive.url}/api", S2), SENTINEL, WORLD)
    assert max(lon for ring in images[1].footprint for lon, _ in ring) < 16
    lon, lat = (float(value) for value in to_lonlat(images[0], 30, 32))
    index = ImageIndex(images)
    assert [image.slug for image in index.candidates(lon, lat, None)] == ["half", "wrong"]
    assert [index.covers(image, 10, 12, 40) for image in images] == [False, True]


@pytest.mark.parametrize("path", ["nowhere.json", "page.html", "a/red.tif"])
def test_an_address_that_is_no_archive(tmp_path: Path, path: str) -> None:
    write_bands(tmp_path, "a")
    (tmp_path / "page.html").write_text("<html>")
    with (
        serve(tmp_path) as archive,
        pytest.raises(GraftError, match=r"The archive http\S* does not answer as STAC"),
    ):
        search_stac(StacSearch(f"{archive.url}/{path}", S2), SENTINEL, WORLD)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ImagerySettings(), "neither of scenes and stac"),
        (ImagerySettings([Path("a")], StacSearch("u", "c")), "both of scenes and stac"),
        (ImagerySettings([Path("a")], max_nodata=10), "max_nodata is 10; it is a share"),
        (ImagerySettings([Path("a")], max_candidates=0), "max_candidates is 0"),
        (ImagerySettings(stac=StacSearch("u", "c", max_cloud=101)), "max_cloud is 101; it is per cent"),
        (ImagerySettings(stac=StacSearch("u", "c", assets=["a", "b"])), "assets are a, b; name one asset"),
    ],
)
def test_settings_that_cannot_be(settings: ImagerySettings, said: str) -> None:
    with pytest.raises(GraftError, match=said):
        find_images(settings, SENTINEL, WORLD)


def test_a_folder_or_an_archive_by_settings(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif")
    (image,) = find_images(ImagerySettings([tmp_path]), SENTINEL, [])
    with rasterio.open(image.bands[0][0]) as dataset:
        assert dataset.transform[:6] == image.transform == (10, 0, WEST, 0, -10, NORTH)
