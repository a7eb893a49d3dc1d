import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset as wds

from graft.errors import GraftError
from graft.shards import BadSampleError, ShardIndex, ShardReader, photo_number
from tests.conftest import ShardFactory

Change = Callable[[dict[str, bytes], int], None]


def npy(vectors: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, vectors)
    return stream.getvalue()


def test_reads_every_field(shards: Path) -> None:
    sample = ShardReader(ShardIndex.load(shards)).read(1, 2)
    assert sample.meta["tile_id"] == "tile-10"
    assert (sample.tile.dtype, tuple(sample.tile.shape)) == (torch.uint8, (3, 32, 32))
    assert sample.ground is not None
    torch.testing.assert_close(sample.ground.norm(dim=-1), torch.ones(3), atol=1e-3, rtol=0)
    assert len(sample.photos) == 3


def test_plain_webdataset_reads_the_shards(shards: Path) -> None:
    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = list(wds.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert [sample["json"]["tile_id"] for sample in samples] == [f"tile-{number}" for number in range(24)]
    assert samples[0]["tile.png"].shape == (32, 32, 3)
    assert samples[0]["ground.npy"].dtype == np.float16
    ours = ShardReader(ShardIndex.load(shards)).read(0, 0)
    assert np.array_equal(samples[0]["tile.png"], ours.tile.permute(1, 2, 0).numpy())


def test_photo_numbers_are_stable_and_positive() -> None:
    assert photo_number("a") == photo_number("a") != photo_number("b")
    assert all(0 <= photo_number(str(n)) < 2**63 for n in range(100))


@pytest.mark.parametrize(
    ("break_index", "message"),
    [
        (lambda path: path.unlink(), "holds no index.json.*graft prepare.*make demo"),
        (lambda path: path.write_text("{"), "is not a shard index"),
        (lambda path: path.write_text('{"version": 9}'), "schema version 9"),
        (
            lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | {"shards": []})),
            "lists no samples",
        ),
        (lambda path: (path.parent / "shard-000001.tar").unlink(), "1 of 3 shards .* missing, first shard-000001"),
    ],
)
def test_a_broken_index_is_told(
    make_shards: ShardFactory, tmp_path: Path, break_index: Callable[[Path], None], message: str
) -> None:
    folder = make_shards(tmp_path / "s", samples=3)
    break_index(folder / "index.json")
    with pytest.raises(GraftError, match=message):
        ShardIndex.load(folder)


