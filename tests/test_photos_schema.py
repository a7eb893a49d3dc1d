import json
from pathlib import Path

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graft.photos import schema
from graft.photos.licenses import license_address, spdx
from graft.photos.schema import PHOTO_COLUMNS, PhotoTableWriter, iso_time, photo_schema

GOOD = {"photo_id": "a", "lon": "13.5", "lat": 45.25, "url": "http://x/a.jpg"}


def written(path: Path, *rows: dict[str, object]) -> tuple[list[dict[str, object]], PhotoTableWriter]:
    with PhotoTableWriter(path) as writer:
        for row in rows:
            writer.add(row)
    return pq.read_table(path).to_pylist(), writer


def test_the_schema_is_the_contract() -> None:
    names = "photo_id source path url lon lat accuracy_m accuracy_level taken_at heading author license license_url"
    assert photo_schema().names == [*names.split(), "page_url", "width", "height", "sha256", "geometry"]
    assert photo_schema().field("lon").type == pa.float64()
    assert photo_schema().field("accuracy_level").type == pa.int8()
    assert photo_schema().field("geometry").type == pa.binary()


def test_unknown_text_is_empty_and_unknown_numbers_are_null(tmp_path: Path) -> None:
    (row,), _ = written(tmp_path / "p.parquet", GOOD)
    del row["geometry"]
    known = {"photo_id": "a", "lon": 13.5, "lat": 45.25, "url": "http://x/a.jpg"}
    empty = {name: "" if kind == "string" else None for name, kind in PHOTO_COLUMNS.items() if name != "geometry"}
    assert row == empty | known


def test_values_are_brought_into_one_form(tmp_path: Path) -> None:
    (row,), _ = written(
        tmp_path / "p.parquet",
        GOOD
        | {
            "photo_id": 7,
            "path": str(tmp_path / "jpg" / "a.jpg"),
            "accuracy_m": "12",
            "accuracy_level": "16",
            "taken_at": "2020-06-01 10:11:12.0",
            "heading": -90,
            "license": "CC BY-SA 4.0",
            "width": "640",
            "height": 480.0,
        },
    )
    assert row["photo_id"] == "7"
    assert row["path"] == "jpg/a.jpg"
    assert (row["accuracy_m"], row["accuracy_level"], row["heading"]) == (12.0, 16, 270.0)
    assert row["taken_at"] == "2020-06-01T10:11:12"
    assert (row["license"], row["license_url"]) == ("CC-BY-SA-4.0", "https://creativecommons.org/licenses/by-sa/4.0/")
    assert (row["width"], row["height"]) == (640, 480)


