"""What a search finds and writes: ranks, one hit a place, GeoJSON that lies on the planted tile, CSV, table."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
import torch
from affine import Affine
from rasterio.warp import transform_bounds

from graft.errors import GraftError
from graft.index import ann
from graft.index.ann import build_ann
from graft.index.flat import flat_vectors
from graft.index.table import Index
from graft.search import engine
from graft.search.engine import search_index
from graft.search.filters import Filters
from graft.search.geojson import bounding_box, feature_collection
from graft.search.hits import SearchResult
from graft.search.likeness import Background
from graft.search.output import check_targets, choose_format, comma_separated, table, write_result
from tests.index_inputs import make_index, unit_vectors
from tests.search_inputs import UTM, plant, query_of, tile, towards, unit

SOUTH_UP = Affine(10, 0, 500_000, 0, 10, 5_500_000)
ROTATED = Affine(8, 6, 500_000, 6, -8, 5_500_000)
PLAIN = Background(("grass", "water"), torch.stack([unit(0, 1), unit(0, 0, 1)]), 20.0)


def found(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> SearchResult:
    return search_index(plant(folder, rows), query_of(unit(1)), **{"background": PLAIN} | settings)


def apart(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Tiles side by side, from the best to the worst but in another order."""
    cosines = np.linspace(0.9, 0.1, count)
    order = np.random.default_rng(0).permutation(count)
    return [tile(towards(float(cosines[n])), column=64.0 * int(n), **changes) for n in order]


# --- ranking --------------------------------------------------------------------------------------


def test_hits_are_the_largest_cosines_in_order(tmp_path: Path) -> None:
    result = found(tmp_path / "i", apart(20), top=5)
    assert [hit.rank for hit in result.hits] == [1, 2, 3, 4, 5]
    assert [hit.window[0] for hit in result.hits] == [0, 64, 128, 192, 256]
    assert [hit.score for hit in result.hits] == pytest.approx(np.linspace(0.9, 0.1, 20)[:5], abs=1e-3)
    assert (result.rows, result.searched, result.left_out) == (20, 20, {})


def test_more_is_fetched_until_enough_places_are_found(tmp_path: Path) -> None:
    # A hundred tiles on one spot outrank three others.
    rows = [tile(towards(0.9 - number / 1000), column=number / 10) for number in range(100)]
    rows += [tile(towards(0.3), column=1000.0 * number) for number in (1, 2, 3)]
    result = found(tmp_path / "i", rows, top=3)
    assert [hit.window[0] for hit in result.hits] == [0, 1000, 2000]
    assert result.left_out == {"overlapping a better hit": 99}
    assert len(found(tmp_path / "j", rows, top=101, overlap=1.0).hits) == 101


def test_only_places_are_fetched_to_look_for_overlap_and_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [tile(towards(0.9 - number / 1000), column=number / 10) for number in range(100)]
    monkeypatch.setattr(engine, "_PORTION", 16)
    taken: list[tuple[int, bool]] = []
    plain = Index.take

    def take(self: Index, row_ids: Any, columns: Any) -> Any:
        taken.append((len(row_ids), "vector" in columns))
        return plain(self, row_ids, columns)

    index = plant(tmp_path / "i", rows)
    flat_vectors(index)
    monkeypatch.setattr(Index, "take", take)
    result = search_index(index, query_of(unit(1)), top=3)
    assert (len(result.hits), result.left_out) == (1, {"overlapping a better hit": 99})
    looked, vectors = ([number for number, wide in taken if wide is kind] for kind in (False, True))
    assert (sum(looked), max(looked)) == (100, 16)
    assert vectors[-1] == 1


