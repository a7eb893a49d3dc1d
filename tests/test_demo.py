"""The demo from end to end on a tiny world, and its report in a browser."""

import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.atlas.classes import IDS
from graft.dense import TRAINING_FREE
from graft.errors import GraftError
from graft.report import transfer
from graft.report_questions import demo_questions
from graft.report_search import SHOWN
from graft.results import HEADLINE, ResultRow
from graft.vqa.asking import Asked, make_writers, read_questions
from graft.vqa.concepts import load_concepts
from scripts.demo import best_mode, check_world, demo

MODELS = {"aligned", "pixel", "clip_baseline", "ceiling", "chance", "control_colour", "control_histogram"}
PIXEL_MODELS = MODELS - {"control_histogram"}
SEARCH_MODELS = {"aligned", "clip_baseline", "chance", "oracle"}
ASKED_MODELS = {"pixel", "clip_baseline", "majority", "oracle"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    demo(out=folder, seed=3, quick=True)
    return folder


def test_what_tables_show_is_in_the_rows(out: Path) -> None:
    rows = json.loads((out / "results.json").read_text())
    assert {row["task"] for row in rows} == set(HEADLINE)
    for row in rows:
        if row["model"] in ("aligned", "pixel"):
            assert set(HEADLINE[row["task"]]) <= set(row["metrics"]), row["task"]


def test_rows_of_both_tasks_and_every_model(out: Path) -> None:
    rows = json.loads((out / "results.json").read_text())
    for task, metrics in (("classification", {"top1", "top1_macro"}), ("multilabel", {"map_macro", "map_micro"})):
        mine = {row["model"]: row for row in rows if row["task"] == task}
        assert set(mine) == MODELS
        assert all(metrics <= set(row["metrics"]) for row in mine.values())
        assert all(
            0 <= value <= 1 for row in mine.values() for name, value in row["metrics"].items() if name in metrics
        )
        assert mine["aligned"]["seed"] == 3
        assert mine["aligned"]["command"].startswith("main.py test --config=configs/eval/atlas")
        assert len(mine["aligned"]["prompts"]["sha256"]) == 64
    scenes = {row["model"]: row for row in rows if row["task"] == "segmentation"}
    assert set(scenes) == PIXEL_MODELS
    assert all(0 <= scenes[model]["metrics"]["miou"] <= 1 for model in PIXEL_MODELS)
    assert scenes["ceiling"]["metrics"]["miou"] > 0.7
    found = {row["model"]: row for row in rows if row["task"] == "retrieval"}
    assert set(found) == SEARCH_MODELS
    for metric in ("map_at_20_hits", "map_at_100_hits", "map_at_100_min", "recall_at_10"):
        known = SEARCH_MODELS if metric == "recall_at_10" else SEARCH_MODELS - {"oracle"}
        assert all(0 <= found[model]["metrics"][metric] <= 1 for model in known)
    assert found["oracle"]["metrics"]["recall_at_10"] > found["chance"]["metrics"]["recall_at_10"]
    answers = {row["model"]: row["metrics"] for row in rows if row["task"] == "vqa"}
    assert set(answers) == ASKED_MODELS
    for kind in ("presence", "count", "comp", "rural_urban"):
        assert all(0 <= answers[model][f"accuracy_{kind}"] <= 1 for model in ASKED_MODELS)
    assert answers["oracle"]["accuracy"] == 1
    assert {row["split"] for row in rows} == {"test"}
    selection = json.loads((out / "results_val.json").read_text())
    (chosen,) = [row for row in selection if (row["split"], row["model"]) == ("val", "aligned")]
    assert {f"miou_{mode}" for mode in TRAINING_FREE} - set(chosen["metrics"]) == {"miou_vanilla"}
    assert best_mode(out / "results_val.json") in scenes["aligned"]["preprocessing"]


def test_the_report_holds_its_own_pictures(out: Path) -> None:
    page = (out / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(sources) > 30
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    for model in MODELS:
        assert f"<td>{model}</td>" in page


def test_the_report_shows_what_was_searched_and_found(out: Path) -> None:
    page = (out / "report.html").read_text()
    section = page.split("<h2>Searching an archive</h2>")[1].split("<h2>")[0]
    searches = section.split("<p><code>")[1:]
    assert len(searches) == 4
    settings = "--min-valid=0.9 --background=atlas"
    photo = "--photo=world/benchmarks/test/gallery/photos/gallery-test00_"
    assert searches[0].startswith(f"graft search index beach {settings}</code>")
    assert searches[1].startswith(f"graft search index &#39;village or factory&#39; {settings}</code>")
    assert searches[2].startswith(f"graft search index &#39;village or factory&#39; --not=factory {settings}</code>")
    assert searches[3].startswith(f"graft search index {photo}")
    for search in searches:
        hits = re.findall(r'alt="hit (\d+): ([^"]+)"', search)
        assert [int(rank) for rank, _ in hits] == list(range(1, SHOWN + 1))
        assert all(re.fullmatch(r"cloud|[a-z ]+ \d+ %", land) for _, land in hits)
        assert len(set(re.findall(r'src="([^"]+)" alt="hit', search))) == SHOWN, "each has a picture of its own"
    assert "the photo searched with" in searches[3]
    pages = sorted(path.name for path in (out / "search").iterdir())
    assert pages == ["beach.html", "photo.html", "village_or_factory.html", "without_factory.html"]


def test_the_report_shows_questions_with_answers_and_truth(out: Path) -> None:
    page = (out / "report.html").read_text()
    section = page.split("<h2>Asking</h2>")[1].split("<h2>")[0]
    commands = re.findall(r"<code>(graft ask [^<]*)</code>", section)
    scene, piece = commands
    assert scene.startswith(
        "graft ask world/benchmarks/test/scenes/test00.tif &#39;Is there more forest than water?&#39;"
    )
    assert re.match(r"graft ask world/benchmarks/test/vqa/Images_LR/\d+.tif &#39;Where is the largest ", piece)
    assert section.count("the truth: ") == len(re.findall('alt="evidence: ', section)) == 4
    assert section.count("<code>return ") == 4
    answers = [
        answer for path in (out / "questions").glob("*.json") for answer in json.loads(path.read_text())["answers"]
    ]
    assert len(answers) == 4
    assert all(f"</strong> {answer['answer']} <span" in section for answer in answers)
    assert (out / "pixel/vqa.json").is_file()


def test_questions_of_the_report_are_read_whatever_the_land(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    counts = np.eye(len(IDS), dtype=int) * 2000 + 300
    (tmp_path / "benchmarks/test/scenes").mkdir(parents=True)
    (tmp_path / "benchmarks/test/scenes/test00.tif").touch()
    (tmp_path / "benchmarks/test/vqa/labels").mkdir(parents=True)
    (tmp_path / "benchmarks/test/vqa/labels/7.tif").touch()
    for row in counts:
        monkeypatch.setattr("graft.report_questions._pixels", lambda _, row=row: row)
        for asked in demo_questions(tmp_path, "naip"):
            read = read_questions(asked.questions, make_writers(load_concepts("atlas"), None))
            assert [type(question) for question in read] == [Asked, Asked], asked.questions
    assert asked.image == tmp_path / "benchmarks/test/vqa/Data/7.tif"


def test_a_second_run_goes_on_and_another_world_is_refused(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = (out / "shards" / "train" / "index.json").stat().st_mtime_ns
    rows = (out / "results.json").read_bytes()
    left = out / "atlas_test_aligned_per_class.json"
    os.utime(left, ns=(0, 0))  # as if the encoder had been trained again since
    demo(out=out, seed=3, quick=True)
    assert (out / "shards" / "train" / "index.json").stat().st_mtime_ns == written
    steps = capsys.readouterr().out.split("\n$ ")
    done = {
        step.split()[1] if step.startswith("graft") else step.split()[2] for step in steps if "done already" in step
    }
    assert done == {"atlas", "teacher", "photos", "prepare", "test", "search", "calibrate", "ask"}
    (evaluated,) = [step for step in steps if " test --config" in step and "done already" not in step]
    assert "--config=configs/eval/atlas.yaml" in evaluated
    assert "--model.init_args.name=aligned" in evaluated
    assert left.stat().st_mtime_ns > written
    again = (out / "results.json").read_bytes()
    assert len(json.loads(again)) == len(json.loads(rows))
    assert {figures(row) for row in json.loads(again)} == {figures(row) for row in json.loads(rows)}
    with pytest.raises(GraftError, match="SEED=3; asked for are 2 scenes, SENSOR=sentinel SEED=4: give another OUT"):
        check_world(out / "world", "sentinel", 4, quick=True)


def figures(row: ResultRow) -> str:
    by_whom = ("code_version", "command")  # all evaluations of a benchmark write the row of chance
    return str([(name, value) for name, value in row.items() if name not in by_whom])


def test_transfer() -> None:
    assert transfer(0.5, 0.1, 0.9) == pytest.approx(0.5)
    assert transfer(0.1, 0.1, 0.9) == 0
    assert math.isnan(transfer(0.1, 0.1, 0.1)), "a teacher of a tiny world may know no more than chance"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium (Debian: apt-get install chromium)")
def test_the_report_opens_in_a_browser(out: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    subprocess.run(
        [
            "chromium",
            *flags,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1200,3000",
            f"--screenshot={picture}",
            (out / "report.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    assert image.size == (1200, 3000)
    assert len(colours) > 500
