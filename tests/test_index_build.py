"""`graft index`: what it writes, passes over, takes up again and refuses."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import graft.index.build
from graft.checkpoint import load_encoder
from graft.errors import GraftError
from graft.index import index as graft_index
from graft.index.plan import Job
from graft.index.sources import NO_DATA
from graft.index.table import Index
from graft.teacher import Teacher
from tests.conftest import ShardFactory
from tests.index_source_inputs import look, only, same_index, table_of, tiles_of, write_raster, write_tile
from tests.stac_inputs import serve
from tests.test_segment_cli import write_checkpoint

Run = Callable[..., None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, architecture: str, teacher: Teacher) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "last.ckpt", architecture, teacher, "image")


@pytest.fixture
def run(model: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`graft index` in groups of few windows."""
    for module in ("rasters", "tile_folder", "shard_tiles"):
        monkeypatch.setattr(f"graft.index.{module}.GROUP", 4)

    def index(*sources: Path | str, out: Path, **settings: Any) -> None:
        settings = {"model": model, "precision": "fp32", "batch_size": 3, "device": "cpu"} | settings
        graft_index([str(source) for source in sources], out=str(out), **settings)

    return index


@pytest.fixture
def archive(tmp_path: Path, make_shards: ShardFactory) -> list[Path]:
    """A raster with a gap, a folder of tiles and shards."""
    stored = np.random.default_rng(0).integers(1, 3000, (3, 96, 128)).astype(np.uint16)
    stored[:, :, 60:100] = 0
    write_raster(tmp_path / "scene.tif", stored)
    for number in range(6):
        write_tile(tmp_path / "tiles" / f"{number}.png", seed=number)
    return [tmp_path / "scene.tif", tmp_path / "tiles", make_shards(tmp_path / "shards", samples=6, shards=2)]


def vectors_of(table: Any) -> npt.NDArray[np.float16]:
    vectors: npt.NDArray[np.float16] = np.array(table["vector"].to_pylist(), np.float16)
    return vectors


