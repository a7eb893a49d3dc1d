"""One request to an OpenAI-compatible endpoint that ends in time and in bounded memory, whatever the server does.

Limits: time in all, silence, bytes of an answer (before anything is parsed). Redirects are not followed, and compressed
answers not taken.
"""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from threading import Thread
from typing import Any, TypeVar

from graft.errors import first_line, import_extra

MOST_BYTES = 1 << 20

_PASSING = frozenset({408, 409, 425, 429})
_LATE = "gave no whole answer in time"
Result = TypeVar("Result")


@dataclass(frozen=True)
class Got:
    """How a request ended.

    Attributes:
        status: of HTTP; 0 where no whole answer came.
        body: of the answer.
        kind: its Content-Type.
        wait: seconds of Retry-After.
        fault: for status 0 and redirects, a phrase about the server.
        again: the fault may pass.
    """

    status: int
    body: bytes = b""
    kind: str = ""
    wait: float | None = None
    fault: str = ""
    again: bool = False


class _Stopped(Exception):
    """Takes an answer that is no success past the client, which would follow it or read it to its end."""

    def __init__(self, got: Got) -> None:
        super().__init__(got.status)
        self.got = got


def exchange(url: str, key: str, body: Mapping[str, Any], *, silence: float, until: float) -> Got:
    """Ask for one chat completion.

    Args:
        url: base address.
        key: of the service; "" sends a placeholder, as the client insists on one.
        body: of the request.
        silence: seconds without a byte, or for a connection.
        until: `time.monotonic()` at which to give up.
    """
    left = until - time.monotonic()
    if left <= 0:
        return Got(0, fault=_LATE, again=True)
    openai = import_extra("openai", "llm")
    http = openai.DefaultHttpxClient(follow_redirects=False, event_hooks={"response": [_only_success]})
    client = openai.OpenAI(
        base_url=url, api_key=key or "none", http_client=http, max_retries=0, timeout=min(silence, left)
    )
    try:
        return _result_of(lambda: _ask(client, body), left)
    except TimeoutError:
        return Got(0, fault=_LATE, again=True)
    except Exception as error:
        chain = _chain(error)
        stopped = next((link for link in chain if isinstance(link, _Stopped)), None)
        if stopped is not None:
            return stopped.got
        # The client's transport is httpx or its successor, by version; neither is a dependency to import from.
        if not isinstance(error, openai.OpenAIError) and not type(error).__module__.startswith(("httpx", "httpcore")):
            raise
        if any("timeout" in type(link).__name__.lower() for link in chain):
            return Got(0, fault=f"said nothing for {min(silence, left):.3g} s", again=True)
        return Got(0, fault=f"cannot be reached or broke off ({first_line(chain[-1])})", again=True)
    finally:
        http.close()


def _result_of(work: Callable[[], Result], seconds: float) -> Result:
    """What `work` gives, or TimeoutError: name look-ups and headers sent byte by byte know no time-out of their own.

    The thread of late work is left to its own end, which holds up no exit.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, name="graft-llm", daemon=True).start()
    return future.result(seconds)


def _ask(client: Any, body: Mapping[str, Any]) -> Got:
    with client.chat.completions.with_streaming_response.create(
        **body, extra_headers={"Accept-Encoding": "identity"}
    ) as answer:
        return _read(answer.http_response)


def _only_success(response: Any) -> None:
    """Stop at any other answer."""
    if response.status_code != 200:
        raise _Stopped(_read(response))


def _read(response: Any) -> Got:
    """An answer within the limits."""
    status, headers = response.status_code, response.headers
    if headers.get("content-encoding", "identity").lower() != "identity":
        return Got(0, fault="answered compressed, which was not asked for")
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > MOST_BYTES:
            return Got(0, fault=f"answered more than {MOST_BYTES:,} bytes")
    return Got(
        status,
        bytes(body),
        kind=headers.get("content-type", ""),
        wait=_retry_after(headers.get("retry-after")),
        fault=f"redirects to {headers.get('location', 'nowhere')}" if 300 <= status < 400 else "",
        again=status in _PASSING or status >= 500,
    )


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number or a date."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(seconds, 0.0)


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what is behind it."""
    chain = [error]
    while (behind := chain[-1].__cause__ or chain[-1].__context__) is not None and behind not in chain:
        chain.append(behind)
    return chain
