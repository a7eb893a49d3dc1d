import csv
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from graft.errors import GraftError
from graft.photos import download_run
from graft.photos.download import Downloaded, download
from graft.photos.fetch import refused_by
from graft.photos.permission import Permission
from graft.photos.schema import PhotoTableWriter
from tests.photo_server import (
    PhotoServer,
    cut_without_length,
    drop,
    page,
    photo,
    photo_bytes,
    photo_server,
    stall,
    status,
    trickle,
    truncate,
)


@pytest.fixture
def server() -> Iterator[PhotoServer]:
    with photo_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_run, "BACKOFF", 0.02)


def table_of(path: Path, rows: list[dict[str, object]]) -> Path:
    with PhotoTableWriter(path) as writer:
        for number, row in enumerate(rows):
            common = {"photo_id": f"p{number}", "lon": 8.0 + number / 1000, "lat": 47.0, "license": "CC-BY-4.0"}
            writer.add(common | row)
    return path


def fetch(table: Path, out: Path, **changes: Any) -> Downloaded:
    settings = {"contact": "me@example.org", "rate": 1000.0, "timeout": 0.3, "attempts": 3} | changes
    return download(table, out=out, **settings)


def rows_of(out: Path) -> list[dict[str, Any]]:
    return pyarrow.parquet.read_table(out / "photos.parquet").to_pylist()


