"""Readers of folders and of published tables: EXIF, YFCC100M, LUCAS."""

import bz2
import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from graft.errors import GraftError
from graft.photos import photos, schema
from tests.photos_inputs import column, made, tabbed
from tests.prepare_inputs import write_photo, write_table

GPS = ExifTags.GPS


def south_west(**changes: object) -> dict[int, object]:
    gps: dict[int, object] = {
        GPS.GPSLatitudeRef: "S",
        GPS.GPSLatitude: (IFDRational(33), IFDRational(52), IFDRational(1234, 100)),
        GPS.GPSLongitudeRef: "W",
        GPS.GPSLongitude: (IFDRational(70), IFDRational(30), IFDRational(0)),
    }
    return gps | {GPS.__members__[name]: value for name, value in changes.items()}


def exif(gps: dict[int, object], detail: dict[int, object] | None = None, **base: object) -> Image.Exif:
    block = Image.Exif()
    for name, value in {"ImageDescription": "secret", **base}.items():
        block[ExifTags.Base.__members__[name]] = value
    block.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    block.get_ifd(ExifTags.IFD.Exif).update(detail or {})
    return block


def test_exif_folder(tmp_path: Path) -> None:
    folder = tmp_path / "jpg"
    full = south_west(GPSImgDirection=IFDRational(36050, 100), GPSHPositioningError=IFDRational(45, 10))
    time = {ExifTags.Base.DateTimeOriginal: "2021:07:09 10:11:12", ExifTags.Base.OffsetTimeOriginal: "-04:00"}
    write_photo(folder / "deep" / "a.JPG", exif=exif(full, time, Artist="Jürgen".encode(), Orientation=6))
    write_photo(folder / "b.jpeg", exif=exif(south_west(GPSImgDirection=IFDRational(1, 0))))
    rows, summary = made(folder, "exif", constants={"license": "CC BY 4.0", "author": "us"})
    assert column(rows, "photo_id") == ["b.jpeg", "deep/a.JPG"]
    assert column(rows, "path") == [str(folder / "b.jpeg"), str(folder / "deep" / "a.JPG")]
    assert column(rows, "lat") == pytest.approx([-(33 + 52 / 60 + 12.34 / 3600)] * 2, abs=1e-9)
    assert column(rows, "lon") == pytest.approx([-70.5] * 2, abs=1e-9)
    assert column(rows, "taken_at") == ["", "2021-07-09T10:11:12-04:00"]
    assert column(rows, "heading") == [None, 0.5]
    assert column(rows, "accuracy_m") == [None, 4.5]
    assert column(rows, "author") == ["us", "Jürgen"]
    assert column(rows, "license") == ["CC-BY-4.0"] * 2
    assert [(row["width"], row["height"]) for row in rows] == [(48, 32), (32, 48)]  # the second lies on its side
    assert summary.skipped.total == 0


def test_exif_folder_counts_photos_without_position(tmp_path: Path) -> None:
    folder = tmp_path / "jpg"
    write_photo(folder / "good.jpg", exif=exif(south_west()))
    write_photo(folder / "plain.jpg")
    one_sided = {key: value for key, value in south_west().items() if key != GPS.GPSLongitudeRef}
    write_photo(folder / "noref.jpg", exif=exif(one_sided))
    write_photo(folder / "zero.jpg", exif=exif(south_west(GPSLatitude=(IFDRational(1, 0), 2, 3))))
    write_photo(folder / "null.jpg", exif=exif(south_west(GPSLatitude=(0, 0, 0), GPSLongitude=(0, 0, 0))))
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_text("not a picture")
    (folder / "notes.txt").write_text("not a photo")
    rows, summary = made(folder, "exif")
    "".join(summary.lines()).encode()  # what is shown, a terminal can show
    assert column(rows, "photo_id") == ["good.jpg"]
    assert summary.skipped.counts == {
        "no GPS position in its EXIF": 1,
        "GPS position without its hemisphere (N/S, E/W)": 1,
        "GPS position is not a number": 1,
        "position is (0, 0)": 1,
        "not readable as an image": 1,
    }


