"""The endless training stream of `PairBatch`es."""

import io
import signal
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from graft.batch import PairBatch
from graft.errors import GraftError
from graft.fit import UNREADABLE
from graft.plan import SamplePlan
from graft.shard_cache import Prefetcher, ShardCache
from graft.shards import BadSampleError, ShardIndex, ShardReader, photo_number
from graft.skips import Skip

PhotoPreprocess = Callable[[Image.Image], Tensor]


def require_content(index: ShardIndex, *, online: bool) -> None:
    """Check that shards hold photos for an online teacher, or vectors for training without one.

    Raises:
        GraftError: they do not.
    """
    if not online and index.teacher is None:
        raise GraftError(
            f"The shards in {index.where} hold photos but no teacher vectors: set data.init_args.online_photo_size "
            "and model.init_args.online_teacher, or build them again with graft prepare --teacher."
        )
    if online and not index.photos_stored:
        raise GraftError(
            f"The shards in {index.where} hold no photos for an online teacher: set data.init_args.online_photo_size "
            "to null, or build them again with graft prepare --shards.photos=true."
        )


def outlive_first_sigterm(_: int) -> None:
    """Make a worker ignore SIGTERM once: schedulers send it to all processes, and the step under way still needs it."""
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))


class PairStream(IterableDataset[PairBatch]):
    """The endless training stream of one rank, in whole batches.

    Every worker of a `DataLoader(batch_size=None)` makes each of its `num_workers`-th batches, and the loader
    returns them in turn, so the order does not depend on the number of workers.

    Args:
        index: of the shards.
        seed: of order and photo choice.
        batch_size: tiles a batch.
        photos_per_tile: K, photos drawn per tile and pass; tiles with fewer are masked.
        rank: of this process.
        world: number of processes.
        window: shards mixed with each other (see `SamplePlan`).
        preprocess_photo: image to uint8 [3, S, S] for an online teacher; None reads the vectors in the shards.
        cache: for shards at an address; local ones are read where they are.

    Attributes:
        start: global position at which the next iteration takes the stream up.
    """

    def __init__(
        self,
        index: ShardIndex,
        *,
        seed: int,
        batch_size: int,
        photos_per_tile: int,
        rank: int = 0,
        world: int = 1,
        window: int = 16,
        preprocess_photo: PhotoPreprocess | None = None,
        cache: ShardCache | None = None,
    ) -> None:
        super().__init__()
        require_content(index, online=preprocess_photo is not None)
        self.plan = SamplePlan(list(index.samples), seed=seed, window=window)
        self.start = 0
        self._reader = ShardReader(index, open_shards=2 * window, cache=cache)
        self._cache = cache
        self._index = index
        self._seed = seed
        self._batch_size = batch_size
        self._photos = photos_per_tile
        self._rank, self._world = rank, world
        self._preprocess = preprocess_photo

    def __iter__(self) -> Iterator[PairBatch]:
        worker, start = get_worker_info(), self.start  # `start` moves on while a main-process iteration runs
        step, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        cache, turn = self._cache, self._rank * stride + step
        ahead = None if cache is None else Prefetcher(cache.fetch_ahead, turn=turn)
        try:
            while True:
                if ahead is not None:
                    ahead.want(self.plan.upcoming(self._positions(start, step)[0]))
                yield self.batch(start, step)
                step += stride
        finally:
            if ahead is not None:
                ahead.close()

    def _positions(self, start: int, step: int) -> range:
        return self.plan.batch(start, step, batch_size=self._batch_size, rank=self._rank, world=self._world)

    def batch(self, start: int, step: int) -> PairBatch:
        """The batch `step` steps after the stream was taken up at global position `start`."""
        size, places, side = self._batch_size, self._photos, self._index.tile_size
        tile = torch.zeros(size, 3, side, side, dtype=torch.uint8)
        mask = torch.zeros(size, places, dtype=torch.bool)
        xy = torch.zeros(size, places, 2)
        photo_id = torch.zeros(size, places, dtype=torch.int64)
        ground = None if self._preprocess else torch.zeros(size, places, self._dim)
        photo: Tensor | None = None
        set_mask, set_xy, set_id = mask.numpy(), xy.numpy(), photo_id.numpy()  # writing single values is far faster
        names, skipped = [""] * size, list[Skip]()
        for row, position in enumerate(self._positions(start, step)):
            pass_number, shard, number = self.plan.locate(position)
            try:
                sample = self._reader.read(shard, number)
            except BadSampleError as fault:
                skipped.append(Skip(position, pass_number, self._index.files[shard], number, "", str(fault)))
                continue
            tile[row], names[row] = sample.tile, sample.meta["tile_id"]
            chosen = self._choose(len(sample.meta["photos"]), pass_number, shard, number)
            if ground is not None and sample.ground is not None:
                ground[row, : len(chosen)] = sample.ground[chosen]
            for place, which in enumerate(chosen):
                if self._preprocess is not None:
                    try:
                        image = self._preprocess(Image.open(io.BytesIO(sample.photos[which])))
                    except UNREADABLE as fault:
                        bad = sample.meta["photos"][which]["id"]
                        reason = f"photo {bad} of {names[row]}: {fault}"
                        skipped.append(Skip(position, pass_number, self._index.files[shard], number, bad, reason))
                        continue
                    if photo is None:
                        photo = torch.zeros(size, places, *image.shape, dtype=torch.uint8)
                    photo[row, place] = image
                about = sample.meta["photos"][which]
                set_xy[row, place] = about["x"], about["y"]
                set_id[row, place] = photo_number(about["id"])
                set_mask[row, place] = True
        consumed = start + (step + 1) * self._world * size
        return PairBatch(tile, ground, mask, xy, photo_id, tuple(names), photo, consumed, tuple(skipped))

    @property
    def _dim(self) -> int:
        assert self._index.teacher is not None
        return int(self._index.teacher["dim"])

    def _choose(self, count: int, pass_number: int, shard: int, number: int) -> list[int]:
        if count <= self._photos:
            return list(range(count))
        draw = np.random.default_rng([self._seed, 2, pass_number, shard, number])
        return sorted(draw.choice(count, self._photos, replace=False).tolist())
