import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from scipy import ndimage

from graft.vqa.budget import Budget
from graft.vqa.check import check
from graft.vqa.functions import FUNCTIONS
from graft.vqa.ground import GroundGrid
from graft.vqa.interpreter import run
from graft.vqa.json_form import read_json
from graft.vqa.oracle import OracleVision
from graft.vqa.python_form import read_python
from graft.vqa.refusal import Refused
from graft.vqa.toolbox import Toolbox
from graft.vqa.tree import Program
from graft.vqa.values import Mask, Number, Objects, Text, Truth
from tests.vqa_escapes import JSON, PYTHON
from tests.vqa_fuzz import FORMS, WORDS, Author, fuzzed
from tests.vqa_stub import Stub
from tests.vqa_watch import Event, events

BUDGET = Budget(loops=500, calls=300, seconds=2.0)
READERS: dict[str, Callable[[Any], Program]] = {"python": read_python, "json": read_json}
KINDS = {"mask": Mask, "objects": Objects, "number": Number, "truth": Truth, "text": Text}
CORPUS = [("python", *each) for each in PYTHON.items()] + [("json", *each) for each in JSON.items()]


class Watched(Stub):
    """Notes whatever else than the vision functions is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        if name not in (*FUNCTIONS, "held_bytes"):
            object.__getattribute__(self, "__dict__").setdefault("asked", []).append(name)
        return super().__getattribute__(name)


OWN = set(vars(Stub())) | {"sure", "number", "__dict__", "__class__"}


def outcome(form: str, text: str) -> str:
    """What becomes of a program; fails if anything outside the language ran, or if a refusal is no sentence."""
    toolbox = Watched(there=dict.fromkeys("abc", 20))
    told = "ran"
    began = time.perf_counter()
    with events() as reading:
        try:
            program = READERS[form](text)
        except Refused as refused:
            told = str(refused)
    running: list[Event] = []
    if told == "ran":
        with events() as running:
            try:
                run(check(program), toolbox, BUDGET)
            except Refused as refused:
                told = str(refused)
    assert time.perf_counter() - began < BUDGET.seconds + 1
    parsed = {("compile", os.devnull), ("open", os.devnull)} if form == "python" else set()  # by ast.parse
    assert {(event, arguments[event == "compile"]) for event, arguments in reading} <= parsed, (reading, text)
    assert running == [], (running, text)
    assert set(vars(toolbox).get("asked", ())) <= OWN
    sentence = len(told.split()) > 3 and told.endswith((".", "?", "…")) and len(told) < 700 and told.isprintable()
    assert told == "ran" or sentence, (told, text)
    return told


def test_the_corpus_is_large_enough() -> None:
    assert len(PYTHON) >= 60
    assert len(JSON) >= 40


@pytest.mark.parametrize(("form", "name", "case"), CORPUS, ids=[f"{form}: {name}" for form, name, _ in CORPUS])
def test_an_escape_is_refused_in_a_sentence(form: str, name: str, case: tuple[str, str]) -> None:
    text, told = case
    assert told in outcome(form, text)


def test_the_watch_sees_what_must_not_happen() -> None:
    with events() as seen:
        exec(compile("x = 1", "a", "exec"))
        with Path(os.devnull).open():
            pass
    assert {"compile", "exec", "open"} <= {event for event, _ in seen}


def test_deep_nesting_does_not_crash_the_smallest_thread() -> None:
    code = (
        "import threading\n"
        "from tests.vqa_escapes import JSON, PYTHON\n"
        "from graft.vqa.json_form import read_json\n"
        "from graft.vqa.python_form import read_python\n"
        "from graft.vqa.refusal import Refused\n"
        "def work():\n"
        "    units = ['-', 'not ', '1+', '1**', 'a.', 'a if a else ', 'lambda:', '()', '[0]', 'a<', 'await ', '~']\n"
        "    texts = [(unit * 3990)[:3990] + '1' for unit in units] + ['f\"{' + '-' * 39000 + '1}\"']\n"
        "    for read, text in [(read_python, t) for t in texts + [p for p, _ in PYTHON.values()]] + [\n"
        "        (read_json, t) for t, _ in JSON.values()\n"
        "    ]:\n"
        "        try:\n"
        "            read(text)\n"
        "        except Refused:\n"
        "            pass\n"
        "    print('whole')\n"
        "threading.stack_size(512 * 1024)\n"
        "thread = threading.Thread(target=work)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr[-2000:]


def fuzz(number: int, seed: int) -> Counter[tuple[str, bool]]:
    rng = random.Random(seed)
    counts: Counter[tuple[str, bool]] = Counter()
    for k in range(number):
        kind = FORMS[k % len(FORMS)]
        form, text = fuzzed(kind, rng)
        counts[kind, outcome(form, text) == "ran"] += 1
    return counts


def check_share(counts: Counter[tuple[str, bool]]) -> None:
    """What is fuzzed must reach the interpreter, and must be refused too, or it shows nothing."""
    shares = {kind: counts[kind, True] / (counts[kind, True] + counts[kind, False]) for kind in FORMS}
    assert shares["valid python"] > 0.5, shares
    assert shares["valid json"] > 0.5, shares
    assert 0.01 < shares["changed python"] < 0.9, shares
    assert 0.01 < shares["changed json"] < 0.9, shares
    assert shares["bytes"] < 0.1, shares


def test_fuzzed_programs_stay_inside_the_language() -> None:
    check_share(fuzz(2_000, seed=1))


@pytest.mark.parametrize("units", ["metres", "pixels"])
def test_fuzzed_programs_over_a_real_label_map_end_in_an_answer_or_a_refusal(
    units: Literal["metres", "pixels"],
) -> None:
    rng = np.random.default_rng(0)
    labels = ndimage.gaussian_filter(rng.normal(size=(len(WORDS), 40, 40)), (0, 4, 4)).argmax(0).astype(np.uint8)
    meaning = {word: (word,) for word in WORDS} | {"built-up area": WORDS[:2]}
    transform = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    grid = GroundGrid.of_canvas(CRS.from_epsg(32633), transform, (40, 40), (40, 40), units)
    author, kinds = random.Random(5), Counter[str]()
    for _ in range(100):
        try:
            program = check(Author(author).program())
            value = run(program, Toolbox(OracleVision(labels, WORDS, meaning, grid, least_px=4)), BUDGET)
        except Refused:
            continue
        assert isinstance(value, KINDS[program.gives] | Text)
        kinds[program.gives] += 1
    assert len(kinds) == len(KINDS)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_hundred_thousand_fuzzed_programs_stay_inside_the_language() -> None:
    check_share(fuzz(100_000, seed=2))
