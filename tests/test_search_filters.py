"""Which tiles may be found (place, time, shares), and which hits are left out because a better one lies there."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine

from graft.errors import GraftError
from graft.index.table import Index
from graft.search.area import boxes, read_area
from graft.search.filters import Filters, allowed_rows, read_moment, read_place
from graft.search.overlap import Ground, Spread
from tests.search_inputs import UTM, plant, tile, unit


def at(lon: float, lat: float, **changes: Any) -> dict[str, Any]:
    """A tile of 0.1 degrees whose upper left corner is there."""
    return tile(unit(1), side=100, epsg=4326, transform=Affine(0.001, 0, lon, 0, -0.001, lat), **changes)


def numbers(index: Index, filters: Filters) -> tuple[list[int], dict[str, int]]:
    """Numbers of the tiles that pass, and what was left out."""
    allowed = allowed_rows(index, filters)
    assert allowed.rows is not None
    ids = index.take(allowed.rows, ["id"])["id"].to_pylist()
    return [int(each.split("-")[1]) for each in ids], allowed.left_out


# --- time and shares ------------------------------------------------------------------------------


def test_time_from_on_and_before_with_unknown_ones_counted(tmp_path: Path) -> None:
    moments = [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 2, tzinfo=UTC),
        datetime(2024, 1, 3, tzinfo=UTC),
        None,
    ]
    index = plant(tmp_path / "i", [at(7, 50, datetime=moment) for moment in moments])
    after, before = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC)
    assert numbers(index, Filters(after=after)) == ([1, 2], {"without a time": 1, "before 2024-01-02": 1})
    assert numbers(index, Filters(before=before)) == ([0, 1], {"without a time": 1, "not before 2024-01-03": 1})
    assert numbers(index, Filters(after=after, before=before))[0] == [1]
    assert numbers(index, Filters(after=datetime(2024, 1, 2, 0, 0, 0, 1, tzinfo=UTC)))[0] == [2]


def test_shares_of_data_and_cloud(tmp_path: Path) -> None:
    shares = [(1.0, 0.0), (0.9, 0.2), (0.5, 0.9), (None, None)]
    index = plant(tmp_path / "i", [at(7, 50, valid=valid, cloud=cloud) for valid, cloud in shares])
    assert numbers(index, Filters(min_valid=0.9)) == (
        [0, 1],
        {"with an unknown share of data": 1, "with less data than 0.9": 1},
    )
    assert numbers(index, Filters(max_cloud=0.2)) == (
        [0, 1],
        {"with an unknown share of cloud": 1, "with more cloud than 0.2": 1},
    )


def test_without_conditions_every_row_is_allowed(tmp_path: Path) -> None:
    index = plant(tmp_path / "i", [at(7, 50)])
    assert allowed_rows(index, Filters()).rows is None
    assert Filters().conditions() == ()


def test_conditions_in_words() -> None:
    filters = Filters((7.1, 50.0), 10, "6,50,8,51", read_moment("after", "2024-06-01"), None, 0.0, 0.25)
    assert filters.conditions() == (
        "within 10 km of 7.1, 50",
        "within 6,50,8,51",
        "from 2024-06-01",
        "data share at least 0",
        "cloud share at most 0.25",
    )


# --- near -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("latitude", [0.0, 50.0, 84.0])
def test_near_is_the_distance_along_the_ground_to_the_footprint(tmp_path: Path, latitude: float) -> None:
    globe = pyproj.Geod(ellps="WGS84")
    rows, expected = [], []
    for azimuth in range(0, 360, 45):
        for metres in (9_000, 11_000):
            lon, lat, _ = globe.fwd(12.0, latitude, azimuth, metres)
            small = Affine(1e-7, 0, lon, 0, -1e-7, lat)
            rows.append(tile(unit(1), side=1, epsg=4326, transform=small))
            expected.append(metres < 10_000)
    index = plant(tmp_path / "i", rows)
    found, left_out = numbers(index, Filters(near=(12.0, latitude), radius_km=10))
    assert found == np.flatnonzero(expected).tolist()
    assert left_out == {"farther than 10 km": 8}


def test_a_tile_that_holds_the_place_is_near_however_small_the_radius(tmp_path: Path) -> None:
    index = plant(tmp_path / "i", [at(7.0, 50.0), at(7.2, 50.0)])
    assert numbers(index, Filters(near=(7.01, 49.99), radius_km=0.001))[0] == [0]


def test_near_reaches_over_the_antimeridian_and_over_the_pole(tmp_path: Path) -> None:
    index = plant(tmp_path / "i", [at(179.8, 10.0), at(-179.9, 10.0), at(179.95, 10.0), at(0.0, 10.0)])
    assert numbers(index, Filters(near=(-179.99, 9.95), radius_km=25))[0] == [0, 1, 2]
    poles = plant(tmp_path / "p", [at(0.0, 89.9), at(180.0 - 0.1, 89.9), at(0.0, 80.0)])
    assert numbers(poles, Filters(near=(0.0, 89.85), radius_km=50))[0] == [0, 1]


@pytest.mark.parametrize("longitude", [0.0, 180.0, -45.0])
def test_a_tile_that_holds_a_pole_is_near_whatever_the_longitude(tmp_path: Path, longitude: float) -> None:
    around = tile(unit(1), side=100, epsg=3413, transform=Affine(1000, 0, -50_000, 0, -1000, 50_000))
    index = plant(tmp_path / "i", [around, at(7, 50)])
    for latitude, radius in ((90.0, 0.001), (89.9, 1.0), (89.6, 1.0), (88.9, 60.0)):
        assert numbers(index, Filters(near=(longitude, latitude), radius_km=radius))[0] == [0]
    with pytest.raises(GraftError, match=r"2 farther than 40 km"):  # the cap reaches down to 71 km from the pole
        allowed_rows(index, Filters(near=(longitude, 88.9), radius_km=40))


def test_tiles_without_place_are_counted_apart(tmp_path: Path) -> None:
    index = plant(tmp_path / "i", [at(7, 50), tile(unit(1), epsg=None), at(20, 50)])
    found, left_out = numbers(index, Filters(near=(7.0, 50.0)))
    assert (found, left_out) == ([0], {"without a place": 1, "farther than 25 km": 1})


# --- within ---------------------------------------------------------------------------------------


def test_within_a_box_and_within_one_across_the_antimeridian(tmp_path: Path) -> None:
    index = plant(tmp_path / "i", [at(7, 50), at(8.05, 50), at(9, 50), at(179.95, 50), at(-179, 50)])
    assert numbers(index, Filters(within="6.5,49.5,8.1,50.5")) == ([0, 1], {"outside 6.5,49.5,8.1,50.5": 3})
    assert numbers(index, Filters(within="-10,49,8.1,51"))[0] == [0, 1]
    assert numbers(index, Filters(within="179.99,49,-178.5,51"))[0] == [3, 4]
    assert numbers(index, Filters(within="-180,49,-179.97,51"))[0] == [3]


def test_within_polygons_of_a_file_holes_kept(tmp_path: Path) -> None:
    ring = shapely.box(0, 0, 10, 10).difference(shapely.box(4, 4, 6, 6))
    far = shapely.box(358, 0, 360, 2)  # longitudes that count on: -2 to 0
    shapes = [shapely.geometry.mapping(each) for each in (ring, far)]
    features = [{"type": "Feature", "properties": {}, "geometry": each} for each in shapes]
    path = tmp_path / "area.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    index = plant(tmp_path / "i", [at(1, 5), at(4.9, 5.1), at(3.95, 5), at(-0.5, 1), at(12, 5)])
    assert numbers(index, Filters(within=str(path)))[0] == [0, 2, 3]
    path.write_text(json.dumps(shapes[0]))
    assert numbers(index, Filters(within=str(path)))[0] == [0, 2]


def test_features_without_a_geometry_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "area.geojson"
    shapes = [shapely.geometry.mapping(shapely.box(0, 0, 1, 1)), None, None]
    features = [{"type": "Feature", "properties": None, "geometry": each} for each in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert read_area(str(path)).bounds == (0, 0, 1, 1)
    assert f"{path}: 2 features without a geometry are left out." in caplog.text


def test_an_area_far_away_tells_where_the_tiles_are(tmp_path: Path) -> None:
    index = plant(tmp_path / "i", [at(7, 50), at(8, 51)])
    with pytest.raises(GraftError) as fault:
        allowed_rows(index, Filters(within="100,0,101,1"))
    assert str(fault.value) == (
        f"None of the 2 tiles of {index.address} is left to search: 2 outside 100,0,101,1. Its tiles lie at longitude "
        "7.05 to 8.05, latitude 49.95 to 50.95."
    )
    with pytest.raises(GraftError, match=r"2 before 2025-01-01\. Its tiles are of 2024-06-01 to 2024-06-01\.$"):
        allowed_rows(index, Filters(after=datetime(2025, 1, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", r"is '1,2,3': it is not four numbers; expected WEST,SOUTH,EAST,NORTH"),
        ("absent.geojson", r"there is no such file, and it is not four numbers"),
        ("x" * 5000, r"not four numbers"),
        ("0,10,1,5", r"is no area on the globe.*the south below the north"),
        ("0,0,500,5", r"is no area on the globe"),
        ("nan,0,1,1", r"is no area on the globe"),
        ("12,48,nan,49", r"is no area on the globe"),
    ],
)
def test_areas_that_are_none(text: str, message: str) -> None:
    with pytest.raises(GraftError, match=message):
        read_area(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"is not GeoJSON"),
        ('{"type": "Feature", "geometry": null}', r"holds no polygon"),
        (
            '{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 0], [1, 1], [0, 0]]]}',
            r"is not GeoJSON \(it has coordinates that are no numbers\)",
        ),
        ('{"type": "Point", "coordinates": [1, 2]}', r"holds no polygon"),
        ('{"type": "Polygon", "coordinates": [[[5e5, 0], [6e5, 0], [6e5, 9], [5e5, 0]]]}', r"in degrees, WGS 84"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_files_that_are_no_area(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "area.json"
    path.write_text(content)
    with pytest.raises(GraftError, match=message):
        read_area(str(path))


def test_a_box_across_the_antimeridian_has_two_parts() -> None:
    assert sorted(boxes(read_area("170,-10,-160,10"))) == [(-180, -10, -160, 10), (170, -10, 180, 10)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"near": (200.0, 0.0)}, r"--near 200 0 is no place"),
        ({"near": (50.0, 97.0)}, r"longitude first"),
        ({"near": (float("nan"), 0.0)}, r"is no place"),
        ({"radius_km": 0.0}, r"--radius-km is 0"),
        ({"min_valid": 90.0}, r"--min-valid is 90; expected a share from 0 to 1"),
        ({"max_cloud": -0.1}, r"--max-cloud is -0\.1"),
        (
            {"after": datetime(2024, 2, 1, tzinfo=UTC), "before": datetime(2024, 1, 1, tzinfo=UTC)},
            r"No time lies after",
        ),
    ],
)
def test_conditions_out_of_range(given: dict[str, Any], message: str) -> None:
    with pytest.raises(GraftError, match=message):
        Filters(**given)


def test_moments_are_utc_and_dates_their_first_moment() -> None:
    assert read_moment("after", "2024-06-30") == datetime(2024, 6, 30, tzinfo=UTC)
    assert read_moment("after", "2024-06-30T12:00:00+02:00") == datetime(2024, 6, 30, 10, tzinfo=UTC)
    assert read_moment("after", "2024-06-30T12:00:00Z") == datetime(2024, 6, 30, 12, tzinfo=UTC)
    for text in ("yesterday", "2024-13-01", "30.6.2024", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(GraftError, match=r"--before is .*expected a date such as 2024-06-30"):
            read_moment("before", text)


def test_near_takes_two_numbers() -> None:
    assert (read_place(None, None), read_place([7.0, 50.0], 3.0)) == (None, (7.0, 50.0))
    with pytest.raises(GraftError, match=r"--near has 1 numbers"):
        read_place([7.0], None)
    with pytest.raises(GraftError, match=r"--radius-km 5 without --near"):
        read_place(None, 5.0)


# --- overlap --------------------------------------------------------------------------------------


def ground(row: dict[str, Any]) -> Ground:
    window = row["window"]
    left, upper = window["column"], window["row"]
    shape = None if row["geometry"] is None else shapely.from_wkb(row["geometry"])
    return Ground(shape, row["path"], shapely.box(left, upper, left + window["width"], upper + window["height"]))


def kept(rows: list[dict[str, Any]], most: float) -> list[int]:
    spread = Spread(most)
    return [number for number, row in enumerate(rows) if spread.take(ground(row))]


@pytest.mark.parametrize("epsg", [32632, None])
def test_of_windows_that_step_by_half_only_diagonal_neighbours_stay(epsg: int | None) -> None:
    steps = [(0, 0), (32, 0), (0, 32), (32, 32), (64, 0), (96, 96)]
    rows = [tile(unit(1), column=column, row=row, epsg=epsg) for column, row in steps]
    # (32, 0) and (0, 32) share half with the first; (32, 32) a quarter; (64, 0) half of (32, 0), which is gone, and a
    # quarter of (32, 32).
    assert kept(rows, 0.25) == [0, 3, 4, 5]
    assert kept(rows, 0.0) == [0, 4, 5]
    assert kept(rows, 0.5) == [0, 1, 2, 3, 4, 5]
    assert kept(rows * 2, 1.0) == list(range(12))


def test_any_number_of_tiles_is_kept_and_compared_with() -> None:
    spread = Spread(0.25)
    windows = [shapely.box(column, 0, column + 1, 1) for column in range(200)]
    assert [spread.take(Ground(None, "a.tif", window)) for window in windows * 2] == [True] * 200 + [False] * 200


def test_a_small_tile_inside_a_large_one_overlaps_whole() -> None:
    large, small = tile(unit(1), side=640), tile(unit(1), column=100, row=100, side=64)
    assert kept([large, small], 0.9) == [0]
    assert kept([small, large], 0.9) == [0]


def test_tiles_of_other_files_overlap_only_if_they_have_a_place() -> None:
    placed = [tile(unit(1), path="a.tif"), tile(unit(1), path="b.tif")]
    assert kept(placed, 0.25) == [0]
    assert kept([row | {"geometry": None} for row in placed], 0.25) == [0, 1]


def test_overlap_across_the_antimeridian_is_seen() -> None:
    west = tile(unit(1), epsg=4326, side=100, transform=Affine(0.001, 0, 179.95, 0, -0.001, 0))
    same = tile(unit(1), epsg=4326, side=100, transform=Affine(0.001, 0, -180.05, 0, -0.001, 0))
    assert shapely.from_wkb(west["geometry"]).geom_type == "MultiPolygon"
    assert kept([west, same], 0.25) == [0]


def test_south_up_rasters_overlap_as_others_do() -> None:
    south_up = Affine(10, 0, UTM.c, 0, 10, UTM.f - 640)
    assert kept([tile(unit(1)), tile(unit(1), transform=south_up)], 0.25) == [0]
