"""Questions about one raster: look once, answer all, print and write."""

import json as json_format
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graft.errors import GraftError, first_line
from graft.files import atomic_path, write_json
from graft.imagery.remote import path_of
from graft.scene import SceneReader, SceneView, open_raster, read_scene, view_scene
from graft.sensors import get_sensor
from graft.vqa.answer import Answer, confidence_word, quantity
from graft.vqa.answer_json import plain_answer, plain_unanswered
from graft.vqa.asking import Asked, Unanswered, answer_question, concepts_of
from graft.vqa.concepts import Concepts
from graft.vqa.evidence_geojson import evidence_collection
from graft.vqa.ground import GroundGrid
from graft.vqa.looking import Eyes, open_eyes
from graft.vqa.output import AskOutput, name_outputs
from graft.vqa.picture import write_picture
from graft.vqa.python_form import to_python
from graft.vqa.scoring import vision_of_scene
from graft.vqa.toolbox import Toolbox, UrbanRule
from graft.vqa.values import Evidence


@dataclass(frozen=True)
class SceneLook:
    """How a raster is read and looked at; see `graft.vqa.ask.ask`."""

    units: Literal["metres", "epsg3857"] = "metres"
    sensor: str | None = None
    display: bool = False
    bands: list[int] | None = None
    gsd: float | None = None
    any_gsd: bool = False
    stride: int | None = None
    batch_size: int = 16


def ask_scene(
    scene: str,
    asked: Sequence[Asked | Unanswered],
    concepts: Concepts,
    urban: UrbanRule,
    look: SceneLook,
    *,
    model: Path,
    out: str | None,
    json: bool,
    inputs: Sequence[Path],
    **eyes_settings: Any,
) -> list[Answer | Unanswered]:
    """Answer questions about a raster.

    Args:
        scene: path or address.
        asked: questions with their programs, and those that could not be read.
        concepts: the vocabulary.
        urban: when an area is urban.
        look: how the raster is read and looked at.
        model: training checkpoint.
        out: see `name_outputs`; nothing is written if None.
        json: print a JSON document in place of text.
        inputs: files that must not be replaced, besides the scene.
        eyes_settings: see `graft.vqa.looking.open_eyes`.

    Returns:
        In the order of the questions.

    Raises:
        GraftError: input that does not fit; at the end, where a question could not be answered.
    """
    path = path_of(scene)
    output = None if out is None else name_outputs(out, Path(scene).stem, [path, *inputs], len(asked))
    unread = [each for each in asked if isinstance(each, Unanswered)]
    if len(unread) == len(asked):
        if json:
            print(json_format.dumps({"scene": scene, "answers": [plain_unanswered(each) for each in unread]}, indent=1))
        raise GraftError("\n".join(each.fault for each in unread))
    eyes = open_eyes(model, concepts, concepts_of(asked), **eyes_settings)
    view, notes = _view(path, eyes, look)
    with read_scene(view) as reader:
        vision = vision_of_scene(
            reader,
            eyes.scorer,
            eyes.words,
            eyes.calibration,
            units=look.units,
            batch_size=look.batch_size,
            stride=look.stride,
        )
        toolbox = Toolbox(vision, urban)
        notes += (*eyes.notes, *vision.notes)
        answers = [answer_question(each, toolbox, notes) if isinstance(each, Asked) else each for each in asked]
        document = _document(scene, view, vision.grid, eyes, answers)
        if output is not None:
            document["files"] = [str(file) for file in _write(output, reader, vision.grid, answers, document)]
    if json:
        print(json_format.dumps(document, ensure_ascii=False, indent=1))
    else:
        blocks = ["\n".join(lines_of(each, notes)) for each in answers]
        print("\n\n".join([*blocks, *(["\n".join(notes)] if notes else [])]))
        if output is not None:
            print("\nWrote", *document["files"], sep="\n  ")
    failed = sum(isinstance(each, Unanswered) for each in answers)
    if failed:
        raise GraftError(f"{failed} of {len(answers)} questions could not be answered; the answers above say why.")
    return answers


