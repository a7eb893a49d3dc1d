import itertools
import math
from dataclasses import replace

import numpy as np
import pyproj
import pytest
from affine import Affine

from graft.imagery.geometry import grid_rings, to_lonlat, to_pixel
from graft.imagery.image import Image
from graft.prepare.place import Placer, Window, corner
from graft.prepare.settings import TileSettings


def image(
    slug: str,
    *,
    crs: str = "EPSG:32633",
    west: float = 500_000,
    north: float = 5_000_000,
    size: int = 640,
    gsd: float = 10.0,
    taken: str | None = None,
    cloud: float | None = None,
) -> Image:
    file = f"{slug}.tif"
    return Image(
        slug=slug,
        bands=((file, 1), (file, 2), (file, 3)),
        scl=None,
        crs=crs,
        transform=(gsd, 0.0, west, 0.0, -gsd, north),
        width=size,
        height=size,
        gsd_m=gsd,
        datetime=taken,
        item=slug,
        cloud=cloud,
        offset=0.0,
        radiometry_note="as made",
        footprint=grid_rings(crs, Affine(gsd, 0, west, 0, -gsd, north), size, size),
    )


def place(images: list[Image], pixels: list[tuple[int, float, float]], **tiles: float) -> list[Window]:
    """Windows round photos at (number of the image, x, y)."""
    settings = TileSettings(**{"size": 64, **tiles})  # type: ignore[arg-type]
    placer = Placer(images, settings, max_candidates=3)
    found = []
    for number, x, y in pixels:
        lon, lat = (float(value) for value in to_lonlat(images[number], x, y))
        windows = placer.windows(lon, lat, "2020-06-01")
        assert windows is not None
        found += windows
    return found


def corners(windows: list[Window], images: list[Image]) -> list[tuple[int, int]]:
    return [corner(images[window.images[0]], window.column, window.row) for window in windows]


def test_touching_tiles_cover_every_photo_and_none_overlaps() -> None:
    scene = [image("a")]
    rng = np.random.default_rng(0)
    photos = [(0, float(x), float(y)) for x, y in rng.uniform(0, 640, (400, 2))]
    found = corners(place(scene, photos), scene)
    assert all(max(abs(a[0] - b[0]), abs(a[1] - b[1])) >= 63 for a, b in itertools.combinations(found, 2))
    held = [any(0 <= x - c < 64 and 0 <= y - r < 64 for c, r in found) for _, x, y in photos]
    assert np.mean(held) > 0.9, "only photos in the strip at the border, where a tile had to move inwards, may be left"


def test_a_photo_belongs_to_overlapping_tiles_on_a_finer_grid() -> None:
    scene = [image("a")]
    assert len(place(scene, [(0, 300.0, 300.0)], spacing=0.5)) == 4
    assert len(place(scene, [(0, 300.0, 300.0)], spacing=1.0)) == 1


def test_wider_spacing_spreads_tiles_out() -> None:
    scene = [image("a")]
    photos = [(0, float(x), float(y)) for x in range(5, 640, 40) for y in range(5, 640, 40)]
    found = corners(place(scene, photos, spacing=2.5), scene)
    assert len(found) > 5
    assert min(max(abs(a[0] - b[0]), abs(a[1] - b[1])) for a, b in itertools.combinations(found, 2)) >= 159


def test_an_image_hardly_larger_than_a_tile_still_gives_one() -> None:
    small = [image("a", size=70, west=500_137.0)]
    (window,) = place(small, [(0, 1.0, 69.0)])
    left, top = corner(small[0], window.column, window.row)
    assert (0 <= left <= 6, 0 <= top <= 6) == (True, True)
    assert place([image("b", size=60)], [(0, 30.0, 30.0)]) == []


def test_two_images_of_one_place_give_one_tile_and_the_nearer_in_time_comes_first() -> None:
    pair = [image("far", taken="2017-01-01"), image("near", taken="2020-05-30", west=500_320.0)]
    (window,) = place(pair, [(1, 200.0, 200.0)])
    assert window.images == (1, 0)
    assert corner(pair[0], window.column, window.row)[0] == corner(pair[1], window.column, window.row)[0] + 32


def test_an_image_whose_data_cover_the_tile_comes_before_nearer_ones() -> None:
    ended = [
        replace(image(f"half{n}", taken="2020-06-01"), footprint=((*west_half(), west_half()[0]),)) for n in range(3)
    ]
    scenes = [*ended, image("whole", taken="2018-01-01")]
    (window,) = place(scenes, [(3, 310.0, 300.0)])
    assert [scenes[number].slug for number in window.images] == ["whole", "half0", "half1"]


def west_half() -> list[tuple[float, float]]:
    """Ground of the default image as far as column 315, within the tile of columns 256 to 320."""
    lon, lat = to_lonlat(image("a"), [0, 315, 315, 0], [0, 0, 640, 640])
    return list(zip(lon.tolist(), lat.tolist(), strict=True))


def test_neighbouring_zones_do_not_overlap() -> None:
    border = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32634", always_xy=True)
    east, north = border.transform(18.0, 45.0)
    mate = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True).transform(18.0, 45.0)
    images = [
        image("z33", crs="EPSG:32633", west=round(mate[0]) - 6000, north=round(mate[1]) + 3000),
        image("z34", crs="EPSG:32634", west=round(east) - 400, north=round(north) + 3000),
    ]
    rng = np.random.default_rng(1)
    photos = [
        (int(k), float(x), float(y))
        for k, (x, y) in zip(rng.integers(0, 2, 300), rng.uniform(0, 640, (300, 2)), strict=True)
    ]
    windows = place(images, photos)
    assert {window.images[0] for window in windows} == {0, 1}
    geod = pyproj.Geod(ellps="WGS84")
    for a, b in itertools.combinations(windows, 2):
        if a.lattice != b.lattice:
            assert geod.inv(a.lon, a.lat, b.lon, b.lat)[2] >= 63 * 10 * math.sqrt(2)


@pytest.mark.parametrize("crs", ["EPSG:32601", "EPSG:32660", "EPSG:32760", "EPSG:3832"])
def test_the_antimeridian_is_no_border(crs: str) -> None:
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    east, north = to_metres.transform(180.0, -17.0)
    if not math.isfinite(east):
        pytest.skip("out of the projection's reach")
    scene = [image("a", crs=crs, west=round(east) - 3200, north=round(north) + 3200)]
    windows = place(scene, [(0, 319.0, 330.0), (0, 321.0, 330.0), (0, 380.0, 330.0)])
    for window in windows:
        x, y = to_pixel(scene[0], window.lon, window.lat)
        left, top = corner(scene[0], window.column, window.row)
        assert (float(x), float(y)) == pytest.approx((left + 32, top + 32), abs=0.51)
    assert len(windows) == 2
