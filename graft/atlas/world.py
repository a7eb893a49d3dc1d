"""Building a world: regions are painted side by side by several processes and brought together in a fixed order."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from graft.atlas.acquisitions import later_acquisitions
from graft.atlas.archive import (
    COLUMNS,
    TRUTH_COLUMNS,
    Upload,
    path_of,
    photo_row,
    truth_row,
    upload,
    upload_again,
)
from graft.atlas.benchmarks import write_benchmarks
from graft.atlas.captions import BATCH, write_captions
from graft.atlas.classes import IDS
from graft.atlas.gallery import MIXTURE_COLUMNS, PHOTO_COLUMNS, PHOTOS, write_gallery
from graft.atlas.geotiff import write_labels, write_scene
from graft.atlas.overhead import paint_scenes
from graft.atlas.photos import plan_photos, write_photo, write_table
from graft.atlas.polygons import parcel_features
from graft.atlas.questions import Asked, pieces_of, write_lists, write_pieces
from graft.atlas.sizes import DEMO, TILE, Region, WorldSize
from graft.errors import GraftError
from graft.files import write_json
from graft.sensors import Sensor, get_sensor


@dataclass
class _Piece:
    """What the work on one region leaves for the tables of the world."""

    region: Region
    uploads: list[Upload] = field(default_factory=list)
    captions: list[dict[str, str]] = field(default_factory=list)
    tiles: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    gallery: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    features: list[dict[str, Any]] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """Photos taken."""
        benchmarks = sum(map(len, self.tiles.values())) + len(self.gallery.get("photos", ()))
        return len(self.uploads) + len(self.captions) + benchmarks


def build_world(
    out: Path, *, sensor: str = "sentinel", seed: int = 0, size: WorldSize = DEMO, workers: int | None = None
) -> None:
    """Write a world: scenes, photos, captions, polygons and benchmark folders.

    The same arguments give the same bytes, whatever the number of processes; another seed is another world.

    Args:
        out: folder to create.
        sensor: `sentinel` (10 m) or `naip` (1 m).
        seed: of everything random.
        size: how much to build.
        workers: processes; None takes one per core.

    Raises:
        GraftError: unknown sensor, one that the atlas cannot imitate, or `out` exists and is not empty.
    """
    if sensor not in ("sentinel", "naip"):
        get_sensor(sensor)
        raise GraftError(f"The atlas has no view for sensor {sensor!r}. Choose sentinel or naip.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise GraftError(f"{out} exists and is not empty. Remove it or choose another folder for the world.")
    eye = get_sensor(sensor)
    regions = [
        Region(seed, eye, role, k, size.scene) for role in ("test", "val", "train") for k in range(getattr(size, role))
    ]
    batches = -(-size.captions // BATCH)
    regions += [Region(seed, eye, "captions", k, size.scene) for k in range(batches)]
    per_scene = (len(IDS) * size.single + size.multi) * size.tile_photos + (size.scene // TILE) ** 2 * PHOTOS
    expected = size.train * size.photos + size.captions + (size.val + size.test) * per_scene
    with _whole_folder(out) as folder:
        for name in ("photos", "captions", "scenes"):
            (folder / name).mkdir()
        pieces: dict[Region, _Piece] = {}
        with tqdm(total=expected, desc=f"world ({sensor}, seed {seed})", unit="photo", smoothing=0) as progress:
            for piece in _work(partial(_build_region, folder, size=size), regions, workers):
                pieces[piece.region] = piece
                progress.update(piece.pictures)
        ordered = [pieces[region] for region in regions]
        uploads = [row for piece in ordered for row in piece.uploads]
        uploads += upload_again(folder, {piece.region: piece.uploads for piece in ordered if piece.uploads})
        write_table(folder / "photos.csv", COLUMNS, map(photo_row, uploads))
        write_table(folder / "truth.csv", TRUTH_COLUMNS, map(truth_row, uploads))
        _write_tables(folder, ordered)
        _write_questions(folder / "benchmarks", ordered, get_sensor(sensor), size)
        counts = {role: getattr(size, role) for role in ("train", "val", "test")}
        summary = {"seed": seed, "sensor": sensor, "classes": list(IDS), "scenes": counts, "size": asdict(size)}
        summary["photos"] = len(uploads)
        summary["captions"] = sum(len(piece.captions) for piece in pieces.values())
        write_json(folder / "world.json", summary)


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `out` that is renamed to `out` on success and removed otherwise."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial_folder = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir()
    try:
        yield partial_folder
        if out.exists():
            out.rmdir()
        partial_folder.replace(out)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)


def _work(build: "partial[_Piece]", regions: list[Region], workers: int | None) -> Iterator[_Piece]:
    """Build regions in any order, in this process or in several."""
    processes = min(workers or os.cpu_count() or 1, len(regions))
    if processes <= 1:
        yield from map(build, regions)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(build, regions)


def _build_region(folder: Path, region: Region, size: WorldSize) -> _Piece:
    """Do all the work on one region."""
    piece = _Piece(region)
    if region.role == "captions":
        count = min(BATCH, size.captions - region.index * BATCH)
        piece.captions = write_captions(folder / "captions", region, count)
        return piece
    later = later_acquisitions(region)
    scene, *others = paint_scenes(region, later)
    piece.features = parcel_features(region, scene.land)
    if region.role == "train":
        write_scene(folder / "scenes" / f"{region.name}.tif", region, scene)
        for again, other in zip(later, others, strict=True):
            write_scene(folder / "scenes" / f"{region.name}{again.name}.tif", region, other, again)
        shots = plan_photos(region, scene.land, size.photos)
        for shot in shots:
            write_photo(folder / path_of(shot.photo_id), shot)
        piece.uploads = upload(region, shots)
        return piece
    root = folder / "benchmarks" / region.role
    write_scene(root / "scenes" / f"{region.name}.tif", region, scene)
    write_labels(root / "labels" / f"{region.name}.tif", region, scene)
    piece.tiles = write_benchmarks(root, region, scene, size)
    piece.gallery = write_gallery(root / "gallery", region, scene)
    place = region.index + (size.val if region.role == "test" else 0)
    piece.asked = write_pieces(root / "vqa", region, scene, place * pieces_of(size.scene))
    return piece


def _write_tables(folder: Path, pieces: list[_Piece]) -> None:
    """Bring the captions, benchmark photos and polygons of all regions together, in the order of the regions."""
    write_table(
        folder / "captions" / "captions.csv", ("path", "caption"), (row for piece in pieces for row in piece.captions)
    )
    for split in ("val", "test"):
        root, mine = folder / "benchmarks" / split, [piece for piece in pieces if piece.region.role == split]
        for layout in ("eurosat", "bigearthnet"):
            write_table(
                root / layout / "photos.csv", ("tile", "path"), (row for piece in mine for row in piece.tiles[layout])
            )
        for name, columns in (("mixtures", MIXTURE_COLUMNS), ("photos", PHOTO_COLUMNS)):
            write_table(
                root / "gallery" / f"{name}.csv", columns, (row for piece in mine for row in piece.gallery[name])
            )
    features = [feature for piece in pieces for feature in piece.features]
    collection = {"type": "FeatureCollection", "features": features}
    (folder / "polygons.geojson").write_text(json.dumps(collection, separators=(",", ":")) + "\n", encoding="utf-8")


def _write_questions(benchmarks: Path, pieces: list[_Piece], sensor: Sensor, size: WorldSize) -> None:
    """Write the lists of questions; the answers of val stand beside those of test, for a guess that knows them."""
    asked = {
        split: [one for piece in pieces if piece.region.role == split for one in piece.asked]
        for split in ("val", "test")
    }
    images = (size.val + size.test) * pieces_of(size.scene)
    for folder, split in (("val", "val"), ("test", "val"), ("test", "test")):
        write_lists(benchmarks / folder / "vqa", split, sensor, asked, images)
