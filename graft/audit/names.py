"""Names of rows, for examples: rows hold hashes, so a name is read from its shard again."""

import json
import tarfile
from collections.abc import Iterable, Sequence

from graft.audit.cards import SplitCard
from graft.audit.rows import Table
from graft.audit.scan import read_sample

SHOWN = 5
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, tarfile.TarError)


def tile_name(table: Table, cards: Sequence[SplitCard], row: int) -> str:
    """Split and key of a tile, or split and shard where it cannot be read again."""
    return _read(table, cards, row)[0]


def photo_name(table: Table, cards: Sequence[SplitCard], row: int) -> str:
    """Split, key and id of a photo."""
    tile = int(table.photos["tile"][row])
    name, members = _read(table, cards, tile)
    # Photos lie in the order of their tiles.
    number = row - int(table.photos["tile"].searchsorted(tile))
    try:
        return f"{name}, photo {json.loads(members['json'])['photos'][number]['id']}"
    except _UNREADABLE:
        return name


def pair_names(
    table: Table, cards: Sequence[SplitCard], pairs: Iterable[tuple[int, int]], *, photos: bool
) -> list[str]:
    """The first few pairs of rows, by name."""
    name = photo_name if photos else tile_name
    return [" = ".join(name(table, cards, row) for row in pair) for pair in list(pairs)[:SHOWN]]


def _read(table: Table, cards: Sequence[SplitCard], row: int) -> tuple[str, dict[str, bytes]]:
    tile = table.tiles[row]
    card = cards[tile["split"]]
    file = card.shards[tile["shard"]].file
    try:
        key, members = read_sample(card.folder / file, int(tile["offset"]))
    except _UNREADABLE:
        return f"{card.name}/{file}", {}
    return f"{card.name}/{key}", members
