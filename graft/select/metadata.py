"""The first selection, by what the photo table says, before any photo is opened."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from graft.errors import GraftError, first_line, import_extra
from graft.photos.permission import ANY_LICENSE, Permission
from graft.photos.schema import PHOTO_COLUMNS
from graft.prepare.tables import copy_query, database, sql_text
from graft.select.areas import Areas
from graft.select.cells import cell_of
from graft.select.settings import MetadataFilters, Splits
from graft.select.splits import split_of
from graft.select.tables import add_position_function, check_some_left, count_reasons
from graft.tally import Tally

_COLUMNS = [name for name in PHOTO_COLUMNS if name != "geometry"]
"""What later stages may ask for; the geometry says what lon and lat say."""


def by_metadata(
    table: Path,
    out: Path,
    *,
    filters: MetadataFilters,
    splits: Splits,
    seed: int,
    buffer_m: float,
    temp: Path,
    memory: str = "1GB",
) -> Tally:
    """Select rows of a photo table.

    A photo that fails several filters counts under the first of them. Memory is bounded; what does not fit goes to
    `temp`. The result does not depend on the number of threads.

    Args:
        table: GeoParquet as `graft photos` writes it.
        out: Parquet with the table's columns but the geometry, `path` made absolute, and `cell` (int64, of
            `splits.cell_km`), `split` and `rank` (hex md5 of "seed/photo_id": the seeded order of all later choices),
            sorted by cell and rank.
        filters: what to leave out.
        splits: which ground belongs to which split.
        seed: of the order and of the splits.
        buffer_m: metres between photos and ground of another split; the diagonal of a tile is enough.
        temp: folder for temporary files.
        memory: limit, e.g. "1GB".

    Returns:
        What was left out, by reason. Rows kept are rows of the table less its total.

    Raises:
        GraftError: not a photo table, a bad list or area, or no photo left.
    """
    permission = Permission.read([ANY_LICENSE] if filters.licenses is None else filters.licenses, filters.takedown)
    # A photo nearer than a tile's diagonal could be in a tile that reaches into the area.
    areas = Areas(filters.exclude, max(filters.exclude_buffer_m, buffer_m)) if filters.exclude else None
    temp.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=temp) as folder, database(Path(folder), memory) as connection:
        _open(connection, table)
        add_position_function(connection, "cell_of", lambda lon, lat: cell_of(lon, lat, splits.cell_km), "BIGINT")
        add_position_function(
            connection,
            "split_of",
            lambda lon, lat: split_of(lon, lat, splits, seed=seed, buffer_m=buffer_m),
            "VARCHAR",
        )
        if areas is not None:
            add_position_function(connection, "excluded", areas.contain, "BOOLEAN")
        checks = _checks(connection, filters, permission, excluding=areas is not None)
        root = sql_text(f"{table.parent.absolute()}/")
        judged = Path(folder) / "judged.parquet"
        cases = " ".join(f"WHEN {condition} THEN {sql_text(reason)}" for reason, condition in checks.items())
        copy_query(
            connection,
            f"""SELECT {", ".join(_COLUMNS)}, cell, split, rank, CASE {cases} END AS reason
                FROM (SELECT * REPLACE (CASE WHEN path = '' OR starts_with(path, '/') THEN path ELSE {root} || path END
                                        AS path),
                             cell_of(lon, lat) AS cell, split_of(lon, lat) AS split,
                             md5('{seed}/' || photo_id) AS rank
                      FROM photos)
                LEFT JOIN repeated_ids USING (photo_id) LEFT JOIN repeated_positions USING (lon, lat)""",
            judged,
        )
        rows = f"read_parquet({sql_text(judged)})"
        tally = count_reasons(connection, rows)
        check_some_left(connection, rows, tally, f"the filters of the table {table}")
        kept = f"SELECT * EXCLUDE (reason) FROM {rows} WHERE reason IS NULL ORDER BY cell, rank, photo_id"
        copy_query(connection, kept, out)
    return tally


def _open(connection: Any, table: Path) -> None:
    """The view `photos`."""
    duckdb = import_extra("duckdb", "prepare")
    try:
        connection.execute(f"CREATE VIEW stored AS FROM read_parquet({sql_text(table)}, file_row_number = true)")
        columns = {row[0] for row in connection.execute("DESCRIBE stored").fetchall()}
    except duckdb.Error as error:
        raise GraftError(
            f"The photo table {table} cannot be read: {first_line(error)}. graft photos makes one."
        ) from error
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        raise GraftError(f"The photo table {table} lacks {', '.join(missing)}; expected one that graft photos made.")
    # Whoever wrote the table: a column of another type is brought to ours, and what does not fit is unknown.
    fields = [f"{_cast(name)} AS {name}" for name in _COLUMNS]
    connection.execute(f"CREATE VIEW photos AS SELECT {', '.join(fields)}, file_row_number FROM stored")


def _cast(name: str) -> str:
    """A column as the schema has it; a position that is nowhere on Earth is null."""
    if PHOTO_COLUMNS[name] == "string":
        return f"coalesce(CAST({name} AS VARCHAR), '')"
    kind = {"float64": "DOUBLE", "int8": "TINYINT", "int32": "INTEGER"}[PHOTO_COLUMNS[name]]
    number = f"TRY_CAST({name} AS {kind})"
    limit = {"lon": 180, "lat": 90}.get(name)
    # NaN is larger than every number to DuckDB.
    return number if limit is None else f"CASE WHEN abs({number}) <= {limit} THEN {number} END"


def _checks(connection: Any, filters: MetadataFilters, permission: Permission, *, excluding: bool) -> dict[str, str]:
    """Reason -> condition in SQL, in the order of checking; makes the tables that the conditions look into."""
    pa = import_extra("pyarrow", "prepare")
    connection.register("taken_down", pa.table({"entry": pa.array(sorted(permission.taken_down), pa.string())}))
    connection.execute(
        "CREATE TABLE repeated_ids AS SELECT photo_id, min(file_row_number) AS first_row FROM photos "
        "GROUP BY photo_id HAVING count(*) > 1"
    )
    most = filters.max_repeats
    connection.execute(
        "CREATE TABLE repeated_positions AS SELECT lon, lat, true AS repeated FROM (SELECT DISTINCT lon, lat, "
        "CASE WHEN author = '' THEN 'photo/' || photo_id ELSE 'author/' || author END AS witness FROM photos) "
        f"GROUP BY lon, lat HAVING count(*) > {'NULL' if most is None else most}"
    )
    checks = {
        "no id": "photo_id = ''",
        "no position on Earth": "lon IS NULL OR lat IS NULL",
        "photo_id listed before": "file_row_number > first_row",
    }
    listed = "SELECT entry FROM taken_down"
    checks["on the take-down list"] = " OR ".join(
        f"{column} IN ({listed})" for column in ("photo_id", "author", "url", "page_url")
    )
    if permission.licenses is not None:
        checks["license not allowed"] = f"NOT regexp_full_match(license, {sql_text(permission.licenses.pattern)}, 'i')"
    if filters.max_accuracy_m is not None:
        checks[f"position less sure than {filters.max_accuracy_m:g} m"] = f"accuracy_m > {filters.max_accuracy_m!r}"
    if filters.min_accuracy_level is not None:
        level = filters.min_accuracy_level
        checks[f"position of accuracy level below {level}"] = f"accuracy_level < {level}"
    if filters.min_decimals > 0:
        digits = filters.min_decimals - 1
        checks[f"position of fewer than {filters.min_decimals} decimals"] = (
            f"abs(lon - round(lon, {digits})) < 1e-9 AND abs(lat - round(lat, {digits})) < 1e-9"
        )
    if most is not None:
        checks[f"position shared by more than {most} authors"] = "repeated"
    checks[small(filters.min_side)] = f"least(width, height) < {filters.min_side}"
    if excluding:
        checks["in an excluded area"] = "excluded(lon, lat)"
    checks["near ground of another split"] = "split = ''"
    return checks


def small(min_side: int) -> str:
    """The reason under which a photo with a side below `min_side` is counted."""
    return f"a side below {min_side} pixels"
