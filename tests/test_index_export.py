"""Indexes as GeoParquet, and the verbs that show, export, remove and tidy."""

import json
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from graft.errors import GraftError
from graft.index import export as export_module
from graft.index import verbs
from graft.index.export import export_geoparquet
from graft.index.lock import writer_lock
from graft.index.table import Index
from tests.index_inputs import index_card, make_index, source_card, table_of, tile_rows, unit_vectors

ACROSS = shapely.MultiPolygon([shapely.box(179.9, 0, 180, 1), shapely.box(-180, 0, -179.9, 1)])
ROTATED = shapely.affinity.rotate(shapely.box(10, 51, 10.02, 51.02), 30)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """40 tiles on a grid, one across the antimeridian, one rotated, two without a place."""
    index = make_index(tmp_path / "index")
    odd = source_card("odd.tif")
    index.add(tile_rows(index.card, unit_vectors(2, seed=1), source=odd, footprints=[ACROSS, ROTATED]))
    index.add(tile_rows(index.card, unit_vectors(2, seed=2), source=odd, first=2, group=1, places=False))
    return index


def test_a_file_opens_in_geopandas_with_places_and_vectors(index: Index, tmp_path: Path) -> None:
    assert export_geoparquet(index, tmp_path / "all.parquet", vectors=True) == 44
    found = geopandas.read_parquet(tmp_path / "all.parquet")
    stored = table_of(index)
    assert found.crs.to_authority() == ("OGC", "CRS84")
    assert found["id"].tolist() == stored["id"].to_pylist()
    assert shapely.equals(found.geometry.array[:42], shapely.from_wkb(stored["geometry"].to_pylist()[:42])).all()
    assert found.geometry.isna().tolist() == [False] * 42 + [True] * 2
    assert found["datetime"][1].isoformat() == "2024-05-02T00:00:00+00:00"
    vectors = np.stack(found["vector"])
    assert vectors.dtype == np.float16
    assert np.array_equal(vectors, np.concatenate([unit_vectors(40), unit_vectors(2, seed=1), unit_vectors(2, seed=2)]))


def test_readers_find_tiles_by_their_boxes_on_both_sides_of_the_antimeridian(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    export_geoparquet(index, path, vectors=False)
    east, west, near = ((179.95, 0.1, 179.97, 0.2), (-179.97, 0.1, -179.95, 0.2), (10.005, 49.9, 10.015, 50.005))
    assert [len(geopandas.read_parquet(path, bbox=box)) for box in (east, west, near)] == [1, 1, 2]
    assert "vector" not in geopandas.read_parquet(path).columns
    names = duckdb.sql(f"SELECT id FROM '{path}' WHERE bbox.ymin > 50.9 AND bbox.xmin < 10").fetchall()
    assert names == [(f"{source_card('odd.tif').id}-0000001",)]


def test_the_metadata_are_those_of_geoparquet_1_1(index: Index, tmp_path: Path) -> None:
    export_geoparquet(index, tmp_path / "all.parquet", vectors=True)
    stored = pq.read_metadata(tmp_path / "all.parquet").metadata
    about = json.loads(stored[b"geo"])
    assert (about["version"], about["primary_column"]) == ("1.1.0", "geometry")
    column = about["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["MultiPolygon", "Polygon"]
    assert column["crs"]["id"] == {"authority": "OGC", "code": "CRS84"}
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    assert np.allclose(column["bbox"], [-180, 0, 180, shapely.bounds(ROTATED)[3]])
    assert stored[b"graft"] == index_card().to_bytes()


def test_row_groups_have_one_size_wherever_commits_ended(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "ROW_GROUP", 7)
    export_geoparquet(index, tmp_path / "all.parquet", vectors=True)
    file = pq.ParquetFile(tmp_path / "all.parquet")
    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert sizes == [7] * 6 + [2]
    assert file.read(columns=["id"])["id"].to_pylist() == table_of(index)["id"].to_pylist()


def test_an_index_without_rows_or_places(tmp_path: Path) -> None:
    index = Index.open_or_create(tmp_path / "index", index_card())
    assert export_geoparquet(index, tmp_path / "none.parquet", vectors=True) == 0
    assert len(geopandas.read_parquet(tmp_path / "none.parquet")) == 0
    index.add(tile_rows(index.card, unit_vectors(3), places=False))
    assert export_geoparquet(index, tmp_path / "nowhere.parquet", vectors=False) == 3
    assert geopandas.read_parquet(tmp_path / "nowhere.parquet").geometry.isna().all()


def test_a_failed_export_leaves_what_was_there(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "all.parquet"
    path.write_text("before")
    index.add(
        tile_rows(index.card, unit_vectors(1), first=90).set_column(
            14, table_of(index).schema.field("geometry"), pa.array([b"no geometry"])
        )
    )
    with pytest.raises(GraftError, match="damaged geometry"):
        export_geoparquet(index, path, vectors=False)
    assert path.read_text() == "before"
    assert {each.name for each in tmp_path.iterdir()} == {"index", "all.parquet"}
    (tmp_path / "folder").mkdir()
    with pytest.raises(GraftError, match="cannot be written"):
        export_geoparquet(make_index(tmp_path / "small"), tmp_path / "folder", vectors=False)


def test_show_tells_model_sources_places_and_what_is_unfinished(index: Index, capsys: Any) -> None:
    assert [card.name for card in verbs.show(index.address)] == ["/images/scene.tif"]
    told = capsys.readouterr().out
    for words in (
        "44 tiles of 2 sources, D=32",
        "aligned.ckpt (sha256 abababababab), sentinel, 10 m, 64 px",
        "local-dir:teacher (identity cdcdcdcdcdcd)",
        "2024-05-01..2024-06-09",
        "0.5000..51.0100 north",
        "/images/odd.tif is not finished",
    ):
        assert words in told


def test_export_by_its_verb(index: Index, tmp_path: Path, capsys: Any) -> None:
    assert verbs.export(index.address, tmp_path / "out" / "all.parquet") == 44
    assert "44 tiles in" in capsys.readouterr().out
    assert len(geopandas.read_parquet(tmp_path / "out" / "all.parquet")) == 44


def test_remove_takes_a_path_or_an_id_and_compact_frees_the_space(index: Index, tmp_path: Path, capsys: Any) -> None:
    data = tmp_path / "index" / "tiles.lance" / "data"
    before = {path.name for path in data.iterdir()}
    assert verbs.remove(index.address, "/images/scene.tif") == 40
    assert verbs.remove(index.address, source_card("odd.tif").id) == 4  # it is not finished and has no card
    assert "0 left" in capsys.readouterr().out
    verbs.compact(index.address)
    assert not before & {path.name for path in data.iterdir()}
    assert len(Index.open(index.address)) == 0


def test_verbs_tell_what_is_not_there_and_who_writes(index: Index, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"No source other\.tif in .*graft indexes show"):
        verbs.remove(index.address, "other.tif")
    for verb in (verbs.show, verbs.compact, lambda where: verbs.remove(where, "scene.tif")):
        with pytest.raises(GraftError, match="No index at"):
            verb(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    with writer_lock(index.address), pytest.raises(GraftError, match="already writing"):
        verbs.compact(index.address)
