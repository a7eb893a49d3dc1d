"""Small tables for the tests of the selection, and what comes out of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graft.photos.schema import PHOTO_COLUMNS, photo_schema

LOOK_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("photo_id", "fault", "sha256", "kind")]
    + [(name, pa.int32()) for name in ("width", "height", "part", "row")]
    + [("phash", pa.int64()), ("colour", pa.float32()), ("scene", pa.float32())]
)


def photo(number: int, **values: Any) -> dict[str, Any]:
    """A row of a photo table that passes every filter; each number has a place of its own."""
    row: dict[str, Any] = {name: "" if kind == "string" else None for name, kind in PHOTO_COLUMNS.items()}
    row |= {"photo_id": f"photo-{number}", "path": f"{number}.jpg", "license": "CC-BY-4.0", "geometry": b""}
    return row | {"lon": 12.3456789 + number / 1000, "lat": 45.6789123} | values


def write_photos(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=photo_schema()), path, row_group_size=200)
    return path


def selected(number: int, **values: Any) -> dict[str, Any]:
    """A row as `by_metadata` leaves it; ranks are in the order of the numbers."""
    row = {name: value for name, value in photo(number).items() if name != "geometry"}
    return row | {"cell": 1, "split": "train", "rank": f"{number:032x}"} | values


def write_selected(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    fields = [field for field in photo_schema() if field.name != "geometry"]
    fields += [pa.field("cell", pa.int64()), pa.field("split", pa.string()), pa.field("rank", pa.string())]
    pq.write_table(pa.Table.from_pylist(list(rows), schema=pa.schema(fields)), path)
    return path


def look(number: int, **values: Any) -> dict[str, Any]:
    """A row of a look at a photo that passes every filter; hashes of different numbers are far apart."""
    bits = np.random.default_rng(number).permutation(64) < 32
    phash = int(np.packbits(bits).view(">i8")[0])
    row = {"photo_id": f"photo-{number}", "fault": "", "sha256": f"{number:064x}", "phash": phash}
    row |= {"width": 640, "height": 480, "colour": 0.3, "kind": "scene", "scene": 0.9, "part": 0, "row": number}
    return row | values


def write_looks(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=LOOK_SCHEMA), path)
    return path


def flip(phash: int, bits: int) -> int:
    """A hash that differs in the lowest `bits` bits."""
    return int((np.array(phash).view(np.uint64) ^ np.uint64((1 << bits) - 1)).view(np.int64))


def ids(path: Path) -> list[str]:
    """Photo ids of a table, in its order."""
    return pq.read_table(path)["photo_id"].to_pylist()  # type: ignore[no-any-return]
