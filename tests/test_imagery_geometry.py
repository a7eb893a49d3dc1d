import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine

from graft.imagery.geometry import grid_rings, rings_shape, tile_grid, to_lonlat, to_pixel
from graft.imagery.image import Image, make_slug
from tests.stac_inputs import plain_image

ZONES = [
    pytest.param(33, True, 500_000.0, 5_000_000.0, id="northern"),
    pytest.param(19, False, 550_335.0, 3_997_355.0, id="southern"),
    pytest.param(32, True, 166_100.0, 100_000.0, id="western edge of a zone at the equator"),
    pytest.param(31, True, 833_000.0, 60_000.0, id="eastern edge"),
    pytest.param(60, False, 780_000.0, 8_000_000.0, id="up to the antimeridian"),
    pytest.param(1, True, 199_980.0, 7_400_040.0, id="from the antimeridian, far north"),
]


def utm(lon: np.ndarray, lat: np.ndarray, zone: int, north: bool) -> tuple[np.ndarray, np.ndarray]:
    """Krüger's series on WGS 84, to the fourth order: below a millimetre within a zone."""
    a, f, scale = 6_378_137.0, 1 / 298.257223563, 0.9996
    n = f / (2 - f)
    radius = a / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    alpha = (
        n / 2 - 2 * n**2 / 3 + 5 * n**3 / 16 + 41 * n**4 / 180,
        13 * n**2 / 48 - 3 * n**3 / 5 + 557 * n**4 / 1440,
        61 * n**3 / 240 - 103 * n**4 / 140,
        49561 * n**4 / 161280,
    )
    phi = np.radians(lat)
    away = np.radians((lon - (6 * zone - 183) + 180) % 360 - 180)
    root = 2 * math.sqrt(n) / (1 + n)
    t = np.sinh(np.arctanh(np.sin(phi)) - root * np.arctanh(root * np.sin(phi)))
    xi, eta = np.arctan2(t, np.cos(away)), np.arctanh(np.sin(away) / np.sqrt(1 + t**2))
    east, up = eta.copy(), xi.copy()
    for order, weight in enumerate(alpha, start=1):
        east += weight * np.cos(2 * order * xi) * np.sinh(2 * order * eta)
        up += weight * np.sin(2 * order * xi) * np.cosh(2 * order * eta)
    return 500_000 + scale * radius * east, (0 if north else 10_000_000) + scale * radius * up


def test_the_formula_of_these_tests_knows_the_cn_tower() -> None:
    east, north = utm(np.array([-79.387139]), np.array([43.642567]), 17, north=True)
    assert (round(float(east[0])), round(float(north[0]))) == (630084, 4833439)


@pytest.mark.parametrize(("zone", "north", "west", "top"), ZONES)
@pytest.mark.parametrize("gsd", [1.0, 10.0])
def test_pixels_of_known_points(zone: int, north: bool, west: float, top: float, gsd: float) -> None:
    image = plain_image(f"EPSG:{(32600 if north else 32700) + zone}", (gsd, 0, west, 0, -gsd, top), 1000, 1000)
    x, y = np.random.default_rng(0).uniform(0, 1000, (2, 500))
    lon, lat = to_lonlat(image, x, y)
    assert np.abs(lon).max() <= 180
    east, up = utm(lon, lat, zone, north)
    again = to_pixel(image, lon, lat)
    assert np.abs(again[0] - (east - west) / gsd).max() < 0.01
    assert np.abs(again[1] - (top - up) / gsd).max() < 0.01
    assert np.abs(np.stack(again) - np.stack([x, y])).max() < 0.01


def test_both_sides_of_the_antimeridian() -> None:
    lat = np.full(2, -17.0)
    lon = np.array([179.999, -179.999])
    image = plain_image("EPSG:32760", (10.0, 0, 815_000.0, 0, -10.0, 8_125_000.0), 1098, 1098)
    (x, y), (east, north) = to_pixel(image, lon, lat), utm(lon, lat, 60, north=False)
    assert np.abs(x - (east - 815_000) / 10).max() < 0.01
    assert np.abs(y - (8_125_000 - north) / 10).max() < 0.01
    assert x[1] - x[0] == pytest.approx(21.3, abs=0.1)


def test_degrees_count_on_past_the_antimeridian() -> None:
    image = plain_image("EPSG:4326", (1e-4, 0, 179.95, 0, -1e-4, 10.0), 1000, 1000)
    x, y = to_pixel(image, [179.96, -179.96], [9.99, 9.99])
    assert x == pytest.approx([100, 900], abs=1e-6)
    assert y == pytest.approx([100, 100], abs=1e-6)
    assert to_lonlat(image, 900, 100)[0] == pytest.approx(-179.96)


def test_a_place_that_the_crs_does_not_know() -> None:
    image = plain_image("EPSG:32633", (10.0, 0, 500_000.0, 0, -10.0, 5_000_000.0), 10, 10)
    x, _ = to_pixel(image, [15.0, -75.0], [45.0, 0.0])
    assert np.isfinite(x).tolist() == [True, False]


@pytest.mark.parametrize(
    ("native", "size", "ground", "gsd", "expected"),
    [
        (10.0, 100, 10.004, 10.0, (10.0, 100)),
        (10.8, 100, 10.8, 10.0, (10.8, 100)),
        (0.6, 1000, 0.60024, 1.0, (1.0, 600)),
        (0.3, 1001, 0.29988, 1.0, (1.0, 300)),
        (10.0, 64, 5.0148, 10.0, (100 / 5.0148, 32)),
    ],
)
def test_tile_grids(native: float, size: int, ground: float, gsd: float, expected: tuple[float, int]) -> None:
    grid, width, height = tile_grid(Affine(native, 0, 7, 0, -native, 9), size, size, (ground, ground), gsd)
    assert (grid.a, -grid.e) == pytest.approx((expected[0], expected[0]), abs=1e-9)
    assert (grid.c, grid.f, width, height) == (7, 9, expected[1], expected[1])


def test_footprint_is_split_at_the_antimeridian() -> None:
    rings = grid_rings("EPSG:32760", Affine(10, 0, 780_000, 0, -10, 8_125_000), 10980, 10980)
    shape = rings_shape(rings)
    assert len(rings) == 2
    assert max(abs(lon) for ring in rings for lon, _ in ring) == 180
    assert shape.area < 2
    assert shape.covers(shapely.points([179.9, -179.9], [-17.2, -17.2])).all()
    assert not shape.covers(shapely.Point(0, -17.2))


def test_footprint_around_a_pole() -> None:
    rings = grid_rings("EPSG:3031", Affine(1000, 0, -500_000, 0, -1000, 500_000), 1000, 1000)
    assert rings_shape(rings).covers(shapely.points([0, 100, -170], [-89, -88, -89.9])).all()


def test_an_image_survives_json() -> None:
    image = plain_image("EPSG:32760", (10.0, 0, 780_000.0, 0, -10.0, 8_125_000.0), 10980, 10980)
    image = replace(image, item="Zürich 北京", cloud=3.5, scl="https://host/scl.tif")
    line = image.to_json()
    assert "\n" not in line
    assert Image.from_json(line) == image


def test_slugs_fit_a_tar_header() -> None:
    used: set[str] = set()
    names = [make_slug("S2B_MSIL2A_20220130T105219_R051_T31UFU_20220131T" + "0" * 60, used) for _ in range(2)]
    assert names[0] != names[1]
    assert len(f"{names[1]}-r00000-c00000.ground00.jpg") <= 100
