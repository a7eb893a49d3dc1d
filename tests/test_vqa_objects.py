import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import Polygon

from graft.errors import GraftError
from graft.vqa.ground import GroundGrid
from graft.vqa.objects import MOST, find_objects, join_masks, pixels_of
from graft.vqa.shapes import shapes_of
from graft.vqa.values import Mask
from tests.vqa_maps import PLACES, grid_at, lon_lat, mask_of, metres, square_metres, thing_of


@pytest.mark.parametrize("place", PLACES)
def test_areas_are_those_of_geodesic_polygons(place: str) -> None:
    grid = grid_at(place, 300, 400)
    pixels = np.zeros((300, 400), np.bool_)
    pixels[40:90, 100:350] = True
    true = square_metres(grid, (40, 90), (100, 350))

    assert grid.area(pixels) == pytest.approx(true, rel=1e-3)
    assert grid.area(pixels[40:90, 100:350], (40, 100, 90, 350)) == pytest.approx(true, rel=1e-3)
    assert grid.pixel_area == pytest.approx(square_metres(grid, (150, 151), (200, 201)), rel=2e-3)
    assert grid.pixel[0] == pytest.approx(metres(grid, (150, 200), (150, 201)), rel=1e-3)
    assert grid.pixel[1] == pytest.approx(metres(grid, (150, 200), (151, 200)), rel=1e-3)


def test_a_grid_of_these_tests_crosses_the_antimeridian() -> None:
    lon = lon_lat(grid_at("antimeridian", 60, 90), (30, 0), (30, 90))[:, 0]

    assert lon[0] > 179
    assert lon[1] < -179

    easting, northing = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32701", always_xy=True).transform(-180, -17)
    seam = Affine(10, 0, easting - 50, 0, -10, northing + 50)
    grid = GroundGrid.of_canvas(CRS.from_epsg(32701), seam, (10, 10), (10, 10), "metres")
    ends = lon_lat(grid, (5, 4.5), (5, 5.5))[:, 0]
    assert abs(ends[0] - ends[1]) > 359  # a step of the lattice itself
    assert grid.pixel == pytest.approx((metres(grid, (5, 5), (5, 6)), metres(grid, (5, 5), (6, 5))), rel=1e-3)


def test_areas_of_a_tall_raster_in_degrees_follow_the_latitude() -> None:
    grid = GroundGrid.of_canvas(
        CRS.from_epsg(4326), Affine(0.01, 0, 5, 0, -0.01, 65), (1000, 600), (1000, 600), "metres"
    )
    areas = []
    for rows in ((5, 45), (480, 520), (950, 990)):
        pixels = np.zeros((1000, 600), np.bool_)
        pixels[rows[0] : rows[1], 100:200] = True
        areas.append(find_objects(mask_of(pixels), grid, 1).things[0].area)
        assert areas[-1] == pytest.approx(square_metres(grid, rows, (100, 200)), rel=2e-3)
        assert grid.area(pixels) == pytest.approx(areas[-1], rel=1e-5)

    both = np.zeros((1000, 600), np.bool_)
    both[5:45, 100:210] = both[950:990, 100:200] = True
    assert [thing.box[0] for thing in find_objects(mask_of(both), grid, 1).things] == [950, 5]  # by area, not by pixels
    assert areas[2] / areas[0] == pytest.approx(np.cos(np.radians(55.3)) / np.cos(np.radians(64.75)), rel=5e-3)


@pytest.mark.parametrize("place", ["utm", "degrees", "rotated"])
def test_units_of_epsg_3857_are_longer_than_metres(place: str) -> None:
    grid = grid_at(place, 300, 400, "epsg3857")
    pixels = np.zeros((300, 400), np.bool_)
    pixels[100:200, 50:350] = True
    corners = lon_lat(grid, (100, 50), (100, 350), (200, 350), (200, 50))
    project = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    outline = Polygon([project.transform(*corner) for corner in corners])
    inflated = 1 / np.cos(np.radians(corners[:, 1].mean())) ** 2

    assert grid.area(pixels) == pytest.approx(outline.area, rel=2e-3)
    assert grid.area(pixels) / square_metres(grid, (100, 200), (50, 350)) == pytest.approx(inflated, rel=1e-2)


