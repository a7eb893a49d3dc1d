import json
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.pairs import SquarePhoto
from graft.batch import PairBatch
from graft.errors import GraftError
from graft.shards import ShardIndex
from graft.skips import SkipCounter
from graft.stream import PairStream
from tests.conftest import ShardFactory


def stream(folder: Path, **changes: object) -> PairStream:
    settings = {"seed": 5, "batch_size": 4, "photos_per_tile": 2} | changes
    return PairStream(ShardIndex.load(folder), **settings)  # type: ignore[arg-type]


def first(pairs: PairStream, count: int, workers: int = 0, context: str | None = None) -> list[PairBatch]:
    loader = DataLoader(pairs, batch_size=None, num_workers=workers, multiprocessing_context=context)
    return list(islice(loader, count))


def same(one: list[PairBatch], other: list[PairBatch]) -> bool:
    return all(
        a.tile_id == b.tile_id
        and a.position == b.position
        and torch.equal(a.tile, b.tile)
        and torch.equal(a.photo_id, b.photo_id)
        for a, b in zip(one, other, strict=True)
    )


def test_order_does_not_depend_on_the_number_of_workers(shards: Path) -> None:
    alone = first(stream(shards), 9)
    assert same(alone, first(stream(shards), 9, workers=1))
    assert same(alone, first(stream(shards), 9, workers=3))
    assert not same(alone, first(stream(shards, seed=6), 9))


@pytest.mark.slow
def test_spawned_workers_of_two_ranks_stay_apart(shards: Path) -> None:
    seen = [
        [name for batch in first(stream(shards, rank=rank, world=2), 3, 2, "spawn") for name in batch.tile_id]
        for rank in range(2)
    ]
    assert len(seen[0]) == len(seen[1]) == 12
    assert set(seen[0]) | set(seen[1]) == {f"tile-{number}" for number in range(24)}


def test_ranks_are_disjoint_and_a_pass_is_whole(shards: Path) -> None:
    ranks = [first(stream(shards, rank=rank, world=2), 3) for rank in range(2)]
    names = [name for batches in ranks for batch in batches for name in batch.tile_id]
    assert sorted(names) == sorted(f"tile-{number}" for number in range(24))
    assert ranks[0][-1].position == ranks[1][-1].position == 24


def test_goes_on_where_it_was(shards: Path) -> None:
    whole = first(stream(shards), 8)
    resumed = stream(shards)
    resumed.start = whole[2].position
    assert same(whole[3:], first(resumed, 5, workers=2))


def test_photos_are_drawn_anew_and_belong_to_their_tile(shards: Path) -> None:
    batches = first(stream(shards, batch_size=24), 2)
    assert batches[0].mask.all()
    chosen = [dict(zip(batch.tile_id, batch.photo_id.tolist(), strict=True)) for batch in batches]
    assert chosen[0] != chosen[1]
    everything = first(stream(shards, batch_size=24, photos_per_tile=5), 1)[0]
    assert everything.mask.sum(1).tolist() == [3] * 24
    all_ids = dict(zip(everything.tile_id, everything.photo_id.tolist(), strict=True))
    assert all(set(ids) <= set(all_ids[name]) for name, ids in chosen[0].items())


def test_a_bad_sample_keeps_its_place_and_is_counted(make_shards: ShardFactory, tmp_path: Path) -> None:
    def change(members: dict[str, bytes], number: int) -> None:
        if number == 3:
            members["tile.png"] = b"broken"

    whole = make_shards(tmp_path / "whole", samples=12)
    broken = make_shards(tmp_path / "broken", samples=12, change=change)
    (good,), (bad,) = first(stream(whole, batch_size=12), 1), first(stream(broken, batch_size=12), 1)
    row = good.tile_id.index("tile-3")
    assert bad.tile_id[:row] + bad.tile_id[row + 1 :] == good.tile_id[:row] + good.tile_id[row + 1 :]
    assert not bad.mask[row].any()
    assert bad.mask.sum() == good.mask.sum() - 2
    assert len(bad.skipped) == 1
    assert (bad.skipped[0].shard, bad.skipped[0].sample) == ("shard-000000.tar", 3)
    assert "sample 3" in bad.skipped[0].reason


def test_photos_for_an_online_teacher(shards: Path, make_shards: ShardFactory, tmp_path: Path) -> None:
    (batch,) = first(stream(shards, preprocess_photo=SquarePhoto(24)), 1, workers=1)
    assert batch.ground is None
    assert batch.photo is not None
    assert tuple(batch.photo.shape) == (4, 2, 3, 24, 24)

    def change(members: dict[str, bytes], number: int) -> None:
        members["ground01.jpg"] = b"broken"

    broken = make_shards(tmp_path / "s", samples=4, shards=1, stored=True, change=change)
    (batch,) = first(stream(broken, photos_per_tile=3, preprocess_photo=SquarePhoto(24)), 1)
    assert batch.mask.sum(1).tolist() == [2] * 4
    assert len(batch.skipped) == 4
    assert "photo photo-" in batch.skipped[0].reason


def test_says_which_switch_a_kind_of_shard_needs(make_shards: ShardFactory, tmp_path: Path) -> None:
    folder = make_shards(tmp_path / "s", samples=3)
    with pytest.raises(GraftError, match="hold no photos for an online teacher.*--shards.photos=true"):
        stream(folder, preprocess_photo=SquarePhoto(24))
    index = folder / "index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"teacher": None}))
    with pytest.raises(GraftError, match="no teacher vectors.*online_photo_size"):
        stream(folder)


def test_too_many_bad_samples_stop_the_run_with_the_list() -> None:
    counter = SkipCounter("Copy them again.")
    for _ in range(9):
        counter.add(100, ["one bad"])
    counter.add(100, ["one bad"])
    assert (counter.seen, counter.skipped) == (1000, 10)
    with pytest.raises(GraftError, match="13 of 1100 .* not be used.*one bad; one bad.*Copy them again"):
        counter.add(100, ["another"] * 3)


def test_nothing_usable_stops_early() -> None:
    counter = SkipCounter("Copy them again.")
    counter.add(16, ["gone"] * 16)
    with pytest.raises(GraftError, match="32 of 32"):
        counter.add(16, ["gone"] * 16)
