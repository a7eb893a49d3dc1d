"""Whole scenes through windows, blocks and files, with an encoder that looks at colour alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from rasterio.enums import ColorInterp

from graft.errors import GraftError
from graft.segment import segment_array
from graft.sensors import get_sensor
from tests.prepare_inputs import write_scene
from tests.segment_inputs import (
    COLOURS,
    IDS,
    PATCH,
    UTM,
    WINDOW,
    MeanColour,
    checkered,
    class_map,
    colour_scorer,
    read,
    run,
    write_rgb,
)

NAIP = get_sensor("naip")
ROOT = Path(__file__).parent.parent


def inner(labels: np.ndarray, side: int) -> np.ndarray:
    """True at pixels further than a patch from the border of a square."""
    place = [np.arange(length) % side for length in labels.shape]
    far = [(at >= PATCH) & (at < side - PATCH) for at in place]
    return far[0][:, None] & far[1]


@pytest.mark.parametrize("size", [(90, 150), (32, 32), (5, 3), (1, 1), (33, 200)])
def test_a_constant_scene_gives_a_constant_map(tmp_path: Path, size: tuple[int, int]) -> None:
    run(write_rgb(tmp_path / "a.tif", np.full(size, 1)), tmp_path / "out", scores=True)
    labels, scores = class_map(tmp_path / "out"), read(tmp_path / "out.scores.tif")
    assert labels.shape == size
    assert (labels == 1).all()
    assert np.ptp(scores, axis=(1, 2)).max() < 1e-6


def test_a_shift_by_one_stride_shifts_the_map(tmp_path: Path) -> None:
    stride = WINDOW // 2
    labels = checkered(6 * WINDOW, 7 * WINDOW, side=11)
    run(write_rgb(tmp_path / "a.tif", labels), tmp_path / "a", scores=True)
    run(write_rgb(tmp_path / "b.tif", labels[stride:, stride:]), tmp_path / "b", scores=True)
    inside = slice(WINDOW, -WINDOW), slice(WINDOW, -WINDOW)
    one, two = (read(tmp_path / f"{name}.scores.tif") for name in "ab")
    np.testing.assert_allclose(one[:, stride:, stride:][:, *inside], two[:, *inside], atol=1e-6)
    np.testing.assert_array_equal(
        class_map(tmp_path / "a")[stride:, stride:][inside], class_map(tmp_path / "b")[inside]
    )


def test_every_class_is_where_its_colour_is(tmp_path: Path) -> None:
    labels = checkered(200, 280)
    summary = run(write_rgb(tmp_path / "a.tif", labels), tmp_path / "out")
    far = inner(labels, 40)
    np.testing.assert_array_equal(class_map(tmp_path / "out")[far], labels[far])
    shares = [np.mean(class_map(tmp_path / "out") == number) for number in range(3)]
    assert [found.share for found in summary.classes] == pytest.approx(shares, abs=1e-4)
    assert [found.id for found in summary.classes] == list(IDS)


GRIDS = {
    "north-up": (UTM, Affine(1, 0, 5e5, 0, -1, 5e6)),
    "south-up": (UTM, Affine(1, 0, 5e5, 0, 1, 5e6)),
    "rotated": (UTM, Affine.translation(5e5, 5e6) @ Affine.rotation(30) @ Affine.scale(1, -1)),
    "mercator": ("EPSG:3857", Affine(2, 0, 1e6, 0, -2, 8_399_738)),
    "degrees": ("EPSG:4326", Affine(1 / 111_412 * 2, 0, 10, 0, -1 / 111_412, 60)),
    "anisotropic": (UTM, Affine(2, 0, 5e5, 0, -0.5, 5e6)),
}


@pytest.mark.parametrize("name", GRIDS)
def test_the_map_lies_on_the_scenes_own_grid(tmp_path: Path, name: str) -> None:
    crs, transform = GRIDS[name]
    labels = checkered(120, 160)
    path = write_rgb(tmp_path / "a.tif", labels, crs=crs, transform=transform)
    run(path, tmp_path / "out", scores=True)
    with rasterio.open(path) as scene:
        for file in ("out.classes.tif", "out.scores.tif"):
            with rasterio.open(tmp_path / file) as made:
                assert (made.width, made.height, made.crs) == (scene.width, scene.height, scene.crs)
                assert made.transform == scene.transform
                assert made.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    # A token is two scene pixels of 2 m narrower than eight of 1 m, or sixteen of 0.5 m tall.
    margin = 2 * PATCH if name == "anisotropic" else PATCH
    place = [np.arange(length) % 40 for length in labels.shape]
    far = [(at >= margin) & (at < 40 - margin) for at in place]
    far_from_border = far[0][:, None] & far[1]
    np.testing.assert_array_equal(class_map(tmp_path / "out")[far_from_border], labels[far_from_border])


def test_twice_finer_pixels_give_the_same_map(tmp_path: Path) -> None:
    labels = checkered(128, 160)
    run(write_rgb(tmp_path / "a.tif", labels), tmp_path / "a")
    fine = labels.repeat(2, 0).repeat(2, 1)
    run(write_rgb(tmp_path / "b.tif", fine, gsd=0.5), tmp_path / "b")
    far = inner(labels, 40)
    assert class_map(tmp_path / "b").shape == fine.shape
    np.testing.assert_array_equal(class_map(tmp_path / "b")[::2, ::2][far], class_map(tmp_path / "a")[far])


def test_missing_data_stays_missing_and_harms_no_neighbour(tmp_path: Path) -> None:
    labels = checkered(160, 200)
    stripe = np.zeros(labels.shape, bool)
    stripe[:, 80:120] = True
    run(write_rgb(tmp_path / "a.tif", labels, nodata=stripe), tmp_path / "out", scores=True)
    found, scores = class_map(tmp_path / "out"), read(tmp_path / "out.scores.tif")
    np.testing.assert_array_equal(found == 255, stripe)
    np.testing.assert_array_equal(np.isnan(scores).all(0), stripe)
    far = inner(labels, 40) & ~stripe
    np.testing.assert_array_equal(found[far], labels[far])
    assert json.loads((tmp_path / "out.json").read_text())["no_data"] == pytest.approx(0.2)


@pytest.mark.parametrize("edge", [80, 82, 87])
def test_what_is_black_for_lack_of_data_does_not_name_the_pixels_beside_it(tmp_path: Path, edge: int) -> None:
    scorer = colour_scorer()
    assert isinstance(scorer.encoder, MeanColour)
    scorer.encoder.bias.data = torch.tensor([1.0, 1.0, 50.0])  # names black blue
    red, missing = np.zeros((64, 160), int), np.zeros((64, 160), bool)
    missing[:, edge:] = True
    run(write_rgb(tmp_path / "a.tif", red, nodata=missing), tmp_path / "out", scorer=scorer)
    np.testing.assert_array_equal(class_map(tmp_path / "out"), np.where(missing, 255, 0))
    array = segment_array(COLOURS[red] * ~missing[..., None], scorer, valid=~missing).labels
    np.testing.assert_array_equal(array, np.where(missing, 255, 0))


@pytest.mark.parametrize(
    ("pixels", "valid"),
    [
        (np.zeros((64, 64, 3), np.float32), None),
        (np.zeros((3, 64, 64), np.uint8), None),
        (np.zeros((64, 64, 4), np.uint8), None),
        (np.zeros((64, 64, 3), np.uint8), np.ones((64, 32), bool)),
    ],
)
def test_an_array_of_another_form_is_told(pixels: Any, valid: Any) -> None:
    with pytest.raises(GraftError, match=r"The picture is .*; expected display values uint8 \[height, width, 3\]"):
        segment_array(pixels, colour_scorer(), valid=valid)


def test_stopped_by_hand_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_rgb(tmp_path / "a.tif", checkered(64, 64))
    with monkeypatch.context() as patch:

        def interrupted(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr("graft.segment.maps.write_rasters", interrupted)
        with pytest.raises(GraftError, match="Stopped before .*out.classes.tif was complete. The same command goes on"):
            run(scene, tmp_path / "out")
    assert [path.name for path in tmp_path.glob("out*")] == []
    run(scene, tmp_path / "out")
    assert (tmp_path / "out.classes.tif").exists()


@pytest.mark.parametrize("stride", [0, 12])
def test_a_stride_that_does_not_fit_is_told(tmp_path: Path, stride: int) -> None:
    with pytest.raises(GraftError, match=f"stride {stride} px: expected multiples of the patch"):
        run(write_rgb(tmp_path / "a.tif", checkered(64, 64)), tmp_path / "out", stride=stride)


def test_nan_counts_as_missing_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = checkered(160, 200)
    pixels = COLOURS[labels].transpose(2, 0, 1).astype(np.float32)
    pixels[1, :, :50] = np.nan
    path = write_scene(tmp_path / "a.tif", pixels, names=("R", "G", "B"), gsd=1.0, nodata=None)
    run(path, tmp_path / "out")
    assert "About 25.0% of the scene's pixels are NaN and count as no data." in capsys.readouterr().out
    found, far = class_map(tmp_path / "out"), inner(labels, 40)
    np.testing.assert_array_equal(found == 255, np.isnan(pixels[1]))
    np.testing.assert_array_equal(found[:, 50:][far[:, 50:]], labels[:, 50:][far[:, 50:]])


def test_colour_table_bands_and_tags(tmp_path: Path) -> None:
    summary = run(
        write_rgb(tmp_path / "a.tif", checkered(64, 64)), tmp_path / "out", scores=True, provenance={"GRAFT_MODEL": "m"}
    )
    with rasterio.open(tmp_path / "out.classes.tif") as made:
        assert made.nodata == 255
        assert made.colorinterp == (ColorInterp.palette,)
        colours = {made.colormap(1)[number] for number in range(3)}
        assert len(colours) == 3
        tags = made.tags()
    assert {name: tags[name] for name in summary.settings} == summary.settings
    assert json.loads(tags["GRAFT_CLASSES"]) == list(IDS)
    assert tags["GRAFT_MODEL"] == "m"
    assert "8 m wide" in tags["GRAFT_NOTE"]
    assert (tags["GRAFT_WINDOW"], tags["GRAFT_STRIDE"], tags["GRAFT_MODE"]) == ("32", "16", "tokens")
    with rasterio.open(tmp_path / "out.scores.tif") as made:
        assert made.descriptions == IDS
        assert made.dtypes == ("float32",) * 3


def test_more_classes_than_a_byte_holds(tmp_path: Path) -> None:
    ids = tuple(f"class {number}" for number in range(300))
    labels = checkered(64, 64)
    labels[:, :32] = 2
    run(write_rgb(tmp_path / "a.tif", labels), tmp_path / "out", colour_scorer(ids=ids))
    with rasterio.open(tmp_path / "out.classes.tif") as made:
        assert (made.dtypes, made.nodata) == (("uint16",), 65535)
        colours = made.colormap(1)
        assert len({colours[number] for number in range(300)}) == 300
    assert (class_map(tmp_path / "out")[:, :20] == 2).all()


def test_scenes_larger_than_a_block_have_no_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rgb(tmp_path / "a.tif", checkered(300, 530, side=31))
    run(path, tmp_path / "one", scores=True)
    monkeypatch.setattr("graft.segment.blocks._MAX_SIDE", 256)
    run(path, tmp_path / "many", scores=True)
    for file in ("classes.tif", "scores.tif"):
        np.testing.assert_array_equal(read(tmp_path / f"one.{file}"), read(tmp_path / f"many.{file}"))


@pytest.mark.parametrize("refine", ["guided", "regions"])
def test_refinement_sharpens_borders(tmp_path: Path, refine: Any) -> None:
    labels = checkered(160, 160)
    path = write_rgb(tmp_path / "a.tif", labels)
    run(path, tmp_path / "plain")
    run(path, tmp_path / "refined", refine=refine)
    plain, refined = (np.mean(class_map(tmp_path / name) == labels) for name in ("plain", "refined"))
    assert refined > plain
    assert json.loads((tmp_path / "refined.json").read_text())["settings"]["GRAFT_REFINE"] == refine


def test_an_array_gets_what_a_scene_gets(tmp_path: Path) -> None:
    labels = checkered(100, 130)
    run(write_rgb(tmp_path / "a.tif", labels), tmp_path / "out", scores=True)
    found = segment_array(COLOURS[labels], colour_scorer(), scores=True)
    assert found.labels.dtype == np.uint8
    assert found.scores is not None
    np.testing.assert_array_equal(found.labels, class_map(tmp_path / "out"))
    np.testing.assert_array_equal(found.scores, read(tmp_path / "out.scores.tif"))
    valid = np.ones(labels.shape, bool)
    valid[3] = False
    found = segment_array(COLOURS[labels], colour_scorer(), valid=valid)
    assert found.scores is None
    assert (found.labels[3] == 255).all()


# --- a whole granule ------------------------------------------------------------------------------

GRANULE = """
import sys
from pathlib import Path
from graft.scene import view_scene
from graft.segment import segment_scene
from graft.sensors import get_sensor
from tests.segment_inputs import class_map, read, run, view_of, colour_scorer

scorer = colour_scorer(16, 224, ("red", "green", "blue", *"abcdefg"))
segment_scene(view_scene(Path(sys.argv[1]), get_sensor("naip"), 10.0), scorer, sys.argv[2])
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.slow
def test_a_granule_in_two_gibibytes(tmp_path: Path) -> None:
    labels = np.tile(checkered(1100, 1100, side=64), (10, 10))[:10_980, :10_980].astype(np.uint8)
    path = write_rgb(tmp_path / "a.tif", labels, gsd=10.0)
    command = [sys.executable, "-c", GRANULE, str(path), str(tmp_path / "out")]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    peak_gib = int(child.stdout.splitlines()[-1]) / 2**20
    print(f"peak {peak_gib:.2f} GiB")
    assert peak_gib < 2
    with rasterio.open(tmp_path / "out.classes.tif") as made:
        assert made.shape == (10_980, 10_980)
