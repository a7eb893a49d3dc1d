"""`graft prepare`: photos and tiles a second on one core, and the memory of a whole build.

A build runs one such process on each core, so all contenders of a rate have one core and one thread of torch, page
cache warm. Photos are 500 x 375 JPEGs, an archive's usual size. The limit decodes each, brings it to the teacher's
size and runs the teacher in the same batches, and does nothing else: no hashes, no filter's measurements, no files. The
peer does that photo by photo, as one writes it without a library. (Larger JPEGs are decoded at a fraction of their
size by graft alone, so the limit would not bind.) Of tiles, the limit reads and renders windows of a
GeoTIFF that stays open and encodes them, without masks, photos or files; the peer opens the raster for each tile and
saves a PNG with Pillow's defaults.
"""

import io
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import rasterio
import torch
from affine import Affine
from PIL import Image
from rasterio.windows import Window
from safetensors.torch import save_file

from benchmarks.memory import status_mb
from benchmarks.rows import BenchmarkRow, measure
from graft.imagery.folder import open_folder
from graft.imagery.geometry import to_lonlat
from graft.imagery.settings import ImagerySettings
from graft.photos.schema import PhotoTableWriter
from graft.prepare import prepare
from graft.prepare.cut import CutSettings, cut_part
from graft.prepare.looks import CPU_BATCH, LookSettings, load_teacher, look_at_part
from graft.prepare.samples import encode_png
from graft.prepare.settings import ClusterSettings, TeacherSettings, TileSettings
from graft.prepare.tables import read_rows, row_count
from graft.prepare.tiles import attach_photos, place_tiles, write_images
from graft.prepare.work import Work
from graft.select.metadata import by_metadata
from graft.select.settings import ContentFilters, MetadataFilters, Splits
from graft.sensors import get_sensor
from graft.teacher import Teacher

FULL = "ViT-B-16-quickgelu"
SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 224, "layers": 1, "width": 64, "head_width": 32, "patch_size": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
PHOTO, THUMBNAIL = (500, 375), (96, 72)
SIDE, TILE, SENSOR = 2048, 224, "sentinel"
PROMPTS = ContentFilters().scene_prompts
MEMORY = "500MB"


# --- inputs ---------------------------------------------------------------------------------------


def write_teacher(folder: Path, model: dict[str, Any]) -> TeacherSettings:
    """An open_clip folder with random weights."""
    torch.manual_seed(0)
    clip = open_clip.CLIP(**json.loads(json.dumps(model)))
    folder.mkdir(parents=True)
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    return TeacherSettings(f"local-dir:{folder}")


def write_scene(path: Path, side: int) -> None:
    """Four bands of smooth fields with fine grain, in deflated blocks of 256 pixels."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True)
    grid = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    profile = {"driver": "GTiff", "dtype": "uint16", "crs": "EPSG:32633", "transform": grid, "nodata": 0}
    blocks = {"compress": "deflate", "predictor": 2, "tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(path, "w", width=side, height=side, count=4, **profile, **blocks) as dataset:
        for band, name in enumerate(("B02", "B03", "B04", "B08"), start=1):
            dataset.write((_picture(rng, side, side, 1)[..., 0] * 10 + 200).astype(np.uint16), band)
            dataset.set_band_description(band, name)
        dataset.update_tags(DATETIME="2020-06-01T10:00:00", ITEM="a scene")


def _picture(rng: np.random.Generator, width: int, height: int, bands: int) -> np.ndarray:
    """float64 [H, W, bands] within 1..255: each band its own smooth field, all with the same grain."""
    coarse = rng.integers(40, 200, (bands, height // 8, width // 8)).astype(np.uint8)
    fields = (Image.fromarray(band).resize((width, height), Image.Resampling.BICUBIC) for band in coarse)
    grain = rng.normal(0, 4, (height, width, 1))
    picture: np.ndarray = np.clip(np.stack([np.asarray(field) for field in fields], axis=-1) + grain, 1, 255)
    return picture


def write_photos(folder: Path, scene: Path, number: int, size: tuple[int, int]) -> Path:
    """A photo table of JPEG files, each of its own content, spread over a scene."""
    (image,) = open_folder(scene, get_sensor(SENSOR))
    rng = np.random.default_rng(1)
    lon, lat = to_lonlat(image, rng.uniform(0, image.width, number), rng.uniform(0, image.height, number))
    folder.mkdir(parents=True)
    with PhotoTableWriter(folder / "photos.parquet") as table:
        for k in range(number):
            path = folder / f"{k:06d}.jpg"
            Image.fromarray(_picture(rng, *size, 3).astype(np.uint8)).save(path, "JPEG", quality=90)
            table.add({"photo_id": str(k), "path": str(path), "lon": float(lon[k]), "lat": float(lat[k])})
    return folder / "photos.parquet"


def _select(photos: Path, work: Work) -> int:
    """What a build does before it looks at photos; returns how many there are to look at."""
    work.folder.mkdir(parents=True)
    by_metadata(
        photos,
        work.table("selected"),
        filters=MetadataFilters(),
        splits=Splits(),
        seed=0,
        buffer_m=0,
        memory=MEMORY,
        temp=work.temp,
    )
    return row_count(work.table("selected"))


@contextmanager
def _one_core() -> Iterator[None]:
    """Keep this thread, those it starts and torch to one core."""
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {max(cores)})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)


def _rate(number: int, run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return number / (time.perf_counter() - began)


# --- photos ---------------------------------------------------------------------------------------


def look(settings: LookSettings, number: int) -> np.ndarray:
    """Ours: one part of a build's photos, float16 [N, D] as it is written."""
    look_at_part(settings, 0, 0, number)
    vectors: np.ndarray = np.load(Work(settings.work).part("looks", 0, ".npy"), allow_pickle=False)
    return vectors


