"""Sources of an index, shared out over processes: what `graft index` reads, for `main.py predict`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import zip_longest
from typing import Any

import torch
import torch.distributed as dist
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, IterableDataset

from graft.errors import GraftError
from graft.index import make_look
from graft.index.build import Commits, IndexReport, read_ahead
from graft.index.encode import index_card
from graft.index.lock import writer_lock
from graft.index.plan import Job, Plan, open_sources, plan_index
from graft.index.sources import Group
from graft.index.table import Index

Share = tuple[Job | None, Group]
PATIENCE = timedelta(days=2)
"""How long processes wait for the first to open all sources."""


class GroupStream(IterableDataset[Share]):
    """Every `world`-th group of a plan from `rank` on, and at the end nothing where others still have one.

    Yields:
        Job and group; None and an empty group past the last.
    """

    def __init__(self, plan: Plan, rank: int, world: int, threads: int) -> None:
        super().__init__()
        self._sources, self._threads = plan.sources, threads
        self._jobs = plan.jobs[rank::world]
        self._length = -(-len(plan.jobs) // world)

    def __len__(self) -> int:
        """As many as for the process that has most: all write in step."""
        return self._length

    def __iter__(self) -> Iterator[Share]:
        nothing: Share = (None, Group(torch.zeros(0, 3, 1, 1, dtype=torch.uint8), ()))
        read = read_ahead(self._sources, self._jobs, self._threads)
        for _, found in zip_longest(range(self._length), read, fillvalue=nothing):
            assert isinstance(found, tuple)
            yield found


class IndexSources(LightningDataModule):
    """Cuts sources into groups of windows, those that are not in the index yet.

    The first process holds the index against other writers and commits; see `lightning_modules.IndexWriter`.

    Attributes:
        commits: of the first process, once the loader was asked for; None in others.
    """

    def __init__(
        self,
        sources: list[str],
        out: str,
        window: int | None = None,
        stride: int | None = None,
        sensor: str | None = None,
        display: bool = False,
        bands: list[int] | None = None,
        gsd_m: float | None = None,
        any_gsd: bool = False,
        num_workers: int = 2,
    ) -> None:
        """Take the settings; sources are opened when the model is there.

        Args:
            sources: rasters, folders of tiles or rasters, and shards, by path or address.
            out: folder of the index, or s3://BUCKET/PREFIX.
            window: side of a window in pixels of the model's GSD; null takes the model's input size.
            stride: pixels between windows; null takes a window.
            sensor: row of `sensors.yaml` that renders the bands; null takes the model's.
            display: the bands of rasters are 8-bit display values already.
            bands: numbers (from 1) of red, green and blue where files do not say.
            gsd_m: metres a pixel of what has no coordinate reference system.
            any_gsd: resample sources whose pixels are more than 2 times larger or smaller than the model's.
            num_workers: threads of each process that read ahead.
        """
        super().__init__()
        self.commits: Commits | None = None
        self._places, self._out, self._threads = sources, out, num_workers
        self._look: dict[str, Any] = {
            "window": window,
            "stride": stride,
            "sensor": sensor,
            "display": display,
            "bands": bands,
            "gsd_m": gsd_m,
            "any_gsd": any_gsd,
        }
        self._held = ExitStack()
        self._plan: Plan | None = None

    def predict_dataloader(self) -> DataLoader[Share]:
        """This process's share of the groups."""
        assert self.trainer is not None
        if self._plan is None:
            self._plan = from_first(self._begin if self.trainer.is_global_zero else None)
        stream = GroupStream(self._plan, self.trainer.global_rank, self.trainer.world_size, self._threads)
        return DataLoader(stream, batch_size=None)

    def _begin(self) -> Plan:
        """Lock the index and plan."""
        model: Any = self.trainer.lightning_module  # type: ignore[union-attr]
        try:
            look = make_look(model.loaded, precision=model.precision, **self._look)
            self._held.enter_context(writer_lock(self._out))
            index = Index.open_or_create(self._out, index_card(model.checkpoint, model.loaded))
            plan = plan_index(index, *open_sources(self._places, look, self._threads))
            self.commits = Commits(index, plan)
        except BaseException:
            self._held.close()
            raise
        for note in plan.notes:
            rank_zero_info(note)
        return plan

    def finish(self) -> IndexReport | None:
        """Complete the index and let other writers in; returns what was done on the first process."""
        try:
            return None if self.commits is None else self.commits.close()
        finally:
            self._held.close()

    def on_exception(self, exception: BaseException) -> None:
        """Let other writers in."""
        self._held.close()


def from_first(begin: Callable[[], Plan] | None) -> Plan:
    """The plan of the first process, in all processes.

    Others wait for `PATIENCE`, not for the time after which a step of a run counts as stuck.

    Args:
        begin: makes the plan; None in other processes.

    Raises:
        GraftError: in all processes, if the first one met it; in others also for any other fault of the first.
    """
    found: list[Plan | str | None] = [None]
    fault: Exception | None = None
    if begin is not None:
        try:
            found = [begin()]
        except Exception as error:  # whatever it is: else the others wait in vain
            fault = error
            found = [str(error) if isinstance(error, GraftError) else f"The first process failed: {error!r}"]
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        patient: Any = dist.new_group(backend="gloo", timeout=PATIENCE)
        dist.broadcast_object_list(found, src=0, group=patient)
    if fault is not None:
        raise fault
    (plan,) = found
    if not isinstance(plan, Plan):
        raise GraftError(str(plan))
    return plan
