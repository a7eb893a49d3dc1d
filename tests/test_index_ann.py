"""The approximate index: its recall is measured and reached, its scores are exact, what it does not cover is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from graft.errors import GraftError
from graft.index import ann as module
from graft.index.ann import AnnReport, ann_nearest, ann_report, build_ann, uncovered
from graft.index.ann_verb import ann
from graft.index.flat import flat_vectors
from graft.index.table import Index
from graft.nearest import nearest
from tests.index_inputs import make_index, source_card, tile_rows, unit_vectors

COUNT, DIM = 6000, 64


def clustered(count: int, seed: int = 0) -> npt.NDArray[np.float16]:
    """Vectors around a hundred places, all on one side of the sphere."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(100, DIM)) + 1
    vectors = centres[rng.integers(0, 100, count)] + 0.5 * rng.normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, AnnReport]:
    """An index in eight cells."""
    address = str(tmp_path_factory.mktemp("ann") / "idx")
    make_index(address, clustered(COUNT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CELL", COUNT // 8)
        return address, ann(address)


def test_recall_is_measured_and_reached(built: tuple[str, AnnReport]) -> None:
    address, report = built
    index = Index.open(address)
    assert min(report.recall_tiles, report.recall_words) >= report.recall_at_least >= 0.95
    assert (report.tiles, report.cells) == (COUNT, 8)
    assert report.bytes > COUNT * DIM / 8
    assert ann_report(index) == report
    flat, queries = flat_vectors(index), torch.from_numpy(clustered(30, seed=5)).float()
    _, places = nearest(flat.vectors, queries, 100)
    _, rows = ann_nearest(index, queries, 100)
    found = [np.isin(mine, flat.row_ids[exact.numpy()]).mean() for mine, exact in zip(rows, places, strict=True)]
    assert np.mean(found) > 0.95  # other queries than it was measured with


def test_more_cells_are_read_when_more_is_asked_for(
    built: tuple[str, AnnReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.open(built[0])
    monkeypatch.setattr(module, "ann_report", lambda _: replace(built[1], probes=1))
    query = torch.from_numpy(clustered(1, seed=6)).float()
    (few,), (many,) = ann_nearest(index, query, 100)[1], ann_nearest(index, query, COUNT)[1]
    assert (len(few), len(many)) == (100, COUNT)


def test_scores_are_those_of_exact_search(built: tuple[str, AnnReport]) -> None:
    index = Index.open(built[0])
    query = torch.from_numpy(clustered(1, seed=6)).float()
    (scores,), (rows,) = ann_nearest(index, query, 50)
    flat = flat_vectors(index)
    exact, places = nearest(flat.vectors, query, COUNT)
    by_row = dict(zip(flat.row_ids[places[0].numpy()].tolist(), exact[0].tolist(), strict=True))
    assert scores.tolist() == [by_row[row] for row in rows.tolist()]
    assert (np.diff(scores) <= 0).all()
    assert (scores.dtype, rows.dtype) == (np.float32, np.uint64)


def test_conditions_hold_and_reach_beyond_the_cells(
    built: tuple[str, AnnReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.open(built[0])
    monkeypatch.setattr(module, "ann_report", lambda _: replace(built[1], probes=1))
    where = "datetime < timestamp '2024-05-31'"  # thirty tiles, in any cell
    (scores,), (rows,) = ann_nearest(index, torch.from_numpy(clustered(1)).float(), 100, where)
    assert sorted(rows.tolist()) == sorted(index.row_ids(where).tolist())
    assert len(scores) == 30


def test_tiles_added_later_are_found_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST", 300)
    monkeypatch.setattr(module, "DRAWN", 5)
    monkeypatch.setattr(module, "CELL", 150)
    vectors = unit_vectors(410)
    index = make_index(tmp_path / "idx", vectors[:400])
    build_ann(index)
    index = Index.open(tmp_path / "idx")
    assert uncovered(index) == 0
    index.add(tile_rows(index.card, vectors[400:], source=source_card("other.tif")))
    assert uncovered(index) == 10
    _, (rows,) = ann_nearest(index, torch.from_numpy(vectors[405:406]).float(), 1)
    assert index.take(rows, ["vector"])["vector"].to_numpy()[0].tolist() == vectors[405].tolist()
    build_ann(index)
    assert uncovered(Index.open(tmp_path / "idx")) == 0


def test_a_recall_out_of_reach_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEWEST", 300)
    monkeypatch.setattr(module, "DRAWN", 20)
    monkeypatch.setattr(module, "CELL", 750)
    monkeypatch.setattr(module, "REFINE", (1,))
    monkeypatch.setattr(module, "BITS", (1,))
    index = make_index(tmp_path / "idx", unit_vectors(1500))
    with pytest.raises(GraftError, match=r"reaches a recall of 0\.\d+, short of the 1.0 asked for"):
        build_ann(index, recall=1.0)
    kept = ann_report(Index.open(tmp_path / "idx"))
    assert kept is not None
    assert (kept.probes, kept.refine) == (2, 1)  # all that may be read


def test_more_bits_where_one_does_not_do_and_no_copy_of_the_vectors_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FEWEST", 300)
    monkeypatch.setattr(module, "DRAWN", 20)
    monkeypatch.setattr(module, "CELL", 750)
    monkeypatch.setattr(module, "REFINE", (2,))
    report = build_ann(make_index(tmp_path / "idx", unit_vectors(1500)), recall=0.95)
    assert (report.bits, report.recall_at_least >= 0.95) == (4, True)
    assert report.probes == 2  # and half of the cells have half of the nearest
    assert ann_report(Index.open(tmp_path / "idx")) == report
    monkeypatch.setattr("graft.index.flat._write", None)
    assert len(flat_vectors(Index.open(tmp_path / "idx")).vectors) == 1500


def test_no_approximate_index_and_too_few_tiles(tmp_path: Path) -> None:
    index = make_index(tmp_path / "idx")
    with pytest.raises(GraftError, match=r"has no approximate index\. Build it with graft indexes ann"):
        ann_nearest(index, torch.ones(1, 32), 3)
    with pytest.raises(GraftError, match="has no approximate index"):
        uncovered(index)
    with pytest.raises(GraftError, match=r"has 40 tiles; an approximate index is for 4,096 or more"):
        build_ann(index)
    with pytest.raises(GraftError, match=r"--recall is 1.5"):
        build_ann(index, recall=1.5)
    with pytest.raises(GraftError, match="No index at"):
        ann(str(tmp_path / "none"))
