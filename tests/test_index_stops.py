"""A real process that indexes, killed at random moments and taken up again; and two of them at once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from graft.index.table import Index
from graft.teacher import Teacher
from tests.conftest import ShardFactory
from tests.index_source_inputs import same_index, write_raster, write_tile
from tests.test_segment_cli import write_checkpoint

pytestmark = pytest.mark.slow
WINDOWS = 1200 - 30 + 100 + 60

INDEX = """
import sys
from pathlib import Path
import graft.index.rasters, graft.index.shard_tiles, graft.index.tile_folder
from graft.errors import GraftError
from graft.index import index
for module in (graft.index.rasters, graft.index.shard_tiles, graft.index.tile_folder):
    module.GROUP = 30
model, out, *sources = sys.argv[1:]
try:
    index(sources, model=Path(model), out=out, precision="fp32", batch_size=2, device="cpu")
except GraftError as error:
    sys.exit(str(error))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, architecture: str, teacher: Teacher) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "last.ckpt", architecture, teacher, "image")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, make_shards: ShardFactory) -> list[str]:
    root = tmp_path_factory.mktemp("archive")
    stored = np.random.default_rng(0).integers(1, 3000, (3, 40 * 32, 30 * 32)).astype(np.uint16)
    stored[:, 320:352] = 0  # a row of windows without data
    write_raster(root / "scene.tif", stored)
    for number in range(100):
        write_tile(root / "tiles" / f"{number}.png", seed=number)
    return [str(root / "scene.tif"), str(root / "tiles"), str(make_shards(root / "shards", samples=60))]


def start(model: Path, out: Path, archive: Sequence[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", INDEX, str(model), str(out), *archive]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)


def finished(process: "subprocess.Popen[str]") -> str:
    told, _ = process.communicate(timeout=280)
    assert process.returncode == 0, told[-3000:]
    return told


@pytest.fixture(scope="module")
def whole(model: Path, archive: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "index"
    finished(start(model, out, archive))
    assert len(Index.open(out)) == WINDOWS
    return out


def kill_after(process: "subprocess.Popen[str]", out: Path, commits: int, seconds: float) -> bool:
    """Kill a process some time after it committed so often; False where it was done before."""
    began = committed(out)
    while process.poll() is None and committed(out) < began + commits:
        time.sleep(0.002)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def committed(out: Path) -> int:
    return len(list(out.glob("tiles.lance/data/*")))


@pytest.mark.timeout(900)
def test_ten_kills_leave_no_trace(model: Path, archive: list[str], whole: Path, tmp_path: Path) -> None:
    dice = random.Random(7)
    out, held, went_on = tmp_path / "index", 0, 0
    kills = 0
    while kills < 10:
        process = start(model, out, archive)
        if not kill_after(process, out, dice.randrange(1, 16), dice.uniform(0, 0.1)):
            assert process.returncode == 0
            assert same_index(out, whole)
            out, held = tmp_path / f"index{kills}", 0  # done before the blow: begin anew, ten blows must fall
            continue
        kills += 1
        now = len(Index.open(out)) if committed(out) else 0
        assert now >= held, "what was committed stays"
        went_on += 0 < held < now
        held = now
    finished(start(model, out, archive))
    assert same_index(out, whole)
    assert went_on >= 3, "hardly a run was taken up in the middle"


def test_two_commands_at_once_do_no_harm(model: Path, archive: list[str], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "index"
    both = [start(model, out, archive) for _ in range(2)]
    told = [process.communicate(timeout=280)[0] for process in both]
    refused = [text for process, text in zip(both, told, strict=True) if process.returncode]
    assert len(refused) <= 1
    for text in refused:
        assert "writing" in text
        assert "Traceback" not in text
    assert refused or any("sources were in already" in text for text in told)
    assert same_index(out, whole)