def test_better_tiles_that_the_approximate_index_finds_late_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cosines = np.linspace(0.9, 0.51, 40, dtype=np.float32)
    # Ten tiles on each of four places; the best place is found only by who asks for many.
    index = plant(tmp_path / "i", [tile(unit(1), column=1000.0 * (number // 10)) for number in range(40)])
    ids = index.row_ids("true")

    def late(_: Index, __: Any, k: int, ___: str | None) -> Any:
        order = np.arange(10 if k < 20 else 0, 40)[:k]
        return [cosines[order]], [ids[order]]

    monkeypatch.setattr(ann, "ann_nearest", late)
    result = search_index(index, query_of(unit(1)), top=3, ann=True)
    assert [hit.window[0] for hit in result.hits] == [0, 1000, 2000]
    assert [hit.score for hit in result.hits] == pytest.approx(cosines[[0, 10, 20]])
    assert result.left_out == {"overlapping a better hit": 18}
    monkeypatch.setattr(engine, "_MOST_ANN", 30)
    cut = search_index(index, query_of(unit(1)), top=5, ann=True)
    assert len(cut.hits) == 3
    assert cut.left_out == {"overlapping a better hit": 27, "not among the 100,000 that --ann looks through": 10}


def test_an_approximate_index_that_finds_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = plant(tmp_path / "i", [tile(unit(1))])
    monkeypatch.setattr(ann, "ann_nearest", lambda *_: ([np.empty(0, np.float32)], [np.empty(0, np.uint64)]))
    with pytest.raises(GraftError, match=r"found none of the 1 tiles to search: search without --ann\.$"):
        search_index(index, query_of(unit(1)), ann=True)


def test_filters_leave_tiles_out_before_the_nearest_are_sought(tmp_path: Path) -> None:
    rows = apart(20)
    for row in rows:
        row["cloud"] = 0.9 if row["window"]["column"] < 640 else 0.0
    result = found(tmp_path / "i", rows, top=3, filters=Filters(max_cloud=0.5))
    assert [hit.window[0] for hit in result.hits] == [640, 704, 768]
    assert (result.searched, result.left_out) == (10, {"with more cloud than 0.5": 10})
    assert result.conditions == ("cloud share at most 0.5",)


def test_a_hit_carries_what_the_table_knows(tmp_path: Path) -> None:
    row = tile(unit(1), column=64, row=128, item="tile-000001", valid=0.75, cloud=None)
    hit = found(tmp_path / "i", [row]).hits[0]
    assert (hit.path, hit.item, hit.source_id, hit.id) == ("/images/scene.tif", "tile-000001", "0" * 16, row["id"])
    assert hit.window == (64, 128, 64, 64)
    assert (hit.datetime, hit.epsg, hit.gsd_m, hit.valid, hit.cloud) == ("2024-06-01T10:30:00Z", 32632, 10, 0.75, None)
    assert (hit.lon, hit.lat) == (row["lon"], row["lat"])


def test_verdicts(tmp_path: Path) -> None:
    like = found(tmp_path / "i", [tile(unit(1)), tile(unit(0, 1), column=64), tile(unit(0, 0, 1), column=128)])
    assert like.verdict == "1 of 3 hits is like the query (likeness 0.5 or more)."
    nothing = found(tmp_path / "j", [tile(unit(0.5, 1))])
    share = 1 / (1 + math.exp(20 * 0.5 / math.sqrt(1.25)))
    assert nothing.verdict.startswith(f"Nothing like this here: the largest likeness is {share:.2f}, and 0.5 would be")
    assert len(nothing.hits) == 1
    unknown = found(tmp_path / "k", [tile(unit(1))], background=None)
    assert unknown.verdict.startswith("Whether any of them is like the query is not known")
    assert unknown.hits[0].likeness is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top": 0}, r"--top is 0; expected 1 to 10000\."),
        ({"top": 10_001}, r"--top is 10001"),
        ({"overlap": 2.0}, r"--overlap is 2"),
        ({"filters": Filters(within="100,0,101,1")}, r"None of the 1 tiles .* outside 100,0,101,1"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(GraftError, match=message):
        found(tmp_path / "i", [tile(unit(1))], **settings)


def test_an_empty_index_and_a_query_of_another_width(tmp_path: Path) -> None:
    index = plant(tmp_path / "i", [])
    with pytest.raises(GraftError, match=r"holds no tiles\. Add some with graft index"):
        search_index(index, query_of(unit(1)))
    with pytest.raises(GraftError, match=r"The query has width 16, the vectors of .* have 8"):
        search_index(index, query_of(unit(1, dim=16)))


# --- GeoJSON --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epsg", "transform"),
    [(32632, UTM), (32632, SOUTH_UP), (32632, ROTATED), (4326, Affine(0.01, 0, -70, 0, -0.01, -30)), (3413, UTM)],
)
def test_geojson_opens_in_geopandas_and_lies_on_the_planted_tile(tmp_path: Path, epsg: int, transform: Affine) -> None:
    rows = [tile(unit(0, 1), column=64.0 * n, epsg=epsg, transform=transform) for n in range(4)]
    rows[2]["vector"] = unit(1).numpy().astype(np.float16)
    out = tmp_path / "hits.geojson"
    write_result(found(tmp_path / "i", rows, top=1), plant(tmp_path / "i", []), "geojson", out)
    frame = geopandas.read_file(out)
    assert frame.crs == "OGC:CRS84" or frame.crs == "EPSG:4326"
    assert frame.loc[0, "rank"] == 1
    own = frame.to_crs(epsg).geometry[0]
    a, b, c, d, e, f = tuple(transform)[:6]
    corners = [(128, 0), (192, 0), (192, 64), (128, 64)]
    planted = shapely.Polygon([(a * x + b * y + c, d * x + e * y + f) for x, y in corners])
    assert own.symmetric_difference(planted).area < 1e-4 * planted.area
    assert frame.geometry[0].contains(shapely.Point(frame.loc[0, "lon"], frame.loc[0, "lat"]))


def test_edges_are_densified_so_that_a_wide_tile_does_not_bulge(tmp_path: Path) -> None:
    wide = Affine(2000, 0, 200_000, 0, -2000, 7_000_000)
    result = found(tmp_path / "i", [tile(unit(1), transform=wide, side=200)])
    shape = shapely.geometry.shape(feature_collection(result)["features"][0]["geometry"])
    _, south, _, north = transform_bounds("EPSG:32632", "OGC:CRS84", 200_000, 6_600_000, 600_000, 7_000_000)
    assert (shape.bounds[1], shape.bounds[3]) == pytest.approx((south, north), abs=1e-3)
    assert len(shape.exterior.coords) > 40


def test_a_footprint_across_the_antimeridian_is_cut_and_its_box_crosses(tmp_path: Path) -> None:
    transform = Affine(0.01, 0, 179.8, 0, -0.01, 10)
    result = found(tmp_path / "i", [tile(unit(1), epsg=4326, transform=transform)])
    content = feature_collection(result)
    feature = content["features"][0]
    assert feature["geometry"]["type"] == "MultiPolygon"
    parts = sorted((part.bounds for part in shapely.geometry.shape(feature["geometry"]).geoms), reverse=True)
    assert np.allclose(parts, [(179.8, 9.36, 180, 10), (-180, 9.36, -179.56, 10)])
    assert np.allclose(feature["bbox"], [179.8, 9.36, -179.56, 10])
    assert content["bbox"] == feature["bbox"]


def test_rings_are_right_handed_and_closed_whatever_the_grid(tmp_path: Path) -> None:
    for number, transform in enumerate((UTM, SOUTH_UP, ROTATED)):
        content = feature_collection(found(tmp_path / str(number), [tile(unit(1), transform=transform)]))
        ring = content["features"][0]["geometry"]["coordinates"][0]
        assert shapely.LinearRing(ring).is_ccw
        assert ring[0] == ring[-1]


def test_the_collection_is_one_of_rfc_7946(tmp_path: Path) -> None:
    result = found(tmp_path / "i", [tile(unit(1)), tile(unit(0, 1), epsg=None)])
    content = json.loads(json.dumps(feature_collection(result), allow_nan=False))
    assert content["type"] == "FeatureCollection"
    assert "crs" not in content
    assert content["query"] == '"wind turbines"'
    first, second = content["features"]
    assert set(first) == {"type", "id", "geometry", "bbox", "properties"}
    assert (second["geometry"], "bbox" in second) == (None, False)
    assert first["properties"]["likeness"] > 0.99
    assert first["properties"]["datetime"] == "2024-06-01T10:30:00Z"
    assert content["bbox"] == first["bbox"]


def test_boxes_take_the_short_way_round() -> None:
    def around(*spans: tuple[float, float]) -> tuple[float, float]:
        west, _, east, _ = bounding_box([shapely.box(west, 0, east, 1) for west, east in spans])
        return west, east

    assert around((0, 10), (20, 30)) == (0, 30)
    assert around((170, 175), (-175, -170)) == (170, -170)
    assert around((-180, -170), (175, 180)) == (175, -170)
    assert around((-120, -100), (130, 140), (135, 150)) == (130, -100)
    assert around((-180, 180)) == (-180, 180)


# --- CSV and table --------------------------------------------------------------------------------


def test_csv_has_a_line_a_hit_and_the_footprint_as_wkt(tmp_path: Path) -> None:
    result = found(tmp_path / "i", [tile(unit(1), path='/a "b", c.tif'), tile(unit(0, 1), epsg=None)])
    rows = list(csv.DictReader(io.StringIO(comma_separated(result))))
    assert [row["path"] for row in rows] == ['/a "b", c.tif', "/images/scene.tif"]
    assert float(rows[0]["score"]) == pytest.approx(1, abs=1e-3)
    assert shapely.from_wkt(rows[0]["wkt"]).equals_exact(result.hits[0].geometry, 1e-9)
    assert (rows[1]["wkt"], rows[1]["lon"]) == ("", "")


def test_the_table_has_a_line_a_hit_under_a_header(tmp_path: Path) -> None:
    lines = table(found(tmp_path / "i", [tile(unit(1)), tile(unit(0, 1), column=64, item="t1")])).splitlines()
    assert lines[0].split() == ["rank", "score", "likeness", "lon", "lat", "time", "tile"]
    assert lines[1].split()[:3] == ["1", "1.000", "1.00"]
    assert lines[1].endswith("2024-06-01T10:30  /images/scene.tif [0 0 64 64]")
    assert lines[2].endswith("/images/scene.tif t1 [64 0 64 64]")


def test_a_file_that_cannot_be_written_is_told_and_none_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = found(tmp_path / "i", [tile(unit(1))])
    with pytest.raises(GraftError, match=r"cannot be written .*Give another --out"):
        write_result(result, plant(tmp_path / "i", []), "csv", tmp_path / "file" / "hits.csv")


def test_the_format_is_that_of_the_ending_unless_given(tmp_path: Path) -> None:
    chosen = {name: choose_format(None, Path(name)) for name in ("a.geojson", "a.CSV", "a.html", "a.txt")}
    assert chosen == {"a.geojson": "geojson", "a.CSV": "csv", "a.html": "html", "a.txt": "table"}
    assert choose_format(None, None) == "table"
    assert choose_format("csv", Path("a.txt")) == "csv"
    with pytest.raises(GraftError, match=r"add --out hits\.html"):
        choose_format("html", None)


def test_targets_that_would_replace_what_is_read_or_cannot_be_written(tmp_path: Path) -> None:
    for name in ("IDX", "tiles"):
        (tmp_path / name).mkdir()
    scene, other, photo, old = (tmp_path / name for name in ("scene.tif", "tiles/a.tif", "photo.jpg", "old.tif"))
    for path in (scene, other, photo, old):
        path.write_text("content")
    (tmp_path / "link.tif").hardlink_to(scene)
    inputs = [str(photo), str(scene), str(tmp_path / "tiles"), "https://example.org/far.tif"]

    def fault(out: Path | None, heatmap: Path | None = None) -> str:
        with pytest.raises(GraftError) as told:
            check_targets(out, heatmap, str(tmp_path / "IDX"), inputs)
        return str(told.value)

    assert "--out and --heatmap are the same file" in fault(tmp_path / "a.tif", tmp_path / "IDX/../a.tif")
    assert "scene.tif would replace" in fault(None, scene)
    assert "link.tif would replace" in fault(None, tmp_path / "link.tif")
    assert "photo.jpg would replace" in fault(photo)
    assert "a.tif would replace" in fault(other)
    assert "lies in the index" in fault(tmp_path / "IDX" / "new" / "hits.csv")
    assert "is a folder; expected a file" in fault(tmp_path)
    assert "cannot be written: no right to write in" in fault(scene / "hits.csv")
    check_targets(tmp_path / "new" / "hits.csv", old, str(tmp_path / "IDX"), inputs)


@pytest.mark.slow
def test_the_approximate_index_finds_the_same_under_the_same_filters(tmp_path: Path) -> None:
    build_ann(make_index(tmp_path / "i", unit_vectors(5000)))
    index = Index.open(tmp_path / "i")
    # SQL alone would let the tiles of the whole box pass: the triangle is half of it.
    area = tmp_path / "area.geojson"
    triangle = shapely.Polygon([(10, 50), (11, 50), (11, 50.2)])
    area.write_text(shapely.to_geojson(triangle))
    query, filters = query_of(unit(1, 1, dim=32)), Filters(within=str(area))
    exact, quick = (search_index(index, query, filters=filters, top=20, ann=ann) for ann in (False, True))
    assert exact.searched == quick.searched < 1500
    assert all(triangle.intersects(hit.geometry) for hit in quick.hits)
    assert len({hit.id for hit in exact.hits} & {hit.id for hit in quick.hits}) >= 17
    assert len(quick.hits) == 20