def failures(out: Path) -> dict[str, tuple[str, str]]:
    with (out / "failed.csv").open(newline="", encoding="utf-8") as file:
        return {row["photo_id"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


def one(tmp_path: Path, url: str, **changes: Any) -> tuple[str, str] | None:
    """Fetch a single photo; why it did not come."""
    table = table_of(tmp_path / "one.parquet", [{"url": url}])
    fetch(table, tmp_path / "out", **changes)
    return failures(tmp_path / "out").get("p0")


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".download" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_photos_lie_where_the_table_says_with_their_size_and_hash(tmp_path: Path, server: PhotoServer) -> None:
    kinds = ["JPEG", "PNG", "WEBP", "GIF", "TIFF"]
    urls = [server.add(f"/{number}", photo(number, kind)) for number, kind in enumerate(kinds)]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    result = fetch(table, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert (result.photos, result.left_out.total) == (5, 0)
    assert [row["photo_id"] for row in rows] == [f"p{number}" for number in range(5)]
    for number, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        file = tmp_path / "out" / row["path"]
        assert file.read_bytes() == photo_bytes(number, kind)
        assert file.suffix == {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
        assert (row["width"], row["height"]) == (80, 64)
        assert row["sha256"] == hashlib.sha256(photo_bytes(number, kind)).hexdigest()
        assert file.relative_to(tmp_path / "out").parts[1:3] == (file.name[:2], file.name[2:4])
    (agent,) = server.seen.agents
    assert agent.startswith("graft/")
    assert "me@example.org" in agent
    assert failures(tmp_path / "out") == {}
    assert list((tmp_path / "out" / ".download" / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("bad", "asked"),
    [
        pytest.param(status(503), 2, id="503"),
        pytest.param(status(429, Retry_After="0"), 2, id="429"),
        pytest.param(status(500), 2, id="500"),
        pytest.param(status(503, Retry_After="soon"), 2, id="503 with a Retry-After that says nothing"),
        pytest.param(drop, 2, id="drop"),
        pytest.param(stall, 2, id="stall"),
        pytest.param(truncate, 2, id="truncate"),
        pytest.param(cut_without_length, 2, id="cut without a length"),
        pytest.param(page(b"", "image/jpeg"), 2, id="empty"),
        pytest.param(status(302, Location="/photo?again"), 2, id="redirect"),
    ],
)
def test_a_passing_fault_is_tried_again(tmp_path: Path, server: PhotoServer, bad: Any, asked: int) -> None:
    url = server.add("/photo", bad, photo(3))
    server.add("/photo?again", photo(3))
    assert one(tmp_path, url) is None
    (row,) = rows_of(tmp_path / "out")
    assert (tmp_path / "out" / row["path"]).read_bytes() == photo_bytes(3)
    assert len(server.seen.paths) == asked


@pytest.mark.parametrize(
    ("answer", "reason", "asked"),
    [
        (status(404), "HTTP 404 Not Found", 1),
        (status(403), "HTTP 403 Forbidden", 1),
        (status(204), "HTTP 204 No Content", 1),
        (status(503), "HTTP 503 Service Unavailable", 3),
        (drop, "connection failed or broke off", 3),
        (stall, "timed out", 3),
        (truncate, "connection failed or broke off", 3),
        (cut_without_length, "does not decode as an image", 3),
        (page(b"<html>sorry</html>", "text/html; charset=utf-8"), "not an image", 1),
        (page(b"<html>sorry</html>", "image/jpeg"), "does not decode as an image", 3),
        (photo(0, X_Robots_Tag="noai, noimageai"), "refused by X-Robots-Tag", 1),
        (status(302, Location="/photo"), "too many redirects", 6),
        (status(302, Location="ftp://example.org/photo"), "redirected to no http(s) address", 1),
        (status(302, Location="file:///etc/passwd"), "redirected to no http(s) address", 1),
        (status(302, Location="/images/en-us/photo_unavailable.png"), "no longer there", 1),
    ],
)
def test_a_lasting_fault_is_counted_and_listed(
    tmp_path: Path, server: PhotoServer, answer: Any, reason: str, asked: int, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = one(tmp_path, server.add("/photo", answer))
    assert failure is not None
    assert failure[0] == reason
    assert len(server.seen.paths) == asked
    assert rows_of(tmp_path / "out") == []
    assert f"1  {reason} (p0)" in capsys.readouterr().out
    assert set(tree(tmp_path / "out")) == {"photos.parquet", "failed.csv"}


def test_other_octet_types_are_taken_for_what_they_are(tmp_path: Path, server: PhotoServer) -> None:
    assert one(tmp_path, server.add("/photo", photo(0, Content_Type="binary/octet-stream"))) is None


def test_an_encoded_answer_is_decoded(tmp_path: Path, server: PhotoServer) -> None:
    def packed(handler: Any) -> None:
        handler.reply(200, gzip.compress(photo_bytes(4)), Content_Type="image/jpeg", Content_Encoding="gzip")

    assert one(tmp_path, server.add("/photo", packed)) is None
    (row,) = rows_of(tmp_path / "out")
    assert (tmp_path / "out" / row["path"]).read_bytes() == photo_bytes(4)


@pytest.mark.parametrize("length", [True, False])
def test_large_files_are_not_taken(tmp_path: Path, server: PhotoServer, length: bool) -> None:
    sent: list[int] = []

    def large(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        if length:
            handler.send_header("Content-Length", "400000000")
        handler.end_headers()
        for _ in range(400):
            sent.append(handler.wfile.write(b"\xff" * 1_000_000))

    assert one(tmp_path, server.add("/photo", large), max_mb=0.1) == (
        "larger than --max-mb",
        "more than 100,000 bytes",
    )
    # What fits into the buffers of the connection goes out before the server learns that nobody listens.
    assert sum(sent) < 50_000_000


def test_a_hash_in_the_table_is_checked(tmp_path: Path, server: PhotoServer) -> None:
    url = server.add("/photo", photo(1))
    right, wrong = (hashlib.sha256(photo_bytes(seed)).hexdigest() for seed in (1, 2))
    rows: list[dict[str, object]] = [{"url": url, "sha256": right.upper()}, {"url": url, "sha256": wrong}]
    fetch(table_of(tmp_path / "table.parquet", rows), tmp_path / "out")
    assert [row["photo_id"] for row in rows_of(tmp_path / "out")] == ["p0"]
    assert failures(tmp_path / "out") == {"p1": ("sha256 differs from the table's", right)}


def test_retry_after_holds_the_whole_host(tmp_path: Path, server: PhotoServer) -> None:
    server.add("/0", status(429, Retry_After="1"), photo(0))
    urls = [server.url + "/0", *(server.add(f"/{number}", photo(number)) for number in range(1, 4))]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    assert fetch(table, tmp_path / "out", per_host=1).photos == 4
    assert server.seen.times[1] - server.seen.times[0] >= 1.0


def test_a_host_that_asks_for_hours_is_left_alone_until_the_next_run(tmp_path: Path, server: PhotoServer) -> None:
    urls = [server.add(f"/{number}", status(503, Retry_After="7200"), photo(number)) for number in range(20)]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    result = fetch(table, tmp_path / "out", per_host=2)
    assert result.left_out.counts == {"host asks to be left alone for long": 20}
    assert len(server.seen.paths) <= 2
    for number in range(20):
        server.add(f"/{number}", photo(number))
    assert fetch(table, tmp_path / "out").photos == 20


def test_no_more_at_once_and_a_second_than_allowed(tmp_path: Path, server: PhotoServer) -> None:
    urls = [server.add(f"/{number}", photo(number, wait=0.05)) for number in range(40)]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    fetch(table, tmp_path / "out", per_host=3)
    assert server.seen.most_at_once == 3
    server.seen.times.clear()
    fetch(table, tmp_path / "slow", rate=100.0)
    assert server.seen.times[-1] - server.seen.times[0] >= 39 / 100 * 0.95
    assert len(server.seen.times) == 40


def test_a_slow_host_does_not_hold_up_another(tmp_path: Path, server: PhotoServer) -> None:
    with photo_server() as other:
        slow = [server.add(f"/{number}", photo(number, wait=0.25)) for number in range(6)]
        quick = [other.add(f"/{number}", photo(number)) for number in range(10)]
        table = table_of(tmp_path / "table.parquet", [{"url": url} for url in [*slow, *quick]])
        fetch(table, tmp_path / "out", per_host=1, workers=4)
        assert other.seen.times[-1] < server.seen.times[-1]


def test_cookies_are_not_sent_back(tmp_path: Path, server: PhotoServer) -> None:
    urls = [server.add(f"/{number}", photo(number, Set_Cookie="id=42; Path=/")) for number in range(3)]
    fetch(table_of(tmp_path / "table.parquet", [{"url": url} for url in urls]), tmp_path / "out", workers=1)
    assert server.seen.cookies == {""}


def test_passwords_of_the_user_are_not_sent(
    tmp_path: Path, server: PhotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert one(tmp_path, server.add("/photo", photo(0))) is None
    assert server.seen.passwords == {""}


def test_a_trickle_is_cut_short(tmp_path: Path, server: PhotoServer) -> None:
    failure = one(tmp_path, server.add("/photo", trickle), timeout=0.1, attempts=1)
    assert failure == ("timed out", "not whole after 1 s")


def test_what_is_not_asked_for(tmp_path: Path, server: PhotoServer) -> None:
    url = server.add("/photo", photo(0))
    takedown = tmp_path / "takedown.txt"
    takedown.write_text(f"# asked to be left out\n\np1\njane doe\n{url}?gone\n", encoding="utf-8")
    rows: list[dict[str, object]] = [
        {"url": url},
        {"url": url},
        {"url": url, "author": "jane doe"},
        {"url": f"{url}?gone"},
        {"url": url, "license": "CC-BY-NC-4.0"},
        {"url": url, "license": ""},
        {"url": "", "path": "here.jpg"},
        {"url": "ftp://example.org/photo.jpg"},
        {"url": "http://[::1/photo.jpg"},
        {"url": "http:///photo.jpg"},
    ]
    table = table_of(tmp_path / "table.parquet", rows)
    result = fetch(table, tmp_path / "out", takedown=takedown)
    assert [row["photo_id"] for row in rows_of(tmp_path / "out")] == ["p0"]
    assert result.left_out.counts == {
        "on the take-down list": 3,
        "licence not allowed": 2,
        "no address": 1,
        "not an http(s) address": 3,
    }
    assert failures(tmp_path / "out")["p4"] == ("licence not allowed", "CC-BY-NC-4.0")
    assert server.seen.counts == {"/photo": 1}


def test_a_photo_taken_down_later_is_deleted(tmp_path: Path, server: PhotoServer) -> None:
    urls = [server.add(f"/{number}", photo(number)) for number in range(2)]
    table = table_of(tmp_path / "table.parquet", [{"url": url} for url in urls])
    fetch(table, tmp_path / "out")
    gone, kept = (tmp_path / "out" / row["path"] for row in rows_of(tmp_path / "out"))
    takedown = tmp_path / "takedown.txt"
    takedown.write_text("p0\n")
    fetch(table, tmp_path / "out", takedown=takedown)
    assert (gone.exists(), kept.exists()) == (False, True)
    assert [row["photo_id"] for row in rows_of(tmp_path / "out")] == ["p1"]
    assert len(server.seen.paths) == 2


@pytest.mark.parametrize(
    ("license", "allowed", "expected"),
    [
        ("CC-BY-4.0", ["CC-BY"], True),
        ("CC-BY", ["CC-BY"], True),
        ("CC-BY-SA-3.0-IGO", ["cc-by-sa"], True),
        ("CC0-1.0", ["CC0"], True),
        ("PD", ["PD"], True),
        ("CC-BY-NC-4.0", ["CC-BY"], False),
        ("CC-BY-SA-4.0", ["CC-BY"], False),
        ("CC-BY-2.0", ["CC-BY-4.0"], False),
        ("All Rights Reserved", ["CC-BY"], False),
        ("", ["CC-BY"], False),
        ("", ["any"], True),
    ],
)
def test_licenses(license: str, allowed: list[str], expected: bool) -> None:
    assert Permission.read(allowed, None).has_license({"license": license}) is expected


@pytest.mark.parametrize(
    ("headers", "directive"),
    [
        ([], None),
        (["nofollow, noarchive"], None),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["nofollow", "noindex, nofollow"], "noindex"),
        (["none"], "none"),
        (["noimageindex"], "noimageindex"),
        (["otherbot: noindex"], None),
        (["otherbot: nofollow, noai"], None),
        (["graft: noai"], "noai"),
        (["*: noai"], "noai"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST"], None),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "noai"),
        (["max-image-preview: large, noindex"], "noindex"),
    ],
)
def test_robots_headers(headers: list[str], directive: str | None) -> None:
    assert refused_by(headers) == directive


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contact": "nobody"}, "--contact is 'nobody'; expected a mail or web address"),
        ({"contact": "me@example.org\r\nX: y"}, "--contact"),
        ({"licenses": []}, r"The list of licences is empty; .*--licenses .*filters\.licenses"),
        (
            {"takedown": Path("/nowhere/list.txt")},
            r"take-down list /nowhere/list\.txt cannot .*--takedown .*filters\.takedown",
        ),
        ({"rate": 0.0}, "--rate is 0; it must be above 0"),
        ({"timeout": float("nan")}, "--timeout is nan"),
        ({"out": Path("/dev/null/out")}, "cannot be written"),
    ],
)
def test_refuses_settings(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    table = table_of(tmp_path / "table.parquet", [{"url": "http://127.0.0.1:9/photo"}])
    with pytest.raises(GraftError, match=message):
        download(table, **({"out": tmp_path / "out", "contact": "me@example.org"} | changes))


def test_refuses_what_is_no_photo_table(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"none\.parquet cannot be read as a photo table"):
        fetch(tmp_path / "none.parquet", tmp_path / "out")
    (tmp_path / "text.parquet").write_text("photo_id,url\n")
    with pytest.raises(GraftError, match=r"text\.parquet cannot be read as a photo table"):
        fetch(tmp_path / "text.parquet", tmp_path / "out")
    columns = {"photo_id": [1], "url": ["http://127.0.0.1/"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "other.parquet")
    with pytest.raises(GraftError, match="photo_id, source, path, lon"):
        fetch(tmp_path / "other.parquet", tmp_path / "out")


def test_gives_up_where_nothing_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_run, "HOPELESS_AFTER", 5)
    with photo_server() as gone:
        url = gone.url
    table = table_of(tmp_path / "table.parquet", [{"url": f"{url}/{number}"} for number in range(50)])
    with pytest.raises(
        GraftError, match=r"None of the first 5 photos came.*connection failed.*the same command goes on"
    ):
        fetch(table, tmp_path / "out", attempts=1)
    assert not (tmp_path / "out" / "photos.parquet").exists()


def test_the_table_is_not_overwritten_by_its_own_result(tmp_path: Path) -> None:
    table = tmp_path / "photos.parquet"
    with PhotoTableWriter(table) as writer:
        writer.add({"photo_id": "a", "url": "http://127.0.0.1:9/a.jpg", "lon": 1.5, "lat": 2.5, "license": "CC0-1.0"})
    before = table.read_bytes()
    with pytest.raises(GraftError, match="is what .* is going to hold"):
        download(table, out=tmp_path, contact="me@example.org")
    assert table.read_bytes() == before
