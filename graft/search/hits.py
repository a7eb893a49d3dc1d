"""What a search finds."""

from dataclasses import dataclass

import shapely

from graft.index.schema import IndexCard
from graft.search.query import Query

LIKE = 0.5
"""From this likeness on a tile is called like the query."""


@dataclass(frozen=True)
class Hit:
    """One tile, as far as a person or a map needs it.

    Attributes:
        rank: from 1, best first.
        score: cosine of the tile's vector and the query's, -1..1.
        likeness: 0..1, see `graft.search.likeness`; None where there is nothing to compare with.
        id: of the tile.
        path: file that holds its pixels, or its address.
        item: sample in that file where it is a shard, else "".
        source_id: of the source it was cut from.
        window: column, row, width, height in pixels of `path`, edges at integers.
        datetime: UTC, ISO 8601 ending in Z; None where unknown.
        epsg: of the raster; None where unknown.
        gsd_m: metres a pixel; None where unknown.
        valid: share of pixels with data, 0..1; None where unknown.
        cloud: share of pixels under cloud, 0..1; None where unknown.
        lon: degrees, of the middle; None for a tile without place.
        lat: degrees, of the middle; None for a tile without place.
        geometry: footprint in degrees, WGS 84, in two parts across the antimeridian; None for a tile without place.
    """

    rank: int
    score: float
    likeness: float | None
    id: str
    path: str
    item: str
    source_id: str
    window: tuple[float, float, float, float]
    datetime: str | None
    epsg: int | None
    gsd_m: float | None
    valid: float | None
    cloud: float | None
    lon: float | None
    lat: float | None
    geometry: shapely.Geometry | None


@dataclass(frozen=True)
class SearchResult:
    """Hits, and all that is needed to understand them.

    Attributes:
        hits: best first.
        query: what was looked for.
        card: of the index.
        address: of the index.
        rows: tiles in the index.
        searched: tiles that passed the filters.
        left_out: how many tiles were not shown although they are in the index, by reason.
        conditions: the filters in words, one each; empty without filters.
        verdict: one sentence: whether something like the query was found.
    """

    hits: tuple[Hit, ...]
    query: Query
    card: IndexCard
    address: str
    rows: int
    searched: int
    left_out: dict[str, int]
    conditions: tuple[str, ...]
    verdict: str
