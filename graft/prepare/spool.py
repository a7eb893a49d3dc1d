"""Helpers for long builds: bytes kept on disk until they are needed, and work done ahead in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

THREADS = 8
"""Of one process; more would only hold more photos in memory, where a process runs on each core."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Spool:
    """Byte strings in one file, read back by number; only their positions stay in memory."""

    def __init__(self, path: Path) -> None:
        """Create the file at `path`, or empty it."""
        self._file = path.open("w+b")
        self._ends = [0]

    def append(self, content: bytes) -> int:
        """Add a byte string and return its number."""
        self._file.seek(self._ends[-1])
        self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))
        return len(self._ends) - 2

    def __getitem__(self, number: int) -> bytes:
        """The byte string of that number."""
        self._file.seek(self._ends[number])
        return self._file.read(self._ends[number + 1] - self._ends[number])

    def close(self) -> None:
        """Close the file; its content is of no use afterwards."""
        self._file.close()


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], *, ahead: int) -> Iterator[Result]:
    """`map` in threads, results in order, at most `ahead` items taken before their result is wanted.

    `items` is iterated in the calling thread, so that a source which is not thread-safe may feed it. Decoding and
    compressing release Python's lock, so threads overlap them with each other and with a model.
    """
    source = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[Future[Result]] = deque(pool.submit(function, item) for item in islice(source, ahead))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
