import numpy as np
import pytest
from scipy.spatial import cKDTree

from graft.errors import GraftError
from graft.select.cells import EARTH_RADIUS_M
from graft.select.settings import Splits
from graft.select.splits import split_of

SPLITS = Splits({"train": 0.6, "val": 0.3, "test": 0.1}, cell_km=20)
BUFFER = 3168.0


def on_sphere(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    east, north = np.radians(lon), np.radians(lat)
    return EARTH_RADIUS_M * np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], 1)


@pytest.mark.parametrize(("west", "south"), [(10.0, 46.0), (179.2, -17.0), (20.0, 69.0), (-0.5, -0.5)])
def test_photos_of_two_splits_are_two_buffers_apart(west: float, south: float) -> None:
    rng = np.random.default_rng(0)
    lon = (west + rng.uniform(0, 2 / np.cos(np.radians(south)), 20_000) + 180) % 360 - 180
    lat = south + rng.uniform(0, 2, 20_000)
    split = split_of(lon, lat, SPLITS, seed=1, buffer_m=BUFFER)
    places = on_sphere(lon, lat)
    train, val = cKDTree(places[split == "train"]), cKDTree(places[split == "val"])
    assert train.n > 3000
    assert val.n > 1000
    nearest = val.query(places[split == "train"])[0].min()
    assert 2 * BUFFER * 0.999 <= nearest < 3.5 * BUFFER
    # At most what a strip along every border of every cell takes.
    assert (split == "").mean() < 1 - (1 - 2 * BUFFER / 20_000) ** 2 + 0.03


def test_shares_are_shares_of_the_ground() -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-180, 180, 100_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 100_000)))
    split = split_of(lon, lat, Splits(SPLITS.shares, cell_km=200), seed=0, buffer_m=0)
    found = {name: float((split == name).mean()) for name in SPLITS.shares}
    assert found == pytest.approx(SPLITS.shares, abs=0.02)
    other = split_of(lon, lat, Splits(SPLITS.shares, cell_km=200), seed=1, buffer_m=0)
    assert 0.3 < (split == other).mean() < 0.7


def test_one_split_takes_everything() -> None:
    lon, lat = np.linspace(-180, 180, 100), np.linspace(-90, 90, 100)
    assert (split_of(lon, lat, Splits(), seed=0, buffer_m=1e9) == "train").all()


def test_a_buffer_as_large_as_a_cell_is_refused() -> None:
    with pytest.raises(GraftError, match=r"cell_km is 20, and 11 km .* expected cells of 22 km or more"):
        split_of(np.zeros(1), np.zeros(1), SPLITS, seed=0, buffer_m=11_000)


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "val": -0.5}, {"../x": 1.0}])
def test_shares_that_make_no_sense_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(GraftError, match=r"splits\.shares"):
        Splits(shares)
