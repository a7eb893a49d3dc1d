"""Finding equal values among many hashes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_PAIRS = 100


@dataclass(frozen=True)
class Repeats:
    """Equal values.

    Attributes:
        extra: how many values there are beyond the first of each.
        most: how often the most frequent one occurs; 0 if there is none.
        pairs: rows of the first few pairs of equal values, smallest row first.
    """

    extra: int
    most: int
    pairs: list[tuple[int, int]]


def repeated(hashes: npt.NDArray[Any], owners: npt.NDArray[Any] | None = None) -> Repeats:
    """Find equal hashes.

    Args:
        hashes: uint64 [N]; 0 stands for none.
        owners: [N]; equal hashes of one owner count once. None: each row is its own.
    """
    rows = np.flatnonzero(hashes)
    values = hashes[rows]
    if owners is None:
        order = np.argsort(values, kind="stable")
    else:
        order = np.lexsort((owners[rows], values))
        owned, sorted_values = owners[rows][order], values[order]
        again = (sorted_values[1:] == sorted_values[:-1]) & (owned[1:] == owned[:-1])
        order = order[np.concatenate([[True], ~again])] if len(order) else order
    rows, values = rows[order], values[order]
    same = values[1:] == values[:-1]
    starts = np.flatnonzero(np.concatenate([[True], ~same])) if len(values) else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, len(values)))
    pairs = sorted(zip(rows[:-1][same].tolist(), rows[1:][same].tolist(), strict=True))[:_PAIRS]
    return Repeats(int(same.sum()), int(lengths.max(initial=0)), pairs)
