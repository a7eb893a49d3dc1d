"""Shards at an address: http and S3 servers that fail, a cache that stays small."""

import json
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
import yaml
from moto.server import ThreadedMotoServer
from torch.utils.data import DataLoader

from graft.batch import PairBatch
from graft.errors import GraftError
from graft.remote import Remote
from graft.shard_cache import ShardCache
from graft.shards import ShardIndex, ShardReader
from graft.stream import PairStream
from main import main
from tests.bad_server import bad_server, from_folder, from_server
from tests.conftest import ShardFactory

SHARDS, SAMPLES, WINDOW, BATCH = 12, 48, 2, 4
PASS = SAMPLES // BATCH
FAST = {"connect_s": 0.5, "read_s": 0.5, "tries": 12, "pause_s": 0.01}


@pytest.fixture(scope="module")
def many(make_shards: ShardFactory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("many") / "shards", samples=SAMPLES, shards=SHARDS, photos=2)


@pytest.fixture(scope="module")
def s3(many: Path) -> Iterator[str]:
    """A loopback S3 server with the shards in s3://graft/some/shards."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **keys)
    client.create_bucket(Bucket="graft")
    for path in many.iterdir():
        client.put_object(Bucket="graft", Key=f"some/shards/{path.name}", Body=path.read_bytes())
    yield url
    server.stop()


def stream(remote: Remote | None, folder: Path, *, limit: int = 10**9, window: int = WINDOW) -> PairStream:
    index = ShardIndex.load(remote or folder)
    cache = None
    if remote is not None:
        cache = ShardCache(remote, index.shard_files(), folder=folder, limit=limit, working_set=2 * window)
    return PairStream(index, seed=5, batch_size=BATCH, photos_per_tile=2, window=window, cache=cache)


def first(pairs: PairStream, count: int, workers: int, context: str | None = None) -> list[PairBatch]:
    loader = DataLoader(pairs, batch_size=None, num_workers=workers, multiprocessing_context=context)
    return list(islice(loader, count))


def assert_same(found: list[PairBatch], expected: list[PairBatch]) -> None:
    assert [batch.tile_id for batch in found] == [batch.tile_id for batch in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.tile, other.tile)
        assert torch.equal(one.photo_id, other.photo_id)
        assert one.position == other.position
        assert one.skipped == ()


def size_of(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        if path.suffix in (".tar", ".partial"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue
    return total


@pytest.mark.parametrize(
    ("workers", "context"), [(0, None), (2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.slow)]
)
def test_nothing_is_lost_from_a_bad_http_server(many: Path, tmp_path: Path, workers: int, context: str | None) -> None:
    with bad_server(from_folder(many.parent), seed=12, fault_rate=0.4) as server:
        remote = Remote(f"{server.url}/shards/", **FAST)
        found = first(stream(remote, tmp_path / "cache"), 2 * PASS, workers, context)
        assert set(server.faults) == {"drop", "stall", "truncate", "shorten", "error"}
        # Every shard came once, whoever asked for it.
        assert {count for path, count in server.served.items() if path.endswith(".tar")} == {1}
    assert_same(found, first(stream(None, many), 2 * PASS, 0))


@pytest.mark.parametrize(("workers", "context"), [(2, "fork"), pytest.param(2, "spawn", marks=pytest.mark.slow)])
def test_nothing_is_lost_from_a_bad_s3_server(
    many: Path, s3: str, tmp_path: Path, workers: int, context: str | None
) -> None:
    with bad_server(from_server(s3), seed=5, fault_rate=0.4) as server:
        options = {"key": "a", "secret": "b", "endpoint_url": server.url}
        found = first(stream(Remote("s3://graft/some/shards", options, **FAST), tmp_path), PASS, workers, context)
        assert len(server.faults) >= 4
    assert_same(found, first(stream(None, many), PASS, 0))


def test_the_cache_stays_below_its_limit(many: Path, tmp_path: Path) -> None:
    sizes = ShardIndex.load(many).sizes
    limit = sum(sorted(sizes)[-4:])
    held, done = [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            held.append(size_of(tmp_path))
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with bad_server(from_folder(many)) as server:
        found = first(stream(Remote(server.url, **FAST), tmp_path, limit=limit), 2 * PASS, 2)
        asked = server.asked
    done.set()
    watcher.join()
    assert_same(found, first(stream(None, many), 2 * PASS, 0))
    assert max(sizes) < max(held) <= limit
    fetched = sum(count for path, count in asked.items() if path.endswith(".tar"))
    assert fetched >= 2 * SHARDS - 4  # a second pass has to fetch again


def test_a_cache_below_the_working_set_is_told(many: Path, tmp_path: Path) -> None:
    with bad_server(from_folder(many)) as server, pytest.raises(GraftError, match="raise data.init_args.cache_gb"):
        stream(Remote(server.url, **FAST), tmp_path, limit=max(ShardIndex.load(many).sizes))


def test_a_shard_that_cannot_be_had_costs_its_samples_and_is_named(many: Path, tmp_path: Path) -> None:
    with bad_server(from_folder(many)) as server:
        server.broken.add("shard-000003.tar")
        found = first(stream(Remote(server.url, **FAST | {"tries": 2}), tmp_path), PASS, 2)
    skips = [skip for batch in found for skip in batch.skipped]
    assert sorted(skip.sample for skip in skips) == list(range(SAMPLES // SHARDS))
    assert {skip.shard for skip in skips} == {"shard-000003.tar"}
    assert f"shard-000003.tar could not be fetched from {server.url} in 2 tries" in skips[0].reason
    assert "503" in skips[0].reason
    expected = first(stream(None, many), PASS, 0)
    lost = {(batch.position, name) for batch in expected for name in batch.tile_id} - {
        (batch.position, name) for batch in found for name in batch.tile_id
    }
    assert len(lost) == len(skips)


def test_a_damaged_copy_in_the_cache_is_fetched_again(many: Path, tmp_path: Path) -> None:
    with bad_server(from_folder(many)) as server:
        remote = Remote(server.url, **FAST)
        whole = first(stream(remote, tmp_path), PASS, 0)
        for number, path in enumerate(sorted(tmp_path.glob("*.tar"))[:6]):
            content = bytearray(path.read_bytes())
            content[:: 3 + number] = bytes(len(content[:: 3 + number]))
            path.write_bytes(content if number % 2 else content[:-512])
        assert_same(first(stream(remote, tmp_path), PASS, 0), whole)
        assert sorted(server.served.values())[-7:] == [2] * 7  # the six, and the index


def test_what_a_killed_download_left_is_removed_when_room_is_needed(many: Path, tmp_path: Path) -> None:
    sizes = ShardIndex.load(many).sizes
    limit = sum(sorted(sizes)[-4:])
    left = tmp_path / f"{'0' * 64}.{limit - 1}.partial"
    left.write_bytes(b"half")
    with bad_server(from_folder(many)) as server:
        found = first(stream(Remote(server.url, **FAST), tmp_path, limit=limit), PASS, 0)
    assert_same(found, first(stream(None, many), PASS, 0))
    assert not left.exists()
    assert size_of(tmp_path) <= limit


def test_no_index_at_an_address_is_told(many: Path, tmp_path: Path) -> None:
    with bad_server(from_folder(tmp_path)) as server:
        with pytest.raises(GraftError, match=r"No shards at http.*index.json could not be fetched"):
            ShardIndex.load(Remote(server.url, **FAST))
        (tmp_path / "index.json").write_text("{")
        with pytest.raises(GraftError, match="in 2 tries: it is not JSON"):
            ShardIndex.load(Remote(server.url, **FAST | {"tries": 2}))
    with pytest.raises(GraftError, match="address of kind gs://"):
        ShardIndex.load("gs://bucket/shards")


def test_a_reader_without_a_cache_says_that_shards_are_elsewhere(many: Path) -> None:
    with bad_server(from_folder(many)) as server:
        index = ShardIndex.load(server.url)
        assert index.samples == ShardIndex.load(many).samples
        with pytest.raises(GraftError, match="are not on this machine"):
            ShardReader(index)


def test_shards_of_another_build_are_other_files_of_the_cache(many: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in many.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    index = json.loads((other / "index.json").read_text())
    index["shards"][0] |= {"sha256": "0" * 64}
    (other / "index.json").write_text(json.dumps(index))
    with bad_server(from_folder(tmp_path)) as server:
        found = first(stream(Remote(f"{server.url}/other", **FAST | {"tries": 1}), tmp_path / "cache"), PASS, 0)
    reasons = {skip.reason for batch in found for skip in batch.skipped}
    assert len(reasons) == 1
    assert "index.json says 0000000000000000" in reasons.pop()
    assert not (tmp_path / "cache" / f"{'0' * 64}.tar").exists()


def test_training_from_an_address_equals_training_from_a_folder(many: Path, fit_config: Path, tmp_path: Path) -> None:
    weights = []
    with bad_server(from_folder(many)) as server:
        for name, shards in (("near", str(many)), ("far", server.url)):
            data = {"shards": shards, "cache": str(tmp_path / "cache"), "cache_gb": 0.1, "num_workers": 1}
            flags = [f"--data.init_args.{key}={value}" for key, value in data.items()]
            main(["fit", f"--config={fit_config}", f"--trainer.default_root_dir={tmp_path / name}", *flags])
            weights.append(torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"])
        assert server.served["/shard-000000.tar"] == 1
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert len(list((tmp_path / "cache").glob("*.tar"))) >= 4


def test_the_options_of_an_address_stay_out_of_the_run_folder(s3: str, fit_config: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(fit_config.read_text())
    options = {"key": "very secret key", "secret": "very secret", "endpoint_url": s3}
    options |= {"client_kwargs": {"aws_session_token": "very secret token"}}
    config["data"]["init_args"] |= {
        "shards": "s3://graft/some/shards",
        "cache": str(tmp_path / "cache"),
        "storage_options": options,
    }
    fit_config.write_text(yaml.safe_dump(config))
    main(["fit", f"--config={fit_config}"])
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"config.yaml", "hparams.yaml", "last.ckpt"} <= {path.name for path in files}
    assert [path for path in files if b"very secret" in path.read_bytes()] == []
    (saved,) = [path for path in files if path.name == "config.yaml"]
    assert yaml.safe_load(saved.read_text())["data"]["init_args"]["storage_options"] == dict.fromkeys(
        options, "(not saved)"
    )


def test_a_password_in_an_address_is_refused_and_not_shown(
    fit_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "http://me:hunter2@127.0.0.1:9/shards"
    for ask in (ShardIndex.load, Remote):
        with pytest.raises(GraftError, match=r"http://\.\.\.@127.0.0.1:9 has a user or password in it") as refused:
            ask(address)
        assert "hunter2" not in str(refused.value)
    with pytest.raises(SystemExit):
        main(["fit", f"--config={fit_config}", f"--data.init_args.shards={address}"])
    said = "".join(capsys.readouterr())
    assert "put credentials into environment variables" in said
    assert "hunter2" not in said
    assert not any(b"hunter2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
