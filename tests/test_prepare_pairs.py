import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyproj
import pytest
from affine import Affine

from graft.prepare.pairs import Pairs, pair_photos
from graft.prepare.scenes import Scene
from tests.prepare_inputs import NORTH, UTM, WEST, lonlat


def scene(width: int = 64, height: int = 64, transform: Affine | None = None, crs: str = UTM) -> Scene:
    return Scene(
        path=Path("unread.tif"),
        slug="s",
        crs=crs,
        transform=transform or Affine(10, 0, WEST, 0, -10, NORTH),
        width=width,
        height=height,
        bands=(1, 2, 3),
        gsd_m=10.0,
        datetime=None,
        item="s",
    )


def table(places: list[tuple[float, float]]) -> pd.DataFrame:
    lon, lat = np.array([lonlat(column, row) for column, row in places]).T
    return pd.DataFrame({"photo_id": [f"p{number}" for number in range(len(places))], "lon": lon, "lat": lat})


def pair(scenes: list[Scene], photos: pd.DataFrame, **changes: int) -> Pairs:
    settings = {"tile_size": 16, "stride": 16, "max_photos": 25, "seed": 0} | changes
    return pair_photos(scenes, photos, **settings)


def as_set(pairs: Pairs) -> set[tuple[int, int, int, int]]:
    tile = np.repeat(np.arange(len(pairs.scene)), np.diff(pairs.start))
    return set(zip(pairs.scene[tile], pairs.row[tile], pairs.column[tile], pairs.photo, strict=True))


def test_position_to_a_thousandth_of_a_pixel() -> None:
    pairs = pair([scene()], table([(20.123, 37.456)]))
    assert (pairs.column.tolist(), pairs.row.tolist()) == ([16], [32])
    assert pairs.x[0] == pytest.approx(4.123, abs=1e-3)
    assert pairs.y[0] == pytest.approx(5.456, abs=1e-3)
    assert pairs.tiles_in_grid == 16


def test_rotated_scene() -> None:
    turned = Affine(8, -6, WEST, -6, -8, NORTH)
    east, north = WEST + 8 * 9.5 - 6 * 3.25, NORTH - 6 * 9.5 - 8 * 3.25
    lon, lat = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(east, north)
    pairs = pair([scene(transform=turned)], pd.DataFrame({"photo_id": ["a"], "lon": [lon], "lat": [lat]}))
    assert [pairs.x[0], pairs.y[0]] == pytest.approx([9.5, 3.25], abs=1e-3)


@pytest.mark.parametrize("stride", [5, 8, 16, 20])
def test_every_tile_that_contains_the_photo(stride: int) -> None:
    places = [tuple(place) for place in np.random.default_rng(0).uniform(-5, 70, (300, 2))]
    pairs = pair([scene(62, 50)], table(places), stride=stride, max_photos=10_000)
    expected = {
        (0, row, column, number)
        for number, (x, y) in enumerate(places)
        for column in range(0, 62 - 16 + 1, stride)
        for row in range(0, 50 - 16 + 1, stride)
        if column <= x < column + 16 and row <= y < row + 16
    }
    assert as_set(pairs) == expected
    assert ((pairs.x >= 0) & (pairs.x < 16) & (pairs.y >= 0) & (pairs.y < 16)).all()


def test_rounding_stays_inside_the_tile() -> None:
    pairs = pair([scene()], table([(15.99999, 3.0)]))
    assert pairs.column.tolist() == [0]
    assert 15.999 < pairs.x[0] < 16


def test_max_photos_is_a_choice_by_seed_and_not_by_order() -> None:
    photos = table([(x, 5.0) for x in np.linspace(0.5, 15.5, 40)])

    def chosen(frame: pd.DataFrame, seed: int) -> list[str]:
        names: list[str] = frame["photo_id"].tolist()
        return [names[number] for number in pair([scene()], frame, max_photos=7, seed=seed).photo]

    assert len(chosen(photos, 0)) == 7
    assert chosen(photos.iloc[::-1].reset_index(drop=True), 0) == chosen(photos, 0)
    assert chosen(photos, 1) != chosen(photos, 0)


def test_scenes_of_two_zones_and_one_too_small() -> None:
    other = scene(crs="EPSG:32634", transform=Affine(10, 0, 26_000, 0, -10, 5_016_000))
    pairs = pair([scene(), scene(8, 8), other], table([(1, 1), (9, 9)]))
    assert set(pairs.scene.tolist()) == {0}
    assert pairs.tiles_in_grid == 32
    assert pairs.photos_inside == 2


@pytest.mark.filterwarnings("error")
def test_photos_of_the_whole_earth() -> None:
    places = np.random.default_rng(0).uniform((-180, -90), (180, 90), (20_000, 2))
    places = np.concatenate([places, [(-165, 45), (15, 90), (195 - 360, -45)]])
    photos = pd.DataFrame({"photo_id": [str(n) for n in range(len(places))], "lon": places[:, 0], "lat": places[:, 1]})
    assert len(pair([scene()], photos).photo) == 0


def test_no_pair_is_no_error() -> None:
    pairs = pair([scene()], table([(1000, 1000)]))
    assert len(pairs.scene) == len(pairs.photo) == 0
    assert pairs.start.tolist() == [0]


def test_thirty_thousand_photos_in_ten_thousand_tiles() -> None:
    places = np.random.default_rng(0).uniform(0, 1600, (30_000, 2))
    lon, lat = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(
        WEST + places[:, 0] * 10, NORTH - places[:, 1] * 10
    )
    photos = pd.DataFrame({"photo_id": [str(number) for number in range(30_000)], "lon": lon, "lat": lat})
    begin = time.perf_counter()
    pairs = pair([scene(1600, 1600)], photos)
    assert time.perf_counter() - begin < 5
    assert pairs.tiles_in_grid == 10_000
    assert len(pairs.photo) == 30_000
