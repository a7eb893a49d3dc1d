"""Questions about pieces of a scene, in the layouts of RSVQA, answered exactly from the polygons of the world.

The templates, the choice of words and their slips ("a orchard", "quarrys", two spaces after "the") are those of RSVQA's
own generator (Lobry et al. 2020, `ConstructQuestions.py`); the answers come from `shapely` and know nothing of the
programs in `graft.vqa`. What differs, and why:

- objects are drawn evenly, present or not, so that "yes" is no safe guess;
- of the attributes only the sizes are drawn: outlines of parcels are neither square nor round;
- relations are drawn for a tenth of the objects, not a fiftieth; what they mean is the generator's: all of an object
  lies above, below, left or right of the centre of the other's box, or the two are nearer than 1,000 m;
- an object is a connected part (4 neighbours) of at least `LEAST` pixels, the minimum mapping unit: what a border
  between two parcels cuts off is no lake;
- a piece is urban where built-up area covers more than `URBAN` of it: the world has no single buildings.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
from pyproj import Proj
from shapely import Point, Polygon, box, union_all
from shapely.geometry import shape

from graft.atlas.benchmarks import CLOUDED, display
from graft.atlas.classes import IDS
from graft.atlas.geotiff import write_band
from graft.atlas.overhead import Scene
from graft.atlas.sizes import CRS, Region
from graft.files import atomic_path
from graft.sensors import Sensor

PIECE = 256
"""Pixels per side of a piece."""
LEAST = 256
"""Pixels of the smallest object, the minimum mapping unit."""
URBAN = 0.2
"""Share of built-up area above which a piece is urban."""
NEXT_TO_M = 1000
"""Metres between edges below which objects are next to each other, as in RSVQA."""
CONCEPTS: dict[str, tuple[str, ...]] = {
    "forest": ("Forest",),
    "meadow": ("Meadow",),
    "orchard": ("Orchard",),
    "farmland": ("Cropland",),
    "residential area": ("Residential",),
    "industrial area": ("Industrial",),
    "road": ("Highway",),
    "quarry": ("Quarry",),
    "river": ("River",),
    "lake": ("Lake",),
    "wetland": ("Wetland",),
    "beach": ("Beach",),
    "water area": ("River", "Lake"),
    "built-up area": ("Residential", "Industrial"),
    "green space": ("Forest", "Meadow", "Orchard"),
}
"""What is asked about, and the classes of land that it is made of."""
LAYOUTS = {"sentinel": ("LR", "Images_LR"), "naip": ("USGS", "Data")}
"""By sensor, what RSVQA's lists begin with and the folder of the images: low resolution at 10 m, high at 1 m."""
NUMBERS = {
    "sentinel": {"rural_urban": 1, "presence": 12, "count": 11, "comp": 16},
    "naip": {"presence": 10, "count": 10, "comp": 12, "area": 8},
}
"""Questions of each type about a piece."""

_ATTRIBUTE, _RELATION, _SLIP = 0.1, 0.1, 0.1
_SIZES = {"small": (0.0, 100.0), "medium": (100.0, 500.0), "large": (500.0, float("inf"))}
"""Square metres."""
_TIE = 1e-6
"""Metres within which two places are one: edges and centres of boxes lie on halves of pixels."""
_RELATIONS: dict[str, Callable[[Polygon, Polygon], bool]] = {
    "at the top of": lambda one, other: one.bounds[1] > _middle(other).y + _TIE,
    "on the right of": lambda one, other: one.bounds[0] > _middle(other).x + _TIE,
    "at the bottom of": lambda one, other: one.bounds[3] < _middle(other).y - _TIE,
    "on the left of": lambda one, other: one.bounds[2] < _middle(other).x - _TIE,
    "next to": lambda one, other: one.distance(other) < NEXT_TO_M,
}


@dataclass(frozen=True)
class Asked:
    """A piece and what is asked about it.

    Attributes:
        image: its entry in the list of images, less the ids of its questions.
        questions: (type, question, answer).
    """

    image: dict[str, Any]
    questions: tuple[tuple[str, str, str], ...]


def pieces_of(scene: int) -> int:
    """Number of pieces in a square scene of so many pixels per side, those under cloud included."""
    return len(_starts(scene)) ** 2


