"""Polygons with true areas, the quick-look picture, and the names of files."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import shapely.geometry
from affine import Affine
from PIL import Image

from graft.errors import GraftError
from graft.palette import NO_DATA, palette
from graft.scene import SceneView, view_scene
from graft.segment import segment_scene
from graft.segment.output import name_output
from graft.segment.polygons import Regions, write_polygons
from graft.sensors import get_sensor
from tests.segment_inputs import IDS, UTM, checkered, colour_scorer, write_rgb

NAIP = get_sensor("naip")


def polygons_of(
    tmp_path: Path, labels: np.ndarray, crs: str, transform: Affine, least: float = 0
) -> tuple[Any, Regions]:
    """GeoJSON of a class map that is written as it is, 255 for no data."""
    path = tmp_path / "classes.tif"
    profile = {"width": labels.shape[1], "height": labels.shape[0], "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile) as dataset:
        dataset.write(labels.astype(np.uint8), 1)
    scene = write_rgb(tmp_path / "scene.tif", np.zeros(labels.shape, int), crs=crs, transform=transform)
    view: SceneView = view_scene(scene, NAIP, 1.0, any_gsd=True)
    regions = write_polygons(path, view, IDS, tmp_path / "out.geojson", least)
    return json.loads((tmp_path / "out.geojson").read_text(encoding="utf-8")), regions


def rectangle(height: int, width: int, rows: slice, columns: slice) -> np.ndarray:
    labels = np.full((height, width), 255)
    labels[rows, columns] = 1
    return labels


# 1,000 x 2,000 px; the truth is of the ellipsoid, by an equal-area projection of densely drawn sides.
PLACES = {
    "utm": (UTM, Affine(10, 0, 4e5, 0, -10, 5e6)),
    "utm south-up": (UTM, Affine(10, 0, 4e5, 0, 10, 5e6)),
    "utm rotated": (UTM, Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(10, -10)),
    "mercator at 60 north": ("EPSG:3857", Affine(10, 0, 1e6, 0, -10, 8_399_738)),
    "degrees": ("EPSG:4326", Affine(1e-3, 0, 10, 0, -1e-3, 60)),
    "across 180 degrees": ("EPSG:32601", Affine(100, 0, 2.5e5, 0, -100, 6e6)),
    "across 180 in degrees": ("EPSG:4326", Affine(1e-3, 0, 179, 0, -1e-3, 60)),
    "over the pole": ("EPSG:3413", Affine(100, 0, -1e5, 0, -100, 5e4)),
}


def true_area(crs: str, transform: Affine) -> float:
    """By an equal-area projection of the rectangle's sides, drawn in steps of a pixel."""
    steps = np.concatenate(
        [
            np.stack([np.arange(0, 2000), np.zeros(2000)], 1),
            np.stack([np.full(1000, 2000), np.arange(0, 1000)], 1),
            np.stack([np.arange(2000, 0, -1), np.full(2000, 1000)], 1),
            np.stack([np.zeros(1000), np.arange(1000, 0, -1)], 1),
        ]
    )
    a, b, c, d, e, f = transform[:6]
    x, y = a * steps[:, 0] + b * steps[:, 1] + c, d * steps[:, 0] + e * steps[:, 1] + f
    lon, lat = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    middle = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(
        *(transform @ (1000, 500))  # type: ignore[operator]
    )
    equal = pyproj.CRS.from_proj4(f"+proj=laea +lon_0={middle[0]} +lat_0={middle[1]} +ellps=WGS84")
    x, y = pyproj.Transformer.from_crs("EPSG:4326", equal, always_xy=True).transform(lon, lat)
    return shapely.Polygon(np.stack([x, y], 1)).area


@pytest.mark.parametrize("place", PLACES)
def test_area_of_a_known_rectangle(tmp_path: Path, place: str) -> None:
    crs, transform = PLACES[place]
    labels = rectangle(1010, 2010, slice(0, 1000), slice(0, 2000))
    content, regions = polygons_of(tmp_path, labels, crs, transform)
    (feature,) = content["features"]
    expected = true_area(crs, transform)
    assert feature["properties"]["class"] == "green"
    assert feature["properties"]["area_m2"] == pytest.approx(expected, rel=1e-3)
    assert regions.area_m2[1] == pytest.approx(expected, rel=1e-3)
    shape = shapely.geometry.shape(feature["geometry"])
    assert shape.is_valid
    west, south, east, north = shape.bounds
    assert -180 <= west < east <= 180
    assert -90 <= south < north <= 90
    # What is drawn has that area too, and rings turn as RFC 7946 wants.
    parts = list(shape.geoms) if shape.geom_type == "MultiPolygon" else [shape]
    assert all(part.exterior.is_ccw for part in parts)
    drawn = sum(abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(part.segmentize(0.01))[0]) for part in parts)
    # Straight lines between corners near a pole are far from straight on the ground.
    assert drawn == pytest.approx(expected, rel=2e-2 if place == "over the pole" else 2e-3)
    if place.startswith("across") or place.startswith("over"):
        assert (len(parts), west, east) == (2 if place.startswith("across") else 1, -180, 180)


