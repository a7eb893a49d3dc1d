"""A lock on S3: an object that its owner renews, by conditional writes that only one of two rivals gets through."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from graft.errors import GraftError, first_line, import_extra
from graft.index.address import s3_endpoint

logger = logging.getLogger(__name__)

RENEW_S = 15.0
SAFE_S = 30.0
"""An owner that has not renewed its lock for so long begins no commit, so that a commit has the time left to end."""

STALE_S = 60.0
"""A lock that was not renewed for so long has no owner any more."""

_LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict")
_TRIES = 4


class Lease:
    """A lock that must be renewed.

    Each write of the object asks that it be as last seen (If-Match, or If-None-Match where there was none), so that a
    takeover and the owner's own renewal cannot both succeed. Its age is told by the server's clock alone. It is never
    deleted but marked as free, as there is no conditional deletion everywhere.

    Args:
        address: of what is locked, for messages.
        path: bucket/key of the object.
        owner: who asks, in plain JSON types; for whoever is refused.
    """

    def __init__(self, address: str, path: str, owner: Mapping[str, Any]) -> None:
        self._address = address
        self._bucket, self._key = path.split("/", 1)
        self._owner = dict(owner) | {"token": uuid.uuid4().hex}
        self._tag = ""
        self._count = 0
        self._renewed = (0.0, 0.0)
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="graft-lease", daemon=True)
        import_extra("s3fs", "remote")
        self._faults = (OSError, import_extra("botocore.exceptions", "remote").BotoCoreError)
        waits = {"connect_timeout": 10.0, "read_timeout": 15.0, "retries": {"total_max_attempts": 3}}
        self._system = import_extra("fsspec", "remote").filesystem(
            "s3", endpoint_url=s3_endpoint(), config_kwargs=waits
        )

    def acquire(self) -> tuple[bytes, float] | None:
        """Get the lock and keep it renewed.

        Returns:
            None, or the owner's description and the seconds until its lock is free.

        Raises:
            GraftError: no answer, no such bucket, no right to write, or a server without conditional writes.
        """
        try:
            for _ in range(_TRIES):
                seen = self._read()
                if seen is not None:
                    content, tag, age_s = seen
                    holder = _parsed(content)
                    if holder.get("token") == self._owner["token"]:  # written, but the answer was lost on its way
                        self._tag, self._renewed = tag, _clocks()
                        break
                    if not holder.get("free") and age_s <= STALE_S:  # whole seconds: the sixtieth is not over
                        return content, STALE_S - age_s
                if self._write({"IfMatch": seen[1]} if seen else {"IfNoneMatch": "*"}):
                    break
            else:
                raise GraftError(f"Others ask for {self._address} at the same moment: try again.")
        except self._faults as error:
            raise GraftError(
                f"The index at {self._address} cannot be locked: {first_line(error).rstrip('.')}."
            ) from error
        self._thread.start()
        return None

    def check(self) -> None:
        """Raise a GraftError if the lock is another's, or may soon be; before a commit."""
        if self._lost or self._age_s() > SAFE_S:
            raise GraftError(
                f"The lock of {self._address} was lost: it could not be renewed for {SAFE_S:.0f} s. What was "
                "committed is kept; start again when no other process writes there."
            )

    def check_after(self) -> None:
        """Raise a GraftError if the lock may have become another's during a commit."""
        if self._lost or self._age_s() > STALE_S:
            raise GraftError(
                f"The lock of {self._address} was lost during a commit, so that another process may have written the "
                "same tiles. When none writes there any more, remove what both indexed (graft indexes remove) and "
                "start again."
            )

    def release(self) -> None:
        """Give the lock back; a server that does not answer is only warned of, as the lock ends by itself."""
        self._ended.set()
        self._thread.join()
        if self._lost:
            return
        try:
            self._write({"IfMatch": self._tag}, free=True)
        except self._faults as error:
            logger.warning("the lock of %s ends by itself in %.0f s: %s", self._address, STALE_S, first_line(error))

    def _age_s(self) -> float:
        """Seconds since the last renewal by the clock that says more: one can be set back, one stops in sleep."""
        return max(now - then for now, then in zip(_clocks(), self._renewed, strict=True))

    def _keep(self) -> None:
        while not self._lost and not self._ended.wait(RENEW_S):
            try:
                if not self._write({"IfMatch": self._tag}):
                    seen = self._read()
                    self._lost = seen is None or _parsed(seen[0]).get("token") != self._owner["token"]
                    if seen is not None:
                        self._tag = seen[1]
            except self._faults as error:
                logger.warning("the lock of %s could not be renewed: %s", self._address, first_line(error))

    def _read(self) -> tuple[bytes, str, float] | None:
        """Content, tag and age in seconds of the object, or None."""
        try:
            answer = self._system.call_s3("get_object", Bucket=self._bucket, Key=self._key)
            content = self._body(answer)
        except FileNotFoundError:
            return None
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return content, answer["ETag"], (now - answer["LastModified"]).total_seconds()

    def _body(self, answer: Mapping[str, Any]) -> bytes:
        return bytes(import_extra("fsspec.asyn", "remote").sync(self._system.loop, answer["Body"].read))

    def _write(self, condition: Mapping[str, str], *, free: bool = False) -> bool:
        """Write the object on a condition; False if that does not hold."""
        self._count += 1  # else a renewal would leave the tag as it was
        content = self._owner | {"count": self._count, "free": free}
        asked = _clocks()
        try:
            answer = self._system.call_s3(
                "put_object", Bucket=self._bucket, Key=self._key, Body=json.dumps(content).encode(), **condition
            )
        except OSError as error:
            response = getattr(error.__cause__, "response", None) or {}
            if response.get("Error", {}).get("Code") in _LOST_RACE:
                return False
            raise
        self._tag, self._renewed = answer["ETag"], asked
        return True


def _clocks() -> tuple[float, float]:
    return time.time(), time.monotonic()


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