def encode_one_by_one(teacher: Teacher, paths: list[Path], out: Path) -> np.ndarray:
    """The peer: a loop over photos, float16 [N, D]."""
    vectors = []
    for path in paths:
        with Image.open(path) as image:
            vectors.append(teacher.encode_image(teacher.preprocess_photo(image)[None])[0])
    together = torch.stack(vectors).numpy().astype(np.float16)
    np.save(out, together)
    return together


def encode_alone(teacher: Teacher, photos: list[bytes]) -> np.ndarray:
    """The limit: files in memory to vectors float16 [N, D], in batches."""
    vectors = []
    for first in range(0, len(photos), CPU_BATCH):
        pictures = (Image.open(io.BytesIO(content)) for content in photos[first : first + CPU_BATCH])
        vectors.append(teacher.encode_image(torch.stack([teacher.preprocess_photo(picture) for picture in pictures])))
    return torch.cat(vectors).numpy().astype(np.float16)


def prepare_photos(name: str = "prepare_photos", model: dict[str, Any] | None = None, number: int = 16) -> BenchmarkRow:
    """Measure looking at photos with the teacher of the recipe, a ViT-B/16."""
    with tempfile.TemporaryDirectory(prefix="graft-benchmark-") as temporary, _one_core():
        root = Path(temporary)
        write_scene(root / "scenes" / "scene.tif", 512)
        table = write_photos(root / "photos", root / "scenes", number, PHOTO)
        work = Work(root / "work")
        if _select(table, work) != number:
            raise RuntimeError("photos were left out")
        settings = LookSettings(
            work.folder,
            write_teacher(root / "teacher", model or open_clip.get_model_config(FULL)),
            PROMPTS,
            store=False,
            quality=90,
        )
        teacher, _ = load_teacher(settings.teacher, PROMPTS)
        paths = sorted((root / "photos").glob("*.jpg"))
        contents = [path.read_bytes() for path in paths]
        encode_alone(teacher, contents[:2])
        return measure(
            name,
            "photos/s",
            ours=lambda: _rate(number, lambda: look(settings, number)),
            peer=lambda: _rate(number, lambda: encode_one_by_one(teacher, paths, root / "peer.npy")),
            limit=lambda: _rate(number, lambda: encode_alone(teacher, contents)),
            rounds=3 if model else 2,
        )


def prepare_photos_small() -> BenchmarkRow:
    """The same with a teacher that costs next to nothing, as one on a GPU does: what is not the teacher's shows."""
    return prepare_photos("prepare_photos_small", SMALL, 512)


# --- tiles ----------------------------------------------------------------------------------------


def start_cutting(root: Path, side: int, photos: int) -> tuple[CutSettings, int]:
    """A build that is about to cut tiles, and how many they are."""
    scenes, sensor, work = root / "scenes", get_sensor(SENSOR), Work(root / "work")
    write_scene(scenes / "scene.tif", side)
    number = _select(write_photos(root / "photos", scenes, photos, (16, 16)), work)
    look_at_part(LookSettings(work.folder, None, PROMPTS, store=False, quality=90), 0, 0, number)
    images = open_folder(scenes, sensor)
    write_images(work.images, images)
    selected, tiles, size = work.table("selected"), work.table("tiles"), TileSettings(size=TILE)
    scratch: dict[str, Any] = {"temp": work.temp, "memory": MEMORY}
    place_tiles(selected, tiles, images, size, max_candidates=1, label="placing tiles", **scratch)
    attach_photos(selected, [work.part("looks", 0, ".parquet")], tiles, work.table("attached"), **scratch)
    return CutSettings(work.folder, SENSOR, size, ImagerySettings(scenes=[scenes]), MEMORY), row_count(tiles)


