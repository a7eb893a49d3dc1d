"""The flat copy of an index's vectors: whole, of one version, found again, in the way of nobody."""

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.errors import GraftError
from graft.index import flat as module
from graft.index.flat import carry_over, flat_folder, flat_vectors
from graft.index.table import Index, connect
from graft.nearest import nearest
from tests.index_inputs import make_index, s3_server, source_card, tile_rows, unit_vectors


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_holds_the_table_in_its_order(tmp_path: Path) -> None:
    index = make_index(tmp_path / "idx", unit_vectors(100))
    flat = flat_vectors(index)
    np.testing.assert_array_equal(flat.vectors, unit_vectors(100))
    np.testing.assert_array_equal(flat.row_ids, index.row_ids("true"))
    _, rows = nearest(flat.vectors, torch.from_numpy(unit_vectors(100)[[7, 93]]), 1)
    ids = index.take(flat.row_ids[rows[:, 0].numpy()], ["id"])["id"].to_pylist()
    assert [tile[-7:] for tile in ids] == ["0000007", "0000093"]


def test_a_second_search_copies_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = flat_vectors(make_index(tmp_path / "idx"))
    monkeypatch.setattr(module, "_write", None)
    second = flat_vectors(Index.open(tmp_path / "idx"))
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert not second.vectors.flags.writeable


def test_appended_and_removed_rows_make_a_new_copy_and_readers_keep_theirs(tmp_path: Path) -> None:
    index = make_index(tmp_path / "idx", unit_vectors(40))
    before = flat_vectors(index)
    other = source_card("other.tif")
    more = unit_vectors(10, seed=5)
    index.add(tile_rows(index.card, more, source=other))
    after = flat_vectors(index)
    np.testing.assert_array_equal(after.vectors[40:], more)
    assert names(tmp_path / "idx/flat") == [f"{name}-{index.id}-{index.version}.npy" for name in ("rows", "vectors")]
    np.testing.assert_array_equal(before.vectors, unit_vectors(40))
    index.remove_source(source_card().id)
    np.testing.assert_array_equal(flat_vectors(index).vectors, more)


def test_a_handle_of_an_older_version_gets_its_own_rows(tmp_path: Path) -> None:
    writer = make_index(tmp_path / "idx", unit_vectors(40))
    reader = Index.open(tmp_path / "idx")
    writer.add(tile_rows(writer.card, unit_vectors(3, seed=2), source=source_card("other.tif")))
    flat_vectors(writer)
    assert len(flat_vectors(reader).vectors) == 40
    assert len(flat_vectors(writer).vectors) == 43


def test_another_index_at_the_same_address_and_version_is_noticed(tmp_path: Path) -> None:
    flat_vectors(make_index(tmp_path / "idx", unit_vectors(40)))
    (tmp_path / "idx").rename(tmp_path / "old")
    again = make_index(tmp_path / "idx", unit_vectors(40, seed=9))
    (tmp_path / "old/flat").rename(tmp_path / "idx/flat")
    np.testing.assert_array_equal(flat_vectors(again).vectors, unit_vectors(40, seed=9))


def test_an_index_that_was_built_anew_is_told_from_the_old_one_by_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # kept by address, as for S3
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    old, new = unit_vectors(40), unit_vectors(40)
    new[1] = unit_vectors(1, seed=9)[0]  # not one of the rows that are compared
    first = make_index(tmp_path / "idx", old)
    flat_vectors(first)
    (tmp_path / "idx").rename(tmp_path / "old")
    again = make_index(tmp_path / "idx", new)
    assert again.version == first.version
    np.testing.assert_array_equal(flat_vectors(again).vectors, new)
    assert names(flat_folder(again)) == [f"{name}-{again.id}-{again.version}.npy" for name in ("rows", "vectors")]