@pytest.mark.parametrize("place", PLACES)
def test_north_is_where_latitude_grows_and_longitude_does_not(place: str) -> None:
    grid = grid_at(place, 300, 400)
    row, column = grid.north
    (lon, lat), (lon_north, lat_north) = lon_lat(grid, (150, 200), (150 + 20 * row, 200 + 20 * column))

    assert np.hypot(row, column) == pytest.approx(1)
    assert lat_north > lat
    assert abs((lon_north - lon + 180) % 360 - 180) < 0.02 * (lat_north - lat)


@pytest.mark.parametrize("place", PLACES)
def test_the_plane_keeps_distances(place: str) -> None:
    grid = grid_at(place, 300, 400)
    for one, other in (((0.0, 0.0), (300.0, 400.0)), ((290.0, 10.0), (3.0, 333.0)), ((150.0, 200.0), (150.0, 210.0))):
        first, second = grid.plane(np.array([one, other]))
        assert np.hypot(*(second - first)) == pytest.approx(metres(grid, one, other), rel=1e-3)


def test_without_georeference_all_is_in_pixels() -> None:
    for grid in (grid_at("nowhere", 30, 40), grid_at("utm", 30, 40, "pixels")):
        assert (grid.units, grid.crs, grid.transform, grid.north) == ("pixels", None, None, None)
        assert (grid.length_unit, grid.area_unit, grid.pixel, grid.pixel_area) == ("px", "px2", (1, 1), 1)
        assert grid.area(np.ones((30, 40), np.bool_)) == 1200
        with pytest.raises(GraftError, match="no georeference"):
            grid.lon_lat(np.array([[0.0, 0.0]]))


def test_a_grid_may_be_coarser_than_its_raster() -> None:
    crs, transform = PLACES["utm"]
    fine = GroundGrid.of_canvas(CRS.from_string(crs), transform, (300, 400), (300, 400), "metres")
    coarse = GroundGrid.of_canvas(CRS.from_string(crs), transform, (300, 400), (150, 100), "metres")

    assert coarse.pixel == pytest.approx((4 * fine.pixel[0], 2 * fine.pixel[1]), rel=1e-6)
    assert coarse.lon_lat(np.array([[150.0, 100.0]])) == pytest.approx(fine.lon_lat(np.array([[300.0, 400.0]])))


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (CRS.from_epsg(32633), Affine(10, 0, 1e12, 0, -10, 1e12)),
        (CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'), Affine(1, 0, 0, 0, -1, 0)),
    ],
)
def test_a_raster_that_lies_nowhere_is_refused_at_once(crs: CRS, transform: Affine) -> None:
    with pytest.raises(GraftError, match=r"coordinate reference system|nowhere on Earth"):
        GroundGrid.of_canvas(crs, transform, (10, 10), (10, 10), "metres")


def test_objects_are_parts_of_four_neighbours_largest_first() -> None:
    pixels = np.zeros((20, 30), np.bool_)
    pixels[2:5, 3:7] = True  # 12
    pixels[5, 7] = True  # touches it at a corner
    pixels[10:18, 10:20] = True  # 80
    pixels[12:14, 12:14] = False  # less a hole
    found = find_objects(mask_of(pixels), grid_at("nowhere", 20, 30), 2)

    assert [thing.area for thing in found.things] == [76, 12]
    assert [thing.box for thing in found.things] == [(10, 10, 18, 20), (2, 3, 5, 7)]
    assert found.things[1].centre == (3.5, 5.0)
    assert found.left_out == {"smaller than 2 px2": 1}
    assert np.array_equal(pixels_of(found.things, (20, 30)), pixels & ~(np.indices((20, 30)) == [[[5]], [[7]]]).all(0))
    assert find_objects(mask_of(np.zeros((5, 5), np.bool_)), grid_at("nowhere", 5, 5), 1).things == ()


def test_the_likeness_of_an_object_is_the_mean_over_its_pixels() -> None:
    likeness = np.full((6, 6), 0.1, np.float16)
    likeness[1:3, 1:3] = [[0.5, 0.75], [1.0, 0.75]]
    mask = Mask("lake", likeness > 0.4, likeness, 0.0)

    assert find_objects(mask, grid_at("nowhere", 6, 6), 1).things[0].likeness == pytest.approx(0.75)


