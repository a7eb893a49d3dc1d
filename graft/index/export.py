"""An index as one GeoParquet file, for geopandas, QGIS, DuckDB and other tools that know places."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from tqdm import tqdm

from graft.errors import GraftError, import_extra
from graft.files import atomic_path
from graft.index.table import Index

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 65536
_BATCH = 8192
_REPEATED = ["source_id", "path", "item"]  # a dictionary of vectors takes half of all the time and saves nothing
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def export_geoparquet(index: Index, out: Path, *, vectors: bool) -> int:
    """Write an index as GeoParquet 1.1: WKB in OGC:CRS84, a `bbox` column that covers it, and row groups.

    The columns are those of `graft.index.schema.tile_schema`, rows in the order they were added. `bbox` holds the
    bounds in which readers look for places, so that a footprint across the antimeridian has -180..180. Tiles without
    georeference have neither geometry nor bbox. The card stays in the file's metadata (`graft`).

    Args:
        index: to write.
        out: file; replaced when the new one is whole.
        vectors: whether with the vectors, as fp16 lists.

    Returns:
        Rows written.

    Raises:
        GraftError: a geometry that is damaged, the index cannot be read, or the file cannot be written.
    """
    pa, pq = import_extra("pyarrow", "search"), import_extra("pyarrow.parquet", "search")
    stored = index.schema
    schema = stored if vectors else stored.remove(stored.get_field_index("vector"))
    seen = _Seen()
    rows = len(index)
    try:
        with (
            atomic_path(out) as partial,
            pq.ParquetWriter(partial, schema, compression="zstd", use_dictionary=_REPEATED) as writer,
            tqdm(total=rows, unit="tile", desc="export") as bar,
        ):
            for group in _in_groups(index, schema, pa):
                writer.write_table(seen.pass_on(group), row_group_size=ROW_GROUP)
                bar.update(group.num_rows)
            writer.add_key_value_metadata({"geo": json.dumps(seen.metadata())})
    except OSError as error:
        raise GraftError(f"{out} cannot be written: {error}.") from error
    return rows


def _in_groups(index: Index, schema: "pa.Schema", pa: Any) -> Iterator["pa.Table"]:
    """The rows in tables of `ROW_GROUP`; scans end a batch wherever a commit ended."""
    waiting, number = [], 0
    for batch in index.batches(schema.names, rows=_BATCH):
        waiting.append(batch.select(schema.names))
        number += batch.num_rows
        if number >= ROW_GROUP:
            table = pa.Table.from_batches(waiting, schema)
            yield table.slice(0, ROW_GROUP)
            waiting, number = table.slice(ROW_GROUP).to_batches(), number - ROW_GROUP
    if number:
        yield pa.Table.from_batches(waiting, schema)


class _Seen:
    """What the metadata says of all geometries together: their types and bounds."""

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._bounds: npt.NDArray[np.float64] = np.full(4, np.nan)

    def pass_on(self, rows: "pa.Table") -> "pa.Table":
        """Note the geometries of rows; their `bbox` as planar bounds."""
        pa = import_extra("pyarrow", "search")
        try:
            shapes = shapely.from_wkb(rows["geometry"].to_numpy(zero_copy_only=False))
        except shapely.errors.GEOSException as error:
            raise GraftError(f"The index holds a damaged geometry ({error}): build it again.") from error
        known = ~shapely.is_missing(shapes)
        self._types |= {shape.geom_type for shape in shapes[known]}
        bounds = shapely.bounds(shapes).reshape(-1, 4)
        if known.any():
            low, high = np.fmin(bounds[known].min(0), self._bounds), np.fmax(bounds[known].max(0), self._bounds)
            self._bounds = np.concatenate([low[:2], high[2:]])
        kind = rows.schema.field("bbox").type
        sides = [pa.array(bounds[:, side], kind.field(name).type) for side, name in enumerate(_SIDES)]
        box = pa.StructArray.from_arrays(sides, fields=list(kind), mask=pa.array(~known))
        return rows.set_column(rows.schema.get_field_index("bbox"), rows.schema.field("bbox"), box)

    def metadata(self) -> dict[str, Any]:
        """The value of the key `geo`."""
        column = {
            "encoding": "WKB",
            "geometry_types": sorted(self._types),
            "crs": pyproj.CRS.from_user_input("OGC:CRS84").to_json_dict(),
            "edges": "planar",
            "covering": {"bbox": {name: ["bbox", name] for name in _SIDES}},
        }
        if self._types:
            column["bbox"] = self._bounds.tolist()
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
