import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graft.errors import GraftError
from graft.shard_tools import merge, reshard, split
from tests.conftest import ShardFactory
from tests.test_shard_tools import cut, flip, keys_of, members_of, readable, without_split


def test_reshard_back_and_forth_gives_the_same_bytes(shards: Path, tmp_path: Path) -> None:
    reshard(shards, out=tmp_path / "eight", samples=8)
    index = reshard(tmp_path / "eight", out=tmp_path / "five", samples=5)
    assert [row["samples"] for row in index["shards"]] == [5, 5, 5, 5, 4]
    assert readable(tmp_path / "five") == 24
    assert members_of(tmp_path / "five") == members_of(shards)
    reshard(tmp_path / "five", out=tmp_path / "again", samples=8)
    for name in ("shard-000000.tar", "shard-000001.tar", "shard-000002.tar"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "eight" / name).read_bytes()


def test_reshard_by_bytes(shards: Path, tmp_path: Path) -> None:
    sizes = [row["bytes"] for row in reshard(shards, out=tmp_path / "out", mb=0.06)["shards"]]
    assert len(sizes) > 3
    assert max(sizes) < 0.07e6


def test_reshard_shuffles_by_keys_and_seed_alone(shards: Path, tmp_path: Path) -> None:
    reshard(shards, out=tmp_path / "one", samples=7, seed=1)
    reshard(shards, out=tmp_path / "two", samples=7, seed=2)
    reshard(tmp_path / "two", out=tmp_path / "again", samples=7, seed=1)
    assert sorted(keys_of(tmp_path / "one")) == keys_of(shards) != keys_of(tmp_path / "one")
    assert keys_of(tmp_path / "one") != keys_of(tmp_path / "two")
    assert keys_of(tmp_path / "again") == keys_of(tmp_path / "one")
    for name in ("shard-000000.tar", "shard-000003.tar"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_members_that_graft_does_not_know_are_carried_along(make_shards: ShardFactory, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], number: int) -> None:
        members["tile.tif"] = b"more bands"

    source = make_shards(tmp_path / "s", samples=3, shards=1, change=change)
    reshard(source, out=tmp_path / "out", samples=2)
    assert members_of(tmp_path / "out")["tile-000001.tile.tif"] == b"more bands"


def test_merge_puts_folders_after_one_another(shards: Path, tmp_path: Path) -> None:
    split(shards, out=tmp_path, prefixes={"b": "tile-00002"})
    index = merge([tmp_path / name for name in ("rest", "b")], out=tmp_path / "merged", samples=16)
    assert [row["samples"] for row in index["shards"]] == [16, 8]
    assert index["split"] is None
    members = members_of(tmp_path / "merged")
    assert {json.loads(members[name])["split"] for name in members if name.endswith(".json")} == {None}
    assert readable(tmp_path / "merged") == 24
    assert keys_of(tmp_path / "merged") == keys_of(shards)
    assert without_split(members_of(tmp_path / "merged")) == without_split(members_of(shards))


