"""Writes what `main.py predict` encodes into an index."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from graft.errors import GraftError
from graft.index.plan import Job
from graft.index.sources import Group
from graft.ranks import gather_lists


class IndexWriter(BasePredictionWriter):
    """Brings the vectors of all processes to the first, which commits them in the order of the plan.

    The table is then the same, row by row, however many processes encoded it.
    """

    def __init__(self) -> None:
        """Write after every step."""
        super().__init__("batch")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: npt.NDArray[np.float16],
        batch_indices: Sequence[int] | None,
        batch: tuple[Job | None, Group],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Commit one group of every process."""
        job, group = batch
        without_pixels = replace(group, pixels=torch.zeros(0, 3, 1, 1, dtype=torch.uint8))
        found = gather_lists([(job, without_pixels, prediction)], pl_module.device)
        commits = trainer.datamodule.commits  # type: ignore[attr-defined]
        for job, group, vectors in found if commits is not None else ():
            if job is not None:
                commits.add(job, group, vectors)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Complete the index and say what was done; `on_predict_end` does not come where there is nothing to do.

        Raises:
            GraftError: a source could not be read at all.
        """
        report: Any = trainer.datamodule.finish()  # type: ignore[attr-defined]
        if report is not None:
            for line in report.lines():
                print(line)
            if report.faults:
                raise GraftError(f"{len(report.faults)} of the sources are not in the index; the list above says why.")
