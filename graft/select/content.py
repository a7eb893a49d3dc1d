"""The second selection, by what the photos show."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from graft.prepare.tables import copy_query, database
from graft.select.metadata import small
from graft.select.near_duplicates import drop_table, find_near_copies
from graft.select.scene_words import SCENE
from graft.select.settings import ContentFilters
from graft.select.tables import check_some_left, count_reasons
from graft.tally import Tally

_EXACT, _NEAR = "the same file as another photo", "near copy of another photo"
_COLOUR, _UNCLEAR, _UNSEEN = "without colour", "not a scene: unclear", "not looked at"


def by_content(
    selected: Path,
    looks: Sequence[Path],
    out: Path,
    *,
    filters: ContentFilters,
    vectors: Sequence[Path] | None,
    min_side: int = 1,
    temp: Path,
    memory: str = "1GB",
) -> Tally:
    """Select photos by the results of looking at them.

    A photo that fails several filters counts under the first of them. Of copies the first in the seeded order stays.

    Args:
        selected: as `by_metadata` writes it.
        looks: Parquet files with one row a photo: photo_id, fault ("" if it decoded), sha256, phash (int64), width and
            height (of the file), colour (mean saturation, 0..1), kind, scene (0..1; null without a teacher), part
            (int32) and row (int32, in the vectors of that part; -1 without).
        out: `selected` without those left out, with sha256, width and height of the file and the columns kind, scene,
            part and row; same order.
        filters: what to leave out.
        vectors: the .npy file of each part, by number; None without a teacher.
        min_side: pixels on the shorter side of the file.
        temp: folder for temporary files.
        memory: limit, e.g. "1GB".

    Returns:
        What was left out, by reason. Rows kept are rows of `selected` less its total.

    Raises:
        GraftError: no photo left.
    """
    temp.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=temp) as folder, database(Path(folder), memory) as connection:
        connection.from_parquet(str(selected)).create_view("selected")
        connection.from_parquet([str(path) for path in looks]).create_view("looks")
        connection.execute(
            f"""CREATE TABLE judged AS
            SELECT selected.photo_id, selected.rank, looks.sha256, CASE
                WHEN looks.photo_id IS NULL THEN '{_UNSEEN}'
                WHEN fault <> '' THEN fault
                WHEN least(looks.width, looks.height) < {min_side} THEN '{small(min_side)}'
                WHEN colour < {filters.min_colour!r} THEN '{_COLOUR}'
                WHEN scene < {filters.min_scene!r} AND kind = '{SCENE}' THEN '{_UNCLEAR}'
                WHEN scene < {filters.min_scene!r} THEN 'not a scene: ' || kind END AS reason
            FROM selected LEFT JOIN looks USING (photo_id)"""
        )
        # Judged again, rather than updated in place: an update would keep both versions.
        connection.execute(
            f"""CREATE TABLE different AS SELECT photo_id, rank, coalesce(reason, CASE WHEN row_number() OVER (
                PARTITION BY sha256, reason IS NULL ORDER BY rank, photo_id) > 1 THEN '{_EXACT}' END) AS reason
            FROM judged"""
        )
        rows = "different"
        if filters.near_duplicates:
            connection.execute(
                """CREATE TABLE candidates AS SELECT row_number() OVER (ORDER BY rank, photo_id) - 1 AS n, photo_id,
                phash, author, taken_at, lon, lat, part, row
                FROM different JOIN selected USING (photo_id, rank) JOIN looks USING (photo_id) WHERE reason IS NULL"""
            )
            drop_table(connection, "copies", find_near_copies(connection, "candidates", vectors or (), Path(folder)))
            rows = (
                f"(SELECT photo_id, rank, CASE WHEN c.photo_id IS NULL THEN reason ELSE '{_NEAR}' END AS reason "
                "FROM different LEFT JOIN (SELECT photo_id FROM candidates JOIN copies USING (n)) c USING (photo_id))"
            )
        tally = count_reasons(connection, rows)
        check_some_left(connection, rows, tally, "the filters of what they show")
        copy_query(
            connection,
            f"""SELECT selected.* REPLACE (looks.sha256 AS sha256, looks.width AS width, looks.height AS height),
                kind, scene, part, row
            FROM selected JOIN looks USING (photo_id) SEMI JOIN (SELECT photo_id FROM {rows} WHERE reason IS NULL) kept
                USING (photo_id) ORDER BY cell, rank, photo_id""",
            out,
        )
    return tally
