"""Real photo sources in small, for the tests of photo tables."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from graft.photos import PhotoFormat, PhotoSummary, photos

Row = dict[str, object]


def made(source: Path, format: PhotoFormat, **more: dict[str, str]) -> tuple[list[Row], PhotoSummary]:
    """Run `graft photos`; the rows of the table, without their geometry, and the summary."""
    out = source.parent / "out" / "photos.parquet"
    summary = photos(source, format=format, out=out, **more)
    rows: list[Row] = pq.read_table(out).drop_columns("geometry").to_pylist()
    assert summary.photos == len(rows)
    assert [file.name for file in out.parent.iterdir()] == ["photos.parquet"]
    return rows, summary


def column(rows: Sequence[Row], name: str) -> list[object]:
    return [row[name] for row in rows]


def tabbed(*rows: Sequence[object]) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()
