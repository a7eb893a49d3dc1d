"""Packing tiles and vectors into shards, in a seeded order; one shard at a time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.files import write_json
from graft.imagery.image import Image
from graft.prepare.records import PhotoRecord, TileRecord
from graft.prepare.samples import ShardCard, sample_members
from graft.prepare.shards import ShardFile, shard_name
from graft.prepare.tables import copy_query, database, read_rows, sql_files, sql_text
from graft.prepare.tiles import read_images
from graft.prepare.work import Work


@dataclass(frozen=True)
class PackSettings:
    """What a worker needs to write a shard.

    Attributes:
        work: folder of the build's work.
        card: what all samples of the split share.
        samples: in a shard; the last one may hold fewer.
    """

    work: Path
    card: ShardCard
    samples: int

    @property
    def folder(self) -> Path:
        """Where the split's shards are written."""
        return self.work / "shards" / str(self.card.split)


def order_samples(work: Work, split: str, cuts: Sequence[Path], seed: int, memory: str) -> None:
    """Write `order-SPLIT.parquet`: the rows of all parts' cuts, in an order that depends on seed and keys alone."""
    query = (
        f"SELECT * FROM read_parquet({sql_files(cuts)}) WHERE split = {sql_text(split)} "
        f'ORDER BY md5(concat({int(seed)}, \'/\', "key")), "key"'
    )
    with database(work.temp, memory) as connection:
        copy_query(connection, query, work.table(f"order-{split}"))


def pack_shard(settings: PackSettings, number: int) -> int:
    """Write shard `number` of a split and, last, its row of `index.json`; returns its number of samples."""
    work = Work(settings.work)
    start = number * settings.samples
    rows = read_rows(work.table(f"order-{settings.card.split}"), start, start + settings.samples)
    settings.folder.mkdir(parents=True, exist_ok=True)
    path = settings.folder / shard_name(number)
    images = read_images(work.images)
    shard = ShardFile(path)
    try:
        for row in rows:
            record = _record(row, images[row["image"]])
            members = sample_members(
                settings.card,
                row["key"],
                _bytes(work.part("cuts", row["part"], ".pngs"), row["png_start"], row["png_size"]),
                record,
                ground=_ground(work, row["photos"]) if settings.card.teacher else None,
                photos=_jpegs(work, row["photos"]) if settings.card.photos_stored else (),
            )
            shard.write(row["key"], members, len(record.photos))
        entry = shard.finish()
    except BaseException:
        shard.abandon()
        raise
    write_json(path.with_suffix(".json"), entry)
    return len(rows)


def shard_rows(settings: PackSettings, count: int) -> list[dict[str, Any]]:
    """Rows of `index.json` of a split whose shards are all written."""
    paths = (settings.folder / shard_name(number) for number in range(count))
    return [json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in paths]


@lru_cache(maxsize=64)
def _vectors(path: Path) -> npt.NDArray[np.float16]:
    vectors: npt.NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    return vectors


def _ground(work: Work, photos: Sequence[dict[str, Any]]) -> npt.NDArray[np.float16]:
    """float16 [K, D]: the photos' vectors."""
    return np.stack([_vectors(work.part("looks", photo["part"], ".npy"))[photo["row"]] for photo in photos])


def _jpegs(work: Work, photos: Sequence[dict[str, Any]]) -> list[bytes]:
    return [
        _bytes(work.part("looks", photo["part"], ".jpegs"), photo["jpeg_start"], photo["jpeg_size"]) for photo in photos
    ]


def _bytes(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _record(row: dict[str, Any], image: Image) -> TileRecord:
    a, b, c, d, e, f = image.transform
    left, top = row["left"], row["top"]
    return TileRecord(
        photos=tuple(_photo(photo) for photo in row["photos"]),
        gsd_m=image.gsd_m,
        crs=image.crs,
        transform=(a, b, a * left + b * top + c, d, e, d * left + e * top + f),
        datetime=image.datetime,
        item=image.item,
        nodata=row["nodata"],
        cloudy=row["cloudy"],
        offset=image.offset,
    )


def _photo(photo: dict[str, Any]) -> PhotoRecord:
    known = {name: photo[name] or None for name in ("taken_at", "license", "source")}
    return PhotoRecord(
        id=photo["photo_id"],
        x=photo["x"],
        y=photo["y"],
        heading=photo["heading"],
        accuracy_m=photo["accuracy_m"],
        **known,
    )
