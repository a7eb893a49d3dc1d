"""Carrying a plan out: read tiles, encode photos, write shards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from graft.errors import GraftError
from graft.prepare.plan import Plan
from graft.prepare.records import PhotoRecord, TileRecord
from graft.prepare.scenes import Tile, read_tiles
from graft.prepare.shards import ShardBuilder, encode_png
from graft.prepare.spool import Spool, ordered_map
from graft.prepare.summary import Summary
from graft.prepare.tally import Tally
from graft.prepare.vectors import EncodedPhotos, PhotoTeacher


def build_shards(
    plan: Plan,
    out: Path,
    *,
    teacher: PhotoTeacher | None,
    store_photos: bool,
    samples_per_shard: int,
    overwrite: bool,
) -> Summary:
    """Carry a plan out.

    Tiles are read scene by scene, each window once, and kept aside as PNG until they are written in the plan's order.

    Raises:
        GraftError: `out` holds shards already, or nothing is left to write.
    """
    skipped_tiles = Tally()
    pairs, frame, settings = plan.pairs, plan.photos.frame, plan.settings
    skipped_tiles.add("without a photo", number=pairs.tiles_in_grid - len(pairs.scene))
    skipped_tiles.add("beyond --limit", number=len(pairs.scene) - len(plan.order))
    card = {"name": teacher.name, "identity": teacher.identity, "dim": teacher.dim} if teacher else None
    with ShardBuilder(
        out,
        sensor=plan.sensor,
        tile_size=settings.tile_size,
        teacher=card,
        photos_stored=store_photos,
        samples_per_shard=samples_per_shard,
        overwrite=overwrite,
    ) as builder:
        pngs = Spool(builder.work / "tiles.bin")
        slot = _read_all_tiles(plan, pngs, skipped_tiles)
        kept = np.isin(np.arange(len(pairs.scene)), list(slot))
        wanted = np.unique(pairs.photo[np.repeat(kept, np.diff(pairs.start))])
        encoded = EncodedPhotos(builder.work, teacher, store_photos, len(frame))
        chosen = frame.iloc[wanted]
        encoded.encode(wanted.tolist(), chosen["path"].tolist(), chosen["photo_id"].tolist())
        written: set[int] = set()
        for tile in tqdm(plan.order.tolist(), desc="writing shards", unit="tile"):
            if tile not in slot:
                continue
            members = [at for at in plan.pairs_of(tile) if encoded.decodes(pairs.photo[at])]
            if not members:
                skipped_tiles.add("none of its photos decodes", plan.key(tile))
                continue
            numbers = pairs.photo[members].tolist()
            written.update(numbers)
            builder.write_sample(
                plan.key(tile),
                pngs[slot[tile]],
                _record(plan, tile, members),
                ground=encoded.ground(numbers),
                photos=encoded.jpegs(numbers),
            )
        pngs.close()
        encoded.close()
        skipped_photos = _photos_left_out(plan, len(wanted), encoded.skipped)
        if not written:
            raise GraftError(
                f"No tile is left to write in {out}: " + "; ".join(f"{n} {r}" for r, n in skipped_tiles.counts.items())
            )
        build = _build_card(plan, skipped_tiles, skipped_photos, encoded.duplicates, len(written))
        index = builder.finish(build)
    shards = index["shards"]
    return Summary(
        out=out,
        shards=len(shards),
        samples=sum(shard["samples"] for shard in shards),
        photos=sum(shard["photos"] for shard in shards),
        distinct_photos=len(written),
        duplicate_photos=encoded.duplicates,
        size=sum(shard["bytes"] for shard in shards),
        skipped_tiles=skipped_tiles,
        skipped_photos=skipped_photos,
    )


def _read_all_tiles(plan: Plan, pngs: Spool, skipped: Tally) -> dict[int, int]:
    """Read every planned tile into `pngs`; returns tile -> its number there, without those left out."""
    pairs, settings = plan.pairs, plan.settings
    by_scene = np.sort(plan.order)

    def windows() -> Iterator[tuple[int, Tile | None]]:
        for scene in np.unique(pairs.scene[by_scene]):
            tiles = by_scene[pairs.scene[by_scene] == scene]
            corners = zip(pairs.column[tiles].tolist(), pairs.row[tiles].tolist(), strict=True)
            read = read_tiles(plan.scenes[scene], plan.sensor, corners, settings.tile_size)
            yield from zip(tiles.tolist(), read, strict=True)

    def compress(item: tuple[int, Tile | None]) -> tuple[int, Tile | None, bytes]:
        tile, content = item
        keep = content is not None and content.invalid <= settings.max_nodata
        return tile, content, encode_png(content.pixels) if content is not None and keep else b""

    slot: dict[int, int] = {}
    work = ordered_map(compress, windows(), ahead=64)
    for tile, content, png in tqdm(work, total=len(by_scene), desc="reading tiles", unit="tile"):
        if content is None:
            skipped.add("window does not read", plan.key(tile))
        elif not png:
            skipped.add(f"more than {settings.max_nodata:.0%} without data", plan.key(tile))
        else:
            slot[tile] = pngs.append(png)
    return slot


def _photos_left_out(plan: Plan, wanted: int, undecodable: Tally) -> Tally:
    """Every photo of the table that is in no sample, under one reason each."""
    chosen = len(np.unique(plan.pairs.photo))
    tally = Tally()
    tally.extend(plan.photos.skipped)
    tally.add("outside every tile", number=len(plan.photos.frame) - plan.pairs.photos_inside)
    tally.add("past --max-photos in every tile", number=plan.pairs.photos_inside - chosen)
    tally.add("only in tiles left out", number=chosen - wanted)
    tally.extend(undecodable)
    return tally


def _record(plan: Plan, tile: int, members: list[int]) -> TileRecord:
    pairs = plan.pairs
    scene = plan.scenes[pairs.scene[tile]]
    a, b, c, d, e, f = scene.transform[:6]
    column, row = int(pairs.column[tile]), int(pairs.row[tile])
    rows = plan.photos.frame.iloc[pairs.photo[members]]
    places = zip(pairs.x[members].tolist(), pairs.y[members].tolist(), strict=True)
    photos = tuple(_photo(row, x, y) for row, (x, y) in zip(rows.to_dict("records"), places, strict=True))
    return TileRecord(
        photos=photos,
        gsd_m=scene.gsd_m,
        crs=scene.crs,
        transform=(a, b, a * column + b * row + c, d, e, d * column + e * row + f),
        datetime=scene.datetime,
        item=scene.item,
    )


def _photo(row: dict[Any, Any], x: float, y: float) -> PhotoRecord:
    def known(name: str) -> float | None:
        return float(row[name]) if np.isfinite(row[name]) else None

    return PhotoRecord(
        id=row["photo_id"],
        x=x,
        y=y,
        taken_at=row["taken_at"] or None,
        heading=known("heading"),
        license=row["license"] or None,
        source=row["source"] or None,
        accuracy_m=known("accuracy_m"),
    )


def _build_card(plan: Plan, tiles: Tally, photos: Tally, duplicates: int, distinct: int) -> dict[str, Any]:
    """The `build` entry of `index.json`: settings, and counts that add up to all tiles and all photos."""
    return {
        "settings": vars(plan.settings),
        "scenes": len(plan.scenes),
        "tiles": {"in_grid": plan.pairs.tiles_in_grid, "skipped": dict(tiles.counts)},
        "photos": {
            "listed": plan.photos.listed,
            "written": distinct,
            "duplicates": duplicates,
            "skipped": dict(photos.counts),
        },
    }
