"""One writer at a time: in a folder, on S3, in one process and in several."""

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from graft.errors import GraftError
from graft.index import lease as lease_module
from graft.index import lock as lock_module
from graft.index.lease import Lease
from graft.index.lock import guarded, has_lock, writer_lock
from graft.index.table import Index
from tests.index_inputs import index_card, make_index, s3_server, source_card, table_of, tile_rows, unit_vectors

HOLDER = """
import os, sys, time
from graft.index import lease
from graft.index.lock import writer_lock

lease.STALE_S, lease.RENEW_S = 2.0, 0.3
with writer_lock(sys.argv[1]):
    if len(sys.argv) > 2 and os.fork() == 0:
        os.close(1)
        time.sleep(20)  # a worker that outlives its parent
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""
RIVAL = """
import sys
from graft.errors import GraftError
from graft.index.lock import writer_lock
from graft.index.table import Index
from tests.index_inputs import index_card, source_card, tile_rows, unit_vectors

source = source_card(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    with writer_lock(sys.argv[1]):
        index = Index.open_or_create(sys.argv[1], index_card())
        for group in range(30):
            vectors = unit_vectors(10, seed=group)
            index.add(tile_rows(index.card, vectors, source=source, first=10 * group, group=group))
        index.add_source(source)
        print("wrote")
except GraftError as error:
    print(error)
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


@pytest.fixture
def s3_place(bucket: str) -> str:
    return f"{bucket}/{uuid.uuid4().hex}"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "STALE_S", 2.0)  # a server tells ages in whole seconds
    monkeypatch.setattr(lease_module, "SAFE_S", 1.0)
    monkeypatch.setattr(lease_module, "RENEW_S", 0.3)


def start(program: str, *args: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-c", program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def a_lease(place: str, name: str = "me") -> Lease:
    return Lease(place, f"{place.removeprefix('s3://')}/.lock", {"host": name})


def test_a_second_writer_is_told_who_writes_since_when(place: str) -> None:
    holder = start(HOLDER, place)
    assert holder.stdout.readline() == "held\n"
    told = rf"{place}: process {holder.pid} of .+ on .+, since {time.strftime('%Y')}.*Wait"
    with pytest.raises(GraftError, match=told), writer_lock(place):
        raise AssertionError("two writers")
    holder.kill()
    holder.communicate()


def test_a_folder_is_free_when_its_writer_was_killed_and_its_workers_live_on(tmp_path: Path) -> None:
    holder = start(HOLDER, str(tmp_path), "with a worker")
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    with writer_lock(tmp_path):
        assert has_lock(tmp_path)
    assert not has_lock(tmp_path)
    holder.communicate()


@pytest.mark.slow
def test_a_killed_writer_s_lease_is_taken_over_once_it_is_stale(s3_place: str, impatient: None) -> None:
    holder = start(HOLDER, s3_place)
    assert holder.stdout.readline() == "held\n"
    time.sleep(3)
    with pytest.raises(GraftError, match=r"free in [0-2] s"), writer_lock(s3_place):
        raise AssertionError("it was renewed all the time")
    holder.kill()
    holder.communicate()
    time.sleep(3)
    with writer_lock(s3_place), guarded(s3_place):
        pass


def test_a_lock_can_be_had_again_after_use_or_failure(place: str) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), writer_lock(place):
            raise ZeroDivisionError
    with writer_lock(place):
        pass


def test_one_process_does_not_write_twice_at_once(place: str, tmp_path: Path) -> None:
    with writer_lock(place):
        other = f"{place}/" if place.startswith("s3") else str(tmp_path / "elsewhere" / ".." / "index")
        with pytest.raises(GraftError, match="already writing"), writer_lock(other):
            raise AssertionError("two writers")
        with writer_lock(tmp_path / "another index"):
            pass
        assert has_lock(place)


