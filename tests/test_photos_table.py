from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graft.errors import GraftError
from tests.photos_inputs import column, made
from tests.prepare_inputs import write_photo, write_table


def test_table_leaves_rows_out_by_reason(tmp_path: Path) -> None:
    write_photo(tmp_path / "jpg" / "a.jpg")
    row = {"photo_id": "007", "path": "jpg/a.jpg", "lon": 13.5, "lat": 45.25, "heading": "", "license": "CC0"}
    changes: list[dict[str, object]] = [
        {},
        {"photo_id": ""},
        {"photo_id": "b", "lon": "east"},
        {"photo_id": "c", "lat": 91, "lon": 120},
        {"photo_id": "d", "lon": 0, "lat": "0.0"},
        {"photo_id": "e", "path": "jpg/none.jpg"},
        {"photo_id": "f", "path": str(tmp_path / "jpg" / "a.jpg"), "heading": "271.5"},
        {"photo_id": "g", "lat": ""},
        {"photo_id": "h", "path": ""},
    ]
    rows, summary = made(write_table(tmp_path / "photos.csv", [row | change for change in changes]), "table")
    assert column(rows, "photo_id") == ["007", "f"]
    assert column(rows, "path") == [str(tmp_path / "jpg" / "a.jpg")] * 2
    assert column(rows, "heading") == [None, 271.5]
    assert column(rows, "license") == ["CC0-1.0"] * 2
    assert summary.photos + summary.skipped.total == len(changes)
    assert summary.skipped.counts == {
        "no id": 1,
        "lon or lat is not a number": 1,
        "lon or lat out of range": 1,
        "position is (0, 0)": 1,
        "file missing": 1,
        "no coordinates": 1,
        "neither path nor url": 1,
    }


def test_table_with_damaged_lines(tmp_path: Path) -> None:
    header, good = b"\xef\xbb\xbfID;X;Y;address;notes\r\n", b"%d;13.5;45.25;http://x/a.jpg;fine\r\n"
    source = tmp_path / "photos.csv"
    lines = [
        good % 1,
        b"2;13.5;45.25;http://x/a.jpg;caf\xe9\r\n",
        b"3;13.5\r\n",
        b"\r\n",
        b'4;13.5;45.25;http://x/a.jpg;"two\nlines"\r\n',
        b'5;13.5;45.25;http://x/a.jpg;"never closed\r\n',
        good % 6,
        b'7;13.5;45.25;http://x/a.jpg;"again"\r\n',
        good % 8,
        b"9;13.5;45.25;http://x/a.jpg;" + b"x" * 200_000 + b"\r\n",
        good % 10,
    ]
    source.write_bytes(header + b"".join(lines))
    names = {"photo_id": "ID", "lon": "X", "lat": "Y", "url": "address"}
    rows, summary = made(source, "table", columns=names, constants={"license": "Public domain"})
    assert column(rows, "photo_id") == ["1", "4", "8", "10"]
    assert column(rows, "license") == ["PD"] * 4
    # The open quote takes the two lines up to the next quote with it.
    assert summary.skipped.counts == {"text is not UTF-8": 1, "wrong number of columns": 1 + 3 + 1}


def test_table_of_parquet(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3],
            "lon": [13.5, float("nan"), 14.5],
            "lat": [45.0, 46.0, 47.0],
            "url": pd.Categorical(["http://x/1.jpg", "http://x/2.jpg", "http://x/3.jpg"]),
            "taken_at": pd.to_datetime(["2020-01-02T03:04:05", None, "2021-01-02T00:00:00"]),
            "unused": [[1], [2], [3]],
        }
    )
    frame.to_parquet(source)
    rows, summary = made(source, "table", columns={"photo_id": "id"})
    assert column(rows, "photo_id") == ["1", "3"]
    assert column(rows, "url") == ["http://x/1.jpg", "http://x/3.jpg"]
    assert column(rows, "taken_at") == ["2020-01-02T03:04:05", "2021-01-02T00:00:00"]
    assert summary.skipped.total == 1
    again, _ = made(tmp_path / "out" / "photos.parquet", "table")
    assert again == rows
    source.write_bytes(source.read_bytes()[:-30])
    with pytest.raises(GraftError, match=r"in\.parquet cannot be read as Parquet"):
        made(source, "table")


