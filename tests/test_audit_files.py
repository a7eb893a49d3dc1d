"""Checks of files, members and the index, each with its fault planted."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graft.audit.findings import Level
from graft.errors import GraftError
from tests.audit_inputs import edit_index, look, make_sample, row_of, write_split, write_tar


def test_bytes_of_a_shard(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(24)]
    folder = write_split(tmp_path / "train", samples)
    flipped = bytearray((folder / "shard-000000.tar").read_bytes())
    flipped[-1] ^= 1
    (folder / "shard-000000.tar").write_bytes(flipped)
    whole = (folder / "shard-000001.tar").read_bytes()
    (folder / "shard-000001.tar").write_bytes(whole[: len(whole) // 2])
    (folder / "shard-000002.tar").unlink()
    found = look(folder, tmp_path / "work")
    assert "shards of another sha256 than the index says: 1" in found["bytes"].says
    assert "shards of another size than the index says: 1" in found["bytes"].says
    assert "shards missing: 1" in found["bytes"].says
    assert found["tars"].level is Level.FAULT
    assert "shards with other samples than the index says: 2" in found["counts"].says
    assert 8 < len(found.audit.table.tiles) < 16


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, bytes(10_240), b"\xff" * 2_000])
def test_a_shard_that_is_no_tar(tmp_path: Path, content: bytes) -> None:
    folder = write_split(tmp_path / "train", [make_sample(0)])
    (folder / "shard-000000.tar").write_bytes(content)
    bad = look(folder, tmp_path / "work").bad
    assert bad["Files, bytes"] == bad["Files, counts"] == "fault"


@pytest.mark.parametrize("cut", [True, False])
def test_what_had_nothing_to_look_at_is_not_checked(tmp_path: Path, cut: bool) -> None:
    folder = write_split(tmp_path / "train", [make_sample(number) for number in range(4)])
    shard = folder / "shard-000000.tar"
    content = shard.read_bytes()[:100]
    shard.unlink()
    if cut:
        shard.write_bytes(content)
    found = look(folder, tmp_path / "work")
    fine = [f"{check.group}, {check.name}" for check in found.audit.checks if check.level is Level.OK]
    assert fine == ["Files, index", "Files, strays"]
    assert found["tars"].level is (Level.FAULT if cut else Level.UNCHECKED)
    assert found["json"].says == found["licences"].says == "there was nothing to look at"


def test_an_index_that_counts_wrong(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "train", [make_sample(number) for number in range(16)])
    edit_index(folder, lambda index: index["shards"][1].update(samples=9, photos=23))
    found = look(folder, tmp_path / "work")
    assert found.bad == {"Files, counts": "fault"}
    assert found["counts"].examples == [
        "with other samples than the index says: train/shard-000001.tar: 8, not 9",
        "with other photos than the index says: train/shard-000001.tar: 24, not 23",
    ]


def shuffled(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [members[0], *members[3:], *members[1:3]]


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (shuffled, "keys", "keys whose members do not lie together: 1"),
        (lambda m: [*m, ("Bad.Key.json", b"{}")], "members", "members not named KEY.FIELD or not plain files: 1"),
        (lambda m: [*m, m[-1]], "members", "members twice in one sample: 1"),
    ],
)
def test_members_of_a_tar(tmp_path: Path, change: Callable[[Any], Any], check: str, says: str) -> None:
    samples = [make_sample(0), make_sample(1)]
    folder = write_split(tmp_path / "train", samples)
    members = [(f"{sample.key}.{name}", body) for sample in samples for name, body in sample.members().items()]
    write_tar(folder / "shard-000000.tar", change(members))
    edit_index(folder, lambda index: index.update(shards=[row_of(folder / "shard-000000.tar", 2, 6)]))
    found = look(folder, tmp_path / "work")[check]
    assert found.level is Level.FAULT
    assert says in found.says


def test_keys_and_tile_ids_across_shards(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(16)]
    samples[12] = replace(samples[12], key=samples[1].key)
    samples[13].meta["tile_id"] = samples[2].meta["tile_id"]
    found = look(write_split(tmp_path / "train", samples), tmp_path / "work")["keys"]
    assert "keys used twice in train: 1" in found.says
    assert "keys whose tile_id is used twice in train: 1" in found.says
    assert found.level is Level.FAULT


def test_stray_tars(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "train", [make_sample(0)])
    (folder / "shard-000007.tar").write_bytes(b"")
    assert look(folder, tmp_path / "work").bad == {"Files, strays": "warning"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"version": 9}, "has schema version 9"),
        ({"sensor": "spot"}, "names a sensor that is not in sensors.yaml"),
        ({"tile_size": 0}, "has tile_size 0"),
        ({"tile_size": "64"}, "has tile_size '64', which is not of the right type"),
        ({"teacher": {"name": "t", "identity": "short", "dim": 8}}, "whose identity is not a sha256"),
        ({"teacher": None}, "there is nothing to learn from"),
        ({"shards": []}, "lists no shards"),
        ({"shards": [{"file": "../x.tar"}]}, "lacks 'samples'"),
        ({"radiometry": "other"}, "was rendered as 'other'"),
    ],
)
def test_the_index(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    folder = write_split(tmp_path / "train", [make_sample(0)], **fields)
    found = look(folder, tmp_path / "work")["index"]
    assert found.level is (Level.WARNING if "radiometry" in fields else Level.FAULT)
    assert says in found.says + " ".join(found.examples)


def test_an_index_with_paths_and_doubles(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "train", [make_sample(0)])
    edit_index(
        folder, lambda index: index["shards"].extend([index["shards"][0], {**index["shards"][0], "file": "../a"}])
    )
    found = look(folder, tmp_path / "work")["index"]
    assert "shards[2] has the file '../a', which is not a plain name" in found.examples
    assert "lists a shard twice" in found.examples


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_an_index_that_is_none(tmp_path: Path, content: str) -> None:
    folder = write_split(tmp_path / "train", [make_sample(0)])
    (folder / "index.json").write_text(content)
    assert look(folder, tmp_path / "work").bad == {"Files, index": "fault"}


def test_no_shards_there(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"neither it nor a folder in it holds an index\.json"):
        look(tmp_path, tmp_path / "work")
