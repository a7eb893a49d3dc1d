"""Files at an address, http(s):// or s3://: fetched whole and checked, with time-outs and further tries."""

import errno
import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graft.errors import GraftError, first_line, import_extra

logger = logging.getLogger(__name__)

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")
_KNOWN = ("http", "https", "s3")
_LONGEST_PAUSE_S = 60.0
_TOLD_FROM = 3  # the try from which on a user is told why nothing moves
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class FetchError(Exception):
    """A file that could not be fetched, after all tries; the message names file and address."""


def is_address(source: Path | str) -> bool:
    """Whether `source` is an address rather than a local path.

    Raises:
        GraftError: an address of a kind that is not read, or with a user or password in it.
    """
    scheme = _SCHEME.match(str(source))
    if scheme is None:
        return False
    host = str(source)[scheme.end() :].split("/")[0]
    if "@" in host:
        shown = f"{scheme[0]}...@{host.rsplit('@', 1)[1]}"
        raise GraftError(
            f"{shown} has a user or password in it, and addresses are saved and shown: put credentials into "
            "environment variables (AWS_*) or data.init_args.storage_options."
        )
    if scheme[1] not in _KNOWN:
        raise GraftError(
            f"{source} is an address of kind {scheme[1]}://, graft reads {', '.join(f'{name}://' for name in _KNOWN)} "
            "and local folders: copy or mount it, and give the folder."
        )
    return True


def local_folder(where: str) -> Path:
    """The folder at a path.

    Raises:
        GraftError: it is an address.
    """
    if is_address(where):
        raise GraftError(f"The shards at {where} are not on this machine: copy them, and give the folder.")
    return Path(where)


class Remote:
    """A folder at an address.

    Connections are made when first needed, anew in every process, so that an object may be handed to forked and
    spawned workers alike.

    Args:
        address: `http://`, `https://` or `s3://`, then the folder.
        options: further arguments of the `fsspec` file system of that kind, such as `anon` or `endpoint_url` of S3.
        connect_s: longest wait for a connection, in seconds.
        read_s: longest silence of a server, in seconds.
        tries: how often a file is asked for before it is given up.
        pause_s: wait before the second try, in seconds; doubled before each further one, up to a minute.

    Raises:
        GraftError: the address is not one that `is_address` lets pass.
    """

    def __init__(
        self,
        address: str,
        options: Mapping[str, Any] | None = None,
        *,
        connect_s: float = 10.0,
        read_s: float = 30.0,
        tries: int = 8,
        pause_s: float = 1.0,
    ) -> None:
        is_address(address)
        self.address = address.rstrip("/")
        self._options = dict(options or {})
        self._connect_s, self._read_s, self._tries, self._pause_s = connect_s, read_s, tries, pause_s
        self._opened: tuple[int, Any, dict[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def fetch(self, name: str, path: Path, check: Callable[[Path], str | None]) -> None:
        """Write the file `name` to `path`.

        Args:
            name: of a file in the folder.
            path: where to; what stands there is overwritten, and after a failure may be part of the file.
            check: says what is wrong with the file that came, or None.

        Raises:
            FetchError: it did not come whole in any try, does not exist, or the disk is full.
            GraftError: a package of the extra `remote` is missing, or the options are not the file system's.
        """
        system, how = self._system()
        pause = self._pause_s
        for number in range(1, self._tries + 1):
            try:
                system.get_file(f"{self.address}/{name}", str(path), **how)
                fault = check(path)
            except (FileNotFoundError, PermissionError) as error:
                raise FetchError(f"{name} could not be fetched from {self.address}: {first_line(error)}") from error
            except GraftError:
                raise
            except Exception as error:  # every back end of fsspec raises errors of its own
                if isinstance(error, OSError) and error.errno in _FULL:
                    raise FetchError(f"{name} could not be written to {path.parent}: {first_line(error)}") from error
                fault = f"{type(error).__name__}: {first_line(error)}"
            if fault is None:
                return
            if number < self._tries:
                level = logging.INFO if number < _TOLD_FROM else logging.WARNING
                logger.log(level, "%s from %s, try %d of %d: %s", name, self.address, number, self._tries, fault)
                time.sleep(pause * random.uniform(0.5, 1.0))  # workers that failed together do not come back together
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise FetchError(f"{name} could not be fetched from {self.address} in {self._tries} tries: {fault}")

    def _system(self) -> tuple[Any, dict[str, Any]]:
        """The file system of this process, and how to ask it for a file."""
        if self._opened is None or self._opened[0] != os.getpid():
            try:
                self._opened = (os.getpid(), *self._open())
            except (TypeError, ValueError) as error:
                raise GraftError(
                    f"data.init_args.storage_options do not fit {self.address}: {first_line(error)}."
                ) from error
        return self._opened[1:]

    def _open(self) -> tuple[Any, dict[str, Any]]:
        fsspec = import_extra("fsspec", "remote")
        if self.address.startswith("s3://"):
            import_extra("s3fs", "remote")
            config = {
                "connect_timeout": self._connect_s,
                "read_timeout": self._read_s,
                "retries": {"total_max_attempts": 1},
            }
            options = self._options | {"config_kwargs": config | self._options.get("config_kwargs", {})}
            system = fsspec.filesystem("s3", skip_instance_cache=True, **options)
            system.retries = 2  # within a try: s3fs goes on where a body broke off
            return system, {"max_concurrency": 1}  # else 50 MB blocks, ten at a time, are held in memory
        aiohttp = import_extra("aiohttp", "remote")
        waits = aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s, sock_read=self._read_s)
        options = self._options | {"client_kwargs": {"timeout": waits} | self._options.get("client_kwargs", {})}
        return fsspec.filesystem("http", skip_instance_cache=True, **options), {}
