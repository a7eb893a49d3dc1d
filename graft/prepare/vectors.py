"""Photos to what a shard keeps of them: the teacher's vectors, small JPEG files without metadata, or both."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from graft.errors import GraftError
from graft.prepare.spool import Spool, ordered_map
from graft.prepare.tally import Tally

BATCH = 64
JPEG_QUALITY = 90
DEFAULT_STORED_SIDE = 224


class PhotoTeacher(Protocol):
    """The part of `graft.teacher.Teacher` that building shards needs."""

    name: str
    identity: str
    dim: int
    image_size: int

    def preprocess_photo(self, image: Image.Image) -> Tensor:
        """A photo as uint8 [3, S, S]."""

    def encode_image(self, photo: Tensor) -> Tensor:
        """uint8 [N, 3, S, S] to float32 unit [N, D]."""


def stored_side(teacher: PhotoTeacher | None) -> int:
    """Short side in pixels of stored photos: what the teacher looks at."""
    return teacher.image_size if teacher else DEFAULT_STORED_SIDE


@dataclass(frozen=True)
class _Decoded:
    digest: bytes
    pixels: Tensor | None
    jpeg: bytes


class EncodedPhotos:
    """What is kept of each photo, on disk until it is written.

    Attributes:
        skipped: photos that do not decode, by reason.
        duplicates: photos whose file equals an earlier one byte for byte; they share its vector.
    """

    def __init__(self, work: Path, teacher: PhotoTeacher | None, store: bool, number: int) -> None:
        """Prepare for `number` photos, with files in the folder `work`."""
        self.skipped = Tally()
        self.duplicates = 0
        self._teacher = teacher
        self._side = stored_side(teacher)
        self._jpegs = Spool(work / "photos.bin") if store else None
        self._slot = np.full(number, -1, dtype=np.int64)
        self._vectors = (
            np.lib.format.open_memmap(work / "vectors.npy", mode="w+", dtype=np.float16, shape=(number, teacher.dim))
            if teacher
            else None
        )

    def decodes(self, photo: int) -> bool:
        """Whether the photo of that number was encoded and decodes."""
        return bool(self._slot[photo] >= 0)

    def ground(self, photos: Sequence[int]) -> npt.NDArray[np.float16] | None:
        """The teacher's vectors, float16 [K, D] of unit length; None without a teacher."""
        return None if self._vectors is None else self._vectors[self._slot[list(photos)]]

    def jpegs(self, photos: Sequence[int]) -> list[bytes]:
        """JPEG files of the photos; empty if photos are not stored."""
        return [] if self._jpegs is None else [self._jpegs[int(slot)] for slot in self._slot[list(photos)]]

    def close(self) -> None:
        """Release the files."""
        if self._jpegs is not None:
            self._jpegs.close()

    def encode(self, numbers: Sequence[int], paths: Sequence[str], names: Sequence[str]) -> None:
        """Decode and encode each photo once.

        Args:
            numbers: of the photos, for later reference.
            paths: their files.
            names: what to call them when they do not decode.

        Raises:
            GraftError: the teacher gives vectors that are not finite.
        """
        slot_of: dict[bytes, int] = {}
        batch: list[Tensor] = []
        results = ordered_map(self._decode, paths, ahead=2 * BATCH)
        progress = tqdm(results, total=len(paths), desc="encoding photos", unit="photo")
        for number, name, result in zip(numbers, names, progress, strict=True):
            if isinstance(result, str):
                self.skipped.add(result, name)
                continue
            if result.digest in slot_of:
                self.duplicates += 1
            else:
                slot_of[result.digest] = len(slot_of)
                if self._jpegs is not None:
                    self._jpegs.append(result.jpeg)
                if result.pixels is not None:
                    batch.append(result.pixels)
            self._slot[number] = slot_of[result.digest]
            if len(batch) == BATCH:
                self._encode_batch(batch, end=len(slot_of))
        self._encode_batch(batch, end=len(slot_of))

    def _encode_batch(self, batch: list[Tensor], end: int) -> None:
        if self._teacher is None or self._vectors is None or not batch:
            return
        vectors = self._teacher.encode_image(torch.stack(batch)).float().cpu()
        if not torch.isfinite(vectors).all():
            raise GraftError(f"The teacher {self._teacher.name} gives vectors that are not finite: check its weights.")
        self._vectors[end - len(batch) : end] = vectors.numpy()
        batch.clear()

    def _decode(self, path: str) -> _Decoded | str:
        """A photo's content, or the reason why it does not decode."""
        try:
            content = Path(path).read_bytes()
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                pixels = self._teacher.preprocess_photo(image) if self._teacher else None
                jpeg = _small_jpeg(image, self._side) if self._jpegs is not None else b""
        except Exception as error:  # a decoder fed with anything at all raises nearly anything
            return f"photo does not decode: {type(error).__name__}"
        return _Decoded(hashlib.sha256(content).digest(), pixels, jpeg)


def _small_jpeg(image: Image.Image, side: int) -> bytes:
    """Upright pixels, short side at most `side`, written anew: no EXIF, comment, thumbnail or profile survives."""
    upright = ImageOps.exif_transpose(image).convert("RGB")
    scale = min(1.0, side / min(upright.size))
    small = upright.resize((round(upright.width * scale), round(upright.height * scale)), Image.Resampling.BICUBIC)
    bare = Image.frombytes("RGB", small.size, small.tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
