import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from graft.errors import GraftError
from graft.vqa.check import check
from graft.vqa.endpoint import EndpointFault
from graft.vqa.python_form import read_python
from graft.vqa.question_type import type_of
from graft.vqa.writers import write_program
from graft.vqa.written import CannotParse, Written
from tests import fake_llm as llm
from tests.fake_llm import EXISTS, LAKE, QUESTION, fake_llm, says, writer


@dataclass
class Reads:
    """Reads one question; tells what it was asked."""

    question: str
    nearest: tuple[str, ...] = ()
    name: str = "reads"
    asked: list[str] = field(default_factory=list)

    def write(self, question: str) -> Written | None:
        self.asked.append(question)
        if question == self.question:
            return Written(EXISTS, "presence", self.name)
        if self.nearest:
            raise CannotParse("not mine", self.nearest)
        return None


def test_the_first_that_can_read_it_wins() -> None:
    first, second, third = (
        Reads("Is there a river?", ("Is there a river?",)),
        Reads(QUESTION, name="b"),
        Reads(QUESTION),
    )
    assert write_program(f"  {QUESTION} ", (first, second, third)).writer == "b"
    assert (first.asked, second.asked, third.asked) == ([QUESTION], [QUESTION], [])


def test_nearest_forms_of_all_writers_are_told_once() -> None:
    first, second = (
        Reads("", ("Is there a lake?", "How many lakes are there?")),
        Reads("", ("Is there a lake?", "c", "d")),
    )
    with pytest.raises(CannotParse) as caught:
        write_program("Lakes, please", (first, Reads(""), second))
    assert caught.value.nearest == ("Is there a lake?", "How many lakes are there?", "c")
    for form in ("Lakes, please", *caught.value.nearest):
        assert form in str(caught.value)


def test_without_any_near_form_an_example_is_told() -> None:
    with pytest.raises(CannotParse, match="Is there a lake"):
        write_program("Lakes, please", (Reads(""),))


@pytest.mark.parametrize(
    "question", ["", " \n", "x" * 1001, "Is there a lake? " * 6000, "Есть ли озеро?", "\x00\x1b[2J"]
)
def test_what_is_no_question_reaches_no_writer(question: str) -> None:
    reads = Reads("")
    with pytest.raises(GraftError) as caught:
        write_program(question, (reads,))
    assert not reads.asked
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_language_model_is_the_last_resort(tmp_path: Path) -> None:
    with fake_llm(says(LAKE)) as server:
        model = writer(server.url, tmp_path)
        assert write_program(QUESTION, (Reads(QUESTION), model)).writer == "reads"
        assert not server.bodies
        assert write_program("Any lake-ish thing?", (Reads(QUESTION), model)).writer == "tiny"
        assert len(server.bodies) == 1


def test_what_a_language_model_says_is_told_beside_the_nearest_forms(tmp_path: Path) -> None:
    with fake_llm(says({"cannot": "People cannot be seen."})) as server, pytest.raises(CannotParse) as caught:
        write_program("Who lives here?", (Reads("", ("Is there a lake?",)), writer(server.url, tmp_path)))
    assert "People cannot be seen." in str(caught.value)
    assert "Is there a lake?" in str(caught.value)


def test_an_endpoint_that_is_down_is_no_fault_of_the_question(tmp_path: Path) -> None:
    with fake_llm(llm.error(401)) as server, pytest.raises(EndpointFault):
        write_program("Who lives here?", (Reads(""), writer(server.url, tmp_path)))


NO_NETWORK = """
import sys
sys.addaudithook(lambda event, _: event.startswith("socket.connect") and sys.exit("network"))
from graft.vqa.concepts import load_concepts
from graft.vqa.grammar import EverydayWriter, RSVQAWriter
from graft.vqa.writers import write_program
from graft.vqa.written import CannotParse
concepts = load_concepts("everyday")
writers = (RSVQAWriter(concepts), EverydayWriter(concepts))
print(write_program("Is there a lake?", writers).type)
try:
    write_program("Who lives here, and since when?", writers)
except CannotParse as fault:
    print(len(fault.nearest), fault)
print("openai" in sys.modules)
"""


def test_grammars_need_no_network() -> None:
    done = subprocess.run([sys.executable, "-c", NO_NETWORK], capture_output=True, text=True, check=True)
    kind, refusal, imported = done.stdout.splitlines()
    assert (kind, imported) == ("presence", "False")
    assert int(refusal.split()[0]) >= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('exists(find("lake"))', "presence"),
        ('exists(find("lake")) and not exists(segment("forest"))', "presence"),
        ('count(find("lake"))', "count"),
        ('lakes = find("lake")\nn = count(lakes)\nn', "count"),
        ('area(segment("lake")) + area(segment("river"))', "area"),
        ('fraction(segment("lake"))', "share"),
        ('area(segment("lake")) / area(segment("river"))', "count"),
        ('compare(count(find("lake")), "less", count(find("river")))', "comp"),
        ('count(find("lake")) > 2', "comp"),
        ('distance(find("lake"), find("river"))', "distance"),
        ('position(largest(find("lake")))', "place"),
        ('classify(["town", "forest"])', "classify"),
        ("rural_or_urban()", "rural_urban"),
        ('find("lake")', "objects"),
        ('"big" if area(segment("lake")) > 10000 else "small"', "classify"),
        (
            'if exists(find("lake")):\n    return area(segment("lake"))\nelse:\n    return 0 * area(segment("lake"))',
            "area",
        ),
    ],
)
def test_the_type_of_a_program(text: str, expected: str) -> None:
    assert type_of(check(read_python(text))) == expected