def yfcc_row(number: int, **changes: object) -> list[object]:
    """A line of the file of 2014, as it is on disk: free text URL-encoded, much of it empty."""
    row: dict[str, object] = {
        "id": 6985418911 + number,
        "user": "4e2f7a26a1dfbf165a7e30bdabf7e72a@N00",
        "nickname": "J%C3%BCrgen+Doe",
        "taken": "2012-02-16 09:56:37.0",
        "uploaded": 1331840483,
        "device": "Canon+PowerShot+ELPH+310+HS",
        "title": "IMG_0520",
        "description": "",
        "user_tags": "canon,canon+powershot+hs+310",
        "machine_tags": "",
        "lon": -81.804885,
        "lat": 24.550558,
        "accuracy": 12,
        "page": "http://www.flickr.com/photos/39089491@N00/6985418911/",
        "url": "http://farm8.staticflickr.com/7205/6985418911_df7747990d.jpg",
        "license": "Attribution-NonCommercial-NoDerivs License",
        "license_url": "http://creativecommons.org/licenses/by-nc-nd/2.0/",
        "server": 7205,
        "farm": 8,
        "secret": "df7747990d",
        "original_secret": "692d7e0a7f",
        "extension": "jpg",
        "marker": 0,
    }
    assert row.keys() >= changes.keys()
    return list((row | changes).values())


def newer(row: list[object]) -> list[object]:
    return [0, row[0], "d41d8cd98f00b204e9800998ecf8427e", *row[1:]]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("layout", [list, newer])
def test_yfcc100m(tmp_path: Path, layout: Callable[..., list[object]], pack: Callable[[bytes], bytes]) -> None:
    bad = [
        yfcc_row(1, lon="", lat=""),
        yfcc_row(2, lon="0.0", lat="0.0"),
        yfcc_row(3, lon=24.5, lat=-99.1),
        yfcc_row(4, lat="north"),
        yfcc_row(5, marker=1),
        yfcc_row(6, nickname="J%FCrgen"),  # Latin-1 behind the URL encoding
        yfcc_row(7, url=""),
    ]
    lines = [tabbed(layout(row)) for row in [yfcc_row(0), *bad, yfcc_row(8, nickname="", taken="null", accuracy="")]]
    cut = tabbed(layout(yfcc_row(9))[:-2])
    latin = lines[0].replace(b"IMG_0520", b"caf\xe9")
    source = tmp_path / "yfcc100m_dataset"
    source.write_bytes(pack(b"".join([*lines, cut, latin])))
    rows, summary = made(source, "yfcc100m")
    assert rows[0] == {
        "photo_id": "flickr-6985418911",
        "source": "yfcc100m",
        "path": "",
        "url": "http://farm8.staticflickr.com/7205/6985418911_df7747990d.jpg",
        "lon": -81.804885,
        "lat": 24.550558,
        "accuracy_m": None,
        "accuracy_level": 12,
        "taken_at": "2012-02-16T09:56:37",
        "heading": None,
        "author": "Jürgen Doe",
        "license": "CC-BY-NC-ND-2.0",
        "license_url": "http://creativecommons.org/licenses/by-nc-nd/2.0/",
        "page_url": "http://www.flickr.com/photos/39089491@N00/6985418911/",
        "width": None,
        "height": None,
        "sha256": "",
    }
    assert (rows[1]["author"], rows[1]["taken_at"]) == ("4e2f7a26a1dfbf165a7e30bdabf7e72a@N00", "")
    assert rows[1]["accuracy_level"] is None
    assert len(rows) == 2
    assert summary.skipped.counts == {
        "no coordinates": 1,
        "position is (0, 0)": 1,
        "lon and lat look swapped": 1,
        "lon or lat is not a number": 1,
        "a video": 1,
        "text is not UTF-8": 2,
        "neither path nor url": 1,
        "wrong number of columns": 1,
    }


def test_yfcc100m_folder_of_parts(tmp_path: Path) -> None:
    folder = tmp_path / "yfcc"
    folder.mkdir()
    for part in (1, 0):
        (folder / f"yfcc100m_dataset-{part}").write_bytes(tabbed(yfcc_row(part)))
    (folder / "yfcc100m_hash").write_bytes(tabbed([1, "abc"]))  # lies beside them in the download
    rows, _ = made(folder, "yfcc100m")
    assert column(rows, "photo_id") == ["flickr-6985418911", "flickr-6985418912"]


