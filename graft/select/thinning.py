"""The third selection: no author and no place may crowd out the others."""

from pathlib import Path
from tempfile import TemporaryDirectory

from graft.prepare.tables import copy_query, database
from graft.select.cells import cell_of
from graft.select.settings import Thinning
from graft.select.tables import add_position_function, check_some_left, count_reasons
from graft.tally import Tally


def thin(scenic: Path, out: Path, *, settings: Thinning, temp: Path, memory: str = "1GB") -> Tally:
    """Cap photos by author and place; of those over a cap, the first in the seeded order stay.

    The caps apply one after the other: author in a cell, author altogether, cell by the power law, cell altogether.
    Cells that two splits share are counted for each split by itself.

    Args:
        scenic: Parquet with photo_id, rank, cell, split, lon, lat and author.
        out: the rows that stay, same columns and order.
        settings: the caps.
        temp: folder for temporary files.
        memory: limit, e.g. "1GB".

    Returns:
        What was left out, by reason. Rows kept are rows of `scenic` less its total.

    Raises:
        GraftError: `scenic` is empty.
    """
    each = settings.max_per_author_cell
    total = settings.max_per_author
    cell = settings.max_per_cell
    full = settings.full_cell
    # Reason, whose photos are counted together, which photos the cap is for, how many of them stay.
    steps = [
        (f"beyond {each} of one author in a cell", "author, split, place", "author <> ''", each),
        (f"beyond {total} of one author", "author", "author <> ''", total),
        (
            f"beyond {full} in a cell, by the power law",
            "split, place",
            "true",
            f"ceil({full} * (greatest(number, {full}) / {full}::DOUBLE) ** {settings.alpha!r})",
        ),
        (f"beyond {cell} in a cell", "split, place", "true", cell),
    ]
    temp.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=temp) as folder, database(Path(folder), memory) as connection:
        connection.from_parquet(str(scenic)).create_view("scenic")
        add_position_function(connection, "place_of", lambda lon, lat: cell_of(lon, lat, settings.cell_km), "BIGINT")
        connection.execute(
            "CREATE TABLE step0 AS SELECT photo_id, rank, author, split, place_of(lon, lat) AS place, "
            "NULL::VARCHAR AS reason FROM scenic"
        )
        for number, (reason, key, where, most) in enumerate(steps):
            connection.execute(
                f"""CREATE TABLE step{number + 1} AS SELECT photo_id, rank, author, split, place, CASE
                    WHEN reason IS NULL AND {where} AND nth > {"NULL" if most is None else most} THEN '{reason}'
                    ELSE reason END AS reason
                FROM (SELECT *, row_number() OVER (PARTITION BY {key}, reason IS NULL ORDER BY rank, photo_id) AS nth,
                             count(*) OVER (PARTITION BY {key}, reason IS NULL) AS number FROM step{number})"""
            )
            connection.execute(f"DROP TABLE step{number}")
        rows = f"step{len(steps)}"
        tally = count_reasons(connection, rows)
        check_some_left(connection, rows, tally, "thinning")
        kept = f"SEMI JOIN (SELECT photo_id FROM {rows} WHERE reason IS NULL) kept USING (photo_id)"
        copy_query(connection, f"SELECT * FROM scenic {kept} ORDER BY cell, rank, photo_id", out)
    return tally
