"""Heat maps lie on the planted object, whatever the grid; they are interpolated as promised and whole or absent."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import center_of_mass

from graft.errors import GraftError
from graft.index.schema import SourceCard
from graft.index.table import Index
from graft.search import heatmap
from graft.search.heatmap import WindowScores, read_scores, write_heatmap
from graft.search.query import Query
from tests.page_inputs import GRIDS, HEIGHT, LOOK, RED, SPOT, WIDTH, index_of, write_scene

Values = npt.NDArray[np.float32]


def drawn(index: Index, out: Path, query: Query = RED) -> Values:
    write_heatmap(index, query, index.sources()[0], out)
    with rasterio.open(out) as dataset:
        return np.asarray(dataset.read(1))


def middle_of_the_hot(values: Values) -> tuple[float, float]:
    hot = np.nan_to_num(values, nan=-1) > (np.nanmax(values) + np.nanmedian(values)) / 2
    row, column = center_of_mass(hot)
    return column + 0.5, row + 0.5


@pytest.mark.parametrize("grid", GRIDS)
def test_the_hot_place_is_the_planted_one_on_the_scenes_own_grid(grid: str, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", grid)
    index = index_of(tmp_path / "index", [scene])
    values = drawn(index, tmp_path / "heat.tif")
    with rasterio.open(tmp_path / "heat.tif") as heat, rasterio.open(scene) as there:
        assert (heat.crs, heat.transform, heat.shape) == (there.crs, there.transform, there.shape)
        assert heat.dtypes == ("float32",)
        assert np.isnan(heat.nodata)
        assert heat.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert heat.tags()["GRAFT_QUERY"] == '"red roofs"'
    assert np.isfinite(values).all()
    assert np.hypot(*np.subtract(middle_of_the_hot(values), SPOT)) < 4
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert np.hypot(column - SPOT[0], row - SPOT[1]) < 16


def test_a_pixel_at_the_middle_of_a_window_has_that_windows_cosine(tmp_path: Path) -> None:
    index = index_of(tmp_path / "index", [write_scene(tmp_path / "scene.tif")])
    scores = read_scores(index, RED, index.sources()[0])
    rows = index.take(index.row_ids("true"), ["window", "vector"]).to_pylist()
    assert len(rows) == scores.cosines.size == scores.there.sum()
    for row in rows:
        window = row["window"]
        x, y = window["column"] + window["width"] / 2, window["row"] + window["height"] / 2
        assert scores.cosines[np.searchsorted(scores.y, y), np.searchsorted(scores.x, x)] == row["vector"][0]


def scattered(seed: int, missing: float = 0.0) -> WindowScores:
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.uniform(5, 95, 7)), np.sort(rng.uniform(5, 65, 5))
    there = (rng.random((5, 7)) >= missing).astype(np.float32)
    return WindowScores(x, y, rng.uniform(-1, 1, (5, 7)).astype(np.float32) * there, there)


def test_between_the_middles_of_windows_it_is_bilinear_and_outside_constant() -> None:
    scores = scattered(1)
    peer = RegularGridInterpolator((scores.y, scores.x), scores.cosines)
    rows, columns = np.mgrid[:70, :100] + 0.5
    places = np.stack([rows.clip(scores.y[0], scores.y[-1]), columns.clip(scores.x[0], scores.x[-1])], axis=-1)
    np.testing.assert_allclose(scores.block((0, 70), (0, 100)), peer(places), atol=1e-5)


def test_windows_that_are_not_there_have_no_say() -> None:
    scores = scattered(2, missing=0.4)
    weight = RegularGridInterpolator((scores.y, scores.x), scores.there)
    summed = RegularGridInterpolator((scores.y, scores.x), scores.cosines)
    rows, columns = np.mgrid[:70, :100] + 0.5
    places = np.stack([rows.clip(scores.y[0], scores.y[-1]), columns.clip(scores.x[0], scores.x[-1])], axis=-1)
    values, there = scores.block((0, 70), (0, 100)), weight(places)
    assert np.isnan(values[there == 0]).all()
    sure = there > 1e-3
    np.testing.assert_allclose(values[sure], summed(places)[sure] / there[sure], atol=1e-3)
    known = scores.cosines[scores.there > 0]
    assert known.min() - 1e-5 <= np.nanmin(values) <= np.nanmax(values) <= known.max() + 1e-5


def test_blocks_of_any_size_make_the_same_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of(tmp_path / "index", [write_scene(tmp_path / "scene.tif")])
    whole = drawn(index, tmp_path / "whole.tif")
    monkeypatch.setattr(heatmap, "_BLOCK", 64)
    np.testing.assert_allclose(drawn(index, tmp_path / "parts.tif"), whole, atol=1e-6)


def test_pixels_without_data_are_nan_and_do_not_pull_on_their_neighbours(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", stripe=slice(0, 60))
    index = index_of(tmp_path / "index", [scene])
    assert index.sources()[0].windows > len(index)
    values = drawn(index, tmp_path / "heat.tif")
    assert np.isnan(values[:, :60]).all()
    assert np.isfinite(values[:, 60:]).all()
    assert np.hypot(*np.subtract(middle_of_the_hot(values), SPOT)) < 4


def test_a_scene_of_one_window_is_of_one_value(tmp_path: Path) -> None:
    look = replace(LOOK, window=256, stride=256)
    index = index_of(tmp_path / "index", [write_scene(tmp_path / "scene.tif")], look)
    values = drawn(index, tmp_path / "heat.tif")
    assert values.shape == (HEIGHT, WIDTH)
    assert np.ptp(values) == 0


def test_only_the_scene_asked_for_counts(tmp_path: Path) -> None:
    scenes = [write_scene(tmp_path / "a.tif"), write_scene(tmp_path / "b.tif", stripe=slice(100, 200))]
    both, alone = index_of(tmp_path / "both", scenes), index_of(tmp_path / "alone", scenes[:1])
    np.testing.assert_array_equal(drawn(both, tmp_path / "1.tif"), drawn(alone, tmp_path / "2.tif"))


def test_what_no_heat_map_can_lie_on_is_refused(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif")
    index = index_of(tmp_path / "index", [scene])
    source, out = index.sources()[0], tmp_path / "heat.tif"
    with pytest.raises(GraftError, match="a folder of tiles.*Give a raster"):
        write_heatmap(index, RED, SourceCard("f" * 16, "tiles", "folder", "", source.settings), out)
    with pytest.raises(GraftError, match="holds no window of .*scene.tif. Run graft index"):
        write_heatmap(index, RED, replace(source, id="f" * 16), out)
    write_scene(scene, "south-up")
    with pytest.raises(GraftError, match="another grid than when it was indexed"):
        write_heatmap(index, RED, source, out)
    scene.unlink()
    with pytest.raises(GraftError, match="No scene at"):
        write_heatmap(index, RED, source, out)
    assert not out.exists()


def test_a_scene_with_other_content_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = write_scene(tmp_path / "scene.tif")
    index = index_of(tmp_path / "index", [scene])
    drawn(index, tmp_path / "heat.tif")
    assert "has changed" not in caplog.text
    write_scene(scene, stripe=slice(0, 60))
    assert np.isnan(drawn(index, tmp_path / "heat.tif")[:, :60]).all()
    assert "has changed since it was indexed" in caplog.text


def test_a_map_that_cannot_be_finished_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of(tmp_path / "index", [write_scene(tmp_path / "scene.tif")])
    out = tmp_path / "maps" / "heat.tif"
    drawn(index, out)
    before = out.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(heatmap, "to_cog", full)
    with pytest.raises(GraftError, match=r"cannot be written: No space left on device. Give another --heatmap"):
        write_heatmap(index, RED, index.sources()[0], out)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["heat.tif"]
