"""Indexes in a folder and on S3: what goes in comes out, and a stop leaves nothing that passes for complete."""

import json
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pytest

from graft.errors import GraftError
from graft.index import table as table_module
from graft.index.lock import writer_lock
from graft.index.schema import CARD_KEY, IndexCard, tile_schema
from graft.index.table import Index
from graft.index.verbs import show
from tests.index_inputs import index_card, make_index, s3_server, source_card, table_of, tile_rows, unit_vectors

GROUPS, IN_GROUP = 40, 20
WRITER = f"""
import sys
from graft.index.lock import writer_lock
from graft.index.table import Index
from graft.index.verbs import show
from tests.index_inputs import index_card, source_card, tile_rows, unit_vectors

source = source_card()
with writer_lock(sys.argv[1]):
    index = Index.open_or_create(sys.argv[1], index_card())
    done = index.done_groups(source.id)
    for group in range({GROUPS}):
        if group not in done:
            vectors = unit_vectors({IN_GROUP}, seed=group)
            index.add(tile_rows(index.card, vectors, source=source, first=group * {IN_GROUP}, group=group))
            print(group, flush=True)
    index.add_source(source)
    index.compact()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with s3_server() as where:
        yield where


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "index")
    return f"{request.getfixturevalue('bucket')}/{uuid.uuid4().hex}/index"


def fault(action: Any) -> str:
    with pytest.raises(GraftError) as raised:
        action()
    told = str(raised.value)
    assert len(told) < 500
    assert "\n" not in told
    return told


def test_rows_come_back_as_they_went_in(place: str) -> None:
    vectors = unit_vectors(40)
    make_index(place, vectors)
    index = Index.open(place)
    expected = pa.concat_tables(
        tile_rows(index_card(), vectors[10 * group :][:10], first=10 * group, group=group) for group in range(4)
    )
    assert table_of(index).equals(expected)
    assert len(index) == 40
    assert index.card == index_card()


def test_take_keeps_the_order_asked_for_and_repeats(place: str) -> None:
    index = make_index(place)
    rows = index.row_ids("true")
    wanted = np.array([31, 2, 31, 17])
    found = index.take(rows[wanted], ["id", "vector"])
    everything = table_of(index).select(["id", "vector"])
    assert found.equals(everything.take(wanted))
    assert index.take(rows[:0], ["id"]).num_rows == 0


def test_conditions_reach_boxes_and_times(place: str) -> None:
    index = make_index(place)
    rows = index.row_ids("bbox.xmin > 10.295 AND datetime < timestamp '2024-06-03 00:00:00'")
    expected = [f"{source_card().id}-{number:07d}" for number in range(30, 33)]
    assert index.take(rows, ["id"])["id"].to_pylist() == expected
    assert rows.dtype == np.uint64
    assert index.row_ids("false").shape == (0,)


def test_groups_in_the_table_are_known_to_every_handle(place: str) -> None:
    writer = make_index(place)
    name = source_card().id
    assert writer.done_groups(name) == {0, 1, 2, 3}
    writer.add(tile_rows(writer.card, unit_vectors(2), first=40, group=7))
    assert writer.done_groups(name) == Index.open(place).done_groups(name) == {0, 1, 2, 3, 7}
    assert writer.done_groups("another") == set()


def test_groups_that_others_commit_are_not_forgotten(tmp_path: Path) -> None:
    writer = make_index(tmp_path)
    assert writer.done_groups(source_card().id) == {0, 1, 2, 3}
    Index.open(tmp_path).add(tile_rows(writer.card, unit_vectors(2), first=40, group=8))
    writer.add(tile_rows(writer.card, unit_vectors(2), first=42, group=9))
    assert writer.done_groups(source_card().id) == {0, 1, 2, 3, 8, 9}


def test_no_rows_are_no_commit(tmp_path: Path) -> None:
    index = make_index(tmp_path)
    before = index.version
    index.add(table_of(index).slice(0, 0))
    assert index.version == before


def test_a_source_is_kept_as_it_was_and_replaced_by_id(place: str) -> None:
    index = Index.open_or_create(place, index_card())
    first, other = source_card(), source_card("other's.tif", transform=())
    index.add_source(first)
    index.add_source(other)
    later = replace(first, fingerprint="later", skipped={"no data": 3})
    index.add_source(later)
    assert Index.open(place).sources() == [other, later]


def test_removing_a_source_leaves_the_others(place: str) -> None:
    index = make_index(place)
    other = source_card("other.tif")
    index.add(tile_rows(index.card, unit_vectors(5, seed=1), source=other))
    index.add_source(other)
    assert index.remove_source(source_card().id) == 40
    assert index.done_groups(source_card().id) == set()
    index.compact(timedelta(0))
    left = Index.open(place)
    assert left.sources() == [other]
    assert table_of(left).equals(tile_rows(index.card, unit_vectors(5, seed=1), source=other))
    version = index.version
    assert index.remove_source("never there") == 0
    assert index.version == version


@pytest.mark.parametrize("step", ["tiles", "sources"])
def test_a_stopped_removal_does_not_pass_for_complete(step: str, tmp_path: Path) -> None:
    index = make_index(tmp_path)

    class Stopping:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            if name == "delete":
                raise KeyboardInterrupt
            return getattr(self.inner, name)

    setattr(index, f"_{step}", Stopping(getattr(index, f"_{step}")))
    with pytest.raises(KeyboardInterrupt):
        index.remove_source(source_card().id)
    again = Index.open(tmp_path)
    assert [card.fingerprint for card in again.sources()] == [""]
    again.remove_source(source_card().id)
    assert (len(again), again.sources()) == (0, [])


def test_a_stopped_removal_is_shown_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = make_index(tmp_path)
    other = source_card("other.tif")
    index.add_source(other)
    index.add_source(source_card(fingerprint=""))
    assert show(str(tmp_path)) == [other]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "is being removed" in line]
    assert line.endswith("/images/scene.tif is being removed; give graft indexes remove again")


def test_an_open_index_stays_as_it_was_while_others_write_and_tidy(place: str) -> None:
    writer = make_index(place)
    reader = Index.open(place)
    rows, before = reader.row_ids("true"), table_of(reader)
    writer.add(tile_rows(writer.card, unit_vectors(3), first=40, group=4))
    writer.remove_source("none")
    writer.compact()
    assert table_of(reader).equals(before)
    assert reader.take(rows, before.column_names).equals(before)
    assert len(Index.open(place)) == 43


def test_a_reader_whose_version_is_gone_is_told(tmp_path: Path) -> None:
    reader = make_index(tmp_path)
    stale = reader.row_ids("true")
    writer = Index.open(tmp_path)
    writer.add(tile_rows(writer.card, unit_vectors(3), first=40, group=4))
    writer.compact(timedelta(0))
    assert "compacted while it was read" in fault(lambda: list(reader.batches(["id"])))
    assert "changed while it was read" in fault(lambda: Index.open(tmp_path).take(stale, ["id"]))


def test_many_small_commits_are_merged_by_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "_COMPACT_EVERY", 5)
    with writer_lock(tmp_path):
        index = make_index(tmp_path, groups=10)
    fragments = {row >> 32 for row in index.row_ids("true").tolist()}
    assert len(fragments) == 1
    assert table_of(index)["group"].to_pylist() == sorted(np.repeat(range(10), 4).tolist())


def test_places_without_an_index(tmp_path: Path) -> None:
    assert "no such folder" in fault(lambda: Index.open(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    assert "holds no LanceDB table tiles" in fault(lambda: Index.open(tmp_path))
    (tmp_path / "tiles.lance" / "data").mkdir(parents=True)  # a stop before the first commit
    assert "holds no LanceDB table tiles" in fault(lambda: Index.open(tmp_path))
    lancedb.connect(tmp_path / "foreign").create_table("tiles", pa.table({"id": [1]}))
    lancedb.connect(tmp_path / "foreign").create_table("sources", pa.table({"id": [1]}))
    assert "was not written by graft" in fault(lambda: Index.open(tmp_path / "foreign"))
    for address in ("https://example.org/index", "", " ", "s3://", "s3:///", "s3:"):
        assert "give a folder or s3://" in fault(lambda at=address: Index.open_or_create(at, index_card()))
    (tmp_path / "file").touch()
    assert "file" in fault(lambda: Index.open_or_create(tmp_path / "file", index_card()))


def test_a_stop_while_an_index_is_made_leaves_none(tmp_path: Path) -> None:
    make_index(tmp_path / "index")
    lancedb.connect(tmp_path / "index").drop_table("tiles")
    assert "No index" in fault(lambda: Index.open(tmp_path / "index"))
    assert len(make_index(tmp_path / "index")) == 40


def test_an_index_made_anew_has_another_id_and_an_equal_card(tmp_path: Path) -> None:
    first, second = make_index(tmp_path / "a"), make_index(tmp_path / "b")
    assert first.id != second.id
    assert len(first.id) == len(second.id) == 32
    assert table_of(first).equals(table_of(second))
    assert first.card == second.card
    first.compact(timedelta(0))
    assert Index.open(tmp_path / "a").id == make_index(tmp_path / "a").id == first.id


def test_an_index_of_a_later_graft(tmp_path: Path) -> None:
    card = json.loads(index_card().to_bytes()) | {"version": 99}
    schema = tile_schema(index_card()).with_metadata({CARD_KEY: json.dumps(card).encode()})
    make_index(tmp_path)
    lancedb.connect(tmp_path).create_table("tiles", schema=schema, mode="overwrite")
    assert "version 99" in fault(lambda: Index.open(tmp_path))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (index_card(16), ["width 32", "16"]),
        (index_card(name="later.ckpt", sha256="ef" * 32), ["aligned.ckpt", "abab", "later.ckpt", "efef"]),
        (IndexCard(index_card().model, index_card().teacher | {"identity": "12" * 32}), ["teacher", "cdcd", "1212"]),
    ],
)
def test_vectors_of_another_kind_are_refused(given: IndexCard, named: list[str], tmp_path: Path) -> None:
    make_index(tmp_path)
    told = fault(lambda: Index.open_or_create(tmp_path, given))
    assert all(name in told for name in named)
    assert len(Index.open(tmp_path)) == 40


def test_damaged_and_missing_files_are_told(tmp_path: Path) -> None:
    make_index(tmp_path)
    part = sorted((tmp_path / "tiles.lance" / "data").iterdir())[0]
    part.write_bytes(b"damaged")
    assert "cannot be read" in fault(lambda: list(Index.open(tmp_path).batches(["id"])))
    part.unlink()
    assert "is gone" in fault(lambda: list(Index.open(tmp_path).batches(["id"])))


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as where:
        index = make_index(f"{where}/index")
        assert "No index at" in fault(lambda: Index.open(f"{where}/none"))
        assert "bucket does not exist" in fault(lambda: Index.open("s3://another/index"))
    assert "no answer" in fault(lambda: index.add(tile_rows(index.card, unit_vectors(1))))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert "127.0.0.1:9" in fault(lambda: Index.open(f"{where}/index"))


@pytest.mark.parametrize(
    ("kills", "place"),
    [(1, "folder"), *(pytest.param(10, where, marks=pytest.mark.slow) for where in ("folder", "s3"))],
    indirect=["place"],
)
def test_killed_while_writing_and_resumed_gives_the_same_table(kills: int, place: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, stdout=subprocess.DEVNULL)
    moments = random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen([*command, place], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(moments.randrange(1, min(GROUPS, 2 * GROUPS // kills))):
            process.stdout.readline()
        time.sleep(moments.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        index = Index.open(place)
        rows = Counter(table_of(index)["group"].to_pylist())
        assert set(rows.values()) <= {IN_GROUP}
        assert len(rows) == GROUPS or not index.sources()
        _forget_lease(place)
    subprocess.run([*command, place], check=True, stdout=subprocess.DEVNULL)
    found, whole = Index.open(place), Index.open(tmp_path / "whole")
    assert table_of(found).equals(table_of(whole))
    assert found.sources() == whole.sources() == [source_card()]
    assert table_of(found)["datetime"][0].as_py() == datetime(2024, 5, 1, tzinfo=UTC)


def _forget_lease(place: str) -> None:
    """Spare a minute's wait for the lock of a killed process; `test_index_lock` waits."""
    if place.startswith("s3://"):
        import boto3

        name, key = place.removeprefix("s3://").split("/", 1)
        boto3.client("s3").delete_object(Bucket=name, Key=f"{key}/.lock")
