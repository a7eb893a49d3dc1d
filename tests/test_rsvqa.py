"""RSVQA's files and answer classes: the real layouts read, every fault told with file and id."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS

from datamodules import RSVQAFolder
from graft.errors import GraftError
from graft.rsvqa import Question, known_answers, read_split
from graft.rsvqa_images import RSVQAImages
from graft.vqa.values import Number, Text, Truth
from graft.vqa_metrics import (
    accuracies,
    answer_of,
    bucket_of,
    commonest,
    majority_metrics,
    model_metrics,
    read_answer,
    say_answer,
)
from tests.labelmap_inputs import tif
from tests.rsvqa_inputs import HR_PLACE, lists_of, write_lists, write_picture

LR = {
    "train": {
        2: [("presence", "Is there a road?", "yes"), ("presence", "Is there a forest?", "yes")],
        5: [("count", "How many roads are there?", "0"), ("rural_urban", "Is it a rural or an urban area?", "rural")],
    },
    "test": {
        3: [
            ("presence", "Is a road present?", "no"),
            ("count", "How many roads are there?", "17"),
            ("comp", "Are there less roads than farmlands?", "yes"),
            ("rural_urban", "Is it a rural or an urban area?", "urban"),
        ],
        1: [("presence", "Is there a forest?", "yes"), ("presence", "Is there a forest?", "yes")],
        4: [],
    },
}
HR = {
    "test_phili": {0: [("area", "What is the area covered by buildings?", "340m2")], 7: [("count", "How many?", "3")]}
}


@pytest.fixture
def lr(tmp_path: Path) -> Path:
    write_lists(tmp_path / "lr", "lr", lists_of(LR))
    for image in (1, 3):
        write_picture(tmp_path / "lr", "lr", image, np.full((16, 16, 3), image, np.uint8))
    return tmp_path / "lr"


# --- reading --------------------------------------------------------------------------------------


def test_a_split_holds_its_active_questions_by_image(lr: Path) -> None:
    split = read_split(lr, "lr", "test")
    assert split.images == (1, 3)
    assert split.starts == (0, 2)
    assert [question.image for question in split.questions] == [1, 1, 3, 3, 3, 3]
    by_text = {(question.image, question.type): (question.text, question.answer) for question in split.questions}
    assert by_text[3, "count"] == ("How many roads are there?", "17")
    assert by_text[3, "rural_urban"] == ("Is it a rural or an urban area?", "urban")
    stored = json.loads((lr / "LR_split_test_questions.json").read_text())["questions"]
    assert len(stored) == 10
    assert all(stored[question.id]["question"] == question.text for question in split.questions)
    assert split.left_out.counts == {"images without a question": 1}


def test_the_hr_layout_and_its_second_test_split(tmp_path: Path) -> None:
    write_lists(tmp_path, "hr", lists_of(HR))
    split = read_split(tmp_path, "hr", "test_phili")
    assert [(question.type, question.answer) for question in split.questions] == [("area", "340m2"), ("count", "3")]
    with pytest.raises(GraftError, match=r"No file .*USGS_split_test_images\.json; .* USGS_split_test_phili_images"):
        read_split(tmp_path, "hr", "test")
    with pytest.raises(GraftError, match=r"there is: no LR_split_\*_images\.json"):
        read_split(tmp_path, "lr", "test")


def test_questions_that_no_image_lists_are_counted(lr: Path) -> None:
    def unlist(lists: Any) -> None:
        lists["images"][3]["questions_ids"].pop()

    change(lr, unlist)
    split = read_split(lr, "lr", "test")
    assert len(split.questions) == 5
    assert split.left_out.counts["questions that no image of the split lists"] == 1


def change(root: Path, alter: Callable[[Any], None]) -> None:
    paths = {what: root / f"LR_split_test_{what}.json" for what in ("images", "questions", "answers")}
    lists = {what: json.loads(path.read_text())[what] for what, path in paths.items()}
    alter(lists)
    for what, path in paths.items():
        path.write_text(json.dumps({what: lists[what]}))


def active(lists: Any, what: str, type_: str = "count") -> Any:
    (question,) = (entry for entry in lists["questions"] if entry.get("type") == type_)
    return question if what == "questions" else lists[what][question["answers_ids"][0]]


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (
            lambda f: f["questions"].pop(0),
            r"LR_split_test_questions\.json, questions id 0: the entry is .*this id",
        ),
        (lambda f: f["images"].__setitem__(2, None), r"images id 2: the entry is None"),
        (lambda f: f["answers"][0].pop("active"), r"answers id 0: .* 'active'"),
        (lambda f: active(f, "questions").update(type="colour"), r"'type' is 'colour'; expected one of presence, comp"),
        (lambda f: active(f, "questions").update(type=["x"]), r"'type' is \"\['x'\]\"; expected one of"),
        (lambda f: active(f, "questions").update(question=" "), r"'question' is ' '; expected text"),
        (lambda f: active(f, "questions").update(img_id=1), "it is about another image than 3"),
        (lambda f: active(f, "questions").update(answers_ids=[]), r"'answers_ids' is '\[\]'; expected a list"),
        (lambda f: active(f, "questions").update(answers_ids=[-1]), "expected a list of answer ids"),
        (lambda f: active(f, "questions").update(answers_ids=[99]), r"answers id 99: .* no active entry"),
        (lambda f: active(f, "answers").update(active=False), "no active entry of this id"),
        (lambda f: active(f, "answers").update(question_id=0.5), "'question_id' is '0.5'"),
        (lambda f: active(f, "answers").update(question_id=12345), "it answers another question than"),
        (lambda f: active(f, "answers").update(answer="many"), r"the answer is 'many'; expected a whole number \(ques"),
        (lambda f: active(f, "answers").update(answer=17), "'answer' is '17'; expected text"),
        (lambda f: active(f, "answers", "comp").update(answer="less"), "the answer is 'less'; expected no or yes"),
        (lambda f: f["images"][3].update(questions_ids=7), "'questions_ids' is '7'"),
        (lambda f: f["images"][3]["questions_ids"].append(77), "questions id 77: something refers to it"),
        (lambda f: f["images"][3].update(questions_ids=f["images"][3]["questions_ids"] * 2), "image 3 lists it twice"),
        (lambda f: [image.update(active=False) for image in f["images"]], "has no active question of an active image"),
    ],
)
def test_a_file_that_breaks_the_form_is_told_with_file_and_id(
    lr: Path, alter: Callable[[Any], None], message: str
) -> None:
    change(lr, alter)
    with pytest.raises(GraftError, match=message):
        read_split(lr, "lr", "test")


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "is not JSON"), ("[]", "has no list 'images'"), ('{"images": {}}', "has no list"), (b"\xff", "not UTF-8")],
)
def test_a_file_that_is_no_list_is_told(lr: Path, content: str | bytes, message: str) -> None:
    path = lr / "LR_split_test_images.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(GraftError, match=message):
        read_split(lr, "lr", "test")


def test_the_majority_comes_from_training_answers_or_else_from_val(lr: Path) -> None:
    known = known_answers(lr, "lr", "test")
    assert known is not None
    assert known.split == "train"
    assert known.counts == {"presence": Counter({1.0: 2}), "count": Counter({0.0: 1}), "rural_urban": Counter({0.0: 1})}
    for path in lr.glob("LR_split_train_*"):
        path.rename(lr / path.name.replace("train", "val"))
    assert (known_answers(lr, "lr", "test") or known).split == "val"
    assert known_answers(lr, "lr", "val") is None
    with pytest.warns(UserWarning, match="has no training split: the majority is that of val"):
        RSVQAFolder(lr, "lr").setup("test")
    with pytest.warns(UserWarning, match="has no other split than val: there is no majority row"):
        RSVQAFolder(lr, "lr", split="val").setup("test")


# --- pictures -------------------------------------------------------------------------------------


def test_an_image_comes_with_its_place_its_labels_and_its_questions(lr: Path) -> None:
    tif(lr / "labels" / "3.tif", np.full((16, 16), 7, np.uint8))
    data = RSVQAFolder(lr, "lr", labels="labels", label_classes="atlas")
    with pytest.warns(UserWarning, match=r"Left out: +1  images without a question \(4\)"):
        data.setup("test")
    first, second = data.test_dataloader()
    assert "image 1: " in first.fault
    assert "labels/1.tif" in first.fault
    assert (second.id, second.first, second.fault) == (3, 2, "")
    assert second.questions == data.questions[2:6]
    assert (second.pixels.shape, second.pixels.dtype, int(second.pixels[0, 0, 0])) == ((16, 16, 3), np.uint8, 3)
    assert second.crs == CRS.from_epsg(32631)
    assert second.gsd_m == pytest.approx((10, 10), rel=1e-3)
    assert second.labels is not None
    assert int(second.labels.min()) == 7
    assert data.label_classes[7] == "Quarry"


def test_a_picture_that_cannot_be_used_costs_itself(lr: Path) -> None:
    split = read_split(lr, "lr", "test")
    (lr / "Images_LR" / "1.tif").unlink()
    tif(lr / "Images_LR" / "3.tif", np.zeros((3, 16, 16), np.uint16), **HR_PLACE)
    first, second = (RSVQAImages(lr, "lr", split)[index] for index in range(2))
    assert "image 1: " in first.fault
    assert "1.tif" in first.fault
    assert "image 3: the picture has 3 bands of uint16; expected three of 8 bits, or a sensor" in second.fault
    assert len(second.questions) == 4
    write_picture(lr, "lr", 3, np.zeros((16, 16, 3), np.uint8))
    tif(lr / "labels" / "3.tif", np.zeros((8, 16), np.uint8))
    assert "its label map 3.tif has uint8 (8, 16); expected" in RSVQAImages(lr, "lr", split, labels="labels")[1].fault


def test_a_picture_without_reference_system_has_the_size_that_is_said(lr: Path) -> None:
    split = read_split(lr, "lr", "test")
    tif(lr / "Images_LR" / "3.tif", np.zeros((3, 16, 16), np.uint8))
    bare = RSVQAImages(lr, "lr", split)[1]
    assert (bare.crs, bare.gsd_m, bare.fault) == (None, None, "")
    laid = RSVQAImages(lr, "lr", split, gsd_m=0.1524)[1]
    assert laid.gsd_m == (0.1524, 0.1524)
    assert laid.crs is not None
    assert (laid.transform.a, laid.transform.e) == (0.1524, -0.1524)
    assert RSVQAImages(lr, "lr", split, gsd_m=0.1524)[0].crs == CRS.from_epsg(32631)
    with pytest.raises(GraftError, match=r"data\.init_args\.gsd_m is 0; expected finite metres"):
        RSVQAImages(lr, "lr", split, gsd_m=0)
    with pytest.raises(GraftError, match="labels and label_classes belong together"):
        RSVQAFolder(lr, "lr", labels="labels")


def test_processes_share_images_without_repeats(lr: Path) -> None:
    images = RSVQAImages(lr, "lr", read_split(lr, "lr", "test"))
    shares = [[image.id for image in images.share(rank, 2)] for rank in range(2)]  # type: ignore[attr-defined]
    assert shares == [[1], [3]]
    with pytest.raises(GraftError, match="2 images cannot be shared by 3 processes"):
        images.share(0, 3)


# --- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "answer", "bucket"),
    [
        ("count", 0, "0"),
        ("count", 1, "between 0 and 10"),
        ("count", 10, "between 0 and 10"),
        ("count", 11, "between 10 and 100"),
        ("count", 100, "between 10 and 100"),
        ("count", 101, "between 100 and 1000"),
        ("count", 1000, "between 100 and 1000"),
        ("count", 1001, "more than 1000"),
        ("area", 0, "0m2"),
        ("area", 10, "between 0m2 and 10m2"),
        ("area", 11, "between 10m2 and 100m2"),
        ("area", 1000, "between 100m2 and 1000m2"),
        ("area", 5e6, "more than 1000m2"),
        ("comp", 1, "yes"),
        ("count", math.nan, ""),
    ],
)
def test_buckets_are_the_official_ones(type_: str, answer: float, bucket: str) -> None:
    assert bucket_of(type_, answer) == bucket


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("presence", "yes"),
        ("comp", "no"),
        ("rural_urban", "urban"),
        ("count", "204"),
        ("area", "340m2"),
        ("area", "0m2"),
    ],
)
def test_answers_are_said_as_they_are_read(type_: str, text: str) -> None:
    assert say_answer(type_, read_answer(type_, text)) == text


@pytest.mark.parametrize(
    ("type_", "text"),
    [("presence", "1"), ("rural_urban", "yes"), ("count", "-1"), ("count", "٣"), ("count", "1.5"), ("area", "12")],
)
def test_answers_of_another_form_are_refused(type_: str, text: str) -> None:
    with pytest.raises(ValueError, match="the answer is"):
        read_answer(type_, text)


def test_what_programs_give_is_an_answer_of_its_type_or_none() -> None:
    assert answer_of("presence", Truth(True, 0.9, ())) == (1, 0.9)
    assert answer_of("rural_urban", Text("urban", 0.7, ())) == (1, 0.7)
    assert answer_of("count", Number(3.0, "", 0.5, ())) == (3, 0.5)
    assert answer_of("area", Number(339.6, "m2", 0.5, ())) == (340, 0.5)
    assert answer_of("area", Number(339.6, "px2", 0.5, ())) is None
    assert answer_of("count", Number(math.inf, "", 0.5, ())) is None
    assert answer_of("count", Truth(True, 0.5, ())) is None
    assert answer_of("rural_urban", Text("there is no lake", 0.7, ())) is None


# --- figures --------------------------------------------------------------------------------------

TYPES = ["presence", "presence", "comp", "count", "count", "rural_urban"]
TRUTH = np.array([1, 0, 1, 17, 0, 1.0])
GIVEN = np.array([1, 1, 1, 60, math.nan, 0])


def test_accuracies_by_official_classes() -> None:
    lr = accuracies("lr", TYPES, TRUTH, GIVEN)
    assert lr == {
        "accuracy": pytest.approx(3 / 6),
        "accuracy_average": pytest.approx((0.5 + 1 + 0.5 + 0) / 4),
        "accuracy_presence": 0.5,
        "accuracy_comp": 1,
        "accuracy_count": 0.5,
        "accuracy_count_exact": 0,
        "accuracy_rural_urban": 0,
        "questions_presence": 2,
        "questions_comp": 1,
        "questions_count": 2,
        "questions_rural_urban": 1,
    }
    hr = accuracies("hr", ["count", "area"], np.array([17, 340.0]), np.array([60, 900.0]))
    assert (hr["accuracy_count"], hr["accuracy_count_bucketed"], hr["accuracy_area"]) == (0, 1, 1)
    assert (hr["accuracy"], hr["accuracy_average"]) == (0.5, 0.5)


def test_model_figures_say_what_was_not_answered() -> None:
    found = model_metrics("lr", TYPES, TRUTH, GIVEN, np.array([1, 1, 0.5, 0.5, math.nan, 0.5]), unparsed=1)
    assert found["answered"] == pytest.approx(5 / 6)
    assert (found["unparsed"], found["refused"]) == (1, 0)
    assert found["confidence"] == pytest.approx(3.5 / 5)
    nothing = model_metrics("lr", TYPES, TRUTH, np.full(6, math.nan), np.full(6, math.nan), unparsed=2)
    assert (nothing["accuracy"], nothing["answered"], nothing["refused"], nothing["confidence"]) == (0, 0, 4, 0)


def test_the_majority_is_the_commonest_of_each_answer_class() -> None:
    # 0 is the commonest count, but 12, 13 and 14 are one bucket.
    known = {"count": Counter({0.0: 2, 12.0: 1, 13.0: 1, 14.0: 1}), "presence": Counter({1.0: 3, 0.0: 3})}
    assert commonest("lr", "count", known) == 12
    assert commonest("hr", "count", known) == 0
    assert commonest("lr", "presence", known) == 0  # a tie goes to the smaller
    assert math.isnan(commonest("lr", "comp", known))
    found = majority_metrics("lr", TYPES, TRUTH, known)
    assert (found["accuracy_count"], found["accuracy_count_exact"]) == (0.5, 0.5)
    assert (found["accuracy_presence"], found["accuracy_comp"]) == (0.5, 0)
    assert "confidence" not in found


def test_questions_are_what_a_row_of_answers_is_about() -> None:
    assert Question(1, 2, "count", "How many?", "3")._fields == ("id", "image", "type", "text", "answer")
