"""Copies of a photo that are not the same file: re-encoded, resized, slightly cropped, or one of a burst."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.errors import import_extra
from graft.prepare.tables import copy_query
from graft.select.cells import cell_of
from graft.select.tables import add_position_function

PLACE_KM = 0.1
_BLOCKS = 6
_BATCH = 65_536


@dataclass(frozen=True)
class Likeness:
    """How alike two photos must be to be copies, given what their metadata have in common.

    Attributes:
        group: SQL expression, null for photos that are in no group; only photos of one group are compared.
        max_bits: differing bits of 64 of their perceptual hashes.
        min_cosine: of their teacher's vectors, where both have one.
        most: photos of a group that others are compared with, the first in the seeded order. It keeps the work in
            proportion to the number of photos even where a hundred thousand look the same.
    """

    group: str
    max_bits: int
    min_cosine: float
    most: int


def _anywhere() -> list[Likeness]:
    """Copies among all photos, without comparing each with each.

    Four bits spoil at most four of six blocks of a hash, so two blocks are equal: fifteen joins on 20 to 22 bits find
    every such pair.
    """
    likenesses = []
    for blocks in combinations(range(_BLOCKS), 2):
        bits = sum(1 << bit for bit in range(64) if bit % _BLOCKS in blocks)
        mask = bits - (bits >> 63 << 64)  # as SQL's signed integer
        likenesses.append(Likeness(f"phash & {mask}", max_bits=4, min_cosine=0.97, most=200))
    return likenesses


# Of 119,000 pairs of different real photos none differs in fewer than 14 bits. A photo re-encoded at quality 60 or at
# half the size differs from itself in 4 at most (99 %), without 2 % on each side in 10 at most (98 %).
ANYWHERE = _anywhere()
# One author's day, or one spot where either is unknown.
ONE_DAY = Likeness(
    "CASE WHEN author <> '' AND length(taken_at) >= 10 THEN author || '/' || left(taken_at, 10) "
    "ELSE author || '/' || spot END",
    max_bits=12,
    min_cosine=0.95,
    most=1000,
)
_SECOND = "contains(taken_at, 'T') AND NOT contains(taken_at, 'T00:00:00')"
# One second anywhere: the same photo put up again by somebody else, at another place. Midnight is how archives write
# that the time is unknown.
ONE_MOMENT = Likeness(f"CASE WHEN {_SECOND} THEN taken_at END", max_bits=16, min_cosine=0.9, most=200)
# One position to the last digit and one second, which a copy has from its original.
ONE_SECOND = Likeness(
    f"CASE WHEN {_SECOND} THEN lon || '/' || lat || '/' || taken_at END",
    max_bits=20,
    min_cosine=0.75,
    most=1000,
)


def find_near_copies(connection: Any, photos: str, vectors: Sequence[Path], folder: Path) -> npt.NDArray[np.bool_]:
    """Find photos that are near copies of another photo that stays.

    Photos are decided in order; one goes where a photo before it stays that is like it, so of a chain of ever less
    similar photos every other one stays. Memory holds one byte a photo and one batch of pairs.

    Args:
        connection: a DuckDB connection.
        photos: its table with n (0 to N - 1, the order), phash, author, taken_at, lon, lat, part and row.
        vectors: the .npy file of each part, float16 or float32 [M, D], unit length; empty where there are none.
        folder: for temporary files.

    Returns:
        bool [N], True for photos to leave out.
    """
    add_position_function(connection, "spot_of", lambda lon, lat: cell_of(lon, lat, PLACE_KM), "BIGINT")
    connection.execute("CREATE TABLE pairs (first BIGINT, second BIGINT, min_cosine DOUBLE)")
    for likeness in (*ANYWHERE, ONE_DAY, ONE_MOMENT, ONE_SECOND):
        connection.execute(
            f"""INSERT INTO pairs
            WITH spotted AS (SELECT *, spot_of(lon, lat) AS spot FROM {photos}),
                 grouped AS (SELECT n, phash, {likeness.group} AS key FROM spotted),
                 shared AS (SELECT key FROM grouped WHERE key IS NOT NULL GROUP BY key HAVING count(*) > 1),
                 placed AS (SELECT n, phash, key, row_number() OVER (PARTITION BY key ORDER BY n) AS place
                            FROM grouped SEMI JOIN shared USING (key))
            SELECT a.n, b.n, {likeness.min_cosine} FROM placed a JOIN placed b USING (key)
            WHERE a.place <= {likeness.most} AND a.n < b.n
                AND bit_count(xor(a.phash, b.phash)) <= {likeness.max_bits}"""
        )
    (number,) = connection.execute(f"SELECT count(*) FROM {photos}").fetchone()
    dropped = np.zeros(number, bool)
    copy_query(
        connection,
        f"""SELECT first, second, min_cosine, a.part AS part_a, a.row AS row_a, b.part AS part_b, b.row AS row_b
        FROM (SELECT first, second, min(min_cosine) AS min_cosine FROM pairs GROUP BY first, second)
        JOIN {photos} a ON first = a.n JOIN {photos} b ON second = b.n ORDER BY second, first""",
        folder / "pairs.parquet",
    )
    connection.execute("DROP TABLE pairs")
    read = cache(_map_vectors)
    pairs = import_extra("pyarrow.parquet", "prepare").ParquetFile(folder / "pairs.parquet")
    for batch in pairs.iter_batches(_BATCH):
        first, second, needed, part_a, row_a, part_b, row_b = (column.to_numpy() for column in batch.columns)
        cosines = np.ones(len(first))  # where a vector is unknown the hash alone decides
        known = (row_a >= 0) & (row_b >= 0) & bool(vectors)
        if known.any():
            left, right = (
                _gather([read(vectors[part]) for part in parts[known]], rows[known])
                for parts, rows in ((part_a, row_a), (part_b, row_b))
            )
            cosines[known] = np.einsum("nd,nd->n", left, right)
        alike = cosines >= needed
        for before, after in zip(first[alike].tolist(), second[alike].tolist(), strict=True):
            dropped[after] |= not dropped[before]
    return dropped


def _map_vectors(path: Path) -> npt.NDArray[Any]:
    """A part's vectors, not read but mapped."""
    mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def _gather(parts: Sequence[npt.NDArray[Any]], rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """One row of each part: float32 [N, D]."""
    return np.stack([part[row] for part, row in zip(parts, rows.tolist(), strict=True)]).astype(np.float32)


def drop_table(connection: Any, name: str, dropped: npt.NDArray[np.bool_]) -> None:
    """Make the numbers of dropped photos a table with the column n."""
    pa = import_extra("pyarrow", "prepare")
    connection.register(name, pa.table({"n": np.flatnonzero(dropped)}))
