"""Answers of Flickr's flickr.photos.search, format=json, with its extras."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graft.photos.licenses import FLICKR_LICENSES
from graft.photos.readers.json_pages import dig, json_entries
from graft.tally import Tally

_SIZES = "lczokhmn"  # 1,024 pixels first, then the nearest that every photo may have
_DAY_KNOWN = ("0", "")  # of datetakengranularity; from 4 on only the month or year is right


def read(source: Path, skipped: Tally) -> Iterator[dict[str, object]]:
    """Photos of one answer, or of a folder with an answer a file.

    Args:
        source: file or folder; ask with extras=geo,license,date_taken,owner_name,media,url_l,url_c,url_z.
        skipped: takes videos and damaged answers.

    Raises:
        GraftError: no answer in it.
    """
    expected = 'answers of flickr.photos.search, {"photos": {"photo": […]}, "stat": "ok"}'
    for _, photo in json_entries(source, _entries, expected=expected, skipped=skipped):
        if photo.get("media") == "video":
            skipped.add("a video", str(photo.get("id")))
        else:
            yield _row(photo)


def _entries(document: object) -> list[object] | None:
    found = dig(document, "photos", "photo")
    return found if isinstance(found, list) else None


def _row(photo: dict[str, Any]) -> dict[str, object]:
    number, owner = _text(photo, "id"), _text(photo, "owner")
    size = next((size for size in _SIZES if photo.get(f"url_{size}")), "")
    license_id = _text(photo, "license")
    day_known = _text(photo, "datetakengranularity") in _DAY_KNOWN and _text(photo, "datetakenunknown") in ("0", "")
    return {
        "photo_id": number and f"flickr-{number}",
        "source": "flickr",
        "url": photo.get(f"url_{size}") or _address(photo),
        "width": photo.get(f"width_{size}"),
        "height": photo.get(f"height_{size}"),
        "lon": photo.get("longitude"),
        "lat": photo.get("latitude"),
        "accuracy_level": photo.get("accuracy"),
        "taken_at": _text(photo, "datetaken") if day_known else "",
        "author": _text(photo, "ownername") or owner,
        "license": license_id and FLICKR_LICENSES.get(license_id, f"Flickr licence {license_id}"),
        "page_url": f"https://www.flickr.com/photos/{owner}/{number}" if owner and number else "",
    }


def _address(photo: dict[str, Any]) -> str:
    """The address of the 500-pixel file, which every photo has, where the answer gives none."""
    server, number, secret = (_text(photo, name) for name in ("server", "id", "secret"))
    return f"https://live.staticflickr.com/{server}/{number}_{secret}.jpg" if server and number and secret else ""


def _text(photo: dict[str, Any], name: str) -> str:
    value = photo.get(name)
    return str(value) if isinstance(value, str | int) else ""
