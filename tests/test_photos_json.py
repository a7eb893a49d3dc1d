"""Readers of the answers of web services: Flickr, Mapillary, Wikimedia Commons."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from graft.errors import GraftError
from graft.photos import PhotoFormat
from tests.photos_inputs import column, made

Json = dict[str, Any]


def write_page(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


FLICKR: Json = {
    "id": "15604638529",
    "owner": "72098626@N00",
    "secret": "abf65e17a8",
    "server": "7477",
    "farm": 8,
    "title": "Skateboard kid #8",
    "ispublic": 1,
    "license": "4",
    "datetaken": "2014-09-28 16:02:01",
    "datetakengranularity": "0",
    "datetakenunknown": "0",
    "ownername": "Ed Yourdon",
    "latitude": "40.731371",
    "longitude": "-74.005447",
    "accuracy": "16",
    "context": 0,
    "media": "photo",
    "url_l": "https://live.staticflickr.com/7477/15604638529_abf65e17a8_b.jpg",
    "height_l": 683,
    "width_l": "1024",
}


def flickr_page(*photos: object) -> Json:
    return {"photos": {"page": 1, "pages": 1, "perpage": 250, "total": 1, "photo": list(photos)}, "stat": "ok"}


def test_flickr(tmp_path: Path) -> None:
    no_address = {name: FLICKR[name] for name in FLICKR if not name.endswith("_l")}
    photos = [
        FLICKR,
        no_address | {"id": "1", "license": "0", "datetakengranularity": "6"},
        FLICKR | {"id": "2", "media": "video"},
        FLICKR | {"id": "3", "latitude": 0, "longitude": 0, "accuracy": 0},  # how Flickr writes "nowhere"
        FLICKR | {"id": "4", "latitude": "-74.005447", "longitude": "north"},
        FLICKR | {"id": "5", "latitude": None},
        FLICKR | {"id": "6", "ownername": "J\udcfcrgen"},
        None,
        FLICKR | {"id": "7", "license": "99"},
    ]
    source = tmp_path / "page.json"
    source.write_bytes(json.dumps(flickr_page(*photos)).encode())
    rows, summary = made(source, "flickr")
    assert rows[0] == {
        "photo_id": "flickr-15604638529",
        "source": "flickr",
        "path": "",
        "url": "https://live.staticflickr.com/7477/15604638529_abf65e17a8_b.jpg",
        "lon": -74.005447,
        "lat": 40.731371,
        "accuracy_m": None,
        "accuracy_level": 16,
        "taken_at": "2014-09-28T16:02:01",
        "heading": None,
        "author": "Ed Yourdon",
        "license": "CC-BY-2.0",
        "license_url": "https://creativecommons.org/licenses/by/2.0/",
        "page_url": "https://www.flickr.com/photos/72098626@N00/15604638529",
        "width": 1024,
        "height": 683,
        "sha256": "",
    }
    assert rows[1]["url"] == "https://live.staticflickr.com/7477/1_abf65e17a8.jpg"
    assert column(rows, "license") == ["CC-BY-2.0", "All Rights Reserved", "Flickr licence 99"]
    assert column(rows, "taken_at")[1] == ""  # the year alone is known
    assert summary.skipped.counts == {
        "a video": 1,
        "position is (0, 0)": 1,
        "lon or lat is not a number": 1,
        "no coordinates": 1,
        "text is not UTF-8": 1,
        "entry is not an object": 1,
    }


def test_flickr_folder_of_pages_in_every_form(tmp_path: Path) -> None:
    folder = tmp_path / "pages"
    write_page(folder / "a.json", flickr_page(FLICKR | {"id": 1}))
    (folder / "b.json").write_text(f"jsonFlickrApi({json.dumps(flickr_page(FLICKR | {'id': 2}), indent=1)})\n")
    (folder / "c.json.gz").write_bytes(gzip.compress(json.dumps(flickr_page(FLICKR | {"id": 3})).encode()))
    lines = [json.dumps(flickr_page(FLICKR | {"id": number})) for number in (4, 5)]
    (folder / "d.jsonl").write_text(f"{lines[0]}\n{lines[0][:80]}\n{lines[1]}\n")
    write_page(folder / "e.json", {"stat": "fail", "code": 100, "message": "Invalid API Key"})
    (folder / "f.json").write_text(json.dumps(flickr_page(FLICKR))[:100])
    latin = json.dumps(flickr_page(FLICKR, FLICKR | {"id": 6, "ownername": "Jane"}), ensure_ascii=False)
    (folder / "g.json").write_bytes(latin.replace("Ed Yourdon", "Ed Yourdón").encode("latin-1"))
    (folder / "h.json").write_bytes(b"[" * 100_000)
    (folder / "readme.txt").write_text("not a page")
    rows, summary = made(folder, "flickr")
    assert column(rows, "photo_id") == [f"flickr-{number}" for number in range(1, 7)]
    assert summary.skipped.counts == {"page is damaged or not of the format": 4, "text is not UTF-8": 1}
    examples = summary.skipped.examples["page is damaged or not of the format"]
    assert examples == ["d.jsonl:2", "e.json", "f.json"]


MAPILLARY: Json = {
    "id": "498763468214164",
    "captured_at": 1603212345678,
    "compass_angle": 350.5,
    "computed_compass_angle": -1.5,
    "geometry": {"type": "Point", "coordinates": [12.5, 55.6]},
    "computed_geometry": {"type": "Point", "coordinates": [12.50001, 55.60002]},
    "creator": {"username": "anna", "id": "1"},
    "is_pano": False,
    "camera_type": "perspective",
    "width": 4000,
    "height": 3000,
    "thumb_1024_url": "https://scontent.example/1024.jpg",
}


def test_mapillary(tmp_path: Path) -> None:
    only_device = {name: MAPILLARY[name] for name in MAPILLARY if not name.startswith("computed")}
    original = {"thumb_original_url": "https://scontent.example/o.jpg", "thumb_1024_url": None}
    images = [
        MAPILLARY,
        only_device | original | {"id": 2, "captured_at": "2020", "creator": None},
        MAPILLARY | {"id": "3", "is_pano": True},
        MAPILLARY | {"id": "4", "camera_type": "spherical"},
        only_device | {"id": "5", "geometry": None},
        only_device | {"id": "6", "geometry": {"type": "Point", "coordinates": ["12.5", {}]}},
        MAPILLARY | {"id": "7", "thumb_1024_url": ""},
    ]
    rows, summary = made(write_page(tmp_path / "images.json", {"data": images}), "mapillary")
    assert rows[0] == {
        "photo_id": "mapillary-498763468214164",
        "source": "mapillary",
        "path": "",
        "url": "https://scontent.example/1024.jpg",
        "lon": 12.50001,
        "lat": 55.60002,
        "accuracy_m": None,
        "accuracy_level": None,
        "taken_at": "2020-10-20T16:45:45+00:00",
        "heading": 358.5,
        "author": "anna",
        "license": "CC-BY-SA-4.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
        "page_url": "https://www.mapillary.com/app/?pKey=498763468214164",
        "width": None,
        "height": None,
        "sha256": "",
    }
    second = {name: rows[1][name] for name in ("lon", "lat", "heading", "url", "width", "taken_at", "author")}
    assert second == {
        "lon": 12.5,
        "lat": 55.6,
        "heading": 350.5,
        "url": "https://scontent.example/o.jpg",
        "width": 4000,
        "taken_at": "",
        "author": "",
    }
    assert summary.skipped.counts == {
        "a panorama": 2,
        "no coordinates": 1,
        "lon or lat is not a number": 1,
        "neither path nor url": 1,
    }


def test_mapillary_images_one_a_line(tmp_path: Path) -> None:
    source = tmp_path / "images.jsonl"
    source.write_text("".join(json.dumps(MAPILLARY | {"id": number}) + "\n" for number in (1, 2)))
    rows, _ = made(source, "mapillary")
    assert column(rows, "photo_id") == ["mapillary-1", "mapillary-2"]


def commons(number: int, *, coordinates: object = (), **info: object) -> Json:
    """A page of the answer, as Commons gives it with formatversion=1."""
    camera = {"lat": 48.8583, "lon": 2.2945, "primary": "", "globe": "earth", "type": "camera"}
    page: Json = {
        "pageid": number,
        "ns": 6,
        "title": f"File:Photo {number}.jpg",
        "index": -1,
        "coordinates": [camera] if coordinates == () else coordinates,
        "imageinfo": [
            {
                "size": 4823901,
                "width": 4000,
                "height": 3000,
                "thumburl": "https://upload.wikimedia.org/thumb/p.jpg/1024px-p.jpg",
                "thumbwidth": 1024,
                "thumbheight": 768,
                "url": "https://upload.wikimedia.org/p.jpg",
                "descriptionurl": "https://commons.wikimedia.org/wiki/File:P.jpg",
                "mime": "image/jpeg",
                "extmetadata": {
                    "DateTimeOriginal": {"value": "2014-07-09 10:11:12", "source": "commons-desc-page"},
                    "Artist": {
                        "value": '<style>.a{}</style><a href="//x" title="User:B&amp;B">B &amp; B</a>\n<b>Jürgen</b>'
                    },
                    "LicenseShortName": {"value": "CC BY-SA 3.0 de"},
                    "LicenseUrl": {"value": "https://creativecommons.org/licenses/by-sa/3.0/de/deed.en"},
                },
                **info,
            }
        ],
    }
    return {name: value for name, value in page.items() if value is not None}


def test_wikimedia(tmp_path: Path) -> None:
    landmark = {"lat": 48.1, "lon": 2.1, "globe": "earth", "type": "landmark"}
    gps = {"GPSLatitude": {"value": "48.5"}, "GPSLongitude": {"value": 2.5}}
    plain: Json = {"thumburl": None, "extmetadata": {"DateTimeOriginal": {"value": "<time>about 1900</time>"}}}
    pages = [
        commons(1),
        commons(2, coordinates=[landmark, {"lat": 48.2, "lon": 2.2, "globe": "earth", "type": "camera"}]),
        commons(3, coordinates=[{"lat": 48.3, "lon": 2.3, "primary": True, "globe": "earth"}], **plain),
        commons(4, coordinates=None, extmetadata=gps),
        commons(5, coordinates=[landmark | {"primary": ""}]),
        commons(6, coordinates=None),
        commons(7, mime="video/webm"),
        commons(8, mime="application/pdf"),
        commons(9, coordinates=[{"lat": 1, "lon": 2, "globe": "moon", "primary": ""}]),
        {"pageid": 10, "title": "File:Gone.jpg", "missing": "", "imageinfo": "none"},
    ]
    answer = {"batchcomplete": "", "query": {"pages": {str(page["pageid"]): page for page in pages}}}
    rows, summary = made(write_page(tmp_path / "answer.json", answer), "wikimedia")
    assert rows[0] == {
        "photo_id": "commons-1",
        "source": "wikimedia",
        "path": "",
        "url": "https://upload.wikimedia.org/thumb/p.jpg/1024px-p.jpg",
        "lon": 2.2945,
        "lat": 48.8583,
        "accuracy_m": None,
        "accuracy_level": None,
        "taken_at": "2014-07-09T10:11:12",
        "heading": None,
        "author": "B & B Jürgen",
        "license": "CC-BY-SA-3.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/3.0/de/deed.en",
        "page_url": "https://commons.wikimedia.org/wiki/File:P.jpg",
        "width": 1024,
        "height": 768,
        "sha256": "",
    }
    assert column(rows, "lat") == [48.8583, 48.2, 48.3, 48.5]
    third = rows[2]
    assert (third["url"], third["width"], third["taken_at"]) == ("https://upload.wikimedia.org/p.jpg", 4000, "")
    assert summary.skipped.counts == {
        "only the object's position is known": 1,
        "no coordinates": 2,
        "a video": 1,
        "not a photo file": 1,
        "not on Earth": 1,
    }


def test_wikimedia_with_a_list_of_pages_and_an_empty_answer(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    write_page(folder / "a.json", {"batchcomplete": True})  # nothing at that place
    write_page(folder / "b.json", {"batchcomplete": True, "query": {"pages": [commons(1)]}})
    rows, summary = made(folder, "wikimedia")
    assert column(rows, "photo_id") == ["commons-1"]
    assert summary.skipped.total == 0


@pytest.mark.parametrize("format", ["flickr", "mapillary", "wikimedia"])
@pytest.mark.parametrize("content", [b"", b"{}", b"photo_id,lon\n1,2\n", b"\x89PNG\r\n\x1a\n\0", b"[1, 2]"])
def test_files_of_no_service(tmp_path: Path, format: PhotoFormat, content: bytes) -> None:
    (tmp_path / "page.json").write_bytes(content)
    with pytest.raises(GraftError, match="is not of this format: expected"):
        made(tmp_path / "page.json", format)
    assert list((tmp_path / "out").iterdir()) == []
