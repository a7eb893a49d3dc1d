"""Each check of one folder of shards, with its fault planted."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.audit.findings import Level
from tests.audit_inputs import (
    GSD,
    SIDE,
    Found,
    Sample,
    look,
    make_sample,
    with_pictures,
    write_split,
)

Change = Callable[[Sample], object]


def audit_with(tmp_path: Path, change: Change, *, only: int | None = 3, pictures: bool = False) -> Found:
    """24 samples in 3 shards; `change` alters number `only`, or all of them."""
    samples = [make_sample(number) for number in range(24)]
    if pictures:
        samples = [with_pictures(sample) for sample in samples]
    for sample in samples if only is None else [samples[only]]:
        change(sample)
    return look(write_split(tmp_path / "train", samples, stored=pictures), tmp_path / "work")


def set_meta(**fields: Any) -> Change:
    return lambda sample: sample.meta.update(fields)


def set_photo(**fields: Any) -> Change:
    return lambda sample: sample.meta["photos"][1].update(fields)


def drop_meta(*fields: str) -> Change:
    return lambda sample: [sample.meta.pop(field) for field in fields]


def set_member(name: str, content: bytes) -> Change:
    return lambda sample: sample.extra.update({name: content})


def cut_member(name: str) -> Change:
    return lambda sample: sample.extra.update({name: sample.members()[name][:-40]})


def set_pixels(pixels: np.ndarray) -> Change:
    return lambda sample: setattr(sample, "pixels", pixels.astype(np.uint8))


def set_vectors(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda sample: setattr(sample, "vectors", change(sample.vectors))


def black_rows(rows: int) -> Change:
    def change(sample: Sample) -> None:
        sample.pixels[:rows] = 0

    return change


@pytest.mark.parametrize("pictures", [False, True])
def test_sound_shards_have_neither_fault_nor_warning(tmp_path: Path, pictures: bool) -> None:
    found = audit_with(tmp_path, lambda sample: None, pictures=pictures)
    assert found.bad == {}
    assert len(found.audit.table.tiles) == 24
    assert len(found.audit.table.photos) == 72
    unchecked = [check.name for check in found.audit.checks if check.level is Level.UNCHECKED]
    assert unchecked == ["teacher's view"]
    assert "cannot be loaded" in found["teacher's view"].says


def no_times(sample: Sample) -> None:
    sample.meta["datetime"] = None
    for photo in sample.meta["photos"]:
        photo["taken_at"] = ""


GREY = np.repeat(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 1)), 3, axis=2)


@pytest.mark.parametrize(
    ("change", "check", "reason"),
    [
        (set_member("json", b"{"), "json", "whose json does not parse"),
        (set_member("json", b"[]"), "json", "whose json is not an object"),
        (set_member("json", b"[" * 100_000), "json", "whose json does not parse"),
        (drop_meta("tile_id"), "json", "without a tile_id"),
        (drop_meta("photos"), "json", "without a list of photos"),
        (set_meta(photos=[]), "json", "with no photo or more than 100"),
        (set_photo(id=7), "json", "with a photo without an id"),
        (set_photo(x="left"), "json", "with a photo whose x or y is not a number"),
        (set_photo(x=10**400), "json", "with a photo whose x or y is not a number"),
        (set_photo(x=float("nan")), "json", "with a photo whose x or y is not a number"),
        (set_photo(heading="north"), "json", "with a photo whose heading is not in degrees"),
        (set_photo(accuracy_m=-1), "json", "with a photo whose accuracy_m is not a length"),
        (set_photo(license=5), "json", "with a photo whose license is not text"),
        (set_meta(sensor="naip"), "json", "with another sensor than the index"),
        (set_meta(radiometry="other"), "json", "with another radiometry than the index"),
        (set_meta(nodata=3), "json", "with nodata outside 0 to 1"),
        (set_meta(cloudy=-1), "json", "with cloudy outside 0 to 1"),
        (set_meta(datetime=2020), "json", "with datetime that is not text"),
        (set_meta(gsd_m="ten"), "json", "with gsd_m that is not a number above 0"),
        (set_meta(teacher="cd" * 8), "teacher", "name another teacher than the index"),
        (drop_meta("teacher"), "teacher", "name no teacher"),
        (set_member("tile.png", b"no picture"), "Samples, tiles", "do not decode"),
        (cut_member("tile.png"), "Samples, tiles", "do not decode"),
        (set_member("tile.png", b""), "Samples, tiles", "are missing"),
        (set_pixels(np.zeros((SIDE, SIDE + 1, 3))), "Samples, tiles", "are not 32 x 32 pixels"),
        (set_pixels(np.zeros((SIDE, SIDE))), "Samples, tiles", "are not RGB but L"),
        (set_vectors(lambda v: v[:2]), "vectors", "are of another shape than [photos, 8]"),
        (set_vectors(lambda v: v * np.float16(np.nan)), "vectors", "are not finite"),
        (set_vectors(lambda v: v * np.float16(2)), "vectors", "are not of unit length"),
        (set_vectors(lambda v: v.astype(np.float32)), "vectors", "are float32, not rows of float16"),
        (set_member("ground.npy", b"\x80\x04\x95pickle"), "vectors", "are not a .npy file"),
        (cut_member("ground.npy"), "vectors", "are cut short or too long"),
        (set_photo(x=SIDE + 0.5), "positions", "lie outside their tile"),
        (set_photo(y=-0.5), "positions", "lie outside their tile"),
        (set_photo(y=1e300), "positions", "lie outside their tile"),
        (set_photo(id="train-3-0"), "ids", "tiles with the same photo twice"),
        (set_meta(crs="EPSG:1"), "georeference", "whose crs 'EPSG:1' is unknown"),
        (set_meta(transform=[1, 2, 3]), "georeference", "whose transform is not six numbers"),
        (set_meta(transform=[GSD, 0, 1e12, 0, -GSD, 1e12]), "georeference", "whose transform lies outside its crs"),
        (
            set_meta(transform=[20.0, 0, 5e5, 0, -20.0, 5.1e6]),
            "georeference",
            "whose pixels are not 10 m on the ground",
        ),
        (set_meta(gsd_m=1.0), "georeference", "with a gsd_m that is not the sensor's 10 m"),
    ],
)
def test_a_bad_sample_is_a_fault_with_its_name(tmp_path: Path, change: Change, check: str, reason: str) -> None:
    found = audit_with(tmp_path, change)[check]
    assert found.level is Level.FAULT
    assert f"{reason}: 1" in found.says
    assert any("train/shard-000000.tar, train-0003" in example for example in found.examples)
    assert found.advice


def test_examples_come_from_every_shard(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(24)]
    for number in (1, 2, 9, 17):
        set_photo(x=-1.0)(samples[number])
    found = look(write_split(tmp_path / "train", samples), tmp_path / "work")["positions"]
    assert found.says == "photos lie outside their tile: 4"
    assert [re.findall(r"train-\d{4}", example)[0] for example in found.examples] == [
        "train-0001",
        "train-0002",
        "train-0009",
    ]


def test_a_header_that_lies_about_its_size_takes_no_memory(tmp_path: Path) -> None:
    header = b"{'descr': '<f2', 'fortran_order': False, 'shape': (3, 8000000000000), }"
    lie = b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n"
    assert "are cut short or too long: 1" in audit_with(tmp_path, set_member("ground.npy", lie))["vectors"].says


def test_names_that_no_file_can_hold_are_written_all_the_same(tmp_path: Path) -> None:
    found = audit_with(tmp_path, set_photo(id="\ud800", x=-1.0, license="\ud800"))
    json.dumps([check.to_json() for check in found.audit.checks], ensure_ascii=False).encode()
    assert found["positions"].level is Level.FAULT


@pytest.mark.parametrize(
    ("change", "only", "check", "level", "says"),
    [
        (set_pixels(np.full((SIDE, SIDE, 3), 90)), 3, "constant", Level.FAULT, "1 tiles (4.17 %) are of one colour"),
        (set_pixels(GREY), 3, "bands", Level.WARNING, "4.17 % of the tiles have three equal bands"),
        (set_pixels(GREY), None, "Copies, tiles", Level.WARNING, "23 tiles (95.8 %) show the same pixels"),
        (lambda s: setattr(s, "pixels", s.pixels // 20), None, "bands", Level.WARNING, "too dark for this sensor row"),
        (lambda s: s.pixels.__setitem__((slice(8), ..., 0), 255), None, "bands", Level.WARNING, "of red is saturated"),
        (set_pixels(GREY // 8 + 223), 3, "outliers", Level.WARNING, "1 tiles (4.17 %) lie far from the rest"),
        (black_rows(5), 3, "nodata", Level.WARNING, "1 tiles (4.17 %) have more than 10% without data"),
        (set_meta(nodata=0.09), 3, "nodata", Level.WARNING, "1 tiles state another share without data"),
        (set_meta(cloudy=0.6), 3, "clouds", Level.WARNING, "1 tiles are over 20%"),
        (set_meta(datetime="June"), 3, "times", Level.WARNING, "tiles whose time is not ISO 8601: 1"),
        (set_photo(taken_at="0001-01-01T00:00:00"), 3, "times", Level.WARNING, "photos before 1900 or after 2100: 1"),
        (set_photo(license=None), 3, "licences", Level.WARNING, "1.39 % of the photos state none"),
        (drop_meta("crs"), 3, "georeference", Level.WARNING, "4.17 % of the tiles state no crs and transform"),
        (drop_meta("crs"), None, "georeference", Level.UNCHECKED, "no tile states crs and transform"),
        (set_meta(cloudy=None), None, "clouds", Level.UNCHECKED, "no json states"),
        (no_times, None, "times", Level.UNCHECKED, "tiles: no time stated; photos: no time stated"),
    ],
)
def test_what_the_tiles_show_and_say(
    tmp_path: Path, change: Change, only: int | None, check: str, level: Level, says: str
) -> None:
    found = audit_with(tmp_path, change, only=only)[check]
    assert (found.level, says in found.says) == (level, True), found.says


def test_nodata_may_be_what_the_build_allowed(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(8)]
    black_rows(5)(samples[3])
    samples[3].meta["nodata"] = 5 / SIDE
    folder = write_split(tmp_path / "train", samples, build={"settings": {"max_nodata": 0.2}})
    assert look(folder, tmp_path / "work")["nodata"].level is Level.OK


def heap(x: float, y: float) -> Change:
    return lambda sample: [photo.update(x=x, y=y) for photo in sample.meta["photos"]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (heap(SIDE / 2, SIDE / 2), "100 % of the photos lie at the centre"),
        (heap(7.31, 9.2), "100 % of the photos lie at one and the same position"),
        (
            lambda s: [p.update(x=round(p["x"]), y=round(p["y"])) for p in s.meta["photos"]],
            "positions are whole pixels",
        ),
    ],
)
def test_heaped_positions(tmp_path: Path, change: Change, says: str) -> None:
    found = audit_with(tmp_path, change, only=None)["heaps"]
    assert found.level is Level.WARNING
    assert says in found.says


def test_many_photos_at_one_place_on_earth(tmp_path: Path) -> None:
    samples = [make_sample(number, photos=3) for number in range(8)]
    samples.append(make_sample(8, photos=12))
    heap(5.5, 6.5)(samples[-1])
    found = look(write_split(tmp_path / "train", samples), tmp_path / "work")
    assert found.bad == {"Photos, crowds": "warning", "Photos, heaps": "warning"}
    assert "33.3 % of the photos share their exact coordinates" in found["crowds"].says


def test_photos_per_tile_are_told(tmp_path: Path) -> None:
    samples = [make_sample(number, photos=number + 1) for number in range(4)]
    found = look(write_split(tmp_path / "train", samples), tmp_path / "work")["per tile"]
    assert found.numbers["histogram"] == [0, 1, 1, 1, 1]
    assert found.says == "2.50 a tile, median 2.5, most 4; 25 % have one"


def test_one_photo_in_overlapping_tiles_is_no_copy_but_two_places_are_a_fault(tmp_path: Path) -> None:
    first, second, third = (make_sample(number) for number in range(3))
    for other, shift in ((second, 10.0), (third, 11.0)):
        other.meta["transform"][2] = first.meta["transform"][2] + shift * GSD
        other.meta["transform"][5] = first.meta["transform"][5]
    for sample, shift in ((first, 0.0), (second, 10.0)):
        sample.meta["photos"][0].update(id="same", x=20.0 - shift, y=8.0)
        sample.vectors[0] = first.vectors[0]
    found = look(write_split(tmp_path / "one", [first, second]), tmp_path / "work")
    assert found.bad == {}
    assert "at most in 2" in found["ids"].says
    assert "100 % of the tiles overlap another one" in found["overlaps"].says
    third.meta["photos"][0].update(id="same", x=20.0, y=8.0)
    found = look(write_split(tmp_path / "two", [first, second, third]), tmp_path / "work2")
    assert found["ids"].level is Level.FAULT
    assert "ids that stand at two places on Earth: 1" in found["ids"].says
    assert "photo same" in found["ids"].examples[0]


def test_copies_of_a_photo_under_other_ids(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(8)]
    samples[5].vectors[1] = samples[2].vectors[0]
    found = look(write_split(tmp_path / "train", samples), tmp_path / "work")["Copies, photos"]
    assert found.level is Level.WARNING
    assert found.examples == ["train/train-0002, photo train-2-0 = train/train-0005, photo train-5-1"]


def test_the_same_ground_twice(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(8)]
    samples[5].meta["transform"] = samples[2].meta["transform"]
    found = look(write_split(tmp_path / "train", samples), tmp_path / "work")["overlaps"]
    assert found.level is Level.WARNING
    assert "25 % lie on the same ground" in found.says


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (lambda s: s.pictures.pop(), "pictures", "samples with more or fewer pictures than photos: 1"),
        (lambda s: s.pictures.__setitem__(1, b"\xff\xd8 no"), "pictures", "pictures that do not decode: 1"),
        (lambda s: s.pictures.__setitem__(1, s.pictures[1][:-200]), "pictures", "pictures that do not decode: 1"),
        (
            lambda s: (s.pictures.clear(), with_pictures(s, comment=b"by me")),
            "privacy",
            "pictures that carry metadata: 3",
        ),
    ],
)
def test_stored_photos(tmp_path: Path, change: Change, check: str, says: str) -> None:
    found = audit_with(tmp_path, change, pictures=True)[check]
    assert found.level is Level.FAULT
    assert says in found.says


def test_small_stored_photos(tmp_path: Path) -> None:
    found = audit_with(tmp_path, lambda s: (s.pictures.clear(), with_pictures(s, (20, 16))), pictures=True)["sizes"]
    assert found.level is Level.WARNING
    assert "3 stored photos have a short side below half of the usual 40 px" in found.says


def test_a_sample_of_the_samples_is_drawn_by_key(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(64)]
    folder = write_split(tmp_path / "train", samples)
    half = [look(folder, tmp_path / f"work{n}", sample=0.5) for n in range(2)]
    seen = [found.audit.notes.decoded for found in half]
    assert seen[0] == seen[1]
    assert 16 < seen[0] < 48
    assert len(half[0].audit.table.tiles) == 64
    for name in ("Samples, tiles", "vectors", "constant", "outliers", "Copies, photos", "Copies, tiles"):
        assert half[0][name].says.endswith("(of a sample of 50 %)")
    for name in ("bytes", "json", "positions"):
        assert "of a sample" not in half[0][name].says


def test_a_sample_without_a_single_sample_checks_nothing_that_needs_decoding(tmp_path: Path) -> None:
    samples = [with_pictures(make_sample(number)) for number in range(8)]
    samples[5].pixels = samples[2].pixels
    found = look(write_split(tmp_path / "train", samples, stored=True), tmp_path / "work", sample=1e-9)
    unchecked = {f"{check.group}, {check.name}" for check in found.audit.checks if check.level is Level.UNCHECKED}
    assert unchecked == {
        *(f"Samples, {name}" for name in ("tiles", "pictures", "privacy", "vectors")),
        *(f"Pixels, {name}" for name in ("bands", "nodata", "constant")),
        "Photos, teacher's view",
        "Copies, photos",
        "Copies, tiles",
    }


def test_shares_are_of_what_was_decoded(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(64)]
    for sample in samples:
        set_pixels(GREY)(sample)
    found = look(write_split(tmp_path / "train", samples), tmp_path / "work", sample=0.25)
    decoded = found.audit.notes.decoded
    assert 0 < decoded < 32
    assert found["Copies, tiles"].says.startswith(f"{decoded - 1:,} tiles ({100 * (decoded - 1) / decoded:.3g} %)")
