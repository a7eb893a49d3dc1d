"""Where benchmarks come from, and where to put them: for the message that one is not there."""

from functools import cache
from importlib.resources import files
from pathlib import Path

import yaml


@cache
def benchmarks() -> dict[str, dict[str, str]]:
    """`get`, `licence` and `unpack` of each benchmark, by the name of its folder."""
    rows: dict[str, dict[str, str]] = yaml.safe_load((files("graft") / "catalogue.yaml").read_text(encoding="utf-8"))
    return rows


def advice(root: Path) -> str:
    """How to get the benchmark that a configuration expects at `root`, in a sentence; else what to do."""
    names = [part for part in reversed(root.parts) if part in benchmarks()]
    if not names:
        return (
            "Unpack the benchmark there, or change data.init_args.root (the probe of training: data.init_args.probe)."
        )
    row = benchmarks()[names[0]]
    place = Path(*root.parts[: len(root.parts) - root.parts[::-1].index(names[0])])
    return (
        f"Get {row['get']} (licence: {row['licence']}), and unpack it so that {place} holds {row['unpack']}; or change "
        "data.init_args.root."
    )
