"""Samples as plain files."""

import shutil
from pathlib import Path

from tqdm import tqdm

from graft.errors import GraftError
from graft.shard_tools.look import find_sample
from graft.shard_tools.source import Catalogue, open_source


def extract(shards: Path, *, out: Path, samples: list[str | int] | None = None, field: str | None = None) -> int:
    """Write the members of samples to a folder, KEY.FIELD each.

    Args:
        shards: folder of shards.
        out: folder to make, other than the current one; it appears whole or not at all.
        samples: keys or numbers from 0; all if left out.
        field: the only member to write, such as json, tile.png or ground.npy; all if left out.

    Returns:
        Number of files.

    Raises:
        GraftError: no or damaged shards, no such sample, no sample with such a field, or a folder that is not empty.
    """
    if out.resolve() == Path.cwd():
        raise GraftError(f"--out {out} is the folder you are in; give the name of a new one, such as --out plain.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GraftError(f"{out} is there already; choose another --out, or remove it.")
    catalogue = Catalogue(open_source(shards), verify=True)
    if samples is None:
        numbers = list(range(len(catalogue)))
    else:
        numbers = list(dict.fromkeys(find_sample(catalogue, str(sample)) for sample in samples))
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files, seen = 0, set[str]()
    try:
        for number in tqdm(numbers, unit="sample", desc="extract"):
            for name, content in catalogue.read(number).items():
                seen.add(name)
                if field in (None, name):
                    (partial / f"{catalogue.keys[number]}.{name}").write_bytes(content)
                    files += 1
        if not files:
            raise GraftError(f"No sample has a field {field!r}; they have {', '.join(sorted(seen))}.")
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"{files:,} files of {len(numbers):,} samples written to {out}")
    return files
