"""Result rows: one schema for every evaluation, appended to a JSON list."""

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NotRequired, TypedDict

import graft
from graft.errors import GraftError
from graft.files import write_json


class ResultRow(TypedDict):
    """One evaluated model on one split of one data set.

    Attributes:
        task: classification, multilabel, retrieval, segmentation or vqa.
        dataset: name of the benchmark.
        split: name of its split.
        n: images (or questions) scored.
        skipped: images left out because they could not be read.
        model: aligned, clip_baseline, ceiling, chance, …, or a checkpoint's name.
        metrics: name -> value; fractions of 1, except counts such as `classes_skipped`. They belong to the first prompt
            family; those of another family carry its name as suffix (`top1_satellite`).
        intervals: name -> [low, high] of the metrics that have one: 95 %, see `graft.bootstrap`.
        prompts: name, family and sha256 of the prompt set; None where no words were used.
        preprocessing: how a stored image became the model's input.
        model_sha256: identity of the weights; None where there are none.
        code_version: commit of graft, or its version where it is installed without a repository.
        seed: of the run; None where it was not set.
        command: the command line of the process.
    """

    task: str
    dataset: str
    split: str
    n: int
    skipped: int
    model: str
    metrics: dict[str, float]
    prompts: dict[str, str] | None
    preprocessing: str
    model_sha256: str | None
    code_version: str
    seed: int | None
    command: str
    intervals: NotRequired[dict[str, tuple[float, float]]]


HEADLINE = {
    "classification": ("top1", "top1_macro"),
    "multilabel": ("map_macro", "map_micro"),
    "retrieval": ("map_at_100_hits", "map_at_100_min"),
    "segmentation": ("miou", "map_macro"),
    "vqa": ("accuracy", "accuracy_average"),
}
"""Figures of each task that a table shows, the first of them first."""
_KEY = ("task", "dataset", "split", "model", "prompts", "preprocessing")


def code_version() -> str:
    """Commit of the checkout that graft runs from, `-dirty` if changed since; its package version elsewhere."""
    root = Path(graft.__file__).parent.parent
    # An installed package may lie inside somebody else's repository (.venv): only a root of its own counts.
    if not (root / ".git").exists():
        return version("graft")
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}-dirty" if _git(root, "status", "--porcelain") else commit
    except (OSError, subprocess.CalledProcessError):  # no git program, or no commit yet
        return version("graft")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def command_line() -> str:
    """The command line of this process, quoted for a shell."""
    return shlex.join(sys.argv)


def read_rows(path: Path) -> list[ResultRow]:
    """Read a results file; a file that does not exist has no rows.

    Raises:
        GraftError: the file is not a JSON list of objects.
    """
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GraftError(f"{path} is not JSON ({error}). Move it away, or give another results file.") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GraftError(f"{path} is not a list of result rows. Move it away, or give another results file.")
    return rows


def append_rows(path: Path, rows: Sequence[ResultRow]) -> None:
    """Append rows to a results file, whole or not at all; one writer at a time.

    A row with the same task, dataset, split, model, prompts and preprocessing replaces the old one.

    Raises:
        GraftError: the file holds something else.
        ValueError: a metric is not finite, which JSON cannot hold.
    """
    for row in rows:
        if bad := [name for name, value in row["metrics"].items() if not math.isfinite(value)]:
            raise ValueError(f"metrics of {row['model']} are not finite: {bad}")
    new = [_key(row) for row in rows]
    write_json(path, [*(row for row in read_rows(path) if _key(row) not in new), *rows])


def _key(row: ResultRow) -> list[object]:
    return [row.get(name) for name in _KEY]
