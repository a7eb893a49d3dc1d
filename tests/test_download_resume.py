import csv
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from graft.errors import GraftError
from graft.photos import download_run
from graft.photos.fetch import Failure, Photo, examine
from graft.photos.journal import Arrival, Journal, key_of, place_of
from graft.photos.polite import Schedule
from tests.photo_server import PhotoServer, photo, photo_bytes, photo_server, status
from tests.test_download import failures, fetch, rows_of, table_of, tree


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with photo_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_run, "BACKOFF", 0.02)


COMMAND = """
import sys
from pathlib import Path
from graft.photos import download_run
from graft.photos.download import download
download_run.BACKOFF = 0.02
download_run._SETTLE_EVERY = 0.1
download(Path(sys.argv[1]), out=Path(sys.argv[2]), contact="me@example.org", rate=1000.0, workers=4, per_host=4)
"""


def killed_at_random(table: Path, out: Path, kills: int) -> int:
    """Run the command until it ends, killing it at random moments; how often it was killed."""
    dice = random.Random(5)
    command = [sys.executable, "-c", COMMAND, str(table), str(out)]
    for kill in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        files = len(tree(out)) if out.exists() else 0
        deadline = time.monotonic() + 60
        while process.poll() is None and not (out / ".download" / "incoming").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        while process.poll() is None and len(tree(out)) < files + 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.1))
        if process.poll() is not None:
            return kill
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "photos.parquet").exists()
    subprocess.run(command, check=True, capture_output=True)
    return kills


