"""The endless training stream of `PairBatch`es."""

import io
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
from graft.shards import BadSampleError, ShardIndex, ShardReader, photo_number

PhotoPreprocess = Callable[[Image.Image], Tensor]


def require_content(index: ShardIndex, *, online: bool) -> None:
    """Check that shards hold photos for an online teacher, or vectors for training without one.

    Raises:
        GraftError: they do not.
    """
    if not online and index.teacher is None:
        raise GraftError(
            f"The shards in {index.folder} hold photos but no teacher vectors: set data.init_args.online_photo_size "
            "and model.init_args.online_teacher, or build them again with graft prepare --teacher."
        )
    if online and not index.photos_stored:
        raise GraftError(
            f"The shards in {index.folder} hold no photos for an online teacher: set data.init_args.online_photo_size "
            "to null, or build them again with graft prepare --store-photos."
        )


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
    ) -> None:
        super().__init__()
        require_content(index, online=preprocess_photo is not None)
        self.plan = SamplePlan(list(index.samples), seed=seed, window=window)
        self.start = 0
        self._reader = ShardReader(index, open_shards=2 * window)
        self._index = index
        self._seed = seed
        self._batch_size = batch_size
        self._photos = photos_per_tile
        self._rank, self._world = rank, world
        self._preprocess = preprocess_photo

    def __iter__(self) -> Iterator[PairBatch]:
        worker, start = get_worker_info(), self.start  # `start` moves on while a main-process iteration runs
        step, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        while True:
            yield self.batch(start, step)
            step += stride

    def batch(self, start: int, step: int) -> PairBatch:
        """The batch `step` steps after the stream was taken up at global position `start`."""
        positions = self.plan.batch(start, step, batch_size=self._batch_size, rank=self._rank, world=self._world)
        size, places, side = self._batch_size, self._photos, self._index.tile_size
        tile = torch.zeros(size, 3, side, side, dtype=torch.uint8)
        mask = torch.zeros(size, places, dtype=torch.bool)
        xy = torch.zeros(size, places, 2)
        photo_id = torch.zeros(size, places, dtype=torch.int64)
        ground = None if self._preprocess else torch.zeros(size, places, self._dim)
        photo: Tensor | None = None
        names, skipped = [""] * size, list[str]()
        for row, position in enumerate(positions):
            pass_number, shard, number = self.plan.locate(position)
            try:
                sample = self._reader.read(shard, number)
            except BadSampleError as fault:
                skipped.append(str(fault))
                continue
            tile[row], names[row] = sample.tile, sample.meta["tile_id"]
            chosen = self._choose(len(sample.meta["photos"]), pass_number, shard, number)
            for place, which in enumerate(chosen):
                if self._preprocess is not None:
                    try:
                        image = self._preprocess(Image.open(io.BytesIO(sample.photos[which])))
                    except UNREADABLE as fault:
                        skipped.append(f"photo {sample.meta['photos'][which]['id']} of {names[row]}: {fault}")
                        continue
                    if photo is None:
                        photo = torch.zeros(size, places, *image.shape, dtype=torch.uint8)
                    photo[row, place] = image
                elif ground is not None and sample.ground is not None:
                    ground[row, place] = sample.ground[which]
                about = sample.meta["photos"][which]
                xy[row, place] = torch.tensor([about["x"], about["y"]])
                photo_id[row, place] = photo_number(about["id"])
                mask[row, place] = True
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
