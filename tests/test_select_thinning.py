import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.errors import GraftError
from graft.select.settings import Thinning
from graft.select.thinning import thin
from graft.tally import Tally
from tests.select_inputs import ids, selected, write_selected


def thinned(folder: Path, photos: list[dict[str, Any]], **settings: Any) -> tuple[Tally, list[str]]:
    """Also checks that every row is either kept or counted."""
    out = folder / "thinned.parquet"
    scenic = write_selected(folder / "scenic.parquet", photos)
    tally = thin(scenic, out, settings=Thinning(**settings), temp=folder / "temp")
    kept = ids(out)
    assert tally.total + len(kept) == len(photos)
    return tally, kept


def crowd(start: int, count: int, **values: Any) -> list[dict[str, Any]]:
    return [selected(number, **values) for number in range(start, start + count)]


HERE, THERE = {"lon": 10.01, "lat": 50.01}, {"lon": 20.01, "lat": -30.01}


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
def test_cells_keep_a_power_of_what_they_have(tmp_path: Path, alpha: float) -> None:
    photos = crowd(0, 50, **HERE) + crowd(100, 300, **THERE)
    tally, kept = thinned(tmp_path, photos, full_cell=100, alpha=alpha)
    expected = math.ceil(100 * 3**alpha)
    assert kept == [f"photo-{n}" for n in range(50)] + [f"photo-{n}" for n in range(100, 100 + expected)]
    assert dict(tally.counts) == ({} if alpha == 1 else {"beyond 100 in a cell, by the power law": 300 - expected})


def test_a_cell_keeps_the_same_photos_whatever_others_hold(tmp_path: Path) -> None:
    here = crowd(0, 300, **HERE)
    _, alone = thinned(tmp_path, here, full_cell=100)
    _, beside = thinned(tmp_path, here + crowd(1000, 500, **THERE), full_cell=100)
    assert [name for name in beside if int(name.removeprefix("photo-")) < 1000] == alone


def test_splits_do_not_share_a_cell(tmp_path: Path) -> None:
    photos = crowd(0, 100, **HERE) + crowd(100, 100, split="val", **HERE)
    tally, _ = thinned(tmp_path, photos, full_cell=100)
    assert tally.total == 0


def test_caps_on_authors(tmp_path: Path) -> None:
    photos = [
        *crowd(0, 30, author="busy", **HERE),
        *crowd(100, 30, author="busy", **THERE),
        *crowd(200, 30, author="other", **HERE),
        *crowd(300, 30, **HERE),
    ]
    tally, kept = thinned(tmp_path, photos, max_per_author_cell=20, max_per_author=25)
    assert tally.counts == {"beyond 20 of one author in a cell": 30, "beyond 25 of one author": 15}
    numbers = np.array([int(name.removeprefix("photo-")) // 100 for name in kept])
    assert np.bincount(numbers).tolist() == [20, 5, 20, 30]


def test_the_cap_on_a_cell_comes_last(tmp_path: Path) -> None:
    tally, kept = thinned(tmp_path, crowd(0, 400, **HERE), full_cell=100, max_per_cell=150)
    assert tally.counts == {"beyond 100 in a cell, by the power law": 200, "beyond 150 in a cell": 50}
    assert kept == [f"photo-{number}" for number in range(150)]


def test_order_follows_rank_not_rows(tmp_path: Path) -> None:
    photos = crowd(0, 20, **HERE)
    _, kept = thinned(tmp_path, photos[::-1], max_per_cell=5)
    assert kept == [f"photo-{number}" for number in range(5)]


def test_an_empty_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="No photo of 0 is left after thinning: there was none before"):
        thinned(tmp_path, [])


@pytest.mark.parametrize(("name", "value"), [("alpha", 1.5), ("full_cell", 0), ("max_per_author", 0), ("cell_km", 0)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(GraftError, match=name):
        Thinning(**{name: value})
