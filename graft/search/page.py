"""Hits as a page: one HTML file that holds its own pictures and maps, and opens without a network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image, ImageOps

from graft import __version__
from graft.data_uri import data_uri
from graft.files import atomic_path
from graft.fit import UNREADABLE
from graft.search.hits import LIKE, Hit, SearchResult
from graft.search.maps import covered_area, draw_maps
from graft.search.outline import degrees
from graft.search.thumbnails import thumbnails

if TYPE_CHECKING:
    from graft.index.table import Index

SIDE = 224
MOST_SHOWN = 500
"""Hits on a page: each brings a picture of up to 100 kB."""

_PHOTO_SIDE = 260


@dataclass(frozen=True)
class Card:
    """A hit as the page shows it.

    Attributes:
        hit: what was found.
        picture: data URI; None where it could not be read.
        like: whether it is like the query.
        place: position in words; "" for a tile without one.
        date: day, or "" where it is not known.
        file: name of the file, or of the shard and the sample.
        about: name and value of what else is known.
    """

    hit: Hit
    picture: str | None
    like: bool
    place: str
    date: str
    file: str
    about: list[tuple[str, str]]

    @property
    def alt(self) -> str:
        """The picture in words, for those who do not see it."""
        told = ["Satellite tile", f"at {self.place}" if self.place else "without a place", self.date]
        return ", ".join(part for part in told if part)


def write_page(result: SearchResult, index: "Index", out: Path) -> None:
    """Write hits as one HTML file: query and verdict, maps, a picture of each hit with what is known of it.

    It loads nothing from anywhere. The same result over the same sources gives the same bytes.

    Args:
        result: of a search; its first `MOST_SHOWN` hits are shown.
        index: that was searched; pictures come from its sources.
        out: file to write, whole or not at all.
    """
    facts = _facts(result)
    result = replace(result, hits=result.hits[:MOST_SHOWN])
    pictures, unread = thumbnails(result.hits, index, SIDE)
    cards = [
        _card(hit, None if pixels is None else data_uri(Image.fromarray(pixels)))
        for hit, pixels in zip(result.hits, pictures, strict=True)
    ]
    photos = [(path.name, _photo(path)) for path in result.query.photos]
    templates = Environment(loader=PackageLoader("graft"), autoescape=select_autoescape(default=True))
    html = templates.get_template("search.html.j2").render(
        result=result,
        found=any(card.like for card in cards),
        judged=any(card.hit.likeness is not None for card in cards),
        like=LIKE,
        facts=facts,
        photos=photos,
        maps=draw_maps(result.hits, covered_area(index)),
        placeless=sum(hit.geometry is None for hit in result.hits),
        cards=cards,
        unread=[
            f"{number:,} {reason} ({', '.join(unread.examples[reason])})" for reason, number in unread.counts.items()
        ],
        version=__version__,
    )
    with atomic_path(out) as partial:
        partial.write_text(html, encoding="utf-8")


def _facts(result: SearchResult) -> list[tuple[str, str]]:
    days = sorted(hit.datetime[:10] for hit in result.hits if hit.datetime)
    found = len(result.hits)
    more = found > MOST_SHOWN
    facts = [
        (f"{min(found, MOST_SHOWN):,}", f"of {found:,} hits shown, a GeoJSON or CSV has all" if more else "hits shown"),
        (
            f"{result.searched:,}",
            f"of {result.rows:,} tiles searched" if result.searched < result.rows else "tiles searched",
        ),
    ]
    if days:
        facts.append((days[0], "taken" if days[0] == days[-1] else f"to {days[-1]}, when they were taken"))
    return facts


def _photo(path: Path) -> str | None:
    """The photo of a query, upright; None where it has gone since."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except UNREADABLE:
        return None
    upright.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
    return data_uri(upright, lossless=False)


def _card(hit: Hit, picture: str | None) -> Card:
    placed = hit.lat is not None and hit.lon is not None
    place = f"{degrees(hit.lat or 0.0, 'NS')}, {degrees(hit.lon or 0.0, 'EW')}" if placed else ""
    name = hit.path.rpartition("/")[2]
    known: Sequence[tuple[str, Any]] = (
        ("file", hit.path),
        ("sample", hit.item or None),
        ("window", "column {:g}, row {:g}, {:g} x {:g} px".format(*hit.window)),
        ("lat, lon", f"{hit.lat:.6f}, {hit.lon:.6f}" if placed else None),
        ("EPSG", hit.epsg),
        ("taken", hit.datetime),
        ("pixel", None if hit.gsd_m is None else f"{hit.gsd_m:.3g} m"),
        ("data", None if hit.valid is None else f"{hit.valid:.0%}"),
        ("cloud", None if hit.cloud is None else f"{hit.cloud:.0%}"),
        ("tile", hit.id),
    )
    return Card(
        hit=hit,
        picture=picture,
        like=(hit.likeness or 0.0) >= LIKE,
        place=place,
        date=(hit.datetime or "")[:10],
        file=f"{name}: {hit.item}" if hit.item else name,
        about=[(label, str(value)) for label, value in known if value is not None],
    )
