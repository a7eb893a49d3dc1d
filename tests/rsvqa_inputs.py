"""RSVQA's files as they are published: full-length lists with inactive stubs, pictures named by id."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine

from tests.labelmap_inputs import tif

LR_PLACE = {"crs": "EPSG:32631", "transform": Affine(10, 0, 600_000, 0, -10, 5_800_000)}
HR_PLACE = {"crs": "EPSG:32618", "transform": Affine(1, 0, 480_000, 0, -1, 4_420_000)}
PREFIX = {"lr": "LR_split", "hr": "USGS_split"}
FOLDER = {"lr": "Images_LR", "hr": "Data"}
Asked = tuple[str, str, str]
"""Type, question, answer."""


def lists_of(
    images: Mapping[str, Mapping[int, Sequence[Asked]]],
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Files of every split: split -> "images", "questions", "answers" -> entries.

    Args:
        images: split -> image id -> questions.
    """
    flat = [
        (split, image, asked) for split, of in images.items() for image, questions in of.items() for asked in questions
    ]
    # Ids of different splits are mixed in the real files.
    order = np.random.default_rng(0).permutation(len(flat)).tolist()
    ids = dict(zip(order, range(len(flat)), strict=True))
    total = max(image for of in images.values() for image in of) + 2
    files = {}
    for split, of in images.items():
        questions: list[dict[str, Any]] = [{"id": n, "active": False} for n in range(len(flat))]
        answers: list[dict[str, Any]] = [{"id": n, "active": False} for n in range(len(flat))]
        pictures: list[dict[str, Any]] = [{"id": n, "active": False} for n in range(total)]
        for image in of:
            pictures[image] = {
                "id": image,
                "date_added": 1549642353.7,
                "original_name": f"S2_{image}.tif",
                "sensor": "Sentinel-2",
                "upperleft_map_x": 600000.0,
                "upperleft_map_y": 5800000.0,
                "res_x": 10.0,
                "res_y": 10.0,
                "people_id": 0,
                "type": "RGB",
                "questions_ids": [],
                "active": True,
            }
        for number, (other, image, (type_, text, answer)) in enumerate(flat):
            if other != split:
                continue
            place = ids[number]
            pictures[image]["questions_ids"].append(place)
            about = {"id": place, "date_added": 1549642353.7, "people_id": 0, "active": True}
            questions[place] = {**about, "img_id": image, "type": type_, "question": text, "answers_ids": [place]}
            answers[place] = {**about, "question_id": place, "answer": answer}
        files[split] = {"images": pictures, "questions": questions, "answers": answers}
    return files


def write_lists(root: Path, layout: str, files: Mapping[str, Mapping[str, Any]]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for split, lists in files.items():
        for what, entries in lists.items():
            (root / f"{PREFIX[layout]}_{split}_{what}.json").write_text(json.dumps({what: entries}))


def write_picture(root: Path, layout: str, image: int, pixels: Any, **profile: Any) -> Path:
    """An 8-bit GeoTIFF of display values uint8 [H, W, 3]."""
    place = LR_PLACE if layout == "lr" else HR_PLACE
    return tif(root / FOLDER[layout] / f"{image}.tif", np.asarray(pixels).transpose(2, 0, 1), **{**place, **profile})
