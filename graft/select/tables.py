"""What the stages of a selection have in common: numpy functions inside SQL, and counts by reason."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.errors import GraftError, import_extra
from graft.select.cells import Floats
from graft.tally import SHOWN_EXAMPLES, Tally

MAX_THREADS = 4
"""Each thread of a sort or a join holds buffers of its own; on 64 of them they would not fit into a gigabyte."""


def limit_threads(connection: Any) -> None:
    """Keep a connection within its memory on machines with many cores; results do not depend on it."""
    (threads,) = connection.execute("SELECT current_setting('threads')").fetchone()
    connection.execute(f"SET threads = {min(int(threads), MAX_THREADS)}")


def add_position_function(
    connection: Any, name: str, function: Callable[[Floats, Floats], npt.NDArray[Any]], kind: str
) -> None:
    """Make a numpy function of lon and lat (float64 [N]) callable in SQL, so that there is one implementation of it.

    Args:
        connection: a DuckDB connection.
        name: in SQL.
        function: gives an array [N].
        kind: SQL type of its elements.
    """
    pa = import_extra("pyarrow", "prepare")

    def on_columns(lon: Any, lat: Any) -> Any:
        return pa.array(function(np.asarray(lon, np.float64), np.asarray(lat, np.float64)))

    connection.create_function(name, on_columns, ["DOUBLE", "DOUBLE"], kind, type="arrow")


def count_reasons(connection: Any, rows: str) -> Tally:
    """Count what is left out.

    Args:
        connection: a DuckDB connection.
        rows: a query or table in parentheses with the columns photo_id, rank and reason (null where kept).

    Returns:
        The counts, largest first, each with the first few photos in the order of `rank`.
    """
    tally = Tally()
    for reason, number, names in connection.execute(
        f"SELECT reason, count(*) AS number, arg_min(photo_id, (rank, photo_id), {SHOWN_EXAMPLES}) FROM {rows} "
        "WHERE reason IS NOT NULL GROUP BY reason ORDER BY number DESC, reason"
    ).fetchall():
        for name in names:
            tally.add(reason, name)
        tally.add(reason, number=number - len(names))
    return tally


def check_some_left(connection: Any, rows: str, tally: Tally, doing: str) -> None:
    """Refuse to go on with nothing.

    Raises:
        GraftError: every row of `rows` has a reason, or there is no row.
    """
    (number,) = connection.execute(f"SELECT count(*) FROM {rows}").fetchone()
    if tally.total == number:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in tally.counts.items()) or "there was none before"
        raise GraftError(f"No photo of {number:,} is left after {doing}: {reasons}. Change the filters.")