def test_a_region_round_another_has_a_hole(tmp_path: Path) -> None:
    labels = np.zeros((60, 60), int)
    labels[20:40, 20:40] = 1
    labels[:10, :10] = 255
    content, regions = polygons_of(tmp_path, labels, UTM, Affine(1, 0, 5e5, 0, -1, 5e6))
    by_class = {feature["properties"]["class"]: feature for feature in content["features"]}
    assert set(by_class) == {"red", "green"}
    around = shapely.geometry.shape(by_class["red"]["geometry"])
    assert len(around.interiors) == 1
    assert around.exterior.is_ccw
    assert not around.interiors[0].is_ccw
    metres = 1 / 0.9996**2
    assert by_class["red"]["properties"]["area_m2"] == pytest.approx((3600 - 400 - 100) * metres, rel=1e-3)
    assert regions.written == 2
    assert set(content) == {"type", "features"}  # no "crs" member


def test_small_regions_are_dropped_and_counted(tmp_path: Path) -> None:
    labels = np.zeros((60, 60), int)
    labels[5:8, 5:8] = labels[50, 50] = 1
    content, regions = polygons_of(tmp_path, labels, UTM, Affine(1, 0, 5e5, 0, -1, 5e6), least=5)
    assert (regions.written, regions.dropped) == (2, 1)
    assert len(content["features"]) == 2
    assert regions.area_m2[1] == pytest.approx(10, rel=1e-2)  # the dropped one counts


def test_corners_that_touch_are_two_regions(tmp_path: Path) -> None:
    labels = np.zeros((20, 20), int)
    labels[2:5, 2:5] = labels[5:8, 5:8] = 1
    content, _ = polygons_of(tmp_path, labels, UTM, Affine(1, 0, 5e5, 0, -1, 5e6))
    assert sorted(feature["properties"]["class"] for feature in content["features"]) == ["green", "green", "red"]
    assert all(shapely.geometry.shape(feature["geometry"]).is_valid for feature in content["features"])


def test_a_scene_that_reaches_into_space(tmp_path: Path) -> None:
    earth = "+proj=ortho +lat_0=0 +lon_0=0 +ellps=WGS84"
    with pytest.raises(GraftError, match=r"scene\.tif lie outside the area of its coordinate reference system"):
        polygons_of(tmp_path, np.zeros((20, 20), int), earth, Affine(1e6, 0, -1e7, 0, -1e6, 1e7))


def test_no_polygons_and_no_invented_place_without_crs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rgb(tmp_path / "a.png", checkered(80, 80), crs=None, driver="PNG")
    summary = segment_scene(view_scene(path, NAIP, 1.0, gsd_m=1.0), colour_scorer(), tmp_path / "out")
    assert not (tmp_path / "out.geojson").exists()
    assert any("No GeoJSON" in line for line in summary.lines())
    assert sum(found.area_m2 for found in summary.classes) == pytest.approx(6400)
    with rasterio.open(tmp_path / "out.classes.tif") as made:
        assert (made.crs, made.transform) == (None, Affine.identity())


@pytest.mark.parametrize("size", [(120, 160), (40, 900), (900, 40), (3, 2)])
def test_the_quick_look_shows_the_colours_of_the_map(tmp_path: Path, size: tuple[int, int]) -> None:
    labels = checkered(*size, side=2 if size == (3, 2) else 40)
    nodata = np.zeros(size, bool)
    nodata[: size[0] // 2, : size[1] // 2] = size != (3, 2)
    path = write_rgb(tmp_path / "a.tif", labels, nodata=nodata)
    segment_scene(view_scene(path, NAIP, 1.0), colour_scorer(), tmp_path / "out")
    with Image.open(tmp_path / "out.quicklook.png") as picture:
        assert max(picture.size) <= 1600
        pixels = np.array(picture)
    with rasterio.open(tmp_path / "out.classes.tif") as made:
        shown = set(np.unique(made.read(1)))
        table = made.colormap(1)
    for label in shown - {255}:
        assert table[label][:3] == palette(IDS)[label]
        assert (pixels == palette(IDS)[label]).all(-1).any()
    assert table[255][:3] == NO_DATA


def test_colours_differ_and_are_those_of_maps() -> None:
    plain = palette([f"class {number}" for number in range(255)])
    assert len(set(plain)) == 255
    apart = [math.dist(one, two) for number, one in enumerate(plain[:20]) for two in plain[:number]]
    assert min(apart) > 40
    lake, forest, river, sea, pond = palette(["lake", "Forest", "river", "sea", "pond"])
    assert (lake[2], forest[1]) == (max(lake), max(forest))
    assert river[2] == max(river)
    assert sea[2] == max(sea)
    assert len({lake, forest, river, sea, pond}) == 5  # more waters than blues
    assert palette(["vegetation"]) == palette(["low_vegetation"]) == palette(["LowVegetation"])
    assert palette(["street"]) == palette(["road"]) != palette(["trees"]) == palette(["HerbaceousTrees"])


def test_names(tmp_path: Path) -> None:
    scene = Path("scenes/S2A.SAFE.tif")
    (tmp_path / "there").mkdir()
    for out, expected in (
        (tmp_path / "there", "there/S2A.SAFE.classes.tif"),
        (f"{tmp_path}/new/", "new/S2A.SAFE.classes.tif"),
        (tmp_path / "new" / "map", "new/map.classes.tif"),
        (tmp_path / "map.v2", "map.v2.classes.tif"),
        (tmp_path / "map.tif", "map.classes.tif"),
    ):
        assert name_output(out, scene).class_map == tmp_path / expected
    output = name_output(tmp_path / "map", scene)
    assert output.work == tmp_path / ".map.segment"
    assert {path.name for path in output.files} == {
        f"map.{ending}" for ending in ("classes.tif", "scores.tif", "geojson", "quicklook.png", "json")
    }
