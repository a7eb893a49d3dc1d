import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyproj
import pytest
import rasterio
from affine import Affine

from graft.errors import GraftError
from graft.select.areas import Areas

GEOD = pyproj.Geod(ellps="WGS84")


def beside(lon: float, lat: float, azimuth: float, metres: float) -> tuple[float, float]:
    east, north, _ = GEOD.fwd(lon, lat, azimuth, metres)
    return east, north


def inside(areas: Areas, *positions: tuple[float, float]) -> list[bool]:
    return areas.contain(*np.array(positions).T).tolist()


def write_polygon(path: Path, ring: list[list[float]]) -> Path:
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def write_raster(path: Path, crs: str, west: float, north: float, gsd: float = 10.0, size: int = 256) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=size,
        height=size,
        count=1,
        dtype="uint8",
        crs=crs or None,
        transform=Affine(gsd, 0, west, 0, -gsd, north),
    ) as raster:
        raster.write(np.zeros((1, size, size), np.uint8))
    return path


@pytest.mark.parametrize(
    ("west", "south", "side"), [(8.0, 47.0, 0.2), (-60.0, 60.0, 20.0), (100.0, 1.0, 70.0), (170.0, -5.0, 4.0)]
)
def test_a_polygon_and_its_buffer(tmp_path: Path, west: float, south: float, side: float) -> None:
    ring = [[west, south], [west + side, south], [west + side, south + side], [west, south + side]]
    areas = Areas([write_polygon(tmp_path / "area.geojson", ring)], 2000)
    middle = south + side / 2
    assert inside(areas, (west + side / 2, middle), (west, south)) == [True, True]
    for azimuth, lon in ((270, west), (90, west + side)):
        for lat in (middle, south + side / 20):
            assert inside(areas, beside(lon, lat, azimuth, 1990), beside(lon, lat, azimuth, 2060)) == [True, False]
    # South of the parallel that is the polygon's edge, between two corners of the pieces it is cut into.
    for metres, expected in ((1990, True), (2060, False)):
        assert inside(areas, beside(west + min(side / 2, 2.5), south, 180, metres)) == [expected]


@pytest.mark.parametrize("east", [180.3, -179.7])
def test_buffers_pass_the_antimeridian(tmp_path: Path, east: float) -> None:
    # Written past 180, or ending at 180 with the buffer reaching over it.
    ring = [[179.9, 10], [max(east, 180), 10], [max(east, 180), 10.1], [179.9, 10.1]]
    areas = Areas([write_polygon(tmp_path / "area.json", ring)], 3000)
    edge = max(east, 180)
    near, far = beside(edge, 10.05, 90, 2900), beside(edge, 10.05, 90, 3100)
    assert near[0] < 0
    assert inside(areas, near, far, beside(179.9, 10.05, 270, 2900)) == [True, False, True]


def test_a_polygon_without_a_buffer_is_itself(tmp_path: Path) -> None:
    areas = Areas([write_polygon(tmp_path / "area.geojson", [[0, 0], [1, 0], [1, 1], [0, 1]])], 0)
    assert inside(areas, (0.999, 0.5), (1.001, 0.5)) == [True, False]


def test_footprints_of_geotiffs(tmp_path: Path) -> None:
    write_raster(tmp_path / "set/a/utm.tif", "EPSG:32633", 500_000, 5_000_000)
    write_raster(tmp_path / "set/fiji.tiff", "EPSG:32760", 817_500, 8_100_000)
    single = write_raster(tmp_path / "degrees.tif", "EPSG:4326", 30, 50, gsd=0.001)
    areas = Areas([tmp_path / "set", single], 1000)
    for crs, west, north in (("EPSG:32633", 500_000, 5_000_000), ("EPSG:32760", 817_500, 8_100_000)):
        to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        middle = north - 1280
        east = [to_degrees.transform(west + 2560 + metres, middle) for metres in (-10, 990, 1030)]
        assert inside(areas, *east) == [True, True, False]
    assert inside(areas, (30.1, 49.9), (29.9, 49.9)) == [True, False]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_points_in_tables(tmp_path: Path, kind: str) -> None:
    table = pa.table({"name": ["a", "b"], "lon": [179.999, -70.0], "lat": [65.0, -33.0]})
    path = tmp_path / f"points.{kind}"
    if kind == "csv":
        table.to_pandas().to_csv(path, index=False)
    else:
        pq.write_table(table, path)
    areas = Areas([path], 5000)
    for azimuth in (0, 45, 90, 200):
        near, far = (beside(179.999, 65, azimuth, metres) for metres in (4990, 5060))
        assert inside(areas, near, far) == [True, False]
    assert inside(areas, (-70, -33.001), (0, 0)) == [True, False]


def test_sources_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.geojson").write_text('{"type": "Polygon"}')
    (tmp_path / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "line.geojson").write_text('{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}')
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n")
    (tmp_path / "swapped.csv").write_text("lon,lat\n1,2\n3,100\n")
    (tmp_path / "text.csv").write_text("lon,lat\n1,north\n")
    (tmp_path / "area.shp").write_text("")
    (tmp_path / "fake.tif").write_text("no raster")
    write_polygon(tmp_path / "metres.geojson", [[500_000, 0], [500_100, 0], [500_100, 100], [500_000, 100]])
    write_raster(tmp_path / "nowhere.tif", "", 0, 0)
    for name, message in (
        ("absent.geojson", "does not exist"),
        ("empty", "holds no GeoTIFF"),
        ("bad.geojson", "is not GeoJSON"),
        ("none.geojson", "holds no geometry"),
        ("line.geojson", "holds a LineString"),
        ("metres.geojson", "expected lon and lat in degrees"),
        ("bad.csv", "cannot be read"),
        ("text.csv", "cannot be read"),
        ("swapped.csv", "1 of 2 points .* row 2"),
        ("area.shp", "no known kind"),
        ("fake.tif", "is no raster"),
        ("nowhere.tif", "no coordinate system"),
    ):
        with pytest.raises(GraftError, match=message) as fault:
            Areas([tmp_path / name], 100)
        assert name in str(fault.value)
    (tmp_path / "point.csv").write_text("lon,lat\n1,2\n")
    with pytest.raises(GraftError, match="exclude_buffer_m is 0"):
        Areas([tmp_path / "point.csv"], 0)
