"""A real HTTP server on loopback that serves photos, counts who asks, and misbehaves on request."""

import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

Answer = Callable[["Handler"], None]


def photo_bytes(seed: int, kind: str = "JPEG", side: int = 64) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 16, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@dataclass
class Seen:
    """What the server saw."""

    paths: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    cookies: set[str] = field(default_factory=set)
    passwords: set[str] = field(default_factory=set)
    most_at_once: int = 0

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.paths)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True
    server: "PhotoServer"

    def do_GET(self) -> None:
        seen = self.server.seen
        with self.server.lock:
            self.server.now += 1
            seen.most_at_once = max(seen.most_at_once, self.server.now)
            seen.paths.append(self.path)
            seen.times.append(time.monotonic())
            seen.agents.add(self.headers.get("User-Agent", ""))
            seen.cookies.add(self.headers.get("Cookie", ""))
            seen.passwords.add(self.headers.get("Authorization", ""))
            answers = self.server.answers.get(self.path)
            answer = (answers.pop(0) if len(answers) > 1 else answers[0]) if answers else status(404)
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.now -= 1

    def log_message(self, *_: object) -> None:
        pass

    def reply(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class PhotoServer(ThreadingHTTPServer):
    """Attributes: `answers` holds per path what happens in turn, the last one for ever; `seen` what happened."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.now = 0
        self.seen = Seen()
        self.answers: dict[str, list[Answer]] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return self.url + path


@contextmanager
def photo_server() -> Iterator[PhotoServer]:
    server = PhotoServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def photo(seed: int, kind: str = "JPEG", *, wait: float = 0, **headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        time.sleep(wait)
        handler.reply(200, photo_bytes(seed, kind), **({"Content_Type": f"image/{kind.lower()}"} | headers))

    return answer


def status(code: int, **headers: str) -> Answer:
    return lambda handler: handler.reply(code, b"no", **headers)


def page(body: bytes, kind: str) -> Answer:
    return lambda handler: handler.reply(200, body, Content_Type=kind)


def drop(handler: Handler) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def truncate(handler: Handler) -> None:
    """Half the body that Content-Length promises."""
    body = photo_bytes(0)
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def cut_without_length(handler: Handler) -> None:
    """Half a file whose end is the end of the connection, so that only decoding tells."""
    body = photo_bytes(0)
    handler.send_response(200)
    handler.send_header("Content-Type", "image/jpeg")
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def stall(handler: Handler) -> None:
    """Silence for longer than the tests' time-out."""
    time.sleep(0.6)
    handler.close_connection = True


def trickle(handler: Handler) -> None:
    """A byte now and then, each within the time-out."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(60):
        handler.wfile.write(b"\xff")
        handler.wfile.flush()
        time.sleep(0.05)
    handler.close_connection = True
