"""Answers as plain JSON types."""

import math
from typing import Any

import numpy as np

from graft.vqa.answer import Answer, confidence_word
from graft.vqa.asking import Unanswered
from graft.vqa.ground import GroundGrid
from graft.vqa.json_form import to_json
from graft.vqa.python_form import to_python
from graft.vqa.values import Evidence, Mask, Objects, Thing

MOST_OBJECTS = 1000
"""Objects of one step that are told one by one."""


def plain_answer(answer: Answer | Unanswered, grid: GroundGrid) -> dict[str, Any]:
    """An answer, or why there is none, in plain JSON types.

    Places are `lon` and `lat` in degrees and `row` and `column` on the grid; areas have the unit `area_unit`.
    """
    if isinstance(answer, Unanswered):
        return plain_unanswered(answer)
    return {
        "question": answer.question,
        "answer": answer.answer,
        "type": answer.type,
        "value": answer.value,
        "unit": answer.unit,
        "confidence": round(answer.confidence, 4),
        "confidence_word": confidence_word(answer.confidence),
        "writer": answer.writer,
        "program": to_json(answer.program)["program"],
        "python": to_python(answer.program).strip(),
        "evidence": [_step(step, grid) for step in answer.evidence],
        "notes": list(answer.notes),
    }


def plain_unanswered(question: Unanswered) -> dict[str, Any]:
    """Why there is no answer, in plain JSON types."""
    return {"question": question.question, "fault": question.fault, "nearest": list(question.nearest)}


def _step(step: Evidence, grid: GroundGrid) -> dict[str, Any]:
    told: dict[str, Any] = {
        "step": step.step,
        "figures": {name: value if math.isfinite(value) else None for name, value in step.figures.items()},
    }
    shown = step.shown
    if isinstance(shown, Objects):
        told |= _mask(shown.mask) | {
            "concept": shown.concept,
            "area_unit": grid.area_unit,
            "objects": _things(shown.things[:MOST_OBJECTS], grid),
            "objects_in_all": len(shown.things),
            "left_out": shown.left_out,
        }
    elif isinstance(shown, Mask):
        told |= _mask(shown)
    return told


def _mask(mask: Mask) -> dict[str, Any]:
    return {"concept": mask.concept, "threshold": mask.threshold, "pixels": int(mask.pixels.sum())}


def _things(things: tuple[Thing, ...], grid: GroundGrid) -> list[dict[str, Any]]:
    centres = np.array([thing.centre for thing in things], np.float64).reshape(-1, 2)
    places: list[dict[str, float]] = [{}] * len(things)
    if grid.crs is not None and len(things):
        places = [{"lon": round(lon, 7), "lat": round(lat, 7)} for lon, lat in grid.lon_lat(centres).tolist()]
    return [
        {
            "object": number,
            "area": round(thing.area, 2),
            "likeness": round(thing.likeness, 4),
            "row": round(thing.centre[0], 1),
            "column": round(thing.centre[1], 1),
            **place,
        }
        for number, (thing, place) in enumerate(zip(things, places, strict=True), start=1)
    ]
