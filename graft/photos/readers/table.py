"""Any table of photos: CSV, TSV or Parquet, with its columns named on the command line where they differ."""

import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from graft.errors import GraftError, first_line, import_extra
from graft.photos.readers.files import DelimitedFile
from graft.photos.schema import PHOTO_COLUMNS
from graft.tally import Tally

GIVEN = tuple(name for name in PHOTO_COLUMNS if name != "geometry")
_REQUIRED = ("photo_id", "lon", "lat")
_BATCH = 8192  # rows


def read(source: Path, skipped: Tally, *, columns: Mapping[str, str]) -> Iterator[dict[str, object]]:
    """Rows of a table; a photo whose file is not there is counted.

    Args:
        source: the table. A `path` in it is absolute or relative to its folder.
        skipped: takes lines that are no row and photos without their file.
        columns: column of a photo table -> column of this one; a column that is not named has the same name in both.

    Raises:
        GraftError: no such file, not a table, or a column is missing.
    """
    if not source.is_file():
        raise GraftError(f"No table at {source}: give a CSV, TSV or Parquet file, or another --format.")
    with source.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    folder = source.parent.absolute()
    for row in _parquet_rows(source, columns) if parquet else _text_rows(source, columns, skipped):
        path = row.get("path")
        if isinstance(path, str) and path.strip():
            row["path"] = str(folder / path.strip())
            if not _exists(Path(str(row["path"]))):
                skipped.add("file missing", str(row["photo_id"]))
                continue
        yield row


def _text_rows(source: Path, columns: Mapping[str, str], skipped: Tally) -> Iterator[dict[str, object]]:
    table = DelimitedFile(source)
    names = _names(source, table.header, columns)
    for cells in table.rows(skipped):
        yield {ours: cells[theirs] for ours, theirs in names.items()}


def _parquet_rows(source: Path, columns: Mapping[str, str]) -> Iterator[dict[str, object]]:
    pa = import_extra("pyarrow", "prepare")
    pq = import_extra("pyarrow.parquet", "prepare")
    try:
        with pq.ParquetFile(source) as file, tqdm(total=file.metadata.num_rows, desc=source.name, unit="photo") as bar:
            names = _names(source, file.schema_arrow.names, columns)
            for batch in file.iter_batches(_BATCH, columns=sorted(set(names.values()))):
                cells = {theirs: _cells(batch.column(theirs), pa) for theirs in set(names.values())}
                for number in range(batch.num_rows):
                    yield {ours: cells[theirs][number] for ours, theirs in names.items()}
                bar.update(batch.num_rows)
    except (OSError, pa.ArrowException) as error:
        raise GraftError(
            f"{source} cannot be read as Parquet: {first_line(error)}. Expected a whole file; write or fetch it again."
        ) from error


def _cells(column: Any, pa: Any) -> list[object]:
    """Values of a Parquet column; text may hold bytes that are not UTF-8, times become ISO 8601."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = column.cast(pa.large_binary()).to_pylist()
        return [None if text is None else text.decode("utf-8", "surrogateescape") for text in texts]
    values = column.to_pylist()
    return [value.isoformat() if isinstance(value, datetime.date) else value for value in values]


def _names(source: Path, header: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Our name -> name in the table, for every column that the table has."""
    if unknown := [name for name in columns if name not in GIVEN]:
        raise GraftError(f"--columns names {', '.join(unknown)}; a photo table has {', '.join(GIVEN)}.")
    names = {name: columns.get(name, name) for name in GIVEN}
    missing = [name for name in (*_REQUIRED, *columns) if names[name] not in header]
    if not missing and not {names["path"], names["url"]} & set(header):
        missing = ["path or url"]
    if missing:
        lacking = ", ".join(dict.fromkeys(names.get(name, name) for name in missing))
        raise GraftError(
            f"{source} lacks the column(s) {lacking}; it has {', '.join(header)}. Required are photo_id, lon, lat and "
            "path or url: say which columns they are with --columns '{photo_id: ID, lon: LONGITUDE, lat: LATITUDE}'."
        )
    return {ours: theirs for ours, theirs in names.items() if theirs in header}


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
