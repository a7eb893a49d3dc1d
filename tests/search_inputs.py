"""Small indexes with planted vectors, on grids of real coordinate reference systems."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from affine import Affine
from torch import Tensor
from torch.nn import functional

from graft.index.footprint import place_of
from graft.index.schema import IndexCard, tile_schema
from graft.index.table import Index
from graft.search.query import Query, Wish, mix
from graft.teacher import Teacher

DIM = 8
UTM = Affine(10, 0, 500_000, 0, -10, 5_600_000)
TEACHER = {"name": "local-dir:teacher", "identity": "cd" * 32, "dim": DIM}


def card_of(teacher: Teacher | None = None) -> IndexCard:
    about = TEACHER if teacher is None else teacher.card
    model = {"name": "last.ckpt", "sha256": "ab" * 32, "sensor": "sentinel", "radiometry": "as made", "window": 64}
    return IndexCard(model | {"dim": about["dim"], "gsd_m": 10.0, "logit_scale": 20.0}, dict(about))


def unit(*values: float, dim: int = DIM) -> Tensor:
    """A unit vector whose first values are as given."""
    vector = torch.zeros(dim)
    vector[: len(values)] = torch.tensor(values)
    return functional.normalize(vector, dim=0)


def towards(cosine: float, axis: int = 0, other: int = 1, dim: int = DIM) -> Tensor:
    """A unit vector at a cosine to one axis, in the plane with another."""
    vector = torch.zeros(dim)
    vector[axis], vector[other] = cosine, (1 - cosine**2) ** 0.5
    return vector


def tile(
    vector: Tensor,
    *,
    number: int = 0,
    column: float = 0,
    row: float = 0,
    side: float = 64,
    epsg: int | None = 32632,
    transform: Affine = UTM,
    path: str = "/images/scene.tif",
    **changes: Any,
) -> dict[str, Any]:
    """A row of the table: a window of a raster with this transform."""
    a, b, c, d, e, f = tuple(transform)[:6]
    moved = Affine(a, b, a * column + b * row + c, d, e, d * column + e * row + f)
    place = place_of(None if epsg is None else f"EPSG:{epsg}", epsg, moved, side, side)
    box = None if place.box is None else dict(zip(("xmin", "ymin", "xmax", "ymax"), place.box, strict=True))
    return {
        "id": f"{'0' * 16}-{number:07d}",
        "source_id": "0" * 16,
        "path": path,
        "item": "",
        "group": 0,
        "window": {"column": column, "row": row, "width": side, "height": side},
        "datetime": datetime(2024, 6, 1, 10, 30, tzinfo=UTC),
        "epsg": place.epsg,
        "gsd_m": 10.0,
        "valid": 1.0,
        "cloud": 0.0,
        "lon": place.lon,
        "lat": place.lat,
        "bbox": box,
        "geometry": place.geometry,
        "vector": vector.numpy().astype(np.float16),
    } | changes


def plant(folder: Path, rows: list[dict[str, Any]], card: IndexCard | None = None) -> Index:
    """An index of these rows."""
    card = card or card_of()
    index = Index.open_or_create(folder, card)
    numbered = [row | {"id": f"{row['source_id']}-{number:07d}"} for number, row in enumerate(rows)]
    index.add(pa.Table.from_pylist(numbered, schema=tile_schema(card)))
    return index


def query_of(vector: Tensor, words: str = "wind turbines") -> Query:
    return mix([Wish("words", words, 1.0)], vector[None])
