"""The cache of shards: what it must not touch, what fails around it, an outage that ends."""

import builtins
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graft import errors, shard_cache
from graft.errors import GraftError
from graft.remote import FetchError, Remote
from graft.shard_cache import Prefetcher, ShardCache
from graft.shards import BadSampleError, ShardIndex, ShardReader
from tests.bad_server import bad_server, from_folder

FAST = {"connect_s": 0.5, "read_s": 0.5, "tries": 2, "pause_s": 0.01}


def cache_of(folder: Path, index: ShardIndex, url: str, *, limit: int = 10**9) -> ShardCache:
    return ShardCache(Remote(url, **FAST), index.shard_files(), folder=folder, limit=limit, working_set=1)


def test_files_of_the_user_are_neither_counted_nor_removed(shards: Path, tmp_path: Path) -> None:
    index = ShardIndex.load(shards)
    foreign = [tmp_path / name for name in ("backup.tar", "foo.partial", f"{'A' * 64}.tar", "a.1.partial")]
    for path in foreign:
        path.write_bytes(bytes(10**6))
    with bad_server(from_folder(shards)) as server:
        cache = cache_of(tmp_path, index, server.url, limit=max(index.sizes))
        assert [cache.path(shard).stat().st_size for shard in range(3)] == list(index.sizes)
    assert all(path.stat().st_size == 10**6 for path in foreign)
    assert len(list(tmp_path.glob("*.tar"))) == 3


def test_an_outage_costs_no_more_than_its_time(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_cache, "_FAILURE_HOLDS_S", 0.3)
    index = ShardIndex.load(shards)
    with bad_server(from_folder(shards)) as server:
        reader = ShardReader(index, cache=cache_of(tmp_path, index, server.url))
        other = ShardReader(index, cache=cache_of(tmp_path, index, server.url))
        server.broken.add("shard-000001.tar")
        for one, sample in ((reader, 0), (reader, 1), (other, 2)):
            with pytest.raises(BadSampleError, match="could not be fetched .* in 2 tries"):
                one.read(1, sample)
        assert server.asked["/shard-000001.tar"] == 2
        server.broken.clear()
        time.sleep(0.35)
        assert reader.read(1, 2).meta["tile_id"] == "tile-10"


def locks_are_a_file(folder: Path) -> None:
    shutil.rmtree(folder / "locks")
    (folder / "locks").write_text("")


@pytest.mark.parametrize("use", [ShardCache.path, ShardCache.fetch_ahead])
def test_a_folder_that_cannot_be_used_is_named(
    shards: Path, tmp_path: Path, use: Callable[[ShardCache, int], Any]
) -> None:
    index = ShardIndex.load(shards)
    with bad_server(from_folder(shards)) as server:
        cache = cache_of(tmp_path, index, server.url)
        locks_are_a_file(tmp_path)
        with pytest.raises(FetchError, match=rf"kept in the cache {tmp_path}: .*Set data.init_args.cache"):
            use(cache, 0)
        with pytest.raises(BadSampleError, match=f"kept in the cache {tmp_path}"):
            ShardReader(index, cache=cache).read(0, 0)


def test_a_place_taken_by_something_else_is_named(shards: Path, tmp_path: Path) -> None:
    index = ShardIndex.load(shards)
    (tmp_path / f"{index.hashes[0]}.tar").mkdir()
    with bad_server(from_folder(shards)) as server:
        cache = cache_of(tmp_path, index, server.url)
        with pytest.raises(FetchError, match=f"kept in the cache {tmp_path}"):
            cache.drop_if_damaged(0)
        with pytest.raises(BadSampleError, match=f"kept in the cache {tmp_path}"):
            ShardReader(index, cache=cache).read(0, 0)


def test_the_prefetcher_outlives_any_fault() -> None:
    fetched = []

    def fetch(shard: int) -> None:
        fetched.append(shard)
        if shard != 3:
            raise (OSError("disk"), GraftError("extra"), FetchError("gone"))[shard]

    ahead = Prefetcher(fetch, turn=0)
    ahead.want([0, 1, 2, 3])
    until = time.monotonic() + 5
    while len(fetched) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    ahead.close()
    assert fetched == [0, 1, 2, 3]


def test_what_cannot_pass_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def missing(module: str) -> None:
        asked.append(module)
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(errors, "import_module", missing)
    monkeypatch.setattr("graft.remote.time.sleep", lambda _: pytest.fail("waits"))
    with pytest.raises(GraftError, match=r"fsspec, which is not installed .*graft\[remote\]"):
        Remote("http://127.0.0.1:9").fetch("a", tmp_path / "a", lambda _: None)
    assert asked == ["fsspec"]


def test_a_full_disk_is_told_at_once(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, opened = ShardIndex.load(shards), builtins.open

    def full(file: Any, mode: str = "r", *args: Any, **settings: Any) -> Any:
        if str(file).endswith(".partial"):
            raise OSError(28, "No space left on device")
        return opened(file, mode, *args, **settings)

    with bad_server(from_folder(shards)) as server:
        monkeypatch.setattr(builtins, "open", full)
        with pytest.raises(FetchError, match=f"could not be written to {tmp_path}: .*No space left"):
            cache_of(tmp_path, index, server.url).path(0)


def test_the_default_tries_wait_about_two_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("graft.remote.time.sleep", waits.append)
    with pytest.raises(FetchError, match="in 8 tries"):
        Remote("http://127.0.0.1:9").fetch("a", tmp_path / "a", lambda _: None)
    assert 60 <= sum(waits) <= 125
    assert waits[-1] > waits[0]
