"""Small agreements between the processes of a run; every process must ask, in the same order."""

from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def total_over_ranks(number: int, device: torch.device) -> int:
    """The sum of a number over all processes.

    Args:
        number: of this process.
        device: that the processes talk through.
    """
    if not _several():
        return number
    total = torch.tensor(number, device=device)
    dist.all_reduce(total)
    return int(total)


def gather_lists(values: list[T], device: torch.device) -> list[T]:
    """The lists of all processes one after the other; cheap where all are empty.

    Args:
        values: of this process; plain types.
        device: that the processes talk through.
    """
    if not _several() or total_over_ranks(len(values), device) == 0:
        return values
    gathered: list[list[T]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(gathered, values)
    return [value for of_rank in gathered for value in of_rank]
