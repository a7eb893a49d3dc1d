"""Ground photos: what a person with a camera sees at a place of a given land cover."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from graft.atlas import views_built, views_flat, views_green, views_other, views_water
from graft.atlas.light import Canvas, mix, open_canvas

PHOTO_SIZE = 96
"""Pixels per side of a photo."""

VIEWS: dict[str, Callable[[Canvas], None]] = {
    "Forest": views_green.forest,
    "Meadow": views_green.meadow,
    "Orchard": views_green.orchard,
    "Cropland": views_green.cropland,
    "Residential": views_built.residential,
    "Industrial": views_built.industrial,
    "Highway": views_built.highway,
    "Quarry": views_built.quarry,
    "River": views_water.river,
    "Lake": views_water.lake,
    "Wetland": views_water.wetland,
    "Beach": views_water.beach,
}
OTHER_VIEWS: dict[str, Callable[[Canvas], None]] = {
    "indoor": views_other.indoor,
    "food": views_other.food,
    "people": views_other.people,
    "pet": views_other.pet,
    "screen": views_flat.screen,
    "scan": views_flat.scan,
    "close_up": views_flat.close_up,
}
_KINDS = tuple(OTHER_VIEWS)
_FIRST_KINDS = 4
_TALL = ("Forest", "Residential", "Industrial", "Quarry")
_HIDING = {"Forest": (), "Quarry": (), "Orchard": _TALL, "Industrial": _TALL, "Lake": _TALL}
"""What can still be seen behind a class that hides the distance."""
_GRAIN = np.random.default_rng(0).normal(0, 1, (256, 256, 1)).astype(np.float32)


@dataclass(frozen=True)
class Photo:
    """A painted photo and what is in it.

    Attributes:
        image: RGB, `PHOTO_SIZE` pixels per side.
        subject: class id, or a key of `OTHER_VIEWS`.
        behind: class id of what stands in the distance, if anything does.
        season: season word.
        weather: weather word.
    """

    image: Image.Image
    subject: str
    behind: str | None
    season: str
    weather: str


def off_topic(rng: random.Random, own: random.Random) -> str:
    """Choose a kind of irrelevant photo, each equally often.

    Args:
        rng: source of everything else about the photo. It is spent as for a choice among the first four kinds, however
            many there are, so that a new kind leaves all that is drawn afterwards as it was.
        own: source of the choice between these and the others.
    """
    first = rng.choice(_KINDS[:_FIRST_KINDS])
    return own.choice(_KINDS[_FIRST_KINDS:]) if own.random() >= _FIRST_KINDS / len(_KINDS) else first


def _distance(c: Canvas, cover: str) -> None:
    """Paint class `cover` small along the horizon, before anything that stands in front of it."""
    rng, y = c.rng, c.horizon
    if cover in ("Forest", "Orchard"):
        wood = cover == "Forest"
        x = -4.0
        while x < c.size:
            tall, round_crown = (rng.uniform(9, 13), rng.random() < 0.5) if wood else (8.0, True)
            views_green.tree(c, x, y + 1, tall, round_crown=round_crown, far=0.3)
            x += rng.uniform(3, 5) if wood else 8.0
    elif cover == "Residential":
        x = rng.uniform(-4, 6)
        while x < c.size:
            views_built.house(c, x, y + 1, rng.uniform(8, 11), 0.3)
            x += rng.uniform(11, 16)
    elif cover == "Industrial":
        for _ in range(rng.randint(2, 4)):
            x, wide = rng.uniform(0, c.size - 16), rng.uniform(12, 24)
            c.draw.rectangle((x, y - rng.uniform(6, 9), x + wide, y + 1), fill=c.ink((150, 156, 164), 0.25))
            c.draw.rectangle((x + 3, y - 20, x + 5, y), fill=c.ink((168, 116, 100), 0.25))
    elif cover == "Quarry":
        for step in range(3):
            stone = mix((176, 164, 146), (90, 80, 70), 0.3 * (step % 2) + 0.1)
            c.draw.rectangle((0, y - 12 + step * 4, c.size, y + 1), fill=c.ink(stone, 0.25))
    elif cover == "Highway":
        c.draw.rectangle((0, y - 4, c.size, y + 1), fill=c.ink((92, 92, 96), 0.2))
        for _ in range(rng.randint(3, 6)):
            x, paint = rng.uniform(0, c.size), rng.choice(((190, 40, 36), (240, 240, 240), (40, 70, 140)))
            c.draw.rectangle((x, y - 7, x + 5, y - 3), fill=c.ink(paint, 0.1))
    elif cover in ("Meadow", "Cropland"):
        c.draw.rectangle((0, y - 6, c.size, y + 1), fill=c.ink(c.grass if cover == "Meadow" else c.soil, 0.2))
    else:
        c.draw.rectangle((0, y - 6, c.size, y + 1), fill=c.ink(c.water, 0.1))
        if cover == "Beach":
            c.draw.rectangle((0, y - 3, c.size, y + 1), fill=c.ink((222, 202, 156)))
        if cover == "Wetland":
            for x in range(0, c.size, 5):
                views_water.reeds(c, x + rng.uniform(-2, 2), y + 1, 9, 0.2)


def take_photo(rng: random.Random, subject: str, behind: str | None = None, season: str | None = None) -> Photo:
    """Paint one photo.

    Args:
        rng: every choice comes from it, so equal states give equal photos.
        subject: class id, or a key of `OTHER_VIEWS` for a photo that has nothing to do with the place.
        behind: class id of the land further off in the direction of view; some classes hide it.
        season: one of `light.SEASONS`; drawn from `rng` if None.
    """
    canvas = open_canvas(rng, PHOTO_SIZE, season)
    if subject in OTHER_VIEWS:
        OTHER_VIEWS[subject](canvas)
        return Photo(_develop(canvas), subject, None, canvas.season, canvas.weather)
    seen = behind if behind != subject and behind in _HIDING.get(subject, VIEWS) else None
    if seen:
        _distance(canvas, seen)
    VIEWS[subject](canvas)
    return Photo(_develop(canvas), subject, seen, canvas.season, canvas.weather)


def _develop(c: Canvas) -> Image.Image:
    """What the camera adds: a little roll, exposure, white balance, grain."""
    rng = c.rng
    image = c.image.rotate(rng.uniform(-3, 3), Image.Resampling.BILINEAR, expand=False, fillcolor=None)
    margin = 4
    image = image.crop((margin, margin, c.size - margin, c.size - margin)).resize(
        (c.size, c.size), Image.Resampling.BILINEAR
    )
    gain = np.array([rng.uniform(0.93, 1.07) for _ in range(3)], np.float32) * rng.uniform(0.82, 1.15)
    x, y = rng.randrange(160), rng.randrange(160)
    pixels = np.asarray(image, np.float32) * gain + rng.uniform(1, 5) * _GRAIN[y : y + c.size, x : x + c.size]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