@pytest.mark.parametrize(("wanted", "photos"), [(2, 60), pytest.param(10, 400, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_goes_on_and_ends_the_same(
    tmp_path: Path, server: PhotoServer, wanted: int, photos: int
) -> None:
    urls = [server.add(f"/{number}", photo(number, wait=0.02)) for number in range(photos)]
    urls += [server.add(f"/gone{number}", status(404)) for number in range(10)]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    fetch(table, tmp_path / "whole")
    server.seen.paths.clear()
    kills = killed_at_random(table, tmp_path / "killed", wanted)
    assert kills == wanted
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    assert list((tmp_path / "killed" / ".download" / "incoming").iterdir()) == []
    # A kill costs what was under way on its four workers and no more.
    assert len(server.seen.paths) - len(urls) <= kills * 4
    assert server.seen.counts.keys() == {url.removeprefix(server.url) for url in urls}


def test_order_of_arrival_does_not_matter(tmp_path: Path, server: PhotoServer) -> None:
    dice = random.Random(1)
    for number in range(30):
        server.add(f"/{number}", photo(number, wait=dice.uniform(0, 0.05)))
    table = table_of(tmp_path / "table.parquet", [{"url": f"{server.url}/{number}"} for number in range(30)])
    fetch(table, tmp_path / "one", workers=1)
    fetch(table, tmp_path / "many", workers=16, per_host=16, seed=7)
    assert tree(tmp_path / "one") == tree(tmp_path / "many")


def test_the_next_run_asks_again_for_what_may_pass_and_for_nothing_else(tmp_path: Path, server: PhotoServer) -> None:
    urls = [
        server.add("/here", photo(0)),
        server.add("/late", status(503), status(503), status(503), photo(1)),
        server.add("/gone", status(404)),
        server.add("/large", photo(2, "PNG")),
    ]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    limit = len(photo_bytes(2, "PNG")) - 1
    fetch(table, tmp_path / "out", max_mb=limit / 1e6)
    assert {name: reason for name, (reason, _) in failures(tmp_path / "out").items()} == {
        "p1": "HTTP 503 Service Unavailable",
        "p2": "HTTP 404 Not Found",
        "p3": "larger than --max-mb",
    }
    fetch(table, tmp_path / "out")
    assert list(failures(tmp_path / "out")) == ["p2"]
    assert server.seen.counts == {"/here": 1, "/late": 4, "/gone": 1, "/large": 2}


def test_rows_that_share_a_photo_are_fetched_once(tmp_path: Path, server: PhotoServer) -> None:
    url, other = server.add("/0", photo(0)), server.add("/1", photo(1))
    rows: list[dict[str, object]] = [{"photo_id": "a", "url": address} for address in (url, url, other)]
    fetch(table_of(tmp_path / "table.parquet", rows), tmp_path / "out")
    one, same, another = (row["path"] for row in rows_of(tmp_path / "out"))
    assert one == same != another
    assert server.seen.counts == {"/0": 1, "/1": 1}


def test_a_longer_table_fetches_only_what_is_new(tmp_path: Path, server: PhotoServer) -> None:
    urls = [server.add(f"/{number}", photo(number)) for number in range(6)]
    fetch(table_of(tmp_path / "short.parquet", [{"url": url} for url in urls[:4]]), tmp_path / "out")
    fetch(table_of(tmp_path / "long.parquet", [{"url": url} for url in urls]), tmp_path / "out")
    assert set(server.seen.counts.values()) == {1}
    assert len(rows_of(tmp_path / "out")) == 6


def test_photos_that_were_deleted_are_fetched_again(tmp_path: Path, server: PhotoServer) -> None:
    urls = [server.add(f"/{number}", photo(number)) for number in range(3)]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    fetch(table, tmp_path / "out")
    before, one = tree(tmp_path / "out"), rows_of(tmp_path / "out")[1]["path"]
    (tmp_path / "out" / one).unlink()
    fetch(table, tmp_path / "out")
    assert server.seen.counts == {"/0": 1, "/1": 2, "/2": 1}
    assert tree(tmp_path / "out") == before
    shutil.rmtree(tmp_path / "out" / "photos")
    server.add("/2", status(404))
    fetch(table, tmp_path / "out")
    assert [row["photo_id"] for row in rows_of(tmp_path / "out")] == ["p0", "p1"]
    assert failures(tmp_path / "out") == {"p2": ("HTTP 404 Not Found", "")}


def test_a_hash_that_the_table_got_later_is_compared(tmp_path: Path, server: PhotoServer) -> None:
    url = server.add("/0", photo(0))
    right, wrong = (hashlib.sha256(photo_bytes(seed)).hexdigest() for seed in (0, 1))
    outcomes = []
    for sha256 in ("", wrong, right.upper()):
        fetch(table_of(tmp_path / "table.parquet", [{"url": url, "sha256": sha256}]), tmp_path / "out")
        outcomes.append(failures(tmp_path / "out"))
    assert outcomes == [{}, {"p0": ("sha256 differs from the table's", right)}, {}]
    assert server.seen.counts == {"/0": 1}


def test_a_photo_that_another_row_takes_down_is_left_out(tmp_path: Path, server: PhotoServer) -> None:
    row = {"photo_id": "p", "url": server.add("/0", photo(0))}
    (tmp_path / "takedown.txt").write_text("Jane\n")
    table = table_of(tmp_path / "table.parquet", [{**row, "author": "Joe"}, {**row, "author": "Jane"}])
    fetch(table, tmp_path / "out")
    fetch(table, tmp_path / "out", takedown=tmp_path / "takedown.txt")
    assert rows_of(tmp_path / "out") == []


def test_whole_files_that_wait_are_taken_up_and_half_ones_deleted(tmp_path: Path) -> None:
    whole = examine(photo_bytes(0))
    assert isinstance(whole, Photo)
    incoming = tmp_path / ".download" / "incoming"
    incoming.mkdir(parents=True)
    keys = [key_of(name, "http://h/") for name in ("unknown", "bad")]
    (incoming / f"{keys[0]}.jpg").write_bytes(whole.body)
    (incoming / f"{keys[1]}.jpg").write_bytes(whole.body[:1000])
    (incoming / f".{keys[0]}.jpg.123.partial").write_bytes(b"half")
    with Journal(tmp_path) as journal:
        assert journal.find(keys[0]) == Arrival(".jpg", whole.sha256, 80, 64)
        assert journal.find(keys[1]) is None
        assert list(incoming.iterdir()) == []
        assert (tmp_path / place_of(keys[0], ".jpg")).read_bytes() == whole.body


def test_known_photos_whose_move_was_cut_short_are_moved(tmp_path: Path) -> None:
    whole = examine(photo_bytes(0))
    assert isinstance(whole, Photo)
    key = key_of("p", "http://h/")
    with Journal(tmp_path) as journal:
        arrival = journal.receive(key, whole)
        journal.record(key, arrival)
        journal._arrived.clear()  # as if killed between commit and move
    assert not (tmp_path / place_of(key, ".jpg")).exists()
    with Journal(tmp_path) as journal:
        assert journal.find(key) == arrival
    assert (tmp_path / place_of(key, ".jpg")).exists()


def test_two_downloads_at_once(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(GraftError, match="Another download is writing"), Journal(tmp_path):
        pass
    with Journal(tmp_path) as journal:
        journal.record("k", Failure("HTTP 404"))
    with Journal(tmp_path) as journal:
        assert journal.find("k") == Failure("HTTP 404")


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    with Journal(tmp_path):
        pass
    (tmp_path / ".download" / "journal.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(GraftError, match=r"journal\.sqlite is damaged .*: delete .*\.download"), Journal(tmp_path):
        pass


def test_a_journal_of_another_version_is_named(tmp_path: Path) -> None:
    with Journal(tmp_path):
        pass
    base = sqlite3.connect(tmp_path / ".download" / "journal.sqlite")
    base.execute("PRAGMA user_version = 9")
    base.close()
    with pytest.raises(GraftError, match="of another graft"), Journal(tmp_path):
        pass


def test_a_full_disk_stops_the_run_with_a_sentence(tmp_path: Path, server: PhotoServer) -> None:
    table = table_of(tmp_path / "table.parquet", [{"url": server.add("/0", photo(0))}])
    (tmp_path / "out" / "photos").parent.mkdir()
    (tmp_path / "out" / "photos").write_text("a file where a folder has to be")
    with pytest.raises(GraftError, match="cannot be written"):
        fetch(table, tmp_path / "out")


def test_the_failed_list_survives_commas_and_lines(tmp_path: Path, server: PhotoServer) -> None:
    rows: list[dict[str, object]] = [{"photo_id": 'a,"b', "url": server.url + "/0"}]
    fetch(table_of(tmp_path / "table.parquet", rows), tmp_path / "out")
    with (tmp_path / "out" / "failed.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["photo_id", "url", "reason", "detail"],
            ['a,"b', server.url + "/0", "HTTP 404 Not Found", ""],
        ]


def take_all(schedule: Schedule[str], now: float) -> list[str]:
    taken = []
    while ready := schedule.take(now):
        taken.append(ready[1])
    return taken


def test_the_schedule_spaces_and_limits_each_host() -> None:
    schedule = Schedule[str](per_host=2, rate=10)
    for number in range(4):
        schedule.add("a", f"a{number}")
    schedule.add("b", "b0")
    assert sorted(take_all(schedule, 100.0)) == ["a0", "b0"]
    assert schedule.pause(100.0) == pytest.approx(0.1)
    assert take_all(schedule, 100.05) == []
    assert take_all(schedule, 100.11) == ["a1"]
    assert take_all(schedule, 101.0) == []  # two at once
    assert schedule.pause(101.0) == float("inf")
    schedule.done("a")
    assert take_all(schedule, 101.0) == ["a2"]
    assert len(schedule) == 1


def test_the_schedule_holds_a_host_and_honours_due_times() -> None:
    schedule = Schedule[str](per_host=5, rate=1000)
    schedule.add("a", "later", due=50.0)
    schedule.add("a", "now")
    schedule.hold("a", 20.0)
    assert take_all(schedule, 19.9) == []
    assert schedule.pause(19.9) == pytest.approx(0.1)
    assert take_all(schedule, 20.0) == ["now"]
    assert schedule.pause(20.0) == pytest.approx(30.0)
    assert schedule.clear("a") == ["later"]
    assert len(schedule) == 0
    assert schedule.pause(20.0) == float("inf")


def test_the_schedule_keeps_its_promise_over_a_long_random_run() -> None:
    dice, schedule = random.Random(0), Schedule[int](per_host=3, rate=20)
    active: Counter[str] = Counter()
    last = dict.fromkeys("abcde", -1.0)
    running: list[tuple[float, str]] = []
    now, left, taken = 0.0, list(range(400)), []
    while left or len(schedule) or running:
        for job in left[:5]:
            schedule.add(dice.choice("abcde"), job, now + dice.choice([0, 0, 0.3]))
        del left[:5]
        while ready := schedule.take(now):
            host, job = ready
            active[host] += 1
            assert active[host] <= 3
            assert now - last[host] >= 0.05 - 1e-9
            last[host] = now
            taken.append(job)
            running.append((now + dice.uniform(0, 0.4), host))
        now += 0.01
        for end, host in [entry for entry in running if entry[0] <= now]:
            running.remove((end, host))
            active[host] -= 1
            schedule.done(host)
    assert sorted(taken) == list(range(400))
