"""A real HTTP server on loopback that plays a language model: good, malformed, hostile, slow, empty, rate-limiting."""

import gzip
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import openai  # takes a second, which no test with a time limit is to be charged for
import pytest

from graft.errors import GraftError
from graft.vqa.answer_cache import AnswerCache
from graft.vqa.endpoint import Endpoint
from graft.vqa.llm import LLMWriter
from graft.vqa.python_form import read_python

Answer = Callable[["Handler"], None]

LAKE = {"program": [{"return": {"call": "exists", "with": {"of": {"call": "find", "with": {"concept": "lake"}}}}}]}

KEY = "sk-secret-0123456789"
QUESTION = "Is there a lake?"
EXISTS = read_python('return exists(find("lake"))')
QUICK_CLIENT = partial(openai.DefaultHttpxClient, verify=ssl.create_default_context())
"""A client reads the system's certificates, 50 ms each time, although loopback needs none."""
SHORT = 0.3
"""Seconds that a server is given which never answers."""
SLACK = 1.0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True
    server: "FakeLLM"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.paths.append(self.path)
            self.server.bodies.append(json.loads(body))
            self.server.keys.append(self.headers.get("Authorization", ""))
            self.server.times.append(time.monotonic())
            answers = self.server.answers
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        try:
            answer(self)
        except (OSError, ValueError):  # the client hung up
            self.close_connection = True

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Type": "application/json", "Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def pour(self, pieces: Iterator[bytes], pause: float = 0) -> None:
        """Write until the client hangs up or the server is closed; count the bytes."""
        self.close_connection = True
        for piece in pieces:
            if self.server.closing.wait(pause) if pause else self.server.closing.is_set():
                return
            self.wfile.write(piece)
            self.server.poured += len(piece)


class FakeLLM(ThreadingHTTPServer):
    """Attributes: `answers` in turn, the last one for ever; what was asked in `paths`, `bodies`, `keys`, `times`."""

    daemon_threads = True

    def __init__(self, *answers: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.paths: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.times: list[float] = []
        self.poured = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def fake_llm(*answers: Answer) -> Iterator[FakeLLM]:
    server = FakeLLM(*answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        with patch.object(openai, "DefaultHttpxClient", QUICK_CLIENT):
            yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def completion(content: object, **more: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content} | more, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]}).encode()


def says(content: object, **more: object) -> Answer:
    """A chat completion; anything but text is written as JSON text first."""
    text = content if isinstance(content, str | None) else json.dumps(content)
    return lambda handler: handler.reply(200, completion(text, **more))


def body(content: bytes, status: int = 200, **headers: str) -> Answer:
    return lambda handler: handler.reply(status, content, **headers)


def error(status: int, message: str = "no", **headers: str) -> Answer:
    return body(json.dumps({"error": {"message": message}}).encode(), status, **headers)


def cut_off(handler: Handler) -> None:
    """An answer that reached the model's limit."""
    reply = json.loads(completion(json.dumps(LAKE)[:30]))
    reply["choices"][0]["finish_reason"] = "length"
    handler.reply(200, json.dumps(reply).encode())


def drop(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def truncate(handler: Handler) -> None:
    """Half of the body that Content-Length promises."""
    content = completion("x" * 1000)
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:500])
    handler.close_connection = True


def stall(handler: Handler) -> None:
    """Silence until the server is closed."""
    handler.server.closing.wait(20)
    handler.close_connection = True


def forever(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def _start(handler: Handler, status: int, *headers: tuple[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers:
        handler.send_header(name, value)
    handler.end_headers()


def huge(handler: Handler) -> None:
    """A body of 10 GB."""
    _start(handler, 200, ("Content-Length", str(10**10)))
    handler.pour(forever(b" " * 65536))


def endless(status: int) -> Answer:
    """Chunks without an end, as fast as they are taken."""

    def answer(handler: Handler) -> None:
        _start(handler, status, ("Transfer-Encoding", "chunked"))
        handler.pour(forever(b"1000\r\n" + b"x" * 4096 + b"\r\n"))

    return answer


def trickle(handler: Handler) -> None:
    """A byte now and then, for ever, each before the client's time-out."""
    _start(handler, 200, ("Content-Length", "100000"))
    handler.pour(forever(b"{"), pause=0.05)


def trickling_headers(handler: Handler) -> None:
    """The start of a header, a byte at a time: no body and no silence."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    handler.pour(forever(b"x"), pause=0.05)


def early_hints(handler: Handler) -> None:
    """Informational answers without an end, and never the answer itself."""
    handler.pour(forever(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), pause=0.02)


def bomb(handler: Handler) -> None:
    """50 MB of blanks in 50 kB of gzip."""
    handler.reply(200, gzip.compress(b" " * 50_000_000), Content_Encoding="gzip")


def event_stream(handler: Handler) -> None:
    """A stream of events that nobody asked for."""
    _start(handler, 200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
    event = b'data: {"choices": [{"delta": {"content": "{"}}]}\n\n'
    with suppress(OSError):
        handler.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n0\r\n\r\n")
    handler.close_connection = True


def no_http(handler: Handler) -> None:
    """Bytes that are not HTTP."""
    handler.wfile.write(b"\x00\xff SSH-2.0-OpenSSH_9.6\r\n\r\n")
    handler.close_connection = True


def writer(url: str, folder: Path, seconds: float = 10.0, **more: object) -> LLMWriter:
    endpoint = Endpoint(url, KEY, silence=min(5.0, seconds / 2), first_wait=0.01)
    return LLMWriter("tiny", endpoint, AnswerCache(folder), seconds=seconds, **more)  # type: ignore[arg-type]


def refusal(server: FakeLLM, folder: Path, kind: type[GraftError], seconds: float = 10.0) -> str:
    """The message, after checks that hold for every refusal."""
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        writer(server.url, folder, seconds).write(QUESTION)
    assert time.monotonic() - started < seconds + SLACK
    message = str(caught.value)
    assert KEY not in message
    assert message.isprintable()
    assert len(message) < 1000
    assert not list(folder.glob("**/*"))
    return message
