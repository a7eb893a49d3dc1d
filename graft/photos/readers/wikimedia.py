"""Answers of Wikimedia Commons: generator=geosearch with coordinates and imageinfo."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from graft.photos.readers.json_pages import dig, json_entries
from graft.tally import Tally

_PHOTO_TYPES = ("image/jpeg", "image/png", "image/webp", "image/tiff")


def read(source: Path, skipped: Tally) -> Iterator[dict[str, object]]:
    """Files of one answer, or of a folder with an answer a file, placed where the camera stood.

    Args:
        source: file or folder; ask with action=query&generator=geosearch&ggsnamespace=6&prop=coordinates|imageinfo&
            coprop=type|globe&colimit=max&iiprop=url|size|mime|extmetadata&iiurlwidth=1024&format=json. Without colimit
            nine pages of ten come without coordinates.
        skipped: takes what is no photo, has only its object's position, or is damaged.

    Raises:
        GraftError: no answer in it.
    """
    expected = 'answers of commons.wikimedia.org/w/api.php, {"query": {"pages": …}}'
    for _, page in json_entries(source, _entries, expected=expected, skipped=skipped):
        name = str(page.get("title") or page.get("pageid"))
        mime = dig(page, "imageinfo", 0, "mime")
        if isinstance(mime, str) and mime.startswith("video/"):
            skipped.add("a video", name)
        elif isinstance(mime, str) and mime not in _PHOTO_TYPES:
            skipped.add("not a photo file", name)
        else:
            lon, lat, fault = _camera(page)
            if fault:
                skipped.add(fault, name)
            else:
                yield _row(page) | {"lon": lon, "lat": lat}


def _entries(document: object) -> list[object] | None:
    pages = dig(document, "query", "pages")
    if isinstance(pages, dict):
        return list(pages.values())
    if isinstance(pages, list):  # formatversion=2
        return pages
    return [] if isinstance(document, dict) and "batchcomplete" in document else None  # nothing found there


def _camera(page: dict[str, Any]) -> tuple[object, object, str]:
    """Where the camera stood: lon, lat and "", or the reason why that is not known."""
    known = [point for point in page.get("coordinates") or [] if isinstance(point, dict)]
    on_earth = [point for point in known if point.get("globe", "earth") == "earth"]
    if known and not on_earth:
        return None, None, "not on Earth"
    # A file page's primary point is the camera's unless its type says otherwise; without coprop=type none says it.
    camera = [point for point in on_earth if point.get("type") == "camera"]
    camera += [point for point in on_earth if not point.get("type") and point.get("primary") not in (None, False)]
    if camera:
        return camera[0].get("lon"), camera[0].get("lat"), ""
    if on_earth:
        return None, None, "only the object's position is known"
    return _meta(page, "GPSLongitude"), _meta(page, "GPSLatitude"), ""


def _row(page: dict[str, Any]) -> dict[str, object]:
    info = dig(page, "imageinfo", 0) or {}
    thumb = "thumb" if dig(info, "thumburl") else ""
    number = page.get("pageid")
    return {
        "photo_id": f"commons-{number}" if isinstance(number, int | str) and number else "",
        "source": "wikimedia",
        "url": dig(info, f"{thumb}url"),
        "width": dig(info, f"{thumb}width"),
        "height": dig(info, f"{thumb}height"),
        "taken_at": _time(_meta(page, "DateTimeOriginal")),
        "author": strip_html(_meta(page, "Artist")),
        "license": strip_html(_meta(page, "LicenseShortName")),
        "license_url": _meta(page, "LicenseUrl"),
        "page_url": dig(info, "descriptionurl"),
    }


def _meta(page: dict[str, Any], name: str) -> str:
    value = dig(page, "imageinfo", 0, "extmetadata", name, "value")
    return str(value) if isinstance(value, str | int | float) else ""


def _time(text: str) -> str:
    """The ISO time at the start of a field that people fill in by hand, with or without HTML."""
    found = re.match(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?", strip_html(text))
    return found[0] if found else ""


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._unseen = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._unseen = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._unseen = False

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.words.append(data)


def strip_html(text: str) -> str:
    """The words of a piece of HTML, in one line."""
    parser = _Words()
    parser.feed(text)
    parser.close()
    return " ".join("".join(parser.words).split())
