"""Which sample when: the order of training as a pure function, with no state and no I/O.

The training stream is endless: pass after pass over all samples, each pass in an order of its own. Global position
`g` names one sample of it. Batch `t` of rank `r` among `world` ranks, with `B` samples a batch, is the positions
`(t * world + r) * B ... + B`, so ranks are disjoint, every sample comes exactly once a pass, all ranks take equally
many steps, and a position is all that has to be remembered to go on.
"""

import math

import numpy as np
import numpy.typing as npt


class SamplePlan:
    """The order of samples over shards.

    Shards are permuted anew in every pass and taken in windows of `window` shards; samples are permuted inside a
    window. So a reader touches few shards at a time, and a pass still mixes the samples of `window` shards.

    Args:
        shard_samples: number of samples of each shard.
        seed: of the permutations.
        window: shards mixed with each other.
    """

    def __init__(self, shard_samples: list[int], *, seed: int, window: int = 16) -> None:
        if sum(shard_samples) < 1 or min(shard_samples) < 0 or window < 1:
            raise ValueError(f"need at least one sample and window >= 1, got {shard_samples[:8]}, {window}")
        self._samples = np.array(shard_samples, dtype=np.int64)
        self._seed = seed
        self._window = window
        self.total = int(self._samples.sum())
        # One pass and one window are remembered: positions are asked for in ascending order.
        self._pass = (-1, np.empty(0, np.int64), np.empty(0, np.int64))
        self._window_of = ((-1, -1), np.empty(0, np.int64), np.empty(0, np.int64))

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *key])

    def _pass_layout(self, number: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Shard order of a pass, and the offset in the pass at which each window starts."""
        if self._pass[0] != number:
            order = self._generator(0, number).permutation(len(self._samples))
            counts = self._samples[order]
            window_counts = np.add.reduceat(counts, np.arange(0, len(counts), self._window))
            self._pass = (number, order, np.concatenate([[0], np.cumsum(window_counts)]))
        return self._pass[1], self._pass[2]

    def _window_order(
        self, pass_number: int, window_number: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Shard and index in that shard of every sample of a window, in order."""
        key = (pass_number, window_number)
        if self._window_of[0] != key:
            order, _ = self._pass_layout(pass_number)
            shards = order[window_number * self._window : (window_number + 1) * self._window]
            counts = self._samples[shards]
            shard_of = np.repeat(shards, counts)
            index_of = np.concatenate([np.arange(count) for count in counts])
            mixed = self._generator(1, *key).permutation(len(shard_of))
            self._window_of = (key, shard_of[mixed], index_of[mixed])
        return self._window_of[1], self._window_of[2]

    def locate(self, position: int) -> tuple[int, int, int]:
        """Pass, shard and index in that shard of a global position."""
        pass_number, offset = divmod(position, self.total)
        _, starts = self._pass_layout(pass_number)
        window_number = int(np.searchsorted(starts, offset, side="right")) - 1
        shard_of, index_of = self._window_order(pass_number, window_number)
        within = offset - int(starts[window_number])
        return pass_number, int(shard_of[within]), int(index_of[within])

    def upcoming(self, position: int) -> list[int]:
        """Shards needed from a global position on: those of its window, then of the next.

        The next window's shards come one by one while the first half of this one is read, so that a bounded cache lets
        go of the previous window, not of this one.
        """
        pass_number, offset = divmod(position, self.total)
        order, starts = self._pass_layout(pass_number)
        number = int(np.searchsorted(starts, offset, side="right")) - 1
        first = number * self._window
        now, later = order[first : first + self._window], order[first + self._window :][: self._window]
        if len(later) == 0:
            later = self._generator(0, pass_number + 1).permutation(len(self._samples))[: self._window]
        read = (offset - int(starts[number])) / int(starts[number + 1] - starts[number])
        ahead = math.ceil(min(1.0, 2 * read) * len(later))
        return [*now.tolist(), *later[:ahead].tolist()]

    def batch(self, start: int, step: int, *, batch_size: int, rank: int, world: int) -> range:
        """Global positions of a rank's batch, `step` batches after the stream was taken up at position `start`."""
        first = start + (step * world + rank) * batch_size
        return range(first, first + batch_size)
