"""Writers of programs, one after another: the first that can read a question wins."""

from collections.abc import Sequence

from graft.vqa.written import CannotParse, Writer, Written, clean_question

_NEAREST = 3
_QUOTED = 80


def write_program(question: str, writers: Sequence[Writer]) -> Written:
    """A question as a program.

    Args:
        question: as typed.
        writers: in the order in which they are asked; a later one sees only what the earlier ones cannot read.

    Raises:
        CannotParse: none can read it; with what each said, and the nearest forms that can be read.
        GraftError: what is no question (`clean_question`), or a language model that cannot be asked.
    """
    question = clean_question(question)
    said: list[str] = []
    nearest: list[str] = []
    for writer in writers:
        try:
            written = writer.write(question)
        except CannotParse as fault:
            said.append(str(fault))
            nearest.extend(fault.nearest)
            continue
        if written is not None:
            return written
    forms = tuple(dict.fromkeys(nearest))[:_NEAREST]
    raise CannotParse(_refusal(question, said, forms), forms)


def _refusal(question: str, said: Sequence[str], forms: Sequence[str]) -> str:
    quoted = f'"{question}"' if len(question) <= _QUOTED else f'"{question[:_QUOTED]}…"'
    parts = [f"Cannot read the question {quoted}.", *said]
    if forms:
        parts.append("What can be read and comes nearest: " + " · ".join(forms))
    elif not said:
        parts.append('Ask it in a plain form, such as "Is there a lake?" or "How much of the area is forest?".')
    return " ".join(parts)
