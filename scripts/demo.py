"""The whole idea in one command: world, teacher, shards, training, evaluation, report.

Every step is printed as the command that a user would type, and is left out when its result is there already and no
older than the checkpoint it was made with, so an interrupted demo goes on where it stopped.
"""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import torch
from jsonargparse import auto_cli

from graft.atlas import DEMO, TINY
from graft.cli import main as graft_command
from graft.dense import TRAINING_FREE
from graft.errors import GraftError
from graft.report import write_report
from graft.report_questions import demo_questions
from graft.report_search import demo_searches
from graft.results import read_rows
from main import main as main_command

CONTROLS = {"control_colour": "mean-colour", "control_histogram": "colour-histogram", "control_token": "token-colour"}
PIXEL = ("pixel", "control_token")
LABELS = {"control_token": "control_colour"}
"""What a model is called in the rows of segmentation, where it is not its own name."""
ROOTS = {
    "atlas": "{split}/eurosat/2750",
    "atlas_multilabel": "{split}/bigearthnet/BigEarthNet-v1.0",
    "segmentation_atlas": "{split}",
    "retrieval_atlas": "{split}/gallery",
    "vqa_atlas": "{split}/vqa",
}
"""Benchmark folders inside the world's, by configuration."""
LEFT = {
    "atlas": "atlas_{split}_{model}_per_class.json",
    "atlas_multilabel": "atlas-multilabel_{split}_{model}_per_class.json",
    "segmentation_atlas": "atlas-segmentation_{split}_{model}_per_class.json",
    "retrieval_atlas": "atlas-gallery_{split}_{model}_retrieval.json",
    "vqa_atlas": "atlas-vqa_{split}_{model}_questions.csv",
}
"""What an evaluation leaves beside its rows once they are written, by configuration."""


def run(
    program: str,
    command: Callable[[], object],
    arguments: list[str],
    result: Path | None = None,
    made_with: Path | None = None,
) -> None:
    """Print and run one command, unless `result` exists and is no older than `made_with`."""
    if result is not None and result.exists() and not (made_with and _newer(made_with, result)):
        print(f"\n$ {program} {shlex.join(arguments)}\n  done already: {result}", flush=True)
        return
    print(f"\n$ {program} {shlex.join(arguments)}", flush=True)
    began = time.perf_counter()
    sys.argv = [*shlex.split(program)[-1:], *arguments]  # the command that result rows and saved configurations record
    command()
    print(f"  took {time.perf_counter() - began:.0f} s", flush=True)


def _newer(one: Path, other: Path) -> bool:
    return one.stat().st_mtime_ns > other.stat().st_mtime_ns


def evaluate(name: str, benchmark: str, arguments: list[str], out: Path, *, split: str = "test") -> None:
    """Print and run one evaluation, unless it is there and no older than the checkpoint."""
    label = LABELS.get(name, name) if benchmark == "segmentation_atlas" else name
    left = out / LEFT[benchmark].format(split=split, model=label)
    run("python main.py", main_command, arguments, left, out / name / "last.ckpt")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: a control is so small that threads which wait for each other take most of its time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def check_world(world: Path, sensor: str, seed: int, *, quick: bool) -> None:
    """Refuse to mix two demos in one folder.

    Raises:
        GraftError: the folder holds a world of another sensor, seed or size.
    """
    path = world / "world.json"
    if not path.is_file():
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    size = asdict(TINY if quick else DEMO)
    if (found["sensor"], found["seed"], found["size"]) != (sensor, seed, size):
        raise GraftError(
            f"{world} is a world of {found['size']['train']} scenes, SENSOR={found['sensor']} SEED={found['seed']}; "
            f"asked for are {size['train']} scenes, SENSOR={sensor} SEED={seed}: give another OUT, or remove it."
        )


