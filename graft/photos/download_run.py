"""Bring every photo of a download to an outcome: who is asked when, what is tried again, and when to give up."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice

from tqdm import tqdm

from graft.errors import GraftError
from graft.photos.fetch import Failure, Fetcher, Photo, Redirect, host_of
from graft.photos.journal import Arrival, Journal
from graft.photos.polite import Schedule
from graft.tally import in_bytes

MAX_REDIRECTS = 5
BACKOFF = 1.0
"""Seconds before the second attempt; doubled with each further one, up to `LONGEST_BACKOFF`."""
LONGEST_BACKOFF = 60.0
LONGEST_WAIT = 3600.0
"""Seconds that a host may ask for; one that wants more is left alone for the rest of the run."""
PLACEHOLDER = "/photo_unavailable"
"""What Flickr shows for a deleted photo: an answer of 200, and an image."""
WRONG_HASH = "sha256 differs from the table's"
HOPELESS_AFTER = 100
WINDOW = 4096
"""Photos under way or waiting for their host: what the memory of a run is proportional to."""
_AT_A_TIME = 1024
_SETTLE_EVERY = 1.0


@dataclass(frozen=True)
class Job:
    """A photo to ask for.

    Attributes:
        key: name of its file.
        url: where to ask; an http(s) address.
        sha256: that its file must have; "" for any.
        attempt: 1 for the first.
        hops: redirects that led to `url`.
    """

    key: str
    url: str
    sha256: str
    attempt: int = 1
    hops: int = 0


@dataclass(frozen=True)
class _Received:
    """A photo that lies in the journal's folder; its number of bytes is for the progress bar."""

    arrival: Arrival
    size: int


