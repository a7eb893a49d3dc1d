"""Shards for the tests of the audit, whole by default, with any fault on request."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graft.audit.findings import Check, Level
from graft.audit.run import Audit, Settings, run_audit
from graft.sensors import get_sensor

SIDE, GSD, DIM = 32, 10.0, 8
TEACHER = {"name": "local-dir:/nowhere", "identity": "ab" * 32, "dim": DIM}


@dataclass
class Sample:
    """One sample before it becomes bytes; tests change what they like."""

    key: str
    pixels: np.ndarray
    meta: dict[str, Any]
    vectors: np.ndarray
    pictures: list[bytes]
    extra: dict[str, bytes] = field(default_factory=dict)

    def members(self) -> dict[str, bytes]:
        stream = io.BytesIO()
        np.save(stream, self.vectors)
        found = {"tile.png": picture_bytes(self.pixels, "PNG"), "ground.npy": stream.getvalue()}
        found["json"] = json.dumps(self.meta).encode()
        return found | {f"ground{k:02d}.jpg": content for k, content in enumerate(self.pictures)} | self.extra


def picture_bytes(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def make_sample(number: int, *, split: str = "train", east: float = 500_000.0, photos: int = 3) -> Sample:
    """A sound sample; tiles lie two sides apart from each other, in rows of 8."""
    rng = np.random.default_rng(hash_of(f"{split}-{number}"))
    step = 2 * SIDE * GSD
    west, north = east + number % 8 * step, 5_000_000.0 - number // 8 * step
    smooth = Image.fromarray(rng.integers(40, 200, (4, 4, 3), dtype=np.uint8)).resize((SIDE, SIDE))
    vectors = rng.normal(size=(photos, DIM))
    listed = [
        {
            "id": f"{split}-{number}-{k}",
            "x": round(float(rng.uniform(1, SIDE - 1)), 4),
            "y": round(float(rng.uniform(1, SIDE - 1)), 4),
            "taken_at": f"2021-0{k % 9 + 1}-03T10:00:00",
            "heading": 10.0 * k,
            "license": "CC0-1.0",
            "source": "made",
            "accuracy_m": 5.0,
        }
        for k in range(photos)
    ]
    meta = {
        "tile_id": f"{split}-{number:04d}",
        "sensor": "sentinel",
        "radiometry": get_sensor("sentinel").radiometry,
        "gsd_m": GSD,
        "crs": "EPSG:32633",
        "transform": [GSD, 0.0, west, 0.0, -GSD, north],
        "datetime": "2021-06-01T10:00:00+00:00",
        "item": "scene",
        "teacher": TEACHER["identity"][:16],
        "nodata": 0.0,
        "cloudy": 0.01,
        "photos": listed,
    }
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    return Sample(f"{split}-{number:04d}", np.array(smooth), meta, unit, [])


def hash_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def with_pictures(sample: Sample, size: tuple[int, int] = (48, 40), **options: Any) -> Sample:
    """Store a photo for each one listed."""
    rng = np.random.default_rng(hash_of(sample.key))
    for _ in sample.meta["photos"]:
        coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize(size)
        sample.pictures.append(picture_bytes(np.array(coarse), "JPEG", **options))
    return sample


def write_split(folder: Path, samples: list[Sample], *, per_shard: int = 8, stored: bool = False, **index: Any) -> Path:
    """Write samples and their index as `graft prepare` does; `index` replaces fields of it."""
    folder.mkdir(parents=True)
    rows = []
    for number, start in enumerate(range(0, len(samples), per_shard)):
        chosen = samples[start : start + per_shard]
        path = folder / f"shard-{number:06d}.tar"
        write_tar(
            path, [(f"{sample.key}.{name}", body) for sample in chosen for name, body in sample.members().items()]
        )
        rows.append(row_of(path, len(chosen), sum(len(sample.meta.get("photos", [])) for sample in chosen)))
    sensor = get_sensor("sentinel")
    content: dict[str, Any] = {
        "version": 1,
        "sensor": sensor.name,
        "radiometry": sensor.radiometry,
        "tile_size": SIDE,
        "teacher": TEACHER,
        "photos_stored": stored,
        "shards": rows,
    }
    (folder / "index.json").write_text(json.dumps(content | index))
    return folder


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))


def row_of(path: Path, samples: int, photos: int) -> dict[str, Any]:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"file": path.name, "samples": samples, "photos": photos, "bytes": len(content), "sha256": digest}


def edit_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "index.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@dataclass(frozen=True)
class Found:
    """An audit by names of its checks."""

    audit: Audit

    def __getitem__(self, name: str) -> Check:
        """The check called `GROUP, NAME` or, where that is enough, `NAME`."""
        (found,) = [c for c in self.audit.checks if name in (c.name, f"{c.group}, {c.name}")]
        return found

    @property
    def bad(self) -> dict[str, str]:
        """Name -> level of every check that found something."""
        found = [check for check in self.audit.checks if check.level in (Level.WARNING, Level.FAULT)]
        return {f"{check.group}, {check.name}": check.level.value for check in found}


def look(shards: Path, work: Path, **settings: Any) -> Found:
    """Audit in this process."""
    chosen: dict[str, Any] = {
        "sample": 1.0,
        "workers": 1,
        "buffer_m": 0.0,
        "words": "photo_filter",
        "teacher": None,
        "teacher_weights": None,
    }
    work.mkdir(exist_ok=True)
    return Found(run_audit(shards, Settings(**(chosen | settings)), work))
