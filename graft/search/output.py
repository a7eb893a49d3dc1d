"""What a search prints and writes: a table, GeoJSON, CSV, or a page."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graft.errors import GraftError, first_line
from graft.files import atomic_path
from graft.index.schema import SourceCard
from graft.search.geojson import feature_collection, properties
from graft.search.hits import Hit, SearchResult

if TYPE_CHECKING:
    from graft.index.table import Index

Format = Literal["table", "geojson", "csv", "html"]
_ENDINGS: dict[str, Format] = {".geojson": "geojson", ".json": "geojson", ".csv": "csv", ".html": "html"}


def choose_format(given: Format | None, out: Path | None) -> Format:
    """The format asked for, else that of the file's ending, else a table.

    Raises:
        GraftError: a page without a file.
    """
    chosen = given or (_ENDINGS.get(out.suffix.lower(), "table") if out is not None else "table")
    if chosen == "html" and out is None:
        raise GraftError("A page needs a file to go to: add --out hits.html.")
    return chosen


def check_targets(out: Path | None, heatmap: Path | None, index: str, inputs: Iterable[str]) -> None:
    """Refuse files that cannot be written, or that would replace what is read.

    Args:
        out: of the hits.
        heatmap: of the heat map.
        index: address of the index; nothing is written into its folder.
        inputs: photos, and sources of the index; addresses among them are passed over. Nothing that lies in a folder
            among them is replaced.

    Raises:
        GraftError: a folder in place of a file, no right to write, or a file that is an input or given twice.
    """
    targets = [(flag, path) for flag, path in (("--out", out), ("--heatmap", heatmap)) if path is not None]
    if len(targets) == 2 and _same(targets[0][1], targets[1][1]):
        raise GraftError(f"--out and --heatmap are the same file, {out}. Give them different ones.")
    for flag, path in targets:
        if path.is_dir():
            raise GraftError(f"{flag} {path} is a folder; expected a file, such as {path / 'hits.geojson'}.")
        there = next(folder for folder in path.resolve().parents if folder.exists())
        if not (there.is_dir() and os.access(there, os.W_OK)):
            raise GraftError(f"{flag} {path} cannot be written: no right to write in {there}, or it is no folder.")
        if Path(index).resolve() in path.resolve().parents:
            raise GraftError(f"{flag} {path} lies in the index. Give a file elsewhere.")
        if path.exists():
            for each in map(Path, inputs):
                if _same(path, each) or (each.is_dir() and each.resolve() in path.resolve().parents):
                    raise GraftError(f"{flag} {path} would replace {each}, or what is in it. Give another file.")


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other))


def write_result(result: SearchResult, index: "Index", chosen: Format, out: Path | None) -> None:
    """Write hits to a file, whole or not at all, or to standard output.

    A file that is there is replaced. Whatever the format, query, counts and verdict are told: above a table, else on
    standard error.

    Raises:
        GraftError: the file cannot be written.
    """
    summary = "\n".join(summary_lines(result))
    shown = len(result.hits)
    if chosen == "table":
        text = f"{summary}\n\n{table(result)}"
    elif chosen == "geojson":
        text = json.dumps(feature_collection(result), ensure_ascii=False) + "\n"
    elif chosen == "csv":
        text = comma_separated(result)
    if out is None:
        print(text, end="")
    else:
        try:
            if chosen == "html":
                from graft.search.page import MOST_SHOWN, write_page

                write_page(result, index, out)
                shown = min(MOST_SHOWN, shown)
            else:
                with atomic_path(out) as partial:
                    partial.write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise GraftError(f"{out} cannot be written ({first_line(error)}). Give another --out.") from error
    if chosen != "table" or out is not None:
        more = "" if shown == len(result.hits) else f" of {len(result.hits)}"
        print(summary, *([f"{out}: {shown} hits{more}"] if out is not None else []), sep="\n", file=sys.stderr)


def heatmap_source(index: "Index", scene: str | None, *, wanted: bool) -> SourceCard | None:
    """The raster that `--heatmap` is drawn over; None without a heat map.

    Args:
        index: whose sources.
        scene: name, file name without or with its ending, or id; may be left out where there is one raster.
        wanted: whether there is to be a heat map.

    Raises:
        GraftError: no such raster, or several; or a scene without a heat map.
    """
    if not wanted:
        if scene is not None:
            raise GraftError(f"--scene {scene} without --heatmap: add --heatmap out.tif, or leave --scene out.")
        return None
    rasters = [source for source in index.sources() if source.kind == "raster"]
    if not rasters:
        raise GraftError(f"The index at {index.address} holds no raster that a heat map could be laid over.")
    found = [source for source in rasters if scene is None or scene in _names(source)]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(source.name for source in (found or rasters)[:10])
    if scene is None:
        raise GraftError(f"Which scene is --heatmap for? Add --scene with one of: {shown}.")
    told = "names several rasters" if found else "is no raster of the index"
    raise GraftError(f"--scene {scene} {told}; give the whole name of one: {shown}.")


def _names(source: SourceCard) -> tuple[str, ...]:
    return source.name, Path(source.name).name, Path(source.name).stem, source.id


def summary_lines(result: SearchResult) -> Iterator[str]:
    """What was looked for, where, what was left out, and the verdict: a line each."""
    where = f" ({', '.join(result.conditions)})" if result.conditions else ""
    yield f"{result.query}{where}"
    yield f"{result.searched:,} of {result.rows:,} tiles of {result.address} searched"
    for reason, number in result.left_out.items():
        yield f"{number:>10,}  left out: {reason}"
    yield result.verdict


def table(result: SearchResult) -> str:
    """The hits for a terminal, a line each under a header."""
    rows = [("rank", "score", "likeness", "lon", "lat", "time", "tile"), *map(_cells, result.hits)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = ("  ".join((*map(str.rjust, row, widths), row[-1])) for row in rows)
    return "\n".join(lines) + "\n"


def comma_separated(result: SearchResult) -> str:
    """The hits as CSV (RFC 4180 with line feeds): `properties` and the footprint as WKT."""
    rows = [properties(hit) | {"wkt": "" if hit.geometry is None else hit.geometry.wkt} for hit in result.hits]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _cells(hit: Hit) -> tuple[str, ...]:
    column, row, width, height = hit.window
    where = f"{hit.path}{f' {hit.item}' if hit.item else ''} [{column:g} {row:g} {width:g} {height:g}]"
    return (
        str(hit.rank),
        f"{hit.score:.3f}",
        "" if hit.likeness is None else f"{hit.likeness:.2f}",
        "" if hit.lon is None else f"{hit.lon:.5f}",
        "" if hit.lat is None else f"{hit.lat:.5f}",
        (hit.datetime or "")[:16],
        where,
    )
