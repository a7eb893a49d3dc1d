"""One polite request for one photo, and what came of it."""

import hashlib
import io
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from PIL import Image

from graft.errors import GraftError, first_line, import_extra

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif", "TIFF": ".tif"}
_READERS = tuple(SUFFIXES.keys() - {"MPO"})  # Pillow finds an MPO out while it opens a JPEG
REFUSALS = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
ROBOT = "graft"
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
SLOWEST = 10
"""A file may take this many time-outs in all: a server that sends a byte now and then holds nobody for ever."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429})
_CHUNK = 1 << 16
_NO_IMAGE = ("text/", "video/", "audio/", "application/json", "application/xml", "application/xhtml")


@dataclass(frozen=True)
class Failure:
    """Why a photo did not come.

    Attributes:
        reason: under which it is counted.
        detail: what the server or the library said.
        again: when to ask for it again: "soon" (a fault that passes), at the "next run" of the command, or "never".
        wait: seconds for which the host asks to be left alone, 0 if it does not.
    """

    reason: str
    detail: str = ""
    again: Literal["soon", "next run", "never"] = "never"
    wait: float = 0.0


@dataclass(frozen=True)
class Redirect:
    """The photo is said to be at `url`."""

    url: str


@dataclass(frozen=True)
class Photo:
    """A whole image file.

    Attributes:
        body: its bytes.
        suffix: of a name that fits its format.
        sha256: hex digest of its bytes.
        width: in pixels, as stored.
        height: in pixels, as stored.
    """

    body: bytes
    suffix: str
    sha256: str
    width: int
    height: int


def host_of(url: str) -> str | None:
    """Host and port of an http(s) address; None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        return None
    return parts.hostname.lower() if port is None else f"{parts.hostname.lower()}:{port}"


def examine(body: bytes) -> Photo | Failure:
    """Decode an image file to its last row, so that one that breaks off is noticed."""
    try:
        with Image.open(io.BytesIO(body), formats=_READERS) as image:
            kind, (width, height) = str(image.format), image.size
            image.draft(None, (1, 1))  # a JPEG is read whole, at an eighth of the work in its inverse transform
            image.load()
    except Image.DecompressionBombError as error:
        return Failure("too many pixels", first_line(error))
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ValueError … for one fault
        return Failure("does not decode as an image", first_line(error), "soon")
    return Photo(body, SUFFIXES[kind], hashlib.sha256(body).hexdigest(), width, height)


def refused_by(headers: Iterable[str]) -> str | None:
    """The directive in `X-Robots-Tag` headers that keeps an image out of collections such as ours, if there is one.

    Args:
        headers: one string a header, e.g. "noai, noimageai" or "otherbot: noindex". A name before a colon is the
            robot that the directives after it are meant for.
    """
    for header in headers:
        meant_for = ""
        for part in header.lower().split(","):
            name, colon, value = (piece.strip() for piece in part.partition(":"))
            if not colon:
                value = name
            elif name not in _WITH_VALUE:
                meant_for = name
            if meant_for in ("", "*", ROBOT) and value in REFUSALS:
                return value
    return None


class Fetcher:
    """Makes single requests; redirects and retries are the caller's. Safe to use from several threads."""

    def __init__(self, *, contact: str, timeout: float, max_bytes: int) -> None:
        """State who asks, and the limits.

        Args:
            contact: address of a person, sent in the User-Agent.
            timeout: seconds to wait for a connection and for each piece of an answer.
            max_bytes: size of the largest file taken.

        Raises:
            GraftError: a contact that is neither a mail address nor a web address, or requests is not installed.
        """
        if not (contact.isascii() and contact.isprintable() and ("@" in contact or "://" in contact)):
            raise GraftError(
                f"--contact is {contact!r}; expected a mail or web address in ASCII, which the hosts see and can "
                "complain to."
            )
        self._requests: Any = import_extra("requests", "prepare")
        self._errors = (self._requests.RequestException, import_extra("urllib3", "prepare").exceptions.HTTPError)
        self._timeout, self._max_bytes = timeout, max_bytes
        self._headers = {
            "User-Agent": f"{ROBOT}/{version('graft')} (photos for research; {contact})",
            "Accept": "image/*",
            "Accept-Encoding": "identity",  # an image gains nothing, and its length is then the file's
        }
        self._local = threading.local()

    def get(self, url: str) -> Photo | Redirect | Failure:
        """Ask once. `url` must be an http(s) address."""
        try:
            with self._session().get(
                url, headers=self._headers, timeout=self._timeout, stream=True, allow_redirects=False
            ) as answer:
                return self._judge(url, answer)
        except self._requests.exceptions.InvalidURL as error:
            return Failure("not an http(s) address", first_line(error))
        except self._errors as error:
            return _broken(error)
        except UnicodeError as error:  # a host name that IDNA cannot spell
            return Failure("not an http(s) address", first_line(error))

    def _session(self) -> Any:
        """A session of this thread: connections are kept, cookies and the passwords of `.netrc` are not sent."""
        if not hasattr(self._local, "session"):
            session = self._requests.Session()
            session.auth = lambda request: request
            self._local.session = session
        self._local.session.cookies.clear()
        return self._local.session

    def _judge(self, url: str, answer: Any) -> Photo | Redirect | Failure:
        status = answer.status_code
        if status in _REDIRECTS and answer.headers.get("Location"):
            return Redirect(urljoin(url, answer.headers["Location"]))
        if status != 200:
            reason = f"HTTP {status} {answer.reason or ''}".rstrip()
            if status in _PASSING or status >= 500:
                return Failure(reason, "", "soon", _retry_after(answer.headers.get("Retry-After")))
            return Failure(reason)
        directive = refused_by(answer.raw.headers.getlist("X-Robots-Tag"))
        if directive:
            return Failure("refused by X-Robots-Tag", directive)
        kind = answer.headers.get("Content-Type", "")
        if kind.lower().startswith(_NO_IMAGE):
            return Failure("not an image", kind)
        return self._read(answer)

    def _read(self, answer: Any) -> Photo | Failure:
        length = answer.headers.get("Content-Length", "")
        too_large = Failure("larger than --max-mb", f"more than {self._max_bytes:,} bytes", "next run")
        if length.isdecimal() and int(length) > self._max_bytes:
            return too_large
        body, latest = bytearray(), time.monotonic() + SLOWEST * self._timeout
        for piece in _pieces(answer.raw):
            body += piece
            if len(body) > self._max_bytes:
                return too_large
            if time.monotonic() > latest:
                return Failure("timed out", f"not whole after {SLOWEST * self._timeout:g} s", "soon")
        return examine(bytes(body)) if body else Failure("empty answer", "", "soon")


def _pieces(raw: Any) -> Iterator[bytes]:
    """The body as it arrives: `read` would wait for a full chunk, however slowly it comes."""
    while piece := raw.read1(_CHUNK, decode_content=True):
        yield piece


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which holds a number or a date; 0 for neither."""
    urllib3 = import_extra("urllib3", "prepare")
    try:
        return float(urllib3.Retry().parse_retry_after(value)) if value else 0.0
    except urllib3.exceptions.InvalidHeader:
        return 0.0


def _broken(error: Exception) -> Failure:
    """What a library's exception means."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(cause)
    if any("timeout" in type(fault).__name__.lower() for fault in chain):
        return Failure("timed out", first_line(error), "soon")
    return Failure("connection failed or broke off", first_line(error), "soon")
