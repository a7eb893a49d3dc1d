"""`graft ask` on a raster, from the command line to files, with a model that sees colours."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from PIL import Image

from graft.cli import main
from graft.errors import GraftError
from graft.vqa.answer import Answer
from graft.vqa.ask import ask
from graft.vqa.ask_arguments import spelt_out
from graft.vqa.asking import Unanswered, gather_questions, read_program
from tests.segment_inputs import MeanColour, write_rgb
from tests.vqa_ask_inputs import colour_model, landscape

COUNT = 'return count(find("lake"))'


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, MeanColour]:
    return colour_model(monkeypatch, tmp_path)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_rgb(tmp_path / "scene.tif", landscape())


def asked(scene: Path, model: tuple[Path, MeanColour], *questions: str, **settings: Any) -> list[Answer | Unanswered]:
    given: dict[str, Any] = {"model": model[0], "concepts": "atlas", "precision": "fp32", "stride": 32} | settings
    answers = ask(str(scene), question=list(questions) or None, **given)
    assert isinstance(answers, list)
    return answers


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("S|Is there a lake?|--model|M", 'S|--question=["Is there a lake?"]|--model=M'),
        ("S|--json|Is it?|How many?", 'S|--question=["Is it?", "How many?"]|--json'),
        ("S|is|there|a|lake", 'S|--question=["is there a lake"]'),
        ("S|lakes?", 'S|--question=["lakes?"]'),
        ("S|--question|a b|c d|--question=e f", 'S|--question=["c d", "a b", "e f"]'),
        ("--model|M|S|--any-gsd|a b", 'S|--question=["a b"]|--model=M|--any-gsd'),
        ('S|say "hi" to it', 'S|--question=["say \\"hi\\" to it"]'),
        ("S|--questions|f.txt", "S|--questions=f.txt"),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_arguments_are_spelt_out(given: str, expected: str) -> None:
    assert spelt_out([arg for arg in given.split("|") if arg]) == [arg for arg in expected.split("|") if arg]


def test_questions_of_a_file_come_after_those_given(tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    file.write_bytes(b"\xef\xbb\xbf# about lakes\r\n\r\n Is there a lake? \r\nHow many?\r\n")
    assert gather_questions(["First?"], file) == ["First?", "Is there a lake?", "How many?"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No file of questions"),
        (b"\n# none\n", "no question"),
        (b"\xff\xfe", "UTF-8"),
        (b"a\n" * 600_000, "mega"),
    ],
)
def test_faults_of_a_file_of_questions(content: bytes | None, told: str, tmp_path: Path) -> None:
    file = tmp_path / "questions.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(GraftError, match=told):
        gather_questions(None, file)


@pytest.mark.parametrize("name", ["program.py", "program.json"])
def test_programs_come_from_files(name: str, tmp_path: Path) -> None:
    tree = {"program": [{"return": {"call": "count", "with": {"of": {"call": "find", "with": {"concept": "lake"}}}}}]}
    (tmp_path / name).write_text(COUNT if name.endswith("py") else json.dumps(tree))
    assert read_program(str(tmp_path / name)).program == read_program(COUNT).program
    with pytest.raises(GraftError, match="No program at"):
        read_program(str(tmp_path / f"other_{name}"))


# --- answers --------------------------------------------------------------------------------------


def test_several_questions_on_one_look(
    scene: Path, model: tuple[Path, MeanColour], capsys: pytest.CaptureFixture[str]
) -> None:
    asked(scene, model, "Is there a lake?")
    once = model[1].shown
    capsys.readouterr()
    asked(scene, model, "How many lakes are there?", "Is there a beach?", "Is there more forest than water?")
    assert model[1].shown == 2 * once
    told = capsys.readouterr().out
    *blocks, notes = told.split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == [
        "How many lakes are there?",
        "Is there a beach?",
        "Is there more forest than water?",
    ]
    assert [re.match(r" *(\S+)", block.splitlines()[1])[1] for block in blocks] == ["3", "no", "no"]  # type: ignore[index]
    assert 'count(find("lake"))' in blocks[0]
    assert "not calibrated" in notes
    assert told.count("not calibrated") == 1


def test_json_is_all_that_is_printed(
    scene: Path, model: tuple[Path, MeanColour], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["ask", str(scene), "How many lakes are there?", "--json", "--out", f"{tmp_path}/found/"]
    main([*arguments, f"--model={model[0]}", "--concepts=atlas", "--precision=fp32", "--stride=32"])
    document = json.loads(capsys.readouterr().out)
    (answer,) = document["answers"]
    assert (answer["answer"], answer["value"], answer["type"]) == ("3", 3, "count")
    assert answer["python"] == 'return count(find("lake"))'
    found = next(step for step in answer["evidence"] if step["step"] == 'find("lake")')
    assert [each["area"] for each in found["objects"]] == pytest.approx([6400, 4096, 2304], rel=0.05)
    assert found["objects"][0]["row"] == pytest.approx(72, abs=2)
    assert 14.9 < found["objects"][0]["lon"] < 15.1
    assert json.loads((tmp_path / "found" / "scene.json").read_text()) == document
    names = {"scene.q1.png", "scene.geojson", "scene.json"}
    assert {file.name for file in (tmp_path / "found").iterdir()} == {Path(name).name for name in names}
    assert Image.open(tmp_path / "found" / "scene.q1.png").size[0] > 1000
    features = json.loads((tmp_path / "found" / "scene.geojson").read_text())["features"]
    assert len(features) == 3
    assert all(shapely.geometry.shape(feature["geometry"]).is_valid for feature in features)


def test_one_that_cannot_be_read_is_told_and_the_others_are_answered(
    scene: Path, model: tuple[Path, MeanColour], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "some"
    questions = ("Is there a lake?", "Why is the sky so high over this?", "x" * 100_000, "")
    arguments = ["ask", str(scene), *questions, "--json", "--out", str(out), f"--model={model[0]}", "--stride=32"]
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, "--concepts=atlas"])
    assert exit_.value.code == 1
    told = capsys.readouterr()
    assert "graft: 3 of 4 questions" in told.err
    assert "Traceback" not in told.err
    answers = json.loads(told.out)["answers"]
    assert answers[0]["answer"] == "yes"
    assert answers[1]["nearest"]
    assert "100,000 characters" in answers[2]["fault"]
    assert len(answers[2]["question"]) == 200
    assert (tmp_path / "some.q1.png").is_file()
    assert not (tmp_path / "some.q2.png").exists()


def test_nothing_is_looked_at_where_no_question_can_be_read(
    scene: Path, model: tuple[Path, MeanColour], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GraftError, match="English"):
        asked(scene, model, "Warum ist der Himmel so hoch?", json=True)
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    assert "English" in answer["fault"]
    assert model[1].shown == 0


def test_without_georeference_pixels_are_counted_and_said_so(
    tmp_path: Path, model: tuple[Path, MeanColour], capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_rgb(tmp_path / "plain.png", landscape(), crs=None, driver="PNG")
    asked(scene, model, "How large is the largest lake?", json=True, display=True, out=str(tmp_path / "found"))
    document = json.loads(capsys.readouterr().out)
    (answer,) = document["answers"]
    assert answer["unit"] == "px2"
    assert answer["value"] == pytest.approx(6400, rel=0.05)
    assert "square pixels" in answer["answer"]
    assert any("No georeference" in note for note in answer["notes"])
    assert not (tmp_path / "found.geojson").exists()
    # Metres cannot be told apart from pixels then.
    with pytest.raises(GraftError, match="could not be answered"):
        asked(scene, model, "How many lakes are within 200 m of a forest?", display=True)
    assert "georeference" in capsys.readouterr().out


def test_a_program_in_place_of_a_question(scene: Path, model: tuple[Path, MeanColour]) -> None:
    (answer,) = asked(scene, model, program='return where(find("lake"), "next to", find("forest"))')
    assert isinstance(answer, Answer)
    assert (answer.value, answer.type, answer.writer) == (1, "objects", "hand")
    assert answer.answer.startswith("1 lake (6")


def test_units_of_rsvqa(scene: Path, model: tuple[Path, MeanColour]) -> None:
    (true,) = asked(scene, model, "What is the area covered by lakes?")
    (grown,) = asked(scene, model, "What is the area covered by lakes?", units="epsg3857")
    assert isinstance(true, Answer)
    assert isinstance(grown, Answer)
    assert grown.value / true.value == pytest.approx(1 / np.cos(np.radians(45.15)) ** 2, rel=0.01)  # type: ignore[operator]


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "Nothing to ask"),
        ({"questions": ["Is there a lake?"], "program": COUNT}, "one or the other"),
        ({"program": "import os"}, "import"),
        ({"program": 'return __import__("os")'}, "__import__"),
        ({"concepts": "nothing"}, "nothing"),
        ({"urban": 2.0}, "urban"),
        ({"batch_size": 0}, "batch-size"),
        ({"gsd": 1.0}, "--gsd"),
        ({"out": "/proc/there/"}, "cannot be written"),
    ],
)
def test_faults(settings: dict[str, Any], told: str, scene: Path, model: tuple[Path, MeanColour]) -> None:
    alone = not settings or "program" in settings
    questions = settings.pop("questions", [] if alone else ["Is there a lake?"])
    with pytest.raises(GraftError, match=re.escape(told)):
        asked(scene, model, *questions, **settings)


def test_no_input_is_replaced(scene: Path, model: tuple[Path, MeanColour], tmp_path: Path) -> None:
    questions = tmp_path / "ask.json"
    questions.write_text("Is there a lake?\n")
    with pytest.raises(GraftError, match="would replace"):
        asked(scene, model, questions=questions, out=str(tmp_path / "ask"))
    assert questions.read_text() == "Is there a lake?\n"
