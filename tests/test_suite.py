"""`main.py suite`: many models under many protocols, stopped and taken up again, in one table."""

import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import main
from graft.errors import GraftError
from graft.results import read_rows
from graft.suite import read_candidates, read_suite, run_suite
from graft.suite_table import table_rows, write_tables
from tests.export_inputs import write_checkpoint
from tests.test_results import row

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, architecture: str) -> list[str]:
    """Two checkpoints and a model folder."""
    from graft.cli import main as graft

    root = tmp_path_factory.mktemp("models")
    image = write_checkpoint(root / "image" / "last.ckpt", architecture, "image")
    pixel = write_checkpoint(root / "pixel" / "last.ckpt", architecture, "pixel")
    graft(["export", str(pixel), f"--out={root / 'folder'}"])
    return [str(image), f"tokens={pixel}", str(root / "folder")]


@pytest.fixture
def suite(tmp_path: Path, probe: Path, prompts: Path, architecture: str) -> Path:
    """Three protocols on the labelled folder; the third is the first on resized tiles."""

    def protocol(name: str) -> str:
        content = {
            "seed_everything": 0,
            "model": {
                "class_path": "lightning_modules.ZeroShotClassification",
                "init_args": {
                    "checkpoint": None,
                    "dataset": name,
                    "results": "unused.json",
                    "prompts": str(prompts),
                    "teacher": architecture,
                    "baseline": True,
                },
            },
            "data": {
                "class_path": "datamodules.ClassificationFolder",
                "init_args": {"root": str(probe), "classes": str(prompts)},
            },
            "trainer": {
                "accelerator": "cpu",
                "logger": False,
                "enable_progress_bar": False,
                "enable_checkpointing": False,
                "use_distributed_sampler": False,
            },
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        return str(tmp_path / f"{name}.yaml")

    first, second = protocol("first"), protocol("second")
    resized = {"config": first, "settings": {"data.init_args.fit": "resize", "data.init_args.image_size": 16}}
    content = {"out": str(tmp_path / "out"), "evaluations": [first, second, resized]}
    (tmp_path / "suite.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "suite.yaml"


def counting(calls: list[list[str]]) -> Callable[[list[str]], object]:
    def run(args: list[str]) -> object:
        calls.append(args)
        return main.main(args)

    return run


def test_every_model_under_every_protocol_in_one_table(suite: Path, models: list[str]) -> None:
    calls: list[list[str]] = []
    assert run_suite(suite, models, counting(calls)) == 0
    assert len(calls) == 9
    out = suite.parent / "out"
    rows = read_rows(out / "results.json")
    kinds = {(each["dataset"], each["preprocessing"]) for each in rows}
    assert len(kinds) == 3
    # image, tokens, folder, the baseline once and chance once, for each protocol.
    assert len(rows) == 15
    assert {row["model"] for row in rows} == {"image", "tokens", "folder", "clip_baseline", "chance"}
    tokens, folder = ([row["metrics"] for row in rows if row["model"] == name] for name in ("tokens", "folder"))
    assert tokens == folder
    with (out / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 30
    assert [line["model"] for line in lines[:6:2]] == ["image", "tokens", "folder"]
    assert all(float(line["low"]) <= float(line["value"]) <= float(line["high"]) for line in lines if line["low"])
    assert all(line["prompts"] and line["model_sha256"] for line in lines if line["model"] != "chance")
    markdown = (out / "table.md").read_text()
    assert markdown.count("\n| classification |") == 30
    assert "resize to 16 px" in markdown
    assert r"clip\_baseline" in (out / "table.tex").read_text()


def test_what_is_done_is_left_out(suite: Path, models: list[str]) -> None:
    run_suite(suite, models[:1], main.main)
    calls: list[list[str]] = []
    assert run_suite(suite, models[:2], counting(calls)) == 0
    assert len(calls) == 3
    assert all("--model.init_args.name=tokens" in call for call in calls)
    assert all("--model.init_args.baseline=false" in call for call in calls)
    again: list[list[str]] = []
    table = (suite.parent / "out" / "table.csv").read_text()
    run_suite(suite, models[:2], counting(again))
    assert again == []
    assert (suite.parent / "out" / "table.csv").read_text() == table


def test_another_setting_is_another_protocol(suite: Path, models: list[str]) -> None:
    run_suite(suite, models[:1], main.main)
    content = yaml.safe_load(suite.read_text())
    content["evaluations"][2]["settings"]["data.init_args.image_size"] = 24
    suite.write_text(yaml.safe_dump(content))
    calls: list[list[str]] = []
    run_suite(suite, models[:1], counting(calls))
    assert len(calls) == 1


def test_a_name_means_the_weights_that_it_is_given(suite: Path, models: list[str]) -> None:
    def table(path: str) -> str:
        run_suite(suite, [f"x={path}"], main.main)
        return (suite.parent / "out" / "table.csv").read_text()

    image, pixel = table(models[0]), table(models[1].removeprefix("tokens="))
    assert image != pixel
    assert table(models[0]) == image


def test_what_a_killed_suite_left_is_no_result(suite: Path, models: list[str]) -> None:
    run_suite(suite, models[:1], main.main)
    out = suite.parent / "out"
    table = (out / "table.csv").read_text()
    for done in list(out.glob("*/image-*")):
        done.rename(done.with_name(f".{done.name}.1.partial"))
    calls: list[list[str]] = []
    run_suite(suite, models[1:2], counting(calls))
    assert not any("--model.init_args.baseline=false" in call for call in calls)
    run_suite(suite, models[:1], main.main)
    assert (out / "table.csv").read_text() == table


def test_another_calibration_is_another_model(models: list[str], tmp_path: Path) -> None:
    shutil.copy(models[0], tmp_path / "last.ckpt")
    bare, twin = (read_candidates([f"a={path}"])[0].key for path in (tmp_path / "last.ckpt", models[0]))
    assert bare == twin
    (tmp_path / "vqa.json").write_text("{}")
    assert read_candidates([f"a={tmp_path / 'last.ckpt'}"])[0].key != bare


def test_a_protocol_that_fails_is_told_and_the_others_go_on(
    suite: Path, models: list[str], probe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(suite.read_text())
    content["evaluations"][0] = {"config": content["evaluations"][0], "settings": {"data.init_args.root": "nowhere"}}
    suite.write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as end:
        main.suite(["--config", str(suite), "--checkpoints", models[0]])
    assert end.value.code == 1
    told = capsys.readouterr()
    assert "No benchmark folder at nowhere" in told.err
    assert "2 evaluations run, 0 done before, 1 failed" in told.out
    assert len({row["dataset"] for row in read_rows(suite.parent / "out" / "results.json")}) == 2
    content["evaluations"][0]["settings"]["data.init_args.root"] = str(probe)
    suite.write_text(yaml.safe_dump(content))
    main.suite(["--config", str(suite), "--checkpoints", models[0]])
    assert "1 evaluations run, 2 done before, 0 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_and_run_again_it_is_the_same_table(suite: Path, models: list[str]) -> None:
    command = [sys.executable, "main.py", "suite", "--config", str(suite), "--checkpoints", *models]
    whole = suite.parent / "whole"
    subprocess.run([*command, "--out", str(whole)], cwd=ROOT, check=True, capture_output=True, timeout=300)
    out = suite.parent / "out"
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    table = out / "table.md"
    while time.monotonic() < limit and not (table.exists() and "| image |" in table.read_text()):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 1 <= len(list(out.glob("*/[!.]*/results.json"))) < 9
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    for name in ("table.md", "table.csv", "table.tex"):
        assert (out / name).read_text() == (whole / name).read_text()
    assert not list(out.glob("*/.*"))  # what the kill left


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["nowhere.ckpt"], "No model at nowhere.ckpt"),
        ([], "no model"),
        (["a=MODEL", "a=MODEL"], "'a' twice"),
        (["chance=MODEL"], "for a baseline"),
        (["a b=MODEL"], "'a b'"),
    ],
)
def test_models_that_do_not_fit_are_told(models: list[str], given: list[str], told: str) -> None:
    with pytest.raises(GraftError, match=told):
        read_candidates([each.replace("MODEL", models[0]) for each in given])


@pytest.mark.parametrize(
    "content", ["[", "x: 1", "out: a\nevaluations: []", "out: a\nevaluations: [3]", "out: a\nevaluations: [{x: 1}]"]
)
def test_suites_that_are_none_are_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(GraftError):
        read_suite(tmp_path / "s.yaml")
    with pytest.raises(GraftError, match="cannot be read"):
        read_suite(tmp_path / "no.yaml")


def test_tables_hold_what_latex_would_read(tmp_path: Path) -> None:
    made = row("x")
    made |= {"task": "retrieval", "dataset": "a_b & c", "split": "50 %", "n": 3, "prompts": None}
    made["metrics"] = {"map_at_100_hits": 0.5}
    write_tables([made], [], tmp_path)
    assert r"a\_b \& c & 50 \% & x & map\_at\_100\_hits & 50.0 & 3 & " in (tmp_path / "table.tex").read_text()
    assert table_rows([made], [])[0]["low"] == ""