class DownloadRun:
    """One run over the rows. The caller's thread decides and keeps the journal, the others do the asking."""

    def __init__(
        self,
        journal: Journal,
        fetcher: Fetcher,
        schedule: Schedule[Job],
        *,
        attempts: int,
        workers: int,
        seed: int,
    ) -> None:
        """Put the parts together.

        Args:
            journal: open; gets every outcome.
            fetcher: asks.
            schedule: empty; holds the limits per host.
            attempts: at one photo, the first included.
            workers: requests at once.
            seed: of the jitter.
        """
        self._journal, self._fetcher, self._schedule = journal, fetcher, schedule
        self._attempts, self._workers, self._seed = attempts, workers, seed
        self._pending: set[str] = set()
        self._closed: dict[str, Failure] = {}
        self._came = self._failed = self._size = 0

    def work_off(self, jobs: Iterator[Job | None], number: int) -> None:
        """Bring all jobs to an outcome in the journal; None stands for a row without a request.

        Args:
            jobs: first attempts, in any order; one whose outcome is known already is passed over.
            number: of jobs, for the progress bar.

        Raises:
            GraftError: none of the first `HOPELESS_AFTER` photos came, and each may come another time.
        """
        running: dict[Future[_Received | Redirect | Failure], tuple[str, Job]] = {}
        settled, more = time.monotonic(), True
        with (
            tqdm(total=number, unit="photo", desc="download") as self._bar,
            ThreadPoolExecutor(self._workers, thread_name_prefix="download") as pool,
        ):
            while more or self._pending:
                room = min(WINDOW - len(self._pending), _AT_A_TIME)
                admitted = sum(self._admit(job) for job in islice(jobs, room))
                more = admitted == room
                while len(running) < self._workers and (ready := self._schedule.take(time.monotonic())):
                    running[pool.submit(self._ask, ready[1])] = ready
                pause = self._pause(more and len(self._pending) < WINDOW, len(running) < self._workers)
                if self._pending and not running:
                    time.sleep(pause)
                for future in wait(running, pause, FIRST_COMPLETED).done:
                    self._judge(*running.pop(future), future.result())
                if time.monotonic() > settled + _SETTLE_EVERY:
                    self._journal.settle()
                    self._bar.set_postfix_str(f"{in_bytes(self._size)}, {self._failed:,} failed", refresh=False)
                    settled = time.monotonic()
        self._journal.settle()

    def _pause(self, more_rows: bool, free_workers: bool) -> float:
        """Seconds to wait for an answer before something else can be done."""
        if more_rows:
            return 0.0
        return min(self._schedule.pause(time.monotonic()), _SETTLE_EVERY) if free_workers else _SETTLE_EVERY

    def _admit(self, job: Job | None) -> int:
        """Queue a row's request, unless it needs none; returns 1, the number of rows."""
        known = None if job is None else self._journal.find(job.key)
        if job is None or known is not None or job.key in self._pending:
            self._came += isinstance(known, Arrival)
            self._bar.update()
        else:
            self._pending.add(job.key)
            self._queue(job)
        return 1

    def _queue(self, job: Job, due: float = 0.0) -> None:
        host = host_of(job.url)
        assert host is not None, "addresses are checked before they become jobs"
        if host in self._closed:
            self._finish(job, self._closed[host])
        else:
            self._schedule.add(host, job, due)

    def _ask(self, job: Job) -> _Received | Redirect | Failure:
        """Runs in another thread."""
        answer = self._fetcher.get(job.url)
        if not isinstance(answer, Photo):
            return answer
        if job.sha256 and answer.sha256 != job.sha256.lower():
            return Failure(WRONG_HASH, answer.sha256)
        return _Received(self._journal.receive(job.key, answer), len(answer.body))

    def _judge(self, host: str, job: Job, answer: _Received | Redirect | Failure) -> None:
        now = time.monotonic()
        self._schedule.done(host)
        if isinstance(answer, _Received):
            self._size += answer.size
            self._finish(job, answer.arrival)
        elif isinstance(answer, Redirect):
            self._follow(job, answer.url)
        elif answer.wait > LONGEST_WAIT:
            self._close(host, answer)
            self._finish(job, self._closed[host])
        else:
            if answer.wait:
                self._schedule.hold(host, now + answer.wait)
            if answer.again == "soon" and job.attempt < self._attempts:
                self._queue(replace(job, attempt=job.attempt + 1), now + self._backoff(job))
            else:
                self._finish(job, answer)

    def _follow(self, job: Job, url: str) -> None:
        if job.hops == MAX_REDIRECTS:
            self._finish(job, Failure("too many redirects", url))
        elif host_of(url) is None:
            self._finish(job, Failure("redirected to no http(s) address", url))
        elif PLACEHOLDER in url:
            self._finish(job, Failure("no longer there", url))
        else:
            self._queue(replace(job, url=url, hops=job.hops + 1))

    def _close(self, host: str, answer: Failure) -> None:
        self._closed[host] = Failure("host asks to be left alone for long", f"{answer.wait:.0f} s", "next run")
        for job in self._schedule.clear(host):
            self._finish(job, self._closed[host])

    def _backoff(self, job: Job) -> float:
        """Exponential, halved at most by a jitter that belongs to the photo and the attempt."""
        jitter = random.Random(f"{self._seed}/{job.key}/{job.attempt}").uniform(0.5, 1)
        return min(BACKOFF * 2.0 ** (job.attempt - 1), LONGEST_BACKOFF) * jitter

    def _finish(self, job: Job, outcome: Arrival | Failure) -> None:
        self._journal.record(job.key, outcome)
        self._pending.remove(job.key)
        self._bar.update()
        if isinstance(outcome, Arrival):
            self._came += 1
            return
        self._failed += 1
        if self._came == 0 and self._failed >= HOPELESS_AFTER and outcome.again == "soon":
            raise GraftError(
                f"None of the first {self._failed} photos came, the last one because: {outcome.reason} "
                f"({outcome.detail or job.url}). Check the network and the addresses; the same command goes on."
            )