def _starts(scene: int) -> list[int]:
    """First pixels of the pieces along one side: they cover it, and overlap where it is no multiple of a piece."""
    number = max(round(scene / PIECE), 1)
    return [k * (scene - PIECE) // max(number - 1, 1) for k in range(number)]


def write_pieces(root: Path, region: Region, scene: Scene, first: int) -> list[Asked]:
    """Cut a region into pieces and ask about each; those with clouds or missing data are left out.

    The clearest piece is always taken, so that no world is without questions.

    Args:
        root: folder of the questions; gets the images, uint8 RGB GeoTIFF as displayed, and `labels/`, the true land
            cover as class indices, both by id.
        region: the place.
        scene: its first scene.
        first: id of the region's first piece; a piece that is left out keeps its id, which stays unused.

    Returns:
        The pieces in the order of their ids.
    """
    images = root / LAYOUTS[region.sensor.name][1]
    for folder in (images, root / "labels"):
        folder.mkdir(parents=True, exist_ok=True)
    shown, asked, starts = display(region, scene), [], _starts(region.scene)
    windows = [np.s_[row : row + PIECE, column : column + PIECE] for row, column in product(starts, starts)]
    clear = [float(scene.clear[window].mean()) for window in windows]
    for number, window in enumerate(windows):
        if clear[number] <= 1 - CLOUDED and number != clear.index(max(clear)):
            continue
        row, column = window[0].start, window[1].start
        cover, transform = scene.land.cover[window], region.transform(column, row)
        _write_rgb(images / f"{first + number}.tif", shown[window], region, row, column)
        write_band(root / "labels" / f"{first + number}.tif", cover, transform)
        west, north = region.utm(column, row)
        image = {
            "id": first + number,
            "original_name": f"{region.name}_{column}-{row}.tif",
            "sensor": region.sensor.name,
            "upperleft_map_x": west,
            "upperleft_map_y": north,
            "res_x": f"{region.sensor.gsd_m:g}m",
            "res_y": f"{region.sensor.gsd_m:g}m",
            "active": True,
        }
        land = Land(cover, region, row, column)
        asked.append(Asked(image, ask(land, region.dice(f"vqa/{number}"), NUMBERS[region.sensor.name])))
    return asked


def write_lists(root: Path, split: str, sensor: Sensor, asked: Mapping[str, Sequence[Asked]], images: int) -> None:
    """Write images, questions and answers of one split, three lists in which an id is a place.

    As in RSVQA's own files the ids of other splits, and of pieces that were left out, are filled with entries that are
    not active.

    Args:
        root: folder of the questions.
        split: whose entries are active.
        sensor: what looks at the world.
        asked: of all splits, in the order of their ids.
        images: ids in use or left out.
    """
    lists: dict[str, list[dict[str, Any]]] = {
        "images": [{"id": number, "active": False} for number in range(images)],
        "questions": [],
        "answers": [],
    }
    for name, pieces in asked.items():
        for piece in pieces:
            ids = range(len(lists["questions"]), len(lists["questions"]) + len(piece.questions))
            if name == split:
                lists["images"][piece.image["id"]] = piece.image | {"questions_ids": [*ids]}
            for number, (kind, text, answer) in zip(ids, piece.questions, strict=True):
                about = {"date_added": 0, "img_id": piece.image["id"], "people_id": 0, "type": kind, "question": text}
                question = {"id": number, **about, "answers_ids": [number], "active": True}
                given = {"id": number, "date_added": 0, "question_id": number, "people_id": 0, "answer": answer}
                stub = {"id": number, "active": False}
                lists["questions"].append(question if name == split else stub)
                lists["answers"].append(given | {"active": True} if name == split else stub)
    for name, entries in lists.items():
        with atomic_path(root / f"{LAYOUTS[sensor.name][0]}_split_{split}_{name}.json") as path:
            path.write_text(json.dumps({name: entries}) + "\n", encoding="utf-8")


class Land:
    """The polygons of a piece, in true metres.

    Args:
        cover: uint8 [H, W], class indices.
        region: the place.
        row: of the scene, the first of the piece.
        column: likewise.
    """

    def __init__(self, cover: npt.NDArray[np.uint8], region: Region, row: int = 0, column: int = 0) -> None:
        gsd, side = region.sensor.gsd_m, len(cover)
        to_degrees = Proj(CRS)
        centre = to_degrees(*region.utm(column + side / 2, row + side / 2), inverse=True)
        scale = float(to_degrees.get_factors(*centre).areal_scale)  # a square metre on the ground, on the map
        true = scale**-0.5
        self.pixel_m2 = (gsd * true) ** 2
        transform = rasterio.Affine(gsd * true, 0, 0, 0, -gsd * true, 0)
        outlines: dict[str, list[Polygon]] = {name: [] for name in IDS}
        for outline, value in rasterio.features.shapes(cover, transform=transform):
            outlines[IDS[int(value)]].append(shape(outline))
        self.shares = {name: sum(part.area for part in parts) for name, parts in outlines.items()}
        self.shares = {name: area / self.pixel_m2 / cover.size for name, area in self.shares.items()}
        self.objects: dict[str, tuple[Polygon, ...]] = {}
        for concept, classes in CONCEPTS.items():
            parts = [part for name in classes for part in outlines[name]]
            whole = parts if len(classes) == 1 else list(getattr(union_all(parts), "geoms", [union_all(parts)]))
            large = (part for part in whole if round(part.area / self.pixel_m2) >= LEAST)
            self.objects[concept] = tuple(large)


@dataclass(frozen=True)
class _Drawn:
    """Words for some objects, with the space before them that RSVQA's generator puts there, and the objects."""

    words: str
    concept: str
    things: tuple[Polygon, ...]


def ask(land: Land, dice: random.Random, numbers: Mapping[str, int]) -> tuple[tuple[str, str, str], ...]:
    """Questions about a piece, so many of each type and no two alike: (type, question, answer)."""
    asked: list[tuple[str, str, str]] = []
    for kind, number in numbers.items():
        seen: set[tuple[str, ...]] = set()
        while len(seen) < number:
            about, text, answer = _KINDS[kind](land, dice)
            if about in seen:
                continue
            seen.add(about)
            asked.append((kind, text + (" in the image?" if dice.random() < _SLIP else "?"), answer))
    return tuple(asked)


def _draw(land: Land, dice: random.Random, *, plural: bool, apart_from: str = "", related: bool = True) -> _Drawn:
    """Objects of a concept, perhaps of one size, perhaps in relation to others.

    `apart_from` is a concept that this one shares no class with, so that nothing is compared with itself.
    """
    taken = set(CONCEPTS.get(apart_from, ()))
    concept = dice.choice([name for name, classes in CONCEPTS.items() if taken.isdisjoint(classes)])
    words, things = f" {concept}{'s' if plural else ''}", land.objects[concept]
    if dice.random() < _ATTRIBUTE:
        size = dice.choice(list(_SIZES))
        words = f" {size}{words}"
        things = tuple(thing for thing in things if _SIZES[size][0] <= thing.area < _SIZES[size][1])
    if related and dice.random() < _RELATION:
        relation = dice.choice(list(_RELATIONS))
        other = _draw(land, dice, plural=False, apart_from=concept, related=False)
        words += f" {relation} {'the' if len(other.things) == 1 else 'a'} {other.words}"
        things = tuple(one for one in things if any(_RELATIONS[relation](one, thing) for thing in other.things))
    return _Drawn(words, concept, things)


def _presence(land: Land, dice: random.Random) -> tuple[tuple[str, ...], str, str]:
    some = _draw(land, dice, plural=False)
    text = dice.choice((f"Is there a{some.words}", f"Is a{some.words} present"))
    return (some.words,), text, _yes(bool(some.things))


def _count(land: Land, dice: random.Random) -> tuple[tuple[str, ...], str, str]:
    some = _draw(land, dice, plural=True)
    forms = ("How many{} are there", "What is the number of{}", "What is the amount of{}")
    return (some.words,), dice.choice(forms).replace("{}", some.words), str(len(some.things))


def _comp(land: Land, dice: random.Random) -> tuple[tuple[str, ...], str, str]:
    one = _draw(land, dice, plural=True)
    other = _draw(land, dice, plural=True, apart_from=one.concept)
    a, b, form = len(one.things), len(other.things), dice.choice(("less", "more", "equal"))
    text = f"Are there {form}{one.words} than{other.words}"
    if form == "equal":
        text = f"Is the number of{one.words} equal to the number of{other.words}"
    return (form, one.words, other.words), text, _yes({"less": a < b, "more": a > b, "equal": a == b}[form])


def _area(land: Land, dice: random.Random) -> tuple[tuple[str, ...], str, str]:
    some = _draw(land, dice, plural=True)
    area = sum(thing.area for thing in some.things)
    return (some.words,), f"What is the area covered by{some.words}", f"{int(area)}m2"


def _rural_urban(land: Land, _: random.Random) -> tuple[tuple[str, ...], str, str]:
    built = sum(land.shares[name] for name in CONCEPTS["built-up area"])
    return (), "Is it a rural or an urban area", "urban" if built > URBAN else "rural"


_KINDS: dict[str, Callable[[Land, random.Random], tuple[tuple[str, ...], str, str]]] = {
    "presence": _presence,
    "count": _count,
    "comp": _comp,
    "area": _area,
    "rural_urban": _rural_urban,
}


def _middle(one: Polygon) -> Point:
    return box(*one.bounds).centroid


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


def _write_rgb(path: Path, pixels: npt.NDArray[np.uint8], region: Region, row: int, column: int) -> None:
    height, width, bands = pixels.shape
    place = {"crs": CRS, "transform": region.transform(column, row), "dtype": "uint8"}
    layout = {"compress": "deflate", "zlevel": 1, "photometric": "RGB"}
    with rasterio.open(path, "w", driver="GTiff", height=height, width=width, count=bands, **place, **layout) as file:
        file.write(pixels.transpose(2, 0, 1))
