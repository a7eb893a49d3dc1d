"""One writer of an index at a time, on whatever machine."""

import fcntl
import getpass
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from graft.errors import GraftError
from graft.index.address import index_address, is_local
from graft.index.lease import Lease

LOCK_NAME = ".lock"

_held: dict[str, Lease | None] = {}
_registry = threading.Lock()


@contextmanager
def writer_lock(address: str | Path) -> Iterator[None]:
    """Hold an index against other writers; readers need no lock.

    A folder, made if need be, is held by a lock on its `.lock` that ends with the process, however that ends. A prefix
    on S3 is held by an object `.lock` that is made, renewed and given back by conditional writes; one that has not
    been renewed for `graft.index.lease.STALE_S` seconds is taken over, and its owner's next commit is refused.

    Raises:
        GraftError: another process, or this one, is writing there; or the place cannot be written.
    """
    where = index_address(address)
    key = _key(where)
    with _registry:
        if key in _held:
            raise GraftError(f"This process is already writing to {where}: let it finish first.")
        _held[key] = None
    try:
        with _locked_folder(where) if is_local(where) else _leased(where):
            yield
    finally:
        with _registry:
            del _held[key]


def has_lock(address: str | Path) -> bool:
    """Whether this process holds the lock of an index."""
    return _key(index_address(address)) in _held


@contextmanager
def guarded(address: str) -> Iterator[None]:
    """A commit: this process must not lose the lock of the index to another writer before or during it.

    Raises:
        GraftError: it has.
    """
    lease = _held.get(address)
    if lease is not None:
        lease.check()
    yield
    if lease is not None:
        lease.check_after()


def _key(address: str) -> str:
    return str(Path(address).resolve()) if is_local(address) else address


@contextmanager
def _locked_folder(folder: str) -> Iterator[None]:
    path = Path(folder) / LOCK_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise GraftError(f"The index at {folder} cannot be written ({error}). Give another --out.") from error
    try:
        try:
            # Of the process, not of the open file as with flock: forked workers that outlive a kill do not hold it.
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise GraftError(f"{_told(folder, os.pread(handle, 4096, 0))} Wait until it ends, or stop it.") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(_myself()).encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def _leased(address: str) -> Iterator[None]:
    lease = Lease(address, f"{address.removeprefix('s3://')}/{LOCK_NAME}", _myself())
    holder = lease.acquire()
    if holder is not None:
        content, free_in_s = holder
        raise GraftError(
            f"{_told(address, content)} Wait until it ends; if it was killed, its lock is free in {free_in_s:.0f} s."
        )
    _held[address] = lease
    try:
        yield
    finally:
        lease.release()


def _myself() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        user = str(os.getuid())
    since = datetime.now(UTC).isoformat(" ", "seconds")
    return {"user": user, "host": socket.gethostname(), "pid": os.getpid(), "since": since}


def _told(address: str, content: bytes) -> str:
    """Who writes since when."""
    try:
        writer = json.loads(content)
        who = f"process {writer['pid']} of {writer['user']} on {writer['host']}, since {writer['since']}"
    except (ValueError, KeyError, TypeError):
        who = "its name is not yet known"
    return f"Another process is writing to {address}: {who}."
