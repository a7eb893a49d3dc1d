"""Parquet tables between the stages of a build: written whole, read by row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graft.errors import GraftError, first_line, import_extra
from graft.files import atomic_path
from graft.select.tables import limit_threads

ROW_GROUP = 2048


def write_rows(path: Path, rows: Sequence[dict[str, Any]], schema: Any) -> None:
    """Write rows as one Parquet file, whole or not at all."""
    pa, pq = import_extra("pyarrow", "prepare"), import_extra("pyarrow.parquet", "prepare")
    with atomic_path(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), partial, row_group_size=ROW_GROUP)


def row_count(path: Path) -> int:
    """Number of rows; only the footer is read."""
    return int(import_extra("pyarrow.parquet", "prepare").read_metadata(path).num_rows)


def read_rows(path: Path, start: int, stop: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows `start` to `stop`; only their row groups are read."""
    file = import_extra("pyarrow.parquet", "prepare").ParquetFile(path)
    try:
        first, groups, offset = 0, [], None
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if first < stop and first + count > start:
                groups.append(group)
                offset = first if offset is None else offset
            first += count
        if not groups or offset is None:
            return []
        table = file.read_row_groups(groups, columns=None if columns is None else list(columns))
        rows: list[dict[str, Any]] = table.slice(start - offset, stop - start).to_pylist()
        return rows
    finally:
        file.close()


@contextmanager
def database(temp: Path, memory: str) -> Iterator[Any]:
    """A DuckDB connection that spills to `temp` instead of growing past `memory`."""
    duckdb = import_extra("duckdb", "prepare")
    temp.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    try:
        try:
            connection.execute("SET memory_limit = ?", [memory])
        except duckdb.Error as error:
            raise GraftError(f"memory is {memory!r}: {first_line(error)}. Give a size such as 2GB.") from error
        connection.execute("SET temp_directory = ?", [str(temp)])
        connection.execute("SET enable_progress_bar = false")
        limit_threads(connection)
        yield connection
    except duckdb.OutOfMemoryException as error:
        raise GraftError(f"The database needs more than memory: {memory}; raise it ({first_line(error)}).") from error
    finally:
        connection.close()


def sql_text(value: object) -> str:
    """A path or text as SQL writes it."""
    return "'" + str(value).replace("'", "''") + "'"


def sql_files(paths: Sequence[Path]) -> str:
    """Parquet files as the argument of `read_parquet`."""
    return "[" + ", ".join(sql_text(path) for path in paths) + "]"


def copy_query(connection: Any, query: str, path: Path) -> None:
    """Write the rows of a query, in its order, as a Parquet file: whole or not at all."""
    with atomic_path(path) as partial:
        connection.execute(f"COPY ({query}) TO {sql_text(partial)} (FORMAT parquet, ROW_GROUP_SIZE {ROW_GROUP})")
