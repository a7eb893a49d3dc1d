from pathlib import Path

import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from graft.errors import GraftError
from graft.prepare.photos import read_photos
from tests.prepare_inputs import write_photo, write_table

GPS = ExifTags.GPS


def geotag(gps: dict[int, object], detail: dict[int, object] | None = None) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = "secret"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    exif.get_ifd(ExifTags.IFD.Exif).update(detail or {})
    return exif


def south_west(**changes: object) -> dict[int, object]:
    gps: dict[int, object] = {
        GPS.GPSLatitudeRef: "S",
        GPS.GPSLatitude: (IFDRational(33), IFDRational(52), IFDRational(1234, 100)),
        GPS.GPSLongitudeRef: "W",
        GPS.GPSLongitude: (IFDRational(70), IFDRational(30), IFDRational(0)),
    }
    return gps | {GPS.__members__[name]: value for name, value in changes.items()}


def test_table_leaves_rows_out_by_reason(tmp_path: Path) -> None:
    write_photo(tmp_path / "jpg" / "a.jpg")
    row = {"photo_id": "007", "path": "jpg/a.jpg", "lon": 13.5, "lat": 45.25, "heading": "", "license": "CC0"}
    changes: list[dict[str, object]] = [
        {},
        {"photo_id": "007"},
        {"photo_id": ""},
        {"photo_id": "b", "lon": "east"},
        {"photo_id": "c", "lat": 91},
        {"photo_id": "d", "lon": 0, "lat": "0.0"},
        {"photo_id": "e", "path": "jpg/none.jpg"},
        {"photo_id": "f", "path": str(tmp_path / "jpg" / "a.jpg"), "heading": "271.5"},
        {"photo_id": "g", "lat": ""},
    ]
    table = read_photos(write_table(tmp_path / "photos.csv", [row | change for change in changes]))
    assert table.frame["photo_id"].tolist() == ["007", "f"]
    assert table.frame["path"].tolist() == [str(tmp_path / "jpg" / "a.jpg")] * 2
    assert table.frame[["lon", "lat"]].to_numpy().tolist() == [[13.5, 45.25]] * 2
    assert table.frame["heading"].isna().tolist() == [True, False]
    assert table.frame["license"].tolist() == ["CC0"] * 2
    assert table.frame["source"].tolist() == [""] * 2
    assert table.listed == len(changes)
    assert table.skipped.counts == {
        "without a photo_id": 1,
        "photo_id listed before": 1,
        "lon or lat is not a number": 2,
        "lon or lat out of range": 1,
        "position is (0, 0)": 1,
        "file missing": 1,
    }
    assert table.skipped.examples["lon or lat is not a number"] == ["b", "g"]


def test_table_without_columns_names_them(tmp_path: Path) -> None:
    table = write_table(tmp_path / "photos.csv", [{"id": 1, "path": "a.jpg", "longitude": 1, "lat": 2}])
    with pytest.raises(GraftError, match=r"lacks the column\(s\) photo_id, lon; it has id, path, longitude, lat"):
        read_photos(table)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00bad", b'a,b\n"1,2\n3'], ids=["empty", "binary", "open quote"])
def test_not_a_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photos.csv").write_bytes(content)
    with pytest.raises(GraftError, match=r"photos\.csv is not a CSV table"):
        read_photos(tmp_path / "photos.csv")


def test_no_photos(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="No photos at"):
        read_photos(tmp_path / "nowhere")
    with pytest.raises(GraftError, match="no usable photo among 0: it lists none"):
        read_photos(tmp_path)
    (tmp_path / "a.csv").write_text("photo_id,path,lon,lat\nx,x.jpg,1,2\n")
    with pytest.raises(GraftError, match="no usable photo among 1: 1 file missing"):
        read_photos(tmp_path / "a.csv")


def test_folder_reads_exif(tmp_path: Path) -> None:
    detail: dict[int, object] = {
        ExifTags.Base.DateTimeOriginal: "2021:07:09 10:11:12",
        ExifTags.Base.OffsetTimeOriginal: "-04:00",
    }
    full = south_west(GPSImgDirection=IFDRational(36050, 100), GPSHPositioningError=IFDRational(45, 10))
    write_photo(tmp_path / "deep" / "a.JPG", exif=geotag(full, detail))
    write_photo(tmp_path / "b.jpeg", exif=geotag(south_west(GPSImgDirection=IFDRational(1, 0))))
    table = read_photos(tmp_path)
    assert table.frame["photo_id"].tolist() == ["b.jpeg", "deep/a.JPG"]
    assert table.frame["lat"].tolist() == pytest.approx([-(33 + 52 / 60 + 12.34 / 3600)] * 2, abs=1e-9)
    assert table.frame["lon"].tolist() == pytest.approx([-70.5] * 2, abs=1e-9)
    assert table.frame["taken_at"].tolist() == ["", "2021-07-09T10:11:12-04:00"]
    assert table.frame["heading"].tolist() == pytest.approx([float("nan"), 0.5], nan_ok=True)
    assert table.frame["accuracy_m"].tolist() == pytest.approx([float("nan"), 4.5], nan_ok=True)


def test_folder_counts_photos_without_position(tmp_path: Path) -> None:
    write_photo(tmp_path / "good.jpg", exif=geotag(south_west()))
    write_photo(tmp_path / "plain.jpg")
    write_photo(
        tmp_path / "noref.jpg", exif=geotag({k: v for k, v in south_west().items() if k != GPS.GPSLongitudeRef})
    )
    write_photo(tmp_path / "zero.jpg", exif=geotag(south_west(GPSLatitude=(IFDRational(1, 0), 2, 3))))
    write_photo(tmp_path / "null.jpg", exif=geotag(south_west(GPSLatitude=(0, 0, 0), GPSLongitude=(0, 0, 0))))
    (tmp_path / "text.jpg").write_text("not a picture")
    table = read_photos(tmp_path)
    assert table.frame["photo_id"].tolist() == ["good.jpg"]
    assert table.listed == 6
    assert table.skipped.counts == {
        "no GPS position in its EXIF": 1,
        "GPS position without its hemisphere (N/S, E/W)": 1,
        "GPS position is not a number": 1,
        "position is (0, 0)": 1,
        "not readable as an image": 1,
    }
