"""The published recipe with the full ViT-B/16, on a weights file in open_clip's format."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import open_clip
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from graft.checkpoint import load_encoder
from graft.encoders import Level, SatelliteEncoder, encoder_from_clip
from graft.gather import gather_candidates
from graft.losses import alignment_loss
from graft.photo_tokens import tokens_under_photos
from graft.shards import ShardIndex
from graft.stream import PairStream
from graft.teacher import Teacher
from tests.conftest import ShardFactory

ARCHITECTURE = "ViT-B-16-quickgelu"
STEPS, BATCH, PATCH = 20, 8, 16

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "open_clip_model.safetensors"
    save_file(open_clip.create_model(ARCHITECTURE).state_dict(), path)
    return path


def command(config: str, folder: Path, weights: Path, probe: Path, prompts: Path) -> list[str]:
    return [
        sys.executable,
        "main.py",
        "fit",
        f"--config=configs/{config}.yaml",
        f"--model.init_args.weights={weights}",
        "--model.init_args.warmup_steps=2",
        f"--data.init_args.shards={folder / 'shards'}",
        f"--data.init_args.probe={probe}",
        f"--data.init_args.probe_prompts={prompts}",
        "--data.init_args.probe_fit=resize",
        f"--data.init_args.batch_size={BATCH}",
        "--data.init_args.num_workers=1",
        f"--trainer.default_root_dir={folder / 'run'}",
        "--trainer.max_epochs=1",
        f"--trainer.limit_train_batches={STEPS}",
        f"--trainer.val_check_interval={STEPS}",
        "--trainer.log_every_n_steps=1",
        "--trainer.callbacks+=lightning_modules.LastCheckpoint",
        "--trainer.callbacks.every_n_train_steps=5",
    ]


def loss_on_a_fixed_batch(encoder: torch.nn.Module, shards: Path) -> float:
    stream = PairStream(ShardIndex.load(shards), seed=1, batch_size=BATCH, photos_per_tile=4)
    batch = stream.batch(0, 0)
    assert batch.ground is not None
    with torch.inference_mode():
        if isinstance(encoder, SatelliteEncoder) and encoder.level == "pixel":
            satellite = tokens_under_photos(encoder.eval().tokens(batch.tile), batch.xy, PATCH)
        else:
            satellite = encoder.eval()(batch.tile)
        candidates = gather_candidates(batch.ground, batch.mask, batch.photo_id)
        scale = torch.tensor(1 / 0.07)
        return alignment_loss(satellite, batch.ground, batch.mask, candidates, logit_scale=scale).item()


@pytest.mark.parametrize("config", ["sentinel", "naip", "sentinel_pixel", "naip_pixel"])
def test_twenty_steps_killed_and_taken_up_again(
    config: str, weights: Path, probe: Path, prompts: Path, tmp_path: Path
) -> None:
    teacher = Teacher(ARCHITECTURE, str(weights), dtype=torch.bfloat16)
    sensor, _, pixel = config.partition("_")
    level: Level = "pixel" if pixel else "image"
    shards = ShardFactory(teacher, side=224, sensor=sensor)(tmp_path / "shards", samples=16, shards=2)
    before = loss_on_a_fixed_batch(encoder_from_clip(ARCHITECTURE, str(weights), level=level)[0], shards)

    words = command(config, tmp_path, weights, probe, prompts)
    run = tmp_path / "run"
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 400
    while not (run / "last.ckpt").exists() and first.poll() is None and time.monotonic() < until:
        time.sleep(0.5)
    assert first.poll() is None, "the run ended before it could be killed"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    killed_at = torch.load(run / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < killed_at < STEPS

    second = subprocess.run(words, capture_output=True, text=True)
    assert second.returncode == 0, second.stderr[-2000:]
    loaded = load_encoder(run / "last.ckpt")
    assert loaded.step == STEPS
    logs = [pd.read_csv(path) for path in sorted(run.glob("lightning_logs/*/metrics.csv"))]
    assert logs[-1]["step"].min() >= killed_at
    after = loss_on_a_fixed_batch(loaded.encoder, shards)
    print(f"{config}: killed at step {killed_at}; loss on the fixed batch {before:.4f} -> {after:.4f}")
    assert after < before
