"""The parts of a sample that have to be decoded: tile, stored photos, vectors."""

import io
import math
import warnings
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from graft.audit.notes import Expected, Notes, Words
from graft.audit.rows import Rows, digest

_UNIT_TOLERANCE = 1e-2
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
_HIDDEN = ("exif", "comment", "xmp", "photoshop", "icc_profile")


class BadMemberError(Exception):
    """A part of a sample that cannot be used; the message is the reason it is counted under."""


def _open(content: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(content))
        except (*_DAMAGED, Image.DecompressionBombWarning):
            raise BadMemberError("do not decode") from None


def look_at_tile(members: Mapping[str, bytes], tile: Rows, expected: Expected, notes: Notes, name: str) -> None:
    """Decode the tile: hash, mean, deviation and the shares of black and saturated pixels go into its row."""
    notes.looked["tiles"] += 1
    try:
        pixels = _decode_tile(members, expected.tile_size)
    except BadMemberError as reason:
        notes.add("tiles", str(reason), name)
        return
    # Counts of display values hold mean, deviation and percentiles exactly, in one pass.
    lifted = pixels.reshape(-1, 3) + np.array([0, 256, 512], np.uint16)
    counts = np.bincount(lifted.ravel(), minlength=768).reshape(3, 256)
    total, values = pixels.shape[0] * pixels.shape[1], np.arange(256)
    red, green, blue = np.moveaxis(pixels, 2, 0)
    black = np.count_nonzero((red | green | blue) == 0)
    valid = counts.copy()
    valid[:, 0] -= black
    mean = valid @ values / max(total - black, 1)
    tile["mean"] = mean
    tile["std"] = np.sqrt(np.maximum(valid @ values**2 / max(total - black, 1) - mean**2, 0))
    tile["black"], tile["saturated"] = black / total, ((red & green & blue) == 255).mean()
    tile["pixels"] = digest(pixels.tobytes())
    notes.histogram += valid
    notes.decoded += 1


def _decode_tile(members: Mapping[str, bytes], side: int) -> npt.NDArray[np.uint8]:
    content = members.get("tile.png") or members.get("tile.jpg")
    if not content:
        raise BadMemberError("are missing")
    image = _open(content)
    if image.size != (side, side):
        raise BadMemberError(f"are not {side} x {side} pixels")
    if image.mode != "RGB":
        raise BadMemberError(f"are not RGB but {image.mode}")
    try:
        return np.asarray(image)
    except _DAMAGED:
        raise BadMemberError("do not decode") from None


def look_at_pictures(members: Mapping[str, bytes], photos: Rows, notes: Notes, name: str) -> None:
    """Decode the stored photos: hash and short side go into the rows of the photos."""
    stored = sorted(field for field in members if field.startswith("ground") and field.endswith(".jpg"))
    notes.looked["pictures"] += len(stored)
    if len(stored) != len(photos):
        notes.add("pictures", "samples with more or fewer pictures than photos", name)
    for row, picture in zip(photos, stored, strict=False):
        try:
            image = _open(members[picture])
            hidden = [key for key in _HIDDEN if key in image.info]
            # Most damage hides in the coded data: every pixel has to come out.
            image.load()
        except BadMemberError as reason:
            notes.add("pictures", f"pictures that {reason}", f"{name}, {picture}")
            continue
        except _DAMAGED:
            notes.add("pictures", "pictures that do not decode", f"{name}, {picture}")
            continue
        notes.looked["privacy"] += 1
        row["side"], row["picture"] = min(*image.size, 65535), digest(members[picture])
        if hidden:
            notes.add("privacy", "pictures that carry metadata", f"{name}, {picture}: {', '.join(hidden)}")


def look_at_vectors(members: Mapping[str, bytes], photos: Rows, expected: Expected, notes: Notes, name: str) -> None:
    """Hash the vectors of a sample into the rows of its photos; with words, also note what they show."""
    assert expected.teacher is not None
    notes.looked["vectors"] += 1
    try:
        vectors = _read_vectors(members, (len(photos), expected.teacher["dim"]))
    except BadMemberError as reason:
        notes.add("vectors", str(reason), name)
        return
    photos["vector"] = [digest(vector.tobytes()) for vector in vectors]
    if expected.words is not None:
        _say(vectors.astype(np.float32), photos, expected.words)


def _say(vectors: npt.NDArray[np.float32], photos: Rows, words: Words) -> None:
    """The nearest phrase of each photo, and how sure the teacher is of its class: that of its best phrase."""
    cosines = vectors @ words.vectors.T
    nearest = cosines.argmax(axis=1)
    starts = np.flatnonzero(np.diff(words.owner, prepend=-1))
    best = np.maximum.reduceat(cosines, starts, axis=1)
    photos["phrase"], photos["cosine"] = nearest, cosines.max(axis=1)
    photos["probability"] = 1 / np.exp(words.logit_scale * (best - best.max(axis=1, keepdims=True))).sum(axis=1)


def _read_vectors(members: Mapping[str, bytes], wanted: tuple[int, int]) -> npt.NDArray[np.float16]:
    """A .npy file by its header: one that lies about its size is refused before memory is taken for it."""
    content = members.get("ground.npy")
    if not content:
        raise BadMemberError("are missing")
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read_header(stream)
    except (ValueError, EOFError, SyntaxError):
        raise BadMemberError("are not a .npy file") from None
    if dtype != np.float16 or by_columns:
        raise BadMemberError(f"are {dtype}, not rows of float16")
    body = content[stream.tell() :]
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise BadMemberError("are cut short or too long")
    if shape != wanted:
        raise BadMemberError(f"are of another shape than [photos, {wanted[1]}]")
    vectors = np.frombuffer(body, np.float16).reshape(wanted)
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    if not np.isfinite(lengths).all():
        raise BadMemberError("are not finite")
    if (np.abs(lengths - 1) > _UNIT_TOLERANCE).any():
        raise BadMemberError("are not of unit length")
    return vectors
