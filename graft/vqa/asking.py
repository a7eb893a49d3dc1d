"""From questions to answers: every question is read before a pixel is looked at, and one look serves them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import GraftError
from graft.vqa.answer import Answer, make_answer
from graft.vqa.check import Checked, check
from graft.vqa.concepts import Concepts
from graft.vqa.grammar.everyday import EverydayWriter
from graft.vqa.grammar.rsvqa import RSVQAWriter
from graft.vqa.interpreter import run
from graft.vqa.json_form import read_json
from graft.vqa.python_form import read_python, to_python
from graft.vqa.question_type import type_of
from graft.vqa.refusal import NothingThere
from graft.vqa.values import Mask, Number, Objects
from graft.vqa.writers import write_program
from graft.vqa.written import CannotParse, Writer, Written

if TYPE_CHECKING:
    from graft.vqa.toolbox import Toolbox

GIVEN = "hand"
"""The writer of a program that was given instead of a question."""

_LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Asked:
    """A question that was understood.

    Attributes:
        question: as asked; the program's first line where a program was given.
        written: its program, type and writer.
        program: the same, checked.
    """

    question: str
    written: Written
    program: Checked


@dataclass(frozen=True)
class Unanswered:
    """A question without an answer.

    Attributes:
        question: as asked.
        fault: why, in a sentence or two.
        nearest: forms that can be read and look most like it.
    """

    question: str
    fault: str
    nearest: tuple[str, ...] = ()


def gather_questions(given: Sequence[str] | None, file: Path | None) -> list[str]:
    """The questions of the command line, then those of a file: one a line, blank lines and `#` comments passed over.

    Raises:
        GraftError: no such file, not UTF-8, larger than a megabyte, or without a question.
    """
    found = list(given or ())
    if file is not None:
        if not file.is_file():
            raise GraftError(f"No file of questions at {file}; expected text, one question a line (--questions).")
        if file.stat().st_size > _LARGEST_FILE:
            raise GraftError(f"{file} is larger than a megabyte; --questions takes text, one question a line.")
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise GraftError(f"{file} is not UTF-8 text; --questions takes text, one question a line.") from error
        kept = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
        if not kept:
            raise GraftError(f"{file} holds no question; --questions takes text, one question a line.")
        found += kept
    return found


def make_writers(concepts: Concepts, llm: str | None) -> list[Writer]:
    """Who is asked for a program, in this order: everyday English, RSVQA's forms, and a language model if one is named.

    RSVQA comes second, because its forms mean something else to a person: "next to" is 1,000 m between centres there.
    """
    writers: list[Writer] = [EverydayWriter(concepts), RSVQAWriter(concepts)]
    if llm is not None:
        from graft.vqa.llm import LLMWriter

        writers.append(LLMWriter(llm, words=concepts.names))
    return writers


def read_questions(questions: Sequence[str], writers: Sequence[Writer]) -> list[Asked | Unanswered]:
    """A checked program for each question, or why there is none."""
    return [_read(question, writers) for question in questions]


def _read(question: str, writers: Sequence[Writer]) -> Asked | Unanswered:
    shown = " ".join(question[:200].split())
    try:
        written = write_program(question, writers)
        return Asked(shown if len(question) > 200 else " ".join(question.split()), written, check(written.program))
    except CannotParse as fault:
        return Unanswered(shown, str(fault), fault.nearest)
    except GraftError as fault:
        return Unanswered(shown, str(fault))


def read_program(text: str) -> Asked:
    """A program given instead of a question: JSON or Python, or a .json or .py file of it.

    Raises:
        GraftError: no such file, or a program that is refused.
    """
    if Path(text[:255]).suffix in (".json", ".py") and "\n" not in text:
        file = Path(text)
        if not file.is_file():
            raise GraftError(f"No program at {file}; --program takes a program, or a .json or .py file of one.")
        if file.stat().st_size > _LARGEST_FILE:
            raise GraftError(f"{file} is larger than a megabyte, which no program is (--program).")
        text = file.read_text(encoding="utf-8", errors="replace")
    program = check(read_json(text) if text.lstrip().startswith("{") else read_python(text))
    lines = to_python(program.program).strip().splitlines()
    shown = lines[0].removeprefix("return ") if len(lines) == 1 else f"{lines[0]} …"
    return Asked(shown, Written(program.program, type_of(program), GIVEN), program)


def concepts_of(asked: Sequence[Asked | Unanswered]) -> tuple[str, ...]:
    """All that the programs look for, each once, in order."""
    return tuple(dict.fromkeys(c for each in asked if isinstance(each, Asked) for c in each.program.concepts))


def answer_question(asked: Asked, toolbox: "Toolbox", notes: Sequence[str] = ()) -> Answer | Unanswered:
    """Run one program.

    Args:
        asked: the question.
        toolbox: over the image; what it found for one question it keeps for the next.
        notes: what the reader of any answer about this image must know.
    """
    measured: tuple[Number, ...] = ()
    try:
        value = run(asked.program, toolbox)
        if isinstance(value, Objects):
            measured = (toolbox.count(value),)
        elif isinstance(value, Mask):
            measured = (toolbox.area(value), toolbox.fraction(value))
    except NothingThere as nothing:
        value = nothing.answer
    except GraftError as fault:
        return Unanswered(asked.question, str(fault))
    unit = toolbox.vision.grid.area_unit
    return make_answer(asked.question, asked.written, value, area_unit=unit, measured=measured, notes=tuple(notes))
