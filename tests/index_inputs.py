"""Small indexes of random vectors whose tiles lie on a grid of places."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import shapely

from graft.index.schema import IndexCard, SourceCard, tile_schema
from graft.index.table import Index

DIM = 32
STEP = 0.01  # degrees from tile to tile
START = datetime(2024, 5, 1, tzinfo=UTC)


def index_card(dim: int = DIM, **model: Any) -> IndexCard:
    about = {"name": "aligned.ckpt", "sha256": "ab" * 32, "sensor": "sentinel", "radiometry": "as made", "dim": dim}
    facts = {"window": 64, "gsd_m": 10.0, "logit_scale": 100.0}
    return IndexCard(about | facts | model, {"name": "local-dir:teacher", "identity": "cd" * 32, "dim": dim})


def unit_vectors(count: int, dim: int = DIM, seed: int = 0) -> npt.NDArray[np.float16]:
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16)


def source_card(name: str = "scene.tif", **changes: Any) -> SourceCard:
    card: dict[str, Any] = {
        "id": f"{sum(map(ord, name)):016x}",
        "name": f"/images/{name}",
        "kind": "raster",
        "fingerprint": "size and time",
        "settings": {"window": 64, "stride": 64, "sensor": "sentinel", "gsd_m": 10.0, "bands": None},
        "crs": "EPSG:4326",
        "transform": (1e-4, 0.0, 0.0, 0.0, -1e-4, 0.0),
        "width": 640,
        "height": 640,
        "windows": 8,
        "skipped": {"no data": 2},
    }
    return SourceCard(**card | changes)


def tile_rows(
    card: IndexCard,
    vectors: npt.NDArray[np.float16],
    *,
    source: SourceCard | None = None,
    first: int = 0,
    group: int = 0,
    west: float = 10.0,
    south: float = 50.0,
    across: int = 100,
    places: bool = True,
    footprints: Sequence[shapely.Geometry] | None = None,
    **columns: Any,
) -> pa.Table:
    """Rows `first`, `first` + 1, … of a source, `across` tiles to a row of the grid; `columns` are put in as given."""
    source = source or source_card()
    count = len(vectors)
    numbers = np.arange(first, first + count)
    if footprints is None:
        x, y = west + STEP * (numbers % across), south + STEP * (numbers // across)
        footprints = shapely.box(x, y, x + STEP, y + STEP)
    shapes = np.asarray(footprints, object)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    middle = shapely.centroid(shapes)
    schema = tile_schema(card)
    values: dict[str, Any] = {
        "id": [f"{source.id}-{number:07d}" for number in numbers],
        "source_id": [source.id] * count,
        "path": [source.name] * count,
        "item": [""] * count,
        "group": [group] * count,
        "window": [{"column": 64.0 * number, "row": 0.0, "width": 64.0, "height": 64.0} for number in numbers.tolist()],
        "datetime": [START + timedelta(days=number) for number in numbers.tolist()],
        "epsg": [4326] * count,
        "gsd_m": [10.0] * count,
        "valid": [1.0] * count,
        "cloud": [None] * count,
        "lon": shapely.get_x(middle),
        "lat": shapely.get_y(middle),
        "bbox": [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)) for box in bounds.tolist()],
        "geometry": shapely.to_wkb(shapes),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
    }
    if not places:
        values |= dict.fromkeys(("epsg", "lon", "lat", "bbox", "geometry"), [None] * count)
    return pa.table(values | columns, schema=schema)


def make_index(
    address: str | Path, vectors: npt.NDArray[np.float16] | None = None, groups: int = 4, **rows: Any
) -> Index:
    """An index of one finished source, its vectors added in `groups` commits; `rows` go to `tile_rows`."""
    vectors = unit_vectors(40) if vectors is None else vectors
    index = Index.open_or_create(address, index_card(vectors.shape[1]))
    source = rows.pop("source", None) or source_card(windows=len(vectors), skipped={})
    edges = np.linspace(0, len(vectors), groups + 1).astype(int)
    for group, (first, last) in enumerate(pairwise(edges)):
        part = vectors[first:last]
        index.add(tile_rows(index.card, part, source=source, first=int(first), group=group, **rows))
    index.add_source(source)
    return index


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server on loopback that LanceDB and s3fs find in the environment; yields `s3://graft`, a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (keys | {"AWS_ENDPOINT_URL": url}).items():
            patch.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="graft")
        yield "s3://graft"
    server.stop()


def table_of(index: Index) -> pa.Table:
    """All rows in the order of a scan."""
    return pa.Table.from_batches(list(index.batches(index.schema.names))).drop_columns("_rowid")
