import io
import json
import random
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from graft.errors import GraftError
from graft.prepare import prepare
from graft.prepare.build import build_shards
from graft.prepare.photos import read_photos
from graft.prepare.plan import Settings, make_plan
from graft.prepare.scenes import open_scenes
from graft.prepare.summary import Summary
from graft.prepare.tally import Tally
from graft.prepare.vectors import EncodedPhotos
from graft.sensors import get_sensor
from graft.shards import ShardIndex, ShardReader
from tests.prepare_inputs import ColourTeacher, photo_at, write_photo, write_scene, write_table


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Two scenes of 4 x 4 tiles, the second 640 m further east, the first with a corner tile of nodata."""
    stored = np.random.default_rng(0).integers(300, 3000, (4, 64, 64)).astype(np.uint16)
    stored[:, :16, :16] = 0
    write_scene(tmp_path / "scenes" / "A.tif", stored)
    write_scene(tmp_path / "scenes" / "B.tif", west=500_640.0)
    folder = tmp_path / "photos"
    rows = [photo_at(folder, f"in{n}", 18.0 + 5 * n, 20.5, seed=n, heading="", license="CC0") for n in range(20)]
    rows += [photo_at(folder, f"many{n}", 34.5, 34.5 + n / 10, seed=100 + n) for n in range(6)]
    rows += [photo_at(folder, "nodata", 3, 3), photo_at(folder, "far", 500, 3), photo_at(folder, "broken", 60, 60)]
    rows += [photo_at(folder, "copy", 100, 60, seed=1)]
    (folder / "broken.jpg").write_bytes((folder / "broken.jpg").read_bytes()[:400])
    rows += [{**rows[0], "photo_id": "gone", "path": "gone.jpg"}]
    write_table(folder / "photos.csv", [{"heading": "", "license": ""} | row for row in rows])
    return tmp_path


def run(
    world: Path, out: Path, *, store: bool = False, teacher: ColourTeacher | None = None, **changes: float | None
) -> Summary:
    settings = {"tile_size": 16, "stride": 16, "max_photos": 4, "max_nodata": 0.1, "seed": 0, "limit": None}
    sensor = get_sensor("sentinel")
    plan = make_plan(
        read_photos(world / "photos" / "photos.csv"),
        open_scenes(world / "scenes", sensor),
        sensor,
        Settings(**(settings | changes)),  # type: ignore[arg-type]
    )
    return build_shards(plan, out, teacher=teacher, store_photos=store, samples_per_shard=5, overwrite=False)


def members(out: Path) -> dict[str, bytes]:
    content = {}
    for file in sorted(out.glob("*.tar")):
        with tarfile.open(file) as archive:
            for member in archive:
                data = archive.extractfile(member)
                assert data is not None
                content[member.name] = data.read()
    return content


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(content) for name, content in members(out).items() if name.endswith(".json")]


def test_every_tile_and_photo_is_accounted_for(world: Path) -> None:
    summary = run(world, world / "out", teacher=ColourTeacher())
    assert summary.skipped_tiles.counts == {
        "without a photo": 32 - 11,
        "more than 10% without data": 1,
        "none of its photos decodes": 1,
    }
    assert summary.skipped_photos.counts == {
        "file missing": 1,
        "outside every tile": 1,
        "past --max-photos in every tile": 2,
        "only in tiles left out": 1,
        "photo does not decode: OSError": 1,
    }
    index = json.loads((world / "out" / "index.json").read_text())
    tiles, photos = index["build"]["tiles"], index["build"]["photos"]
    assert tiles["in_grid"] == summary.samples + sum(tiles["skipped"].values()) == 32
    assert photos["listed"] == photos["written"] + sum(photos["skipped"].values()) == 31
    assert photos["written"] == summary.distinct_photos == summary.photos
    text = "\n".join(summary.lines())
    assert "photo does not decode: OSError (broken)" in text
    assert "more than 10% without data (a-r00000-c00000)" in text


def test_sample_holds_place_and_photos(world: Path) -> None:
    run(world, world / "out", teacher=ColourTeacher())
    record = next(record for record in records(world / "out") if record["tile_id"] == "b-r00016-c00000")
    assert record["transform"] == [10.0, 0.0, 500_640.0, 0.0, -10.0, 5_000_000.0 - 160]
    assert (record["crs"], record["gsd_m"], record["sensor"]) == ("EPSG:32633", 10.0, "sentinel")
    assert (record["datetime"], record["item"]) == ("2020-06-01T10:00:00", "product of B")
    shifted = next(record for record in records(world / "out") if record["tile_id"] == "a-r00032-c00032")
    assert shifted["transform"] == [10.0, 0.0, 500_320.0, 0.0, -10.0, 5_000_000.0 - 320]
    places = {photo["id"]: (photo["x"], photo["y"]) for photo in record["photos"]}
    assert places["in10"] == pytest.approx((18 + 50 - 64, 4.5), abs=1e-3)
    assert record["photos"][0]["license"] == "CC0"
    assert record["photos"][0]["source"] is None
    assert record["photos"][0]["heading"] is None


def test_vectors_belong_to_their_photos(world: Path) -> None:
    teacher = ColourTeacher()
    run(world, world / "out", teacher=teacher)
    assert teacher.shown == 20 + 4 + 1 - 1  # in*, many*, copy; copy's file is that of in1
    content = members(world / "out")
    checked = 0
    for record in records(world / "out"):
        ground = np.load(io.BytesIO(content[record["tile_id"] + ".ground.npy"]))
        for vector, photo in zip(ground, record["photos"], strict=True):
            with Image.open(world / "photos" / f"{photo['id']}.jpg") as image:
                alone = teacher.encode_image(teacher.preprocess_photo(image)[None])[0]
            assert vector == pytest.approx(alone.numpy(), abs=1e-3)
            checked += 1
    assert checked == 25


def test_many_photos_in_batches(tmp_path: Path) -> None:
    teacher = ColourTeacher()
    paths = [str(write_photo(tmp_path / f"{number}.jpg", number)) for number in range(150)]
    encoded = EncodedPhotos(tmp_path, teacher, True, 200)
    encoded.encode(range(10, 160), paths, paths)
    ground = encoded.ground(range(10, 160))
    assert ground is not None
    for path, vector in zip(paths, ground, strict=True):
        with Image.open(path) as image:
            alone = teacher.encode_image(teacher.preprocess_photo(image)[None])[0]
        assert vector == pytest.approx(alone.numpy(), abs=1e-3)
    assert len(set(encoded.jpegs(range(10, 160)))) == 150
    assert [encoded.decodes(number) for number in (9, 10, 159, 160)] == [False, True, True, False]


def test_same_input_same_bytes(world: Path) -> None:
    run(world, world / "one", teacher=ColourTeacher(), store=True)
    table = world / "photos" / "photos.csv"
    header, *rows = table.read_text().splitlines()
    random.Random(0).shuffle(rows)
    table.write_text("\n".join([header, *rows]))
    run(world, world / "two", teacher=ColourTeacher(), store=True)
    run(world, world / "three", teacher=ColourTeacher(), store=True, seed=1)
    one, two, three = (
        {file.name: file.read_bytes() for file in (world / name).iterdir()} for name in ("one", "two", "three")
    )
    assert one == two
    assert one.keys() == three.keys()
    assert all(one[name] != three[name] for name in one)


def test_shards_mix_scenes(world: Path) -> None:
    run(world, world / "out", teacher=ColourTeacher())
    scenes = [record["tile_id"][0] for record in records(world / "out")]
    assert Counter(scenes) == {"a": 4, "b": 5}
    assert scenes != sorted(scenes)
    assert set(scenes[:5]) == {"a", "b"}


def test_stored_photos_are_bare_and_small(world: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (1.0, 2.0, 3.0)
    write_photo(world / "photos" / "in0.jpg", size=(900, 600), exif=exif)
    run(world, world / "out", store=True)
    content = members(world / "out")
    assert not any(name.endswith("ground.npy") for name in content)
    record = next(record for record in records(world / "out") if "in0" in [photo["id"] for photo in record["photos"]])
    assert record["teacher"] is None
    number = [photo["id"] for photo in record["photos"]].index("in0")
    for name, jpeg in content.items():
        if name.endswith(".jpg"):
            assert b"Exif" not in jpeg
            with Image.open(io.BytesIO(jpeg)) as image:
                assert not image.getexif()
                upright = name == f"{record['tile_id']}.ground{number:02d}.jpg"
                assert image.size == ((224, 336) if upright else (48, 32))


def test_tally_names_the_first_few() -> None:
    tally = Tally()
    for number in range(5):
        tally.add("odd", f"n{number}")
    tally.add("never", number=0)
    assert list(tally.lines()) == ["         5  odd (n0, n1, n2, …)"]


def test_graft_reads_what_it_writes(world: Path) -> None:
    run(world, world / "out", teacher=ColourTeacher(), store=True)
    index = ShardIndex.load(world / "out")
    assert (index.sensor, index.tile_size, index.samples) == ("sentinel", 16, (5, 4))
    reader = ShardReader(index)
    for shard, samples in enumerate(index.samples):
        for number in range(samples):
            sample = reader.read(shard, number)
            assert sample.tile.shape == (3, 16, 16)
            assert sample.ground is not None
            assert len(sample.ground) == len(sample.photos) == len(sample.meta["photos"])


def test_limit(world: Path) -> None:
    summary = run(world, world / "out", teacher=ColourTeacher(), limit=3)
    assert summary.skipped_tiles.counts["beyond --limit"] == 8
    assert summary.samples <= 3


def test_nothing_left_to_write(world: Path) -> None:
    with pytest.raises(GraftError, match="No tile is left to write"):
        run(world, world / "out", teacher=ColourTeacher(), max_nodata=-1.0)
    assert list((world / "out").iterdir()) == []


def test_photos_elsewhere_and_scenes_too_small(world: Path) -> None:
    with pytest.raises(GraftError, match=r"All 2 scenes are smaller than a tile of 100 pixels"):
        run(world, world / "out", tile_size=100)
    write_table(world / "photos" / "photos.csv", [photo_at(world / "photos", "x", 5000, 5000)])
    with pytest.raises(GraftError, match=r"None of 1 photos lies in any of 32 tiles .* not swapped"):
        run(world, world / "out")


def test_prepare_from_python(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = prepare(
        photos=world / "photos" / "photos.csv",
        scenes=[world / "scenes" / "A.tif", world / "scenes" / "B.tif"],
        sensor="sentinel",
        out=world / "out",
        store_photos=True,
        tile_size=16,
    )
    assert summary.samples == 9
    printed = capsys.readouterr().out
    assert "photos  30 usable of 31; 29 inside a tile" in printed
    assert "tiles   32 of 16 px; 11 with a photo; 11 to read" in printed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"store_photos": False}, "Nothing of the photos would be kept"),
        ({"teacher": "ViT-B-32"}, "add --teacher-weights"),
        ({"sensor": "landsat"}, "Unknown sensor 'landsat'"),
        ({"stride": 0}, "--stride is 0; it must be at least 1"),
        ({"max_nodata": 1.5}, "--max-nodata is 1.5; it must be between 0 and 1"),
        ({"max_photos": 101}, "--max-photos is 101; it must be between 1 and 100"),
        ({"limit": 0}, "--limit is 0"),
    ],
)
def test_prepare_refuses(world: Path, changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "photos": world / "photos" / "photos.csv",
        "scenes": world / "scenes",
        "sensor": "sentinel",
    }
    with pytest.raises(GraftError, match=message):
        prepare(**(given | {"out": world / "out", "store_photos": True} | changes))
    assert not (world / "out").exists()