def test_memory_stays_flat_in_the_number_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "ROW_GROUP", 1000)
    source = tmp_path / "yfcc100m_dataset"
    peaks = []
    for number in (3_000, 30_000):
        source.write_bytes(b"".join(tabbed(newer(yfcc_row(photo))) for photo in range(number)))
        tracemalloc.start()
        assert photos(source, format="yfcc100m", out=tmp_path / "photos.parquet").photos == number
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_yfcc100m_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "other.tsv").write_bytes(tabbed([1, 2, 3]))
    with pytest.raises(GraftError, match="its lines have 3 columns, expected 25 or 23"):
        made(tmp_path / "other.tsv", "yfcc100m")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(tabbed(*[yfcc_row(n) for n in range(500)]))[:-40])
    with pytest.raises(GraftError, match=r"cut\.gz is damaged after line \d+ .* Fetch it again"):
        made(tmp_path / "cut.gz", "yfcc100m")
    with pytest.raises(GraftError, match=r"No photos at .*nowhere: give a file, or a folder that holds yfcc100m"):
        made(tmp_path / "nowhere", "yfcc100m")


DIRECTIONS = ("north", "south", "east", "west")
PHOTO_SERVER = "https://gisco-services.ec.europa.eu/lucas/photos/2018/PT/264/019/26401970"
LUCAS = {
    "id": 1,
    "point_id": 26401970,
    "year": 2018,
    "nuts0": "PT",
    "th_lat": 39.1,
    "th_long": -8.9,
    "survey_date": "21/09/18",
    "gps_proj": "WGS84",
    "gps_prec": 3,
    "gps_lat": 39.10002,
    "gps_ew": "West",
    "gps_long": 8.90003,
    "obs_dist": 4,
    "obs_type": "In situ < 100 m",
    "lc1_label": "Olive groves, old",
    **{
        f"file_path_gisco_{name}": f"{PHOTO_SERVER}{name[0].upper()}.jpg" for name in ["north", "south", "east", "west"]
    },
    "file_path_gisco_point": "",
}


def test_lucas(tmp_path: Path) -> None:
    no_fix = {"gps_proj": "No GPS signal", "gps_lat": 88.888888, "gps_long": 88.888888, "gps_ew": "", "gps_prec": 8888}
    only_north = {f"file_path_gisco_{name}": "NA" for name in ("south", "east", "west")}
    rows_in: list[dict[str, object]] = [
        LUCAS,
        LUCAS | no_fix | only_north | {"point_id": 2, "obs_dist": 75},
        LUCAS | no_fix | only_north | {"point_id": 3, "th_long": 1530000.0, "th_lat": 4774000.0},  # EPSG:3035
        LUCAS | only_north | {"point_id": 4, "file_path_gisco_north": ""},
        LUCAS | only_north | {"point_id": 5, "gps_long": "8°54'W", "gps_ew": "", "obs_dist": 8888},
        LUCAS | only_north | {"point_id": 6, "gps_prec": 8888},
    ]
    source = write_table(tmp_path / "lucas_harmo_uf.csv", rows_in)
    rows, summary = made(source, "lucas")
    assert column(rows, "photo_id") == [
        *(f"lucas-26401970-2018-{name}" for name in ("north", "east", "south", "west")),
        "lucas-2-2018-north",
        "lucas-5-2018-north",
        "lucas-6-2018-north",
    ]
    assert column(rows, "heading") == [0, 90, 180, 270, 0, 0, 0]
    assert rows[2]["url"] == f"{PHOTO_SERVER}S.jpg"
    assert [(row["lon"], row["lat"], row["accuracy_m"]) for row in rows] == [
        *[(-8.90003, 39.10002, 3)] * 4,
        (-8.9, 39.1, 75),  # the point of the grid
        (-8.9, 39.1, None),
        (-8.90003, 39.10002, None),
    ]
    assert column(rows, "taken_at") == ["2018-09-21"] * 7
    assert column(rows, "license") == ["CC-BY-4.0"] * 7
    assert summary.skipped.counts == {"lon or lat out of range": 1, "point without a photo": 1}


def test_lucas_of_another_table(tmp_path: Path) -> None:
    source = write_table(tmp_path / "points.csv", [{"point_id": 1, "year": 2018, "lc1": "A11"}])
    with pytest.raises(GraftError, match="not the harmonised LUCAS table: it lacks th_lat, th_long"):
        made(source, "lucas")
