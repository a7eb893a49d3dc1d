"""`graft indexes`: look into, export, tidy and speed up indexes."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.errors import GraftError
from graft.index.ann_verb import ann

if TYPE_CHECKING:
    from graft.index.schema import SourceCard
    from graft.index.table import Index


def show(index: str) -> "list[SourceCard]":
    """Show whose vectors an index holds, of which sources, places and times.

    Args:
        index: folder, or s3://bucket/prefix.

    Returns:
        The sources whose tiles are all in and stay.

    Raises:
        GraftError: no index there.
    """
    from graft.index.table import Index, quoted

    table = Index.open(index)
    model, teacher = table.card.model, table.card.teacher
    tiles, extent = _scan(table)
    sources = table.sources()
    held = f"{tiles.total():,} tiles of {len(tiles):,} sources, D={table.card.dim}, version {table.version:,}"
    made = f"{model['sensor']}, {model['gsd_m']:g} m, {model['window']} px"
    print(f"{table.address}: {held}")
    print(f"  model    {model['name']} (sha256 {model['sha256'][:12]}), {made}")
    print(f"  teacher  {teacher['name']} (identity {teacher['identity'][:12]})")
    for line in extent:
        print(f"  {line}")
    if tiles or sources:
        print(f"  {'id':<16} {'kind':<8} {'tiles':>10} {'left out':>10}  source")
    for card in sources:
        left_out = sum(card.skipped.values())
        state = "" if card.fingerprint else " is being removed; give graft indexes remove again"
        print(f"  {card.id:<16} {card.kind:<8} {tiles[card.id]:>10,} {left_out:>10,}  {card.name}{state}")
    for source_id in sorted(set(tiles) - {card.id for card in sources}):
        first = next(table.batches(["path"], f"source_id = {quoted(source_id)}", rows=1))["path"][0]
        print(f"  {source_id:<16} {'?':<8} {tiles[source_id]:>10,} {'?':>10}  {first} is not finished")
    return [card for card in sources if card.fingerprint]


def export(index: str, out: Path, *, vectors: bool = False) -> int:
    """Write an index as one GeoParquet file.

    Args:
        index: folder, or s3://bucket/prefix.
        out: file to write; one that is there is replaced.
        vectors: write the vectors too, as half-precision lists.

    Returns:
        Rows written.

    Raises:
        GraftError: no index there, or the file cannot be written.
    """
    from graft.index.export import export_geoparquet
    from graft.index.table import Index

    rows = export_geoparquet(Index.open(index), out, vectors=vectors)
    print(f"{rows:,} tiles in {out}")
    return rows


def remove(index: str, source: str) -> int:
    """Remove a source and its tiles from an index.

    Args:
        index: folder, or s3://bucket/prefix.
        source: its id or its path, as `graft indexes show` tells them.

    Returns:
        Tiles removed.

    Raises:
        GraftError: no index or no such source there, or another process is writing to it.
    """
    from graft.index.lock import writer_lock
    from graft.index.table import Index

    Index.open(index)  # the lock would make the folder
    with writer_lock(index):
        table = Index.open(index)
        tiles = table.remove_source(_source_id(table, source))
    print(f"{tiles:,} tiles of {source} removed, {len(table):,} left; graft indexes compact {index} frees their space")
    return tiles


def compact(index: str) -> None:
    """Merge the small files of an index and drop its old versions, also those that a running search may be reading.

    Args:
        index: folder, or s3://bucket/prefix.

    Raises:
        GraftError: no index there, or another process is writing to it.
    """
    from graft.index.lock import writer_lock
    from graft.index.table import Index

    Index.open(index)
    with writer_lock(index):
        table = Index.open(index)
        table.compact(timedelta(0))
    print(f"{table.address}: {len(table):,} tiles, version {table.version:,}")


def _scan(table: "Index") -> tuple[Counter[str], list[str]]:
    """Tiles by source, and lines about places and times."""
    import pyarrow.compute as pc

    tiles: Counter[str] = Counter()
    ends: dict[str, list[Any]] = {"lon": [], "lat": [], "datetime": []}
    for batch in table.batches(["source_id", *ends]):
        for pair in batch["source_id"].value_counts().to_pylist():
            tiles[pair["values"]] += pair["counts"]
        for name, found in ends.items():
            found += [end for end in pc.min_max(batch[name]).as_py().values() if end is not None]
    lines = []
    if ends["lon"]:
        lon, lat = ends["lon"], ends["lat"]
        lines.append(f"places   {min(lon):.4f}..{max(lon):.4f} east, {min(lat):.4f}..{max(lat):.4f} north (middles)")
    if ends["datetime"]:
        lines.append(f"times    {min(ends['datetime']):%Y-%m-%d}..{max(ends['datetime']):%Y-%m-%d}")
    return tiles, lines


def _source_id(table: "Index", source: str) -> str:
    known = {card.name: card.id for card in table.sources()}
    for name in (source, str(Path(source).resolve())):
        if name in known:
            return known[name]
    ids = set(known.values())
    for batch in table.batches(["source_id"]):
        ids.update(batch["source_id"].unique().to_pylist())
    if source not in ids:
        raise GraftError(f"No source {source} in {table.address}: graft indexes show {table.address} lists them.")
    return source


VERBS = {"show": show, "export": export, "ann": ann, "remove": remove, "compact": compact}
"""The sub-commands by name."""
