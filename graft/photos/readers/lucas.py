"""LUCAS, harmonised: survey points in Europe, with photos to the north, east, south and west and of the point."""

from collections.abc import Iterator
from pathlib import Path

from graft.errors import GraftError
from graft.photos.readers.files import DelimitedFile, files_of
from graft.tally import Tally

_REQUIRED = ("point_id", "year", "th_lat", "th_long", "gps_lat", "gps_long")
_HEADINGS = {"north": 0, "east": 90, "south": 180, "west": 270, "point": None}  # the point: down at the ground
_NO_DEGREES, _NO_METRES = 88.0, 8888.0  # 88.888888 and 8888 stand for "not relevant"


def read(source: Path, skipped: Tally) -> Iterator[dict[str, object]]:
    """Photos of the harmonised table, one row a direction, where the surveyor's GPS stood.

    Without a GPS fix a photo is placed at the point of the survey grid, with the distance to it, where that was
    measured, as its error.

    Args:
        source: the CSV, plain or packed, or a folder of one a country.
        skipped: takes points without a photo and lines that are no row.

    Raises:
        GraftError: the columns are not LUCAS's.
    """
    for file in files_of(source, "*.csv", "*.csv.gz"):
        table = DelimitedFile(file)
        names = {name.lower(): name for name in table.header}
        photos = [name for name in _HEADINGS if f"file_path_gisco_{name}" in names]
        missing = [name for name in _REQUIRED if name not in names]
        if missing or not photos:
            raise GraftError(
                f"{file} is not the harmonised LUCAS table: it lacks "
                f"{', '.join(missing) or 'file_path_gisco_north … point'}. Give lucas_harmo_uf.csv, or another "
                "--format."
            )
        for cells in table.rows(skipped):
            point = {name: _known(cells[header]) for name, header in names.items()}
            taken = [name for name in photos if point[f"file_path_gisco_{name}"]]
            if not taken:
                skipped.add("point without a photo", f"{point['point_id']}-{point['year']}")
                continue
            place = _place(point)
            for name in taken:
                yield place | {
                    "photo_id": f"lucas-{point['point_id']}-{point['year']}-{name}" if point["point_id"] else "",
                    "source": "lucas",
                    "url": point[f"file_path_gisco_{name}"],
                    "heading": _HEADINGS[name],
                    "taken_at": _date(point.get("survey_date", ""), point["year"]),
                    "author": "European Union",
                    "license": "CC-BY-4.0",
                }


def _known(cell: str) -> str:
    text = cell.strip()
    return "" if text == "NA" else text


def _place(point: dict[str, str]) -> dict[str, object]:
    lat, lon = _number(point["gps_lat"]), _number(point["gps_long"])
    west = point.get("gps_ew", "").lower() in ("west", "w", "2")
    distance, precision = _metres(point.get("obs_dist", "")), _metres(point.get("gps_prec", ""))
    if lat is None or lon is None or int(lat) == _NO_DEGREES:
        return {"lon": point["th_long"], "lat": point["th_lat"], "accuracy_m": distance}
    return {"lon": -abs(lon) if west else lon, "lat": lat, "accuracy_m": precision}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _metres(text: str) -> float | None:
    number = _number(text)
    return None if number == _NO_METRES else number


def _date(text: str, year: str) -> str:
    """dd/mm/yy as ISO 8601; the century is the survey year's."""
    parts = text.split("/")
    return f"{year[:2]}{parts[2][-2:]}-{parts[1]:0>2}-{parts[0]:0>2}" if len(parts) == 3 else text