def test_a_mask_of_dust_is_bounded() -> None:
    pixels = np.zeros((210, 210), np.bool_)
    pixels[::2, ::2] = True
    found = find_objects(mask_of(pixels), grid_at("nowhere", 210, 210), 1)

    assert len(found.things) == MOST
    assert found.left_out == {f"beyond {MOST:,} objects": 105 * 105 - MOST}


def test_masks_join() -> None:
    a = Mask("a", np.array([[True, True, False]]), np.array([[0.75, 0.5, 0.25]], np.float16), 0.0)
    b = Mask("b", np.array([[True, False, False]]), np.array([[0.5, 0.25, 0.0]], np.float16), 0.0)
    truth = Mask("c", np.array([[True, False, True]]), None, None)

    for how, pixels, likeness in (
        ("union", [[True, True, False]], [[0.75, 0.5, 0.25]]),
        ("intersection", [[True, False, False]], [[0.5, 0.25, 0.0]]),
        ("difference", [[False, True, False]], [[0.5, 0.5, 0.25]]),
    ):
        found = join_masks(how, a, b)
        assert found[0].tolist() == pixels
        assert found[1].tolist() == likeness
    assert join_masks("union", a, truth)[1] is None


def _drawn(outline: shapely.Geometry, place: str, side: int = 200) -> frozenset[str]:
    """Shapes of an outline (x across, y down) in units of the ground, drawn on a grid of that place."""
    grid = grid_at(place, side, side)
    rows, columns = np.indices((side, side)) + 0.5
    middle = np.array([[side / 2, side / 2]])
    x, y = ((grid.plane(np.stack([rows.ravel(), columns.ravel()], 1)) - grid.plane(middle)) / grid.pixel[0]).T
    pixels = shapely.contains_xy(outline, x, y).reshape(side, side)
    assert pixels.any()
    return shapes_of(find_objects(mask_of(pixels), grid, 1).things[0], grid)


@pytest.mark.parametrize("place", ["nowhere", "utm", "degrees", "rotated", "south up"])
@pytest.mark.parametrize("turn", [0, 17, 45])
def test_shapes_of_drawn_outlines(place: str, turn: int) -> None:
    def turned(shape: shapely.Geometry) -> shapely.Geometry:
        return shapely.affinity.rotate(shape, turn, origin=(0, 0))

    disk = shapely.Point(0, 0).buffer(30, quad_segs=32)
    square, oblong = shapely.box(-25, -25, 25, 25), shapely.box(-40, -15, 40, 15)
    corner = oblong.union(shapely.box(-40, -15, -10, 60))
    triangle = Polygon([(-40, -30), (40, -30), (0, 40)])

    assert _drawn(turned(square), place) == {"square", "rectangular"}
    assert _drawn(turned(oblong), place) == {"rectangular"}
    assert _drawn(turned(disk), place) == {"circular"}
    assert _drawn(turned(disk.difference(shapely.Point(3, 0).buffer(20))), place) == {"circular"}
    assert _drawn(turned(square.difference(shapely.box(-15, -15, 15, 15))), place) == {"square", "rectangular"}
    assert _drawn(turned(corner), place) == frozenset()
    assert _drawn(turned(triangle), place) == frozenset()
    assert _drawn(turned(shapely.affinity.scale(disk, 1.4, 0.7)), place) == frozenset()


@pytest.mark.parametrize("side", [12, 20])
@pytest.mark.parametrize("turn", [0, 30, 45])
def test_shapes_of_the_smallest_things_that_count(side: int, turn: int) -> None:
    square = shapely.affinity.rotate(shapely.box(-side / 2, -side / 2, side / 2, side / 2), turn)

    assert _drawn(square, "nowhere", 60) == {"square", "rectangular"}
    assert _drawn(shapely.Point(0.3, 0.2).buffer(side / 2), "nowhere", 60) == {"circular"}


def test_single_pixels_and_lines_have_shapes_too() -> None:
    grid = grid_at("nowhere", 10, 30)

    assert shapes_of(thing_of(np.ones((1, 1), np.bool_), (3, 3, 4, 4)), grid) >= {"square", "rectangular"}
    assert shapes_of(thing_of(np.ones((1, 20), np.bool_), (3, 3, 4, 23)), grid) == {"rectangular"}
