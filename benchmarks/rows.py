"""Side-by-side measurement, and the row that comes out of it."""

import os
import platform
import statistics
from collections.abc import Callable
from importlib.metadata import version
from typing import TypedDict

from tqdm import tqdm

ROUNDS = 5
_PACKAGES = ("graft", "numpy", "pillow", "torch")


class BenchmarkRow(TypedDict):
    """One measured figure: rates, so larger is better.

    `ours`, `peer` and `limit` are medians over the rounds, `spread` their smallest and largest values. The two ratios
    are medians of ours / other within one round, which drift less with the machine's load than the rates do.
    """

    name: str
    ours: float
    peer: float
    limit: float
    unit: str
    ratio_to_peer: float
    ratio_to_limit: float
    spread: dict[str, list[float]]
    versions: dict[str, str]
    machine: dict[str, str | int]


def measure(name: str, unit: str, **contenders: Callable[[], float]) -> BenchmarkRow:
    """Run `ours`, `peer` and `limit` in turn, round after round, so that a change of load meets all of them.

    Args:
        name: of the benchmark.
        unit: of the rates.
        contenders: each runs once and returns its rate.
    """
    rates: dict[str, list[float]] = {key: [] for key in contenders}
    for _ in tqdm(range(ROUNDS), desc=name, unit="round"):
        for key, run in contenders.items():
            rates[key].append(run())
    median = {key: round(statistics.median(values), 1) for key, values in rates.items()}
    ratio = {
        key: round(statistics.median(our / other for our, other in zip(rates["ours"], values, strict=True)), 3)
        for key, values in rates.items()
    }
    return BenchmarkRow(
        name=name,
        ours=median["ours"],
        peer=median["peer"],
        limit=median["limit"],
        unit=unit,
        ratio_to_peer=ratio["peer"],
        ratio_to_limit=ratio["limit"],
        spread={key: [round(min(values), 1), round(max(values), 1)] for key, values in rates.items()},
        versions={"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
        machine={"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))},
    )
