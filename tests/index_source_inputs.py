"""Real files for the tests of `graft index`: rasters on grids of every kind, tiles, a checkpoint, and ways to look."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyproj
import rasterio
import shapely
from affine import Affine
from PIL import Image

from graft.index.plan import open_sources
from graft.index.sources import Group, Look, Source, TileFacts
from graft.index.table import Index
from graft.sensors import get_sensor

SENTINEL = get_sensor("sentinel")
SIDE, PATCH = 32, 8
UTM = "EPSG:32633"
BANDS = ("B02", "B03", "B04")
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 5_000_000)
STEP = 9e-5  # degrees of about 10 m


def look(**changes: Any) -> Look:
    settings: dict[str, Any] = {"sensor": SENTINEL, "model_gsd_m": 10.0, "patch": PATCH, "window": SIDE, "stride": SIDE}
    return Look(**settings | changes)


def write_raster(
    path: Path,
    stored: np.ndarray | None = None,
    *,
    size: tuple[int, int] = (96, 128),
    crs: str | None = UTM,
    transform: Affine | None = None,
    names: Sequence[str] = BANDS,
    seed: int = 0,
    tags: dict[str, str] | None = None,
    **profile: Any,
) -> np.ndarray:
    """A GeoTIFF of random reflectance (uint16, 10 m, 0 is no data); returns what it stores."""
    if stored is None:
        stored = np.random.default_rng(seed).integers(1, 3000, (len(names), *size)).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = transform or Affine(10, 0, 500_000, 0, -10, 5_000_000)
    count, height, width = stored.shape
    settings = {"nodata": 0, "crs": crs, "transform": grid, "blockysize": 16} | profile
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=stored.dtype, **settings
    ) as dataset:
        dataset.write(stored)
        dataset.descriptions = tuple(names)
        dataset.update_tags(**({"DATETIME": "2021-07-03T12:00:00+02:00"} if tags is None else tags))
    return stored


def write_tile(path: Path, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> np.ndarray:
    """An 8-bit picture [H, W, 3]; lossless unless the name says JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def only(place: Path | str, seen: Look | None = None) -> Source:
    """The one source at a place."""
    (source,), faults = open_sources([str(place)], seen or look())
    assert faults == []
    return source


def read_all(source: Source) -> list[Group]:
    groups = [source.read(group) for group in range(source.groups)]
    numbers = [number for group in range(source.groups) for number in source.numbers(group)]
    assert numbers == list(range(source.card.windows)), "groups share the windows out, in order"
    assert sum(len(group.tiles) + group.skipped.total for group in groups) == source.card.windows
    return groups


def tiles_of(source: Source) -> list[tuple[TileFacts, np.ndarray]]:
    """Facts and pixels [S, S, 3] of all tiles of a source."""
    return [
        (facts, pixels.permute(1, 2, 0).numpy())
        for group in read_all(source)
        for facts, pixels in zip(group.tiles, group.pixels, strict=True)
    ]


def degrees(crs: str, transform: Affine, column: float, row: float) -> tuple[float, float]:
    """Longitude (-180..180) and latitude of a pixel of a raster, by PROJ alone."""
    to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform(*(transform @ (column, row)))
    return (lon + 180) % 360 - 180, lat


def shape_of(facts: TileFacts) -> shapely.Geometry:
    assert facts.place.geometry is not None
    return shapely.from_wkb(facts.place.geometry)


def table_of(out: Path | str) -> pa.Table:
    """All rows of an index as they lie."""
    index = Index.open(out)
    batches = list(index.batches(["id", *(name for name in index_columns() if name != "id")]))
    return pa.Table.from_batches(batches).drop_columns(["_rowid"])


def index_columns() -> tuple[str, ...]:
    return (
        *("id", "source_id", "path", "item", "group", "window", "datetime", "epsg", "gsd_m", "valid", "cloud"),
        *("lon", "lat", "bbox", "geometry", "vector"),
    )


def same_index(first: Path | str, second: Path | str) -> bool:
    """Whether two indexes hold the same rows in the same order, byte for byte, and the same sources."""
    return (
        bool(table_of(first).equals(table_of(second))) and Index.open(first).sources() == Index.open(second).sources()
    )


def shown(stored: np.ndarray) -> np.ndarray:
    """Bands blue, green, red as display values [H, W, 3]."""
    return SENTINEL.to_display(stored[2::-1]).transpose(1, 2, 0)
