"""When which request may start: so many at once and so many a second for each host, and not before it is due."""

import heapq
import math
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

Job = TypeVar("Job")


@dataclass
class _Host(Generic[Job]):
    """Attributes: see `Schedule`. `wake` is the time of the one entry of the schedule's heap that counts."""

    queue: list[tuple[float, int, Job]] = field(default_factory=list)
    active: int = 0
    next_start: float = -math.inf
    wake: float | None = None


class Schedule(Generic[Job]):
    """Jobs waiting for their host. Knows no clock and no threads: the caller says what time it is, in seconds.

    Jobs of a host start in the order in which they are due, then in which they were added.
    """

    def __init__(self, *, per_host: int, rate: float) -> None:
        """Start empty.

        Args:
            per_host: jobs of a host that may run at once.
            rate: jobs of a host that may start a second.
        """
        self._per_host, self._gap = per_host, 1 / rate
        self._hosts: dict[str, _Host[Job]] = {}
        self._wakes: list[tuple[float, str]] = []
        self._order = count()
        self._waiting = 0

    def __len__(self) -> int:
        """Jobs that wait; those that run are not among them."""
        return self._waiting

    def add(self, host: str, job: Job, due: float = -math.inf) -> None:
        """Queue a job that may start at `due` or later."""
        heapq.heappush(self._hosts.setdefault(host, _Host()).queue, (due, next(self._order), job))
        self._waiting += 1
        self._rouse(host)

    def take(self, now: float) -> tuple[str, Job] | None:
        """Start a job that may start now, if there is one: its host, and the job."""
        self._drop_stale()
        if not self._wakes or self._wakes[0][0] > now:
            return None
        _, name = heapq.heappop(self._wakes)
        host = self._hosts[name]
        _, _, job = heapq.heappop(host.queue)
        self._waiting -= 1
        host.active += 1
        host.next_start = now + self._gap
        host.wake = None
        self._rouse(name)
        return name, job

    def done(self, host: str) -> None:
        """A job of this host has ended."""
        self._hosts[host].active -= 1
        self._rouse(host)

    def hold(self, host: str, until: float) -> None:
        """Start nothing at this host before `until`."""
        state = self._hosts[host]
        state.next_start = max(state.next_start, until)
        self._rouse(host)

    def clear(self, host: str) -> list[Job]:
        """Take back all jobs that wait for a host, in their order."""
        state = self._hosts[host]
        jobs = [job for _, _, job in sorted(state.queue, key=lambda entry: entry[:2])]
        state.queue.clear()
        self._waiting -= len(jobs)
        self._rouse(host)
        return jobs

    def pause(self, now: float) -> float:
        """Seconds until a job may start; infinite while all hosts are busy or nothing waits."""
        self._drop_stale()
        return max(self._wakes[0][0] - now, 0.0) if self._wakes else math.inf

    def _rouse(self, name: str) -> None:
        host = self._hosts[name]
        if not host.queue or host.active >= self._per_host:
            host.wake = None
            return
        wake = max(host.next_start, host.queue[0][0])
        if wake != host.wake:
            host.wake = wake
            heapq.heappush(self._wakes, (wake, name))

    def _drop_stale(self) -> None:
        while self._wakes and self._hosts[self._wakes[0][1]].wake != self._wakes[0][0]:
            heapq.heappop(self._wakes)
