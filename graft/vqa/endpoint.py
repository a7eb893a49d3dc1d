"""An OpenAI-compatible endpoint: what a language model there answers, or a fault, in bounded time.

The key is sent to the endpoint alone and stands in no message.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from graft.errors import GraftError
from graft.vqa.exchange import Got, exchange

PUBLIC = "https://api.openai.com/v1"
"""Where requests go if only a key is set, as everywhere with this client."""

ATTEMPTS = 4
LONGEST_WAIT = 30.0
"""Seconds between two attempts; a server that asks for more is not asked again."""

_SHOWN = 160
_OF_THE_QUESTION = frozenset({400, 413, 422})
_OPTIONAL = ("temperature", "seed", "response_format")


class EndpointFault(GraftError):
    """The endpoint gave nothing to read.

    Attributes:
        lasting: the next question would fare alike; False where the server found fault with what this one sent.
    """

    def __init__(self, message: str, *, lasting: bool = True) -> None:
        super().__init__(message)
        self.lasting = lasting


@dataclass(frozen=True)
class Reply:
    """What the model said: `text`, or `fault`, a phrase that says why there is none."""

    text: str
    fault: str = ""


@dataclass(frozen=True)
class Endpoint:
    """Where a language model answers.

    Attributes:
        url: base address, to which the client adds `/chat/completions`.
        key: of the service; "" for a local server that wants none.
        silence: seconds without a byte, or for a connection.
        first_wait: seconds before the second attempt, twice as long before each further one.
    """

    url: str
    key: str = field(default="", repr=False)
    silence: float = 60.0
    first_wait: float = 1.0

    @classmethod
    def from_environment(cls) -> "Endpoint":
        """The endpoint of OPENAI_BASE_URL and OPENAI_API_KEY.

        Raises:
            GraftError: neither is set, the address is none, or the key cannot be sent.
        """
        url, key = (os.environ.get(name, "").strip() for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"))
        if not url and not key:
            raise GraftError(
                "A language model was asked for but neither OPENAI_BASE_URL nor OPENAI_API_KEY is set; set the address "
                "of an OpenAI-compatible server (e.g. http://127.0.0.1:11434/v1), the key of a service, or both."
            )
        if not all(33 <= ord(sign) <= 126 for sign in key):
            raise GraftError(
                "OPENAI_API_KEY holds blanks or other characters that no key has; expected one line of printable ASCII."
            )
        return cls(_address(url or PUBLIC), key)

    def complete(self, model: str, messages: Sequence[Mapping[str, str]], *, seed: int, until: float) -> Reply:
        """Ask for JSON at temperature 0.

        Rate limits, 5xx, broken connections and silence are tried again, not before Retry-After. Temperature, seed and
        response format are left out where the server says that it does not know them.

        Args:
            model: name at the endpoint.
            messages: role and content of each.
            seed: for endpoints that can repeat an answer.
            until: `time.monotonic()` at which to give up.

        Raises:
            EndpointFault: no answer in time, one that is no chat completion, a redirect, an error.
        """
        options: dict[str, Any] = {"temperature": 0, "seed": seed, "response_format": {"type": "json_object"}}
        attempt = 0
        while True:
            body = {"model": model, "messages": list(messages), **options}
            got = exchange(self.url, self.key, body, silence=self.silence, until=until)
            if got.status == 200:
                return self._reply(got)
            unknown = [name for name in _OPTIONAL if name in options and name.encode() in got.body]
            if got.status in _OF_THE_QUESTION and unknown:
                for name in unknown:
                    del options[name]
                continue
            attempt += 1
            wait = got.wait if got.wait is not None else self.first_wait * 2 ** (attempt - 1)
            if not got.again or attempt == ATTEMPTS or wait > min(LONGEST_WAIT, until - time.monotonic()):
                raise self._fault(got, attempt)
            time.sleep(wait)

    def shown(self, text: str) -> str:
        """The start of somebody else's text for a message: one line, nothing that cannot be seen, never the key."""
        hidden = text.replace(self.key, "[key]") if self.key else text
        line = " ".join("".join(sign if sign.isprintable() else " " for sign in hidden[: 8 * _SHOWN]).split())
        return line[:_SHOWN] + ("…" if len(line) > _SHOWN else "")

    def _fault(self, got: Got, attempts: int) -> EndpointFault:
        said = self.shown(_error_text(got.body))
        what = self.shown(got.fault) or f"answered HTTP {got.status}" + (f": {said}" if said else "")
        if 300 <= got.status < 400:
            mend = "redirects are not followed; set OPENAI_BASE_URL to the final address if you trust it"
        elif got.status in (401, 403):
            mend = "set OPENAI_API_KEY to a key that may use this model"
        elif got.status == 404:
            mend = "check the model's name (--llm) and OPENAI_BASE_URL, which usually ends in /v1"
        elif got.wait is not None and got.wait > LONGEST_WAIT:
            mend = f"it asks to be left alone for {got.wait:,.0f} s; try again then, or use another model (--llm)"
        elif got.again:
            mend = f"{attempts} attempts were made; see whether it is up, check OPENAI_BASE_URL, or go without --llm"
        else:
            mend = "check OPENAI_BASE_URL and --llm, or go without --llm"
        lasting = got.status not in _OF_THE_QUESTION
        return EndpointFault(f"The language model at {self.url} {what}; {mend}.", lasting=lasting)

    def _reply(self, got: Got) -> Reply:
        """The message of a chat completion."""
        try:
            answer = json.loads(got.body)
            choice = answer["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content"), message.get("refusal")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
            kind = f" ({self.shown(got.kind)})" if got.kind else ""
            came = self.shown(_error_text(got.body)) or "nothing"
            raise EndpointFault(
                f"The language model at {self.url} answered with something else than a chat completion{kind}: {came}; "
                "set OPENAI_BASE_URL to an OpenAI-compatible server, usually its address that ends in /v1."
            ) from error
        if isinstance(refusal, str) and refusal:
            return Reply("", f"it refused: {self.shown(refusal)}")
        if not isinstance(text, str) or not text.strip():
            return Reply("", "it answered nothing")
        if choice.get("finish_reason") == "length":
            return Reply("", "its answer was cut off at its limit of length")
        return Reply(text)


def _address(url: str) -> str:
    """An http(s) address without what may be secret or is lost when a path is added."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or parts.query or parts.fragment or not url.isprintable():
        raise GraftError(
            "OPENAI_BASE_URL is not the address of a server; expected http(s)://HOST[:PORT]/PATH without user, query "
            "or fragment, such as http://127.0.0.1:11434/v1; a key goes into OPENAI_API_KEY."
        )
    return url.rstrip("/")


def _error_text(body: bytes) -> str:
    """The message in an error's JSON, else the start of the body."""
    try:
        message = json.loads(body)["error"]
        return str(message["message"] if isinstance(message, dict) else message)
    except (ValueError, RecursionError, LookupError, TypeError):
        return body[:4096].decode("utf-8", "replace")
