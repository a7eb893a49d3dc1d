"""Shards as a source of an index: the tile of each sample."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from affine import Affine

from graft.errors import GraftError
from graft.index.footprint import NOWHERE, Place, crs_name, place_of
from graft.index.sources import GROUP, Group, Look, Source, TileFacts, fingerprint_of, make_card, stack, utc
from graft.index.tile_folder import at_model_gsd, fit_window
from graft.remote import FetchError, Remote, is_address
from graft.sensors import get_sensor
from graft.shard_cache import ShardCache, default_cache
from graft.shards import BadSampleError, PairSample, ShardIndex, ShardReader
from graft.tally import Tally

BAD_SAMPLE = "sample that cannot be read"
CACHE_BYTES = 50 * 10**9


@dataclass(frozen=True)
class ShardSource(Source):
    """Shards; see `Source`. Samples are numbered through, in the order of `index.json`."""

    index: ShardIndex

    @property
    def groups(self) -> int:
        """`GROUP` samples make a group."""
        return math.ceil(self.card.windows / GROUP)

    def numbers(self, group: int) -> range:
        """Numbers of the samples of a group."""
        return range(group * GROUP, min((group + 1) * GROUP, self.card.windows))

    def read(self, group: int) -> Group:
        """Read the samples of a group."""
        starts = [0, *accumulate(self.index.samples)]
        reader = ShardReader(self.index, cache=self._cache())
        tiles, pixels, skipped = [], [], Tally()
        for number in self.numbers(group):
            shard = bisect_right(starts, number) - 1
            try:
                sample = self._sample(reader, shard, number - starts[shard])
                gsd_m = float(sample.meta.get("gsd_m") or get_sensor(self.index.sensor).gsd_m)
                shown = at_model_gsd(sample.tile.permute(1, 2, 0).numpy(), gsd_m, self.look)
                fitted, part = fit_window(shown, self.look.window)
                facts = self._facts(number, shard, sample, gsd_m, part, shown.shape[0])
            except BadSampleError as error:
                skipped.add(BAD_SAMPLE, str(error))
                continue
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                skipped.add(BAD_SAMPLE, f"{self.index.files[shard]}, sample {number - starts[shard]}: {error!r:.100}")
                continue
            tiles.append(facts)
            pixels.append(torch.from_numpy(np.array(fitted)).permute(2, 0, 1))
        return Group(stack(pixels, self.look.window), tuple(tiles), skipped)

    def _sample(self, reader: ShardReader, shard: int, number: int) -> PairSample:
        try:
            return reader.read(shard, number)
        except BadSampleError as error:
            if isinstance(error.__cause__, FetchError):  # the next run may find it
                raise GraftError(f"The shards at {self.index.where} are out of reach: {error}") from error
            raise

    def _cache(self) -> ShardCache | None:
        if not is_address(self.index.where):
            return None
        remote, files = Remote(self.index.where), self.index.shard_files()
        return ShardCache(remote, files, folder=default_cache(), limit=CACHE_BYTES, working_set=1)

    def _facts(
        self,
        number: int,
        shard: int,
        sample: PairSample,
        gsd_m: float,
        part: tuple[float, float, float, float],
        canvas: int,
    ) -> TileFacts:
        meta, scale = sample.meta, self.index.tile_size / canvas
        left, top, width, height = (value * scale for value in part)
        nodata, cloudy = meta.get("nodata"), meta.get("cloudy")
        return TileFacts(
            number,
            f"{self.index.where.rstrip('/')}/{self.index.files[shard]}",
            (left, top, width, height),
            item=meta["tile_id"],
            taken=utc(meta.get("datetime")),
            gsd_m=gsd_m,
            valid=None if nodata is None else 1 - float(nodata),
            cloud=None if cloudy is None else float(cloudy),
            place=_place(meta, self.index.tile_size),
        )


def open_shard_source(where: str, look: Look) -> ShardSource:
    """Open shards.

    Args:
        where: folder with `index.json`, or its address.
        look: how the model looks at the tiles; their rendering is what `graft prepare` made.

    Raises:
        GraftError: no shards there, or shards of a GSD that is too far from the model's.
    """
    address = is_address(where)
    index = ShardIndex.load(where if address else Path(where))
    blank = np.zeros((index.tile_size, index.tile_size, 3), np.uint8)
    try:
        at_model_gsd(blank, get_sensor(index.sensor).gsd_m, look)
    except GraftError as error:
        raise GraftError(f"The shards at {where} are of sensor {index.sensor}. {error}") from error
    settings = look.settings(stride=look.window, sensor=index.sensor, display=False, bands=None, gsd_m=None)
    fingerprint = fingerprint_of([*index.hashes, index.radiometry])
    return ShardSource(make_card(where, "shards", fingerprint, settings, sum(index.samples)), look, index)


def _place(meta: dict[str, Any], side: int) -> Place:
    crs, epsg = crs_name(meta.get("crs"))
    transform = meta.get("transform")
    if crs is None or not isinstance(transform, list) or len(transform) != 6:
        return NOWHERE
    return place_of(crs, epsg, Affine(*transform), side, side)
