"""Checks of what the workers counted: files, samples, and what the index says of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from graft.audit.cards import SplitCard
from graft.audit.findings import Check, Level, from_tally
from graft.audit.notes import Notes
from graft.audit.rows import Table
from graft.tally import Tally

_AGAIN = "Copy the shards again, or build them again with graft prepare --overwrite."
_BUILD = "Build the shards again with graft prepare: training leaves such samples out and stops at 1 % of them."
# check: (group, noun, what to say if all is well, what to do)
_COUNTED = {
    "bytes": ("Files", "shards", "size and sha256 of every shard are those of the index", _AGAIN),
    "tars": ("Files", "tars or members", "every tar that is there is whole", _AGAIN),
    "members": ("Files", "members", "every member is KEY.FIELD", _BUILD),
    "counts": ("Files", "shards", "samples and photos of every shard are as many as the index says", _AGAIN),
    "keys": ("Samples", "keys", "", "Give every sample a key of its own: graft prepare does."),
    "json": ("Samples", "samples", "every json has what training reads, of the right type", _BUILD),
    "tiles": ("Samples", "tiles that", "every tile decodes, RGB and of the size in the index", _BUILD),
    "pictures": ("Samples", "", "every stored photo decodes", _BUILD),
    "privacy": ("Samples", "", "no stored photo carries EXIF, comments or profiles", _BUILD),
    "vectors": (
        "Samples",
        "samples whose vectors",
        "every sample has finite float16 vectors of unit length, one a photo",
        _BUILD,
    ),
    "teacher": (
        "Samples",
        "samples that",
        "every sample names the teacher of the index",
        "Build all shards with one teacher: vectors of two do not compare.",
    ),
}


def check_counted(notes: Notes, cards: Sequence[SplitCard], table: Table, share: float) -> list[Check]:
    """One check for each kind of damage that a worker can see in a sample alone."""
    checks = []
    _repeated_keys(table, cards, notes)
    for name, (group, noun, fine, remedy) in _COUNTED.items():
        tally = notes.faults.get(name)
        if _does_not_apply(name, cards) and tally is None:
            continue
        numbers: dict[str, Any] = {}
        if name == "counts":
            numbers = {"samples": len(table.tiles), "photos": len(table.photos)}
        if name == "keys":
            fine = f"{len(table.tiles):,} keys and tile ids, each once"
        if name in ("tiles", "pictures", "vectors"):
            numbers = {"share_looked_at": share}
        looked = notes.looked[name]
        checks.append(
            from_tally(group, name, tally, looked=looked, noun=noun, fine=fine, remedy=remedy, numbers=numbers)
        )
    return checks


def _does_not_apply(name: str, cards: Sequence[SplitCard]) -> bool:
    pictures = any(card.photos_stored for card in cards)
    vectors = any(card.teacher is not None for card in cards)
    return (name in ("pictures", "privacy") and not pictures) or (name in ("vectors", "teacher") and not vectors)


def _repeated_keys(table: Table, cards: Sequence[SplitCard], notes: Notes) -> None:
    """Keys name samples across all shards of a split, and so do tile ids."""
    for number, card in enumerate(cards):
        mine = table.tiles["split"] == number
        for column, reason in (("key", "used twice in {}"), ("tile_id", "whose tile_id is used twice in {}")):
            values = np.sort(table.tiles[column][mine])
            values = values[values != 0]
            notes.add("keys", reason.format(card.name), number=int((values[1:] == values[:-1]).sum()))


def check_strays(cards: Sequence[SplitCard]) -> Check:
    """Tars beside the index that it does not list."""
    strays = Tally()
    for card in cards:
        listed = {shard.file for shard in card.shards}
        for path in sorted(card.folder.glob("*.tar")):
            if path.name not in listed:
                strays.add("not listed in the index", f"{card.name}/{path.name}")
    return from_tally(
        "Files",
        "strays",
        strays,
        looked=len(cards),
        noun="tars",
        fine="no tar lies beside those of the index",
        remedy="Remove them: training does not read them, other tools might.",
        level=Level.WARNING,
    )


def check_alike(cards: Sequence[SplitCard]) -> Check | None:
    """Splits that are used together have one sensor, tile size and teacher; None with one split."""
    if len(cards) < 2:
        return None
    differ = Tally()
    for name in ("sensor", "radiometry", "tile_size", "teacher", "photos_stored"):
        found = [_feature(card, name) for card in cards]
        if len(set(found)) > 1:
            differ.add(name, ", ".join(f"{card.name} {value}" for card, value in zip(cards, found, strict=True)))
    return from_tally(
        "Splits",
        "alike",
        differ,
        looked=len(cards),
        noun="difference between splits:",
        fine="all splits have one sensor, rendering, tile size and teacher",
        remedy="Build the splits in one run of graft prepare.",
    )


def _feature(card: SplitCard, name: str) -> str:
    if name == "teacher" and card.teacher is not None:
        return str(card.teacher["identity"][:16])
    return str(getattr(card, name))
