"""The page opens without a network, is safe to open, can be read by everyone, and its maps are right."""

import base64
import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyproj
import pytest
import shapely
from affine import Affine
from PIL import Image

from graft.index.footprint import place_of
from graft.index.table import Index
from graft.search import page as page_module
from graft.search.hits import Hit, SearchResult
from graft.search.maps import covered_area, draw_maps
from graft.search.outline import _land, degrees, frame_around, graticule, land_path, path, scale_bar
from graft.search.page import write_page
from graft.search.query import Query, Wish
from tests.page_inputs import CARD, RED, index_of, photo_query, write_scene
from tests.search_inputs import plant, tile, unit
from tests.test_search_thumbnails import hits_of


def result_of(index: Index, hits: Sequence[Hit], query: Query = RED, **changes: object) -> SearchResult:
    found = SearchResult(tuple(hits), query, CARD, "/indexes/mine", 1000, 900, {}, (), "Something was found.")
    return replace(found, **changes)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("page")
    scenes = [write_scene(folder / f"{grid}.tif", grid) for grid in ("north-up", "antimeridian")]
    return index_of(folder / "index", scenes)


def hits_in(index: Index, number: int = 6) -> list[Hit]:
    rows = hits_of(index)
    step = len(rows) // number
    shapes = {row["id"]: row["geometry"] for row in index.take(index.row_ids("true"), ["id", "geometry"]).to_pylist()}
    return [
        replace(
            hit, rank=rank, score=0.9 - rank / 100, likeness=0.9 - rank / 8, geometry=shapely.from_wkb(shapes[hit.id])
        )
        for rank, hit in enumerate(rows[::step][:number], 1)
    ]


