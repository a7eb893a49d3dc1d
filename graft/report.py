"""The demo's report: one HTML page that holds its own pictures and opens anywhere."""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image
from torch import Tensor

from graft.checkpoint import load_encoder
from graft.files import atomic_path
from graft.fit import read_rgb
from graft.metrics import zero_shot_scores
from graft.prompts import load_prompts, text_vectors
from graft.results import ResultRow, read_rows
from graft.sensors import get_sensor
from graft.shards import ShardIndex, ShardReader
from graft.teacher import Teacher

ABOUT = {
    "aligned": "the satellite encoder, trained on photos alone",
    "ceiling": "CLIP on the ground photos of the same places",
    "clip_baseline": "CLIP itself on the tile",
    "control_colour": "the same loss on the tile's mean colour",
    "control_histogram": "the same loss on the tile's colour histogram",
    "chance": "guessing",
}
HEADLINE = {"classification": "top1_macro", "multilabel": "map_macro"}
TABLES = {
    "classification": ("One class a tile", "EuroSAT", {"top1": "top-1", "top1_macro": "top-1 macro"}),
    "multilabel": ("Several classes a tile", "BigEarthNet", {"map_macro": "mAP macro", "map_micro": "mAP micro"}),
}
_PAIRS, _PHOTOS, _ANSWERS_PER_CLASS = 9, 4, 2


def write_report(world: Path, teacher: Path, shards: Path, run: Path, results: Path, page: Path) -> None:
    """Write the report of a demo.

    Args:
        world: folder of the embedded world.
        teacher: open_clip folder of its teacher.
        shards: folder of training shards.
        run: training run with `last.ckpt` and `curves.png`.
        results: result rows; confusion matrices (`*_confusion.png`) lie beside it.
        page: HTML file to write.
    """
    about = json.loads((world / "world.json").read_text(encoding="utf-8"))
    rows = read_rows(results)
    templates = Environment(loader=PackageLoader("graft"), autoescape=select_autoescape(default=True))
    curves = run / "curves.png"
    html = templates.get_template("report.html.j2").render(
        world={"sensor": about["sensor"], "seed": about["seed"], "gsd": f"{get_sensor(about['sensor']).gsd_m:g}"},
        tables=[_table(rows, task) for task in TABLES],
        pairs=_pairs(shards, world),
        answers=_answers(world, teacher, run / "last.ckpt"),
        classes=len(load_prompts("atlas").ids),
        confusions=[
            {"name": path.stem, "data": _data(path.read_bytes())}
            for model in ("aligned", "clip_baseline")
            for path in sorted(results.parent.glob(f"*_{model}_confusion.png"))
        ],
        curves=_data(curves.read_bytes()) if curves.is_file() else None,
        code=rows[0]["code_version"],
        prompts=next(row["prompts"] for row in rows if row["prompts"]),
    )
    with atomic_path(page) as partial:
        partial.write_text(html, encoding="utf-8")


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _picture(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return _data(stream.getvalue())


def transfer(score: float, chance: float, ceiling: float) -> float:
    """The share of the way from chance to the ceiling: (score - chance) / (ceiling - chance)."""
    return (score - chance) / (ceiling - chance)


def _ordered(rows: Sequence[ResultRow], task: str) -> list[ResultRow]:
    order = {name: place for place, name in enumerate(ABOUT)}
    mine = [row for row in rows if row["task"] == task]
    return sorted(mine, key=lambda row: order.get(row["model"], len(order)))


def _table(rows: Sequence[ResultRow], task: str) -> dict[str, Any]:
    """The rows of one task, with transfer in the last column."""
    title, layout, columns = TABLES[task]
    mine = _ordered(rows, task)
    headline = {row["model"]: row["metrics"][HEADLINE[task]] for row in mine}
    ceiling = headline["ceiling"] if task == "classification" else 1.0
    return {
        "title": title,
        "about": f"{mine[0]['n']} tiles in the {layout} layout",
        "columns": [*columns.values(), "transfer"],
        "rows": [
            {
                "model": row["model"],
                "about": ABOUT.get(row["model"], ""),
                "numbers": [
                    *(f"{100 * row['metrics'][name]:.1f} %" for name in columns),
                    f"{transfer(headline[row['model']], headline['chance'], ceiling):.2f}",
                ],
            }
            for row in mine
        ],
    }


def _pairs(shards: Path, world: Path) -> list[dict[str, Any]]:
    """The first tiles of the shards that have enough photos to show."""
    index = ShardIndex.load(shards)
    reader = ShardReader(index)
    table = pd.read_csv(world / "photos.csv", dtype={"photo_id": str}).set_index("photo_id")["path"]
    pairs: list[dict[str, Any]] = []
    for number in range(index.samples[0]):
        sample = reader.read(0, number)
        photos = sample.meta["photos"][:_PHOTOS]
        if len(photos) < _PHOTOS - 1:
            continue
        pairs.append(
            {
                "name": sample.meta["tile_id"],
                "side": index.tile_size,
                "tile": _picture(Image.fromarray(sample.tile.permute(1, 2, 0).numpy())),
                "photos": [
                    {
                        "x": photo["x"],
                        "y": photo["y"],
                        "picture": _picture(Image.open(world / table[photo["id"]]).convert("RGB")),
                    }
                    for photo in photos
                ],
            }
        )
        if len(pairs) == _PAIRS:
            break
    return pairs


@torch.inference_mode()
def _answers(world: Path, teacher_folder: Path, checkpoint: Path) -> list[dict[str, Any]]:
    """The first held-out tiles of every class, with what encoder and CLIP say of them."""
    prompts = load_prompts("atlas")
    teacher, loaded = Teacher(f"local-dir:{teacher_folder}"), load_encoder(checkpoint)
    text = text_vectors(teacher.encode_text, prompts, "ground")
    answers = []
    for label, class_id in enumerate(prompts.ids):
        folder = world / "benchmarks" / "test" / "eurosat" / "2750" / class_id
        for path in sorted(folder.iterdir())[:_ANSWERS_PER_CLASS]:
            pixels = read_rgb(path)
            tile = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
            likely = (loaded.logit_scale * zero_shot_scores(loaded.encoder(tile), text))[0].softmax(0)
            baseline = int(zero_shot_scores(teacher.encode_image(tile), text)[0].argmax())
            answers.append(
                {
                    "tile": _picture(Image.fromarray(pixels)),
                    "truth": prompts.names[label],
                    "guesses": _guesses(likely, prompts.names, label),
                    "baseline": prompts.names[baseline],
                    "baseline_right": baseline == label,
                }
            )
    return answers


def _guesses(likely: Tensor, names: Sequence[str], label: int) -> list[dict[str, Any]]:
    best = likely.topk(3)
    return [
        {"name": names[which], "percent": round(100 * value), "right": which == label}
        for value, which in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
