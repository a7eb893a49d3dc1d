"""Fixtures that write the real formats: an open_clip folder, shards, a labelled folder, a prompt set."""

import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import open_clip
import pytest
import torch
import webdataset as wds
import yaml
from PIL import Image
from safetensors.torch import save_file

from graft.teacher import Teacher

TINY_MODEL = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
CLASSES = ("Forest", "Lake", "Town")


def write_clip_folder(folder: Path, model: dict[str, object], seed: int) -> Path:
    torch.manual_seed(seed)
    clip = open_clip.CLIP(**json.loads(json.dumps(model)))
    preprocess = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An open_clip folder with random weights."""
    return write_clip_folder(tmp_path_factory.mktemp("clip") / "tiny", TINY_MODEL, seed=1)


@pytest.fixture(scope="session")
def architecture(clip_folder: Path) -> str:
    return f"local-dir:{clip_folder}"


@pytest.fixture(scope="session")
def teacher(architecture: str) -> Teacher:
    return Teacher(architecture)


def picture(rng: np.random.Generator, label: int, side: int) -> Image.Image:
    """Noise with a tint per class, so that something can be learnt."""
    pixels = rng.integers(0, 120, (side, side, 3))
    pixels[..., label % 3] += 120
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@dataclass
class ShardFactory:
    """Writes shards as `graft prepare` does, with faults on request.

    `change` gets the members of a sample (name -> bytes) and its number, and may alter them.
    """

    teacher: Teacher
    side: int = 32
    sensor: str = "sentinel"

    def __call__(
        self,
        folder: Path,
        *,
        samples: int = 24,
        shards: int = 3,
        photos: int = 3,
        stored: bool = False,
        change: Callable[[dict[str, bytes], int], None] | None = None,
    ) -> Path:
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        rows = []
        for shard in range(shards):
            path = folder / f"shard-{shard:06d}.tar"
            numbers = range(shard * samples // shards, (shard + 1) * samples // shards)
            with wds.TarWriter(str(path), mtime=0) as writer:
                for number in numbers:
                    members = self.sample(rng, number, photos, stored)
                    if change is not None:
                        change(members, number)
                    writer.write({"__key__": f"tile-{number:06d}", **members})
            rows.append(
                {
                    "file": path.name,
                    "samples": len(numbers),
                    "photos": photos * len(numbers),
                    "bytes": path.stat().st_size,
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
            )
        index = {
            "version": 1,
            "sensor": self.sensor,
            "tile_size": self.side,
            "radiometry": "as made",
            "teacher": self.teacher.card,
            "photos_stored": stored,
            "shards": rows,
        }
        (folder / "index.json").write_text(json.dumps(index))
        return folder

    def sample(self, rng: np.random.Generator, number: int, photos: int, stored: bool) -> dict[str, bytes]:
        label = number % len(CLASSES)
        pictures = [picture(rng, label, self.teacher.image_size) for _ in range(photos)]
        vectors = self.teacher.encode_image(torch.stack([self.teacher.preprocess_photo(image) for image in pictures]))
        stream = io.BytesIO()
        np.save(stream, vectors.numpy().astype(np.float16))
        about = {
            "tile_id": f"tile-{number}",
            "sensor": self.sensor,
            "teacher": self.teacher.identity[:16],
            "photos": [
                {"id": f"photo-{number}-{k}", "x": 1.0 + k, "y": float(self.side - 2 - k)} for k in range(photos)
            ],
        }
        members = {"tile.png": encoded(picture(rng, label, self.side), "PNG"), "ground.npy": stream.getvalue()}
        if stored:
            members |= {f"ground{k:02d}.jpg": encoded(image, "JPEG") for k, image in enumerate(pictures)}
        return members | {"json": json.dumps(about).encode()}


@pytest.fixture(scope="session")
def make_shards(teacher: Teacher) -> ShardFactory:
    return ShardFactory(teacher)


@pytest.fixture(scope="session")
def shards(make_shards: ShardFactory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 whole samples in 3 shards, photos stored too."""
    return make_shards(tmp_path_factory.mktemp("shards") / "whole", stored=True)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled folder in the EuroSAT layout, with the classes of `prompts`."""
    root = tmp_path_factory.mktemp("probe") / "2750"
    rng = np.random.default_rng(1)
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(4):
            picture(rng, label, 32).save(root / name / f"{name}_{number}.jpg", quality=95)
    return root


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prompt set file."""
    path = tmp_path_factory.mktemp("prompts") / "three.yaml"
    classes = [{"id": name, "name": name.lower(), "described": [f"the {name.lower()}"]} for name in CLASSES]
    families = {"ground": ["a photo of {}."], "satellite": ["a satellite photo of {}."]}
    path.write_text(yaml.safe_dump({"classes": classes, "families": families}))
    return path


@pytest.fixture
def fit_config(tmp_path: Path, shards: Path, probe: Path, prompts: Path, architecture: str) -> Path:
    """A full training configuration that takes four steps of one virtual epoch each two."""
    path = tmp_path / "fit.yaml"
    config = {
        "seed_everything": 3,
        "ckpt_path": "last",
        "model": {
            "class_path": "lightning_modules.GraftAlignment",
            "init_args": {"architecture": architecture, "weights": None, "learning_rate": 1e-3, "warmup_steps": 1},
        },
        "data": {
            "class_path": "datamodules.GroundPairs",
            "init_args": {
                "shards": str(shards),
                "probe": str(probe),
                "sensor": "sentinel",
                "probe_prompts": str(prompts),
                "batch_size": 4,
                "photos_per_tile": 2,
                "num_workers": 0,
            },
        },
        "trainer": {
            "default_root_dir": str(tmp_path / "run"),
            "accelerator": "cpu",
            "max_epochs": 2,
            "limit_train_batches": 2,
            "log_every_n_steps": 1,
            "enable_progress_bar": False,
            "use_distributed_sampler": False,
            "callbacks": [
                {"class_path": "lightning_modules.Throughput"},
                {"class_path": "lightning_modules.TrainingCurves"},
                {"class_path": "lightning_modules.LastCheckpoint", "init_args": {"every_n_train_steps": 1}},
            ],
        },
    }
    path.write_text(yaml.safe_dump(config))
    return path