def demo(
    *,
    sensor: Literal["sentinel", "naip"] = "sentinel",
    seed: int = 0,
    out: Path = Path("runs/demo"),
    quick: bool = False,
) -> None:
    """Build the embedded world, align an encoder to its ground photos, evaluate it in words and write a report.

    Args:
        sensor: sentinel (10 m) or naip (1 m).
        seed: of world, teacher and training; another seed is another world.
        out: folder of everything the demo writes, `results.json` and `report.html` among it.
        quick: a tiny world and a few steps: shows that everything runs, not what comes of it.
    """
    world, teacher, shards, results = out / "world", out / "teacher", out / "shards", out / "results.json"
    check_world(world, sensor, seed, quick=quick)
    began = time.perf_counter()
    run(
        "graft",
        graft_command,
        ["atlas", f"--out={world}", f"--sensor={sensor}", f"--seed={seed}", f"--size={'tiny' if quick else 'demo'}"],
        world / "world.json",
    )
    run(
        "graft",
        graft_command,
        ["teacher", f"--world={world}", f"--out={teacher}", f"--seed={seed}"],
        teacher / "open_clip_model.safetensors",
    )
    table = out / "photos.parquet"
    run("graft", graft_command, ["photos", f"{world / 'photos.csv'}", "--format=table", f"--out={table}"], table)
    run(
        "graft",
        graft_command,
        [
            "prepare",
            f"configs/prepare/{sensor}.yaml",
            "configs/prepare/atlas.yaml",
            f"--photos={table}",
            f"--imagery.scenes=[{world / 'scenes'}]",
            f"--teacher.architecture=local-dir:{teacher}",
            f"--out={shards}",
            "--tiles.spacing=0.5",  # a small world seen from many places; twelve minutes are too short for a large one
            f"--seed={seed}",
            *(["--cluster.workers=1"] if quick else []),  # more processes take longer to start than a tiny world takes
        ],
        shards / "train/index.json",
    )
    for name in ("aligned", "pixel"):
        run("python main.py", main_command, fit_command(name, sensor, seed, out, quick=quick))
    with _one_thread():
        for name in CONTROLS:
            run("python main.py", main_command, fit_command(name, sensor, seed, out, quick=quick))
    for name in ("aligned", "pixel", "control_colour", "control_histogram"):
        for benchmark in ("atlas", "atlas_multilabel"):
            evaluate(name, benchmark, evaluation_command(name, benchmark, sensor, seed, out), out)
    modes = f"--model.init_args.dense=[{','.join(TRAINING_FREE)}]"
    side_by_side = "--model.init_args.stride=64"  # enough to choose by, and four times as fast
    choice = [*segmentation_command("aligned", sensor, seed, out, split="val"), modes, side_by_side]
    evaluate("aligned", "segmentation_atlas", choice, out, split="val")
    best = f"--model.init_args.dense=[{best_mode(out / 'results_val.json')}]"
    evaluate("aligned", "segmentation_atlas", [*segmentation_command("aligned", sensor, seed, out), best], out)
    for name in PIXEL:
        evaluate(name, "segmentation_atlas", segmentation_command(name, sensor, seed, out), out)
    evaluate("aligned", "retrieval_atlas", evaluation_command("aligned", "retrieval_atlas", sensor, seed, out), out)
    run("graft", graft_command, index_command(out))
    for search in demo_searches(world):
        page = out / "search" / f"{search.name}.html"
        run("graft", graft_command, [*search.command(out / "index"), f"--out={page}"], page, out / "aligned/last.ckpt")
    model = out / "pixel/last.ckpt"
    run("graft", graft_command, ["calibrate", f"{shards / 'train'}", f"--model={model}"], out / "pixel/vqa.json", model)
    evaluate("pixel", "vqa_atlas", question_command(sensor, seed, out), out)
    for asked in demo_questions(world, sensor):
        left = out / "questions" / f"{asked.image.stem}.json"
        run("graft", graft_command, [*asked.command(model), f"--out={left.parent}/"], left, model)
    write_report(world, teacher, shards / "train", out, out / "report.html")
    print(f"\n{time.perf_counter() - began:.0f} s in all. Results: {results}\nOpen {out / 'report.html'} in a browser.")


