import hashlib
import io
import json
import tarfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.errors import GraftError
from graft.shard_tools import VERBS, count, extract, list_shards, reshard, show, split
from graft.shards import ShardIndex, ShardReader
from tests.conftest import ShardFactory


def members_of(folder: Path) -> dict[str, bytes]:
    """All members of all shards in their order."""
    found = {}
    for row in json.loads((folder / "index.json").read_text())["shards"]:
        with tarfile.open(folder / row["file"]) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                found[member.name] = content.read()
    return found


def keys_of(folder: Path) -> list[str]:
    return list(dict.fromkeys(name.split(".")[0] for name in members_of(folder)))


def without_split(members: dict[str, bytes]) -> dict[str, Any]:
    """Members with their json parsed and its split taken out."""
    parsed = {name: json.loads(content) if name.endswith(".json") else content for name, content in members.items()}
    for value in parsed.values():
        if isinstance(value, dict):
            value.pop("split", None)
    return parsed


def readable(folder: Path) -> int:
    """Read each sample with the reader that training uses, and compare the index with the files; how many."""
    index = ShardIndex.load(folder)
    reader, rows = ShardReader(index), json.loads((folder / "index.json").read_text())["shards"]
    for shard, row in enumerate(rows):
        file = folder / row["file"]
        assert row["bytes"] == file.stat().st_size
        assert row["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        photos = [len(reader.read(shard, number).meta["photos"]) for number in range(row["samples"])]
        assert row["photos"] == sum(photos)
    return sum(index.samples)


def test_list_tells_samples_photos_and_bytes(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = list_shards(str(shards))
    printed = capsys.readouterr().out
    assert [(row.samples, row.photos) for row in source.rows] == [(8, 24)] * 3
    assert "sentinel, 32 px" in printed
    assert "photos stored" in printed
    (total,) = [line.split() for line in printed.splitlines() if line.strip().startswith("total")]
    assert total[1:3] == ["24", "72"]


def test_list_and_count_take_all_splits_of_a_build(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split(shards, out=tmp_path, shares={"train": 0.75, "val": 0.25})
    sources = list_shards(str(tmp_path))
    assert [(Path(source.where).name, sum(row.samples for row in source.rows)) for source in sources] == [
        ("train", 18),
        ("val", 6),
    ]
    assert "split val" in capsys.readouterr().out
    assert count(str(tmp_path)).samples == 24


def test_list_reads_an_address(shards: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards))) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        (source,) = list_shards(address)
        assert [row.photos for row in source.rows] == [24] * 3
        with pytest.raises(GraftError, match="not on this machine: copy them"):
            count(address)
        server.shutdown()


def test_count_counts_a_shared_photo_once(
    make_shards: ShardFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(members: dict[str, bytes], number: int) -> None:
        about = json.loads(members["json"])
        if number < 3:
            about["photos"][0]["id"] = "shared"
        if number == 5:
            about["photos"] = about["photos"][:1]
        members["json"] = json.dumps(about).encode()

    counts = count(str(make_shards(tmp_path / "s", samples=6, shards=2, change=change)))
    assert (counts.samples, counts.photos, counts.distinct_photos) == (6, 16, 14)
    assert counts.per_tile == {1: 1, 3: 5}
    assert "5  tiles with   3 photos" in capsys.readouterr().out


def test_show_takes_a_key_or_a_number(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = show(shards, "tile-000009")
    assert meta["tile_id"] == "tile-9"
    assert show(shards, "9") == meta
    printed = capsys.readouterr().out
    assert "sample 9 of 24" in printed
    assert "float16 [3, 32]" in printed
    assert '"photo-9-2"' in printed


def test_show_draws_the_photos_where_they_stand(shards: Path, tmp_path: Path) -> None:
    show(shards, "3", out=tmp_path / "three.png")
    drawn = np.asarray(Image.open(tmp_path / "three.png").convert("RGB")).astype(int)
    members = {
        name.partition(".")[2]: body for name, body in members_of(shards).items() if name.startswith("tile-000003")
    }
    tile = np.asarray(Image.open(io.BytesIO(members["tile.png"])).resize((512, 512), Image.Resampling.NEAREST))
    assert drawn.shape == (512, 512 + 168, 3)
    changed = np.abs(drawn[:, :512] - tile).sum(-1) > 60
    scale = 512 / 32
    for photo in json.loads(members["json"])["photos"]:
        x, y = round(photo["x"] * scale), round(photo["y"] * scale)
        assert tuple(drawn[y, x + 5]) == (255, 230, 0)
        assert not changed[y - 2 : y + 3, x - 2 : x + 3].any()
    assert not changed[:256].any()
    photo = Image.open(io.BytesIO(members["ground01.jpg"])).convert("RGB")
    top, left = 168, 512 + 8
    assert np.array_equal(
        drawn[top + 20 : top + photo.height, left + 20 : left + photo.width], np.asarray(photo)[20:, 20:]
    )


def test_extract_writes_plain_files(shards: Path, tmp_path: Path) -> None:
    assert extract(shards, out=tmp_path / "all") == 24 * 6
    assert {file.name: file.read_bytes() for file in (tmp_path / "all").iterdir()} == members_of(shards)
    assert extract(shards, out=tmp_path / "some", samples=["tile-000002", 5, "2"], field="tile.png") == 2
    assert sorted(file.name for file in (tmp_path / "some").iterdir()) == [
        "tile-000002.tile.png",
        "tile-000005.tile.png",
    ]


def test_extract_refuses(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"No sample has a field 'tile\.jpg'; they have ground\.npy, ground00\.jpg"):
        extract(shards, out=tmp_path / "out", field="tile.jpg")
    with pytest.raises(
        GraftError, match=r"No sample '24' in .*; expected a number from 0 to 23 or a key such as tile-0000"
    ):
        extract(shards, out=tmp_path / "out", samples=["24"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(GraftError, match="is there already"):
        extract(shards, out=tmp_path / "out")


def test_extract_does_not_take_the_place_of_the_current_folder(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for out in (Path(), tmp_path):
        with pytest.raises(GraftError, match=r"is the folder you are in; give the name of a new one"):
            extract(shards, out=out)
    assert extract(shards, out=Path("plain"), samples=[0], field="json") == 1


def with_a_member(folder: Path, name: str, kind: bytes = tarfile.REGTYPE) -> Path:
    """Put one more member at the end of the last shard, and the index right."""
    index = json.loads((folder / "index.json").read_text())
    row = index["shards"][-1]
    with tarfile.open(folder / row["file"], "a") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member, io.BytesIO(b""))
    content = (folder / row["file"]).read_bytes()
    row |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("../../escape.json", tarfile.REGTYPE, r"holds '\.\./\.\./escape\.json', which is no member"),
        ("/tmp/escape.json", tarfile.REGTYPE, "no member"),
        ("tile-000001.link", tarfile.SYMTYPE, "no member"),
        ("tile-000000.again", tarfile.REGTYPE, "holds the key 'tile-000000' twice|holds 3 samples, its index says 2"),
        ("tile-000001.json", tarfile.REGTYPE, "'tile-000001' has two members json"),
    ],
)
def test_hostile_tars_are_refused(
    make_shards: ShardFactory, tmp_path: Path, name: str, kind: bytes, message: str
) -> None:
    folder = with_a_member(make_shards(tmp_path / "s", samples=2, shards=1), name, kind)
    with pytest.raises(GraftError, match=message):
        extract(folder, out=tmp_path / "out")
    with pytest.raises(GraftError, match=message):
        reshard(folder, out=tmp_path / "new")
    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "new") == ["s"]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[700] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def test_looking_at_half_a_shard_is_refused(make_shards: ShardFactory, tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "s", samples=4, shards=2)
    cut(folder / "shard-000001.tar")
    with pytest.raises(GraftError, match=r"shard-000001\.tar (is not a whole tar|breaks off|holds 1 samples)"):
        count(str(folder))


def test_extract_compares_hashes(make_shards: ShardFactory, tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "s", samples=4, shards=2)
    flip(folder / "shard-000001.tar")
    with pytest.raises(GraftError, match=r"shard-000001\.tar is not the shard that its index names"):
        extract(folder, out=tmp_path / "out", samples=[0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("photos", "fault"),
    [
        ([{"x": 1.0, "y": 1.0}], "a photo has no id"),
        ([{"id": 7}], "a photo has no id"),
        (["photo"], "a photo has no id"),
        ([{"id": "\ud800"}], "surrogates not allowed"),
        ([{"id": "p", "author": "\udfff"}], "surrogates not allowed"),
        ({"id": "p"}, "its photos are no list"),
    ],
)
def test_a_photo_without_a_usable_id_is_told(
    make_shards: ShardFactory, tmp_path: Path, photos: object, fault: str
) -> None:
    def change(members: dict[str, bytes], number: int) -> None:
        if number == 1:
            members["json"] = json.dumps({**json.loads(members["json"]), "photos": photos}).encode()

    folder = make_shards(tmp_path / "s", samples=2, shards=1, change=change)
    for look in (
        lambda: count(str(folder)),
        lambda: show(folder, "1"),
        lambda: split(folder, out=tmp_path / "out", prefixes={"a": "tile-000001"}),
    ):
        with pytest.raises(GraftError, match=rf"The json of sample 'tile-000001' is not .*{fault}"):
            look()


def test_the_verbs_people_expect_have_help() -> None:
    assert list(VERBS) == ["list", "show", "count", "reshard", "merge", "split", "extract"]
    assert all(verb.__doc__ for verb in VERBS.values())