class Page(HTMLParser):
    """What a page holds: tags with their attributes, and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.source = file.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


def page_of(result: SearchResult, index: Index, out: Path) -> Page:
    write_page(result, index, out)
    return Page(out)


# --- the page -------------------------------------------------------------------------------------


def test_it_loads_nothing_and_runs_nothing(planted: Index, tmp_path: Path) -> None:
    page = page_of(result_of(planted, hits_in(planted)), planted, tmp_path / "hits.html")
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    addresses = [attrs[name] for _, attrs in page.tags for name in ("src", "href", "data", "srcset") if name in attrs]
    assert len(addresses) >= 12
    assert all(address.startswith(("data:image/", "#hit-")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", page.source)


def test_pictures_decode_and_have_words_and_pins_lead_to_hits(planted: Index, tmp_path: Path) -> None:
    hits = hits_in(planted)
    page = page_of(result_of(planted, hits), planted, tmp_path / "hits.html")
    assert [tag for tag, _ in page.tags if tag == "h1"] == ["h1"]
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    pictures = page.all("img")
    assert len(pictures) == 6
    assert len({picture["alt"] for picture in pictures}) == 6
    for picture, hit in zip(pictures, hits, strict=True):
        assert degrees(hit.lat or 0, "NS") in picture["alt"]
        content = base64.b64decode(picture["src"].partition(",")[2])
        assert Image.open(io.BytesIO(content)).size == (224, 224)
    assert all(svg["aria-label"] for svg in page.all("svg"))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = {link["href"] for link in page.all("a")}
    assert links == {f"#{name}" for name in ids} == {f"#hit-{rank}" for rank in range(1, 7)}


def test_the_first_hits_are_shown_and_it_is_told_of_how_many(
    planted: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_SHOWN", 4)
    page = page_of(result_of(planted, hits_in(planted)), planted, tmp_path / "hits.html")
    assert len(page.all("img")) == 4
    assert "4 of 6 hits shown, a GeoJSON or CSV has all" in " ".join(page.text.split())


def test_query_filters_verdict_and_counts_stand_in_it(planted: Index, tmp_path: Path) -> None:
    result = result_of(
        planted,
        hits_in(planted),
        conditions=("from 2024-01-01", "within Rätikon.geojson"),
        left_out={"overlapping a better hit": 1234},
        verdict="Nothing like this here.",
    )
    text = " ".join(page_of(result, planted, tmp_path / "hits.html").text.split())
    for said in (
        '"red roofs"',
        "from 2024-01-01",
        "within Rätikon.geojson",
        "Nothing like this here.",
        "900 of 1,000 tiles searched",
        "1,234 tiles: overlapping a better hit",
        "cosine 0.890",
        "0.78",
        "north-up.tif",
        "/indexes/mine",
        "colours.ckpt",
    ):
        assert said in text, said


def test_what_is_like_the_query_is_marked(planted: Index, tmp_path: Path) -> None:
    page = page_of(result_of(planted, hits_in(planted)), planted, tmp_path / "hits.html")
    ranks = [attrs["class"] for tag, attrs in page.tags if tag == "span" and attrs.get("class", "").startswith("rank")]
    assert ranks == ["rank like"] * 3 + ["rank"] * 3
    assert "verdict ok" in page.source
    unlike = [replace(hit, likeness=0.4) for hit in hits_in(planted)]
    assert "verdict ok" not in page_of(result_of(planted, unlike), planted, tmp_path / "none.html").source
    unjudged = [replace(hit, likeness=None) for hit in hits_in(planted)]
    page = page_of(result_of(planted, unjudged), planted, tmp_path / "unjudged.html")
    assert "Likeness" not in page.text
    assert 'class="track' not in page.source


def test_names_and_words_cannot_become_markup(planted: Index, tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    hits = [replace(hit, path=f"/data/{evil}.tif", item="<b>") for hit in hits_in(planted)]
    query = replace(RED, wishes=(Wish("words", evil, 1.0),))
    page = page_of(result_of(planted, hits, query, verdict=evil, conditions=(evil,)), planted, tmp_path / "hits.html")
    assert not {"script", "b"} & {tag for tag, attrs in page.tags if not (tag == "b" and not attrs)}
    assert page.text.count('alert("x")') >= 9


def test_the_photo_searched_with_is_shown_upright(planted: Index, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, stored on its side
    Image.new("RGB", (60, 40), (200, 30, 30)).save(photo, exif=exif)
    page = page_of(result_of(planted, hits_in(planted), photo_query(photo)), planted, tmp_path / "hits.html")
    first = page.all("img")[0]
    assert "photo.jpg" in first["alt"]
    assert Image.open(io.BytesIO(base64.b64decode(first["src"].partition(",")[2]))).size == (40, 60)
    photo.unlink()
    page = page_of(result_of(planted, hits_in(planted), photo_query(photo)), planted, tmp_path / "hits.html")
    assert "photo.jpg, which is not readable any more" in page.text


def test_pictures_that_cannot_be_read_are_told(planted: Index, tmp_path: Path) -> None:
    hits = hits_in(planted)
    hits[1] = replace(hits[1], path=str(tmp_path / "gone.tif"))
    page = page_of(result_of(planted, hits), planted, tmp_path / "hits.html")
    assert len(page.all("img")) == 5
    assert page.text.count("no picture") == 1
    assert re.search(r"Pictures: 1 file gone, changed or damaged \(.*gone\.tif", page.text)


def test_tiles_without_a_place_are_on_no_map(planted: Index, tmp_path: Path) -> None:
    nowhere = [replace(hit, lon=None, lat=None, geometry=None) for hit in hits_in(planted)]
    page = page_of(result_of(planted, nowhere), planted, tmp_path / "hits.html")
    assert page.all("svg") == []
    assert "There is no map" in page.text
    some = page_of(result_of(planted, [*hits_in(planted)[:2], *nowhere[2:]]), planted, tmp_path / "some.html")
    assert "4 of the hits have no place" in some.text


def test_the_same_result_is_the_same_page(planted: Index, tmp_path: Path) -> None:
    result = result_of(planted, hits_in(planted))
    pages = [page_of(result, planted, tmp_path / f"{name}.html").source for name in "ab"]
    assert pages[0] == pages[1]
    assert list(tmp_path.glob(".*")) == []


# --- its maps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lon", "lat", "land"),
    [
        (2.35, 48.85, True),
        (151, -33, True),
        (-60, -10, True),
        (178, 67, True),
        (-173, 66, True),
        (0, -85, True),
        (-30, 40, False),
        (51, 41, False),
        (-150, 0, False),
        (0, 80, False),
    ],
)
def test_land_is_where_it_is(lon: float, lat: float, land: bool) -> None:
    assert _land().contains(shapely.Point(lon, lat)) is land


def points(drawn: str) -> np.ndarray:
    return np.array([pair.split() for pair in re.findall(r"[-\d.]+ [-\d.]+", drawn)], float)


def test_paths_lie_where_positions_do_and_stay_in_the_frame() -> None:
    frame = frame_around((5, 45, 9, 48), (520, 330), 1)
    drawn = points(path(shapely.box(6, 46, 7, 47), frame))
    assert drawn.min(axis=0) == pytest.approx(frame.place(6, 47), abs=0.06)
    assert drawn.max(axis=0) == pytest.approx(frame.place(7, 46), abs=0.06)
    coast = points(land_path(frame))
    assert coast.min() >= -0.1
    assert (coast.max(axis=0) <= (520.1, 330.1)).all()
    assert land_path(frame_around((5, 45, 5.1, 45.1), (520, 330), 0.1)) == "", "coarse outlines on a close map mislead"


@pytest.mark.parametrize("lat", [0.0, 47.0, -78.0])
def test_the_scale_bar_is_as_long_as_it_says(lat: float) -> None:
    frame = frame_around((10, lat - 0.1, 10.4, lat + 0.1), (520, 330), 0.1)
    pixels, text = scale_bar(frame)
    number, unit_name = text.split()
    said = float(number) * (1000 if unit_name == "km" else 1)
    east = 10.2 + pixels / frame.scale / frame.stretch
    _, _, metres = pyproj.Geod(ellps="sphere").inv(10.2, lat, east, lat)
    assert metres == pytest.approx(said, rel=0.01)
    assert 40 < pixels <= 130


def test_lines_of_the_graticule_lie_at_the_degrees_they_name() -> None:
    frame = frame_around((170, -20, 190, -10), (520, 330), 1)
    meridians, parallels = graticule(frame)
    assert [line.text for line in meridians if 100 < line.at < 420] == ["175° E", "180°", "175° W"]
    for line in meridians:
        named = float(line.text[:-3]) * (1 if line.text.endswith("E") else -1) if line.text != "180°" else 180.0
        assert frame.place(named, -15)[0] == pytest.approx(line.at, abs=1e-6)
    assert all(frame.place(180, -float(line.text[:-3]))[1] == pytest.approx(line.at) for line in parallels)


def test_footprints_across_the_antimeridian_lie_side_by_side() -> None:
    transform = Affine(10, 0, 818_000, 0, -10, 8_150_000)
    place = place_of("EPSG:32760", 32760, transform, 600, 600)
    shape = shapely.from_wkb(place.geometry)
    assert shape.geom_type == "MultiPolygon"
    hit = Hit(1, 0.5, 0.5, "a-1", "f", "", "a", (0, 0, 1, 1), None, None, None, None, None, place.lon, place.lat, shape)
    near = draw_maps([hit], shapely.Polygon())[1]
    drawn = points(near.markers[0].footprint)
    width, height = np.ptp(drawn, axis=0)
    assert 0.9 < width / height < 1.1, "not once around the Earth"
    assert drawn.mean(axis=0) == pytest.approx((near.frame.width / 2, near.frame.height / 2), abs=8)


def test_each_place_has_a_map_and_the_best_come_first(planted: Index) -> None:
    hits = hits_in(planted)
    overview, *close = draw_maps(hits, covered_area(planted))
    assert overview.land
    assert overview.bar is None
    assert all(each.bar for each in close)
    assert {marker.rank for marker in overview.markers} == set(range(1, 7))
    assert sorted(marker.rank for each in close for marker in each.markers) == list(range(1, 7))
    assert close[0].title.startswith("Hit 1 and ")
    for each in close:
        assert each.indexed
        for marker in each.markers:
            drawn = points(marker.footprint)
            middle = (drawn.min(axis=0) + drawn.max(axis=0)) / 2
            assert middle == pytest.approx((marker.x, marker.y), abs=1.5)
            assert 0 <= marker.x <= each.frame.width
            assert 0 <= marker.y <= each.frame.height


def test_numbers_never_lie_on_each_other(planted: Index) -> None:
    rng = np.random.default_rng(0)
    hits = []
    for rank, (lon, lat) in enumerate(rng.uniform((15.0, 47.0), (15.4, 47.2), (80, 2)), 1):
        shape = shapely.box(lon - 0.005, lat - 0.005, lon + 0.005, lat + 0.005)
        hits.append(replace(hits_in(planted, 1)[0], rank=rank, lon=lon, lat=lat, geometry=shape))
    markers = draw_maps(hits, covered_area(planted))[1].markers
    numbered = [marker for marker in markers if marker.numbered]
    assert 30 < len(numbered) < len(markers) == 80
    assert 20 <= min(math.dist((a.x, a.y), (b.x, b.y)) for a in numbered for b in numbered if a is not b) < 23
    assert markers[-1].rank == 1, "drawn last, so it lies on top"


def test_the_covered_area_holds_rasters_and_cells_of_placed_tiles(planted: Index, tmp_path: Path) -> None:
    area = covered_area(planted)
    assert all(area.buffer(1e-4).contains(hit.geometry) for hit in hits_in(planted))
    assert area.area < 0.01
    index = plant(tmp_path / "other", [tile(unit(1)), tile(unit(1), epsg=None)])
    assert covered_area(index).is_empty, "its source is not complete"
