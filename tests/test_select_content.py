from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from graft.errors import GraftError
from graft.select.content import by_content
from graft.select.settings import ContentFilters
from graft.tally import Tally
from tests.select_inputs import flip, ids, look, selected, write_looks, write_selected

EXACT, NEAR = "the same file as another photo", "near copy of another photo"


def unit_vectors(count: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(count, 256))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def choose(
    folder: Path,
    photos: list[dict[str, Any]],
    looks: list[dict[str, Any]],
    *,
    vectors: np.ndarray | None = None,
    min_side: int = 1,
    **filters: Any,
) -> tuple[Tally, list[str]]:
    """Looks in two parts; also checks that every row is either kept or counted."""
    parts, files = [], []
    for part, rows in enumerate((looks[::2], looks[1::2])):
        numbered = [row | {"part": part, "row": number} for number, row in enumerate(rows)]
        parts.append(write_looks(folder / f"part-{part}.parquet", numbered))
        files.append(folder / f"part-{part}.npy")
        if vectors is not None:
            np.save(files[-1], vectors[part::2].astype(np.float16))
    tally = by_content(
        write_selected(folder / "selected.parquet", photos),
        parts,
        folder / "scenic.parquet",
        filters=ContentFilters(**filters),
        vectors=None if vectors is None else files,
        min_side=min_side,
        temp=folder / "temp",
    )
    kept = ids(folder / "scenic.parquet")
    assert tally.total + len(kept) == len(photos)
    return tally, kept


def test_each_photo_is_judged_by_its_look(tmp_path: Path) -> None:
    looks = [
        look(0),
        look(1, fault="file missing"),
        look(2, width=63),
        look(3, colour=0.0),
        look(4, kind="food", scene=0.2),
        look(5, kind="scene", scene=0.3),
        look(6, kind="indoor", scene=0.4),
        look(7, kind="", scene=None),
        look(8, fault="photo does not decode: OSError", sha256=""),
        look(9, fault="photo does not decode: OSError", sha256=""),
    ]
    tally, kept = choose(tmp_path, [selected(number) for number in range(11)], looks, min_side=64)
    assert kept == ["photo-0", "photo-6", "photo-7"]
    assert tally.counts == {
        "photo does not decode: OSError": 2,
        "a side below 64 pixels": 1,
        "file missing": 1,
        "not a scene: food": 1,
        "not a scene: unclear": 1,
        "not looked at": 1,
        "without colour": 1,
    }


def test_the_output_is_the_selection_with_what_was_seen(tmp_path: Path) -> None:
    photos = [selected(0, cell=2, heading=5.0, width=9), selected(1, cell=1)]
    choose(tmp_path, photos, [look(0, kind="scene"), look(1)])
    second, first = pq.read_table(tmp_path / "scenic.parquet").to_pylist()
    assert (first["photo_id"], second["photo_id"]) == ("photo-0", "photo-1")
    assert set(first) == {*photos[0], "kind", "scene", "part", "row"}
    assert (first["heading"], first["width"], first["height"], first["sha256"]) == (5.0, 640, 480, f"{0:064x}")
    assert (second["part"], second["row"]) == (1, 0)


def test_of_equal_files_anywhere_the_first_by_rank_stays(tmp_path: Path) -> None:
    photos = [selected(number, lon=10.0 * number, rank=f"{9 - number}") for number in range(6)]
    looks = [look(number, sha256="same" if number < 4 else f"{number}") for number in range(6)]
    tally, kept = choose(tmp_path, photos, looks)
    assert tally.counts == {EXACT: 3}
    assert set(kept) == {"photo-3", "photo-4", "photo-5"}
    assert tally.examples == {EXACT: ["photo-2", "photo-1", "photo-0"]}


def test_a_copy_of_a_photo_left_out_for_another_reason_stays(tmp_path: Path) -> None:
    looks = [look(0, sha256="same", fault="file missing"), look(1, sha256="same")]
    _, kept = choose(tmp_path, [selected(0), selected(1)], looks)
    assert kept == ["photo-1"]


TOGETHER = {"lon": 10.1234567, "lat": 50.1234567}


