"""The questions of the demo, and what the report shows of them: answer, program, evidence, and the truth."""

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image

from graft.atlas.classes import IDS
from graft.atlas.questions import CONCEPTS, LAYOUTS, LEAST

_CONCEPTS = "atlas"
"""The small teacher knows no words but those of the embedded world."""
_WIDTH = 900
"""Pixels of a picture in the report."""


@dataclass(frozen=True)
class DemoQuestions:
    """What the demo asks about one image.

    Attributes:
        image: a scene, or a piece of one.
        labels: its true land cover.
        questions: in words.
        display: the image holds display values.
    """

    image: Path
    labels: Path
    questions: tuple[str, ...]
    display: bool = False

    def command(self, model: Path) -> list[str]:
        """Arguments of `graft`, without a place for the answers."""
        shown = ["--display"] if self.display else []
        return ["ask", str(self.image), *self.questions, f"--model={model}", f"--concepts={_CONCEPTS}", *shown]


def demo_questions(world: Path, sensor: str) -> list[DemoQuestions]:
    """Two questions about the first test scene, and two about the piece that shows most kinds of land.

    Those about the piece name its two commonest kinds, so that there is something to see.
    """
    root = world / "benchmarks/test"
    scene = min((root / "scenes").glob("*.tif"))
    about_scene = "Is there more forest than water?", "How many lakes are within 100 m of a forest?"
    pieces = sorted((root / "vqa/labels").glob("*.tif"), key=lambda path: int(path.stem))
    covers = [_pixels(path) for path in pieces]
    richest = max(range(len(pieces)), key=lambda number: (covers[number] >= LEAST).sum())
    first, second = (_word(int(label)) for label in np.argsort(-covers[richest], kind="stable")[:2])
    about_piece = f"Where is the largest {first}?", f"Which is larger, the {first} or the {second}?"
    piece = root / "vqa" / LAYOUTS[sensor][1] / pieces[richest].name
    return [
        DemoQuestions(scene, root / "labels" / scene.name, about_scene),
        DemoQuestions(piece, pieces[richest], about_piece, display=True),
    ]


def question_section(world: Path, sensor: str, answers: Path) -> list[dict[str, Any]]:
    """What the report's template shows of the questions.

    Args:
        world: folder beside that of the answers.
        sensor: what the world was seen by.
        answers: folder that `graft ask` wrote the answers to.

    Returns:
        For each image `command` and `answers` (`question`, `answer`, `truth`, `confidence` in words and `likely`, 0..1,
        `program`, `picture` as a PIL image).
    """
    shown = []
    for asked in demo_questions(world, sensor):
        written = json.loads((answers / f"{asked.image.stem}.json").read_text(encoding="utf-8"))["answers"]
        beside = replace(asked, image=asked.image.relative_to(world.parent))
        shown.append(
            {
                "command": shlex.join(["graft", *beside.command(Path("pixel/last.ckpt"))]),
                "answers": [
                    {
                        "question": answer["question"],
                        "answer": answer["answer"],
                        "truth": truth,
                        "confidence": answer["confidence_word"],
                        "likely": f"{answer['confidence']:.2f}",
                        "program": answer["python"],
                        "picture": _picture(answers / answer["picture"]),
                    }
                    for answer, truth in zip(written, _truths(asked), strict=True)
                ],
            }
        )
    return shown


def _truths(asked: DemoQuestions) -> list[str]:
    """The answers of the same programs over the true land cover."""
    from graft.vqa.answer import Answer
    from graft.vqa.asking import Asked, answer_question, make_writers, read_questions
    from graft.vqa.concepts import load_concepts
    from graft.vqa.ground import GroundGrid
    from graft.vqa.oracle import OracleVision
    from graft.vqa.toolbox import Toolbox, UrbanRule

    concepts = load_concepts(_CONCEPTS)
    with rasterio.open(asked.labels) as file:
        labels = file.read(1)
        grid = GroundGrid.of_canvas(file.crs, file.transform, labels.shape, labels.shape, "metres")
    toolbox = Toolbox(OracleVision(labels, IDS, concepts.meaning(), grid, LEAST), UrbanRule("cover", 0.2))
    truths = []
    for question in read_questions(asked.questions, make_writers(concepts, None)):
        answer = answer_question(question, toolbox) if isinstance(question, Asked) else question
        truths.append(answer.answer if isinstance(answer, Answer) else "")
    return truths


def _pixels(labels: Path) -> Any:
    """Pixels of each class."""
    with rasterio.open(labels) as file:
        return np.bincount(file.read(1).ravel(), minlength=256)[: len(IDS)]


def _word(label: int) -> str:
    """What questions call a class."""
    return next(name for name, classes in CONCEPTS.items() if classes == (IDS[label],))


def _picture(path: Path) -> Image.Image:
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.thumbnail((_WIDTH, _WIDTH))
    return picture.quantize(256)  # a third of the bytes
