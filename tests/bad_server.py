"""An HTTP server on loopback that serves a folder, or passes requests on to another server, and fails at random."""

import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, dict[str, str], bytes]
FAULTS = ("drop", "stall", "truncate", "shorten", "error")


class BadServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Callable[[str, dict[str, str]], Answer], *, seed: int, fault_rate: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.seed, self.fault_rate = answer, seed, fault_rate
        self.asked: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self, path: str) -> str | None:
        """Drawn by path and number of the request, so that it does not depend on who asks first."""
        with self.lock:
            self.asked[path] += 1
            if any(path.endswith(name) for name in self.broken):
                return "error"
            draw = random.Random(f"{self.seed}/{path.rsplit('/', 1)[-1]}/{self.asked[path]}")
            found = draw.choice(FAULTS) if draw.random() < self.fault_rate else None
            (self.faults if found else self.served)[found or path] += 1
            return found


class Handler(BaseHTTPRequestHandler):
    server: BadServer

    def do_GET(self) -> None:
        fault = self.server.fault(self.path)
        if fault == "drop":
            self.close_connection = True
            return
        status, headers, body = self.server.answer(self.path, dict(self.headers))
        if fault == "error":
            status, headers, body = 503, {}, b"later"
        if fault == "shorten":
            body = body[: len(body) // 2]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if fault in ("stall", "truncate"):
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                time.sleep(2.0 if fault == "stall" else 0)
                self.close_connection = True
                return
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client gave up on a stalled answer

    def log_message(self, *_: object) -> None:
        pass


def from_folder(folder: Path) -> Callable[[str, dict[str, str]], Answer]:
    def answer(path: str, _: dict[str, str]) -> Answer:
        file = folder / path.lstrip("/")
        return (200, {}, file.read_bytes()) if file.is_file() else (404, {}, b"")

    return answer


def from_server(url: str) -> Callable[[str, dict[str, str]], Answer]:
    def answer(path: str, headers: dict[str, str]) -> Answer:
        request = urllib.request.Request(url + path, headers=headers)
        try:
            with urllib.request.urlopen(request) as reply:
                status, found, body = reply.status, dict(reply.headers), reply.read()
        except urllib.error.HTTPError as error:
            status, found, body = error.code, dict(error.headers), error.read()
        hop = {"content-length", "connection", "transfer-encoding", "server", "date"}
        return status, {name: value for name, value in found.items() if name.lower() not in hop}, body

    return answer


@contextmanager
def bad_server(
    answer: Callable[[str, dict[str, str]], Answer], *, seed: int = 0, fault_rate: float = 0.0
) -> Iterator[BadServer]:
    server = BadServer(answer, seed=seed, fault_rate=fault_rate)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
