"""Looking at photos: decoded once, hashed, turned into the teacher's vectors and judged; one part of them at a time."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from graft.errors import GraftError, import_extra
from graft.files import atomic_path, write_json
from graft.prepare.settings import TeacherSettings
from graft.prepare.spool import ordered_map
from graft.prepare.tables import read_rows, write_rows
from graft.prepare.work import Work
from graft.select.scene_words import SceneJudge
from graft.teacher import Teacher

BATCH = 64
CPU_BATCH = 4
"""Photos in one pass of the teacher without a GPU: more of them leave the cache, and a ViT-B/16 is a tenth slower."""
DEFAULT_STORED_SIDE = 224
COLOUR_SIDE = 64
FINER = 2
"""Times the side wanted that a photo is decoded at where its file allows less than all of it: then no vector tells."""
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class LookSettings:
    """What a worker needs to look at photos.

    Attributes:
        work: folder of the build's work.
        teacher: None stores no vectors and judges nothing.
        scene_prompts: prompts of `graft.select.scene_words`.
        store: keep the photos.
        quality: their JPEG quality.
    """

    work: Path
    teacher: TeacherSettings | None
    scene_prompts: str
    store: bool
    quality: int


@dataclass(frozen=True)
class _Seen:
    """One photo, or the fault that keeps it out."""

    fault: str = ""
    sha256: str = ""
    phash: int = 0
    width: int = 0
    height: int = 0
    colour: float = 0.0
    pixels: Tensor | None = None
    jpeg: bytes = b""


@lru_cache(maxsize=1)
def load_teacher(settings: TeacherSettings, scene_prompts: str) -> tuple[Teacher, SceneJudge]:
    """The teacher and its judgement of scenes, loaded once a process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    teacher = Teacher(settings.architecture, settings.weights, device=device)
    return teacher, SceneJudge(scene_prompts, teacher)


def look_at_part(settings: LookSettings, number: int, start: int, stop: int) -> int:
    """Look at the photos in rows `start` to `stop` of the selected ones; returns how many they are.

    Writes `looks/part-N.npy` (float16 [M, D], unit vectors of the M photos that decode), `.jpegs` where photos are
    stored, `.parquet` (one row a photo, see `_schema`) and last `.json`.

    Raises:
        GraftError: the teacher gives vectors that are not finite.
    """
    work = Work(settings.work)
    work.part("looks", number, "").parent.mkdir(exist_ok=True)
    # On several threads sums come out in another order, and a vector's last bit would depend on the machine's load.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _look(settings, work, number, start, stop)
    finally:
        torch.set_num_threads(threads)
    return stop - start


def _look(settings: LookSettings, work: Work, number: int, start: int, stop: int) -> None:
    photos = read_rows(work.table("selected"), start, stop, ["photo_id", "path"])
    teacher, judge = (
        (None, None) if settings.teacher is None else load_teacher(settings.teacher, settings.scene_prompts)
    )
    rows: list[dict[str, Any]] = []
    batch: list[Tensor] = []
    vectors: list[npt.NDArray[np.float16]] = []
    with atomic_path(work.part("looks", number, ".jpegs")) as jpegs, jpegs.open("wb") as file:
        for photo, seen in zip(photos, _decode_all(photos, teacher, settings), strict=True):
            kept = not seen.fault
            rows.append(
                {
                    "photo_id": photo["photo_id"],
                    **{name: getattr(seen, name) for name in ("fault", "sha256", "phash", "width", "height", "colour")},
                    "part": number,
                    "row": len(vectors) * BATCH + len(batch) if kept and teacher else -1,
                    "jpeg_start": file.tell(),
                    "jpeg_size": file.write(seen.jpeg),
                }
            )
            if seen.pixels is not None:
                batch.append(seen.pixels)
            if teacher is not None and len(batch) == BATCH:
                vectors.append(_encode(teacher, batch))
    if teacher is not None and judge is not None:
        if batch:
            vectors.append(_encode(teacher, batch))
        together = np.concatenate(vectors) if vectors else np.empty((0, teacher.dim), np.float16)
        with atomic_path(work.part("looks", number, ".npy")) as partial, partial.open("wb") as file:
            np.save(file, together, allow_pickle=False)
        kinds, scene = judge.judge(together.astype(np.float32))
        for row in rows:
            if row["row"] >= 0:
                row |= {"kind": kinds[row["row"]], "scene": float(scene[row["row"]])}
    write_rows(work.part("looks", number, ".parquet"), rows, _schema())
    write_json(work.part("looks", number, ".json"), {"photos": len(rows)})


