"""Questions of the embedded world: RSVQA's own layout and words, and answers that count of pixels confirm."""

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
from scipy import ndimage
from scipy.spatial import cKDTree

from graft.atlas import TINY, build_world
from graft.atlas.classes import IDS
from graft.atlas.questions import (
    CONCEPTS,
    LAYOUTS,
    LEAST,
    NUMBERS,
    Asked,
    Land,
    ask,
    pieces_of,
    write_lists,
)
from graft.atlas.sizes import Region
from graft.sensors import get_sensor

SIZES = {"small": (0, 100), "medium": (100, 500), "large": (500, np.inf)}


@pytest.fixture(scope="module", params=["sentinel", "naip"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("questions") / request.param
    build_world(out, sensor=request.param, seed=5, size=TINY, workers=1)
    return out


def entries(world: Path, folder: str, split: str, name: str) -> list[dict[str, Any]]:
    root = world / "benchmarks" / folder / "vqa"
    return json.loads((root / f"{LAYOUTS[world.name][0]}_split_{split}_{name}.json").read_text())[name]


def piece(cover: np.ndarray, sensor: str = "naip") -> Land:
    return Land(cover.astype(np.uint8), Region(1, get_sensor(sensor), "val", 0, len(cover)))


class Part(NamedTuple):
    area: float
    rows: slice
    columns: slice
    corners: cKDTree


def parts(cover: np.ndarray, concept: str, metres: float) -> list[Part]:
    """Area in square metres, box and corners of pixels of every connected part that is no sliver."""
    labels, _ = ndimage.label(np.isin(cover, [IDS.index(name) for name in CONCEPTS[concept]]))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        places = np.argwhere(labels == number)
        if len(places) >= LEAST:
            corners = np.concatenate([places + corner for corner in ((0, 0), (0, 1), (1, 0), (1, 1))])
            found.append(Part(len(places) * metres**2, rows, columns, cKDTree(corners)))
    return found


def apart(one: Part, other: Part) -> float:
    return float(one.corners.query(other.corners.data)[0].min())


def counted(cover: np.ndarray, words: str, metres: float) -> list[Part]:
    """What a phrase means, from its words and the pixels alone."""
    relation = re.search(r" (at the top of|on the right of|at the bottom of|on the left of|next to) (?:the|a) ", words)
    if relation:
        others = counted(cover, words[relation.end() :], metres)
        one_of = counted(cover, words[: relation.start()], metres)
        compare = {
            "at the top of": lambda a, b: 2 * a.rows.stop < b.rows.start + b.rows.stop,
            "at the bottom of": lambda a, b: 2 * a.rows.start > b.rows.start + b.rows.stop,
            "on the left of": lambda a, b: 2 * a.columns.stop < b.columns.start + b.columns.stop,
            "on the right of": lambda a, b: 2 * a.columns.start > b.columns.start + b.columns.stop,
            "next to": lambda a, b: apart(a, b) * metres < 1000,
        }[relation[1]]
        return [one for one in one_of if any(compare(one, other) for other in others)]
    size, _, rest = words.strip().partition(" ")
    lowest, highest = SIZES.get(size, (0, np.inf))
    noun = (rest if size in SIZES else words).strip()
    concept = noun if noun in CONCEPTS else noun.removesuffix("s")
    return [one for one in parts(cover, concept, metres) if lowest <= one[0] < highest]


def answer(cover: np.ndarray, kind: str, text: str, metres: float) -> str:
    text = text.removesuffix("?").removesuffix(" in the image")
    if kind == "rural_urban":
        assert text == "Is it a rural or an urban area"
        built = np.isin(cover, [IDS.index("Residential"), IDS.index("Industrial")]).mean()
        return "urban" if built > 0.2 else "rural"
    if kind == "presence":
        words = re.fullmatch(r"Is there a (.+)|Is a (.+) present", text)
        return "yes" if counted(cover, words[1] or words[2], metres) else "no"
    if kind == "count":
        words = re.fullmatch(r"How many (.+) are there|What is the (?:number|amount) of (.+)", text)
        return str(len(counted(cover, words[1] or words[2], metres)))
    if kind == "area":
        words = re.fullmatch(r"What is the area covered by (.+)", text)
        return f"{sum(one[0] for one in counted(cover, words[1], metres)):.0f}m2"
    words = re.fullmatch(
        r"Are there (less|more) (.+) than (.+)|Is the (number of) (.+) equal to the number of (.+)", text
    )
    a, b = (len(counted(cover, each, metres)) for each in (words[2] or words[5], words[3] or words[6]))
    return "yes" if {"less": a < b, "more": a > b}.get(words[1], a == b) else "no"


def test_answers_are_what_the_pixels_say(world: Path) -> None:
    metres = get_sensor(world.name).gsd_m
    checked: Counter[str] = Counter()
    for split in ("val", "test"):
        root = world / "benchmarks" / split / "vqa"
        answers = entries(world, split, split, "answers")
        for question in entries(world, split, split, "questions"):
            if not question["active"]:
                continue
            with rasterio.open(root / "labels" / f"{question['img_id']}.tif") as file:
                cover = file.read(1)
            found = answer(cover, question["type"], question["question"], metres)
            (number,) = question["answers_ids"]
            written = answers[number]["answer"]
            if question["type"] == "area":  # a metre of the map is up to 0.04 % from a metre on the ground
                assert int(written[:-2]) == pytest.approx(int(found[:-2]), rel=1e-3, abs=1), question["question"]
            else:
                assert written == found, question["question"]
            checked[question["type"]] += 1
    assert set(checked) == set(NUMBERS[world.name])
    assert sum(checked.values()) >= 80


def test_every_id_is_a_place_in_full_lists(world: Path) -> None:
    pieces = pieces_of(TINY.scene)
    assert pieces == 4
    for folder, split in (("val", "val"), ("test", "val"), ("test", "test")):
        images, questions, answers = (entries(world, folder, split, n) for n in ("images", "questions", "answers"))
        assert [image["id"] for image in images] == list(range(2 * pieces))
        for listed in (questions, answers):
            assert [entry["id"] for entry in listed] == list(range(len(listed)))
        assert all(entry["active"] or set(entry) == {"id", "active"} for entry in images + questions + answers)
        active = [image for image in images if image["active"]]
        assert active
        assert len(active) < len(images), "pieces of the other split are there, without anything in them"
        assert all((image["id"] < pieces) == (split == "val") for image in active)
        for image in active:
            asked = [questions[number] for number in image["questions_ids"]]
            assert Counter(question["type"] for question in asked) == NUMBERS[world.name]
            assert all(question["img_id"] == image["id"] and question["active"] for question in asked)
            assert len({(q["type"], q["question"].replace(" in the image", "")) for q in asked}) == len(asked)
            for question in asked:
                assert [answers[number]["question_id"] for number in question["answers_ids"]] == [question["id"]]
        assert sum(question["active"] for question in questions) == 40 * len(active)
    assert entries(world, "val", "val", "questions") == entries(world, "test", "val", "questions")


def test_images_are_pieces_of_the_scene_without_clouds(world: Path) -> None:
    sensor = get_sensor(world.name)
    for split in ("val", "test"):
        root = world / "benchmarks" / split
        with rasterio.open(root / f"scenes/{split}00.tif") as scene, rasterio.open(root / f"labels/{split}00.tif") as t:
            stored = np.stack([scene.read(scene.descriptions.index(band) + 1) for band in sensor.bands], -1)
            shown, truth, inverse = sensor.to_display(stored), t.read(1), ~scene.transform
        images = {image["id"]: image for image in entries(world, split, split, "images") if image["active"]}
        paths = sorted((root / "vqa" / LAYOUTS[world.name][1]).iterdir())
        assert {int(path.stem) for path in paths} == set(images)
        for path in paths:
            with rasterio.open(path) as file, rasterio.open(root / "vqa/labels" / path.name) as labels:
                assert (file.crs.to_epsg(), file.dtypes, file.shape) == (32633, ("uint8",) * 3, (256, 256))
                assert (labels.crs, labels.transform) == (file.crs, file.transform)
                column, row = (round(part) for part in inverse @ (file.transform.c, file.transform.f))
                window = np.s_[row : row + 256, column : column + 256]
                np.testing.assert_array_equal(file.read().transpose(1, 2, 0), shown[window])
                seen = truth[window] != 255
                assert len(paths) == 1 or seen.mean() > 0.97, "one of its clearest"
                np.testing.assert_array_equal(labels.read(1)[seen], truth[window][seen])
            about = images[int(path.stem)]
            assert (about["upperleft_map_x"], about["upperleft_map_y"]) == (file.transform.c, file.transform.f)
            assert about["original_name"] == f"{split}00_{column}-{row}.tif"


def test_objects_and_areas_of_a_drawn_piece() -> None:
    cover = np.full((128, 128), IDS.index("Meadow"))
    cover[:16, :16] = IDS.index("Lake")  # 256 pixels: just an object
    cover[40:55, :17] = IDS.index("Lake")  # 255: none
    cover[:16, 16:32] = IDS.index("River")  # beside the lake: one water area of 512
    cover[80:100, 80:100] = IDS.index("Forest")
    cover[100:120, 100:120] = IDS.index("Forest")  # touches at a corner: another forest
    land = piece(cover)
    assert {name: len(things) for name, things in land.objects.items() if things} == {
        "meadow": 1,
        "lake": 1,
        "river": 1,
        "water area": 1,
        "forest": 2,
        "green space": 1,
    }
    # 2 degrees beside the central meridian of UTM zone 33 a square metre of the map is 1.0002 on the ground
    assert land.objects["water area"][0].area == pytest.approx(512, rel=5e-4)
    assert land.objects["water area"][0].area != 512
    assert land.shares["Lake"] == pytest.approx((256 + 255) / 128**2)
    (lake,), forests = land.objects["lake"], land.objects["forest"]
    assert all(lake.centroid.y > forest.centroid.y for forest in forests), "north is up"


def test_sizes_are_true_metres_whatever_the_sensor() -> None:
    cover = np.full((128, 128), IDS.index("Meadow"))
    cover[:16, :16] = IDS.index("Lake")
    assert piece(cover, "sentinel").objects["lake"][0].area == pytest.approx(25600, rel=5e-4)


def test_words_and_slips_are_those_of_the_generator() -> None:
    rng = np.random.default_rng(0)
    land = piece(np.kron(rng.permutation(16).reshape(4, 4) % 12, np.ones((64, 64))))
    asked = ask(land, random.Random(0), {"presence": 400, "count": 300, "comp": 400, "area": 300})
    texts = [text for _, text, _ in asked]
    assert len(set(texts)) > 0.99 * len(texts)
    assert any(text.startswith("Is there a orchard") for text in texts)
    assert any(re.search(r"\bquarrys\b", text) for text in texts)
    assert all(re.search(r" (the|a)  (small |medium |large )?[a-z]", t) for t in texts if " next to " in t)
    assert sum("in the image?" in text for text in texts) / len(texts) == pytest.approx(0.1, abs=0.03)
    counts = [text for kind, text, _ in asked if kind == "count"]
    assert {re.match(r"How many|What is the (number|amount) of", text)[0] for text in counts} == {
        "How many",
        "What is the number of",
        "What is the amount of",
    }
    comps = [text for kind, text, _ in asked if kind == "comp"]
    assert all(sum(text.startswith(f"Are there {word} ") for text in comps) > 80 for word in ("less", "more"))
    for relation in ("at the top of", "on the right of", "at the bottom of", "on the left of", "next to"):
        assert any(f" {relation} " in text for text in texts), relation
    for concept in CONCEPTS:
        assert any(f" {concept}" in text for text in texts), concept
    yes = Counter(answer for kind, _, answer in asked if kind == "presence")["yes"] / 400
    assert 0.3 < yes < 0.9


def test_nothing_is_compared_with_what_it_is_part_of() -> None:
    land = piece(np.zeros((64, 64)))
    for _, text, _ in ask(land, random.Random(1), {"comp": 300}):
        text = text.replace(" in the image", "").removesuffix("?")
        one, other = re.split(r" than | equal to the number of ", text)
        named = [
            {name for c, names in CONCEPTS.items() if re.search(rf" {c}s?\b", words.split(" of ")[0]) for name in names}
            for words in (one.replace("Is the number of", "").replace("Are there", ""), f" {other}")
        ]
        if " at " not in text and " on " not in text and " next " not in text:
            assert named[0].isdisjoint(named[1]), text


def test_the_lists_of_a_split_without_pieces_are_whole(tmp_path: Path) -> None:
    image = {"id": 3, "active": True}
    asked = {"val": [], "test": [Asked(image, (("presence", "Is there a lake?", "no"),))]}
    write_lists(tmp_path, "val", get_sensor("naip"), asked, 4)
    lists = {path.stem.split("_")[-1]: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert lists["images"] == {"images": [{"id": number, "active": False} for number in range(4)]}
    assert lists["questions"] == {"questions": [{"id": 0, "active": False}]}
    assert lists["answers"] == {"answers": [{"id": 0, "active": False}]}
