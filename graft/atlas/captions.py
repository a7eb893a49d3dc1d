"""Captioned ground photos for the teacher: the only place where pictures and words meet."""

import random
from pathlib import Path

from graft.atlas.classes import CLASSES, IDS, IRRELEVANT
from graft.atlas.ground import Photo, off_topic, take_photo
from graft.atlas.light import SEASON_WORDS, WEATHER_WORDS
from graft.atlas.sizes import Region

BATCH = 400
"""Photos per unit of work."""

_FRAMES = (
    "{}", "{}.", "a photo of {}.", "a photo of {}", "a picture showing {}.", "a ground view of {}.", "{} on a walk.",
    "we passed {}", "a snapshot of {}", "here is {}", "a view of {}",
)  # fmt: skip
_MIXED = ("{} with {} behind", "{}, {} in the distance", "{} beside {}", "{} near {}", "{} and {}")
_BY_ID = {cover.id: cover for cover in CLASSES}


def caption(dice: random.Random, photo: Photo) -> str:
    """What a person would write under a photo: the place, often what stands behind it, the season or the weather."""
    if photo.subject in IRRELEVANT:
        return dice.choice(_FRAMES).format(dice.choice(IRRELEVANT[photo.subject]))
    cover = _BY_ID[photo.subject]
    words = dice.choice(cover.nouns if dice.random() < 0.65 else cover.sentences)
    if photo.behind and dice.random() < 0.6:
        words = dice.choice(_MIXED).format(words, dice.choice(_BY_ID[photo.behind].distant))
    if dice.random() < 0.2:
        season = () if photo.subject in ("Lake", "Beach", "Quarry", "Industrial") else SEASON_WORDS[photo.season]
        words += " " + dice.choice((*season, *WEATHER_WORDS[photo.weather]))
    return dice.choice(_FRAMES).format(words)


def write_captions(folder: Path, region: Region, count: int) -> list[dict[str, str]]:
    """Take and caption `count` photos; returns rows of `captions.csv` (path relative to `folder`, caption)."""
    dice = region.dice("captions")
    rows = []
    for number in range(count):
        subject = off_topic(dice, region.dice(f"kind/{number}")) if dice.random() < 0.1 else dice.choice(IDS)
        behind = dice.choice(IDS) if dice.random() < 0.4 else None
        photo = take_photo(
            random.Random(f"{region.world}/{region.sensor.name}/{region.name}/{number}"), subject, behind
        )
        name = f"{region.index:03d}-{number:04d}.jpg"
        photo.image.save(folder / name, "JPEG", quality=88)
        rows.append({"path": name, "caption": caption(dice, photo)})
    return rows
