"""Tiles to vectors in `main.py predict`."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from lightning import LightningModule

from graft.checkpoint import load_encoder
from graft.index.build import precision_type
from graft.index.encode import encode_tiles
from graft.index.plan import Job
from graft.index.sources import Group


class IndexEncoder(LightningModule):
    """Encodes the groups of windows that `datamodules.IndexSources` reads, just as `graft index` does.

    Attributes:
        loaded: the encoder and what its checkpoint says, once `setup` has run.
    """

    def __init__(self, checkpoint: Path, precision: Literal["bf16", "fp32"] = "bf16", batch_size: int = 64) -> None:
        """Take the settings; the checkpoint is opened in `setup`.

        Args:
            checkpoint: training checkpoint with the encoder, never `--ckpt_path`.
            precision: of the weights; the trainer's own precision stays as it is.
            batch_size: tiles at a time.
        """
        super().__init__()
        self.checkpoint, self.precision, self._batch_size = checkpoint, precision, batch_size

    def setup(self, stage: str) -> None:
        """Load the encoder.

        Raises:
            GraftError: no such checkpoint.
        """
        self.loaded = load_encoder(self.checkpoint)
        self.encoder = self.loaded.encoder.to(precision_type(self.precision))

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave a group on the CPU: its tiles are moved a batch at a time."""
        return batch

    def predict_step(self, batch: tuple[Job | None, Group], batch_idx: int) -> npt.NDArray[np.float16]:
        """Vectors float16 [n, D] of a group; none where its tiles are in the index already."""
        job, group = batch
        fresh = job is not None and job.fresh
        return encode_tiles(self.encoder, group.pixels if fresh else group.pixels[:0], self._batch_size)
