"""Answers as RSVQA counts them right: official answer classes, accuracy by type, their mean, and the majority's.

RSVQA-LR's official answers put counts into five buckets; RSVQA-HR's leave counts exact (its official vocabulary ends at
88; here every number is its own answer) and put areas into five buckets. An answer is right if it falls into the class
of the truth. Bounds belong to the lower bucket: 10 is "between 0 and 10".
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from graft.vqa.values import Number, Text, Truth, Value

TYPES = ("presence", "comp", "count", "area", "rural_urban")
OFFICIAL_BUCKETS: dict[str, frozenset[str]] = {"lr": frozenset({"count"}), "hr": frozenset({"area"})}
_WORDS = {"presence": ("no", "yes"), "comp": ("no", "yes"), "rural_urban": ("rural", "urban")}
_NUMBERS = {"count": re.compile(r"([0-9]{1,15})"), "area": re.compile(r"([0-9]{1,15}) ?m2")}
_BOUNDS = (10, 100, 1000)


def read_answer(type_: str, text: str) -> float:
    """A stored answer as a number: 0 or 1 for two words, else the count or the square metres.

    Raises:
        ValueError: no answer to such a question.
    """
    if type_ in _WORDS:
        if text in _WORDS[type_]:
            return float(_WORDS[type_].index(text))
        raise ValueError(f"the answer is {text[:40]!r}; expected {' or '.join(_WORDS[type_])}")
    match = _NUMBERS[type_].fullmatch(text)
    if match is None:
        form = "a whole number" if type_ == "count" else "whole square metres such as '340m2'"
        raise ValueError(f"the answer is {text[:40]!r}; expected {form}")
    return float(match[1])


def say_answer(type_: str, answer: float) -> str:
    """The opposite of `read_answer`; "" for an answer that was not given (NaN)."""
    if math.isnan(answer):
        return ""
    if type_ in _WORDS:
        return _WORDS[type_][int(answer)]
    return f"{answer:.0f}" + ("m2" if type_ == "area" else "")


def bucket_of(type_: str, answer: float) -> str:
    """The bucket of a count or an area; other answers as they are."""
    if type_ not in _NUMBERS or math.isnan(answer):
        return say_answer(type_, answer)
    unit = "m2" if type_ == "area" else ""
    if answer == 0:
        return f"0{unit}"
    for lower, upper in zip((0, *_BOUNDS), _BOUNDS, strict=False):
        if answer <= upper:
            return f"between {lower}{unit} and {upper}{unit}"
    return f"more than {_BOUNDS[-1]}{unit}"


def answer_of(type_: str, value: Value) -> tuple[float, float] | None:
    """What a program gave as the answer to a question of a type.

    Returns:
        The number of `read_answer` and the confidence, 0..1; None where the value is no answer to such a question.
    """
    if type_ in ("presence", "comp") and isinstance(value, Truth):
        return float(value.value), value.confidence
    if type_ == "rural_urban" and isinstance(value, Text) and value.value in _WORDS[type_]:
        return float(_WORDS[type_].index(value.value)), value.confidence
    unit = {"count": "", "area": "m2"}.get(type_)
    if isinstance(value, Number) and value.unit == unit and value.value >= 0 and math.isfinite(value.value):
        return float(round(value.value)), value.confidence
    return None


def answer_classes(layout: str, type_: str) -> dict[str, Callable[[float], str]]:
    """Answer classes of a type: the official ones under "", and under a suffix those that are not.

    Args:
        layout: "lr" or "hr".
        type_: of question.
    """
    spaces: dict[str, Callable[[float], str]] = {
        "exact": partial(say_answer, type_),
        "bucketed": partial(bucket_of, type_),
    }
    official = "bucketed" if type_ in OFFICIAL_BUCKETS[layout] else "exact"
    other = {"exact": "bucketed", "bucketed": "exact"}[official]
    return {"": spaces[official]} | ({f"_{other}": spaces[other]} if type_ == "count" else {})


def accuracies(
    layout: str, types: Sequence[str], truth: npt.NDArray[np.float64], answers: npt.NDArray[np.float64]
) -> dict[str, float]:
    """Accuracy over questions, over types, and of each type.

    Args:
        layout: "lr" or "hr": which answer classes are official.
        types: of N questions.
        truth: float [N], see `read_answer`.
        answers: float [N], NaN where none was given, which is wrong.

    Returns:
        `accuracy` (OA: of all questions), `accuracy_average` (AA: mean over the types that occur),
        `accuracy_<type>`, `questions_<type>` (their number), and where official counts are not exact
        `accuracy_count_exact`, where they are `accuracy_count_bucketed`.
    """
    right: dict[str, list[bool]] = defaultdict(list)
    classes = {type_: answer_classes(layout, type_) for type_ in set(types)}
    for type_, wanted, given in zip(types, truth.tolist(), answers.tolist(), strict=True):
        for suffix, name in classes[type_].items():
            right[f"{type_}{suffix}"].append(name(given) == name(wanted))
    means = {f"accuracy_{key}": sum(hits) / len(hits) for key, hits in sorted(right.items())}
    present = [type_ for type_ in TYPES if type_ in classes]
    official = [hit for type_ in present for hit in right[type_]]
    return {
        "accuracy": sum(official) / len(official),
        "accuracy_average": sum(means[f"accuracy_{type_}"] for type_ in present) / len(present),
        **means,
        **{f"questions_{type_}": float(len(right[type_])) for type_ in present},
    }


def model_metrics(
    layout: str,
    types: Sequence[str],
    truth: npt.NDArray[np.float64],
    answers: npt.NDArray[np.float64],
    confidence: npt.NDArray[np.float64],
    unparsed: int,
) -> dict[str, float]:
    """`accuracies`, and how much was answered.

    Args:
        layout: see `accuracies`.
        types: see `accuracies`.
        truth: see `accuracies`.
        answers: see `accuracies`.
        confidence: float [N], 0..1, of the answers that were given.
        unparsed: questions that no grammar reads.

    Returns:
        Also `answered` (share of the questions), `unparsed` and `refused` (numbers of those left, whose programs did
        not come to an answer), and `confidence`, its mean over what was answered (0 where nothing was).
    """
    given = ~np.isnan(answers)
    return {
        **accuracies(layout, types, truth, answers),
        "answered": float(given.mean()),
        "unparsed": float(unparsed),
        "refused": float((~given).sum() - unparsed),
        "confidence": float(confidence[given].mean()) if given.any() else 0.0,
    }


def majority_metrics(
    layout: str,
    types: Sequence[str],
    truth: npt.NDArray[np.float64],
    known: Mapping[str, Counter[float]],
) -> dict[str, float]:
    """`accuracies` of always giving the commonest answer class of a type, which knows nothing of the image.

    Each accuracy uses the commonest of its own classes: an exact count and a count's bucket may have different ones.

    Args:
        layout: see `accuracies`.
        types: see `accuracies`.
        truth: see `accuracies`.
        known: how often each answer is given elsewhere; a type without any is never answered.
    """
    metrics = accuracies(layout, types, truth, np.array([commonest(layout, t, known) for t in types]))
    of_type = np.array(types)
    for type_ in set(types):
        for suffix, name in answer_classes(layout, type_).items():
            best = name(commonest(layout, type_, known, suffix))
            own = truth[of_type == type_].tolist()
            metrics[f"accuracy_{type_}{suffix}"] = sum(name(answer) == best for answer in own) / len(own)
    return metrics


def commonest(layout: str, type_: str, known: Mapping[str, Counter[float]], suffix: str = "") -> float:
    """An answer of the commonest class of a type, the smallest of it; NaN where nothing is known.

    Args:
        layout: see `accuracies`.
        type_: of question.
        known: how often each answer is given.
        suffix: of the classes, see `answer_classes`.
    """
    name = answer_classes(layout, type_)[suffix]
    classes: Counter[str] = Counter()
    for answer, number in sorted(known.get(type_, {}).items()):
        classes[name(answer)] += number
    if not classes:
        return math.nan
    best = classes.most_common(1)[0][0]
    return min(answer for answer in known[type_] if name(answer) == best)