@pytest.mark.parametrize("encoded", [False, True])
def test_text_of_parquet_that_is_not_utf8_costs_its_row(tmp_path: Path, encoded: bool) -> None:
    texts = pa.array([b"http://x/1.jpg", b"http://x/caf\xe9.jpg", None], pa.binary()).view(pa.string())
    urls = texts.dictionary_encode() if encoded else texts
    pq.write_table(pa.table({"photo_id": [1, 2, 3], "lon": [1, 2, 3], "lat": [1, 2, 3], "url": urls}), tmp_path / "in")
    rows, summary = made(tmp_path / "in", "table")
    assert column(rows, "photo_id") == ["1"]
    assert summary.skipped.counts == {"text is not UTF-8": 1, "neither path nor url": 1}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00bad", b"words\n", b"\x00\x01,\x02\n"])
def test_not_a_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photos.csv").write_bytes(content)
    with pytest.raises(GraftError, match=r"photos\.csv is not a table in UTF-8"):
        made(tmp_path / "photos.csv", "table")


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    source = write_table(tmp_path / "photos.csv", [{"id": 1, "path": "a.jpg", "longitude": 1, "lat": 2}])
    with pytest.raises(GraftError, match=r"lacks the column\(s\) photo_id, lon; it has id, path, longitude, lat"):
        made(source, "table")
    with pytest.raises(GraftError, match=r"lacks the column\(s\) ident, lon;"):
        made(source, "table", columns={"photo_id": "ident"})
    with pytest.raises(GraftError, match="--columns names id; a photo table has photo_id"):
        made(source, "table", columns={"id": "photo_id"})
    with pytest.raises(GraftError, match="--columns goes with --format table"):
        made(source, "lucas", columns={"photo_id": "id"})
    with pytest.raises(GraftError, match="--constants names lon, rights"):
        made(source, "table", constants={"lon": "1", "rights": "x"})
    with pytest.raises(GraftError, match="no usable photo among 1: 1 file missing"):
        made(source, "table", columns={"photo_id": "id", "lon": "longitude"})
    assert not list((tmp_path / "out").iterdir())


def test_the_summary_says_how_many_where_and_under_which_licence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"photo_id": "a", "url": "http://x", "lon": 13.5, "lat": 45.25, "license": "CC0"}
    more: list[dict[str, object]] = [{"lon": -1, "license": ""}, {"license": "CC BY 4.0"}, {"license": ""}, {"lat": 95}]
    _, summary = made(write_table(tmp_path / "photos.csv", [row, *(row | change for change in more)]), "table")
    assert list(summary.licenses.items()) == [("", 2), ("CC-BY-4.0", 1), ("CC0-1.0", 1)]
    assert summary.bounds == (-1, 45.25, 13.5, 45.25)
    assert capsys.readouterr().out.splitlines() == [
        f"         4  photos in {summary.table}, lon -1.0000 to 13.5000, lat 45.2500 to 45.2500",
        "         2  no licence stated",
        "         1  CC-BY-4.0",
        "         1  CC0-1.0",
        "         1  left out:",
        "           1  lon and lat look swapped (a)",
    ]


def test_where_the_table_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "out" / "photos.parquet").mkdir(parents=True)
    with pytest.raises(GraftError, match="is a folder; expected a file"):
        made(tmp_path / "photos.csv", "table")
    (tmp_path / "out" / "photos.parquet").rmdir()
    with pytest.raises(GraftError, match="No table at"):
        made(tmp_path / "photos.csv", "table")