@pytest.mark.parametrize("place", ["folder", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
def test_two_at_once_leave_the_whole_work_of_those_who_were_not_refused(place: str) -> None:
    rivals = [start(RIVAL, place, name) for name in ("a.tif", "b.tif")]
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"
    for rival in rivals:
        rival.stdin.write("go\n")
        rival.stdin.flush()
    told = [rival.communicate()[0].strip() for rival in rivals]
    wrote = [name for name, words in zip(("a.tif", "b.tif"), told, strict=True) if words == "wrote"]
    assert wrote
    assert all(words == "wrote" or f"writing to {place}" in words for words in told)
    index = Index.open(place)
    assert sorted(card.name for card in index.sources()) == [f"/images/{name}" for name in wrote]
    for name in wrote:
        only = table_of(index).filter(
            [found == source_card(name).id for found in table_of(index)["source_id"].to_pylist()]
        )
        assert only["group"].to_pylist() == [group for group in range(30) for _ in range(10)]
    assert len(index) == 300 * len(wrote)


def test_of_many_who_ask_at_once_one_gets_a_lease(s3_place: str) -> None:
    leases = [a_lease(s3_place, str(number)) for number in range(4)]
    gate, got = threading.Barrier(len(leases)), []

    def ask(lease: Lease) -> None:
        gate.wait()
        try:
            if lease.acquire() is None:
                got.append(lease)
        except GraftError:
            pass

    threads = [threading.Thread(target=ask, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()


def test_of_many_who_take_over_one_gets_a_stale_lease(s3_place: str, impatient: None) -> None:
    dead = a_lease(s3_place, "dead")
    assert dead._write({"IfNoneMatch": "*"})
    time.sleep(3.1)
    test_of_many_who_ask_at_once_one_gets_a_lease(s3_place)
    assert not dead._write({"IfMatch": dead._tag})


def test_who_lost_a_lease_commits_nothing_more(s3_place: str, impatient: None, tmp_path: Path) -> None:
    index = make_index(s3_place)
    with writer_lock(s3_place):
        index.add(tile_rows(index.card, unit_vectors(1), first=40))
        name, key = s3_place.removeprefix("s3://").split("/", 1)
        thief = json.dumps({"token": "another's", "host": "elsewhere"}).encode()
        boto3.client("s3").put_object(Bucket=name, Key=f"{key}/.lock", Body=thief)
        time.sleep(1)
        for commit in (
            lambda: index.add(tile_rows(index.card, unit_vectors(1), first=41)),
            lambda: index.add_source(source_card()),
            lambda: index.remove_source(source_card().id),
            index.compact,
        ):
            with pytest.raises(GraftError, match="lock of .* was lost"):
                commit()
    assert len(Index.open(s3_place)) == 41
    left = boto3.client("s3").get_object(Bucket=name, Key=f"{key}/.lock")["Body"].read()
    assert left == thief


def test_a_renewal_whose_answer_was_lost_keeps_the_lease(s3_place: str, impatient: None) -> None:
    lease = a_lease(s3_place)
    assert lease.acquire() is None
    lease._tag = '"as before the lost answer"'
    time.sleep(1)
    lease.check()
    assert not lease._lost
    rival = a_lease(s3_place, "rival")
    assert rival.acquire() is not None
    lease.release()
    assert rival.acquire() is None
    rival.release()


def test_a_writer_that_slept_too_long_checks_before_it_commits(s3_place: str) -> None:
    lease = a_lease(s3_place)
    assert lease.acquire() is None
    lease.check()
    asked = lease._renewed
    for slept in (31, 0), (0, 31):  # one clock stands still in sleep, the other can be set back
        lease._renewed = (asked[0] - slept[0], asked[1] - slept[1])
        with pytest.raises(GraftError, match="could not be renewed for 30 s"):
            lease.check()
        lease.check_after()  # nobody takes over before 60 s
    lease.release()


def test_a_writer_that_is_held_up_in_a_commit_is_told_that_another_took_over(s3_place: str, impatient: None) -> None:
    index = make_index(s3_place)
    rows, rival = tile_rows(index.card, unit_vectors(1), first=40), a_lease(s3_place, "rival")

    class HeldUp:
        def __getattr__(self, name: str) -> Any:
            if name == "add":
                lease = lock_module._held[s3_place]
                assert lease is not None
                lease._ended.set()  # as if the whole process slept
                time.sleep(3.1)
                assert rival.acquire() is None
            return getattr(tiles, name)

    tiles, index._tiles = index._tiles, HeldUp()
    with writer_lock(s3_place), pytest.raises(GraftError, match="lost during a commit"):
        index.add(rows)
    rival.check()
    rival.release()


def test_places_that_cannot_be_locked(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for where, told in ((tmp_path / "file", "cannot be written"), ("s3://none/index", "bucket does not exist")):
        with pytest.raises(GraftError, match=told), writer_lock(where):
            raise AssertionError("locked")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(GraftError, match="cannot be locked"), writer_lock(f"{bucket}/index"):
        raise AssertionError("locked")


def test_readers_need_no_lock(place: str) -> None:
    make_index(place)
    with writer_lock(place):
        assert len(Index.open(place)) == 40
    assert Index.open(place).card == index_card()
