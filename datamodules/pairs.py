"""Training data: shards of tiles with photos, and a labelled folder that the validation probe looks at."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningDataModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.benchmarks import whole
from graft.batch import PairBatch
from graft.errors import GraftError
from graft.fit import Fit
from graft.labelled import LabelledFolder, LabelledSample, collate_labelled
from graft.prompts import class_ids
from graft.remote import Remote, is_address
from graft.sensors import get_sensor
from graft.shard_cache import ShardCache, default_cache
from graft.shards import ShardIndex
from graft.stream import PairStream, outlive_first_sigterm, require_content
from graft.teacher import square_photo
from graft.transforms import augment

logger = logging.getLogger(__name__)


class GroundPairs(LightningDataModule):
    """Streams shards into `PairBatch`es without end; `trainer.limit_train_batches` makes the epochs.

    Its state is the position in the stream, and the few numbers that the order follows from, so a run that is taken up
    again goes on where it was.

    Args:
        shards: folder with `index.json`, as `graft prepare` writes it, or its address: `http(s)://` or `s3://`.
        probe: labelled folder (one sub-folder a class) for the zero-shot probe at validation.
        sensor: name in `graft/sensors.yaml`; must be the shards'.
        probe_prompts: prompt set, or file of text vectors, whose classes are the probe's folders.
        probe_fit: how a probe tile is brought to `probe_size`, see `graft.fit.fit_tile`.
        probe_size: side in pixels of a probe tile; without effect under `native`.
        batch_size: tiles per process and step.
        photos_per_tile: photos drawn per tile and pass; a tile with fewer is masked.
        crop: side in pixels of a random crop; None trains on whole tiles.
        online_photo_size: side in pixels at which photos stored in the shards are handed to an online teacher;
            None uses the teacher's vectors in the shards.
        num_workers: processes that read and decode.
        worker_start: how they are started; None as the platform does.
        window: shards mixed with each other.
        cache: folder for shards of an address, on a disk of this machine; None is `~/.cache/graft/shards`.
        cache_gb: what it may hold, for all processes of the machine together, in units of 10^9 bytes.
        storage_options: arguments of the `fsspec` file system of the address, such as `endpoint_url` of S3. Their
            values are not saved with the run; secrets are safer in the environment, where the libraries look for them.
        seed: of order, photo choice and augmentation; follows `seed_everything` on the command line.
    """

    def __init__(
        self,
        shards: str,
        probe: str,
        sensor: str,
        *,
        probe_prompts: str = "eurosat",
        probe_fit: Fit = "native",
        probe_size: int = 224,
        batch_size: int = 256,
        photos_per_tile: int = 4,
        crop: int | None = None,
        online_photo_size: int | None = None,
        num_workers: int = 2,
        worker_start: Literal["fork", "spawn", "forkserver"] | None = None,
        window: int = 16,
        cache: str | None = None,
        cache_gb: float = 50.0,
        storage_options: dict[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["storage_options"])  # they may hold secrets, and go into checkpoints
        is_address(shards)  # refuses a password in it before anything is saved
        self.sensor = get_sensor(sensor)
        self.position = 0
        self._shards, self._probe, self._probe_prompts = shards, Path(probe), probe_prompts
        self._probe_fit, self._probe_size = probe_fit, probe_size
        self._batch_size, self._photos, self._crop = batch_size, photos_per_tile, crop
        self._photo_size, self._window, self._seed = online_photo_size, window, seed
        self._workers: dict[str, Any] = {
            "num_workers": num_workers,
            "multiprocessing_context": worker_start if num_workers else None,
            "worker_init_fn": outlive_first_sigterm,
        }
        self._cache_folder, self._cache_gb = cache, cache_gb
        self._storage_options = storage_options
        self._cache: ShardCache | None = None
        self._stream: PairStream | None = None

    def setup(self, stage: str) -> None:
        """Read the index and open the probe: says what is missing before anything heavy is built.

        Raises:
            GraftError: no shards, shards of another sensor, a cache too small for them, or no probe.
        """
        remote = Remote(self._shards, self._storage_options) if is_address(self._shards) else None
        self.index = ShardIndex.load(remote or self._shards)
        if remote is not None:
            self._cache = ShardCache(
                remote,
                self.index.shard_files(),
                folder=default_cache() if self._cache_folder is None else Path(self._cache_folder),
                limit=int(self._cache_gb * 1e9),
                working_set=2 * self._window,  # workers at the seam of two windows need both
            )
        if self.index.sensor != self.sensor.name:
            raise GraftError(
                f"The shards in {self._shards} are of sensor {self.index.sensor}, the configuration says "
                f"{self.sensor.name}: set data.init_args.sensor, or give other shards."
            )
        require_content(self.index, online=self._photo_size is not None)
        if self._crop is not None and self._crop > self.index.tile_size:
            raise GraftError(
                f"data.init_args.crop is {self._crop} px, the tiles in {self._shards} have {self.index.tile_size}."
            )
        self._probe_set = LabelledFolder(
            self._probe, class_ids(self._probe_prompts), fit=self._probe_fit, image_size=self._probe_size
        )

    def train_dataloader(self) -> DataLoader[PairBatch]:
        """The endless stream of this process, from where it stands."""
        size = self._photo_size
        self._stream = PairStream(
            self.index,
            seed=self._seed,
            batch_size=self._batch_size,
            photos_per_tile=self._photos,
            rank=self._rank,
            world=self._world,
            window=self._window,
            preprocess_photo=None if size is None else SquarePhoto(size),
            cache=self._cache,
        )
        self._stream.start = self.position
        # Not persistent: workers are made anew with every virtual epoch and read `start` then.
        return DataLoader(self._stream, batch_size=None, pin_memory=self._pin, **self._workers)

    def val_dataloader(self) -> DataLoader[LabelledSample]:
        """This process's share of the probe, each tile once over all processes."""
        share = self._probe_set.share(self._rank, self._world)
        return DataLoader(
            share,
            batch_size=self._batch_size,
            collate_fn=collate_labelled,
            sampler=whole(share),
            **self._workers,
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Augment training batches on the device, and note how far the stream has come."""
        if not isinstance(batch, PairBatch):
            return batch
        self.position = batch.position
        if self._stream is not None:
            self._stream.start = batch.position
        # Position and rank make the draw; 2**20 ranks are plenty and keep the seed inside 64 bits.
        seed = ((self._seed << 42) ^ (batch.position << 20) ^ self._rank) % (1 << 63)
        torch.manual_seed(seed)  # patch dropout draws from it: the same after a restart, another on each rank
        return augment(batch, crop=self._crop, seed=seed)

    def state_dict(self) -> dict[str, Any]:
        """The position in the stream, stored in every checkpoint, and what its meaning depends on."""
        return {"position": self.position} | self._order

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the stream up where the checkpoint left it."""
        self.position = int(state_dict["position"])
        changed = [
            f"{name} {state_dict[name]} -> {value}"
            for name, value in self._order.items()
            if state_dict.get(name, value) != value
        ]
        if changed:
            logger.warning(
                "The order of samples is another one than before (%s): some come twice in this pass, some not at all.",
                ", ".join(changed),
            )
        if self._stream is not None:
            self._stream.start = self.position

    @property
    def _order(self) -> dict[str, int | str]:
        shards = [list(shard) for shard in zip(self.index.samples, self.index.hashes, strict=True)]
        return {
            "samples": sum(self.index.samples),
            "shards": hashlib.sha256(json.dumps(shards).encode()).hexdigest()[:16],
            "window": self._window,
            "seed": self._seed,
        }

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _pin(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"


class SquarePhoto:
    """`square_photo` at a fixed size, as an object that worker processes can be handed."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Tensor:
        """An image to uint8 [3, size, size]."""
        return square_photo(image, self.size)
