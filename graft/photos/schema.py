"""The one table that every photo source becomes: its columns, and the writer that checks each row."""

import json
import math
import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from graft.errors import import_extra
from graft.files import atomic_path
from graft.photos.licenses import license_address, spdx
from graft.tally import Tally

# Text unknown is "", numbers unknown are null.
PHOTO_COLUMNS = {
    "photo_id": "string",  # unique in its source; readers put the source's name before a number
    "source": "string",
    "path": "string",  # absolute, or relative to the folder of the table
    "url": "string",
    "lon": "float64",  # degrees east, WGS 84
    "lat": "float64",  # degrees north, WGS 84
    "accuracy_m": "float64",  # horizontal error, metres
    "accuracy_level": "int8",  # Flickr's: 1 world … 16 street
    "taken_at": "string",  # ISO 8601
    "heading": "float64",  # direction of view, degrees clockwise from north, [0, 360)
    "author": "string",
    "license": "string",  # a token of graft.photos.licenses, or the source's own words
    "license_url": "string",
    "page_url": "string",
    "width": "int32",  # pixels
    "height": "int32",
    "sha256": "string",
    "geometry": "binary",  # WKB point
}
TEXTS = tuple(name for name, kind in PHOTO_COLUMNS.items() if kind == "string")
ROW_GROUP = 65_536
NOT_UTF8 = "text is not UTF-8"


def photo_schema() -> Any:
    """The table's `pyarrow.Schema`.

    Raises:
        GraftError: pyarrow is not installed.
    """
    pa = import_extra("pyarrow", "prepare")
    return pa.schema([pa.field(name, pa.type_for_alias(kind)) for name, kind in PHOTO_COLUMNS.items()])


class PhotoTableWriter(AbstractContextManager["PhotoTableWriter"]):
    """Writes a photo table row by row; a row that cannot be used is counted instead.

    The file appears when the `with` block ends without an exception. Memory holds one row group.

    Attributes:
        skipped: rows left out, by reason. Readers count here what they leave out themselves.
        written: rows in the table so far.
        licenses: rows of each licence.
        bounds: west, south, east, north of all rows, degrees; infinities the wrong way round before the first.
    """

    def __init__(self, path: Path) -> None:
        """Args: path: the table, GeoParquet 1.1; what stands there is replaced."""
        self.path = path
        self._folder = f"{path.parent.absolute()}{os.sep}"  # files below it are named from it: the folder can move
        self.skipped = Tally()
        self.written = 0
        self.licenses: Counter[str] = Counter()
        self.bounds = (math.inf, math.inf, -math.inf, -math.inf)
        self._columns: dict[str, list[object]] = {name: [] for name in PHOTO_COLUMNS}
        self._schema = photo_schema()
        self._context = self._open()
        self._file: Any = None

    def add(self, row: Mapping[str, object]) -> None:
        """Check a row and write it, or count why not.

        Text in a column of numbers other than lon and lat, and a number out of its column's range, are unknown.

        Args:
            row: column -> value, text or number; a column that is absent or None is unknown.
        """
        texts = {name: _text(row.get(name)) for name in TEXTS}
        lon, lat = _degrees(row.get("lon")), _degrees(row.get("lat"))
        fault = _fault(texts, lon, lat)
        if fault or lon is None or lat is None:
            self.skipped.add(fault, printable(texts["photo_id"]))
            return
        texts["path"] = texts["path"].removeprefix(self._folder)
        texts["license"] = spdx(texts["license"], texts["license_url"])
        heading = _number(row.get("heading"))
        values: dict[str, object] = {
            **texts,
            "lon": lon,
            "lat": lat,
            "taken_at": iso_time(texts["taken_at"]),
            "license_url": texts["license_url"] or license_address(texts["license"]),
            "accuracy_m": _number(row.get("accuracy_m"), low=0),
            "accuracy_level": _whole(row.get("accuracy_level"), high=16),
            "heading": None if heading is None else heading % 360,
            "width": _whole(row.get("width"), high=2**31 - 1),
            "height": _whole(row.get("height"), high=2**31 - 1),
            "geometry": struct.pack("<BIdd", 1, 1, lon, lat),
        }
        for name, column in self._columns.items():
            column.append(values[name])
        self.written += 1
        self.licenses[texts["license"]] += 1
        west, south, east, north = self.bounds
        self.bounds = (min(west, lon), min(south, lat), max(east, lon), max(north, lat))
        if len(self._columns["lon"]) == ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._columns["lon"]:
            pa = import_extra("pyarrow", "prepare")
            self._file.write_table(pa.table(self._columns, schema=self._schema), row_group_size=ROW_GROUP)
            self._columns = {name: [] for name in PHOTO_COLUMNS}

    @contextmanager
    def _open(self) -> Iterator[None]:
        pq = import_extra("pyarrow.parquet", "prepare")
        with (
            atomic_path(self.path) as partial,
            pq.ParquetWriter(partial, self._schema, compression="zstd") as self._file,
        ):
            yield
            self._flush()
            self._file.add_key_value_metadata({"geo": json.dumps(self._geo())})

    def _geo(self) -> dict[str, object]:
        column: dict[str, object] = {"encoding": "WKB", "geometry_types": ["Point"]}
        if self.written:
            column["bbox"] = list(self.bounds)
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}

    def __enter__(self) -> Self:
        self._context.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._context.__exit__(kind, error, trace)


def printable(text: str) -> str:
    """Text of any encoding as something a terminal can show."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_utf8(text: str) -> bool:
    """Whether text that was decoded with `surrogateescape` was UTF-8."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def iso_time(text: str) -> str:
    """A time as ISO 8601, a date without a time as a date, anything else as ""."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return moment.date().isoformat() if len(text) <= len("2020-12-31") else moment.isoformat()


def _fault(texts: Mapping[str, str], lon: float | None, lat: float | None) -> str:
    """Why a row cannot be used; "" if it can."""
    if not all(map(is_utf8, texts.values())):
        return NOT_UTF8
    if not texts["photo_id"]:
        return "no id"
    if lon is None or lat is None:
        return "no coordinates"
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return "lon or lat is not a number"
    if abs(lon) <= 90 < abs(lat) <= 180:
        return "lon and lat look swapped"
    if abs(lon) > 180 or abs(lat) > 90:
        return "lon or lat out of range"
    if lon == 0 and lat == 0:
        return "position is (0, 0)"
    if not (texts["path"] or texts["url"]):
        return "neither path nor url"
    return ""


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _degrees(value: object) -> float | None:
    """None for nothing, NaN for something that is no number."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    number = _number(value)
    return math.nan if number is None else number


def _number(value: object, low: float = -math.inf) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "_" in str(value):
        return None  # float() takes 1_000
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= low else None


def _whole(value: object, high: int) -> int | None:
    """A whole number in [1, high]."""
    number = _number(value)
    return int(number) if number is not None and number == int(number) and 1 <= number <= high else None
