"""A folder that appears whole, after it was checked."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graft.errors import GraftError, first_line


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
