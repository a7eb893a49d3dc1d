import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from graft.vqa.answer_cache import cache_folder
from graft.vqa.endpoint import EndpointFault
from graft.vqa.prompt import conversation
from graft.vqa.written import CannotParse
from tests import fake_llm as llm
from tests.fake_llm import EXISTS, KEY, LAKE, QUESTION, Answer, fake_llm, refusal, says, writer


@pytest.mark.parametrize(
    "answer",
    [
        says(LAKE),
        says(f"```json\n{json.dumps(LAKE, indent=2)}\n```"),
        says('return exists(find("lake"))'),
        says('Here it is:\n```python\nlakes = find("lake")\nexists(of=lakes)\n```\nIt looks for lakes.'),
        says('<think>Maybe {"program": 3}? No.</think>\n' + json.dumps(LAKE)),
        says({"program": 'def execute_command(image):\n    return exists(find("lake"))'}),
        llm.body(llm.completion(json.dumps(LAKE)), Content_Type="text/plain"),
    ],
    ids=["json", "fenced json", "python", "fenced python", "thoughts", "python in json", "wrong content type"],
)
def test_a_good_model_is_understood(tmp_path: Path, answer: Answer) -> None:
    with fake_llm(answer) as server:
        written = writer(server.url, tmp_path).write(QUESTION)
    assert (written.type, written.writer) == ("presence", "tiny")
    assert '"lake"' in json.dumps(LAKE)
    assert len(written.program.statements) in (1, 2)
    assert len(server.bodies) == 1


def test_what_is_asked(tmp_path: Path) -> None:
    with fake_llm(says(LAKE)) as server:
        assert writer(server.url, tmp_path, seed=7, words=("salt marsh",)).write(QUESTION).program == EXISTS
    (sent,), (key,), (path,) = server.bodies, server.keys, server.paths
    assert path == "/v1/chat/completions"
    assert key == f"Bearer {KEY}"
    assert (sent["model"], sent["temperature"], sent["seed"]) == ("tiny", 0, 7)
    assert sent["response_format"] == {"type": "json_object"}
    assert not sent.get("stream")
    system, user = sent["messages"]
    assert user == {"role": "user", "content": QUESTION}
    assert "salt marsh" in system["content"]
    assert "wholly beyond" in system["content"]


@pytest.mark.parametrize(
    ("answer", "says_what"),
    [
        (says(""), "answered nothing"),
        (says(None), "answered nothing"),
        (says("  \n"), "answered nothing"),
        (llm.cut_off, "cut off"),
        (says("", refusal="I cannot help with satellites."), "cannot help with satellites"),
        (says("Yes, there is a lake."), "Yes, there is a lake."),
        (says({"program": []}), "asked 2 times"),
        (says({"answer": True}), "asked 2 times"),
        (says({"program": [{"return": {"call": "find_lake", "with": {}}}]}), "find_lake"),
        (says('{"program": [' + "[" * 50_000), "asked 2 times"),
        (says('{"program": "' + "(" * 50_000 + '"}'), "asked 2 times"),
        (says("return " + "9" * 5000), "asked 2 times"),
        (says("return 9 ** 9 ** 9"), "asked 2 times"),
        (says("__import__('os').system('touch /tmp/owned')"), "asked 2 times"),
        (says("return ().__class__.__base__.__subclasses__()"), "asked 2 times"),
        (says("return [x for x in range(10 ** 9)]"), "asked 2 times"),
        (says("while True: pass"), "asked 2 times"),
        (says('return f"{().__class__}"'), "asked 2 times"),
        (says("import os\nreturn 1"), "asked 2 times"),
        (says("\x00" * 100), "asked 2 times"),
        (says("lakes = find('a' * 100000000)\nreturn exists(lakes)"), "asked 2 times"),
        (says(f'return exists(find("{KEY}"))'), "repeats the API key"),
        (says("x" * 900_000), "asked 2 times"),
    ],
)
def test_a_model_that_writes_no_program_is_asked_once_more(tmp_path: Path, answer: Answer, says_what: str) -> None:
    with fake_llm(answer) as server:
        message = refusal(server, tmp_path, CannotParse)
    assert says_what in message
    assert "--program" in message
    first, second = server.bodies
    assert second["messages"][: len(first["messages"])] == first["messages"]
    assert second["messages"][-1]["role"] == "user"
    assert "cannot be used" in second["messages"][-1]["content"]
    assert len(json.dumps(second)) < len(json.dumps(first)) + 20_000


