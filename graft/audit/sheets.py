"""Contact sheets: tiles with the positions of their photos, read from the shards again."""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from graft.audit.cards import SplitCard
from graft.audit.check_pixels import outlyingness
from graft.audit.notes import Words
from graft.audit.repeats import repeated
from graft.audit.rows import NO_PHRASE, Table
from graft.audit.scan import read_sample
from graft.data_uri import data_uri

_ROW = 12
_PHOTOS = 4
_PHOTO_SIDE = 112
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, SyntaxError, tarfile.TarError, Image.DecompressionBombError)


@dataclass(frozen=True)
class Tile:
    """One tile of a contact sheet.

    Attributes:
        name: split and key.
        note: why it is shown.
        side: of the tile in pixels.
        picture: data URI.
        dots: x and y of its photos in tile pixels, with 1 for those that are meant, 0 for the others.
        photos: data URIs of the first few photos, empty where none are stored.
    """

    name: str
    note: str
    side: int
    picture: str
    dots: list[tuple[float, float, int]]
    photos: list[str]


@dataclass(frozen=True)
class Sheet:
    """A row of tiles under a heading."""

    title: str
    about: str
    tiles: list[Tile]


def make_sheets(table: Table, cards: Sequence[SplitCard], words: Words | None) -> list[Sheet]:
    """Sheets of tiles as they come, and of the worst: darkest, brightest, oddest, most nodata, most photos, copies."""
    tiles = table.tiles
    sheets = [
        Sheet(title, about, [tile for row, note in chosen if (tile := _read(row, note, table, cards)) is not None])
        for title, about, chosen in _choices(table)
    ]
    if words is not None and len(tiles):
        sheets += _views(table, cards, words)
    return [sheet for sheet in sheets if sheet.tiles]


def _choices(table: Table) -> Iterator[tuple[str, str, list[tuple[int, str]]]]:
    tiles = table.tiles
    decoded = np.flatnonzero(np.isfinite(tiles["mean"][:, 0]))
    brightness = np.asarray(tiles["mean"].mean(axis=1))
    # Keys' hashes are as good as a draw, and the same in every run.
    drawn = decoded[np.argsort(tiles["key"][decoded], kind="stable")[: 2 * _ROW]]
    yield "As they come", "Drawn by a hash of the key. Dots are photos.", [(int(row), "") for row in drawn]
    far = outlyingness(table)
    worst = np.nan_to_num(np.fmax(np.asarray(tiles["black"]), np.asarray(tiles["nodata"])))
    cloudy = np.nan_to_num(np.asarray(tiles["cloudy"]))
    for title, about, values, note, chosen in (
        ("Darkest", "Mean display value.", -brightness, lambda row: f"{brightness[row]:.0f}", decoded),
        ("Brightest", "Mean display value.", brightness, lambda row: f"{brightness[row]:.0f}", decoded),
        (
            "Oddest",
            "Robust deviations of brightness, colour or contrast from the rest.",
            far,
            lambda row: f"{far[row]:.1f}",
            decoded,
        ),
        ("Least contrast", "Deviation of display values.", -tiles["std"].mean(axis=1), _contrast(table), decoded),
        ("Most without data", "", worst, lambda row: f"{worst[row]:.1%}", np.flatnonzero(worst > 0)),
        ("Most clouds", "", cloudy, lambda row: f"{cloudy[row]:.1%}", np.flatnonzero(cloudy > 0)),
        ("Most photos", "", tiles["photos"], lambda row: f"{tiles['photos'][row]} photos", decoded),
    ):
        order = chosen[np.argsort(-np.asarray(values, np.float64)[chosen], kind="stable")[:_ROW]]
        yield title, about, [(int(row), note(row)) for row in order]
    pairs = repeated(tiles["pixels"]).pairs[: _ROW // 2]
    yield "The same pixels twice", "", [(row, "") for pair in pairs for row in pair]


def _contrast(table: Table) -> Any:
    return lambda row: f"{table.tiles['std'][row].mean():.1f}"


def _views(table: Table, cards: Sequence[SplitCard], words: Words) -> list[Sheet]:
    """For each class the photo that the teacher is surest of; and the photos that are near no phrase."""
    photos = table.photos
    known = np.flatnonzero(photos["phrase"] != NO_PHRASE)
    classes = words.owner[photos["phrase"][known]]
    counts = np.bincount(classes, minlength=len(words.classes))
    surest: list[tuple[int, str]] = []
    for number in np.argsort(-counts, kind="stable")[:_ROW]:
        mine = known[classes == number]
        if len(mine):
            best = mine[np.argmax(photos["probability"][mine])]
            surest.append((int(best), f"{words.classes[number]} {photos['probability'][best]:.0%}"))
    order = known[np.argsort(photos["cosine"][known], kind="stable")]
    _, first = np.unique(photos["id"][order], return_index=True)
    farthest = [(int(row), f"cosine {photos['cosine'][row]:.2f}") for row in order[np.sort(first)[:_ROW]]]
    return [
        Sheet(title, about, [tile for row, note in rows if (tile := _read_photo(row, note, table, cards)) is not None])
        for title, about, rows in (
            (
                "Surest, class by class",
                "The photo meant is the filled dot; beside the tile where it is stored.",
                surest,
            ),
            ("Near no phrase", "Photos whose best phrase is farthest: something that the words do not name.", farthest),
        )
    ]


def _read_photo(row: int, note: str, table: Table, cards: Sequence[SplitCard]) -> Tile | None:
    """The tile of a photo, with that photo alone beside it."""
    tile = int(table.photos["tile"][row])
    first = int(np.searchsorted(table.photos["tile"], tile))
    return _read(tile, note, table, cards, only=row - first)


def _read(row: int, note: str, table: Table, cards: Sequence[SplitCard], only: int | None = None) -> Tile | None:
    """A tile of a row; None where it cannot be read, which a check has told of."""
    kept = table.tiles[row]
    card = cards[kept["split"]]
    try:
        key, members = read_sample(card.folder / card.shards[kept["shard"]].file, int(kept["offset"]))
        meta = json.loads(members["json"])
        picture = Image.open(io.BytesIO(members.get("tile.png") or members["tile.jpg"])).convert("RGB")
        dots = [(float(p["x"]), float(p["y"]), int(only is None or k == only)) for k, p in enumerate(meta["photos"])]
        stored = sorted(name for name in members if name.startswith("ground") and name.endswith(".jpg"))
        wanted = stored[:_PHOTOS] if only is None else stored[only : only + 1]
        photos = [_photo(members[name]) for name in wanted]
    except _UNREADABLE:
        return None
    name = f"{card.name}/{key}" if len(cards) > 1 else key
    return Tile(name, note, card.tile_size, data_uri(picture), dots, photos)


def _photo(content: bytes) -> str:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
    return data_uri(image, lossless=False)
