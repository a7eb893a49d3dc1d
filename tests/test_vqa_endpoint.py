import socket
import threading
import time
from pathlib import Path

import pytest

from graft.errors import GraftError
from graft.vqa.answer_cache import AnswerCache
from graft.vqa.endpoint import PUBLIC, Endpoint, EndpointFault
from graft.vqa.llm import LLMWriter
from tests import fake_llm as llm
from tests.fake_llm import EXISTS, KEY, LAKE, QUESTION, SHORT, SLACK, Answer, fake_llm, refusal, says, writer


@pytest.mark.parametrize(
    ("answer", "says_what"),
    [
        (llm.body(b"<html>Sign in</html>", Content_Type="text/html"), "text/html"),
        (llm.body(b""), "nothing"),
        (llm.body(b"not json"), "not json"),
        (llm.body(b"\xff\xfe\x00"), "chat completion"),
        (llm.body(b"[" * 200_000), "chat completion"),
        (llm.body(b'{"choices": []}'), "chat completion"),
        (llm.body(b'{"choices": {"0": 1}}'), "chat completion"),
        (llm.body(b'{"choices": [{"message": "hello"}]}'), "chat completion"),
        (llm.body(b"1" * 5000), "chat completion"),
        (llm.body(b'{"error": {"message": "model is loading"}}'), "model is loading"),
        (llm.event_stream, "event-stream"),
        (llm.huge, "1,048,576 bytes"),
        (llm.endless(200), "1,048,576 bytes"),
        (llm.endless(500), "1,048,576 bytes"),
        (llm.endless(302), "1,048,576 bytes"),
        (llm.bomb, "compressed"),
        (llm.drop, "broke off"),
        (llm.truncate, "broke off"),
        (llm.no_http, "broke off"),
        (llm.error(401, f"Incorrect API key provided: {KEY}"), "[key]"),
        (llm.error(403), "OPENAI_API_KEY"),
        (llm.error(404, "The model `tiny` does not exist"), "does not exist"),
        (llm.error(400, "context length exceeded"), "context length exceeded"),
        (llm.error(400, "temperature, seed and response_format are bad"), "HTTP 400"),
        (llm.error(418, "\x1b[2J\x1b]0;owned\x07teapot\u202e"), "teapot"),
        (llm.error(500), "4 attempts"),
        (llm.error(429, "slow down"), "slow down"),
        (llm.error(429, "slow down", Retry_After="3600"), "3,600 s"),
        (llm.error(503, "busy", Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"), "left alone"),
        (llm.error(503, "busy", Retry_After="1e999"), "left alone"),
        (llm.error(503, "busy", Retry_After="nan"), "4 attempts"),
        (llm.error(503, "busy", Retry_After="soon; -5"), "4 attempts"),
    ],
)
def test_an_endpoint_that_gives_nothing_to_read(tmp_path: Path, answer: Answer, says_what: str) -> None:
    with fake_llm(answer) as server:
        message = refusal(server, tmp_path, EndpointFault)
    assert says_what in message
    assert server.url in message
    assert len(server.bodies) <= 4
    assert server.poured < 64e6  # what buffers of the kernel take before the client hangs up


@pytest.mark.parametrize("answer", [llm.trickle, llm.trickling_headers, llm.early_hints, llm.stall])
def test_a_slow_endpoint_is_given_up(tmp_path: Path, answer: Answer) -> None:
    with fake_llm(answer) as server:
        message = refusal(server, tmp_path, EndpointFault, SHORT)
    assert "no whole answer in time" in message or "said nothing for" in message


@pytest.mark.parametrize(
    "fault",
    [llm.error(429, Retry_After="0"), llm.error(500), llm.error(503, Retry_After="x"), llm.drop, llm.truncate],
)
def test_faults_that_pass_are_waited_for(tmp_path: Path, fault: Answer) -> None:
    with fake_llm(fault, fault, says(LAKE)) as server:
        assert writer(server.url, tmp_path).write(QUESTION).program == EXISTS
    assert len(server.bodies) == 3


def test_retry_after_is_kept(tmp_path: Path) -> None:
    with fake_llm(llm.error(429, Retry_After="0.2"), says(LAKE)) as server:
        writer(server.url, tmp_path).write(QUESTION)
    assert server.times[1] - server.times[0] >= 0.2


def test_options_that_a_server_does_not_know_are_left_out(tmp_path: Path) -> None:
    picky = llm.error(400, "Unsupported value: 'temperature' does not support 0 with this model.")
    older = llm.error(422, "extra fields not permitted: response_format")
    with fake_llm(picky, older, says(LAKE)) as server:
        assert writer(server.url, tmp_path).write(QUESTION).program == EXISTS
    assert [{"temperature", "seed", "response_format"} & sent.keys() for sent in server.bodies] == [
        {"temperature", "seed", "response_format"},
        {"seed", "response_format"},
        {"seed"},
    ]


@pytest.mark.parametrize(("status", "times"), [(401, 1), (400, 2)])
def test_an_endpoint_that_is_down_is_not_asked_for_each_question(tmp_path: Path, status: int, times: int) -> None:
    with fake_llm(llm.error(status)) as server:
        chosen = writer(server.url, tmp_path)
        for question in (QUESTION, "Is there a river?"):
            with pytest.raises(EndpointFault, match=f"HTTP {status}"):
                chosen.write(question)
    assert len(server.bodies) == times


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(tmp_path: Path, status: int) -> None:
    with fake_llm(says(LAKE)) as elsewhere:
        with fake_llm(llm.body(b"", status, Location=f"{elsewhere.url}/chat/completions")) as server:
            message = refusal(server, tmp_path, EndpointFault)
        assert not elsewhere.paths
        assert elsewhere.url in message


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(EndpointFault, match="refused"):
        writer(url, tmp_path).write(QUESTION)


def test_a_server_that_takes_connections_and_never_reads(tmp_path: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        started = time.monotonic()
        with pytest.raises(EndpointFault, match="in time|said nothing"):
            writer(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", tmp_path, SHORT).write(QUESTION)
    assert time.monotonic() - started < SHORT + SLACK


def test_the_environment_names_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    assert Endpoint.from_environment() == Endpoint(PUBLIC, KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1234/v1/")
    assert Endpoint.from_environment().url == "http://localhost:1234/v1"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert Endpoint.from_environment().key == ""


@pytest.mark.parametrize(
    "url",
    ["localhost:11434", "ftp://host/v1", "http://", "http://host:port/v1", "http://user:hunter2@host/v1",
     "http://host/v1?key=hunter2", "http://host/v1#hunter2", "http://[::1/v1", "http://host/\x1b[2J"],
)  # fmt: skip
def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(GraftError, match="OPENAI_BASE_URL") as caught:
        Endpoint.from_environment()
    assert "hunter2" not in str(caught.value)


def test_an_environment_that_names_nothing_or_a_broken_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    with pytest.raises(GraftError, match="neither"):
        LLMWriter("tiny")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hunter2\nsk-hunter3")
    with pytest.raises(GraftError, match="one line") as caught:
        LLMWriter("tiny")
    assert "hunter" not in str(caught.value)


def test_a_local_server_needs_no_key(tmp_path: Path) -> None:
    with fake_llm(says(LAKE)) as server:
        LLMWriter("tiny", Endpoint(server.url), AnswerCache(tmp_path)).write(QUESTION)
    assert server.keys == ["Bearer none"]


def test_a_late_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    with fake_llm(llm.trickling_headers) as server:
        with pytest.raises(EndpointFault):
            writer(server.url, tmp_path, SHORT).write(QUESTION)
        until = time.monotonic() + 2
        while waiting() and time.monotonic() < until:
            time.sleep(0.02)
        assert not waiting()


def waiting() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "graft-llm"]