def fit_command(name: str, sensor: str, seed: int, out: Path, *, quick: bool) -> list[str]:
    """Arguments of `main.py` that train an encoder, or a control under the same loss."""
    arguments = [
        "fit",
        f"--config=configs/{sensor}{'_pixel' if name in PIXEL else ''}.yaml",
        "--config=configs/atlas.yaml",
        f"--seed_everything={seed}",
        f"--model.init_args.architecture=local-dir:{out / 'teacher'}",
        f"--data.init_args.shards={out / 'shards/train'}",
        f"--data.init_args.probe={out / 'world/benchmarks/val/eurosat/2750'}",
        f"--trainer.default_root_dir={out / name}",
    ]
    if name in CONTROLS:
        # A control takes no time itself; with two readers neither does its data, and the order stays the same.
        arguments += [f"--model.init_args.encoder={CONTROLS[name]}", "--data.init_args.num_workers=2"]
        arguments.append("--trainer.limit_val_batches=0")  # nobody looks at a control's curve
    if quick:
        arguments += ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3", "--trainer.val_check_interval=3"]
        arguments += ["--data.init_args.batch_size=16"]
    return arguments


def evaluation_command(
    name: str, benchmark: str, sensor: str, seed: int, out: Path, *, split: str = "test"
) -> list[str]:
    """Arguments of `main.py` that evaluate a trained encoder on regions it never saw."""
    root = out / "world/benchmarks" / ROOTS[benchmark].format(split=split)
    arguments = [
        "test",
        f"--config=configs/eval/{benchmark}.yaml",
        f"--seed_everything={seed}",
        f"--model.init_args.checkpoint={out / name / 'last.ckpt'}",
        f"--model.init_args.teacher=local-dir:{out / 'teacher'}",
        f"--model.init_args.name={name}",
        f"--model.init_args.results={out / 'results.json'}",
        f"--data.init_args.root={root}",
        f"--trainer.default_root_dir={out / 'eval'}",
    ]
    if benchmark in ("atlas_multilabel", "segmentation_atlas"):
        arguments.append(f"--data.init_args.sensor={sensor}")
    if benchmark in ("segmentation_atlas", "vqa_atlas"):
        return arguments
    if name == "aligned":
        folder = root if benchmark == "retrieval_atlas" else root.parent
        arguments.append(f"--data.init_args.photos={folder / 'photos.csv'}")
    else:
        arguments += ["--model.init_args.baseline=false", "--data.init_args.photos=null"]
    return arguments


def segmentation_command(name: str, sensor: str, seed: int, out: Path, *, split: str = "test") -> list[str]:
    """Arguments of `main.py` that score an encoder pixel by pixel; the baseline stands beside the pixel model."""
    return [
        *evaluation_command(name, "segmentation_atlas", sensor, seed, out, split=split),
        f"--model.init_args.name={LABELS.get(name, name)}",
        f"--model.init_args.split={split}",
        f"--model.init_args.results={out / ('results.json' if split == 'test' else f'results_{split}.json')}",
        f"--model.init_args.baseline={str(name == 'pixel').lower()}",
        f"--model.init_args.pictures={2 if name == 'pixel' else 0}",
    ]


def question_command(sensor: str, seed: int, out: Path) -> list[str]:
    """Arguments of `main.py` that ask the pixel-level encoder about regions that it never saw."""
    layout = "lr" if sensor == "sentinel" else "hr"
    return [*evaluation_command("pixel", "vqa_atlas", sensor, seed, out), f"--data.init_args.layout={layout}"]


def index_command(out: Path) -> list[str]:
    """Arguments of `graft` that index the scenes of regions that the encoder never saw."""
    scenes = out / "world/benchmarks/test/scenes"
    return ["index", f"{scenes}", f"--model={out / 'aligned/last.ckpt'}", f"--out={out / 'index'}"]


def best_mode(results: Path) -> str:
    """The dense mode with the best mIoU in the last row of `aligned`."""
    *_, row = [row for row in read_rows(results) if row["model"] == "aligned"]
    scores = {mode: row["metrics"].get(f"miou_{mode}", row["metrics"]["miou"]) for mode in TRAINING_FREE}
    return max(scores, key=scores.__getitem__)


if __name__ == "__main__":
    try:
        auto_cli(demo, as_positional=False)
    except GraftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
