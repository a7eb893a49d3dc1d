"""Shards as files: what their index says, and the samples in them as the bytes they are."""

import io
import json
import re
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from graft.errors import GraftError, first_line
from graft.files import sha256_file
from graft.prepare.samples import KEY_PATTERN, ShardCard
from graft.remote import FetchError, Remote, is_address, local_folder

_MEMBER = re.compile(rf"({KEY_PATTERN.pattern})\.([a-z0-9]+(?:\.[a-z0-9]+)*)")
"""Any field is carried along, also those that graft does not know; none can leave the folder it is written to."""
_REMEDY = "graft audit lists what is wrong; copy the shards again, or build them again."


@dataclass(frozen=True)
class ShardRow:
    """What an index says of a shard: `bytes` is its size."""

    file: str
    samples: int
    photos: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardSource:
    """Shards of one folder or address.

    Attributes:
        where: folder or address.
        card: what all samples share.
        rows: its shards, in the order of the index.
        build: how the shards came about; empty where the index does not say.
    """

    where: str
    card: ShardCard
    rows: tuple[ShardRow, ...]
    build: dict[str, Any]

    @property
    def folder(self) -> Path:
        """Where the shards lie on this machine.

        Raises:
            GraftError: they lie at an address.
        """
        return local_folder(self.where)


def open_source(where: Path | str) -> ShardSource:
    """Read and check the index of a folder or an address.

    Raises:
        GraftError: see `graft.shards.ShardIndex.load`.
    """
    from graft.shards import INDEX_NAME, ShardIndex

    index = ShardIndex.load(where)
    if is_address(index.where):
        content = _fetch(Remote(index.where), INDEX_NAME)
    else:
        content = json.loads(Path(index.where, INDEX_NAME).read_text(encoding="utf-8"))
    try:
        rows = tuple(ShardRow(**{name: row[name] for name in ShardRow.__annotations__}) for row in content["shards"])
    except (KeyError, TypeError) as error:
        raise GraftError(f"{index.where}/{INDEX_NAME} has a shard without {error}: build the shards again.") from error
    card = ShardCard(
        index.sensor, index.radiometry, index.tile_size, index.teacher, index.photos_stored, content.get("split")
    )
    return ShardSource(index.where, card, rows, content.get("build") or {})


def _fetch(remote: Remote, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="graft-") as folder:
        path = Path(folder, name)
        try:
            remote.fetch(name, path, lambda _: None)
        except FetchError as error:
            raise GraftError(f"No shards at {remote.address}: {error}. Check address, network and rights.") from error
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content


class Catalogue:
    """Where each sample of local shards lies: a key, and a span of one tar.

    Memory: about 120 bytes a sample.

    Attributes:
        source: the shards.
        keys: of all samples, in the order of the shards.
        sizes: int64 [N], bytes that each sample takes in its tar.
    """

    def __init__(self, source: ShardSource, *, verify: bool) -> None:
        """Read the headers of all shards.

        Args:
            source: local shards.
            verify: compare the shards' hashes with the index first, so that damage is not copied under a new hash.

        Raises:
            GraftError: a shard that is damaged, other than the index says, or holds a name no sample may have.
        """
        self.source = source
        self.keys: list[str] = []
        shards: list[npt.NDArray[np.int32]] = []
        edges: list[npt.NDArray[np.int64]] = []
        for number, row in enumerate(tqdm(source.rows, unit="shard", desc="read", disable=not verify)):
            path = source.folder / row.file
            if verify and sha256_file(path) != row.sha256:
                raise GraftError(f"{path} is not the shard that its index names: its sha256 differs. {_REMEDY}")
            keys, spans = _scan(path)
            if len(keys) != row.samples:
                raise GraftError(f"{path} holds {len(keys)} samples, its index says {row.samples}. {_REMEDY}")
            self.keys += keys
            shards.append(np.full(len(keys), number, np.int32))
            edges.append(spans)
        self._shard, self._edges = np.concatenate(shards), np.concatenate(edges)
        self.sizes: npt.NDArray[np.int64] = self._edges[:, 1] - self._edges[:, 0]
        if len(set(self.keys)) < len(self.keys):
            raise GraftError(f"{source.where} holds the key {_repeated(self.keys)!r} twice. {_REMEDY}")

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.keys)

    def read(self, number: int) -> dict[str, bytes]:
        """Members of a sample: field name -> bytes."""
        start, stop = (int(edge) for edge in self._edges[number])
        with (self.source.folder / self.source.rows[self._shard[number]].file).open("rb") as file:
            file.seek(start)
            span = io.BytesIO(file.read(stop - start))
        members: dict[str, bytes] = {}
        with tarfile.open(fileobj=span, mode="r:") as archive:
            for member in archive:
                content, name = archive.extractfile(member), member.name.removeprefix(self.keys[number] + ".")
                assert content is not None, "`_scan` lets files pass alone"
                if name in members:
                    raise GraftError(f"Sample {self.keys[number]!r} has two members {name}. {_REMEDY}")
                members[name] = content.read()
        return members

    def meta(self, number: int) -> dict[str, Any]:
        """The `json` member of a sample."""
        return parse_meta(self.keys[number], self.read(number))


def parse_meta(key: str, members: dict[str, bytes]) -> dict[str, Any]:
    """The `json` member of a sample.

    Raises:
        GraftError: it has none, one without a list of photos that each have an id, or text that no file can hold.
    """
    try:
        meta: dict[str, Any] = json.loads(members["json"])
        json.dumps(meta, ensure_ascii=False).encode()  # half a surrogate pair parses, and cannot be written again
        if not isinstance(meta["photos"], list):
            fault = "its photos are no list"
        elif not all(isinstance(photo, dict) and isinstance(photo.get("id"), str) for photo in meta["photos"]):
            fault = "a photo has no id"
        else:
            return meta
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        fault = f"{type(error).__name__}: {first_line(error)}"
    raise GraftError(f"The json of sample {key!r} is not that of a sample ({fault}). {_REMEDY}")


def _scan(path: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Keys of a tar's samples and their spans, int64 [N, 2] in bytes."""
    keys: list[str] = []
    starts: list[int] = []
    end = 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                match = _MEMBER.fullmatch(member.name)
                if match is None or not member.isfile():
                    raise GraftError(f"{path} holds {member.name!r}, which is no member of a sample. {_REMEDY}")
                if not keys or keys[-1] != match[1]:
                    keys.append(match[1])
                    starts.append(member.offset)
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    except (tarfile.TarError, OSError, EOFError) as error:
        raise GraftError(f"{path} is not a whole tar ({first_line(error)}). {_REMEDY}") from error
    if end > path.stat().st_size:
        raise GraftError(f"{path} breaks off inside a sample. {_REMEDY}")
    return keys, np.array([starts, [*starts[1:], end]], np.int64).T.reshape(-1, 2) if keys else np.zeros(
        (0, 2), np.int64
    )


def _repeated(keys: Sequence[str]) -> str:
    seen: set[str] = set()
    return next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