def cut(settings: CutSettings, number: int) -> list[tuple[int, int]]:
    """Ours: one part of a build's tiles; returns column and row of each."""
    cut_part(settings, 0, 0, number)
    rows = read_rows(Work(settings.work).part("cuts", 0, ".parquet"), 0, number)
    return [(row["left"], row["top"]) for row in rows]


def cut_one_by_one(scene: Path, places: list[tuple[int, int]], folder: Path) -> None:
    """The peer: open, read, render and save, tile by tile."""
    sensor = get_sensor(SENSOR)
    folder.mkdir(exist_ok=True)
    for number, (left, top) in enumerate(places):
        with rasterio.open(scene) as dataset:
            stored = dataset.read([3, 2, 1], window=Window(left, top, TILE, TILE))
        Image.fromarray(sensor.to_display(stored).transpose(1, 2, 0)).save(folder / f"{number:06d}.png")


def cut_alone(scene: Path, places: list[tuple[int, int]]) -> list[bytes]:
    """The limit: windows of an open raster, rendered and encoded."""
    sensor = get_sensor(SENSOR)
    with rasterio.open(scene) as dataset:
        windows = (dataset.read([3, 2, 1], window=Window(left, top, TILE, TILE)) for left, top in places)
        return [encode_png(sensor.to_display(stored).transpose(1, 2, 0)) for stored in windows]


def prepare_tiles() -> BenchmarkRow:
    """Measure cutting tiles, with the photos that lie in them."""
    with tempfile.TemporaryDirectory(prefix="graft-benchmark-") as temporary, _one_core():
        root = Path(temporary)
        settings, number = start_cutting(root, SIDE, 800)
        places = cut(settings, number)
        if len(places) != number:
            raise RuntimeError("tiles were left out")
        scene = root / "scenes" / "scene.tif"
        return measure(
            "prepare_tiles",
            "tiles/s",
            ours=lambda: _rate(number, lambda: cut_part(settings, 0, 0, number)),
            peer=lambda: _rate(number, lambda: cut_one_by_one(scene, places, root / "peer")),
            limit=lambda: _rate(number, lambda: cut_alone(scene, places)),
        )


# --- memory ---------------------------------------------------------------------------------------


def _build(root: Path, photos: Path) -> None:
    prepare(
        photos=photos,
        imagery=ImagerySettings(scenes=[root / "scenes"]),
        sensor=SENSOR,
        out=root / "out",
        teacher=TeacherSettings(f"local-dir:{root / 'teacher'}"),
        content=ContentFilters(min_scene=0),
        tiles=TileSettings(size=64),
        cluster=ClusterSettings(workers=1),
        memory=MEMORY,
        overwrite=True,
    )


def _load(root: Path, photos: Path) -> None:
    """What every build needs before its first photo: all modules, and the teacher."""
    import_module("graft.prepare.build")
    for module in ("duckdb", "pyarrow.parquet", "imagehash"):
        import_module(module)
    load_teacher(TeacherSettings(f"local-dir:{root / 'teacher'}"), PROMPTS)


def _peak(run: Callable[[Path, Path], None], root: Path, photos: Path) -> float:
    torch.set_num_threads(1)
    run(root, photos)
    return status_mb("VmHWM")


def _in_child(run: Callable[[Path, Path], None], root: Path, photos: Path) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (run, root, photos))


def prepare_memory(many: int = 10_000, few: int = 1_000) -> BenchmarkRow:
    """Measure the peak of a whole build; the peer is a build of a tenth of the photos: the ratio should be one."""
    with tempfile.TemporaryDirectory(prefix="graft-benchmark-") as temporary:
        root = Path(temporary)
        write_scene(root / "scenes" / "scene.tif", SIDE)
        write_teacher(root / "teacher", SMALL)
        photos = write_photos(root / "photos", root / "scenes", many, THUMBNAIL)
        some = photos.with_name("some.parquet")
        parquet = import_module("pyarrow.parquet")
        parquet.write_table(parquet.read_table(photos).slice(0, few), some)
        return measure(
            "prepare_memory",
            "MB",
            ours=lambda: _in_child(_build, root, photos),
            peer=lambda: _in_child(_build, root, some),
            limit=lambda: _in_child(_load, root, photos),
            better="lower",
            rounds=1,
        )
