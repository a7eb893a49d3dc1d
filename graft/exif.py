"""Where and when a photo was taken, out of its EXIF block."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

GPS = ExifTags.GPS
_LYING = (5, 6, 7, 8)  # values of Orientation whose pixels are stored on their side


class NoPositionError(Exception):
    """A photo without a usable position; the message is the reason under which it is counted."""


@dataclass(frozen=True)
class Geotag:
    """Position, direction and time of one photo.

    Attributes:
        lon: degrees east, WGS 84.
        lat: degrees north, WGS 84.
        accuracy_m: horizontal error in metres, NaN if unknown.
        heading: direction of view, degrees clockwise from north in [0, 360), NaN if unknown.
        taken_at: ISO 8601, with an offset where EXIF has one; "" if unknown.
        author: EXIF's artist; "" if unknown.
        width: pixels, the right way up.
        height: pixels, the right way up.
    """

    lon: float
    lat: float
    accuracy_m: float
    heading: float
    taken_at: str
    author: str
    width: int
    height: int


def read_geotag(path: Path) -> Geotag:
    """Read the geotag of an image file; only its header is read.

    Raises:
        NoPositionError: the file is no image, or has no complete position.
    """
    try:
        with Image.open(path) as image:
            exif = image.getexif()
            gps, detail = exif.get_ifd(ExifTags.IFD.GPSInfo), exif.get_ifd(ExifTags.IFD.Exif)
            size = image.size[::-1] if exif.get(ExifTags.Base.Orientation) in _LYING else image.size
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ValueError … for one fault
        raise NoPositionError("not readable as an image") from error
    if GPS.GPSLatitude not in gps or GPS.GPSLongitude not in gps:
        raise NoPositionError("no GPS position in its EXIF")
    lat = _degrees(gps[GPS.GPSLatitude], gps.get(GPS.GPSLatitudeRef), "NS")
    lon = _degrees(gps[GPS.GPSLongitude], gps.get(GPS.GPSLongitudeRef), "EW")
    heading = _number(gps.get(GPS.GPSImgDirection))
    accuracy = _number(gps.get(GPS.GPSHPositioningError))
    return Geotag(lon, lat, accuracy, heading % 360, _taken_at(detail), _name(exif.get(ExifTags.Base.Artist)), *size)


def _number(value: object) -> float:
    """A rational as float; NaN for a zero denominator or anything that is not a number."""
    try:
        return float(value)  # type: ignore[arg-type]  # whatever stands in the file
    except (TypeError, ValueError):
        return float("nan")


def _name(value: object) -> str:
    """Text that EXIF says is ASCII, which Pillow reads as Latin-1 and cameras write as UTF-8."""
    text = value.strip("\0 ") if isinstance(value, str) else ""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _degrees(value: object, reference: object, signs: str) -> float:
    """Degrees, minutes and seconds with a hemisphere letter as signed degrees; `signs` is plus letter, minus letter."""
    letter = reference.strip("\0 ").upper() if isinstance(reference, str) else ""
    if letter not in tuple(signs):
        raise NoPositionError("GPS position without its hemisphere (N/S, E/W)")
    parts = [_number(part) for part in value] if isinstance(value, tuple) else [_number(value)]
    degrees = float(sum(part / 60.0**power for power, part in enumerate(parts)))
    if not 1 <= len(parts) <= 3 or not degrees >= 0:  # NaN too
        raise NoPositionError("GPS position is not a number")
    return degrees if letter == signs[0] else -degrees


def _taken_at(detail: Mapping[int, Any]) -> str:
    original = str(detail.get(ExifTags.Base.DateTimeOriginal, ""))
    match = re.fullmatch(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d:\d\d:\d\d).*", original.strip("\0 "))
    if match is None or match[1] == "0000":
        return ""
    offset = str(detail.get(ExifTags.Base.OffsetTimeOriginal, "")).strip("\0 ")
    known = re.fullmatch(r"[+-]\d\d:\d\d|Z", offset)
    return f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" + (offset if known else "")
