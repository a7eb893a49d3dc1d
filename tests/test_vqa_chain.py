"""Question, language model's server, program, interpreter, truth of the ground: the whole way of `graft ask --llm`."""

import time
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from graft.errors import GraftError
from graft.vqa.check import check
from graft.vqa.ground import GroundGrid
from graft.vqa.interpreter import run
from graft.vqa.oracle import OracleVision
from graft.vqa.toolbox import Toolbox
from graft.vqa.values import Number, Objects, Text, Truth, Value
from graft.vqa.writers import write_program
from tests.fake_llm import Answer, Handler, fake_llm, says, writer

CLASSES = ("Meadow", "Forest", "Lake", "Town")
MEANING = {"meadow": ("Meadow",), "forest": ("Forest",), "lake": ("Lake",), "town": ("Town",)}


def toolbox() -> Toolbox:
    """60 x 80 pixels of 10 m: forest of 6 ha, lakes of 1 ha (200 m east of it) and 0.5 ha, a town in the south-west."""
    labels = np.zeros((60, 80), np.uint8)
    labels[:30, :20] = 1
    labels[10:20, 40:50] = labels[40:45, 60:70] = 2
    labels[50:, :10] = 3
    transform = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    grid = GroundGrid.of_canvas(CRS.from_epsg(32633), transform, (60, 80), (60, 80), "metres")
    return Toolbox(OracleVision(labels, CLASSES, MEANING, grid))


def knows(programs: dict[str, object]) -> Answer:
    """A model that has learnt these by heart."""

    def answer(handler: Handler) -> None:
        says(programs[handler.server.bodies[-1]["messages"][1]["content"]])(handler)

    return answer


def find(concept: str) -> dict[str, object]:
    return {"call": "find", "with": {"concept": concept}}


LEARNT: dict[str, object] = {
    "Are the two lakes together bigger than the woods?": {
        "program": [
            {
                "return": {
                    "op": ">",
                    "of": [
                        {"call": "area", "with": {"of": find("lake")}},
                        {"call": "area", "with": {"of": find("forest")}},
                    ],
                }
            }
        ]
    },
    "Lakes near the woods, at most 250 m, how many?": 'count(where(find("lake"), "within", find("forest"), 250))',
    "Lakes that a 6,000 m2 pond would fit in?": (
        "```python\ndef execute_command(image):\n    fitting = 0\n    for lake in find('lake'):\n"
        "        if area(lake) > 6000:\n            fitting = fitting + 1\n    return fitting\n```"
    ),
    "From the woods to open water it is how far?": 'distance(find("forest"), find("lake"))',
    "Biggest lake, whereabouts?": '<think>easy</think>position(largest(find("lake")))',
    "Show me town": 'find("town")',
    "Mostly what?": 'classify(["town", "meadow", "forest"])',
    "Hectares of lake?": 'area(segment("lake")) / 10000',
}


def asked(question: str, answer: Answer, folder: Path) -> tuple[str, Value]:
    with fake_llm(answer) as server:
        written = write_program(question, (writer(server.url, folder),))
    return written.type, run(check(written.program), toolbox())


@pytest.mark.parametrize(
    ("question", "kind", "expected"),
    [
        ("Are the two lakes together bigger than the woods?", "comp", False),
        ("Lakes near the woods, at most 250 m, how many?", "count", 1),
        ("Lakes that a 6,000 m2 pond would fit in?", "count", 1),
        ("From the woods to open water it is how far?", "distance", 200),
        ("Biggest lake, whereabouts?", "place", "north"),
        ("Show me town", "objects", 1),
        ("Mostly what?", "classify", "meadow"),
        ("Hectares of lake?", "count", 1.5),
    ],
)
def test_a_question_is_answered(tmp_path: Path, question: str, kind: str, expected: object) -> None:
    found, value = asked(question, knows(LEARNT), tmp_path)
    assert found == kind
    if isinstance(value, Objects):
        assert len(value.things) == expected
        return
    assert isinstance(value, Number | Truth | Text)
    assert value.evidence
    assert value.confidence > 0.5
    assert value.value == (pytest.approx(expected, rel=2e-3) if isinstance(value, Number) else expected)


LOOPS = "\n".join("    " * depth + f"for n{depth} in [{', '.join('1' * 18)}]:" for depth in range(12))


@pytest.mark.parametrize(
    "program",
    [
        f"{LOOPS}\n{'    ' * 12}find('lake')\nreturn 1",
        "n = 1\nfor a in [1, 2, 3]:\n    for b in find('meadow'):\n        n = n / 0\nreturn n",
        "return area(find('dragon'))",
        "return area(segment('lake')) > distance(find('lake'), find('forest'))",
        "return exists(open('/etc/passwd'))",
    ],
)
def test_a_program_that_cannot_end_well_is_refused_in_time(tmp_path: Path, program: str) -> None:
    started = time.monotonic()
    with pytest.raises(GraftError) as caught:
        asked("What about it?", says(program), tmp_path)
    assert time.monotonic() - started < 10
    assert len(str(caught.value)) > 20
    assert str(caught.value).isprintable()
