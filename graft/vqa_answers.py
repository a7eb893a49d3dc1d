"""Many questions about many images: each question is read once, each image looked at once."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from graft.errors import GraftError
from graft.files import atomic_path
from graft.rsvqa import KnownAnswers, Question
from graft.tally import Tally
from graft.vqa.check import Checked, check
from graft.vqa.interpreter import Toolbox, run
from graft.vqa.written import CannotParse, Writer, clean_question
from graft.vqa_metrics import answer_of, commonest, majority_metrics, model_metrics, read_answer, say_answer

MAJORITY, ORACLE = "majority", "oracle"


@dataclass(frozen=True)
class Programs:
    """What a set of questions became.

    Attributes:
        of: text of a question -> its program; texts that no writer reads are missing.
        concepts: all that the programs look for, in order of first appearance.
        left_out: questions without a program, by reason.
    """

    of: Mapping[str, Checked]
    concepts: tuple[str, ...]
    left_out: Tally


def write_programs(texts: Iterable[str], writer: Writer) -> Programs:
    """Turn questions into programs, equal ones once.

    Args:
        texts: as asked; each time one appears counts where it cannot be read.
        writer: reads them.
    """
    programs: dict[str, Checked] = {}
    faults: dict[str, str] = {}
    left_out = Tally()
    for text in texts:
        if text not in programs and text not in faults:
            try:
                written = writer.write(clean_question(text))
                if written is None:
                    faults[text] = "no form of the grammar"
                else:
                    programs[text] = check(written.program)
            except CannotParse:
                faults[text] = "no form of the grammar"
            except GraftError as error:
                faults[text] = str(error)
        if text in faults:
            left_out.add(faults[text], repr(text[:80]))
    concepts = dict.fromkeys(concept for checked in programs.values() for concept in checked.concepts)
    return Programs(programs, tuple(concepts), left_out)


def answer_questions(questions: Sequence[Question], programs: Programs, toolbox: Toolbox, refused: Tally) -> Tensor:
    """Answer what is asked about one image; equal questions once.

    Args:
        questions: about it.
        programs: of them.
        toolbox: over it.
        refused: counts the programs that came to no answer.

    Returns:
        float32 [n, 2]: the number of `graft.vqa_metrics.read_answer` and the confidence; NaN, NaN without an answer.
    """
    nothing = (float("nan"), float("nan"))
    known: dict[tuple[str, str], tuple[float, float]] = {}
    for question in questions:
        key = question.type, question.text
        if key in known or question.text not in programs.of:
            continue
        try:
            value = run(programs.of[question.text], toolbox)
        except GraftError as error:
            refused.add(str(error), repr(question.text[:80]))
            continue
        found = answer_of(question.type, value)
        if found is None:
            refused.add(f"no answer to a question of type {question.type}", repr(question.text[:80]))
        else:
            known[key] = found
    return torch.tensor([known.get((question.type, question.text), nothing) for question in questions]).view(-1, 2)


class AnswerBank(Metric):
    """Keeps the answers of each model to each question; processes are joined.

    Flat and of one dtype: a process that saw nothing then still joins the gathering. float32 holds whole numbers
    exactly up to 2^24, more than there are questions, and square metres up to 16 km2 in one image.
    """

    full_state_update = False
    answers: list[Tensor]
    places: list[Tensor]

    def __init__(self, models: int) -> None:
        """Set up empty states.

        Args:
            models: M.
        """
        super().__init__()
        self.models = models
        self.add_state("answers", default=[], dist_reduce_fx="cat")
        self.add_state("places", default=[], dist_reduce_fx="cat")

    def update(self, answers: Tensor, first: int) -> None:
        """Add the answers to the questions of an image.

        Args:
            answers: float [n, M, 2], see `answer_questions`.
            first: place of the first of these questions in the whole set.
        """
        self.answers.append(answers.float().flatten())
        self.places.append(torch.arange(first, first + len(answers), device=answers.device).float())

    def compute(self) -> tuple[Tensor, Tensor]:
        """Places int64 [N], ascending, and answers float32 [N, M, 2] of all processes."""
        if isinstance(self.answers, list) and not self.answers:
            return torch.zeros(0, dtype=torch.int64), torch.zeros(0, self.models, 2)
        answers, places = dim_zero_cat(self.answers).view(-1, self.models, 2), dim_zero_cat(self.places).long()
        order = places.argsort(stable=True)
        return places[order], answers[order]


@dataclass(frozen=True)
class Sheet:
    """What one model answered, and how right that was.

    Attributes:
        metrics: of `graft.vqa_metrics`.
        answers: float64 [N], NaN where none was given.
        confidence: float64 [N], NaN where there is none.
    """

    metrics: dict[str, float]
    answers: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]


def mark(
    layout: str,
    asked: Sequence[Question],
    given: Mapping[str, npt.NDArray[np.float64]],
    programs: Programs,
    known: KnownAnswers | None,
) -> dict[str, Sheet]:
    """Hold answers against the truth.

    Args:
        layout: "lr" or "hr": which answer classes are official.
        asked: N questions.
        given: model -> float [N, 2], see `answer_questions`.
        programs: of the questions.
        known: answers of another split; None makes no majority.

    Returns:
        Model -> its sheet, with the majority behind the models and before the oracle.
    """
    types = [question.type for question in asked]
    truth = np.array([read_answer(question.type, question.answer) for question in asked])
    unparsed = sum(question.text not in programs.of for question in asked)
    sheets = {}
    for model, (answers, confidence) in ((model, both.T) for model, both in given.items()):
        metrics = model_metrics(layout, types, truth, answers, confidence, unparsed)
        sheets[model] = Sheet(metrics, answers, confidence)
    if known is not None:
        best = {type_: commonest(layout, type_, known.counts) for type_ in set(types)}
        answers = np.array([best[type_] for type_ in types])
        metrics = majority_metrics(layout, types, truth, known.counts)
        sheets[MAJORITY] = Sheet(metrics, answers, np.full(len(asked), np.nan))
    if ORACLE in sheets:
        sheets[ORACLE] = sheets.pop(ORACLE)
    return sheets


def write_sheets(path: Path, asked: Sequence[Question], sheets: Mapping[str, Sheet]) -> None:
    """Write a CSV file of questions with the truth, and the answer and the confidence of each model."""
    columns = [column for model in sheets for column in (model, f"{model}_confidence")]
    with atomic_path(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question_id", "image_id", "type", "question", "truth", *columns])
        for place, question in enumerate(asked):
            cells = []
            for sheet in sheets.values():
                sure = sheet.confidence[place]
                said = say_answer(question.type, float(sheet.answers[place]))
                cells += [said, "" if np.isnan(sure) else f"{sure:.3f}"]
            writer.writerow([question.id, question.image, question.type, question.text, question.answer, *cells])
