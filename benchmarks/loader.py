"""Tiles with photo vectors a second, one worker process, page cache warm.

Ours is `graft.stream.PairStream` on shards as `graft prepare` writes them. The peer is what one writes without a
library: a `Dataset` of loose files, PIL, default collate, with the same fields and dtypes; it is spared ToTensor's
conversion to float, which graft leaves to the device. The limit decodes the same bytes, already in memory, into one
batch buffer, in one process.
"""

import io
import json
import tempfile
import time
from collections.abc import Iterable, Sized
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.rows import BenchmarkRow, measure
from graft.prepare.records import PhotoRecord, TileRecord
from graft.prepare.samples import ShardCard, encode_png
from graft.prepare.shards import ShardBuilder
from graft.sensors import get_sensor
from graft.shards import ShardIndex, photo_number
from graft.stream import PairStream

TILES, DISTINCT, SIDE, PHOTOS, WIDTH = 2_000, 100, 224, 4, 512
BATCH, BATCHES, SHARD = 64, 12, 125


class LooseFiles(Dataset[dict[str, Tensor | str]]):
    """A PNG, a `.npy` and a JSON file for each tile, read as any PyTorch tutorial would."""

    def __init__(self, folder: Path) -> None:
        self.pictures = sorted(folder.glob("*.png"))

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.pictures)

    def __getitem__(self, number: int) -> dict[str, Tensor | str]:
        """Decode one tile with its photos."""
        path = self.pictures[number]
        with Image.open(path) as image:
            tile = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()
        photos = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return {
            "tile": tile,
            "ground": torch.from_numpy(np.load(path.with_suffix(".npy"), allow_pickle=False).astype(np.float32)),
            "xy": torch.tensor([[photo["x"], photo["y"]] for photo in photos]),
            "photo_id": torch.tensor([photo_number(photo["id"]) for photo in photos]),
            "mask": torch.ones(len(photos), dtype=torch.bool),
            "tile_id": path.stem,
        }


def _picture(rng: np.random.Generator) -> bytes:
    """A PNG tile of about a real one's size: smooth fields with fine grain."""
    coarse = Image.fromarray(rng.integers(40, 200, (28, 28, 3)).astype(np.uint8)).resize((SIDE, SIDE))
    return encode_png(np.clip(np.asarray(coarse) + rng.normal(0, 5, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8))


def _write(shards: Path, loose: Path) -> None:
    """Write the same samples as shards and as loose files."""
    rng = np.random.default_rng(0)
    pictures = [_picture(rng) for _ in range(DISTINCT)]
    teacher = {"name": "random vectors", "identity": "0" * 64, "dim": WIDTH}
    loose.mkdir()
    with ShardBuilder(
        shards,
        ShardCard("sentinel", get_sensor("sentinel").radiometry, SIDE, teacher, photos_stored=False),
        samples_per_shard=SHARD,
    ) as builder:
        for number in range(TILES):
            drawn = rng.standard_normal((PHOTOS, WIDTH))
            vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)
            photos = tuple(PhotoRecord(f"{number}-{k}", 10.0 * k, 5.0) for k in range(PHOTOS))
            tile, path = pictures[number % DISTINCT], loose / f"tile-{number:05d}"
            builder.write_sample(path.name, tile, TileRecord(photos, gsd_m=10.0), ground=vectors)
            path.with_suffix(".png").write_bytes(tile)
            np.save(path.with_suffix(".npy"), vectors)
            path.with_suffix(".json").write_text(json.dumps([vars(photo) for photo in photos]), encoding="utf-8")
        builder.finish({})


def _rate(batches: Iterable[Sized]) -> float:
    """Tiles a second over `BATCHES` batches, after a first one that covers the worker's start."""
    source = iter(batches)
    next(source)
    began = time.perf_counter()
    for _ in islice(source, BATCHES):
        pass
    return BATCH * BATCHES / (time.perf_counter() - began)


def _decode_rate(samples: list[tuple[bytes, bytes]]) -> float:
    """Tiles a second of nothing but decoding."""
    tile = np.empty((BATCH, SIDE, SIDE, 3), np.uint8)
    ground = np.empty((BATCH, PHOTOS, WIDTH), np.float32)
    began = time.perf_counter()
    for number, (png, npy) in enumerate(samples):
        tile[number % BATCH] = np.asarray(Image.open(io.BytesIO(png)))
        ground[number % BATCH] = np.load(io.BytesIO(npy), allow_pickle=False)
    return len(samples) / (time.perf_counter() - began)


def loader() -> BenchmarkRow:
    """Measure the training loader."""
    with tempfile.TemporaryDirectory(prefix="graft-benchmark-") as temporary:
        shards, loose = Path(temporary, "shards"), Path(temporary, "loose")
        _write(shards, loose)
        stream = PairStream(ShardIndex.load(shards), seed=0, batch_size=BATCH, photos_per_tile=PHOTOS)
        files = LooseFiles(loose)
        timed = files.pictures[: BATCH * BATCHES]
        samples = [(path.read_bytes(), path.with_suffix(".npy").read_bytes()) for path in timed]
        return measure(
            "loader",
            "tiles/s",
            ours=lambda: _rate(DataLoader(stream, batch_size=None, num_workers=1)),
            peer=lambda: _rate(DataLoader(files, batch_size=BATCH, shuffle=True, num_workers=1)),
            limit=lambda: _decode_rate(samples),
        )