def test_a_backup_that_was_put_back_and_added_to_is_noticed(tmp_path: Path) -> None:
    index = make_index(tmp_path / "idx")
    shutil.copytree(tmp_path / "idx", tmp_path / "backup")
    for folder, seed in ((tmp_path / "idx", 1), (tmp_path / "backup", 2)):
        index = Index.open(folder)
        index.add(tile_rows(index.card, unit_vectors(9, seed=seed), first=40, group=4))
        flat_vectors(index)
    shutil.rmtree(tmp_path / "backup/flat")
    (tmp_path / "idx/flat").rename(tmp_path / "backup/flat")
    np.testing.assert_array_equal(flat_vectors(index).vectors[40:], unit_vectors(9, seed=2))


@pytest.mark.parametrize("damage", [b"", b"no array"])
def test_damaged_and_half_written_files_are_replaced(damage: bytes, tmp_path: Path) -> None:
    index = make_index(tmp_path / "idx")
    flat_vectors(index)
    folder = tmp_path / "idx/flat"
    (folder / f"vectors-{index.id}-{index.version}.npy").write_bytes(damage)
    (folder / ".vectors-1.npy.99999.partial").write_bytes(b"killed")
    np.testing.assert_array_equal(flat_vectors(index).vectors, unit_vectors(40))
    assert names(folder) == [f"{name}-{index.id}-{index.version}.npy" for name in ("rows", "vectors")]


def test_an_empty_index(tmp_path: Path) -> None:
    flat = flat_vectors(make_index(tmp_path / "idx", unit_vectors(0)))
    assert (flat.vectors.shape, flat.row_ids.shape) == ((0, 32), (0,))
    assert len(flat_vectors(Index.open(tmp_path / "idx")).vectors) == 0


@pytest.mark.parametrize("length", [1.02, 0.98, 0])
def test_vectors_of_another_length_are_refused(length: float, tmp_path: Path) -> None:
    vectors = unit_vectors(40)
    vectors[3] *= np.float16(length)
    told = f"1 vectors of the index .* not of unit length.* /images/scene.tif.*idx {source_card().id}\\)"
    with pytest.raises(GraftError, match=told):
        flat_vectors(make_index(tmp_path / "idx", vectors))
    assert names(tmp_path / "idx/flat") == []


def test_an_index_on_s3_is_kept_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with s3_server() as bucket:
        one, two = (make_index(f"{bucket}/{name}", unit_vectors(20, seed=seed)) for seed, name in enumerate("ab"))
        for seed, index in enumerate((one, two)):
            np.testing.assert_array_equal(flat_vectors(index).vectors, unit_vectors(20, seed=seed))
            assert flat_folder(index).is_relative_to(tmp_path / "cache/graft/flat")
        assert flat_folder(one) != flat_folder(two)
        here = flat_folder(one)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        assert flat_folder(one) != here


def test_an_index_that_may_not_be_written_is_kept_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index = make_index(tmp_path / "idx")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    flat_vectors(index)
    assert not (tmp_path / "idx/flat").exists()
    assert flat_folder(index).is_relative_to(tmp_path / "cache")


def test_no_room_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make_index(tmp_path / "idx")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_header", full)
    with pytest.raises(GraftError, match=r"\(2.88 kB\) cannot be copied to .*flat: .*No space left on device"):
        flat_vectors(index)
    assert names(tmp_path / "idx/flat") == []


def test_files_are_carried_over_to_a_version_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make_index(tmp_path / "idx")
    flat_vectors(index)
    connect(index.address).open_table("tiles").update_field_metadata({"path": "vector", "metadata": {"any": "thing"}})
    later = Index.open(tmp_path / "idx")
    assert later.version > index.version
    carry_over(index, later)
    monkeypatch.setattr(module, "_write", None)
    np.testing.assert_array_equal(flat_vectors(later).vectors, unit_vectors(40))


def test_those_who_come_at_once_copy_once_and_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = make_index(tmp_path / "idx", unit_vectors(5000)).address
    copies: list[Path] = []
    write = module._write

    def slow(folder: Path, index: Index) -> None:
        copies.append(folder)
        time.sleep(0.3)
        write(folder, index)

    monkeypatch.setattr(module, "_write", slow)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: flat_vectors(Index.open(address)), range(4)))
    assert len(copies) == 1
    for flat in found:
        np.testing.assert_array_equal(flat.vectors, unit_vectors(5000))