def test_numbers_out_of_range_are_unknown(tmp_path: Path) -> None:
    odd = {"accuracy_m": -1, "accuracy_level": 0, "heading": "north", "width": 0, "height": 2**31, "taken_at": "May"}
    (row,), _ = written(tmp_path / "p.parquet", GOOD | odd)
    assert [row[name] for name in odd] == [None, None, None, None, None, ""]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"photo_id": " "}, "no id"),
        ({"photo_id": {"id": 1}}, "no id"),
        ({"lon": ""}, "no coordinates"),
        ({"lat": None}, "no coordinates"),
        ({"lon": "13,5"}, "lon or lat is not a number"),
        ({"lon": "1_3.5"}, "lon or lat is not a number"),
        ({"lat": "nan"}, "lon or lat is not a number"),
        ({"lat": True}, "lon or lat is not a number"),
        ({"lat": [45]}, "lon or lat is not a number"),
        ({"lon": 45, "lat": 113.5}, "lon and lat look swapped"),
        ({"lon": 181}, "lon or lat out of range"),
        ({"lon": 100, "lat": 91}, "lon or lat out of range"),
        ({"lon": "0", "lat": "0.0"}, "position is (0, 0)"),
        ({"url": ""}, "neither path nor url"),
        ({"author": "J\udcfcrgen"}, "text is not UTF-8"),
        ({"photo_id": "\udcfc"}, "text is not UTF-8"),
    ],
)
def test_bad_rows_are_counted_by_reason(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    rows, writer = written(tmp_path / "p.parquet", GOOD, GOOD | {"photo_id": "b"} | change, GOOD)
    assert len(rows) == writer.written == 2
    assert writer.skipped.counts == {reason: 1}
    "".join(writer.skipped.lines()).encode()  # what is shown, a terminal can show


def test_edges_of_the_world_are_fine(tmp_path: Path) -> None:
    rows, writer = written(tmp_path / "p.parquet", GOOD | {"lon": 180, "lat": -90}, GOOD | {"lon": 0, "lat": 1e-6})
    assert len(rows) == 2
    assert writer.bounds == (0, -90, 180, 1e-6)


def test_other_tools_read_it_as_geoparquet(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    written(path, GOOD, GOOD | {"lon": -70, "lat": -33})
    frame = geopandas.read_parquet(path)
    assert frame.geometry.x.tolist() == [13.5, -70]
    assert frame.geometry.y.tolist() == [45.25, -33]
    assert frame.crs == "OGC:CRS84"
    geo = json.loads(pq.read_metadata(path).metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["columns"]["geometry"]["bbox"] == [-70, -33, 13.5, 45.25]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path / name / "p.parquet", GOOD | {"path": str(tmp_path / name / "a.jpg")})
    assert (tmp_path / "one" / "p.parquet").read_bytes() == (tmp_path / "two" / "p.parquet").read_bytes()


def test_nothing_is_left_of_a_table_that_failed(tmp_path: Path) -> None:
    def broken() -> None:
        with PhotoTableWriter(tmp_path / "p.parquet") as writer:
            writer.add(GOOD)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_rows_are_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "ROW_GROUP", 100)
    rows, _ = written(tmp_path / "p.parquet", *(GOOD | {"photo_id": number} for number in range(250)))
    assert [row["photo_id"] for row in rows] == [str(number) for number in range(250)]
    assert pq.read_metadata(tmp_path / "p.parquet").num_row_groups == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-06-01", "2020-06-01"),
        ("2020-06-01T10:11:12-04:00", "2020-06-01T10:11:12-04:00"),
        ("2020-06-01 10:11:12", "2020-06-01T10:11:12"),
        ("2020-06-00 00:00:00", ""),
        ("0000-00-00 00:00:00", ""),
        ("", ""),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert iso_time(text) == expected


@pytest.mark.parametrize(
    ("name", "address", "token"),
    [
        ("CC BY-SA 4.0", "", "CC-BY-SA-4.0"),
        ("cc-by-nc-nd-2.0", "", "CC-BY-NC-ND-2.0"),
        ("CC BY-SA 3.0 de", "", "CC-BY-SA-3.0"),
        ("Creative Commons Attribution-Share Alike 4.0 International", "", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", "", "CC-BY-NC-ND-4.0"),
        ("Attribution-NonCommercial License", "http://creativecommons.org/licenses/by-nc/2.0/", "CC-BY-NC-2.0"),
        ("Public Domain Mark", "https://creativecommons.org/publicdomain/mark/1.0/", "PD"),
        ("CC0", "", "CC0-1.0"),
        ("CC0-1.0", "", "CC0-1.0"),
        ("Public domain", "", "PD"),
        ("CC-BY", "", "CC-BY"),
        # Never guessed: Commons has an "Attribution" licence that is not Creative Commons'.
        ("Attribution", "", "Attribution"),
        ("All Rights Reserved", "", "All Rights Reserved"),
        ("CC BY-SA 3.0 or GFDL", "", "CC BY-SA 3.0 or GFDL"),
        ("", "", ""),
    ],
)
def test_licences_become_tokens(name: str, address: str, token: str) -> None:
    assert spdx(name, address) == token
    assert spdx(token) == token
    assert spdx("x", license_address(token)) == (token if license_address(token) else "x")
