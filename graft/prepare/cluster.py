"""Running the parts of a stage: in this process, on the cores of this machine, or on many machines."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from graft.errors import GraftError, first_line, import_extra
from graft.prepare.settings import ClusterSettings

Result = TypeVar("Result")
Part = tuple[Any, ...]
Submit = Callable[[Callable[..., Any], Sequence[Part]], Iterator[tuple[int, Any]]]
"""Runs a function on each part's arguments; yields (number of the part, result) as parts end."""


def open_cluster(settings: ClusterSettings) -> AbstractContextManager[Submit]:
    """Start or join the processes that do the work.

    Every worker computes with one thread, so that no vector depends on how many of them there are.

    Raises:
        GraftError: Dask is missing, or the scheduler cannot be reached.
    """
    workers = settings.workers or len(os.sched_getaffinity(0))
    if settings.address is None and not settings.slurm and workers == 1:
        return _in_process()
    return _on_dask(settings, workers)


@contextmanager
def _in_process() -> Iterator[Submit]:
    def submit(function: Callable[..., Any], parts: Sequence[Part]) -> Iterator[tuple[int, Any]]:
        for number, part in enumerate(parts):
            yield number, function(*part)

    yield submit


@contextmanager
def _on_dask(settings: ClusterSettings, workers: int) -> Iterator[Submit]:
    distributed = import_extra("distributed", "prepare")
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # it tells every step of a normal end
    if settings.slurm and shutil.which("sbatch") is None:
        raise GraftError("cluster.slurm needs sbatch, which is not on this machine's PATH: start from a login node.")
    try:
        if settings.address is not None:
            cluster, client = None, distributed.Client(settings.address, timeout="60s")
        elif settings.slurm:
            cluster = import_extra("dask_jobqueue", "prepare").SLURMCluster(**settings.slurm)
            cluster.scale(jobs=workers)
            client = distributed.Client(cluster)
        else:
            cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None, memory_limit=0
            )
            client = distributed.Client(cluster)
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise GraftError(
            f"The Dask cluster does not start ({first_line(error)}): check cluster.address or cluster.slurm, or leave "
            "both out to work on this machine."
        ) from error

    def submit(function: Callable[..., Any], parts: Sequence[Part]) -> Iterator[tuple[int, Any]]:
        futures = {client.submit(function, *part, pure=False, retries=2): number for number, part in enumerate(parts)}
        for future in distributed.as_completed(list(futures)):
            yield futures.pop(future), future.result()  # an error of a part is raised here

    try:
        yield submit
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def run_parts(
    submit: Submit, function: Callable[..., int], parts: Sequence[Part], *, total: int, done: int, label: str, unit: str
) -> None:
    """Run the parts of a stage under a progress bar.

    Args:
        submit: from `open_cluster`.
        function: returns how many units its part held.
        parts: arguments of each part that is not done yet.
        total: units of the whole stage.
        done: units of the parts that an earlier session finished.
        label: what is done, for the bar.
        unit: what is counted.
    """
    with tqdm(total=total, initial=done, desc=label, unit=unit) as progress:
        for _, units in submit(function, parts):
            progress.update(units)
