"""Tiles to vectors, and vectors to rows of an index."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from graft.checkpoint import LoadedEncoder
from graft.errors import GraftError, import_extra
from graft.index.schema import IndexCard, tile_schema
from graft.index.sources import TileFacts
from graft.sensors import get_sensor

if TYPE_CHECKING:
    import pyarrow as pa


def index_card(model: Path, loaded: LoadedEncoder) -> IndexCard:
    """Whose vectors an index is to hold.

    Args:
        model: the checkpoint.
        loaded: out of it.
    """
    about = {
        "name": str(model),
        "sha256": loaded.sha256,
        "sensor": loaded.sensor,
        "radiometry": loaded.radiometry,
        "dim": loaded.dim,
        "window": loaded.window,
        "gsd_m": get_sensor(loaded.sensor).gsd_m,
        "logit_scale": loaded.logit_scale,
    }
    return IndexCard(about, {key: loaded.teacher[key] for key in ("name", "identity", "dim")})


UNIT_TOLERANCE = 1e-2


@torch.inference_mode()
def encode_tiles(encoder: nn.Module, tiles: Tensor, batch_size: int) -> npt.NDArray[np.float16]:
    """Vectors of tiles.

    Args:
        encoder: in eval mode, on any device and in any precision.
        tiles: uint8 [n, 3, S, S] on the CPU.
        batch_size: tiles at a time.

    Returns:
        float16 [n, D], of unit length but for the rounding.
    """
    device = next(encoder.parameters()).device
    if not len(tiles):
        return np.zeros((0, 0), np.float16)
    parts = [encoder(batch.to(device)).half().cpu() for batch in torch.split(tiles, batch_size)]
    vectors: npt.NDArray[np.float16] = torch.cat(parts).numpy()
    return vectors


def tile_rows(
    card: IndexCard, source_id: str, group: int, tiles: Sequence[TileFacts], vectors: npt.NDArray[np.float16]
) -> "pa.Table":
    """Rows of the table `tiles`.

    Args:
        card: of the index.
        source_id: of the source.
        group: whose tiles they are.
        tiles: n.
        vectors: float16 [n, D].

    Raises:
        GraftError: vectors that are not of unit length.
    """
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
    bad = np.flatnonzero(~(abs(lengths - 1) <= UNIT_TOLERANCE))  # NaN too
    if len(bad):
        raise GraftError(
            f"The vector of a tile of {tiles[bad[0]].path} has length {lengths[bad[0]]:.3g}, expected 1: the weights "
            f"of the model {card.model['name']} are probably damaged. Give another --model, or try --precision fp32."
        )
    pa = import_extra("pyarrow", "search")
    schema = tile_schema(card)
    flat = pa.array(vectors.reshape(-1), pa.float16())
    columns: dict[str, Any] = {
        "id": [f"{source_id}-{tile.number:07d}" for tile in tiles],
        "source_id": [source_id] * len(tiles),
        "group": [group] * len(tiles),
        "window": [dict(zip(("column", "row", "width", "height"), tile.window, strict=True)) for tile in tiles],
        "bbox": [_box(tile.place.box) for tile in tiles],
        "datetime": [tile.taken for tile in tiles],
        "vector": pa.FixedSizeListArray.from_arrays(flat, card.dim),
    }
    columns |= {name: [getattr(tile, name) for tile in tiles] for name in ("path", "item")}
    columns |= {name: [getattr(tile, name) for tile in tiles] for name in ("gsd_m", "valid", "cloud")}
    columns |= {name: [getattr(tile.place, name) for tile in tiles] for name in ("epsg", "lon", "lat", "geometry")}
    return pa.Table.from_pydict(columns, schema=schema)


def _box(box: tuple[float, float, float, float] | None) -> dict[str, float] | None:
    return None if box is None else dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
