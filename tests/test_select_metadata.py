import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graft.errors import GraftError
from graft.photos.schema import PhotoTableWriter
from graft.select import tables
from graft.select.cells import cell_of
from graft.select.metadata import by_metadata
from graft.select.settings import MetadataFilters, Splits
from graft.tally import Tally
from tests.select_inputs import ids, photo, write_photos


def select(
    folder: Path, rows: list[dict[str, Any]], *, splits: Splits | None = None, seed: int = 0, **filters: Any
) -> tuple[Tally, Path]:
    """Also checks that every row is either kept or counted."""
    table, out = write_photos(folder / "photos.parquet", rows), folder / "selected.parquet"
    tally = by_metadata(
        table,
        out,
        filters=MetadataFilters(**filters),
        splits=splits or Splits(),
        seed=seed,
        buffer_m=3168,
        temp=folder / "temp",
    )
    assert tally.total + pq.read_metadata(out).num_rows == len(rows)
    assert list((folder / "temp").iterdir()) == []
    return tally, out


def test_output_is_the_table_with_cell_split_and_rank_in_their_order(tmp_path: Path) -> None:
    rows = [
        photo(number, lon=10 + number, heading=12.5, path=path) for number, path in enumerate(("a.jpg", "/b.jpg", ""))
    ]
    _, out = select(tmp_path, [*rows, photo(3, lon=10.0001)], seed=5)
    table = pq.read_table(out).to_pylist()
    by_id = {row["photo_id"]: row for row in table}
    assert [by_id[f"photo-{n}"]["path"] for n in range(3)] == [str(tmp_path / "a.jpg"), "/b.jpg", ""]
    for row in table:
        assert row["rank"] == hashlib.md5(f"5/{row['photo_id']}".encode()).hexdigest()
        assert row["cell"] == cell_of(row["lon"], row["lat"], 50)
        assert row["split"] == "train"
    assert [(row["cell"], row["rank"]) for row in table] == sorted((row["cell"], row["rank"]) for row in table)
    assert table[0]["heading"] == 12.5
    assert table[0]["width"] is None


@pytest.mark.parametrize(
    ("filters", "good", "bad", "reason"),
    [
        ({}, {"accuracy_m": 50.0}, {"accuracy_m": 50.1}, "position less sure than 50 m"),
        ({"max_accuracy_m": None}, {"accuracy_m": 9e5}, None, ""),
        ({}, {"accuracy_level": 16}, {"accuracy_level": 15}, "position of accuracy level below 16"),
        (
            {"min_accuracy_level": 14},
            {"accuracy_level": 14},
            {"accuracy_level": 13},
            "position of accuracy level below 14",
        ),
        ({}, {"lon": 7.123, "lat": 46.1234}, {"lon": -7.123, "lat": 46.12}, "position of fewer than 4 decimals"),
        ({"min_decimals": 0}, {"lon": 7.0, "lat": 46.0}, None, ""),
        ({}, {"width": 64, "height": 64}, {"width": 5000, "height": 63}, "a side below 64 pixels"),
        ({"licenses": ["CC-BY"]}, {"license": "CC-BY-2.0"}, {"license": "CC-BY-SA-2.0"}, "license not allowed"),
        ({"licenses": ["CC-BY-4.0", "CC0"]}, {"license": "CC0-1.0"}, {"license": "CC-BY-3.0"}, "license not allowed"),
        ({"licenses": ["CC-BY"]}, {"license": "cc-by-4.0"}, {"license": ""}, "license not allowed"),
        ({"licenses": None}, {"license": ""}, None, ""),
    ],
)
def test_each_filter(
    tmp_path: Path, filters: dict[str, Any], good: dict[str, Any], bad: dict[str, Any] | None, reason: str
) -> None:
    rows = [photo(1), photo(2, **good)] + ([photo(3, **bad)] if bad else [])
    tally, out = select(tmp_path, rows, **filters)
    assert set(ids(out)) == {"photo-1", "photo-2"}
    assert dict(tally.counts) == ({reason: 1} if bad else {})
    assert tally.examples == ({reason: ["photo-3"]} if bad else {})


def test_of_an_id_listed_twice_the_first_row_stays(tmp_path: Path) -> None:
    rows = [photo(number) for number in range(20)]
    tally, out = select(tmp_path, [*rows, photo(3, path="later.jpg"), photo(19, path="later.jpg")])
    assert tally.counts == {"photo_id listed before": 2}
    assert not any("later" in row["path"] for row in pq.read_table(out).to_pylist())


def test_positions_that_many_share_are_dropped(tmp_path: Path) -> None:
    place = {"lon": 2.3522219, "lat": 48.8566140}
    alone = [photo(number, lon=1.2345678, lat=1.2345678, author="alone") for number in range(20)]
    many = [photo(100 + number, author=f"author {number}", **place) for number in range(4)]
    unknown = [photo(200 + number, lon=5.4321098, lat=5.4321098) for number in range(4)]
    tally, out = select(tmp_path, alone + many + unknown, max_repeats=3)
    assert tally.counts == {"position shared by more than 3 authors": 8}
    assert len(ids(out)) == 20
    tally, _ = select(tmp_path, alone + many + unknown, max_repeats=4)
    assert tally.total == 0
    tally, _ = select(tmp_path, alone + many + unknown, max_repeats=None)
    assert tally.total == 0


def test_take_down_list(tmp_path: Path) -> None:
    rows = [photo(1), photo(2, author="O'Hara"), photo(3, url="http://a.b/3.jpg"), photo(4, page_url="http://a.b/4")]
    (tmp_path / "gone.txt").write_text("# asked in May\nphoto-1\nO'Hara\nhttp://a.b/3.jpg\n\nhttp://a.b/4\nphoto-99\n")
    tally, out = select(tmp_path, [*rows, photo(5)], takedown=tmp_path / "gone.txt")
    assert tally.counts == {"on the take-down list": 4}
    assert ids(out) == ["photo-5"]


