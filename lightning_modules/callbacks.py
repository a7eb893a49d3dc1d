"""What a run shows while it works and leaves behind when it ends."""

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from graft.batch import LabelledBatch, PairBatch
from graft.curves import draw_curves
from graft.files import atomic_path
from graft.ranks import gather_lists, total_over_ranks
from graft.skips import JUDGED_AFTER, Skip, SkipCounter, SkipList


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


class SkipGuard(Callback):
    """Lists in `skipped.csv` of the run folder what training left out, and stops all processes when it is too much.

    Every process knows of every skip after each step, so they raise together; one alone would leave the others waiting.
    Too much is told in `graft.skips.SkipCounter`; a pass of fewer than 1,000 samples is judged when it ends. Tiles are
    judged among tiles, photos for an online teacher among photos: so many of these do not hide bad ones of those.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take up the list where the run is taken up."""
        data = trainer.datamodule  # type: ignore[attr-defined]  # GroundPairs
        path = Path(trainer.default_root_dir) / "skipped.csv"
        self._list = SkipList(path, position=data.position) if trainer.is_global_zero else None
        self._earlier: list[Skip] = trainer.strategy.broadcast(self._list.kept if self._list else [])
        remedy = f"All are listed in {path}. Copy the shards again, or build them again with graft prepare --overwrite."
        judged_after = min(JUDGED_AFTER, sum(data.index.samples))
        self._tiles = SkipCounter(remedy, what="samples", judged_after=judged_after)
        self._photos = SkipCounter(remedy, what="photos", judged_after=judged_after)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: PairBatch, batch_idx: int
    ) -> None:
        """Count the samples of all processes.

        Raises:
            GraftError: too many could not be used.
        """
        skips = sorted(gather_lists(list(batch.skipped), pl_module.device))
        if self._list is not None:
            self._list.add(skips)
        skips, self._earlier = [*self._earlier, *skips], []
        self._tiles.add(batch.position - self._tiles.seen, [skip.reason for skip in skips if not skip.photo])
        if batch.ground is None:  # so on every process or on none; `photo` is None also where all samples were bad
            asked_for = batch.position * batch.mask.shape[1]
            self._photos.add(asked_for - self._photos.seen, [skip.reason for skip in skips if skip.photo])
        pl_module.log("train/skipped", float(self._tiles.skipped + self._photos.skipped))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the probe's count."""
        self._probe_seen, self._probe_skipped = 0, list[str]()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: LabelledBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the probe's tiles."""
        self._probe_seen += len(batch.name) + len(batch.skipped)
        self._probe_skipped += batch.skipped

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the probe.

        Raises:
            GraftError: too many of its tiles could not be read.
        """
        seen = total_over_ranks(self._probe_seen, pl_module.device)
        skipped = gather_lists(self._probe_skipped, pl_module.device)
        SkipCounter("Unpack the probe's images (data.init_args.probe) again.").add(seen, skipped)


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt` every so many steps and when training ends: what `ckpt_path: last` goes on from.

    Only between steps, never from a signal's handler or an exception: there the stream's position would be ahead of the
    weights. SIGTERM to any process makes all of them finish the step, save, and end with status 143.
    """

    def __init__(self, every_n_train_steps: int) -> None:
        super().__init__(
            every_n_train_steps=every_n_train_steps, save_top_k=0, save_last=True, enable_version_counter=False
        )
        self._told_to_stop = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note SIGTERM instead of Lightning, whose handler talks to the other processes in the middle of anything."""
        super().on_train_start(trainer, pl_module)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, *_: object) -> None:
        self._told_to_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time, or when a process was told to stop.

        Raises:
            SystemExit: a process was told to stop.
        """
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return  # gradients of the step under way are in no checkpoint
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if total_over_ranks(int(self._told_to_stop), pl_module.device):
            self._save_unless_saved(trainer)
            if trainer.is_global_zero:
                where = f"step {trainer.global_step}, saved in {self.dirpath}"
                print(f"Stopped by SIGTERM after {where}; the same command goes on from there.", file=sys.stderr)
            raise SystemExit(128 + signal.SIGTERM)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last steps, however many they were."""
        self._save_unless_saved(trainer)

    def _save_unless_saved(self, trainer: Trainer) -> None:
        if self._last_global_step_saved != trainer.global_step:
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))


class WholeFiles(TorchCheckpointIO):
    """Writes each checkpoint beside its place, syncs it and renames it, so that a kill leaves the one before.

    Lightning's own goes through the system's temporary folder, and a move from there to another disk is a copy.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any = None) -> None:
        """Write one file."""
        with atomic_path(Path(path)) as partial:
            torch.save(checkpoint, partial)
