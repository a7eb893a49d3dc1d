"""The results file: whole or absent, one row per question asked."""

import json
import subprocess
from pathlib import Path

import pytest

import graft
from graft import results
from graft.errors import GraftError
from graft.results import ResultRow, append_rows, code_version, read_rows


def row(model: str = "aligned", top1: float = 0.5, family: str = "ground") -> ResultRow:
    return ResultRow(
        task="classification",
        dataset="eurosat",
        split="test",
        n=10,
        skipped=0,
        model=model,
        metrics={"top1": top1},
        prompts={"name": "eurosat", "family": family, "sha256": "0" * 64},
        preprocessing="native size",
        model_sha256=None,
        code_version="0",
        seed=0,
        command="main.py test",
    )


def test_rows_accumulate_and_the_same_question_replaces_its_row(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    append_rows(path, [row(), row("chance")])
    append_rows(path, [row(top1=0.7), row(family="satellite")])
    found = [(r["model"], r["metrics"]["top1"], r["prompts"]["family"]) for r in json.loads(path.read_text())]
    assert found == [("chance", 0.5, "ground"), ("aligned", 0.7, "ground"), ("aligned", 0.5, "satellite")]
    assert list(path.parent.iterdir()) == [path]


def test_a_row_has_every_field_of_the_schema(tmp_path: Path) -> None:
    append_rows(tmp_path / "r.json", [row()])
    assert set(read_rows(tmp_path / "r.json")[0]) == ResultRow.__required_keys__


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "[1]"])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(GraftError, match=r"results\.json is not"):
        append_rows(path, [row()])
    assert path.read_text() == content


def test_a_metric_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="top1"):
        append_rows(tmp_path / "r.json", [row(top1=float("nan"))])
    assert not (tmp_path / "r.json").exists()


def test_code_version_is_the_commit_and_says_if_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "graft").mkdir()
    monkeypatch.setattr(results.graft, "__file__", str(tmp_path / "graft" / "__init__.py"))
    version = results.version("graft")
    assert code_version() == version  # no repository of its own
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert code_version() == version  # no commit yet
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert code_version() == commit
    (tmp_path / "changed").touch()
    assert code_version() == f"{commit}-dirty"
    assert Path(graft.__file__).parent.parent == tmp_path