TEACHER = {"name": "a", "identity": "b", "dim": 3}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sha256": "/home/someone/backup"}, "sha256 is '/home/someone/backup'"),
        ({"sha256": "A" * 64}, "sha256 is 'AAA"),
        ({"sha256": None}, "sha256 is None"),
        ({"file": "../s1/a.tar"}, "file is '../s1/a.tar'"),
        ({"file": "/a.tar"}, "file is '/a.tar'"),
        ({"file": ".a.tar"}, "file is '.a.tar'"),
        ({"file": 5}, "file is 5"),
        ({"samples": "3"}, "samples is '3'"),
        ({"samples": None}, "samples is None"),
        ({"samples": -1}, "samples is -1"),
        ({"samples": 1.5}, "samples is 1.5"),
        ({"bytes": "9"}, "bytes is '9'"),
    ],
)
def test_what_an_index_says_of_a_shard_is_checked(
    make_shards: ShardFactory, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    path = make_shards(tmp_path / "s", samples=3) / "index.json"
    content = json.loads(path.read_text())
    content["shards"][1] |= fields
    path.write_text(json.dumps(content))
    with pytest.raises(GraftError, match=f"is not a shard index .*{message}"):
        ShardIndex.load(path.parent)


@pytest.mark.parametrize(
    "fields",
    [
        {"teacher": {}},
        {"teacher": 5},
        {"teacher": TEACHER | {"identity": None}},
        {"teacher": TEACHER | {"dim": "3"}},
        {"tile_size": "32"},
        {"sensor": 3},
        {"photos_stored": 1},
        {"shards": {}},
        {"shards": [3]},
    ],
)
def test_a_field_of_another_type_is_told(make_shards: ShardFactory, tmp_path: Path, fields: dict[str, object]) -> None:
    path = make_shards(tmp_path / "s", samples=3) / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(GraftError, match="is not a shard index"):
        ShardIndex.load(path.parent)


def drop(name: str) -> Change:
    return lambda members, number: members.pop(name) and None


def put(name: str, content: bytes) -> Change:
    return lambda members, number: members.update({name: content})


def edit(**fields: object) -> Change:
    def change(members: dict[str, bytes], number: int) -> None:
        members["json"] = json.dumps(json.loads(members["json"]) | fields).encode()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("tile.png", b"no picture"), "cannot identify image"),
        (put("tile.png", b""), "no tile.png"),
        (drop("ground.npy"), "no ground.npy"),
        (put("ground.npy", npy(np.ones((3, 7), np.float16))), r"shape \(3, 7\), expected \(3, 32\)"),
        (put("ground.npy", npy(np.full((3, 32), np.nan, np.float16))), "not finite"),
        (put("ground.npy", npy(np.ones((3, 32), np.float16))), "unit length"),
        (put("ground.npy", npy(np.array([object()]))), "of objects"),
        (put("ground.npy", npy(np.asfortranarray(np.ones((3, 32), np.float16)))), "Fortran order"),
        (put("ground.npy", npy(np.ones((3, 32), np.float16))[:150]), "buffer"),
        (edit(photos=[{"id": "a", "x": "1", "y": 2.0}] * 3), "x of photo a is '1', no number"),
        (edit(photos=[{"id": 7, "x": 1.0, "y": 2.0}] * 3), "id of a photo is 7, expected text"),
        (edit(photos=[{"id": "\ud800", "x": 1.0, "y": 2.0}] * 3), r"id of a photo is '\\ud800', expected text"),
        (edit(photos=[{"id": "", "x": 1.0, "y": 2.0}] * 3), "id of a photo is '', expected text"),
        (edit(photos=[{"id": "a", "x": 1e300, "y": 2.0}] * 3), "x of photo a is 1e.300, no number from 0 to 32"),
        (edit(photos=[{"id": "a", "x": 1.0, "y": 32.01}] * 3), "y of photo a is 32.01, no number from 0 to 32"),
        (edit(photos=[{"id": "a", "x": -0.01, "y": 2.0}] * 3), "x of photo a is -0.01"),
        (edit(tile_id=7), "tile_id or the id of a photo is 7"),
        (edit(photos=[{"id": "a", "x": float("nan"), "y": 2.0}] * 3), "x of photo a is nan"),
        (edit(teacher="0123456789abcdef"), "of teacher 0123456789abcdef, index.json names"),
        (edit(photos=[]), "a tile with no photo"),
        (put("json", b"{"), "line 1"),
        (put("json", b"[]"), "indices"),
        (edit(photos=[{"id": "a", "x": 1.0}] * 3), "json lacks y"),
        (put("ground.npy", b"PK\x03\x04 no archive"), "magic string"),
        (drop("ground01.jpg"), "3 photos in its json, 2 stored"),
    ],
)
def test_a_bad_sample_costs_itself_and_says_why(
    make_shards: ShardFactory, tmp_path: Path, change: Change, message: str
) -> None:
    folder = make_shards(
        tmp_path / "s",
        samples=4,
        shards=1,
        stored=True,
        change=lambda members, n: change(members, n) if n == 2 else None,
    )
    reader = ShardReader(ShardIndex.load(folder))
    for number in (0, 1, 3):
        reader.read(0, number)
    with pytest.raises(BadSampleError, match=rf"shard-000000.tar, sample 2: .*({message})"):
        reader.read(0, 2)


def test_a_key_with_a_dot_is_told(make_shards: ShardFactory, tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "s", samples=1, shards=1)
    with wds.TarWriter(str(folder / "shard-000000.tar")) as writer:
        writer.write({"__key__": "37.5_-122.1", "json": b"{}"})
    with pytest.raises(BadSampleError, match=r"'37\.5_-122\.1\.json' is not KEY\.FIELD .* no dot"):
        ShardReader(ShardIndex.load(folder)).read(0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a whole tar|bytes, index.json says"), (b"not a tar" * 200, "not a whole tar")],
)
def test_an_empty_or_foreign_shard_is_told(
    make_shards: ShardFactory, tmp_path: Path, content: bytes, message: str
) -> None:
    folder = make_shards(tmp_path / "s", samples=4)
    (folder / "shard-000001.tar").write_bytes(content)
    reader = ShardReader(ShardIndex.load(folder))
    reader.read(0, 0)
    with pytest.raises(BadSampleError, match=message):
        reader.read(1, 0)


def test_a_truncated_shard_loses_only_what_is_gone(make_shards: ShardFactory, tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "s", samples=6, shards=1)
    path = folder / "shard-000000.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    reader = ShardReader(ShardIndex.load(folder))
    reader.read(0, 0)
    with pytest.raises(BadSampleError, match="shard-000000.tar"):
        reader.read(0, 5)


def test_few_shards_stay_open(shards: Path) -> None:
    reader = ShardReader(ShardIndex.load(shards), open_shards=1)
    first = reader.read(0, 0)
    reader.read(2, 0)
    assert torch.equal(reader.read(0, 0).tile, first.tile)
