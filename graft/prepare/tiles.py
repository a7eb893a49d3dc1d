"""The tiles of a build and the photos in them, as tables made out of memory."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from graft.errors import import_extra
from graft.files import atomic_path
from graft.imagery.geometry import to_lonlat
from graft.imagery.image import Image
from graft.prepare.place import Lattice, Placer, Window
from graft.prepare.settings import TileSettings
from graft.prepare.tables import ROW_GROUP, copy_query, database, row_count, sql_files, sql_text
from graft.tally import Tally

CELL_DEGREES = 0.05
"""Photos and tiles meet in cells of this size before they are compared one by one."""
_BATCH = 4096


def place_tiles(
    photos: Path,
    out: Path,
    images: Sequence[Image],
    settings: TileSettings,
    *,
    max_candidates: int,
    temp: Path,
    memory: str,
    label: str,
) -> Tally:
    """Choose tiles round photos, greedily in the build's seeded order, band of latitude by band.

    Args:
        photos: table with photo_id, lon, lat, taken_at, split and rank.
        out: table to write, one row a tile: `tile` (its number), `split`, `column` and `row` on the lattice of its
            images, `images` (numbers, best first), `lon` and `lat` of its centre, `half_lon` and `half_lat` (degrees
            from there to its farthest corner), `cells` (of `CELL_DEGREES` that it touches).
        images: that tiles may be read from.
        settings: size and spacing.
        max_candidates: images kept for a tile.
        temp: scratch space.
        memory: limit of the database.
        label: of the progress bar.

    Returns:
        Photos that lie in no image.
    """
    placer = Placer(images, settings, max_candidates=max_candidates)
    tally = Tally()
    draft = out.with_suffix(".draft")
    with database(temp, memory) as connection, atomic_path(draft) as partial:
        connection.execute(
            f"SELECT floor(lat / {placer.band_degrees}) AS band, photo_id, lon, lat, taken_at, split "
            "FROM read_parquet(?) ORDER BY band, rank, photo_id",
            [str(photos)],
        )
        rows = tqdm(_fetch(connection), total=row_count(photos), desc=label, unit="photo")
        _write_tiles(partial, _choose(rows, placer, images, settings.size, tally))
    with database(temp, memory) as connection:
        # Neighbours in a file are neighbours on the ground, so that the blocks of an image are read once.
        order = 'ORDER BY images[1], "row", "column", lon, lat'
        numbered = f"SELECT row_number() OVER ({order}) - 1 AS tile, * FROM read_parquet({sql_text(draft)})"
        copy_query(connection, f"{numbered} ORDER BY tile", out)
    draft.unlink()
    return tally


def _fetch(connection: Any) -> Iterator[tuple[Any, ...]]:
    while rows := connection.fetchmany(_BATCH):
        yield from rows


def _choose(
    rows: Iterator[tuple[Any, ...]], placer: Placer, images: Sequence[Image], size: int, tally: Tally
) -> Iterator[dict[str, Any]]:
    current = None
    for band, photo_id, lon, lat, taken_at, split in rows:
        if band != current:
            # A gap in latitude of a band or more parts tiles as well.
            placer.next_band()
            current = band
        windows = placer.windows(lon, lat, taken_at or "")
        if windows is None:
            tally.add("in no image", photo_id)
            continue
        for window in windows:
            yield _tile_row(window, images[window.images[0]], size, split)


def _tile_row(window: Window, image: Image, size: int, split: str) -> dict[str, Any]:
    across, down = Lattice.of(image).origin(image)
    edge = np.linspace(0, size, 5)
    x, y = np.meshgrid(edge + window.column - across, edge + window.row - down)
    lon, lat = to_lonlat(image, x.ravel(), y.ravel())
    east = (np.asarray(lon) - window.lon + 540) % 360 - 180
    half_lon, half_lat = float(np.abs(east).max()), float(np.abs(np.asarray(lat) - window.lat).max())
    return {
        "split": split,
        "column": window.column,
        "row": window.row,
        "images": list(window.images),
        "lon": window.lon,
        "lat": window.lat,
        "half_lon": half_lon,
        "half_lat": half_lat,
        "cells": _cells(window.lon, window.lat, half_lon, half_lat),
    }


def _cells(lon: float, lat: float, half_lon: float, half_lat: float) -> list[int]:
    """Numbers of the cells that a box of degrees touches; longitude has no end."""
    round_the_world = round(360 / CELL_DEGREES)
    first, last = (math.floor((lon + side * half_lon + 180) / CELL_DEGREES) for side in (-1, 1))
    south, north = (math.floor((lat + side * half_lat + 90) / CELL_DEGREES) for side in (-1, 1))
    return [
        row * round_the_world + column % round_the_world
        for row in range(south, north + 1)
        for column in range(first, last + 1)
    ]


def _write_tiles(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    pa, pq = import_extra("pyarrow", "prepare"), import_extra("pyarrow.parquet", "prepare")
    numbers = {name: pa.float64() for name in ("column", "row", "lon", "lat", "half_lon", "half_lat")}
    lists = {"images": pa.list_(pa.int32()), "cells": pa.list_(pa.int64())}
    schema = pa.schema({"split": pa.string(), **numbers, **lists})
    with pq.ParquetWriter(path, schema) as writer:
        held: list[dict[str, Any]] = []
        for row in rows:
            held.append(row)
            if len(held) == ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(held, schema=schema))
                held.clear()
        if held:
            writer.write_table(pa.Table.from_pylist(held, schema=schema))


def attach_photos(photos: Path, looks: Sequence[Path], tiles: Path, out: Path, *, temp: Path, memory: str) -> None:
    """Attach every photo to the tiles of its split whose box of degrees holds it; `cut` then asks the pixel grid.

    Args:
        photos: table of the photos that passed all filters.
        looks: the parts' tables, which say where vectors and JPEGs lie.
        tiles: from `place_tiles`.
        out: table to write, one row a pair, sorted by tile and the seeded order.
        temp: scratch space.
        memory: limit of the database.
    """
    round_the_world = round(360 / CELL_DEGREES)
    cell = (
        f"CAST(floor((p.lat + 90) / {CELL_DEGREES}) AS BIGINT) * {round_the_world} + "
        f"CAST(floor((p.lon + 180) / {CELL_DEGREES}) AS BIGINT) % {round_the_world}"
    )
    query = f"""
        SELECT t.tile, p.photo_id, p.lon, p.lat, p.taken_at, p.heading, p.license, p.source, p.accuracy_m,
               l.part, l.row, l.jpeg_start, l.jpeg_size
        FROM (SELECT tile, split, lon, lat, half_lon, half_lat, unnest(cells) AS cell
              FROM read_parquet({sql_text(tiles)})) t
        JOIN read_parquet({sql_text(photos)}) p ON p.split = t.split AND {cell} = t.cell
        JOIN read_parquet({sql_files(looks)}) l ON l.photo_id = p.photo_id
        WHERE abs(p.lat - t.lat) <= t.half_lat AND abs((p.lon - t.lon + 540) % 360 - 180) <= t.half_lon
        ORDER BY t.tile, p.rank, p.photo_id"""
    with database(temp, memory) as connection:
        copy_query(connection, query, out)


@lru_cache(maxsize=1)
def read_images(path: Path) -> list[Image]:
    """Images as an earlier stage listed them; read once a process, since no build's list changes."""
    with path.open(encoding="utf-8") as file:
        return [Image.from_json(line) for line in file]


def write_images(path: Path, images: Sequence[Image]) -> None:
    """List images, one JSON object a line."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(image.to_json() + "\n" for image in images)