def lines_of(answer: Answer | Unanswered, common: Sequence[str] = ()) -> list[str]:
    """An answer for people: what, how sure, by which program, what it rests on, and notes of its own."""
    if isinstance(answer, Unanswered):
        return [answer.question, f"  no answer: {answer.fault}"]
    program = to_python(answer.program).strip().splitlines()
    lines = [
        answer.question,
        f"  {answer.answer}   (confidence {answer.confidence:.2f}, {confidence_word(answer.confidence)})",
        f"  program  {program[0]}   [{answer.writer}]",
        *(f"           {line}" for line in program[1:]),
    ]
    steps = {step.step: step for step in answer.evidence}
    for number, (name, step) in enumerate(steps.items()):
        lines.append(f"  {'' if number else 'evidence':8} {': '.join(filter(None, (name, figures_text(step))))}")
    return [*lines, *(f"  note     {note}" for note in answer.notes if note not in common)]


def figures_text(step: Evidence) -> str:
    """The figures of a step in words: "count 5, of 8", "7.54 km²"."""
    told = []
    if step.step.startswith("compare("):
        return ""  # the step says them
    for name, value in step.figures.items():
        what, _, unit = name.rpartition(" ")
        if name.startswith("smaller than"):
            continue  # told in the notes
        if unit in ("m", "m2", "px", "px2", "share"):
            told.append(f"{what} {quantity(value, unit)}".strip())  # type: ignore[arg-type]
        else:
            told.append(f"{name} {quantity(value, '')}")
    return ", ".join(told)


def _view(path: Path, eyes: Eyes, look: SceneLook) -> tuple[SceneView, tuple[str, ...]]:
    """The scene, and what is to be said about its georeference."""
    model_gsd = get_sensor(eyes.loaded.sensor).gsd_m
    gsd, notes = look.gsd, tuple[str, ...]()
    with open_raster(path) as dataset:
        placed = dataset.crs is not None
    if not placed:
        told = f"; the model takes them to be {model_gsd:g} m wide (--gsd)" if gsd is None else f" of {model_gsd:g} m"
        notes = (f"No georeference: lengths and areas are in pixels{told}, and north is not known.",)
        gsd = model_gsd if gsd is None else gsd
    view = view_scene(
        path,
        get_sensor(look.sensor or eyes.loaded.sensor),
        model_gsd,
        gsd_m=gsd,
        bands=look.bands,
        display=look.display,
        any_gsd=look.any_gsd,
    )
    return view, notes


def _document(
    scene: str, view: SceneView, grid: GroundGrid, eyes: Eyes, answers: Sequence[Answer | Unanswered]
) -> dict[str, Any]:
    return {
        "scene": scene,
        "crs": None if view.crs is None else view.crs.to_string(),
        "grid": {"height": grid.height, "width": grid.width, "units": grid.units},
        "model": {"sha256": eyes.loaded.sha256, "sensor": eyes.loaded.sensor, "teacher": eyes.loaded.teacher["name"]},
        "concepts": {"name": eyes.words.concepts.source, "sha256": eyes.words.concepts.sha256},
        "calibration": {"tiles": eyes.calibration.tiles, **eyes.calibration.card},
        "answers": [plain_answer(each, grid) for each in answers],
    }


def _write(
    output: AskOutput,
    reader: SceneReader,
    grid: GroundGrid,
    answers: Sequence[Answer | Unanswered],
    document: dict[str, Any],
) -> list[Path]:
    """Write pictures, objects and the document; returns the files."""
    answered = {number: each for number, each in enumerate(answers, start=1) if isinstance(each, Answer)}
    written = []
    try:
        for number, each in answered.items():
            with atomic_path(output.picture(number)) as partial:
                write_picture(each, grid, reader.thumbnail, reader.view.path.name, partial)
            document["answers"][number - 1]["picture"] = output.picture(number).name
            written.append(output.picture(number))
        if grid.crs is not None and answered:
            write_json(output.geojson, evidence_collection(answered, grid))
            written.append(output.geojson)
        written.append(output.document)
        write_json(output.document, document | {"files": [str(file) for file in written]})
    except OSError as error:
        raise GraftError(f"{output.prefix} cannot be written ({first_line(error)}). Give another --out.") from error
    return written
