"""A real `graft prepare`, killed at random moments and taken up again; and on one process and on four."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.prepare_inputs import lonlat, write_photo, write_scene
from tests.test_prepare_build import everything, write_photos

PHOTOS = 4500
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, architecture: str) -> Path:
    """Enough photos for three parts and enough tiles for several, in two overlapping scenes."""
    root = tmp_path_factory.mktemp("stops")
    rng = np.random.default_rng(0)
    for name, west in (("A", 500_000.0), ("B", 504_000.0)):
        write_scene(
            root / "scenes" / f"{name}.tif", rng.integers(300, 3000, (4, 700, 700)).astype(np.uint16), west=west
        )
    rows = []
    for number in range(PHOTOS):
        write_photo(root / "photos" / f"p{number}.jpg", number, size=(72, 64))
        lon, lat = lonlat(*rng.uniform((0, 0), (1100, 700)))
        rows.append(
            {"photo_id": f"p{number}", "path": f"p{number}.jpg", "lon": lon, "lat": lat, "author": f"a{number % 7}"}
        )
    settings = {
        "photos": str(write_photos(root / "photos", rows)),
        "imagery": {"scenes": [str(root / "scenes")]},
        "sensor": "sentinel",
        "teacher": {"architecture": architecture},
        "content": {"min_scene": 0.0},
        "tiles": {"size": 24},
        "splits": {"shares": {"train": 0.8, "val": 0.2}, "cell_km": 2.0},
        "shards": {"samples": 100, "photos": True},
    }
    path = root / "prepare.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def start(config: Path, out: Path, workers: int) -> "subprocess.Popen[str]":
    command = [
        sys.executable,
        "-m",
        "graft.cli",
        "prepare",
        str(config),
        f"--out={out}",
        f"--cluster.workers={workers}",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """All files of a build that nothing disturbed, and the seconds it took."""
    out = tmp_path_factory.mktemp("whole") / "out"
    began = time.monotonic()
    process = start(config, out, 1)
    told, _ = process.communicate(timeout=280)
    assert process.returncode == 0, told[-3000:]
    files = everything(out)
    assert sum(name.endswith(".tar") for name in files) >= 8
    return files, time.monotonic() - began


def test_four_processes_write_the_same_bytes(
    config: Path, whole: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    process = start(config, tmp_path / "out", 4)
    told, _ = process.communicate(timeout=280)
    assert process.returncode == 0, told[-3000:]
    assert everything(tmp_path / "out") == whole[0]


@pytest.mark.timeout(900)
def test_ten_kills_leave_no_trace(config: Path, whole: tuple[dict[str, bytes], float], tmp_path: Path) -> None:
    dice = random.Random(7)
    out, (expected, seconds) = tmp_path / "out", whole
    for number in range(10):
        process = start(config, out, 1 + number % 2)
        time.sleep(dice.uniform(0.3, 0.9) * seconds)
        if process.poll() is not None:  # done before the blow: begin anew, ten blows must fall
            assert process.returncode == 0
            assert everything(out) == expected
            out = tmp_path / f"out{number}"
            continue
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not list(out.glob("*/index.json")), "no shards before the end"
    process = start(config, out, 1)
    told, _ = process.communicate(timeout=280)
    assert process.returncode == 0, told[-3000:]
    assert everything(out) == expected
    assert not (out / ".building").exists()