def stop_after(windows: int, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    """Encoding raises as soon as so many windows were encoded."""
    encode, seen = graft.index.build.encode_tiles, [0]

    def impatient(encoder: Any, tiles: torch.Tensor, batch_size: int) -> npt.NDArray[np.float16]:
        if seen[0] >= windows:
            raise error
        seen[0] += len(tiles)
        return encode(encoder, tiles, batch_size)

    monkeypatch.setattr(graft.index.build, "encode_tiles", impatient)


def test_rows_are_the_tiles_of_all_sources_in_order(
    run: Run, archive: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*archive, out=tmp_path / "index")
    table, encoder = table_of(tmp_path / "index"), load_encoder(model).encoder
    expected = [(facts, pixels) for place in archive for facts, pixels in tiles_of(only(place, look(precision="fp32")))]
    assert table.num_rows == len(expected) == 9 + 6 + 6
    assert table["path"].to_pylist() == [facts.path for facts, _ in expected]
    assert [int(name.split("-")[1]) for name in table["id"].to_pylist()] == [facts.number for facts, _ in expected]
    tiles = torch.stack([torch.from_numpy(np.array(pixels)).permute(2, 0, 1) for _, pixels in expected])
    with torch.inference_mode():
        np.testing.assert_allclose(vectors_of(table), encoder(tiles).numpy(), atol=1e-3)
    assert np.linalg.norm(vectors_of(table).astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    sources = {Path(card.name).name: card for card in Index.open(tmp_path / "index").sources()}
    assert {name: (card.kind, card.windows, card.skipped) for name, card in sources.items()} == {
        "scene.tif": ("raster", 12, {NO_DATA: 3}),
        "tiles": ("folder", 6, {}),
        "shards": ("shards", 6, {}),
    }
    assert {name.split("-")[0] for name in table["id"].to_pylist()} == {card.id for card in sources.values()}
    told = capsys.readouterr().out
    assert "21 tiles of 3 sources written" in told
    assert f"3  {NO_DATA}" in told


def test_sources_that_are_in_are_passed_over(
    run: Run, archive: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(*archive[:2], out=tmp_path / "index")
    version = Index.open(tmp_path / "index").version
    stop_after(0, monkeypatch, AssertionError)
    run(*archive[:2], out=tmp_path / "index")
    assert "2 sources were in already" in capsys.readouterr().out
    assert Index.open(tmp_path / "index").version == version


def test_an_index_is_added_to(run: Run, archive: list[Path], tmp_path: Path) -> None:
    run(*archive, out=tmp_path / "once")
    for place in archive:
        run(place, out=tmp_path / "index")
    assert same_index(tmp_path / "once", tmp_path / "index")


@pytest.mark.parametrize("change", ["content", "stride", "window"])
def test_what_has_changed_is_written_anew(
    run: Run, archive: list[Path], tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*archive, out=tmp_path / "index")
    settings = {} if change == "content" else {change: 16}
    if change == "content":
        write_raster(archive[0], size=(64, 64), seed=5)
    run(archive[0], out=tmp_path / "index", **settings)
    assert f"{archive[0]} is not as it was indexed: its 9 tiles are written anew" in capsys.readouterr().out
    run(*archive[1:], out=tmp_path / "fresh")
    run(archive[0], out=tmp_path / "fresh", **settings)
    assert same_index(tmp_path / "index", tmp_path / "fresh")


@pytest.mark.parametrize("windows", [0, 3, 8, 11, 16])
def test_a_run_stopped_by_hand_goes_on(
    run: Run,
    archive: list[Path],
    tmp_path: Path,
    windows: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(*archive, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(windows, patch, KeyboardInterrupt)
        with pytest.raises(GraftError, match=r"Stopped after \d+ tiles\. The same command goes on"):
            run(*archive, out=tmp_path / "index")
    held = len(Index.open(tmp_path / "index"))
    assert windows - 1 <= held < 21
    capsys.readouterr()
    run(*archive, out=tmp_path / "index")
    assert f"{21 - held} tiles" in capsys.readouterr().out
    assert same_index(tmp_path / "whole", tmp_path / "index")


def test_what_a_stopped_run_left_of_another_content_is_removed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        for number in range(9):
            write_tile(tmp_path / name / f"{number}.png", seed=number)
    for name in ("a", "b"):
        with monkeypatch.context() as patch:
            stop_after(4, patch, KeyboardInterrupt)
            with pytest.raises(GraftError, match="Stopped"):
                run(tmp_path / name, out=tmp_path / "index")
    write_tile(tmp_path / "a" / "0.png", seed=77)
    os.utime(tmp_path / "a" / "1.png", ns=(1, 1))
    run(tmp_path / "a", out=tmp_path / "index")
    assert "4 tiles of a stopped run are removed" in capsys.readouterr().out
    run(tmp_path / "b", out=tmp_path / "index")
    assert "after 1 of 3 groups" in capsys.readouterr().out
    table = table_of(tmp_path / "index")
    assert sorted(table["path"].to_pylist()) == sorted(str(path) for path in tmp_path.glob("[ab]/*.png"))
    run(tmp_path / "a", out=tmp_path / "fresh")
    fresh = table_of(tmp_path / "fresh")
    mine = table.filter(np.array([str(tmp_path / "a") in path for path in table["path"].to_pylist()]))
    assert mine.equals(fresh)


def test_bad_sources_cost_themselves_and_the_exit_status(
    run: Run, archive: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.tif").write_text("no raster")
    with pytest.raises(GraftError, match="2 of the sources are not in the index"):
        run(tmp_path / "bad.tif", *archive, tmp_path / "gone.tif", out=tmp_path / "index")
    told = capsys.readouterr().out
    assert "bad.tif does not open as a raster" in told
    assert f"No source at {tmp_path / 'gone.tif'}" in told
    run(*archive, out=tmp_path / "whole")
    assert same_index(tmp_path / "index", tmp_path / "whole")


def test_a_source_that_goes_away_costs_itself_and_goes_on_later(
    run: Run, archive: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_raster(tmp_path / "first.tif", size=(96, 128))
    assert first.size
    read, hidden = graft.index.build.read_group, tmp_path / "away.tif"

    def hide(source: Any, group: int) -> Any:
        if source.card.name.endswith("first.tif") and group == 1 and not hidden.exists():
            (tmp_path / "first.tif").rename(hidden)
        return read(source, group)

    with monkeypatch.context() as patch:
        patch.setattr(graft.index.build, "read_group", hide)
        with pytest.raises(GraftError, match="1 of the sources"):
            run(tmp_path / "first.tif", *archive, out=tmp_path / "index", num_workers=1)
    index = Index.open(tmp_path / "index")
    assert len(index.sources()) == 3
    assert len(index) == 21 + 4
    hidden.rename(tmp_path / "first.tif")
    run(tmp_path / "first.tif", out=tmp_path / "index")
    assert len(Index.open(tmp_path / "index")) == 21 + 12
    assert len(Index.open(tmp_path / "index").sources()) == 4


def test_an_index_of_another_model_is_refused(
    run: Run, archive: list[Path], tmp_path: Path, architecture: str, teacher: Teacher
) -> None:
    run(archive[1], out=tmp_path / "index")
    other = write_checkpoint(tmp_path / "other.ckpt", architecture, teacher, "pixel")
    with pytest.raises(GraftError, match=r"index at .* has vectors of the model .*Give another --out"):
        run(archive[0], out=tmp_path / "index", model=other)
    assert len(Index.open(tmp_path / "index")) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": Path("gone.ckpt")}, "No model at gone.ckpt"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"num_workers": 0}, "--num-workers is 0"),
        ({"window": 30}, "expected multiples of the patch"),
        ({"bands": "4,3"}, "expected three numbers"),
        ({"sensor": "landsat"}, "Unknown sensor 'landsat'"),
        ({"device": "cuda:99"}, "--device cuda:99 is not to be had"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    run: Run, archive: list[Path], tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(GraftError, match=message):
        run(*archive, out=tmp_path / "index", **settings)
    assert not (tmp_path / "index").exists()


def test_nothing_to_index(run: Run, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="Nothing to index"):
        run(out=tmp_path / "index")


def test_rows_do_not_depend_on_threads(run: Run, archive: list[Path], tmp_path: Path) -> None:
    run(*archive, out=tmp_path / "one", num_workers=1)
    run(*archive, out=tmp_path / "five", num_workers=5)
    assert same_index(tmp_path / "one", tmp_path / "five")


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize(("first", "second"), [(32, 16), (16, 32)])
def test_files_that_become_scenes_or_tiles_are_in_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, second: int, stopped: bool
) -> None:
    for number in range(3):
        write_raster(tmp_path / "data" / f"{number}.tif", size=(36, 36), seed=number)
    with monkeypatch.context() as patch:
        if stopped:
            patch.setattr("graft.index.tile_folder.GROUP", 1)
            stop_after(1, patch, KeyboardInterrupt)
            with pytest.raises(GraftError, match="Stopped"):
                run(tmp_path / "data", out=tmp_path / "index", window=first, batch_size=1)
            assert len(Index.open(tmp_path / "index"))
        else:
            run(tmp_path / "data", out=tmp_path / "index", window=first)
    run(tmp_path / "data", out=tmp_path / "fresh", window=second)
    for _ in range(2):
        run(tmp_path / "data", out=tmp_path / "index", window=second)
        assert same_index(tmp_path / "index", tmp_path / "fresh")


@pytest.mark.parametrize(("first", "second"), [(32, 16), (16, 32)])
def test_a_stop_between_two_ways_to_look_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, second: int
) -> None:
    monkeypatch.setattr("graft.index.tile_folder.GROUP", 1)
    for number in range(3):
        write_raster(tmp_path / "data" / f"{number}.tif", size=(36, 36), seed=number)
    for window, name in ((first, "index"), (first, "back"), (first, "first"), (second, "second")):
        run(tmp_path / "data", out=tmp_path / name, window=window)
    for name in ("index", "back"):
        with monkeypatch.context() as patch:
            stop_after(1, patch, KeyboardInterrupt)
            with pytest.raises(GraftError, match="Stopped"):
                run(tmp_path / "data", out=tmp_path / name, window=second)
        assert len(Index.open(tmp_path / name)) > len(Index.open(tmp_path / "first"))
    run(tmp_path / "data", out=tmp_path / "index", window=second)
    run(tmp_path / "data", out=tmp_path / "back", window=first)
    for name, expected in (("index", "second"), ("back", "first")):
        ids = sorted(table_of(tmp_path / name)["id"].to_pylist())
        assert ids == sorted(table_of(tmp_path / expected)["id"].to_pylist())


def test_the_old_tiles_of_a_source_stay_until_the_new_ones_are_in(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raster(tmp_path / "a.tif")
    run(tmp_path / "a.tif", out=tmp_path / "index")
    write_raster(tmp_path / "a.tif", seed=1)
    with monkeypatch.context() as patch:
        stop_after(4, patch, KeyboardInterrupt)
        with pytest.raises(GraftError, match="Stopped"):
            run(tmp_path / "a.tif", out=tmp_path / "index")
    assert len(Index.open(tmp_path / "index")) == 12 + 4
    with monkeypatch.context() as patch:  # stopped after the new source was noted
        patch.setattr(Index, "remove_source", lambda *_: stop())
        with pytest.raises(GraftError, match="Stopped"):
            run(tmp_path / "a.tif", out=tmp_path / "index")
    assert len(Index.open(tmp_path / "index").sources()) == 2
    run(tmp_path / "a.tif", out=tmp_path / "index")
    run(tmp_path / "a.tif", out=tmp_path / "fresh")
    assert same_index(tmp_path / "index", tmp_path / "fresh")


def stop() -> None:
    raise KeyboardInterrupt


def test_what_a_stopped_run_left_of_an_address_is_removed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raster(tmp_path / "a.tif")
    with serve(tmp_path) as archive:
        with monkeypatch.context() as patch:
            stop_after(4, patch, KeyboardInterrupt)
            with pytest.raises(GraftError, match="Stopped"):
                run(f"{archive.url}/a.tif", out=tmp_path / "index")
        run(f"{archive.url}/a.tif", out=tmp_path / "index", stride=16)
        run(f"/vsicurl/{archive.url}/a.tif", out=tmp_path / "fresh", stride=16)
    assert same_index(tmp_path / "index", tmp_path / "fresh")


def test_a_folder_below_one_that_is_known_is_replaced(run: Run, tmp_path: Path) -> None:
    for name in ("data/a.png", "data/sub/b.png"):
        write_tile(tmp_path / name, seed=len(name))
    run(tmp_path / "data" / "sub", out=tmp_path / "index")
    run(tmp_path / "data", out=tmp_path / "index")
    assert [card.name for card in Index.open(tmp_path / "index").sources()] == [str(tmp_path / "data")]
    assert len(Index.open(tmp_path / "index")) == 2


def test_a_source_of_which_nothing_can_be_read_is_not_noted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"no picture")
    with pytest.raises(GraftError, match="1 of the sources"):
        run(tmp_path / "data", out=tmp_path / "index")
    assert Index.open(tmp_path / "index").sources() == []


def test_damaged_weights_are_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tile(tmp_path / "data" / "a.png")
    encode = graft.index.build.encode_tiles
    for factor in (float("nan"), 0.5):
        with monkeypatch.context() as patch:
            patch.setattr(graft.index.build, "encode_tiles", lambda *given, by=factor: encode(*given) * np.float16(by))
            with pytest.raises(GraftError, match=r"a\.png has length .* weights of the model .*last\.ckpt"):
                run(tmp_path / "data", out=tmp_path / "index")
    assert len(Index.open(tmp_path / "index")) == 0


def test_a_source_that_failed_is_not_read_on(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", size=(32 * 40, 32 * 30))
    source = only(tmp_path / "a.tif")
    (tmp_path / "a.tif").unlink()
    jobs = [Job(0, group, fresh=True) for group in range(source.groups)]
    assert len(jobs) == 5
    assert len(list(graft.index.build.read_ahead([source], jobs, 1))) < 4
