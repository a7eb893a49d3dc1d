"""RSVQA in its official layout: three JSON lists and a folder of pictures.

`<prefix>_<split>_{questions,answers,images}.json`, such as `LR_split_test_questions.json` and
`USGS_split_test_phili_answers.json`, hold full-length lists: an entry's id is its place, and what belongs to another
split is a stub `{"id": n, "active": false}`. An image lists its questions, a question its answers, of which the first
counts.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from graft.errors import GraftError
from graft.prompts import read_utf8
from graft.tally import Tally
from graft.vqa_metrics import TYPES, read_answer

LayoutName = Literal["lr", "hr"]
_FALL_BACK = ("train", "val")


@dataclass(frozen=True)
class RSVQALayout:
    """Where things lie in one of the two sets.

    Attributes:
        images: folder of `<id>.tif`.
        prefix: of the JSON files, before the split.
    """

    images: str
    prefix: str


LAYOUTS: dict[LayoutName, RSVQALayout] = {
    "lr": RSVQALayout("Images_LR", "LR_split"),
    "hr": RSVQALayout("Data", "USGS_split"),
}


class Question(NamedTuple):
    """A question about an image.

    Attributes:
        id: in the question file.
        image: id of the image.
        type: "presence", "comp", "count", "area" or "rural_urban".
        text: as asked.
        answer: as stored: "yes", "12", "340m2", "urban".
    """

    id: int
    image: int
    type: str
    text: str
    answer: str


@dataclass(frozen=True)
class AskedSplit:
    """A split.

    Attributes:
        images: ids of the images with at least one question, ascending.
        questions: those of the first image, then those of the next, in the order of the image's list.
        starts: place in `questions` of the first question of each image.
        left_out: images and questions that were passed over, by reason.
    """

    images: tuple[int, ...]
    questions: tuple[Question, ...]
    starts: tuple[int, ...]
    left_out: Tally


def read_split(root: Path, layout: LayoutName, split: str) -> AskedSplit:
    """Read the questions, answers and images of a split.

    Raises:
        GraftError: a file is missing or breaks the form; file and id are named.
    """
    found = LAYOUTS[layout]
    lists = {what: _ActiveList(root, found, split, what) for what in ("images", "questions", "answers")}
    questions, answers = lists["questions"], lists["answers"]
    kept: list[Question] = []
    images, starts, left_out, seen = [], [], Tally(), set()
    for image in lists["images"]:
        number = image["id"]
        asked = lists["images"].take(number, "questions_ids", _is_ids, "a list of question ids")
        if not asked:
            left_out.add("images without a question", str(number))
            continue
        images.append(number)
        starts.append(len(kept))
        for place in asked:
            if questions.take(place, "img_id", _is_id, "an image id") != number:
                raise questions.fault(place, f"it is about another image than {number}, whose list names it")
            if place in seen:
                raise questions.fault(place, f"image {number} lists it twice")
            seen.add(place)
            kept.append(_question(questions, answers, place, number))
    for question in questions:
        if question["id"] not in seen:
            left_out.add("questions that no image of the split lists", str(question["id"]))
    if not kept:
        raise GraftError(
            f"Split {split} in {root} has no active question of an active image. Change data.init_args.split, or get "
            "the files again."
        )
    return AskedSplit(tuple(images), tuple(kept), tuple(starts), left_out)


class KnownAnswers(NamedTuple):
    """Answers of a split that is not the one evaluated.

    Attributes:
        split: its name.
        counts: type -> number of times each answer, read by `read_answer`, is given.
    """

    split: str
    counts: dict[str, Counter[float]]


def known_answers(root: Path, layout: LayoutName, split: str) -> KnownAnswers | None:
    """How often each answer is given in the training split, or in `val` where there is no training split.

    Args:
        root: folder of the files.
        layout: which set.
        split: the one that is evaluated; its own answers are never looked at here.

    Returns:
        None where neither is there, or both are what is evaluated.

    Raises:
        GraftError: a file breaks the form.
    """
    found = LAYOUTS[layout]
    for other in _FALL_BACK:
        if other == split or not all(_path(root, found, other, what).is_file() for what in ("questions", "answers")):
            continue
        questions, answers = (_ActiveList(root, found, other, what) for what in ("questions", "answers"))
        counts: dict[str, Counter[float]] = {}
        for entry in questions:
            question = _question(questions, answers, entry["id"], -1)
            counts.setdefault(question.type, Counter())[read_answer(question.type, question.answer)] += 1
        if counts:
            return KnownAnswers(other, counts)
    return None


def _path(root: Path, layout: RSVQALayout, split: str, what: str) -> Path:
    return root / f"{layout.prefix}_{split}_{what}.json"


def _question(questions: "_ActiveList", answers: "_ActiveList", place: int, image: int) -> Question:
    """The active question at a place of its list, with its first answer."""
    type_ = questions.take(place, "type", TYPES.__contains__, f"one of {', '.join(TYPES)}")
    text = questions.take(place, "question", _is_text, "text")
    first, *_ = questions.take(place, "answers_ids", lambda ids: _is_ids(ids) and ids, "a list of answer ids")
    if answers.take(first, "question_id", _is_id, "a question id") != place:
        raise answers.fault(first, f"it answers another question than {place}, whose list names it")
    answer = answers.take(first, "answer", _is_text, "text").strip().lower()
    try:
        read_answer(type_, answer)
    except ValueError as error:
        raise answers.fault(first, f"{error} (question {place})") from None
    return Question(place, image, type_, text, answer)


class _ActiveList:
    """A full-length list out of one file; iterates over its active entries.

    Raises:
        GraftError: no such file, another form, or an entry whose id is not its place.
    """

    def __init__(self, root: Path, layout: RSVQALayout, split: str, what: str) -> None:
        self._path, self._what = _path(root, layout, split, what), what
        if not self._path.is_file():
            there = sorted(path.name for path in root.glob(f"{layout.prefix}_*_{what}.json"))
            raise GraftError(
                f"No file {self._path}; in {root} there is: {', '.join(there) or f'no {layout.prefix}_*_{what}.json'}. "
                "Unpack the set there, or change data.init_args.root, layout or split."
            )
        try:
            content = json.loads(read_utf8(self._path))
        except ValueError as error:
            raise GraftError(f"{self._path} is not JSON ({error}). Get the file again.") from error
        entries = content.get(what) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise GraftError(f"{self._path} has no list {what!r}. Get the file again.")
        self._entries = entries
        for place, entry in enumerate(self._entries):
            if not isinstance(entry, dict) or entry.get("id") != place or not isinstance(entry.get("active"), bool):
                raise self.fault(place, f"the entry is {str(entry)[:80]}; expected an object with this id and 'active'")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (entry for entry in self._entries if entry["active"])

    def take(self, place: int, key: str, fits: Callable[[Any], object], expected: str) -> Any:
        """A value of the active entry at a place.

        Raises:
            GraftError: no active entry, or a value that does not fit.
        """
        if not place < len(self._entries) or not self._entries[place]["active"]:
            raise self.fault(place, "something refers to it, but there is no active entry of this id")
        value = self._entries[place].get(key)
        if not fits(value):
            raise self.fault(place, f"{key!r} is {str(value)[:80]!r}; expected {expected}")
        return value

    def fault(self, place: int, what: str) -> GraftError:
        """What is wrong with an entry, with file and id."""
        return GraftError(f"{self._path}, {self._what} id {place}: {what}. Get the file again, or mend it.")


def _is_id(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_ids(value: object) -> bool:
    return isinstance(value, list) and all(_is_id(item) for item in value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def image_path(root: Path, layout: LayoutName, image: int) -> Path:
    """The picture of an image id."""
    return root / LAYOUTS[layout].images / f"{image}.tif"


def questions_of(split: AskedSplit, index: int) -> Sequence[Question]:
    """The questions of image `index` of a split."""
    last = split.starts[index + 1] if index + 1 < len(split.starts) else len(split.questions)
    return split.questions[split.starts[index] : last]
