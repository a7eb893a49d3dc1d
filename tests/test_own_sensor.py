"""Rows of a `sensors.yaml` of one's own, as docs/data.md shows one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHOWN = re.search(r"```yaml\n(kestrel:.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
ASK = """
import numpy
from graft.sensors import get_sensor

sensor = get_sensor("kestrel")
print(sensor.gsd_m, sensor.to_display(numpy.array([0, 600, 9000])))
"""


def asked(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", ASK]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )


def test_the_row_that_is_shown(tmp_path: Path) -> None:
    assert SHOWN is not None
    (tmp_path / "sensors.yaml").write_text(SHOWN[1])
    assert asked(tmp_path).stdout.strip() == "2.0 [  0  51 255]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "Unknown sensor 'kestrel'"),
        ("kestrel: {bands: [r, g, b]}", "no table of sensors"),
        ("[", "no table of sensors"),
        ("- 3", "no table of sensors"),
        ("naip: {bands: [r, g, b], gsd_m: 1, scale: 1, offset: 0, display: [0, 1]}", "Rename your own row"),
    ],
)
def test_rows_that_do_not_fit_are_told(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / "sensors.yaml").write_text(text)
    assert told in asked(tmp_path).stderr
