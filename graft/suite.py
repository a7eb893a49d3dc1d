"""Many evaluations of many models: which are to be run, which are done, and the table that they end in."""

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from graft.errors import GraftError, first_line
from graft.files import sha256_file, whole_folder, write_json
from graft.model_folder import CARD, is_model_folder
from graft.prompts import digest
from graft.results import ResultRow, read_rows
from graft.suite_table import write_tables
from graft.vqa.calibrate import calibration_file

RESULTS = "results.json"
# Not the hidden folders that a killed suite leaves: a pattern of pathlib takes dotted names for any others.
_DONE = f"[!.]*/{RESULTS}"
_NAME = re.compile(r"[\w.-]+")
_BASELINES = ("clip_baseline", "ceiling", "chance", "majority", "oracle")


@dataclass(frozen=True)
class Evaluation:
    """One configuration of `main.py test`.

    Attributes:
        config: the YAML file.
        settings: keys that the suite sets otherwise, e.g. {"data.init_args.root": "data/x"}.
        baseline: whether it evaluates the CLIP baseline too.
    """

    config: Path
    settings: dict[str, Any]
    baseline: bool

    @cached_property
    def key(self) -> str:
        """Name of its folder: the file's, and a hash of file and settings."""
        return f"{self.config.stem}-{digest([sha256_file(self.config), self.settings])[:8]}"


@dataclass(frozen=True)
class Candidate:
    """A model of a suite.

    Attributes:
        name: in the rows.
        path: checkpoint or model folder.
    """

    name: str
    path: Path

    @cached_property
    def key(self) -> str:
        """Name of its folder: its own, and a hash of the weights and of the calibration beside them.

        A model folder's card holds the hashes of its files.
        """
        weights = self.path / CARD if is_model_folder(self.path) else self.path
        calibration = calibration_file(self.path)
        files = [weights, calibration] if calibration.exists() else [weights]
        return f"{self.name}-{digest([sha256_file(file) for file in files])[:8]}"


def read_suite(path: Path) -> tuple[Path, list[Evaluation]]:
    """Read a suite: `out`, a folder, and `evaluations`, a list of YAML files or of `config` with `settings`.

    Raises:
        GraftError: no such file, or another form.
    """
    content = _yaml(path)
    listed = content.get("evaluations") if isinstance(content, dict) else None
    if not isinstance(content, dict) or content.keys() != {"out", "evaluations"} or not isinstance(listed, list):
        raise GraftError(f"{path} is no suite; expected the keys out and evaluations, see configs/eval/suite.yaml.")
    evaluations = []
    for each in listed:
        entry = {"config": each} if isinstance(each, str) else each
        if not isinstance(entry, dict) or not entry.keys() <= {"config", "settings"} or "config" not in entry:
            raise GraftError(f"{path} lists {each!r}; expected a YAML file, or config and settings.")
        config, settings = Path(entry["config"]), dict(entry.get("settings") or {})
        init = _yaml(config).get("model", {}).get("init_args", {})
        baseline = bool(settings.get("model.init_args.baseline", init.get("baseline", False)))
        evaluations.append(Evaluation(config, settings, baseline))
    if not evaluations:
        raise GraftError(f"{path} lists no evaluation. Add one under evaluations.")
    return Path(content["out"]), evaluations


def read_candidates(given: Sequence[str]) -> list[Candidate]:
    """Models as given on the command line, `PATH` or `NAME=PATH`.

    A name is made of the path where there is none: the folder's, or that of the folder a `last.ckpt` lies in.

    Raises:
        GraftError: no model, no such path, or two of one name.
    """
    found = []
    for each in given:
        name, equals, path = each.partition("=")
        place = Path(path if equals else each)
        if not is_model_folder(place) and not place.is_file():
            raise GraftError(f"No model at {place}. Give a checkpoint or a model folder, as PATH or NAME=PATH.")
        own = place.name if place.is_dir() else place.absolute().parent.name
        found.append(Candidate(name if equals else re.sub(r"[^\w.-]+", "-", own), place))
    names = [each.name for each in found]
    taken = [name for name in names if names.count(name) > 1 or name in _BASELINES or not _NAME.fullmatch(name)]
    if not found or taken:
        what = f"the name {taken[0]!r} twice or for a baseline" if taken else "no model"
        raise GraftError(f"The suite has {what}. Give --checkpoints NAME=PATH … with names of their own.")
    return found


