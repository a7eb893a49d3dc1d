"""The demo's report: one HTML page that holds its own pictures and opens anywhere."""

import base64
import io
import json
import math
from collections.abc import Iterable, Sequence
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
from graft.report_questions import question_section
from graft.report_search import search_section
from graft.results import ResultRow, read_rows
from graft.sensors import get_sensor
from graft.shards import ShardIndex, ShardReader
from graft.teacher import Teacher

ABOUT = {
    "aligned": "the image-level encoder, trained on photos alone",
    "pixel": "the pixel-level encoder, trained on photos alone",
    "ceiling": "CLIP on the ground photos of the same places",
    "clip_baseline": "CLIP itself on the tile",
    "control_colour": "the same loss on the tile's mean colour",
    "control_histogram": "the same loss on the tile's colour histogram",
    "chance": "guessing",
}
ABOUT_PIXELS = {
    "pixel": "patch tokens of the pixel-level encoder",
    "aligned": "patch tokens out of the image-level encoder, by the training-free way that was best on other regions",
    "ceiling": "the truth itself, rounded to patch tokens",
    "clip_baseline": "patch tokens of CLIP itself",
    "control_colour": "the same loss on each token's mean colour",
    "chance": "guessing",
}
ABOUT_SEARCH = {
    "aligned": "the image-level encoder, trained on photos alone",
    "oracle": "knows the land cover of every tile and what each photo shows",
    "clip_baseline": "CLIP itself on the tile",
    "chance": "any order",
}
ABOUT_QUESTIONS = {
    "pixel": "programs over the patch tokens of the pixel-level encoder",
    "oracle": "the same programs over the true land cover",
    "clip_baseline": "the same programs over the patch tokens of CLIP itself",
    "majority": "the commonest answer to each type of question in other regions",
}
NAMES = {
    "classification": ABOUT,
    "multilabel": ABOUT,
    "segmentation": ABOUT_PIXELS,
    "retrieval": ABOUT_SEARCH,
    "vqa": ABOUT_QUESTIONS,
}
HEADLINE = {
    "classification": "top1_macro",
    "multilabel": "map_macro",
    "segmentation": "miou",
    "retrieval": "map_at_100_hits",
    "vqa": "accuracy",
}
BOUNDS: dict[str, tuple[str | float, str | float]] = {
    "classification": ("chance", "ceiling"),
    "multilabel": ("chance", 1.0),
    "segmentation": (0.0, "ceiling"),
    "retrieval": ("chance", 1.0),
    "vqa": ("majority", "oracle"),
}
"""What the last column holds a model against: no skill and the best there can be, each a row or a number."""
TABLES = {
    "classification": (
        "One class a tile",
        "tiles in the EuroSAT layout",
        {"top1": "top-1", "top1_macro": "top-1 macro"},
        "transfer",
    ),
    "multilabel": (
        "Several classes a tile",
        "tiles in the BigEarthNet layout",
        {"map_macro": "mAP macro", "map_micro": "mAP micro"},
        "transfer",
    ),
    "segmentation": ("Every pixel", "scenes", {"miou": "mIoU", "accuracy": "accuracy"}, "of the ceiling"),
    "retrieval": (
        "Words and photos to tiles",
        "tiles to search, side by side",
        {"map_at_20_hits": "mAP@20", "map_at_100_hits": "mAP@100", "recall_at_10": "photo's tile in 10"},
        "transfer",
    ),
    "vqa": (
        "Questions",
        "questions in the layout of RSVQA",
        {
            "accuracy": "all",
            "accuracy_presence": "is there",
            "accuracy_comp": "less, more, equal",
            "accuracy_count": "how many",
            "accuracy_area": "area",
            "accuracy_rural_urban": "rural or urban",
        },
        "transfer",
    ),
}
_PAIRS, _PHOTOS, _ANSWERS_PER_CLASS = 9, 4, 2


def write_report(world: Path, teacher: Path, shards: Path, out: Path, page: Path) -> None:
    """Write the report of a demo.

    Args:
        world: folder of the embedded world.
        teacher: open_clip folder of its teacher.
        shards: folder of training shards.
        out: folder of `results.json`, of the pictures that evaluations left beside it, of the training runs `aligned`
            and `pixel`, of the `index` of the world's test scenes, and of the `questions` asked about them.
        page: HTML file to write.
    """
    about = json.loads((world / "world.json").read_text(encoding="utf-8"))
    rows = read_rows(out / "results.json")
    templates = Environment(loader=PackageLoader("graft"), autoescape=select_autoescape(default=True))
    templates.filters["data"] = _picture
    html = templates.get_template("report.html.j2").render(
        world={"sensor": about["sensor"], "seed": about["seed"], "gsd": f"{get_sensor(about['sensor']).gsd_m:g}"},
        tables=[_table(rows, task) for task in TABLES],
        pairs=_pairs(shards, world),
        answers=_answers(world, teacher, out / "aligned" / "last.ckpt"),
        archive=search_section(world, out / "index"),
        asked=question_section(world, about["sensor"], out / "questions"),
        maps=_pictures(out.glob("atlas-segmentation_test_pixel_*_scene.png")),
        words=load_prompts("atlas").names,
        confusions=_pictures(out / f"atlas_test_{model}_confusion.png" for model in ("aligned", "clip_baseline")),
        curves=_pictures(path for model in ("aligned", "pixel") if (path := out / model / "curves.png").is_file()),
        code=rows[0]["code_version"],
        prompts=next(row["prompts"] for row in rows if row["prompts"]),
    )
    with atomic_path(page) as partial:
        partial.write_text(html, encoding="utf-8")


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _pictures(paths: Iterable[Path]) -> list[dict[str, str]]:
    return [{"name": f"{path.parent.name} {path.stem}", "data": _data(path.read_bytes())} for path in sorted(paths)]


def _picture(image: Image.Image) -> str:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return _data(stream.getvalue())


def transfer(score: float, chance: float, ceiling: float) -> float:
    """The share of the way from chance to the ceiling, (score - chance) / (ceiling - chance); NaN without a way."""
    return (score - chance) / (ceiling - chance) if ceiling > chance else float("nan")


def _table(rows: Sequence[ResultRow], task: str) -> dict[str, Any]:
    """The rows of one task; the last column holds them against chance and ceiling."""
    title, about, columns, against = TABLES[task]
    names = NAMES[task]
    order = {name: place for place, name in enumerate(names)}
    mine = [row for row in rows if row["task"] == task]
    mine.sort(key=lambda row: order.get(row["model"], len(order)))
    headline = {row["model"]: row["metrics"].get(HEADLINE[task], math.nan) for row in mine}
    chance, ceiling = (bound if isinstance(bound, float) else headline[bound] for bound in BOUNDS[task])
    columns = {metric: column for metric, column in columns.items() if any(metric in row["metrics"] for row in mine)}
    return {
        "title": title,
        "about": f"{mine[0]['n']} {about}",
        "columns": [*columns.values(), against],
        "rows": [
            {
                "model": row["model"],
                "about": names.get(row["model"], ""),
                "numbers": [
                    *(_percent(row["metrics"].get(name, math.nan)) for name in columns),
                    _known(f"{transfer(headline[row['model']], chance, ceiling):.2f}"),
                ],
            }
            for row in mine
        ],
    }


def _percent(share: float) -> str:
    return _known(f"{100 * share:.1f} %")


def _known(number: str) -> str:
    """A dash for what a model has no figure of."""
    return "-" if number.startswith("nan") else number


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
