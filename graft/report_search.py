"""The searches of the demo, and what the report shows of them: first hits, and the land that is truly there."""

import csv
import shlex
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image

from graft.atlas.classes import IDS
from graft.atlas.geotiff import UNLABELLED
from graft.fit import read_rgb
from graft.prompts import load_prompts

SHOWN = 8
"""Pictures a search in the report; its verdict is on all that the command finds."""

_SIDE = 64
"""Pixels per side of a hit's picture: what the encoder sees."""

_MIN_VALID = 0.9
_BACKGROUND = "atlas"
"""What likeness is judged by: the small teacher knows no words but those of the embedded world."""


@dataclass(frozen=True)
class DemoSearch:
    """A search of the demo.

    Attributes:
        name: of the page that it leaves.
        words: what is looked for; "" for a photo alone.
        unwanted: what is not; "" for nothing.
        photo: picture to search with.
        subject: name of the class that the photo shows.
    """

    name: str
    words: str = ""
    unwanted: str = ""
    photo: Path | None = None
    subject: str = ""

    def command(self, index: Path) -> list[str]:
        """Arguments of `graft`."""
        words = [self.words] if self.words else []
        unwanted = [f"--not={self.unwanted}"] if self.unwanted else []
        photo = [] if self.photo is None else [f"--photo={self.photo}"]
        settings = [f"--min-valid={_MIN_VALID}", f"--background={_BACKGROUND}"]
        return ["search", str(index), *words, *unwanted, *photo, *settings]


def demo_searches(world: Path) -> list[DemoSearch]:
    """A class, two at once, the same without one of them, and a photo: the first that the world's gallery lists."""
    gallery = world / "benchmarks/test/gallery"
    with (gallery / "photos.csv").open(encoding="utf-8", newline="") as file:
        first = next(csv.DictReader(file))
    return [
        DemoSearch("beach", "beach"),
        DemoSearch("village_or_factory", "village or factory"),
        DemoSearch("without_factory", "village or factory", "factory"),
        DemoSearch("photo", photo=gallery / first["path"], subject=_name(IDS.index(first["subject"]))),
    ]


def search_section(world: Path, index: Path) -> dict[str, Any]:
    """What the report's template shows of the searches.

    Args:
        world: folder beside the index.
        index: of the world's test scenes.

    Returns:
        `rows` of the index, and `searches` with `command`, `verdict`, `photo`, `shows` and `hits` (`rank`, `likeness`,
        `picture`, `land`); pictures are PIL images.

    Raises:
        GraftError: no such index.
    """
    from graft.index.table import Index
    from graft.search.encode import read_query
    from graft.search.engine import search_index
    from graft.search.filters import Filters
    from graft.search.query import read_wishes
    from graft.search.thumbnails import thumbnails

    opened = Index.open(index)
    shown = []
    for search in demo_searches(world):
        photos = [] if search.photo is None else [str(search.photo)]
        wishes = read_wishes(search.words, [search.unwanted] if search.unwanted else [], photos)
        query, background = read_query(opened.card, wishes, background=_BACKGROUND)
        result = search_index(opened, query, filters=Filters(min_valid=_MIN_VALID), background=background)
        first = result.hits[:SHOWN]
        pictures, _ = thumbnails(first, opened, _SIDE)
        hits = [
            {
                "rank": hit.rank,
                "likeness": "" if hit.likeness is None else f"{hit.likeness:.2f}",
                "picture": None if pixels is None else Image.fromarray(pixels),
                "land": _land(world / "benchmarks/test/labels" / Path(hit.path).name, hit.window),
            }
            for hit, pixels in zip(first, pictures, strict=True)
        ]
        there = replace(search, photo=None if search.photo is None else search.photo.relative_to(index.parent))
        shown.append(
            {
                "command": shlex.join(["graft", *there.command(Path(index.name))]),
                "verdict": result.verdict,
                "photo": None if search.photo is None else Image.fromarray(read_rgb(search.photo)),
                "shows": search.subject,
                "hits": hits,
            }
        )
    return {"rows": len(opened), "searches": shown}


def _land(labels: Path, window: tuple[float, float, float, float]) -> str:
    """The class that covers most of a window of a scene and how much of it, e.g. `river 82 %`."""
    left, top, width, height = map(round, window)
    truth = _labels(labels)[top : top + height, left : left + width]
    known = truth[truth != UNLABELLED]
    if not known.size:
        return "cloud"
    counts = np.bincount(known)
    return f"{_name(int(counts.argmax()))} {100 * counts.max() / truth.size:.0f} %"


def _name(label: int) -> str:
    return load_prompts("atlas").names[label]


@cache
def _labels(path: Path) -> npt.NDArray[np.uint8]:
    with rasterio.open(path) as file:
        labels: npt.NDArray[np.uint8] = file.read(1)
    return labels
