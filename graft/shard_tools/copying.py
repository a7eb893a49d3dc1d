"""Copying samples to new shards, as the bytes they are, and the credits that belong to them."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from graft.errors import GraftError
from graft.files import atomic_path
from graft.prepare.samples import ShardCard
from graft.shard_tools.source import Catalogue, parse_meta

ATTRIBUTION = "ATTRIBUTION.csv"
SAMPLES_PER_SHARD = 1000

Index = dict[str, Any]


def check_apart(sources: Sequence[Path], outs: Sequence[Path]) -> None:
    """Refuse to write to a folder that is read."""
    for source in sources:
        if source.resolve() in [out.resolve() for out in outs]:
            raise GraftError(f"{source} is what is read; choose another --out.")


def check_positive(flag: str, value: float) -> None:
    """Refuse a size that is none."""
    if not value > 0:
        raise GraftError(f"--{flag} is {value:g}; it must be above 0.")


def shuffled(keys: Sequence[str], seed: int) -> list[int]:
    """Numbers in an order that depends on seed and keys alone, not on how they lay in shards."""
    ranks = [hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest() for key in keys]
    return sorted(range(len(keys)), key=lambda number: (ranks[number], keys[number]))


def provenance(verb: str, settings: Mapping[str, Any], catalogues: Sequence[Catalogue]) -> dict[str, Any]:
    """How new shards come about, without paths: the same samples give the same bytes wherever they lie."""
    earlier = [catalogue.source.build for catalogue in catalogues]
    return {"command": f"graft shards {verb}", "settings": dict(settings), "from": earlier}


def write_shards(
    samples: Iterable[tuple[Catalogue, int]],
    number: int,
    out: Path,
    card: ShardCard,
    per_shard: int,
    build: Mapping[str, Any],
    *,
    overwrite: bool,
    relabel: bool = False,
) -> Index:
    """Write samples to new shards, which appear in `out` all at once.

    Args:
        samples: catalogue and number of each, in the order of the new shards.
        number: of samples.
        out: folder.
        card: of the new shards.
        per_shard: samples in a shard.
        build: see `provenance`.
        overwrite: replace shards that are there already.
        relabel: name the card's split in each sample's json, which is otherwise left as it is.

    Returns:
        The content of the new `index.json`.
    """
    from graft.prepare.shards import ShardBuilder

    with ShardBuilder(out, card, samples_per_shard=per_shard, overwrite=overwrite) as builder:
        for catalogue, place in tqdm(samples, total=number, unit="sample", desc=out.name):
            key, members = catalogue.keys[place], catalogue.read(place)
            meta = parse_meta(key, members)
            if relabel:
                content = json.dumps({**meta, "split": card.split}, sort_keys=True, ensure_ascii=False)
                members["json"] = content.encode()
            builder.write_members(key, members, len(meta["photos"]))
        index = builder.finish(build)
    print(f"{number:,} samples in {len(index['shards']):,} shards written to {out}")
    return index


def carry_credits(catalogues: Sequence[Catalogue], out: Path) -> None:
    """Put the credits that licences ask for beside the new shards too, each row once."""
    files = [file for catalogue in catalogues if (file := _credits(catalogue.source.folder)) is not None]
    if not files:
        return
    written: set[bytes] = set()
    with atomic_path(out / ATTRIBUTION) as partial, partial.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target, lineterminator="\n")
        for row in (row for file in files for row in _rows(file)):
            digest = hashlib.blake2b(json.dumps(row).encode(), digest_size=12).digest()
            if digest not in written:
                written.add(digest)
                writer.writerow(row)


def _credits(folder: Path) -> Path | None:
    """`graft prepare` writes them once for all its splits, in the folder above them."""
    return next((place / ATTRIBUTION for place in (folder, folder.parent) if (place / ATTRIBUTION).is_file()), None)


def _rows(file: Path) -> Iterator[list[str]]:
    with file.open(newline="", encoding="utf-8") as source:
        yield from csv.reader(source)
