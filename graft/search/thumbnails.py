"""Pictures of hits, read from their sources again, as the model saw them."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from graft.errors import GraftError, first_line
from graft.fit import UNREADABLE, read_rgb
from graft.imagery.remote import path_of
from graft.index.rasters import look_at
from graft.index.schema import SourceCard
from graft.index.shard_tiles import CACHE_BYTES
from graft.index.sources import Look
from graft.index.tile_folder import is_picture
from graft.remote import Remote, is_address
from graft.scene import SceneReader, read_scene
from graft.search.hits import Hit
from graft.search.views import look_of
from graft.shard_cache import ShardCache, default_cache
from graft.shards import BadSampleError, ShardIndex, ShardReader
from graft.tally import Tally

if TYPE_CHECKING:
    from graft.index.table import Index

Pixels = npt.NDArray[np.uint8]

NO_SOURCE = "source not complete in the index"
NOT_HERE = "shard at an address, no copy of it on this machine"
UNREAD = "file gone, changed or damaged"
_WHITE = (255, 255, 255)


def thumbnail(hit: Hit, index: "Index", side: int) -> Pixels | None:
    """The picture of one hit, uint8 [side, side, 3]; None where it cannot be read. See `thumbnails`."""
    return thumbnails([hit], index, side)[0][0]


def thumbnails(hits: Sequence[Hit], index: "Index", side: int) -> tuple[list[Pixels | None], Tally]:
    """Pictures of hits: the pixels of each window at the model's GSD, in the rendering of its source.

    Shards at an address are not fetched for pictures; what `graft index` left in the cache is used.

    Args:
        hits: any number.
        index: in which they were found.
        side: S of a picture in pixels; what is not square is centred on white.

    Returns:
        uint8 [S, S, 3] for each hit, None where it cannot be read; and how many could not, by reason.
    """
    sources = {source.id: source for source in index.sources()}
    by_file: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, hit in enumerate(hits):
        by_file[hit.source_id, hit.path].append(number)
    found: list[Pixels | None] = [None] * len(hits)
    tally = Tally()
    for (source_id, path), numbers in by_file.items():
        source = sources.get(source_id)
        if source is None:
            tally.add(NO_SOURCE, path, len(numbers))
            continue
        try:
            cut = _opener(source)(path, source, look_of(index.card, source))
            for number in numbers:
                found[number] = _square(cut(hits[number]), side)
        except _NotHereError:
            tally.add(NOT_HERE, path, len(numbers))
        except (*UNREADABLE, GraftError, BadSampleError) as error:
            missing = sum(found[number] is None for number in numbers)
            tally.add(UNREAD, f"{path}: {first_line(error)}", missing)
    return found, tally


class _NotHereError(Exception):
    """A shard that would have to be fetched."""


_Cut = Callable[[Hit], Pixels]


def _opener(source: SourceCard) -> Callable[[str, SourceCard, Look], _Cut]:
    return _open_shards if source.kind == "shards" else _open_file


def _open_file(path: str, source: SourceCard, look: Look) -> _Cut:
    if source.kind == "folder" and is_picture(Path(path), look):
        picture = read_rgb(Path(path))
        return lambda hit: _part(picture, hit.window)
    view, _ = look_at(path_of(path), look)
    across, down = view.canvas[1] / view.width, view.canvas[0] / view.height

    def cut(hit: Hit) -> Pixels:
        left, top, width, height = hit.window
        rows = round(top * down), round((top + height) * down)
        columns = round(left * across), round((left + width) * across)
        with read_scene(view) as reader:
            return _canvas(reader, rows, columns)

    return cut


def _canvas(reader: SceneReader, rows: tuple[int, int], columns: tuple[int, int]) -> Pixels:
    height, width = reader.view.canvas
    if not (0 <= rows[0] < rows[1] <= height and 0 <= columns[0] < columns[1] <= width):
        raise GraftError("the raster is smaller than it was when it was indexed")
    return reader.canvas_block(rows, columns)[0]


def _open_shards(path: str, source: SourceCard, look: Look) -> _Cut:
    index = ShardIndex.load(source.name if is_address(source.name) else Path(source.name))
    starts = [0, *accumulate(index.samples)]
    cache = None
    if is_address(source.name):
        shard = index.files.index(path.rpartition("/")[2])
        if not (default_cache() / f"{index.hashes[shard]}.tar").is_file():
            raise _NotHereError
        cache = ShardCache(
            Remote(source.name), index.shard_files(), folder=default_cache(), limit=CACHE_BYTES, working_set=1
        )
    reader = ShardReader(index, cache=cache)

    def cut(hit: Hit) -> Pixels:
        number = int(hit.id.rpartition("-")[2])
        shard = bisect_right(starts, number) - 1
        sample = reader.read(shard, number - starts[shard])
        if sample.meta["tile_id"] != hit.item:
            raise BadSampleError(f"sample {number} is {sample.meta['tile_id']}, the index says {hit.item}")
        return _part(sample.tile.permute(1, 2, 0).numpy(), hit.window)

    return cut


def _part(picture: Pixels, window: tuple[float, float, float, float]) -> Pixels:
    left, top, width, height = (round(edge) for edge in window)
    part = picture[top : top + height, left : left + width]
    if part.shape[:2] != (height, width):
        raise GraftError("the picture is smaller than it was when it was indexed")
    return part


def _square(pixels: Pixels, side: int) -> Pixels:
    """Bring a picture uint8 [H, W, 3] to S x S, its proportions kept, what is left over white."""
    return np.asarray(
        ImageOps.pad(Image.fromarray(pixels), (side, side), Image.Resampling.BICUBIC, color=_WHITE), np.uint8
    )
