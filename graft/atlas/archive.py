"""What an archive makes of photos: who uploaded them under which licence, positions gone wrong, uploads of old photos.

The truth about every photo stands beside the table, in `truth.csv`, for those who measure a filter. No stage of the
pipeline reads it.
"""

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path

from PIL import Image

from graft.atlas.ground import OTHER_VIEWS
from graft.atlas.photos import Shot, save_edited, to_lonlat
from graft.atlas.sizes import Region

COLUMNS = ("photo_id", "path", "lon", "lat", "accuracy_m", "taken_at", "heading", "author", "license", "source")
TRUTH_COLUMNS = ("photo_id", "kind", "copy_of", "exact", "lost", "fault")
GOOD = "good"

_FIRST = (
    "Ada", "Björn", "Chloé", "Dmitri", "Ewa", "Fatima", "Gáspár", "Hana", "Ines", "Jürgen",
    "Katarzyna", "Luca", "Milena", "Noor", "Oskar", "Petra", "Rūta", "Søren", "Tereza", "Zoë",
)  # fmt: skip
_LAST = (
    "Berg", "Castelli", "Dvořák", "Eriksen", "Fischer", "Gruber", "Horváth", "Ivanova", "Jansen", "Kowalski",
    "Lindqvist", "Moreau", "Novak", "O'Neill", "Weiß",
)  # fmt: skip
_PEOPLE = tuple(f"{first} {last}" for last in _LAST for first in _FIRST)
_WEIGHTS = tuple(accumulate(1 / (rank + 4) for rank in range(len(_PEOPLE))))
"""Cumulative: the first uploads one photo in 18, the last one in 1,400."""
_OPEN, _OPEN_WEIGHTS = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0"), (4, 4, 2)
_RESERVED = "All rights reserved"

_CENTRE_SHARE, _ROUNDED_SHARE, _RESERVED_SHARE, _MOVED_SHARE = 0.05, 0.003, 0.02, 0.001
_LOST_M = 50.0
"""Metres: the errors of phones that are not lost stay far below, see `photos`."""


@dataclass(frozen=True)
class Upload:
    """A photo as the archive lists it.

    Attributes:
        shot: what was taken, and what the camera wrote into the EXIF, whatever the archive lists.
        lon: degrees as listed; text, since an archive's may be empty.
        lat: degrees as listed.
        author: who uploaded it.
        license: under which licence.
        fault: what is wrong with the row: `centre` (the one position that a geocoder gives all over a town), `rounded`
            (to two or three decimals), `zero` (0, 0), `swapped` (lon and lat), `empty`, `rights` (all reserved),
            `moved` (uploaded again as taken elsewhere) or "".
    """

    shot: Shot
    lon: str
    lat: str
    author: str
    license: str
    fault: str


def path_of(photo_id: str) -> str:
    """Where the picture lies, relative to the table."""
    return f"photos/{photo_id}.jpg"


def upload(region: Region, shots: Sequence[Shot]) -> list[Upload]:
    """Let people upload the photos of a region; whoever copies a photo within it copies its whole row."""
    dice = region.dice("archive")
    faults = _faults(region, shots)
    town = _place(region, dice.uniform(0.3, 0.7), dice.uniform(0.3, 0.7))
    uploads: dict[str, Upload] = {}
    for shot in shots:
        author = dice.choices(_people(region.world), cum_weights=_WEIGHTS)[0]
        reserved, open_license = dice.random() < _RESERVED_SHARE, dice.choices(_OPEN, _OPEN_WEIGHTS)[0]
        decimals = dice.choice((2, 3))
        if shot.copy_of:
            uploads[shot.photo_id] = replace(uploads[shot.copy_of], shot=shot)
            continue
        fault = faults.get(shot.photo_id, "rights" if reserved else "")
        true = f"{shot.lon:.7f}", f"{shot.lat:.7f}"
        listed = {
            "centre": town,
            "rounded": (str(round(shot.lon, decimals)), str(round(shot.lat, decimals))),
            "zero": ("0", "0"),
            "swapped": true[::-1],
            "empty": ("", ""),
        }
        lon, lat = listed.get(fault, true)
        license_ = _RESERVED if fault == "rights" else open_license
        uploads[shot.photo_id] = Upload(shot, lon, lat, author, license_, fault)
    return list(uploads.values())


