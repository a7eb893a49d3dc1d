"""Geotagged photos: where people stand, what their camera writes, and everything that goes wrong with it."""

import csv
import io
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from pyproj import Transformer

from graft.atlas.classes import IDS
from graft.atlas.fields import noise
from graft.atlas.ground import off_topic, take_photo
from graft.atlas.landcover import LandCoverMap
from graft.atlas.light import SEASONS
from graft.atlas.sizes import CRS, Region

_IRRELEVANT, _DUPLICATE, _NEAR_DUPLICATE, _LOST = 0.12, 0.02, 0.03, 0.01
_GPS_SIGMA_M = 4.0


@dataclass(frozen=True)
class Shot:
    """One photo to be taken.

    Attributes:
        photo_id: unique in the world.
        x: true column in scene pixels, edges at integers.
        y: true row.
        lon: reported longitude, with the GPS error.
        lat: reported latitude.
        accuracy_m: what the phone believes of its position.
        taken_at: ISO 8601, local time.
        heading: degrees clockwise from north, or None where the phone did not say.
        subject: class id, or a kind of irrelevant photo.
        behind: class id in the distance, or None.
        seed: equal seeds give equal pictures.
        error_m: metres between the true and the reported position.
        edited: True for a re-encoded, slightly cropped copy.
        copy_of: id of the first photo of those that show this picture; "" for that one.
    """

    photo_id: str
    x: float
    y: float
    lon: float
    lat: float
    accuracy_m: float
    taken_at: str
    heading: float | None
    subject: str
    behind: str | None
    seed: str
    error_m: float
    edited: bool = False
    copy_of: str = ""


@cache
def _projection() -> Transformer:
    return Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)


def to_lonlat(east: float, north: float) -> tuple[float, float]:
    """Longitude and latitude, rounded to 7 decimals (a centimetre)."""
    lon, lat = _projection().transform(east, north)
    return round(lon, 7), round(lat, 7)


def plan_shot(region: Region, land: LandCoverMap, dice: random.Random, photo_id: str, x: float, y: float) -> Shot:
    """Decide what a person at column x, row y of a region photographs, and what the phone records."""
    height, width = land.cover.shape
    heading = dice.uniform(0, 360)
    ahead = dice.uniform(40, 80)
    col = min(max(x + ahead * math.sin(math.radians(heading)), 0), width - 1)
    row = min(max(y - ahead * math.cos(math.radians(heading)), 0), height - 1)
    here = IDS[land.cover[int(y), int(x)]]
    there = IDS[land.cover[int(row), int(col)]]
    subject = off_topic(dice, region.dice(f"kind/{photo_id}")) if dice.random() < _IRRELEVANT else here
    behind = there if dice.random() < 0.7 else None
    sigma = 400.0 if dice.random() < _LOST else _GPS_SIGMA_M * dice.uniform(0.4, 1.6)
    east, north = region.utm(x, y)
    off_east, off_north = dice.gauss(0, sigma), dice.gauss(0, sigma)
    lon, lat = to_lonlat(east + off_east, north + off_north)
    taken = (
        f"20{dice.randint(16, 23)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}"
        f"T{dice.randint(6, 20):02d}:{dice.randint(0, 59):02d}:{dice.randint(0, 59):02d}"
    )
    known = round(heading, 1) if dice.random() < 0.85 else None
    accuracy = round(min(max(2 * sigma, 3), 30), 1)
    seed = f"{region.world}/{region.sensor.name}/{photo_id}"
    error = math.hypot(off_east, off_north)
    return Shot(photo_id, x, y, lon, lat, accuracy, taken, known, subject, behind, seed, error)


def plan_photos(region: Region, land: LandCoverMap, count: int) -> list[Shot]:
    """Photos of a training region: many at popular spots, none at others, some of them copies of one another."""
    dice = region.dice("photos")
    size = region.scene
    crowd = np.exp(0.9 * noise(region.rng("crowd"), (size // 16, size // 16), 2)).ravel()
    spots = region.rng("spots").choice(crowd.size, size=count, p=crowd / crowd.sum())
    shots: list[Shot] = []
    for number, spot in enumerate(spots.tolist()):
        photo_id = f"{region.name}-{number:05d}"
        row, column = divmod(spot, size // 16)
        x, y = 16 * column + dice.uniform(0, 16), 16 * row + dice.uniform(0, 16)
        shot = plan_shot(region, land, dice, photo_id, x, y)
        chance = dice.random()
        if shots and chance < _DUPLICATE + _NEAR_DUPLICATE:
            old = shots[-1]
            first = old.copy_of or old.photo_id
            shot = replace(old, photo_id=photo_id, edited=old.edited or chance >= _DUPLICATE, copy_of=first)
        shots.append(shot)
    return shots


def write_photo(path: Path, shot: Shot) -> None:
    """Paint a photo and write it as JPEG with EXIF position, direction and date."""
    season = SEASONS[int(shot.taken_at[5:7]) % 12 // 3 - 1]
    image = take_photo(random.Random(shot.seed), shot.subject, shot.behind, season).image
    if shot.edited:
        save_edited(path, image, _exif(shot))
    else:
        _save(path, image, 88, _exif(shot))


def save_edited(path: Path, image: Image.Image, exif: Image.Exif | None = None) -> None:
    """Write a slightly cropped, more compressed copy of a picture."""
    cropped = image.crop((3, 3, image.width - 2, image.height - 2)).resize(image.size, Image.Resampling.BILINEAR)
    _save(path, cropped, 72, exif)


def _save(path: Path, image: Image.Image, quality: int, exif: Image.Exif | None) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, exif=exif or b"")
    path.write_bytes(buffer.getvalue())


def _exif(shot: Shot) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0110] = "atlas camera"  # Model
    stamp = shot.taken_at.replace("-", ":").replace("T", " ")
    exif[0x8769] = {0x9003: stamp}  # Exif IFD: DateTimeOriginal
    gps: dict[int, object] = {
        1: "N" if shot.lat >= 0 else "S",
        2: _degrees(abs(shot.lat)),
        3: "E" if shot.lon >= 0 else "W",
        4: _degrees(abs(shot.lon)),
    }
    if shot.heading is not None:
        gps |= {16: "T", 17: shot.heading}  # GPSImgDirectionRef true north, GPSImgDirection
    exif[0x8825] = gps
    return exif


def _degrees(value: float) -> tuple[float, float, float]:
    """Degrees, minutes, seconds."""
    minutes, seconds = divmod(value * 3600, 60)
    return float(minutes // 60), float(minutes % 60), round(seconds, 4)


def write_table(path: Path, columns: Iterable[str], rows: Iterable[dict[str, str]]) -> None:
    """Write rows as CSV with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
