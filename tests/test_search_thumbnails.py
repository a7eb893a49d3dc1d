"""Pictures of hits show what the model was shown; what cannot be read is counted."""

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from graft.index.encode import tile_rows
from graft.index.rasters import open_raster_source
from graft.index.shard_tiles import open_shard_source
from graft.index.sources import Source
from graft.index.table import Index
from graft.index.tile_folder import list_images, open_folder_source
from graft.search.hits import Hit
from graft.search.thumbnails import NO_SOURCE, NOT_HERE, UNREAD, thumbnail, thumbnails
from graft.shards import ShardIndex
from tests.conftest import ShardFactory
from tests.page_inputs import CARD, GRIDS, LOOK, add, colours, index_of, write_scene

SIDE = LOOK.window


def hits_of(index: Index) -> list[Hit]:
    names = ("id", "path", "item", "source_id", "window", "epsg", "gsd_m", "valid", "cloud", "lon", "lat")
    rows = index.take(index.row_ids("true"), names).to_pylist()
    rest: dict[str, Any] = {"rank": 1, "score": 0.0, "likeness": None, "datetime": None, "geometry": None}
    return [Hit(**row | {"window": tuple(row["window"].values())}, **rest) for row in rows]


def shown_to_the_model(source: Source) -> npt.NDArray[np.uint8]:
    pixels = torch.cat([source.read(group).pixels for group in range(source.groups)])
    return pixels.permute(0, 2, 3, 1).numpy()


def of_source(folder: Path, source: Source) -> Index:
    index = Index.open_or_create(folder, CARD)
    add(index, source)
    return index


@pytest.mark.parametrize("grid", GRIDS)
def test_a_window_of_a_raster_is_as_the_model_saw_it(grid: str, tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", grid)
    index = index_of(tmp_path / "index", [scene])
    source = open_raster_source(str(scene), LOOK)
    pictures, tally = thumbnails(hits_of(index), index, SIDE)
    assert tally.total == 0
    across, down = source.view.canvas[1] / source.view.width, source.view.canvas[0] / source.view.height
    whole = [
        number
        for number, hit in enumerate(hits_of(index))
        if round(hit.window[2] * across) == round(hit.window[3] * down) == SIDE  # others were mirrored at the edge
    ]
    assert len(whole) > 30
    seen = shown_to_the_model(source)
    shown = np.stack([np.asarray(pictures[number], np.int16) for number in whole])
    assert np.abs(shown - seen[whole]).max() <= 1, "resampled in other blocks, a value may round the other way"


def test_pictures_of_files_are_shown_whole_or_by_the_part_that_the_model_saw(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, (height, width) in {"a": (SIDE, SIDE), "b": (20, 28), "c": (60, 80)}.items():
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    source = open_folder_source(folder, list_images(folder), LOOK)
    index = of_source(tmp_path / "index", source)
    (same, small, large), tally = thumbnails(hits_of(index), index, SIDE)
    assert tally.total == 0
    seen = shown_to_the_model(source)
    assert same is not None
    assert small is not None
    assert large is not None
    np.testing.assert_array_equal(same, seen[0])
    assert (small[0] == 255).all(), "twenty rows in a square: white above and below"
    assert (small[SIDE // 2] != 255).any()
    assert np.abs(large.astype(int) - seen[2]).mean() < 12, "the middle, brought down to the window"


def test_a_raster_in_a_folder_is_rendered(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    folder.mkdir()
    write_scene(folder / "tile.tif")
    index = of_source(tmp_path / "index", open_folder_source(folder, list_images(folder), LOOK))
    picture = thumbnail(hits_of(index)[0], index, 190)
    assert picture is not None
    assert np.abs(picture[10, 10].astype(int) - (65, 165, 165)).max() < 45
    assert (picture[60, 150 - 20] > (180, 0, 0)).all()
    assert picture[60, 150 - 20, 1] < 60, "the red spot, in a square cut out of the middle"


def test_the_sample_of_a_shard_is_the_one_that_was_indexed(tmp_path: Path, make_shards: ShardFactory) -> None:
    shards = make_shards(tmp_path / "shards", samples=7, shards=3)
    source = open_shard_source(str(shards), LOOK)
    index = of_source(tmp_path / "index", source)
    pictures, tally = thumbnails(hits_of(index), index, SIDE)
    assert tally.total == 0
    np.testing.assert_array_equal(np.stack(pictures), shown_to_the_model(source))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_shards_at_an_address_are_taken_from_the_cache_and_not_fetched(
    tmp_path: Path, make_shards: ShardFactory, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shards = make_shards(tmp_path / "shards", samples=4, shards=2)
    index = of_source(tmp_path / "index", open_shard_source(f"{served}/shards", LOOK))
    cached = tmp_path / "cache" / "graft" / "shards"
    hashes = ShardIndex.load(shards).hashes
    assert sorted(path.stem for path in cached.glob("*.tar")) == sorted(hashes)
    (cached / f"{hashes[1]}.tar").unlink()
    pictures, tally = thumbnails(hits_of(index), index, SIDE)
    assert [picture is None for picture in pictures] == [False, False, True, True]
    assert tally.counts == {NOT_HERE: 2}
    assert not (cached / f"{hashes[1]}.tar").exists()


def test_what_cannot_be_read_is_counted_by_reason(tmp_path: Path) -> None:
    kept, gone, smaller = (write_scene(tmp_path / f"{name}.tif") for name in ("kept", "gone", "smaller"))
    index = index_of(tmp_path / "index", [kept, gone, smaller])
    unfinished = open_raster_source(str(write_scene(tmp_path / "unfinished.tif")), LOOK)
    found = unfinished.read(0)
    index.add(tile_rows(CARD, unfinished.card.id, 0, found.tiles, colours(found.pixels)))
    gone.unlink()
    Image.new("RGB", (8, 8)).save(smaller)
    by_name: dict[str, list[Hit]] = {}
    for hit in hits_of(index):
        by_name.setdefault(Path(hit.path).stem, []).append(hit)
    hits = [by_name["gone"][0], by_name["kept"][3], by_name["unfinished"][0], by_name["smaller"][1], by_name["gone"][1]]
    pictures, tally = thumbnails(hits, index, SIDE)
    assert [picture is None for picture in pictures] == [True, False, True, True, True]
    assert tally.counts == {UNREAD: 3, NO_SOURCE: 1}
    assert any("gone.tif" in name for name in tally.examples[UNREAD])


def test_a_shard_with_other_samples_gives_no_picture(tmp_path: Path, make_shards: ShardFactory) -> None:
    shards = make_shards(tmp_path / "shards", samples=4, shards=1)
    index = of_source(tmp_path / "index", open_shard_source(str(shards), LOOK))
    hit = hits_of(index)[0]
    shutil.rmtree(shards)

    def rename(members: dict[str, bytes], number: int) -> None:
        members["json"] = members["json"].replace(b"tile-", b"other-")

    make_shards(shards, samples=4, shards=1, change=rename)
    assert thumbnail(hit, index, SIDE) is None