def run_suite(
    config: Path, checkpoints: Sequence[str], run: Callable[[list[str]], object], out: Path | None = None
) -> int:
    """Run every evaluation for every model, leaving out what is done, and write the tables after each.

    Every pair has a folder of its own in `out`, which appears once the pair is done.

    Args:
        config: of the suite.
        checkpoints: see `read_candidates`.
        run: `main.py`'s main.
        out: folder of results; the suite's own if None.

    Returns:
        How many evaluations failed; their faults were told.

    Raises:
        GraftError: a suite or models that do not fit.
    """
    own, evaluations = read_suite(config)
    folder, models = out or own, read_candidates(checkpoints)
    pairs = [(evaluation, model) for evaluation in evaluations for model in models]
    failed: list[str] = []
    skipped, tables = 0, _write(folder, evaluations, models)
    with tqdm(total=len(pairs), desc="Suite", unit="evaluation") as progress:
        for evaluation, model in pairs:
            progress.set_postfix_str(f"{evaluation.config.stem}, {model.name}")
            if (folder / evaluation.key / model.key / RESULTS).exists():
                skipped += 1
            elif _run_one(evaluation, model, run, folder):
                tables = _write(folder, evaluations, models)
            else:
                failed.append(f"{evaluation.config} for {model.name}")
            progress.update()
    for file in tables:
        print(file)
    print(f"{len(pairs) - skipped - len(failed)} evaluations run, {skipped} done before, {len(failed)} failed.")
    for each in failed:
        print(f"  failed: {each}")
    return len(failed)


def _run_one(evaluation: Evaluation, model: Candidate, run: Callable[[list[str]], object], folder: Path) -> bool:
    """Run one evaluation into a folder of its own; False where it failed."""
    place = folder / evaluation.key / model.key
    for stale in place.parent.glob(f".{place.name}.*"):  # of a suite that was killed
        shutil.rmtree(stale)
    # The baseline knows nothing of the model: once for each protocol is enough.
    again = any(place.parent.glob(_DONE))
    try:
        with whole_folder(place) as part:
            settings = evaluation.settings | {
                "model.init_args.checkpoint": model.path,
                "model.init_args.name": model.name,
                "model.init_args.results": part / RESULTS,
                "trainer.default_root_dir": part,
            }
            if evaluation.baseline and again:
                settings["model.init_args.baseline"] = "false"
            run(["test", "--config", str(evaluation.config), *(f"--{key}={value}" for key, value in settings.items())])
    except SystemExit:  # the fault has been told
        return False
    return True


def _write(folder: Path, evaluations: Sequence[Evaluation], models: Sequence[Candidate]) -> list[Path]:
    """Write what is known of these models under these protocols, and of the baselines under the same."""
    rows: list[ResultRow] = []
    for evaluation in evaluations:
        asked = [folder / evaluation.key / model.key / RESULTS for model in models]
        others = sorted(set((folder / evaluation.key).glob(_DONE)) - set(asked))
        baselines: dict[str, ResultRow] = {}
        for file in (*asked, *others):
            for row in read_rows(file):
                if row["model"] in _BASELINES:
                    baselines.setdefault(row["model"], row)
                elif file in asked:
                    rows.append(row)
        rows += baselines.values()
    write_json(folder / RESULTS, rows)
    return write_tables(rows, [model.name for model in models], folder)


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise GraftError(f"{path} cannot be read ({first_line(error)}). Give another file.") from error