@pytest.mark.parametrize(
    ("first", "second", "bits", "copy"),
    [
        ({}, {}, 4, True),  # anywhere
        ({}, {}, 6, False),
        (TOGETHER, TOGETHER, 12, True),  # one spot, author unknown
        (TOGETHER, TOGETHER, 14, False),
        (TOGETHER, TOGETHER | {"author": "a"}, 12, False),
        (
            {"author": "a", "taken_at": "2020-05-01T10:00:00"},
            {"author": "a", "taken_at": "2020-05-01T19:00:00"},
            12,
            True,
        ),
        (
            {"author": "a", "taken_at": "2020-05-01T10:00:00"},
            {"author": "a", "taken_at": "2020-05-02T10:00:00"},
            12,
            False,
        ),
        ({"author": "a", "taken_at": "2020-05-01"}, {"author": "b", "taken_at": "2020-05-01"}, 12, False),
        ({"author": "a"}, {"author": "a"}, 12, False),  # one author, another place, day unknown
        ({"taken_at": "2020-05-01T10:00:00"} | TOGETHER, {"taken_at": "2020-05-01T10:00:00"} | TOGETHER, 20, True),
        ({"taken_at": "2020-05-01T10:00:00"} | TOGETHER, {"taken_at": "2020-05-01T10:00:01"} | TOGETHER, 20, False),
        ({"taken_at": "2020-05-01T00:00:00"} | TOGETHER, {"taken_at": "2020-05-01T00:00:00"} | TOGETHER, 20, False),
    ],
)
def test_near_copies_by_what_they_share(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], bits: int, copy: bool
) -> None:
    phash = look(0)["phash"]
    photos = [selected(0, **first), selected(1, **({"lon": -70.1234567} | second))]
    tally, kept = choose(tmp_path, photos, [look(0), look(1, phash=flip(phash, bits))])
    assert kept == (["photo-0"] if copy else ["photo-0", "photo-1"])
    assert dict(tally.counts) == ({NEAR: 1} if copy else {})


@pytest.mark.parametrize(("angle", "copy"), [(10.0, True), (20.0, False)])
def test_the_teachers_cosine_confirms(tmp_path: Path, angle: float, copy: bool) -> None:
    vectors = unit_vectors(4)
    turn = np.radians(angle)
    aside = vectors[2] - vectors[2] @ vectors[0] * vectors[0]
    vectors[3] = np.cos(turn) * vectors[0] + np.sin(turn) * aside / np.linalg.norm(aside)
    looks = [look(number, phash=look(0 if number == 3 else number)["phash"]) for number in range(4)]
    _, kept = choose(tmp_path, [selected(number) for number in range(4)], looks, vectors=vectors)
    assert ("photo-3" not in kept) == copy
    assert len(kept) == 4 - copy


def test_every_pair_within_four_bits_is_found_anywhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    looks = []
    for number in range(300):
        original = look(number)["phash"]
        mask = sum(1 << int(bit) for bit in rng.choice(64, 4, replace=False))
        copied = int((np.array(original).view(np.uint64) ^ np.uint64(mask)).view(np.int64))
        looks += [look(number), look(1000 + number, phash=copied)]
    photos = [selected(n, lon=n / 7) for n in range(300)] + [selected(1000 + n, lon=-1 - n / 7) for n in range(300)]
    _, kept = choose(tmp_path, photos, looks)
    assert kept == [f"photo-{number}" for number in range(300)]


def test_of_a_chain_the_ends_stay(tmp_path: Path) -> None:
    phash = look(0)["phash"]
    looks = [look(number, phash=flip(phash, 4 * number)) for number in range(3)]
    _, kept = choose(tmp_path, [selected(number) for number in range(3)], looks)
    assert kept == ["photo-0", "photo-2"]


def test_a_thousand_equal_hashes_are_one_photo(tmp_path: Path) -> None:
    photos = [selected(number, lon=number / 40) for number in range(1000)]
    looks = [look(number, phash=0) for number in range(1000)]
    _, kept = choose(tmp_path, photos, looks)
    assert kept == ["photo-0"]


def test_near_copies_stay_where_that_is_asked(tmp_path: Path) -> None:
    looks = [look(0), look(1, phash=look(0)["phash"]), look(2, sha256=look(0)["sha256"])]
    tally, kept = choose(tmp_path, [selected(number) for number in range(3)], looks, near_duplicates=False)
    assert kept == ["photo-0", "photo-1"]
    assert tally.counts == {EXACT: 1}


def test_nothing_left_is_told(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"No photo of 1 is left after .*: 1 not a scene: food"):
        choose(tmp_path, [selected(0)], [look(0, kind="food", scene=0.0)])
    assert not (tmp_path / "scenic.parquet").exists()