def upload_again(folder: Path, uploads: Mapping[Region, Sequence[Upload]]) -> list[Upload]:
    """Let people upload a few good photos a second time, as taken in another scene; writes the pictures.

    Every other copy is the same file; the rest are re-encoded, slightly cropped and without EXIF.

    Args:
        folder: of the world, with the pictures of `uploads`.
        uploads: those of each region. A single region has no elsewhere: nothing is copied.
    """
    regions = list(uploads)
    if len(regions) < 2:
        return []
    dice = random.Random(f"{regions[0].world}/{regions[0].sensor.name}/again")
    found = [(region, old) for region in regions for old in uploads[region] if _is_good(old)]
    total = sum(map(len, uploads.values()))
    copies = []
    for number, (home, old) in enumerate(dice.sample(found, min(max(round(_MOVED_SHARE * total), 2), len(found)))):
        region = dice.choice([region for region in regions if region != home])
        photo_id = f"{region.name}-{len(uploads[region]) + number:05d}"
        author = dice.choice([name for name in _people(region.world) if name != old.author])
        lon, lat = _place(region, dice.random(), dice.random())
        shot = replace(old.shot, photo_id=photo_id, copy_of=old.shot.photo_id, edited=number % 2 == 1)
        picture, copy = folder / path_of(shot.copy_of), folder / path_of(photo_id)
        if shot.edited:
            with Image.open(picture) as image:
                save_edited(copy, image)
        else:
            shutil.copyfile(picture, copy)
        copies.append(Upload(shot, lon, lat, author, dice.choice(_OPEN), "moved"))
    return copies


def photo_row(upload: Upload) -> dict[str, str]:
    """A row of `photos.csv`."""
    shot = upload.shot
    values = (
        shot.photo_id,
        path_of(shot.photo_id),
        upload.lon,
        upload.lat,
        str(shot.accuracy_m),
        shot.taken_at,
        "" if shot.heading is None else str(shot.heading),
        upload.author,
        upload.license,
        "atlas",
    )
    return dict(zip(COLUMNS, values, strict=True))


def truth_row(upload: Upload) -> dict[str, str]:
    """A row of `truth.csv`."""
    shot = upload.shot
    values = (
        shot.photo_id,
        shot.subject if shot.subject in OTHER_VIEWS else GOOD,
        shot.copy_of,
        str(int(bool(shot.copy_of) and not shot.edited)),
        str(int(shot.error_m > _LOST_M)),
        upload.fault,
    )
    return dict(zip(TRUTH_COLUMNS, values, strict=True))


@cache
def _people(world: int) -> list[str]:
    """Everybody who uploads in a world, the busiest first."""
    return random.Random(f"{world}/people").sample(_PEOPLE, len(_PEOPLE))


def _is_good(upload: Upload) -> bool:
    truth = truth_row(upload)
    return truth["kind"] == GOOD and truth["copy_of"] == truth["fault"] == "" and truth["lost"] == "0"


def _faults(region: Region, shots: Sequence[Shot]) -> dict[str, str]:
    """Which photos, by id, get which wrong position. The geocoder's town lies in the first region."""
    count = len(shots)
    faults = ["zero", "swapped", "empty", *["rounded"] * max(round(_ROUNDED_SHARE * count), 1)]
    if region.index == 0:
        faults += ["centre"] * max(round(_CENTRE_SHARE * count), 4)
    originals = [shot.photo_id for shot in shots if not shot.copy_of]
    chosen = region.dice("faults").sample(originals, min(len(faults), len(originals)))
    return dict(zip(chosen, faults, strict=False))


def _place(region: Region, across: float, down: float) -> tuple[str, str]:
    """Longitude and latitude of a place in a region, given in shares of its sides."""
    lon, lat = to_lonlat(*region.utm(across * region.scene, down * region.scene))
    return f"{lon:.7f}", f"{lat:.7f}"
