"""One shard, read once from end to end: what a worker process does."""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from graft.audit.cards import ShardRow
from graft.audit.notes import Expected, Notes
from graft.audit.rows import PHOTO, TILE, Rows, digest
from graft.audit.sample import look_at
from graft.files import sha256_file

_MEMBER = re.compile(r"([a-z0-9_-]+)\.(tile\.png|tile\.jpg|ground\.npy|ground\d\d+\.jpg|json)")
_LONGEST_KEY = 80
_LARGEST_MEMBER = 64 * 2**20


@dataclass(frozen=True)
class Job:
    """One shard to look at.

    Attributes:
        path: of the tar.
        name: for examples: split and file.
        number: of the shard within its split.
        card: what the index says of it.
        expected: what the index says of all samples.
        share: of samples whose pictures and vectors are decoded, drawn by a hash of their keys.
    """

    path: Path
    name: str
    number: int
    card: ShardRow
    expected: Expected
    share: float


@dataclass(frozen=True)
class Scan:
    """What was found in one shard.

    Attributes:
        tiles: rows of `TILE`.
        photos: rows of `PHOTO`; `tile` counts from 0.
        notes: what is wrong, and sums.
    """

    tiles: Rows
    photos: Rows
    notes: Notes


@dataclass(frozen=True)
class _Sample:
    key: str
    offset: int
    members: dict[str, bytes]


def scan_shard(job: Job) -> Scan:
    """Look at one shard; whatever is wrong with it is in the notes, never an exception."""
    notes = Notes()
    tiles: list[Rows] = []
    photos: list[Rows] = []
    seen: set[str] = set()
    notes.looked.update(("bytes", "counts"))
    try:
        size = job.path.stat().st_size
        if size != job.card.bytes:
            notes.add(
                "bytes", "of another size than the index says", f"{job.name}: {size:,}, not {job.card.bytes:,} bytes"
            )
        elif sha256_file(job.path) != job.card.sha256:
            notes.add("bytes", "of another sha256 than the index says", job.name)
        for sample in _samples(job, notes):
            name = f"{job.name}, {sample.key}"
            if sample.key in seen:
                notes.add("keys", "whose members do not lie together", name)
            if len(sample.key) > _LONGEST_KEY:
                notes.add("keys", f"longer than {_LONGEST_KEY} letters", name)
            seen.add(sample.key)
            key = digest(sample.key.encode())
            tile, rows = look_at(sample.members, name, job.expected, notes, decode=key < job.share * 2**64)
            tile["shard"], tile["offset"], tile["key"] = job.number, sample.offset, key
            rows["tile"] = len(tiles)
            tiles.append(tile)
            photos.append(rows)
    except FileNotFoundError:
        notes.add("bytes", "missing", job.name)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        notes.add("tars", "not whole", f"{job.name}: {error}")
    found = sum(map(len, photos))
    for what, number, stated in (("samples", len(tiles), job.card.samples), ("photos", found, job.card.photos)):
        if number != stated:
            notes.add("counts", f"with other {what} than the index says", f"{job.name}: {number:,}, not {stated:,}")
    return Scan(np.concatenate([np.zeros(0, TILE), *tiles]), np.concatenate([np.zeros(0, PHOTO), *photos]), notes)


def _samples(job: Job, notes: Notes) -> Iterator[_Sample]:
    """Samples in turn; a key that comes again after another one is a sample of its own."""
    with tarfile.open(job.path, "r:") as archive, job.path.open("rb") as file:
        current: _Sample | None = None
        notes.looked["tars"] += 1
        for member in archive:
            notes.looked["members"] += 1
            match = _MEMBER.fullmatch(member.name)
            if match is None or not member.isfile():
                notes.add("members", "not named KEY.FIELD or not plain files", f"{job.name}: {member.name[:80]}")
                continue
            if current is None or current.key != match[1]:
                if current is not None:
                    yield current
                current = _Sample(match[1], member.offset, {})
            content = _content(file, member)
            if match[2] in current.members:
                notes.add("members", "twice in one sample", f"{job.name}: {member.name}")
            if content is None:
                notes.add("tars", "cut short", f"{job.name}, {member.name}")
            else:
                current.members[match[2]] = content
            # The archive keeps every header it has read; a shard may have a hundred thousand.
            archive.members = []  # type: ignore[attr-defined]
        if current is not None:
            yield current


def _content(file: IO[bytes], member: tarfile.TarInfo) -> bytes | None:
    """None where the tar ends before the member does, or the member is too large to be one."""
    if not 0 <= member.size <= _LARGEST_MEMBER:
        return None
    file.seek(member.offset_data)
    content = file.read(member.size)
    return content if len(content) == member.size else None


def read_sample(path: Path, offset: int) -> tuple[str, dict[str, bytes]]:
    """One sample again, by the offset of its first header: its key and its members.

    Args:
        path: of the tar, which a scan has read.
        offset: as kept in its row.
    """
    key, members = "", {}
    with path.open("rb") as file:
        file.seek(offset)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                match = _MEMBER.fullmatch(member.name)
                if match is None or (key and match[1] != key):
                    break
                key = match[1]
                content = archive.extractfile(member)
                if content is not None:
                    members[match[2]] = content.read()
    return key, members
