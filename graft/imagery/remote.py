"""Opening rasters by path or address."""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import rasterio
from rasterio.io import DatasetReader

from graft.errors import import_extra

REMOTE_SETTINGS = {
    # Only the bytes of a window are fetched: no folder listings, no sidecar files, blocks kept for the next window.
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "AWS_NO_SIGN_REQUEST": "YES",
    "GDAL_MAX_RAW_BLOCK_CACHE_SIZE": "200000000",
    "GDAL_SWATH_SIZE": "200000000",
    "VSI_CURL_CACHE_SIZE": "200000000",
    # A server that is busy, silent or slow is asked again.
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
}
"""GDAL's settings for addresses; an environment variable of the same name wins."""

ATTEMPTS = 4
PAUSE_S = 1.0

_BY_URL = "/vsicurl?url="
_NETWORK = re.compile(r"://|^/(vsi\w+/+)*vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(_streaming)?[/?]")
_ARCHIVE = re.compile(r"((?:/vsi\w+/)+)([^/]+)")

Result = TypeVar("Result")

_given_up: Counter[str] = Counter()
"""How often what GDAL keeps of an address was found bad."""


def is_remote(file: str) -> bool:
    """Whether the network is asked for a raster of this name."""
    return _NETWORK.search(file) is not None


def is_on_disk(file: str) -> bool:
    """Whether this is a path, and not a name that only GDAL understands."""
    return not (is_remote(file) or file.startswith("/vsi"))


def path_of(file: str) -> Path:
    """A raster's address as a path of GDAL's file systems, which a `Path` leaves as it is; a local file's own path."""
    address = file.removeprefix("/vsicurl/")
    if address.startswith(("http://", "https://")):
        return Path(_BY_URL + quote(address, safe=""))
    return Path(f"/vsis3/{file.removeprefix('s3://')}" if file.startswith("s3://") else file)


@contextmanager
def open_raster(file: str, *, sign: bool = False) -> Iterator[DatasetReader]:
    """Open a raster by path or address.

    Args:
        file: path or address.
        sign: whether to sign it for Planetary Computer if it lies on Azure.

    Raises:
        OSError: it does not open, or the signer does not answer.
    """
    if not is_remote(file) and not file.lower().endswith(".vrt"):  # a VRT may name addresses
        with rasterio.open(_whole(file)) as dataset:
            yield dataset
        return
    address = import_extra("planetary_computer", "prepare").sign(file) if sign else file
    if _given_up[file] and address.startswith(_BY_URL):
        address += f"%23{_given_up[file]}"
    elif _given_up[file] and address.startswith(("http://", "https://")):
        # GDAL keeps the bytes of a truncated answer as long as the process lives. They are kept under the address, and
        # a fragment is never sent: it makes the address a new one to GDAL and the same one to the server.
        address = f"/vsicurl/{address}#{_given_up[file]}"
    chosen = {name: value for name, value in REMOTE_SETTINGS.items() if name not in os.environ}
    with rasterio.Env(**chosen), rasterio.open(address) as dataset:
        yield dataset


def _whole(file: str) -> str:
    """/vsizip//folder/a.zip/b.tif, of which a `Path` made /vsizip/folder/a.zip/b.tif."""
    match = _ARCHIVE.match(file)
    if match and not Path(match[2]).exists() and Path("/", match[2]).exists():
        return f"{match[1]}/{file[match.end(1) :]}"
    return file


def persist(files: Sequence[str], work: Callable[[], Result]) -> Result:
    """What `work` returns; where it reads addresses and fails it is tried `ATTEMPTS` times, with growing pauses.

    Args:
        files: paths or addresses that it reads.
        work: is called once where all files are local.

    Raises:
        OSError: the last attempt's.
    """
    remote = [file for file in files if is_remote(file)]
    for attempt in range(ATTEMPTS - 1 if remote else 0):
        try:
            return work()
        except OSError:
            _given_up.update(remote)
            time.sleep(PAUSE_S * 2**attempt)
    return work()
