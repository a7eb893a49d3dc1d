"""Training in processes of its own, one a rank, without the price of starting Python anew."""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import pytest
import torch

from main import main

LIMIT_S = 240


def session(config: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)  # the parent's threads did not come along
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main(["fit", "--config", str(config)])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_ranks(config: Path, ranks: int) -> list[int | None]:
    """Run a configuration; the exit code of each rank, a signal's number negative."""
    group = {"WORLD_SIZE": str(ranks), "NODE_RANK": "0", "GLOO_SOCKET_IFNAME": "lo"}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    context = multiprocessing.get_context("fork")
    environments = [{} if ranks == 1 else group | {"LOCAL_RANK": str(rank)} for rank in range(ranks)]
    processes = [context.Process(target=session, args=(config, environment)) for environment in environments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT_S)
    hang = [process for process in processes if process.is_alive()]
    for process in hang:
        process.kill()
        process.join()
    if hang:
        pytest.fail(f"{len(hang)} of {ranks} processes hang")
    return [process.exitcode for process in processes]
