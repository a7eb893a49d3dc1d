"""Files and folders that are either whole or absent."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graft.errors import GraftError, first_line


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced to disk and renamed to `path`.

    An exception inside the block removes the temporary file and leaves whatever stood at `path` untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside `out`; on success its files are synced and it is renamed to `out`.

    Raises:
        GraftError: something lies at `out` already, or it cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GraftError(f"{out} is there already. Give another --out, or remove it.")
    partial = out.absolute().with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                file.chmod(0o644)  # safetensors writes files that only their owner may read
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise GraftError(f"{out} cannot be written ({first_line(error)}). Give another --out.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """Write `value` as sorted, indented JSON, whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
