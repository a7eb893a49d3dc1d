"""Building an index: groups are read ahead in threads, encoded, and committed in order."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from graft.checkpoint import LoadedEncoder
from graft.device import find_device
from graft.errors import GraftError
from graft.index.encode import encode_tiles, index_card, tile_rows
from graft.index.lock import writer_lock
from graft.index.plan import Job, Plan, open_sources, plan_index
from graft.index.sources import NO_DATA, Group, Look, Source, read_group
from graft.index.table import Index
from graft.tally import Tally


@dataclass
class IndexReport:
    """What a run did.

    Attributes:
        address: of the index.
        sources: written by this run.
        tiles: written by this run.
        known: sources that were in already.
        rows: tiles in the index now.
        skipped: windows left out of the sources of this run.
        faults: one sentence for each source that is not in.
    """

    address: str
    sources: int = 0
    tiles: int = 0
    known: int = 0
    rows: int = 0
    skipped: Tally = field(default_factory=Tally)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For a person to read."""
        yield f"{self.tiles:,} tiles of {self.sources:,} sources written to {self.address}: {self.rows:,} in all."
        if self.known:
            yield f"{self.known:,} sources were in already."
        if self.skipped.total:
            yield "Windows left out:"
            yield from self.skipped.lines()
        if self.faults:
            yield f"{len(self.faults):,} sources are not in:"
            yield from (f"  {fault}" for fault in self.faults)


class Commits:
    """Writes groups to an index in the order of a plan, and notes the sources that are complete.

    Attributes:
        report: what was done so far.
    """

    def __init__(self, index: Index, plan: Plan) -> None:
        """Begin; sources whose tiles are all in are noted at once."""
        self._index, self._plan = index, plan
        self.report = IndexReport(index.address, known=plan.known, faults=list(plan.faults))
        self._left = Counter(job.source for job in plan.jobs)
        self._skipped = [Tally() for _ in plan.sources]
        self._failed: set[int] = set()
        self._complete: set[int] = set()
        for number in range(len(plan.sources)):
            self._finish_if_complete(number)

    def add(self, job: Job, group: Group, vectors: npt.NDArray[np.float16]) -> None:
        """Commit the next job of the plan."""
        if job.source in self._failed:
            return
        source = self._plan.sources[job.source]
        if group.fault:
            self._failed.add(job.source)
            self.report.faults.append(group.fault)
            return
        if job.fresh and group.tiles:
            self._index.add(tile_rows(self._index.card, source.card.id, job.group, group.tiles, vectors))
            self.report.tiles += len(group.tiles)
        self._skipped[job.source].merge(group.skipped)
        self._left[job.source] -= 1
        self._finish_if_complete(job.source)

    def close(self) -> IndexReport:
        """Merge small files of the index, and say what was done."""
        if self.report.sources or self.report.tiles or self._plan.notes:
            self._index.compact()
        self.report.rows = len(self._index)
        return self.report

    def _finish_if_complete(self, number: int) -> None:
        if self._left[number]:
            return
        skipped, card = self._skipped[number], self._plan.sources[number].card
        self.report.skipped.merge(skipped)
        unread = sorted(set(skipped.counts) - {NO_DATA})
        if unread and skipped.total == card.windows:
            self._failed.add(number)
            self.report.faults.append(f"{card.name} gives no tile: {'; '.join(skipped.examples[unread[0]])}.")
            return
        self._index.add_source(replace(card, skipped=dict(sorted(skipped.counts.items()))))
        self._complete.add(number)
        for source_id, successors in self._plan.replaced:
            if number in successors and successors <= self._complete:
                self._index.remove_source(source_id)
        self.report.sources += 1


def build_index(
    places: Sequence[str],
    model: Path,
    loaded: LoadedEncoder,
    out: str,
    look: Look,
    *,
    batch_size: int = 64,
    num_workers: int = 2,
    device: str = "auto",
) -> IndexReport:
    """Write the vectors of sources to an index, made if there is none.

    Args:
        places: see `graft.index.plan.open_sources`.
        model: the checkpoint that `loaded` comes from.
        loaded: its encoder is moved and cast in place.
        out: folder or `s3://` prefix of the index.
        look: how the model looks at the sources.
        batch_size: tiles at a time.
        num_workers: threads that read ahead.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        GraftError: an index of another model, another writer, or a stop by hand.
    """
    encoder = loaded.encoder.to(find_device(device), precision_type(look.precision))
    with writer_lock(out):
        index = Index.open_or_create(out, index_card(model, loaded))
        plan = plan_index(index, *open_sources(places, look, num_workers))
        commits = Commits(index, plan)
        for note in plan.notes:
            print(note)
        total = sum(len(plan.sources[job.source].numbers(job.group)) for job in plan.jobs)
        try:
            with tqdm(total=total, unit=" windows", desc="Indexing", disable=not total) as bar:
                for job, group in read_ahead(plan.sources, plan.jobs, num_workers):
                    fresh = group.pixels if job.fresh else group.pixels[:0]
                    commits.add(job, group, encode_tiles(encoder, fresh, batch_size))
                    bar.update(len(plan.sources[job.source].numbers(job.group)))
        except KeyboardInterrupt:
            raise GraftError(
                f"Stopped after {commits.report.tiles:,} tiles. The same command goes on from there."
            ) from None
        return commits.close()


def read_ahead(sources: Sequence[Source], jobs: Iterable[Job], threads: int) -> Iterator[tuple[Job, Group]]:
    """Groups in the order of their jobs, read in threads while earlier ones are in use.

    After a fault the further groups of its source are passed over.

    Args:
        sources: of a plan.
        jobs: of a plan.
        threads: that read at a time.
    """
    waiting: deque[tuple[Job, Future[Group]]] = deque()
    left = iter(jobs)
    failed: set[int] = set()
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            while len(waiting) <= threads and (job := next(left, None)) is not None:
                if job.source not in failed:
                    waiting.append((job, pool.submit(read_group, sources[job.source], job.group)))
            if not waiting:
                return
            job, reading = waiting.popleft()
            group = reading.result()
            if group.fault:
                failed.add(job.source)
            yield job, group
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def precision_type(precision: str) -> torch.dtype:
    """Type of the weights for bf16 or fp32."""
    return torch.bfloat16 if precision == "bf16" else torch.float32
