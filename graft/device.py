"""Where a model runs."""

import torch

from graft.errors import GraftError, first_line


def find_device(name: str) -> torch.device:
    """The device of a --device.

    Args:
        name: auto (a GPU if there is one), cpu, cuda or cuda:N.

    Raises:
        GraftError: it is not to be had.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise GraftError(f"--device {name} is not to be had here: {first_line(error)}") from error
    return device
