"""The embedded world through the configuration of a real archive: what was planted in it must not reach the shards."""

import csv
import itertools
import json
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest

from graft.atlas import DEMO, build_world
from graft.atlas.teacher import train_teacher
from graft.cli import main
from graft.select.settings import Splits
from graft.select.splits import split_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[1]
SIDE = 64
SPLITS = Splits({"train": 0.7, "val": 0.3}, cell_km=5.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("atlas")
    build_world(root / "world", sensor="sentinel", seed=5, size=replace(DEMO, train=8, val=1, test=1))
    train_teacher(root / "world", root / "teacher", seed=5)
    main(["photos", str(root / "world" / "photos.csv"), "--format=table", f"--out={root / 'photos.parquet'}"])
    return root


@pytest.fixture(scope="module")
def built(world: Path) -> Path:
    """Shards of the real configuration: only places, the teacher, the size of a tile and the splits are the atlas's."""
    main(
        [
            "prepare",
            str(ROOT / "configs" / "prepare" / "sentinel.yaml"),
            str(ROOT / "configs" / "prepare" / "atlas.yaml"),
            f"--photos={world / 'photos.parquet'}",
            f"--imagery.scenes=[{world / 'world' / 'scenes'}]",
            f"--teacher.architecture=local-dir:{world / 'teacher'}",
            f"--splits.shares={json.dumps(SPLITS.shares)}",
            f"--splits.cell_km={SPLITS.cell_km}",
            f"--out={world / 'shards'}",
        ]
    )
    return world / "shards"


@pytest.fixture(scope="module")
def samples(built: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(built.glob("*/*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.endswith(".json"):
                    file = archive.extractfile(member)
                    assert file is not None
                    found.append(json.load(file))
    return found


@pytest.fixture(scope="module")
def truth(world: Path) -> dict[str, dict[str, str]]:
    with (world / "world" / "truth.csv").open(newline="") as file:
        return {row["photo_id"]: row for row in csv.DictReader(file)}


def test_irrelevant_photos_go_and_good_ones_stay(
    samples: list[dict[str, Any]], truth: dict[str, dict[str, str]], world: Path
) -> None:
    kept = {photo["id"] for sample in samples for photo in sample["photos"]}
    planted = [row["photo_id"] for row in truth.values() if row["kind"] != "good"]
    assert len(planted) > 400
    assert sum(name not in kept for name in planted) >= 0.95 * len(planted)
    copied = {row["copy_of"] for row in truth.values()}
    good = [
        row["photo_id"]
        for row in truth.values()
        if row["kind"] == "good" and not row["copy_of"] and not row["fault"] and row["photo_id"] not in copied
    ]
    with_tile = inside_tiles(world / "world" / "photos.csv", samples)
    expected = [name for name in good if name in with_tile]
    assert len(expected) > 2000
    assert sum(name in kept for name in expected) >= 0.95 * len(expected)


def inside_tiles(table: Path, samples: list[dict[str, Any]]) -> set[str]:
    """Photos of a split whose position lies in a tile: nothing but a filter can have kept them out of it."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["lon"]]
    lon, lat = (np.array([float(row[name]) for row in rows]) for name in ("lon", "lat"))
    split = split_of(lon, lat, SPLITS, seed=0, buffer_m=SIDE * 10 * 2**0.5)
    rows = [row for row, name in zip(rows, split, strict=True) if name]  # the others are in the buffer between splits
    to_metres = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32633", always_xy=True)
    east, north = to_metres.transform([float(row["lon"]) for row in rows], [float(row["lat"]) for row in rows])
    west = np.array([sample["transform"][2] for sample in samples])
    top = np.array([sample["transform"][5] for sample in samples])
    found = set()
    for row, x, y in zip(rows, east, north, strict=True):
        if ((x > west + 1) & (x < west + SIDE * 10 - 1) & (y < top - 1) & (y > top - SIDE * 10 + 1)).any():
            found.add(row["photo_id"])
    return found


def test_no_copy_is_left(samples: list[dict[str, Any]], truth: dict[str, dict[str, str]]) -> None:
    groups = defaultdict(set)
    for sample in samples:
        for photo in sample["photos"]:
            groups[truth[photo["id"]]["copy_of"] or photo["id"]].add(photo["id"])
    assert sum(bool(row["copy_of"]) for row in truth.values()) > 200
    assert [names for names in groups.values() if len(names) > 1] == []


def test_no_tile_overlaps_another_and_no_split_leaks(samples: list[dict[str, Any]]) -> None:
    boxes = defaultdict(list)
    for sample in samples:
        boxes[sample["split"]].append((sample["transform"][2], sample["transform"][5]))
    assert min(len(boxes[split]) for split in ("train", "val")) > 50
    corners = np.array(list(itertools.chain(*boxes.values())))
    apart = np.abs(corners[:, None] - corners[None]).max(axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= (SIDE - 1) * 10
    ids = {split: {p["id"] for s in samples if s["split"] == split for p in s["photos"]} for split in boxes}
    assert not ids["train"] & ids["val"]


def test_faulty_rows_do_not_reach_the_shards(samples: list[dict[str, Any]], truth: dict[str, dict[str, str]]) -> None:
    kept = {photo["id"] for sample in samples for photo in sample["photos"]}
    for fault in ("centre", "rounded", "zero", "swapped", "empty"):
        assert not [row for row in truth.values() if row["fault"] == fault and row["photo_id"] in kept], fault


def test_a_scene_of_another_baseline_gives_the_same_radiometry(samples: list[dict[str, Any]]) -> None:
    offsets = {sample["offset"] for sample in samples}
    assert offsets == {0.0, -1000.0}


def test_the_audit_finds_no_fault(built: Path) -> None:
    main(["audit", str(built), f"--out={built.parent / 'audit.html'}"])
    assert (built.parent / "audit.html").is_file()
