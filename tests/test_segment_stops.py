"""Segmentation that is stopped and goes on, and what it refuses to write over."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from graft.errors import GraftError
from graft.sensors import get_sensor
from tests.segment_inputs import MeanColour, checkered, class_map, colour_scorer, read, run, write_rgb

NAIP = get_sensor("naip")
ROOT = Path(__file__).parent.parent


# --- stopped and gone on --------------------------------------------------------------------------

SLOW = """
import sys, time
from pathlib import Path
import graft.segment.engine
from graft.scene import view_scene
from graft.segment import segment_scene
from graft.sensors import get_sensor
from tests.segment_inputs import class_map, read, run, view_of, MeanColour, colour_scorer

class Slow(MeanColour):
    def tokens(self, tile):
        time.sleep(0.1)
        return super().tokens(tile)

graft.segment.engine.SAVE_EVERY_S = 0
scorer = colour_scorer()
scorer.encoder.__class__ = Slow
segment_scene(view_scene(Path(sys.argv[1]), get_sensor("naip"), 1.0), scorer, sys.argv[2], scores=True)
"""


def killed_half_way(scene: Path, out: Path, tokens: int) -> None:
    """Run a process on the scene and kill it when at least this many token rows' bytes are on disk."""
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(scene), str(out)], cwd=ROOT, stderr=subprocess.DEVNULL)
    work = out.parent / f".{out.name}.segment"
    deadline = time.monotonic() + 60
    while not ((work / "state.safetensors").exists() and (work / "tokens.f32").stat().st_size >= tokens):
        assert child.poll() is None, "it finished before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()


def test_killed_and_run_again_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = write_rgb(tmp_path / "a.tif", checkered(400, 200))
    run(scene, tmp_path / "whole", scores=True)
    killed_half_way(scene, tmp_path / "out", 20 * 25 * (3 + 1) * 4)
    assert sorted(path.name for path in tmp_path.glob("out*")) == []
    capsys.readouterr()
    scorer = colour_scorer()
    run(scene, tmp_path / "out", scorer, scores=True)
    assert "Going on after" in capsys.readouterr().out
    per_row, rows = 12, 24
    assert 0 < scorer.encoder.shown < (rows - 8) * per_row  # type: ignore[operator]
    for file in ("classes.tif", "scores.tif"):
        assert (tmp_path / f"out.{file}").read_bytes() == (tmp_path / f"whole.{file}").read_bytes()
    assert not list(tmp_path.glob(".out*"))


class Impatient(MeanColour):
    """Its user presses Ctrl-C after some forty windows."""

    def tokens(self, tile: torch.Tensor) -> torch.Tensor:
        if self.shown > 40:
            raise KeyboardInterrupt
        return super().tokens(tile)


def test_stopped_by_hand_and_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft.segment.engine.SAVE_EVERY_S", 0)
    scene = write_rgb(tmp_path / "a.tif", checkered(200, 100))
    with pytest.raises(GraftError, match=r"Stopped after \d+ of 12 rows of windows\. The same command goes on"):
        run(scene, tmp_path / "out", replace(colour_scorer(), encoder=Impatient()))
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == [".out.segment"]
    whole = (tmp_path / ".out.segment" / "tokens.f32").read_bytes()
    (tmp_path / ".cut.segment").mkdir()
    (tmp_path / ".cut.segment" / "tokens.f32").write_bytes(whole[:-1])
    state = (tmp_path / ".out.segment" / "state.safetensors").read_bytes()
    (tmp_path / ".cut.segment" / "state.safetensors").write_bytes(state)
    run(scene, tmp_path / "cut")
    assert "cut short: starting over" in capsys.readouterr().out
    scorer = colour_scorer()
    run(scene, tmp_path / "out", scorer, stride=32)
    assert "differs in stride: starting over" in capsys.readouterr().out
    assert scorer.encoder.shown == 7 * 4
    run(scene, tmp_path / "whole", stride=32)
    np.testing.assert_array_equal(class_map(tmp_path / "out"), class_map(tmp_path / "whole"))


# --- what is refused ------------------------------------------------------------------------------


def test_files_in_the_way(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.tif", checkered(40, 40))
    run(path, tmp_path / "out", scores=True)
    with pytest.raises(GraftError, match=r"out\.classes\.tif exists already; give --overwrite"):
        run(path, tmp_path / "out")
    run(path, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out.scores.tif").exists()  # of the map that was replaced


def test_the_scene_is_never_replaced(tmp_path: Path) -> None:
    path = write_rgb(tmp_path / "a.classes.tif", checkered(40, 40))
    with pytest.raises(GraftError, match="would replace the scene"):
        run(path, tmp_path / "a", overwrite=True)


@pytest.mark.parametrize("target", ["file/out", "/proc/out", "/dev/null/out"])
def test_a_target_that_cannot_be_written(tmp_path: Path, target: str) -> None:
    path = write_rgb(tmp_path / "a.tif", checkered(40, 40))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GraftError, match=r"Could not write .*choose another --out"):
        run(path, tmp_path / target)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.tif", "file"]


FULL = """
import resource, signal, sys
from pathlib import Path
from graft.errors import GraftError
from graft.scene import view_scene
from graft.segment import segment_scene
from graft.sensors import get_sensor
from tests.segment_inputs import class_map, read, run, view_of, colour_scorer

scorer, view = colour_scorer(16, 32), view_scene(Path(sys.argv[1]), get_sensor("naip"), 1.0)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for text in sys.argv[3:]:
    limit, what = text.split("-")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        segment_scene(view, scorer, sys.argv[2], scores=what == "scores")
    except GraftError as error:
        print(error)
"""


def test_a_full_disk(tmp_path: Path) -> None:
    scene = write_rgb(tmp_path / "a.tif", np.random.default_rng(0).integers(0, 3, (300, 300)))
    # In turn: the token rows, the class map at its end, the scores, the polygons.
    limits = ("1000-map", "9000-map", "20000-scores", "100000-map")
    command = [sys.executable, "-c", FULL, str(scene), str(tmp_path / "out"), *limits]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = [line for line in child.stdout.splitlines() if not line.startswith("Going on")]
    assert len(told) == len(limits)
    assert all(line.startswith("Could not write") and "Make room" in line for line in told)
    assert not list(tmp_path.glob("out*"))
    run(scene, tmp_path / "out", colour_scorer(16, 32))
    run(scene, tmp_path / "whole", colour_scorer(16, 32))
    assert (tmp_path / "out.classes.tif").read_bytes() == (tmp_path / "whole.classes.tif").read_bytes()


def test_a_map_that_does_not_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rgb(tmp_path / "a.tif", checkered(40, 40))

    def careless(raw: Path, cog: Path, **_: Any) -> None:
        content = read(raw)
        content[0, 7, 7] = (content[0, 7, 7] + 1) % 3
        with rasterio.open(raw) as dataset, rasterio.open(cog, "w", **dataset.profile) as copy:
            copy.write(content)

    monkeypatch.setattr("graft.segment.rasters.rasterio.shutil.copy", careless)
    with pytest.raises(GraftError, match="does not read back as it was written"):
        run(path, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))
