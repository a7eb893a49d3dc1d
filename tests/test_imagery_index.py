import shapely

from graft.imagery.geometry import split_rings, to_lonlat
from graft.imagery.image import Image
from graft.imagery.index import ImageIndex, seconds
from tests.stac_inputs import plain_image

WEST, TOP = 500_000.0, 5_000_000.0


def image(
    slug: str, when: str | None = None, cloud: float | None = None, *, west: float = WEST, zone: int = 33
) -> Image:
    grid = (10.0, 0.0, west, 0.0, -10.0, TOP)
    return plain_image("EPSG:32633", grid, 400, 400, slug=slug, when=when, cloud=cloud)


def slugs(images: list[Image], x: float, y: float, when: str | None = None) -> list[str]:
    lon, lat = (float(value) for value in to_lonlat(image("a"), x, y))
    return [found.slug for found in ImageIndex(images).candidates(lon, lat, when)]


def test_only_images_that_hold_the_place() -> None:
    images = [image("here"), image("east", west=WEST + 3000), image("far", west=WEST + 30_000)]
    assert slugs(images, 100, 100) == ["here"]
    assert slugs(images, 350, 100) == ["east", "here"]


def test_the_nearest_in_time_then_the_clearer_then_the_name() -> None:
    images = [
        image("d", "2020-06-01T10:00:00Z", 5),
        image("c", "2020-06-01T10:00:00Z", 5),
        image("b", "2020-06-01T12:00:00+02:00", 1),
        image("a", "2019-01-01"),
        image("e"),
    ]
    assert slugs(images, 100, 100, "2020-05-30") == ["b", "c", "d", "a", "e"]
    assert slugs(images, 100, 100, "2019-02-01") == ["a", "b", "c", "d", "e"]
    assert slugs(images, 100, 100, "no time") == slugs(images, 100, 100) == ["b", "c", "d", "a", "e"]
    assert slugs(images[::-1], 100, 100, "2020-05-30") == ["b", "c", "d", "a", "e"]


def test_a_footprint_covers_a_window_or_ends_in_it() -> None:
    swath = split_rings(shapely.box(15.0, 45.0, 15.02, 45.2))
    whole = image("a")
    cut = plain_image(whole.crs, whole.transform, 400, 400, slug="b", footprint=swath)
    index = ImageIndex([whole, cut])
    assert index.covers(whole, 0, 0, 400)
    assert index.covers(cut, 50, 50, 64)
    assert not index.covers(cut, 120, 50, 64), "the swath ends 1.57 km east"


def test_places_on_both_sides_of_the_antimeridian() -> None:
    found = ImageIndex([plain_image("EPSG:32760", (10.0, 0, 815_000.0, 0, -10.0, 8_125_000.0), 1098, 1098)])
    for lon in (179.999, -179.999):
        assert len(found.candidates(lon, -17.0, None)) == 1
    assert not found.candidates(0.0, -17.0, None)


def test_times() -> None:
    assert seconds("2020-01-01") == seconds("2020-01-01T00:00:00Z") == 1577836800
    assert seconds("") is seconds(None) is seconds("2020:01:01") is None
