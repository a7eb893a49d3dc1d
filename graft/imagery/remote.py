"""Opening rasters by path or address."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

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

Result = TypeVar("Result")

_given_up: Counter[str] = Counter()
"""How often what GDAL keeps of an address was found bad."""


def is_remote(file: str) -> bool:
    """Whether a raster is named by an address."""
    return "://" in file or file.startswith("/vsi")


@contextmanager
def open_raster(file: str, *, sign: bool = False) -> Iterator[DatasetReader]:
    """Open a raster by path or address.

    Args:
        file: path or address.
        sign: whether to sign it for Planetary Computer if it lies on Azure.

    Raises:
        OSError: it does not open, or the signer does not answer.
    """
    if not is_remote(file):
        with rasterio.open(file) as dataset:
            yield dataset
        return
    address = import_extra("planetary_computer", "prepare").sign(file) if sign else file
    if _given_up[file] and address.startswith(("http://", "https://")):
        # GDAL keeps the bytes of a truncated answer as long as the process lives. They are kept under the address, and
        # a fragment is never sent: it makes the address a new one to GDAL and the same one to the server.
        address = f"/vsicurl/{address}#{_given_up[file]}"
    chosen = {name: value for name, value in REMOTE_SETTINGS.items() if name not in os.environ}
    with rasterio.Env(**chosen), rasterio.open(address) as dataset:
        yield dataset


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
