"""The page: one HTML file that holds its own pictures, and the same numbers as JSON beside it."""

from collections import Counter
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, select_autoescape

from graft import __version__
from graft.audit.figures import draw_bands, draw_clear, draw_photos, draw_times, draw_view
from graft.audit.findings import Level, percent, share, worst
from graft.audit.map import draw_map
from graft.audit.run import Audit
from graft.audit.sheets import make_sheets
from graft.data_uri import png_uri
from graft.errors import GraftError, first_line
from graft.files import atomic_path, write_json
from graft.tally import in_bytes

_SHOWN_NAMES = 12


def check_out(out: Path) -> None:
    """Refuse a page that could not be written after hours of reading; makes its folder.

    Raises:
        GraftError: with what to give instead.
    """
    if out.is_dir():
        raise GraftError(f"--out {out} is a folder; give the name of the page to write, such as {out / 'audit.html'}.")
    if out.suffix.lower() != ".html":
        raise GraftError(f"--out {out} does not end in .html; the JSON beside the page has its name with .json.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Rights alone do not tell: the file system may be read-only, or full.
        with TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise GraftError(f"--out {out} cannot be written: {first_line(error)}. Choose another --out.") from error


def write_page(found: Audit, out: Path, shards: Path, sample: float) -> None:
    """Write `out`, and `audit.json` by its name beside it.

    Args:
        found: everything that was found.
        out: HTML file.
        shards: what was looked at.
        sample: share of samples that were decoded.
    """
    level = worst(found.checks)
    write_json(
        out.with_suffix(".json"),
        {
            "version": 1,
            "graft": __version__,
            "shards": str(shards),
            "level": level.value,
            "sample": sample,
            "splits": {card.name: _split(found, number) for number, card in enumerate(found.cards)},
            "checks": [check.to_json() for check in found.checks],
        },
    )
    templates = Environment(loader=PackageLoader("graft"), autoescape=select_autoescape(default=True))
    html = templates.get_template("audit.html.j2").render(
        name=shards.resolve().name if shards.name != "shards" else f"{shards.resolve().parent.name}/{shards.name}",
        level=level.value,
        verdict=_verdict(found),
        facts=_facts(found),
        groups=[(group, list(checks)) for group, checks in groupby(found.checks, key=lambda check: check.group)],
        figures=_figures(found),
        licences=_named(found.notes.licences, "none stated"),
        sources=_named(found.notes.sources, "none stated"),
        sheets=make_sheets(found.table, found.cards, found.words),
        cards=found.cards,
        sample=percent(sample),
        version=__version__,
    )
    with atomic_path(out) as partial:
        partial.write_text(html, encoding="utf-8")


def _split(found: Audit, number: int) -> dict[str, Any]:
    card, tiles = found.cards[number], found.table.tiles["split"] == number
    return {
        "folder": str(card.folder),
        "sensor": card.sensor,
        "teacher": card.teacher,
        "tile_size": card.tile_size,
        "shards": len(card.shards),
        "bytes": sum(shard.bytes for shard in card.shards),
        "tiles": int(tiles.sum()),
        "photos": int(found.table.tiles["photos"][tiles].sum()),
    }


def _verdict(found: Audit) -> str:
    counts = Counter(check.level for check in found.checks)
    faults, warnings = counts[Level.FAULT], counts[Level.WARNING]
    told = f"{warnings} warning{'s' * (warnings != 1)}"
    if faults:
        return f"{faults} fault{'s' * (faults != 1)}, {told}: do not train on these shards yet"
    return f"No fault, {told}" if warnings else "No fault, no warning"


def _facts(found: Audit) -> list[tuple[str, str]]:
    table, cards = found.table, found.cards
    if not cards:
        return []
    photos = len(np.unique(table.photos["id"]))
    facts = [
        (f"{len(table.tiles):,}", "tiles"),
        (f"{photos:,}", "photos"),
        (f"{share(len(table.photos), len(table.tiles)):.2f}", "photos a tile"),
        (
            in_bytes(sum(shard.bytes for card in cards for shard in card.shards)),
            f"in {sum(len(c.shards) for c in cards)} shards",
        ),
        (", ".join(sorted({card.sensor for card in cards})), f"sensor, {cards[0].tile_size} px tiles"),
    ]
    if len(cards) > 1:
        facts.append((str(len(cards)), "splits: " + ", ".join(card.name for card in cards)))
    return facts


def _figures(found: Audit) -> dict[str, str]:
    """Data URIs by name; a figure that has nothing to show is left out."""
    table = found.table
    drawn: dict[str, bytes | None] = {}
    if len(table.tiles):
        drawn["map"] = draw_map(table, [card.name for card in found.cards])
        drawn["times"] = draw_times(table)
    if len(table.photos):
        drawn["photos"] = draw_photos(table, [card.tile_size for card in found.cards])
        if found.words is not None:
            drawn["view"] = draw_view(table, found.words)
    if found.notes.decoded:
        drawn["bands"] = draw_bands(found.notes, table)
        drawn["cover"] = draw_clear(table)
    return {name: png_uri(picture) for name, picture in drawn.items() if picture is not None}


def _named(counts: Counter[str], unnamed: str) -> list[tuple[str, str, str]]:
    total = counts.total()
    rows = [(name or unnamed, f"{number:,}", percent(share(number, total))) for name, number in counts.most_common()]
    more = len(rows) - _SHOWN_NAMES
    return rows[:_SHOWN_NAMES] + ([(f"and {more} more", "", "")] if more > 0 else [])