def _schema() -> Any:
    """Columns of a part: what `graft.select.by_content` decides by, and where vector and JPEG lie.

    `row` counts in the part's vectors (-1 without one), `jpeg_start` and `jpeg_size` are bytes in its `.jpegs`.
    """
    pa = import_extra("pyarrow", "prepare")
    texts = {name: pa.string() for name in ("photo_id", "fault", "sha256", "kind")}
    numbers = {name: pa.int32() for name in ("width", "height", "part", "row", "jpeg_size")}
    shares = {name: pa.float32() for name in ("colour", "scene")}
    return pa.schema({**texts, "phash": pa.int64(), **numbers, **shares, "jpeg_start": pa.int64()})


def _decode_all(photos: Sequence[dict[str, Any]], teacher: Teacher | None, settings: LookSettings) -> Iterator[_Seen]:
    side = None if not settings.store else (teacher.image_size if teacher else DEFAULT_STORED_SIDE)
    return ordered_map(lambda photo: _see(photo["path"], teacher, side, settings.quality), photos, ahead=2 * BATCH)


def _see(path: str, teacher: Teacher | None, side: int | None, quality: int) -> _Seen:
    """One photo's content; a fault instead where there is none."""
    if not path:
        return _Seen("no file on this disk: fetch it with graft download")
    try:
        content = Path(path).read_bytes()
    except OSError:
        return _Seen("file missing")
    try:
        with Image.open(io.BytesIO(content)) as image:
            size = image.size
            wanted = FINER * (teacher.image_size if teacher else side or COLOUR_SIDE)
            image.draft(None, (wanted, wanted))
            image.load()
            upright = ImageOps.exif_transpose(image)
            width, height = size[::-1] if image.getexif().get(ExifTags.Base.Orientation) in _TURNED else size
        small = upright.convert("RGB").reduce(max(1, min(upright.size) // (FINER * COLOUR_SIDE)))
        colours = small.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BILINEAR).convert("HSV")
        return _Seen(
            sha256=hashlib.sha256(content).hexdigest(),
            phash=_perceptual_hash(small),
            width=width,
            height=height,
            colour=float(np.asarray(colours)[..., 1].mean() / 255),
            pixels=teacher.preprocess_photo(upright) if teacher else None,
            jpeg=small_jpeg(upright, side, quality) if side else b"",
        )
    except Exception as error:  # a decoder fed with anything at all raises nearly anything
        return _Seen(f"photo does not decode: {type(error).__name__}")


def _perceptual_hash(image: Image.Image) -> int:
    """64 bits of the image's coarse frequencies, as a signed integer."""
    bits = import_extra("imagehash", "prepare").phash(image).hash.ravel()
    return int(np.packbits(bits).view(">i8")[0])


def _encode(teacher: Teacher, batch: list[Tensor]) -> npt.NDArray[np.float16]:
    """Vectors of the photos in `batch`, which is emptied."""
    device = next(teacher.tower.parameters()).device
    parts = torch.split(torch.stack(batch), CPU_BATCH if device.type == "cpu" else BATCH)
    vectors = torch.cat([teacher.encode_image(part.to(device)).float().cpu() for part in parts])
    batch.clear()
    if not torch.isfinite(vectors).all():
        raise GraftError(f"The teacher {teacher.name} gives vectors that are not finite: check its weights.")
    return vectors.numpy().astype(np.float16)


def small_jpeg(upright: Image.Image, side: int, quality: int) -> bytes:
    """Short side at most `side`, pixels written anew: no EXIF, comment, thumbnail or profile survives."""
    rgb = upright.convert("RGB")
    scale = min(1.0, side / min(rgb.size))
    small = rgb.resize((round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BICUBIC)
    bare = Image.frombytes("RGB", small.size, small.tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
