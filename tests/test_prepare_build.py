import csv
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import distributed
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from graft.errors import GraftError
from graft.imagery.settings import ImagerySettings
from graft.photos.schema import PhotoTableWriter
from graft.prepare import build, prepare
from graft.prepare.settings import ClusterSettings, ShardSettings, TeacherSettings, TileSettings
from graft.prepare.summary import Summary
from graft.select.settings import ContentFilters, MetadataFilters, Splits, Thinning
from graft.shards import ShardIndex, ShardReader
from graft.teacher import Teacher
from tests.prepare_inputs import photo_at, write_photo, write_scene

STORED: dict[str, Any] = {"shards": ShardSettings(photos=True, samples=100)}


def write_photos(folder: Path, rows: list[dict[str, Any]]) -> Path:
    table = folder / "photos.parquet"
    with PhotoTableWriter(table) as writer:
        for row in rows:
            writer.add(row | {"path": str(folder / str(row["path"]))})
    return table


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of 4 x 4 tiles of 16 px, the second 640 m further east, the first with a corner of nodata."""
    root = tmp_path_factory.mktemp("world")
    stored = np.random.default_rng(0).integers(300, 3000, (4, 64, 64)).astype(np.uint16)
    stored[:, :16, :16] = 0
    write_scene(root / "scenes" / "A.tif", stored)
    write_scene(root / "scenes" / "B.tif", west=500_640.0)
    folder = root / "photos"
    rows = [
        photo_at(folder, f"in{n}", 18.0 + 5 * n, 20.5, seed=n, license="CC0-1.0", author="ann", taken_at="2020-01-02")
        for n in range(20)
    ]
    rows += [photo_at(folder, f"many{n}", 34.5, 34.5 + n / 10, seed=100 + n) for n in range(6)]
    rows += [photo_at(folder, "nodata", 3, 3, seed=200), photo_at(folder, "far", 500, 3, seed=201)]
    rows += [photo_at(folder, "broken", 60, 60, seed=202), photo_at(folder, "copy", 100, 60, seed=1)]
    (folder / "broken.jpg").write_bytes((folder / "broken.jpg").read_bytes()[:400])
    rows += [{**rows[0], "photo_id": "gone", "path": "gone.jpg"}]
    write_photos(folder, rows)
    return root


def run(world: Path, out: Path, architecture: str | None, **changes: Any) -> Summary:
    settings: dict[str, Any] = {
        "photos": world / "photos" / "photos.parquet",
        "imagery": ImagerySettings(scenes=[world / "scenes"]),
        "sensor": "sentinel",
        "out": out,
        "teacher": None if architecture is None else TeacherSettings(architecture),
        "filters": MetadataFilters(min_side=16),
        "content": ContentFilters(min_scene=0, min_colour=0, near_duplicates=False),
        "tiles": TileSettings(size=16, max_photos=4),
        "shards": ShardSettings(samples=5),
        "cluster": ClusterSettings(workers=1),
    }
    summary = prepare(**(settings | changes))
    assert summary is not None
    return summary


def members(out: Path, split: str = "train") -> dict[str, bytes]:
    content = {}
    for path in sorted((out / split).glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                content[member.name] = file.read()
    return content


def everything(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def built(world: Path, architecture: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("built") / "shards"
    return out, run(world, out, architecture)


def test_every_photo_is_accounted_for(built: tuple[Path, Summary]) -> None:
    out, summary = built
    reasons = {reason: n for tally in summary.left_out.values() for reason, n in tally.counts.items()}
    assert reasons["in no image"] == 1, "far"
    assert reasons["more than 10% without data"] == 1, "the tile of nodata"
    assert reasons["in no tile that was kept, or past tiles.max_photos"] == 1 + 2, "nodata, two of many"
    assert any("decode" in reason for reason in reasons), "broken"
    assert any("copy" in reason or "same file" in reason for reason in reasons), "copy"
    dropped = sum(tally.total for stage, tally in summary.left_out.items() if stage != "tiles")
    assert summary.listed == 31 == summary.written + dropped
    counts = json.loads((out / "prepare.json").read_text())
    assert counts["photos"]["written"] == summary.written == len(set(ids(out)))
    assert not (out / ".building").exists()


def ids(out: Path) -> list[str]:
    return [
        photo["id"]
        for name, content in members(out).items()
        if name.endswith(".json")
        for photo in json.loads(content)["photos"]
    ]


def test_a_sample_holds_place_and_photos(built: tuple[Path, Summary]) -> None:
    out, _ = built
    sample = json.loads(members(out)["a-r00016-c00016.json"])
    assert {photo["id"] for photo in sample["photos"]} == {"in0", "in1", "in2"}
    (first,) = (photo for photo in sample["photos"] if photo["id"] == "in0")
    assert (first["x"], first["y"]) == pytest.approx((2.0, 4.5), abs=1e-3)
    assert (first["license"], first["taken_at"]) == ("CC0-1.0", "2020-01-02")
    assert sample["transform"] == [10.0, 0.0, 500_160.0, 0.0, -10.0, 4_999_840.0]
    assert (sample["crs"], sample["gsd_m"], sample["split"]) == ("EPSG:32633", 10.0, "train")
    assert (sample["nodata"], sample["cloudy"], sample["offset"]) == (0.0, None, 0.0)
    assert (sample["item"], sample["datetime"]) == ("product of A", "2020-06-01T10:00:00")


def test_vectors_belong_to_their_photos(built: tuple[Path, Summary], world: Path, teacher: Teacher) -> None:
    out, _ = built
    content = members(out)
    for name in [name for name in content if name.endswith(".npy")]:
        vectors = torch.from_numpy(np.load(io.BytesIO(content[name]))).float()
        photos = json.loads(content[name.replace("ground.npy", "json")])["photos"]
        pictures = [Image.open(world / "photos" / f"{photo['id']}.jpg") for photo in photos]
        expected = teacher.encode_image(torch.stack([teacher.preprocess_photo(picture) for picture in pictures]))
        assert torch.allclose(vectors, expected, atol=2e-3)


def test_graft_reads_what_it_writes(built: tuple[Path, Summary]) -> None:
    out, summary = built
    index = ShardIndex.load(out / "train")
    reader = ShardReader(index)
    photos = 0
    for shard, count in enumerate(index.samples):
        for number in range(count):
            sample = reader.read(shard, number)
            assert sample.ground is not None
            photos += len(sample.meta["photos"])
    assert photos == summary.splits["train"]["photos"]
    assert summary.splits["train"]["samples"] == sum(index.samples)


def test_the_credits_name_every_photo_once(built: tuple[Path, Summary]) -> None:
    out, _ = built
    with (out / "ATTRIBUTION.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["photo_id"] for row in rows] == sorted(set(ids(out)))
    assert {row["author"] for row in rows if row["photo_id"].startswith("in")} == {"ann"}


def test_same_inputs_same_bytes_on_one_process_and_on_two(
    world: Path, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "PHOTOS_IN_PART", 7)
    monkeypatch.setattr(build, "TILES_IN_PART", 3)
    run(world, tmp_path / "one", architecture)
    run(world, tmp_path / "two", architecture, cluster=ClusterSettings(workers=2))
    assert everything(tmp_path / "one") == everything(tmp_path / "two")
    assert {name for name in everything(tmp_path / "one") if name.endswith(".tar")}


@pytest.mark.slow
def test_a_running_scheduler_does_the_work_and_goes_on_running(
    world: Path, architecture: str, built: tuple[Path, Summary], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**settings) as cluster:
        address = ClusterSettings(address=cluster.scheduler_address)
        for out in ("one", "two"):
            run(world, tmp_path / out, architecture, cluster=address)
    assert everything(tmp_path / "one") == everything(tmp_path / "two") == everything(built[0])


def test_slurm_is_asked_for_only_where_it_is(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    slurm = ClusterSettings(workers=2, slurm={"cores": 1, "memory": "1GB"})
    with pytest.raises(GraftError, match="needs sbatch"):
        run(world, tmp_path / "out", None, cluster=slurm, **STORED)
    with pytest.raises(GraftError, match=r"cluster.slurm needs cluster.workers"):
        ClusterSettings(slurm={"cores": 1})


def test_overlapping_tiles_only_on_demand(world: Path, tmp_path: Path) -> None:
    stored = {"shards": ShardSettings(photos=True, samples=100)}
    run(world, tmp_path / "apart", None, **stored)
    run(world, tmp_path / "over", None, tiles=TileSettings(size=16, spacing=0.5), **stored)
    assert len(ids(tmp_path / "over")) > 2 * len(ids(tmp_path / "apart"))
    assert len(set(ids(tmp_path / "apart"))) == len(ids(tmp_path / "apart"))


def test_stored_photos_are_bare_and_small(tmp_path: Path) -> None:
    write_scene(tmp_path / "scenes" / "A.tif")
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Jane Roe"
    exif[ExifTags.Base.Orientation] = 6
    row = photo_at(tmp_path / "photos", "p", 20, 20)
    write_photo(tmp_path / "photos" / "p.jpg", size=(640, 480), exif=exif)
    with Image.open(tmp_path / "photos" / "p.jpg") as image:
        image.save(tmp_path / "photos" / "p.jpg", comment=b"call 555-0100", exif=exif)
    write_photos(tmp_path / "photos", [row])
    run(tmp_path, tmp_path / "out", None, shards=ShardSettings(photos=True))
    (content,) = (value for name, value in members(tmp_path / "out").items() if name.endswith(".jpg"))
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (224, 299)
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert b"555-0100" not in content


def test_splits_share_no_photo_and_no_ground(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_scene(tmp_path / "scenes" / "A.tif", rng.integers(300, 3000, (4, 600, 600)).astype(np.uint16))
    rows = [photo_at(tmp_path / "photos", f"p{n}", *rng.uniform(0, 600, 2), seed=n) for n in range(300)]
    write_photos(tmp_path / "photos", rows)
    splits = Splits({"train": 0.5, "val": 0.5}, cell_km=1.0)
    run(tmp_path, tmp_path / "out", None, splits=splits, shards=ShardSettings(photos=True))
    boxes = {}
    for split in ("train", "val"):
        content = members(tmp_path / "out", split)
        samples = [json.loads(value) for name, value in content.items() if name.endswith(".json")]
        assert len(samples) > 10
        assert {sample["split"] for sample in samples} == {split}
        boxes[split] = np.array([(sample["transform"][2], sample["transform"][5]) for sample in samples])
    apart = np.abs(boxes["train"][:, None] - boxes["val"][None]).max(axis=-1)
    assert apart.min() >= 160, "no pixel of one split's ground in the other's"
    assert json.loads((tmp_path / "out" / "val" / "index.json").read_text())["split"] == "val"


def test_the_plan_alone_opens_no_photo(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "photos"
    copy.mkdir()
    shutil.copy(world / "photos" / "photos.parquet", copy)
    shutil.copytree(world / "scenes", tmp_path / "scenes")
    prepare(
        photos=copy / "photos.parquet",
        imagery=ImagerySettings(scenes=[tmp_path / "scenes"]),
        sensor="sentinel",
        out=tmp_path / "out",
        tiles=TileSettings(size=16),
        shards=ShardSettings(photos=True),
        plan=True,
    )
    told = capsys.readouterr().out
    assert "31 in the table" in told
    assert "images  2" in told
    assert "disk    at most" in told
    assert not list((tmp_path / "out").rglob("looks"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shards": ShardSettings()}, "Nothing of the photos would be kept"),
        ({"photos": Path("/nowhere.parquet")}, "No photo table at /nowhere.parquet"),
        ({"sensor": "landsat"}, "Unknown sensor"),
        ({"tiles": TileSettings(size=300)}, "lies in a tile"),
        ({"filters": MetadataFilters(licenses=["CC-BY"])}, "license not allowed"),
        ({"filters": MetadataFilters(takedown=Path("nope.txt"))}, "No file or folder at nope.txt"),
        ({"memory": "lots"}, "memory is 'lots'"),
    ],
)
def test_prepare_refuses(world: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(GraftError, match=message):
        run(world, tmp_path / "out", None, **({"shards": ShardSettings(photos=True)} | changes))
    assert not list((tmp_path / "out").glob("*/*.tar"))


def test_a_folder_that_a_database_would_take_for_a_pattern_is_refused(world: Path, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"shards\[1\] holds .* which databases read as a pattern"):
        run(world, tmp_path / "shards[1]", None, **STORED)
    assert not (tmp_path / "shards[1]").exists()


def test_shards_that_are_there_are_replaced_only_on_demand(world: Path, tmp_path: Path) -> None:
    run(world, tmp_path / "out", None, shards=ShardSettings(photos=True, samples=2))
    before = everything(tmp_path / "out")
    with pytest.raises(GraftError, match="already holds shards"):
        run(world, tmp_path / "out", None, shards=ShardSettings(photos=True))
    assert everything(tmp_path / "out") == before
    run(world, tmp_path / "out", None, shards=ShardSettings(photos=True, samples=100), overwrite=True)
    assert len(list((tmp_path / "out" / "train").glob("*.tar"))) == 1


def test_thinning_and_caps_reach_the_shards(world: Path, tmp_path: Path) -> None:
    summary = run(
        world, tmp_path / "out", None, shards=ShardSettings(photos=True), thinning=Thinning(max_per_author_cell=3)
    )
    assert sum(name.startswith("in") for name in ids(tmp_path / "out")) <= 2 * 3
    assert summary.left_out["by caps and thinning"].total > 0
