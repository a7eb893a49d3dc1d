"""Arrays out of the bytes of a `.npy` file."""

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt


def array_of(content: bytes) -> npt.NDArray[Any]:
    """What `np.load` gives for a `.npy` file; the header, most of its time, is parsed once for all that share it.

    Raises:
        ValueError: it is cut off, no `.npy` file, not of version 1.0, of Fortran order, or of objects.
    """
    start = 10 + int.from_bytes(content[8:10], "little")
    shape, dtype = _header(content[:start])
    return np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)


@lru_cache(maxsize=1024)
def _header(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("vectors in a .npy file that is not of version 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran or dtype.hasobject:
        raise ValueError("vectors in a .npy file of Fortran order or of objects")
    return shape, dtype
