import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset

from graft.errors import GraftError
from graft.prepare.records import PhotoRecord, TileRecord
from graft.prepare.samples import ShardCard, encode_png
from graft.prepare.shards import ShardBuilder
from graft.sensors import get_sensor
from tests.prepare_inputs import write_photo

TEACHER = {"name": "t", "identity": "ab" * 32, "dim": 3}
RECORD = TileRecord(photos=(PhotoRecord("p", 1.5, 2.5), PhotoRecord("q", 0.0, 7.9)), gsd_m=10.0)
TILE = encode_png(np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3))
GROUND = np.array([[1, 0, 0], [0, 0.6, 0.8]], dtype=np.float32)


def builder(out: Path, **changes: object) -> ShardBuilder:
    sensor = get_sensor("sentinel")
    card: dict[str, Any] = {"teacher": TEACHER, "photos_stored": False}
    card |= {name: changes.pop(name) for name in ("teacher", "photos_stored") if name in changes}
    return ShardBuilder(out, ShardCard(sensor.name, sensor.radiometry, 8, **card), **changes)


def build(out: Path, keys: list[str], **changes: object) -> dict[str, Any]:
    with builder(out, **changes) as shards:
        for key in keys:
            shards.write_sample(key, TILE, RECORD, ground=GROUND)
        return shards.finish({"why": "test"})


def test_plain_webdataset_reads_a_shard(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "p.jpg").read_bytes()
    with builder(tmp_path / "out", photos_stored=True) as shards:
        shards.write_sample("a_1-b", TILE, RECORD, ground=GROUND, photos=[photo, photo])
        shards.finish({})
    (sample,) = webdataset.WebDataset(str(tmp_path / "out" / "shard-000000.tar"), shardshuffle=False).decode("rgb8")
    assert sample["__key__"] == "a_1-b"
    assert sample["tile.png"].tolist() == np.arange(8 * 8 * 3).reshape(8, 8, 3).tolist()
    assert sample["ground.npy"].dtype == np.float16
    assert sample["ground.npy"] == pytest.approx(GROUND, abs=1e-3)
    assert sample["ground00.jpg"].shape == sample["ground01.jpg"].shape == (32, 48, 3)
    assert sample["json"]["tile_id"] == "a_1-b"
    assert sample["json"]["teacher"] == "ab" * 8
    assert sample["json"]["photos"][1] == {
        "id": "q",
        "x": 0.0,
        "y": 7.9,
        "taken_at": None,
        "heading": None,
        "license": None,
        "source": None,
        "accuracy_m": None,
    }


def test_index_and_shard_sizes(tmp_path: Path) -> None:
    index = build(tmp_path, [f"k{number}" for number in range(5)], samples_per_shard=2)
    assert json.loads((tmp_path / "index.json").read_text()) == index
    assert [(shard["samples"], shard["photos"]) for shard in index["shards"]] == [(2, 4), (2, 4), (1, 2)]
    assert [shard["bytes"] for shard in index["shards"]] == [
        (tmp_path / shard["file"]).stat().st_size for shard in index["shards"]
    ]
    assert index["teacher"] == TEACHER
    assert index["radiometry"] == get_sensor("sentinel").radiometry
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.json", *(f"shard-{n:06d}.tar" for n in range(3))]
    with tarfile.open(tmp_path / "shard-000000.tar") as archive:
        assert {(member.mtime, member.uid, member.gid, member.uname) for member in archive} == {(0, 0, 0, "")}


def test_full_last_shard_is_closed(tmp_path: Path) -> None:
    assert [shard["samples"] for shard in build(tmp_path, ["a", "b"], samples_per_shard=2)["shards"]] == [2]


@pytest.mark.parametrize("key", ["scene.tif", "Scene", "a b", "ü", "", "a/b", "x" * 81])
def test_refuses_a_bad_key(tmp_path: Path, key: str) -> None:
    with pytest.raises(GraftError, match="may hold only lower-case letters, digits, '_' and '-'"):
        build(tmp_path, [key])


def test_refuses_a_key_twice(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="'a' is used twice"):
        build(tmp_path, ["a", "b", "a"], samples_per_shard=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tile_png": b"GIF89a"}, "is no PNG file; expected a PNG of 8 x 8"),
        ({"tile_png": encode_png(np.zeros((8, 9, 3), np.uint8))}, "is 9 x 8 pixels"),
        ({"ground": GROUND[:1]}, r"shape \(1, 3\); expected \(2, 3\)"),
        ({"ground": np.ones((2, 4), np.float32) / 2}, r"shape \(2, 4\); expected \(2, 3\)"),
        ({"ground": GROUND * np.nan}, "not finite and of unit length"),
        ({"ground": GROUND * 2}, "not finite and of unit length"),
        ({"ground": None}, "needs vectors if and only if"),
        ({"photos": [b"jpeg"]}, "lists 2 photos and brings 1 photo files"),
        ({"record": TileRecord(photos=(), gsd_m=10.0)}, "has 0 photos; a tile needs 1 to 100"),
    ],
)
def test_refuses_a_bad_sample(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    sample: dict[str, Any] = {"tile_png": TILE, "record": RECORD, "ground": GROUND} | changes
    with builder(tmp_path) as shards, pytest.raises(GraftError, match=message):
        shards.write_sample("a", **sample)


def test_a_build_that_dies_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="used twice"):
        build(tmp_path / "out", ["a", "b", "a"], samples_per_shard=2)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_build_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".building").mkdir()
    (tmp_path / ".building" / "shard-000007.tar").write_bytes(b"half")
    build(tmp_path, ["a"])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.json", "shard-000000.tar"]


def test_two_builds_at_once(tmp_path: Path) -> None:
    with builder(tmp_path), pytest.raises(GraftError, match="Another build is writing"), builder(tmp_path):
        pass


def test_overwrites_only_when_told(tmp_path: Path) -> None:
    build(tmp_path, ["a", "b"], samples_per_shard=1)
    with pytest.raises(GraftError, match="already holds shards"):
        build(tmp_path, ["c"])
    with pytest.raises(RuntimeError), builder(tmp_path, overwrite=True):
        raise RuntimeError
    assert (tmp_path / "index.json").exists()
    build(tmp_path, ["c"], overwrite=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["index.json", "shard-000000.tar"]
    (tmp_path / "index.json").unlink()
    with pytest.raises(GraftError, match=r"shard-000000\.tar but no index\.json"):
        build(tmp_path, ["c"])


def test_out_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(GraftError, match="is a file"):
        builder(tmp_path / "out")
    with pytest.raises(GraftError, match="cannot be written"), builder(tmp_path / "out" / "below"):
        pass


def test_same_samples_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build(tmp_path / name, ["b", "a"])
    for name in ("index.json", "shard-000000.tar"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_vectors_are_plain_arrays(tmp_path: Path) -> None:
    build(tmp_path, ["a"])
    with tarfile.open(tmp_path / "shard-000000.tar") as archive:
        member = archive.extractfile("a.ground.npy")
        assert member is not None
        assert np.load(io.BytesIO(member.read()), allow_pickle=False).shape == (2, 3)