def test_the_second_answer_counts(tmp_path: Path) -> None:
    wrong = {"program": [{"return": {"call": "find_lake", "with": {}}}]}
    with fake_llm(says(wrong), says(LAKE)) as server:
        assert writer(server.url, tmp_path).write(QUESTION).program == EXISTS
    assert server.bodies[1]["messages"][-2] == {"role": "assistant", "content": json.dumps(wrong)}
    assert "find_lake" in server.bodies[1]["messages"][-1]["content"]


def test_a_model_may_say_that_it_cannot(tmp_path: Path) -> None:
    with fake_llm(says({"cannot": "People cannot be seen."})) as server:
        assert "People cannot be seen." in refusal(server, tmp_path, CannotParse)
    assert len(server.bodies) == 1


def test_the_same_question_is_asked_once(tmp_path: Path) -> None:
    with fake_llm(says(LAKE), llm.error(401)) as server:
        first = writer(server.url, tmp_path).write(QUESTION)
        assert writer(server.url, tmp_path).write(QUESTION) == first
        (kept,) = tmp_path.iterdir()
        assert KEY not in kept.read_text()
        assert len(server.bodies) == 1
        for question, seed in (("Is there a river?", 0), (QUESTION, 1)):
            with pytest.raises(EndpointFault):
                writer(server.url, tmp_path, seed=seed).write(question)
    assert writer(server.url, tmp_path).write(QUESTION) == first  # with nobody to ask


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("exists", "system"),
        lambda text: text.replace('"lake"', '{"name": "lake"}'),
        lambda text: text.replace(QUESTION, "Is there a river?"),
        lambda _: "[" * 100_000,
        lambda _: "[]",
        lambda _: " " * 300_000,
    ],
)
def test_a_cache_is_trusted_no_more_than_a_model(tmp_path: Path, change: object) -> None:
    with fake_llm(says(LAKE)) as server:
        writer(server.url, tmp_path).write(QUESTION)
        (kept,) = tmp_path.iterdir()
        whole = kept.read_text()
        kept.write_text(change(whole))  # type: ignore[operator]
        assert writer(server.url, tmp_path).write(QUESTION).program == EXISTS
        assert len(server.bodies) == 2
        assert kept.read_text() == whole


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    with fake_llm(says(LAKE)) as server:
        assert writer(server.url, tmp_path / "file" / "vqa").write(QUESTION).program == EXISTS
    assert "cannot be written" in caplog.text


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "graft" / "vqa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "graft" / "vqa"


def test_the_key_stands_in_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with fake_llm(llm.error(500, KEY), says(LAKE)) as server:
        chosen = writer(server.url, tmp_path)
        chosen.write(QUESTION)
    assert caplog.text
    assert KEY not in caplog.text
    assert KEY not in repr(chosen)


def test_the_prompt_names_every_function_and_its_examples_run() -> None:
    from graft.vqa.check import check
    from graft.vqa.functions import FUNCTIONS
    from graft.vqa.json_form import read_json

    system = conversation(QUESTION)[0]["content"]
    for function in FUNCTIONS.values():
        assert f"- {function.name}(" in system
        for parameter in function.parameters:
            assert f"\n    {parameter.name}: " in system
            assert all(json.dumps(choice) in system for choice in parameter.choices)
    examples = [line for line in system.partition("\nExamples\n")[2].splitlines() if line.startswith("{")]
    assert len(examples) >= 6
    for example in examples:
        check(read_json(example))


def test_importing_the_writer_is_light() -> None:
    code = "import graft.vqa.llm, sys; print([m for m in ('openai', 'torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "openai" not in done.stdout
    assert "torch" not in done.stdout
