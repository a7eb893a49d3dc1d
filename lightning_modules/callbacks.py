"""What a run shows while it works and leaves behind when it ends."""

import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from graft.batch import PairBatch
from graft.curves import draw_curves


class Throughput(Callback):
    """Logs `train/tiles_per_second` over all ranks and `train/data_wait_ms`, the time a step waited for its batch.

    In the progress bar the first of them is the run's rate.
    """

    def __init__(self) -> None:
        self._step_began = 0.0
        self._step_ended: float | None = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the time between epochs: it is validation and start-up, not waiting."""
        self._step_ended = None

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note when the batch was there."""
        self._step_began = time.perf_counter()
        if self._step_ended is not None:
            pl_module.log("train/data_wait_ms", 1000 * (self._step_began - self._step_ended))

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: PairBatch,
        batch_idx: int,
    ) -> None:
        """Log the rate of the step that ended."""
        now = time.perf_counter()
        began = self._step_began if self._step_ended is None else self._step_ended
        pl_module.log("train/tiles_per_second", trainer.world_size * len(batch.tile) / (now - began), prog_bar=True)
        self._step_ended = now


class TrainingCurves(Callback):
    """Draws loss and probe over the steps as `curves.png` in the run folder, when a run ends in any way.

    The CSV logs of all sessions of a run that was taken up again make one picture.
    """

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, on the first rank only."""
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.save()
        run = Path(trainer.default_root_dir)
        logs = run.glob("lightning_logs/version_*/metrics.csv")
        draw_curves(sorted(logs, key=lambda log: int(log.parent.name.split("_")[1])), run / "curves.png")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what there is."""
        self.on_fit_end(trainer, pl_module)


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` every so many steps and when training ends: what `ckpt_path: last` goes on from.

    Only between steps, never from a signal or an exception: there the stream's position would be ahead of the weights.
    """

    def __init__(self, every_n_train_steps: int) -> None:
        super().__init__(
            every_n_train_steps=every_n_train_steps, save_top_k=0, save_last=True, enable_version_counter=False
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last steps, however many they were."""
        if self._last_global_step_saved != trainer.global_step:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
