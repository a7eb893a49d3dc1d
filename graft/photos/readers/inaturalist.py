"""iNaturalist open data: observations.csv joined to photos.csv, with the observers' names where they are given."""

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from graft.errors import GraftError, first_line, import_extra
from graft.photos.licenses import spdx
from graft.photos.readers.files import COLUMNS_FAULT, text_lines
from graft.photos.schema import NOT_UTF8
from graft.tally import Tally

# The 1,024-pixel file: teachers look at 224 to 336, and the original is four times the bytes.
_ADDRESS = "https://inaturalist-open-data.s3.amazonaws.com/photos/{photo_id}/large.{extension}"
_MEMORY, _THREADS = "2GB", 4  # a thread needs some memory of its own, however many cores there are
_BATCH = 10_000  # rows
_COLUMNS = {
    "observations": ("observation_uuid", "latitude", "longitude", "positional_accuracy", "observed_on"),
    "photos": ("photo_id", "observation_uuid", "observer_id", "extension", "license"),
    "observers": ("observer_id", "login", "name"),
}
_FAULTS = {"MISSING COLUMNS": COLUMNS_FAULT, "TOO MANY COLUMNS": COLUMNS_FAULT, "INVALID ENCODING": NOT_UTF8}
_JOIN = """
    SELECT p.photo_id, p.extension, p.license, p.observer_id, o.observation_uuid, o.latitude, o.longitude,
        o.positional_accuracy, o.observed_on, u.login, u.name
    FROM ({photos}) p LEFT JOIN ({observations}) o ON p.observation_uuid = o.observation_uuid
        LEFT JOIN ({observers}) u ON p.observer_id = u.observer_id
    ORDER BY try_cast(p.photo_id AS BIGINT), p.photo_id, p.observation_uuid
"""
_NOBODY = "SELECT NULL AS observer_id, NULL AS login, NULL AS name WHERE false"
# One line may be rejected for each column that it lacks.
_REJECTED = """
    SELECT line, min(error_type::VARCHAR) FROM reject_errors JOIN reject_scans USING (scan_id, file_id)
    WHERE file_path = $file GROUP BY ALL ORDER BY ALL
"""


def read(source: Path, skipped: Tally) -> Iterator[dict[str, object]]:
    """Photos with the position of their observation, in order of photo id.

    The tables are joined by DuckDB, on disk where they do not fit into 2 GB. Obscured coordinates (threatened species)
    come with the error of kilometres that iNaturalist states: filter on `accuracy_m`.

    Args:
        source: folder of observations.csv and photos.csv, tab-separated, plain or .gz; with observers.csv, authors
            have names instead of numbers.
        skipped: takes photos without a readable observation and lines of photos.csv that are no row.

    Raises:
        GraftError: a table is not there, not of this format, or damaged.
    """
    duckdb = import_extra("duckdb", "prepare")
    files = {name: _file(source, name) for name in _COLUMNS}
    tables = {name: _NOBODY if file is None else _scan(name, file) for name, file in files.items()}
    with tempfile.TemporaryDirectory(prefix="graft-inaturalist-") as temp, duckdb.connect() as base:
        try:
            base.execute(f"SET memory_limit = '{_MEMORY}'")
            base.execute(f"SET threads = {_THREADS}")
            base.execute(f"SET temp_directory = {_quoted(temp)}")
            found = base.execute(_JOIN.format(**tables))
            with tqdm(desc="joining", unit="photo") as bar:
                while rows := found.fetchmany(_BATCH):
                    bar.update(len(rows))
                    yield from _rows(rows, skipped)
            for line, reason in base.execute(_REJECTED, {"file": str(files["photos"])}).fetchall():
                skipped.add(_FAULTS.get(reason, "not readable as a row"), f"photos:{line}")
        except duckdb.Error as error:
            raise GraftError(
                f"{source} cannot be read as iNaturalist open data: {first_line(error)}. Expected whole files and disk "
                f"for the join: fetch them again, or set TMPDIR to a larger disk than {tempfile.gettempdir()}."
            ) from error


def _rows(rows: list[tuple[Any, ...]], skipped: Tally) -> Iterator[dict[str, object]]:
    for photo_id, extension, license_, observer, observation, lat, lon, accuracy, day, login, name in rows:
        if observation is None:
            skipped.add("its observation is missing or not readable", str(photo_id))
            continue
        yield {
            "photo_id": photo_id and f"inaturalist-{photo_id}",
            "source": "inaturalist",
            "url": _ADDRESS.format(photo_id=photo_id, extension=extension) if photo_id and extension else "",
            "lon": lon,
            "lat": lat,
            "accuracy_m": accuracy,
            "taken_at": day,
            "author": name or login or (observer and f"iNaturalist user {observer}"),
            "license": spdx(license_ or "", version="4.0"),
            "page_url": f"https://www.inaturalist.org/photos/{photo_id}",
        }


def _file(source: Path, name: str) -> Path | None:
    found = [file for file in (source / f"{name}.csv", source / f"{name}.csv.gz") if file.is_file()]
    if not found:
        if name == "observers":
            return None
        raise GraftError(
            f"{source} has no {name}.csv or {name}.csv.gz: give the folder that holds iNaturalist's open data, "
            "both observations and photos."
        )
    missing = [column for column in _COLUMNS[name] if column not in _header(found[0])]
    if missing:
        raise GraftError(
            f"{found[0]} is not iNaturalist's table of {name}: it lacks {', '.join(missing)} in its first line, "
            "divided by tabs. Fetch it again, or give another --format."
        )
    return found[0]


def _header(file: Path) -> list[str]:
    with closing(text_lines(file, bar=False)) as lines:
        return next(lines, "").rstrip("\r\n").split("\t")


def _scan(name: str, file: Path) -> str:
    """SQL that reads a table, every column as text; lines that are no row go to DuckDB's list of rejects."""
    columns = ", ".join(f"{_quoted(column)}: 'VARCHAR'" for column in _header(file))
    return (
        f"SELECT {', '.join(_COLUMNS[name])} FROM read_csv({_quoted(str(file))}, columns = {{{columns}}}, "
        "delim = '\t', quote = '', escape = '', header = true, auto_detect = false, store_rejects = true)"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
