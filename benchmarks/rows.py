"""Side-by-side measurement, and the row that comes out of it."""

import os
import platform
import statistics
from collections.abc import Callable
from importlib.metadata import version
from typing import Literal, TypedDict

from tqdm import tqdm

ROUNDS = 5
_PACKAGES = ("graft", "numpy", "open_clip_torch", "pillow", "torch")


class BenchmarkRow(TypedDict):
    """One measured figure.

    `ours`, `peer` and `limit` are medians over the rounds, `spread` their smallest and largest values. The two ratios
    are medians of ours / other within one round, which drift less with the machine's load than the figures do. `better`
    says which way is good, for figures and ratios alike: `higher` for rates, `lower` for memory.
    """

    name: str
    ours: float
    peer: float
    limit: float
    unit: str
    better: Literal["higher", "lower"]
    ratio_to_peer: float
    ratio_to_limit: float
    spread: dict[str, list[float]]
    versions: dict[str, str]
    machine: dict[str, str | int]


def measure(
    name: str,
    unit: str,
    *,
    ours: Callable[[], float],
    peer: Callable[[], float],
    limit: Callable[[], float],
    better: Literal["higher", "lower"] = "higher",
    rounds: int = ROUNDS,
) -> BenchmarkRow:
    """Run `ours`, `peer` and `limit` in turn, round after round, so that a change of load meets all of them.

    Args:
        name: of the benchmark.
        unit: of the figures.
        ours: runs once and returns its figure.
        peer: likewise.
        limit: likewise.
        better: which way is good.
        rounds: how often each runs.
    """
    contenders = {"ours": ours, "peer": peer, "limit": limit}
    figures: dict[str, list[float]] = {key: [] for key in contenders}
    for _ in tqdm(range(rounds), desc=name, unit="round"):
        for key, run in contenders.items():
            figures[key].append(run())
    median = {key: _short(statistics.median(values)) for key, values in figures.items()}
    ratio = {
        key: round(statistics.median(our / other for our, other in zip(figures["ours"], values, strict=True)), 3)
        for key, values in figures.items()
    }
    return BenchmarkRow(
        name=name,
        ours=median["ours"],
        peer=median["peer"],
        limit=median["limit"],
        unit=unit,
        better=better,
        ratio_to_peer=ratio["peer"],
        ratio_to_limit=ratio["limit"],
        spread={key: [_short(min(values)), _short(max(values))] for key, values in figures.items()},
        versions={"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}},
        machine={"platform": platform.platform(), "cores": len(os.sched_getaffinity(0))},
    )


def _short(figure: float) -> float:
    """Four significant digits."""
    return float(f"{figure:.4g}")