def changed_index(folder: Path, **changes: object) -> Path:
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | changes))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"sensor": "naip"},
        {"tile_size": 64},
        {"radiometry": "otherwise"},
        {"teacher": {"name": "other", "identity": "cd" * 32, "dim": 32}},
        {"photos_stored": True},
    ],
)
def test_merge_refuses_what_does_not_go_together(
    make_shards: ShardFactory, tmp_path: Path, changes: dict[str, object]
) -> None:
    folders = [make_shards(tmp_path / name, samples=2, shards=1) for name in ("a", "b")]
    changed_index(folders[1], **changes)
    with pytest.raises(GraftError, match=f"do not go together: {next(iter(changes))} is"):
        merge(folders, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_merge_of_one_split_keeps_it(shards: Path, tmp_path: Path) -> None:
    for name, prefix in (("a", "tile-00000"), ("b", "tile-00001")):
        split(shards, out=tmp_path / name, prefixes={"val": prefix})
    parts = [tmp_path / name / "val" for name in ("a", "b")]
    assert merge(parts, out=tmp_path / "merged")["split"] == "val"
    assert members_of(tmp_path / "merged") == members_of(parts[0]) | members_of(parts[1])


def test_merge_refuses_a_key_twice(make_shards: ShardFactory, tmp_path: Path) -> None:
    folders = [make_shards(tmp_path / name, samples=2, shards=1) for name in ("a", "b")]
    with pytest.raises(GraftError, match=r"'tile-000000' is in .*/a and in .*/b"):
        merge(folders, out=tmp_path / "out")
    with pytest.raises(GraftError, match="nothing to merge in 1 folder"):
        merge(folders[:1], out=tmp_path / "out")


def test_split_by_share(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    indices = split(shards, out=tmp_path / "out", shares={"train": 0.5, "val": 0.3, "test": 0.2}, seed=4, samples=5)
    assert [readable(tmp_path / "out" / name) for name in ("train", "val", "test")] == [12, 7, 5]
    assert "share ground and photos" in capsys.readouterr().out
    every = [key for name in indices for key in keys_of(tmp_path / "out" / name)]
    assert sorted(every) == keys_of(shards) != every
    assert {name: index["split"] for name, index in indices.items()} == {"train": "train", "val": "val", "test": "test"}
    members = members_of(tmp_path / "out" / "val")
    assert {json.loads(members[name])["split"] for name in members if name.endswith(".json")} == {"val"}
    split(shards, out=tmp_path / "again", shares={"train": 0.5, "val": 0.3, "test": 0.2}, seed=4, samples=5)
    split(shards, out=tmp_path / "seed", shares={"train": 0.5, "val": 0.3, "test": 0.2}, seed=5, samples=5)
    name = "train/shard-000000.tar"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert (tmp_path / "seed" / name).read_bytes() != (tmp_path / "out" / name).read_bytes()


def test_split_by_keys_and_by_prefix(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("tile-000003\n\ntile-000017\n")
    split(shards, out=tmp_path / "keys", keys={"val": tmp_path / "val.txt"})
    assert keys_of(tmp_path / "keys" / "val") == ["tile-000003", "tile-000017"]
    assert readable(tmp_path / "keys" / "rest") == 22
    split(shards, out=tmp_path / "prefix", prefixes={"val": "tile-00002", "test": "tile-00001"})
    assert keys_of(tmp_path / "prefix" / "val") == [f"tile-{number:06d}" for number in range(20, 24)]
    assert [readable(tmp_path / "prefix" / name) for name in ("test", "rest")] == [10, 10]
    split(shards, out=tmp_path / "all", prefixes={"every": "tile"})
    assert not (tmp_path / "all" / "rest").exists()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({}, "Say in one way how to split"),
        ({"shares": {"a": 1.0}, "prefixes": {"b": "x"}}, "Say in one way"),
        ({"shares": {"a": 0.5, "b": 0.4}}, "add up to 0.9; expected"),
        ({"shares": {"a": 1.5, "b": -0.5}}, "expected shares above 0"),
        ({"shares": {"a": 0.999, "b": 0.001}}, "The split b would hold none of the 24"),
        ({"prefixes": {"a": "nothing"}}, "The split a would hold none"),
        ({"prefixes": {"a": "tile", "b": "tile-00"}}, "'tile-000000' begins as a and as b should"),
        ({"prefixes": {"../a": "tile"}}, r"cannot be called '\.\./a'"),
        ({"prefixes": {"rest": "tile-00001"}}, "cannot be called 'rest'"),
        ({"keys": {"a": "none.txt"}}, r"list of keys .*none\.txt cannot be read"),
        ({"keys": {"a": "wrong.txt"}}, r"1 of 2 listed keys are not in .*, first 'elsewhere'; expected keys such as"),
        ({"keys": {"a": "one.txt", "b": "one.txt"}}, "'tile-000001' is listed for a and for b"),
        ({"shares": {"a": 1.0}, "samples": 0}, "--samples is 0"),
    ],
)
def test_split_refuses(shards: Path, tmp_path: Path, how: dict[str, Any], message: str) -> None:
    (tmp_path / "one.txt").write_text("tile-000001\n")
    (tmp_path / "wrong.txt").write_text("tile-000001\nelsewhere\n")
    if "keys" in how:
        how = how | {"keys": {name: tmp_path / file for name, file in how["keys"].items()}}
    with pytest.raises(GraftError, match=message):
        split(shards, out=tmp_path / "out", **how)
    assert not list(tmp_path.glob("out/*/index.json"))


@pytest.mark.parametrize("verb", ["reshard", "merge", "split"])
@pytest.mark.parametrize("damage", [flip, cut])
def test_damage_is_not_copied_under_a_new_hash(
    make_shards: ShardFactory, tmp_path: Path, verb: str, damage: Any
) -> None:
    folder = make_shards(tmp_path / "s", samples=4, shards=2)
    other = make_shards(tmp_path / "t", samples=1, shards=1)
    damage(folder / "shard-000001.tar")
    calls = {
        "reshard": lambda: reshard(folder, out=tmp_path / "out"),
        "merge": lambda: merge([folder, other], out=tmp_path / "out"),
        "split": lambda: split(folder, out=tmp_path / "out", shares={"a": 0.5, "b": 0.5}),
    }
    with pytest.raises(GraftError, match=r"shard-000001\.tar is not the shard that its index names"):
        calls[verb]()
    assert not list(tmp_path.glob("out/**/index.json"))


def test_writers_refuse_to_overwrite_unasked(shards: Path, tmp_path: Path) -> None:
    reshard(shards, out=tmp_path / "out")
    with pytest.raises(GraftError, match="already holds shards"):
        reshard(shards, out=tmp_path / "out", samples=4)
    assert len(reshard(shards, out=tmp_path / "out", samples=4, overwrite=True)["shards"]) == 6
    with pytest.raises(GraftError, match="is what is read"):
        reshard(tmp_path / "out", out=tmp_path / "out", overwrite=True)
    with pytest.raises(GraftError, match="give one of them"):
        reshard(shards, out=tmp_path / "new", samples=4, mb=1.0)


def rows_of(file: Path) -> Iterator[list[str]]:
    with file.open(newline="", encoding="utf-8") as source:
        yield from csv.reader(source)


def test_credits_go_with_the_samples(make_shards: ShardFactory, tmp_path: Path) -> None:
    folders = []
    for number, name in enumerate(("a", "b")):
        whole = make_shards(tmp_path / f"whole-{name}", samples=6, shards=1)
        split(whole, out=tmp_path / name, prefixes={"train": f"tile-00000{number}"})
        folders.append(tmp_path / name / "train")
        credits = [["photo_id", "author"], ["shared", "Jane, of\nBern"], [f"only-{name}", "Joe"]]
        with (tmp_path / name / "ATTRIBUTION.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(credits)
    merge(folders, out=tmp_path / "merged")
    assert list(rows_of(tmp_path / "merged" / "ATTRIBUTION.csv")) == [
        ["photo_id", "author"],
        ["shared", "Jane, of\nBern"],
        ["only-a", "Joe"],
        ["only-b", "Joe"],
    ]
    reshard(tmp_path / "merged", out=tmp_path / "again")
    assert (tmp_path / "again" / "ATTRIBUTION.csv").read_bytes() == (
        tmp_path / "merged" / "ATTRIBUTION.csv"
    ).read_bytes()
