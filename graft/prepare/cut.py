"""Cutting tiles out of images, with the photos that lie in each; one part of the tiles at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from graft.errors import import_extra
from graft.files import atomic_path, write_json
from graft.imagery.geometry import to_pixel
from graft.imagery.image import Image
from graft.imagery.read import Tile, read_tile
from graft.imagery.settings import ImagerySettings
from graft.prepare.place import corner
from graft.prepare.samples import encode_png
from graft.prepare.settings import TileSettings
from graft.prepare.spool import ordered_map
from graft.prepare.tables import database, read_rows, write_rows
from graft.prepare.tiles import read_images
from graft.prepare.work import Work
from graft.sensors import get_sensor
from graft.tally import Tally

READ_AHEAD = 8


@dataclass(frozen=True)
class CutSettings:
    """What a worker needs to cut tiles.

    Attributes:
        work: folder of the build's work.
        sensor: name in `sensors.yaml`.
        tiles: size, and photos kept in one.
        imagery: how much of a tile may be cloudy or without data.
        memory: limit of the database.
    """

    work: Path
    sensor: str
    tiles: TileSettings
    imagery: ImagerySettings
    memory: str


@dataclass(frozen=True)
class _Cut:
    """A tile read from one of its images, or the reason why there is none."""

    reason: str = ""
    number: int = -1
    image: Image | None = None
    left: int = 0
    top: int = 0
    tile: Tile | None = None
    png: bytes = b""


def cut_part(settings: CutSettings, number: int, start: int, stop: int) -> int:
    """Cut tiles `start` to `stop`; returns how many they are.

    Writes `cuts/part-N.pngs` (PNG files one after the other), `.parquet` (one row a tile that is kept) and last
    `.json` with the tally of those left out.
    """
    work = Work(settings.work)
    work.part("cuts", number, "").parent.mkdir(exist_ok=True)
    tally = Tally()
    rows = []
    tiles = read_rows(work.table("tiles"), start, stop)
    photos = _photos_of_tiles(work, start, stop, settings.memory)
    cuts = ordered_map(lambda tile: _cut(tile, settings), tiles, ahead=READ_AHEAD)
    with atomic_path(work.part("cuts", number, ".pngs")) as pngs, pngs.open("wb") as file:
        for tile, cut in zip(tiles, cuts, strict=True):
            if cut.image is None or cut.tile is None:
                first = read_images(Work(settings.work).images)[tile["images"][0]]
                tally.add(cut.reason, _key(first, *corner(first, tile["column"], tile["row"])))
                continue
            key = _key(cut.image, cut.left, cut.top)
            members = _inside(cut, photos.get(tile["tile"], []), settings.tiles)
            if not members:
                tally.add("no photo inside on its pixel grid", key)
                continue
            rows.append(
                {
                    "key": key,
                    "split": tile["split"],
                    "image": cut.number,
                    "left": cut.left,
                    "top": cut.top,
                    "nodata": round(cut.tile.invalid, 4),
                    "cloudy": None if cut.tile.cloudy is None else round(cut.tile.cloudy, 4),
                    "part": number,
                    "png_start": file.tell(),
                    "png_size": file.write(cut.png),
                    "photos": members,
                }
            )
    write_rows(work.part("cuts", number, ".parquet"), rows, _schema())
    write_json(
        work.part("cuts", number, ".json"),
        {"tiles": stop - start, "counts": dict(tally.counts), "examples": tally.examples},
    )
    return stop - start


def _photos_of_tiles(work: Work, start: int, stop: int, memory: str) -> dict[int, list[dict[str, Any]]]:
    """Attached photos of each tile, in their seeded order."""
    with database(work.temp / f"cut-{start}", memory) as connection:
        found = connection.sql(
            "SELECT * FROM read_parquet(?) WHERE tile >= ? AND tile < ?",
            params=[str(work.table("attached")), start, stop],
        ).to_arrow_table()
    rows: list[dict[str, Any]] = found.to_pylist()
    return {tile: list(group) for tile, group in groupby(rows, key=lambda row: int(row["tile"]))}


def _cut(tile: dict[str, Any], settings: CutSettings) -> _Cut:
    """The tile from the first of its images that is clear and whole enough."""
    images, size = read_images(Work(settings.work).images), settings.tiles.size
    reason = ""
    for number in tile["images"]:
        image = images[number]
        left, top = corner(image, tile["column"], tile["row"])
        content = read_tile(image, left, top, size, get_sensor(settings.sensor))
        reason = _objection(content, settings.imagery) or ""
        if content is not None and not reason:
            return _Cut("", number, image, left, top, content, encode_png(content.pixels))
    return _Cut(reason)


def _objection(tile: Tile | None, limits: ImagerySettings) -> str | None:
    if tile is None:
        return "window does not read"
    if tile.invalid > limits.max_nodata:
        return f"more than {limits.max_nodata:.0%} without data"
    if tile.cloudy is not None and tile.cloudy > limits.max_cloudy:
        return f"more than {limits.max_cloudy:.0%} cloudy"
    return None


def _inside(cut: _Cut, photos: Sequence[dict[str, Any]], settings: TileSettings) -> list[dict[str, Any]]:
    """The first `max_photos` photos that lie in the tile, with their place in it."""
    if not photos or cut.image is None:
        return []
    x, y = to_pixel(cut.image, np.array([row["lon"] for row in photos]), np.array([row["lat"] for row in photos]))
    members = []
    for row, across, down in zip(photos, (x - cut.left).tolist(), (y - cut.top).tolist(), strict=True):
        if 0 <= across < settings.size and 0 <= down < settings.size:
            # Rounding must not lift a photo over the tile's edge, where it would belong to the next tile.
            place = {"x": min(round(across, 4), settings.size - 1e-4), "y": min(round(down, 4), settings.size - 1e-4)}
            members.append({name: value for name, value in row.items() if name not in ("tile", "lon", "lat")} | place)
    return members[: settings.max_photos]


def _key(image: Image, left: int, top: int) -> str:
    return f"{image.slug}-r{top:05d}-c{left:05d}"


def _schema() -> Any:
    pa = import_extra("pyarrow", "prepare")
    photo = pa.struct(
        [
            *((name, pa.string()) for name in ("photo_id", "taken_at", "license", "source")),
            *((name, pa.float64()) for name in ("heading", "accuracy_m", "x", "y")),
            *((name, pa.int32()) for name in ("part", "row", "jpeg_size")),
            ("jpeg_start", pa.int64()),
        ]
    )
    return pa.schema(
        [
            *((name, pa.string()) for name in ("key", "split")),
            *((name, pa.int32()) for name in ("image", "left", "top", "part", "png_size")),
            *((name, pa.float64()) for name in ("nodata", "cloudy")),
            ("png_start", pa.int64()),
            ("photos", pa.list_(photo)),
        ]
    )
