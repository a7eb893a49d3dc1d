"""The end of a build: shards move to their folder, beside the index, the credits and the report."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from graft.files import atomic_path, write_json
from graft.prepare.samples import ShardCard
from graft.prepare.settings import BuildSettings
from graft.prepare.shards import INDEX, index_content, remove_shards
from graft.prepare.summary import Summary
from graft.prepare.tables import database, row_count, sql_files, sql_text
from graft.prepare.work import MOVING, Work
from graft.tally import Tally

ATTRIBUTION, REPORT = "ATTRIBUTION.csv", "prepare.json"


def publish(
    settings: BuildSettings,
    work: Work,
    shards: Mapping[str, Sequence[Mapping[str, Any]]],
    left_out: Mapping[str, Tally],
    cards: Mapping[str, ShardCard],
    *,
    overwrite: bool,
) -> Summary:
    """Move shards to `OUT/SPLIT`, write `index.json` of each last, and clear the work folder.

    Every step may be repeated: a build that is killed here is taken up here.
    """
    out = settings.out
    written = _write_attribution(work, settings.memory, list(cards), out / ATTRIBUTION)
    summary = Summary.of(out, row_count(settings.photos), written, shards, left_out)
    moving = work.folder / MOVING
    if overwrite and not moving.exists():
        for split in {*_splits_of(out / REPORT), *cards}:
            remove_shards(out / split)
    write_json(moving, sorted(cards))
    for split, rows in shards.items():
        folder = out / split
        folder.mkdir(exist_ok=True)
        for row in rows:
            made = work.folder / "shards" / split / row["file"]
            if made.exists():
                made.replace(folder / row["file"])
        build = {"settings": settings.deciding(), **summary.to_json(split)}
        write_json(folder / INDEX, index_content(cards[split], rows, build))
    write_json(out / REPORT, {"settings": settings.deciding(), **summary.to_json()})
    # A part that outlived its session may still be adding files; it cannot add to a folder that is gone.
    shutil.rmtree(work.folder.parent, ignore_errors=True)
    return summary


def _splits_of(report: Path) -> list[str]:
    """Splits of the build that is to be replaced."""
    return list(json.loads(report.read_text(encoding="utf-8"))["splits"]) if report.exists() else []


def _write_attribution(work: Work, memory: str, splits: Sequence[str], path: Path) -> int:
    """One row for each photo in the shards: who took it, under which licence, where it is from; returns how many."""
    orders = sql_files([work.table(f"order-{split}") for split in splits])
    selected = sql_text(work.table("selected"))
    query = (
        f"SELECT photo_id, author, license, license_url, page_url, source FROM read_parquet({selected}) WHERE "
        f"photo_id IN (SELECT photo.photo_id FROM (SELECT unnest(photos) AS photo FROM read_parquet({orders}))) "
        "ORDER BY photo_id"
    )
    with database(work.temp, memory) as connection, atomic_path(path) as partial:
        (number,) = connection.execute(f"COPY ({query}) TO {sql_text(partial)} (FORMAT csv, HEADER)").fetchone()
    return int(number)
