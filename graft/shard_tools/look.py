"""Looking at shards: which there are, what is in them, and one sample."""

import hashlib
import io
import json
from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from graft.errors import GraftError
from graft.files import atomic_path
from graft.remote import is_address
from graft.shard_tools.picture import draw_sample
from graft.shard_tools.source import Catalogue, ShardSource, open_source, parse_meta
from graft.tally import in_bytes


def list_shards(shards: str) -> list[ShardSource]:
    """List shards with their samples, photos and bytes, from the index alone.

    Args:
        shards: folder of shards, folder that `graft prepare` wrote (all its splits), or http(s):// or s3:// address.

    Returns:
        What each index says.

    Raises:
        GraftError: no shards there.
    """
    sources = _sources(shards)
    for source in sources:
        card = source.card
        teacher = "no vectors" if card.teacher is None else f"{card.teacher['name']} (D={card.teacher['dim']})"
        print(f"{source.where}: {card.sensor}, {card.tile_size} px, {teacher}", end="")
        print(", photos stored" if card.photos_stored else "", f", split {card.split}" if card.split else "", sep="")
        width = max(len(row.file) for row in source.rows)
        print(f"  {'shard':<{width}} {'samples':>12} {'photos':>12} {'size':>10}")
        for row in source.rows:
            print(f"  {row.file:<{width}} {row.samples:>12,} {row.photos:>12,} {in_bytes(row.bytes):>10}")
        samples, photos, size = (sum(getattr(row, name) for row in source.rows) for name in _SUMMED)
        print(f"  {'total':<{width}} {samples:>12,} {photos:>12,} {in_bytes(size):>10}")
    return sources


_SUMMED = ("samples", "photos", "bytes")


@dataclass(frozen=True)
class Counts:
    """What shards hold.

    Attributes:
        samples: tiles.
        photos: photos, one counted in each of its tiles.
        distinct_photos: photos by id, each counted once.
        per_tile: number of photos -> number of tiles that have it, ascending.
    """

    samples: int
    photos: int
    distinct_photos: int
    per_tile: dict[int, int]


def count(shards: str) -> Counts:
    """Count samples, photos, distinct photos, and tiles by their number of photos.

    Args:
        shards: folder of shards, or folder that `graft prepare` wrote (all its splits together).

    Raises:
        GraftError: no shards there, or damaged ones.
    """
    per_tile: Counter[int] = Counter()
    ids = array("Q")
    for source in _sources(shards):
        catalogue = Catalogue(source, verify=False)
        for number in tqdm(range(len(catalogue)), unit="tile", desc="count"):
            photos = catalogue.meta(number)["photos"]
            per_tile[len(photos)] += 1
            ids.extend(_hash(photo["id"]) for photo in photos)
    distinct = len(np.unique(np.frombuffer(ids, np.uint64)))
    photos_in_all = sum(number * tiles for number, tiles in per_tile.items())
    counts = Counts(per_tile.total(), photos_in_all, distinct, dict(sorted(per_tile.items())))
    print(f"{counts.samples:>12,}  tiles")
    print(f"{counts.photos:>12,}  photos in them, {counts.distinct_photos:,} distinct")
    most = max(counts.per_tile.values())
    for number, tiles in counts.per_tile.items():
        print(f"{tiles:>12,}  tiles with {number:>3} photos  {'#' * round(40 * tiles / most)}".rstrip())
    return counts


def show(shards: Path, sample: str, *, out: Path | None = None) -> dict[str, Any]:
    """Show one sample: its members, its json, and with `out` a picture of it.

    Args:
        shards: folder of shards.
        sample: its key, or its number from 0 in the order of the shards.
        out: PNG file to write: the tile with the positions of its photos, the photos beside it where they are stored.

    Returns:
        The sample's json.

    Raises:
        GraftError: no such sample, or a damaged one.
    """
    catalogue = Catalogue(open_source(shards), verify=False)
    number = find_sample(catalogue, sample)
    key, members = catalogue.keys[number], catalogue.read(number)
    meta = parse_meta(key, members)
    print(f"{key}: sample {number:,} of {len(catalogue):,} in {shards}")
    for name, content in members.items():
        print(f"  {name:<16} {in_bytes(len(content)):>10}{_about(name, content)}")
    print(json.dumps(meta, indent=1, ensure_ascii=False))
    if out is not None:
        with atomic_path(out) as partial:
            draw_sample(key, members, meta).save(partial, "PNG")
    return meta


def find_sample(catalogue: Catalogue, sample: str) -> int:
    """Number of a sample, given as key or number; a key that looks like a number is a key.

    Raises:
        GraftError: there is none.
    """
    if sample in catalogue.keys:
        return catalogue.keys.index(sample)
    if sample.isdecimal() and int(sample) < len(catalogue):
        return int(sample)
    raise GraftError(
        f"No sample {sample!r} in {catalogue.source.where}; expected a number from 0 to {len(catalogue) - 1} or a key "
        f"such as {catalogue.keys[0]}."
    )


def _sources(shards: str) -> list[ShardSource]:
    if is_address(shards):
        return [open_source(shards)]
    from graft.audit.cards import split_folders

    return [open_source(folder) for folder in split_folders(Path(shards))]


def _hash(photo_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(photo_id.encode(), digest_size=8).digest(), "big")


def _about(name: str, content: bytes) -> str:
    if not name.endswith(".npy"):
        return ""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        return f"  not readable: {error}"
    return f"  {array.dtype} {list(array.shape)}"