def test_benchmark_areas_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "benchmark.csv").write_text("lon,lat\n12.3456789,45.6789123\n")
    rows = [photo(number * 100) for number in range(3)]  # 7.8 km apart
    tally, out = select(tmp_path, rows, exclude=[tmp_path / "benchmark.csv"], exclude_buffer_m=8000)
    assert tally.counts == {"in an excluded area": 2}
    assert ids(out) == ["photo-200"]


def test_a_photo_counts_under_its_first_fault(tmp_path: Path) -> None:
    tally, _ = select(
        tmp_path, [photo(1), photo(1, license="", lon=3.0, lat=3.0, width=1, height=1)], licenses=["CC-BY"]
    )
    assert tally.counts == {"photo_id listed before": 1}


def test_splits_and_the_strip_between_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [photo(n, lon=rng.uniform(10, 11), lat=rng.uniform(45, 46)) for n in range(2000)]
    tally, out = select(tmp_path, rows, splits=Splits({"train": 0.5, "val": 0.5}, cell_km=30))
    assert list(tally.counts) == ["near ground of another split"]
    table = pq.read_table(out).to_pylist()
    assert {row["split"] for row in table} == {"train", "val"}
    for cell in {row["cell"] for row in table}:
        assert len({row["split"] for row in table if row["cell"] == cell}) == 1


def test_neither_threads_nor_memory_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = [photo(int(n), lon=10 + n / 7e3, author=f"a{n % 7}", width=int(n), height=99) for n in rng.permutation(3000)]
    outputs = []
    for threads, memory in ((1, "200MB"), (4, "1GB")):
        folder = tmp_path / str(threads)
        folder.mkdir()
        monkeypatch.setattr(tables, "MAX_THREADS", threads)
        table = write_photos(folder / "photos.parquet", [row | {"path": "/p.jpg"} for row in rows])
        tally = by_metadata(
            table,
            folder / "out.parquet",
            filters=MetadataFilters(),
            splits=Splits({"a": 0.5, "b": 0.5}),
            seed=3,
            buffer_m=1000,
            temp=folder,
            memory=memory,
        )
        outputs.append(((folder / "out.parquet").read_bytes(), tally))
    assert outputs[0] == outputs[1]


def test_what_the_writer_of_photo_tables_writes_is_read(tmp_path: Path) -> None:
    with PhotoTableWriter(tmp_path / "photos.parquet") as writer:
        writer.add({"photo_id": "1", "path": "1.jpg", "lon": 12.3456789, "lat": 45.6789123, "heading": 10})
    arguments = {"filters": MetadataFilters(), "splits": Splits(), "seed": 0, "buffer_m": 0, "temp": tmp_path / "temp"}
    by_metadata(tmp_path / "photos.parquet", tmp_path / "out.parquet", **arguments)
    assert ids(tmp_path / "out.parquet") == ["1"]


def test_faults_of_the_input_are_told(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"No photo of 2 is left .* 2 a side below 64 pixels\. Change the filters"):
        select(tmp_path, [photo(1, width=5, height=5), photo(2, width=5, height=5)])
    assert not (tmp_path / "selected.parquet").exists()
    with pytest.raises(GraftError, match="No photo of 0 is left"):
        select(tmp_path, [])
    arguments = {"filters": MetadataFilters(), "splits": Splits(), "seed": 0, "buffer_m": 0, "temp": tmp_path / "temp"}
    (tmp_path / "photos.csv").write_text("photo_id,lon,lat\n")
    with pytest.raises(GraftError, match="cannot be read"):
        by_metadata(tmp_path / "photos.csv", tmp_path / "out.parquet", **arguments)
    table = pq.read_table(write_photos(tmp_path / "photos.parquet", [photo(1)])).drop_columns(["author", "lon"])
    pq.write_table(table, tmp_path / "photos.parquet")
    with pytest.raises(GraftError, match="lacks lon, author"):
        by_metadata(tmp_path / "photos.parquet", tmp_path / "out.parquet", **arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_accuracy_m", -1), ("min_accuracy_level", 17), ("max_repeats", 0), ("exclude_buffer_m", -5)],
)
def test_settings_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(GraftError, match=name):
        MetadataFilters(**{name: value})


def test_columns_of_other_types_are_brought_to_ours(tmp_path: Path) -> None:
    rows = [photo(number) for number in range(6)]
    places: list[Any] = [str(row["lon"]) for row in rows]
    places[1], places[2], places[3] = "twelve", "nan", None
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns |= {"lon": places, "photo_id": list(range(6)), "author": [None] * 6, "width": ["640"] * 6}
    columns["lat"][4] = 95.0
    pq.write_table(pa.table(columns), tmp_path / "photos.parquet")
    tally = by_metadata(
        tmp_path / "photos.parquet",
        tmp_path / "selected.parquet",
        filters=MetadataFilters(),
        splits=Splits(),
        seed=0,
        buffer_m=10,
        temp=tmp_path / "temp",
    )
    assert tally.counts == {"no position on Earth": 4}
    assert sorted(ids(tmp_path / "selected.parquet")) == ["0", "5"]


def test_a_tile_never_reaches_into_an_excluded_area(tmp_path: Path) -> None:
    area = tmp_path / "area.csv"
    area.write_text("lon,lat\n12.3456789,45.6789123\n")
    tally, _ = select(tmp_path, [photo(0), photo(10), photo(100)], exclude=[area], exclude_buffer_m=1)
    assert tally.counts == {"in an excluded area": 2}, "a tile's diagonal is 3,168 m, photo 10 is 780 m away"
