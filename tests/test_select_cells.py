import numpy as np
import pyproj
import pytest
import shapely

from graft.select.cells import cell_of, grid_of

GEOD = pyproj.Geod(ellps="WGS84")


def area_km2(side_km: float, row: int) -> float:
    grid = grid_of(side_km)
    height, width = 180 / len(grid.counts), 360 / grid.counts[row]
    south = -90 + row * height
    box = shapely.segmentize(shapely.box(10, south, 10 + width, south + height), width / 50)
    return abs(GEOD.geometry_area_perimeter(box)[0]) / 1e6


@pytest.mark.parametrize("side_km", [5.0, 50.0])
def test_cells_from_the_equator_to_80_degrees_have_equal_areas(side_km: float) -> None:
    rows = len(grid_of(side_km).counts)
    for latitude in (-80, -55, -20, 0.1, 33, 60, 80):
        assert area_km2(side_km, int((latitude + 90) / 180 * rows)) == pytest.approx(side_km**2, rel=0.01)


def test_cells_are_about_as_wide_as_high_at_60_degrees() -> None:
    grid = grid_of(50)
    row = int(150 / 180 * len(grid.counts))
    width = 360 / grid.counts[row] * np.cos(np.radians(60))
    assert width == pytest.approx(180 / len(grid.counts), rel=0.02)


def test_every_cell_has_a_number_of_its_own() -> None:
    grid = grid_of(500)
    rows = len(grid.counts)
    lat = np.repeat((np.arange(rows) + 0.5) / rows * 180 - 90, grid.counts)
    lon = np.concatenate([(np.arange(count) + 0.5) / count * 360 - 180 for count in grid.counts])
    assert cell_of(lon, lat, 500).tolist() == list(range(grid.cells))


def test_longitudes_that_mean_the_same_are_in_the_same_cell() -> None:
    lat = np.array([10.0, -44.4, 90.0, -90.0])
    assert (cell_of(np.full(4, 180.0), lat, 5) == cell_of(np.full(4, -180.0), lat, 5)).all()
    assert (cell_of(np.full(4, 190.5), lat, 5) == cell_of(np.full(4, -169.5), lat, 5)).all()
