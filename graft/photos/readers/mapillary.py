"""Answers of Mapillary's API, version 4."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from graft.photos.readers.json_pages import dig, json_entries
from graft.tally import Tally

_ADDRESSES = ("thumb_1024_url", "thumb_2048_url", "thumb_original_url", "thumb_256_url")


def read(source: Path, skipped: Tally) -> Iterator[dict[str, object]]:
    """Photos of one answer, or of a folder with an answer a file.

    The position and heading that Mapillary computed from overlapping photos stand before the device's own.

    Args:
        source: file or folder; ask with fields=id,computed_geometry,geometry,captured_at,computed_compass_angle,
            compass_angle,is_pano,camera_type,creator,thumb_1024_url. Its addresses expire within weeks.
        skipped: takes panoramas and damaged answers.

    Raises:
        GraftError: no answer in it.
    """
    expected = 'answers of graph.mapillary.com/images, {"data": [{"id": …, "geometry": …}]}, or single images'
    for _, image in json_entries(source, _entries, expected=expected, skipped=skipped):
        if image.get("is_pano") or image.get("camera_type") in ("spherical", "equirectangular"):
            skipped.add("a panorama", str(image.get("id")))
        else:
            yield _row(image)


def _entries(document: object) -> list[object] | None:
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        return list(document["data"])
    if isinstance(document, dict) and "id" in document and ("geometry" in document or "computed_geometry" in document):
        return [document]
    return None


def _row(image: dict[str, Any]) -> dict[str, object]:
    number = image.get("id")
    point = dig(image, "computed_geometry", "coordinates") or dig(image, "geometry", "coordinates")
    heading = image.get("computed_compass_angle")
    address = next((image[name] for name in _ADDRESSES if image.get(name)), "")
    return {
        "photo_id": f"mapillary-{number}" if isinstance(number, str | int) and number else "",
        "source": "mapillary",
        "url": address,
        "lon": dig(point, 0),
        "lat": dig(point, 1),
        "taken_at": _time(image.get("captured_at")),
        "heading": image.get("compass_angle") if heading is None else heading,
        "author": dig(image, "creator", "username"),
        "license": "CC-BY-SA-4.0",
        "page_url": f"https://www.mapillary.com/app/?pKey={number}" if number else "",
        # width and height of the answer are the original's.
        "width": image.get("width") if address == image.get("thumb_original_url") else None,
        "height": image.get("height") if address == image.get("thumb_original_url") else None,
    }


def _time(milliseconds: object) -> str:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""
