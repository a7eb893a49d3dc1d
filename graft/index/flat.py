"""The vectors of an index as a flat file that is mapped into memory: what exact search scans."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from graft.errors import GraftError, first_line
from graft.files import atomic_path
from graft.index.address import is_local, s3_endpoint
from graft.index.table import Index
from graft.tally import in_bytes

TOLERANCE = 0.005  # of a vector's length; fp16 rounds it by at most 0.0005
CHECKED = 8  # rows compared with the table when a file is found
ROWS = 65536


@dataclass(frozen=True)
class FlatVectors:
    """The vectors of one version of an index, mapped read-only.

    Attributes:
        vectors: float16 [N, D], of unit length, in the order of `Index.batches`.
        row_ids: uint64 [N], ids in the table.
    """

    vectors: npt.NDArray[np.float16]
    row_ids: npt.NDArray[np.uint64]


def flat_vectors(index: Index) -> FlatVectors:
    """The vectors of an index, copied into a flat file where that is not done yet.

    LanceDB takes a second to scan a million vectors, a mapped file a twentieth. The files, 2 D + 8 bytes a tile, lie in
    `IDX/flat`, or for an index on S3 or one that may not be written, in the user's cache ($XDG_CACHE_HOME/graft/flat,
    by default ~/.cache/graft/flat). Those of earlier versions are removed; who has one mapped keeps it until it ends.
    Processes that come at the same time wait for the one that copies.

    Raises:
        GraftError: no room or no right to write, or vectors that are not of unit length.
    """
    folder = flat_folder(index)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            found = _open(folder, index)
            if found is None:
                _write(folder, index)
                found = _open(folder, index)
            if found is None:
                raise GraftError(f"The index at {index.address} was changed while it was read: start again.")
            _remove_older(folder, index)
            return found
    except OSError as error:
        needed = in_bytes(len(index) * (2 * index.card.dim + 8))
        raise GraftError(
            f"The vectors of {index.address} ({needed}) cannot be copied to {folder}: {first_line(error)}. Make room, "
            "or for an index that is not in a folder of yours set XDG_CACHE_HOME to a place with room."
        ) from error


def carry_over(before: Index, after: Index) -> None:
    """Rename the flat files of one version to a later one with the same rows, so that they need not be copied again.

    For who commits under the writers' lock and knows that no row changed.
    """
    folder = flat_folder(before)
    if folder.is_dir():
        with _locked(folder):
            for old, new in zip(_names(before), _names(after), strict=True):
                if (folder / old).exists():
                    (folder / old).replace(folder / new)


def flat_folder(index: Index) -> Path:
    """Where the flat files of an index lie."""
    if is_local(index.address) and os.access(index.address, os.W_OK):
        return Path(index.address) / "flat"
    local = is_local(index.address)
    where = str(Path(index.address).resolve()) if local else f"{s3_endpoint() or ''} {index.address}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "graft" / "flat" / hashlib.sha256(where.encode()).hexdigest()[:16]


def _names(index: Index) -> tuple[str, str]:
    return f"vectors-{index.id}-{index.version}.npy", f"rows-{index.id}-{index.version}.npy"


def _open(folder: Path, index: Index) -> FlatVectors | None:
    """The files of the index's version, if they are there and hold what the table holds."""
    vectors, rows = (folder / name for name in _names(index))
    count = len(index)
    if not (vectors.exists() and rows.exists()):
        return None
    try:
        flat = FlatVectors(np.load(vectors, mmap_mode="r"), np.load(rows, mmap_mode="r"))
    except (ValueError, EOFError):  # not what this module writes
        return None
    shapes = (flat.vectors.shape, flat.row_ids.shape)
    if shapes != ((count, index.card.dim), (count,)) or flat.vectors.dtype != np.float16:
        return None
    # A backup that was put back and added to comes to the same version with other rows at its end.
    places = np.unique(np.linspace(0, count - 1, min(CHECKED, count)).astype(int))
    try:
        stored = index.take(flat.row_ids[places], ["vector"]) if count else None
    except GraftError:
        return None
    same = stored is None or np.array_equal(_matrix(stored["vector"].combine_chunks(), index), flat.vectors[places])
    return flat if same else None


def _write(folder: Path, index: Index) -> None:
    vectors, rows = (folder / name for name in _names(index))
    count = len(index)
    with (
        atomic_path(vectors) as vectors_to,
        atomic_path(rows) as rows_to,
        vectors_to.open("wb") as vector_file,
        rows_to.open("wb") as row_file,
        tqdm(total=count, desc="flat copy of the vectors", unit="tile", leave=False) as bar,
    ):
        _header(vector_file, (count, index.card.dim), np.dtype(np.float16))
        _header(row_file, (count,), np.dtype(np.uint64))
        for batch in index.batches(["vector"], rows=ROWS):
            part = _matrix(batch["vector"], index)
            _check_lengths(part, batch["_rowid"].to_numpy(), index)
            # Not through a mapping: a full disk would kill the process.
            vector_file.write(part.tobytes())
            row_file.write(batch["_rowid"].to_numpy().tobytes())
            bar.update(len(part))


def _header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _matrix(column: Any, index: Index) -> npt.NDArray[np.float16]:
    """An Arrow column of lists of equal length as float16 [n, D]."""
    values: npt.NDArray[np.float16] = column.flatten().to_numpy()
    return values.reshape(-1, index.card.dim)


def _check_lengths(vectors: npt.NDArray[np.float16], row_ids: npt.NDArray[np.uint64], index: Index) -> None:
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    wrong = row_ids[~(np.abs(lengths - 1) < TOLERANCE)]  # NaN too
    if len(wrong):
        first = index.take(wrong[:1], ["source_id", "path"]).to_pylist()[0]
        raise GraftError(
            f"{len(wrong):,} vectors of the index at {index.address} are not of unit length, as graft index writes "
            f"them; the first is of {first['path']}. Remove its source (graft indexes remove {index.address} "
            f"{first['source_id']}) and index it again."
        )


def _remove_older(folder: Path, index: Index) -> None:
    """Remove the files of earlier versions, and of an index that was there before."""
    for path in [*folder.glob("vectors-*.npy"), *folder.glob("rows-*.npy")]:
        name, _, version = path.stem.rpartition("-")
        if not name.endswith(f"-{index.id}") or int(version) < index.version:
            path.unlink(missing_ok=True)
    for path in folder.glob(".*.partial"):  # of a process that was killed: whoever writes holds the lock
        path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
