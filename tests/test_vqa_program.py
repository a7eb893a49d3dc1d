import json
import random
import warnings
from collections import deque
from typing import Any

import pytest

from graft.errors import GraftError
from graft.vqa.budget import Budget, tick
from graft.vqa.check import Checked, check
from graft.vqa.functions import FUNCTIONS, RELATIONS
from graft.vqa.interpreter import run
from graft.vqa.json_form import read_json, to_json
from graft.vqa.python_form import read_python, to_python
from graft.vqa.refusal import Refused
from graft.vqa.tree import Literal, answer, call
from graft.vqa.values import Mask, Number, Objects, Text, Truth, Value
from tests.vqa_fuzz import Author
from tests.vqa_stub import Stub

LONG = """\
lakes = find("lake")
n = 0
for lake in lakes:
    if area(lake) > 2 * 75 and not exists(where(lake, "within", find("forest"), metres=20)):
        n = n + area(lake)
    elif -n < 3:
        n = n + 1 - (2 - 3) * (3 * -4)
    else:
        n = n if n > 1 else 2
for word in ["a", "b"]:
    if word == "b" or (True and False) and not 1 == 2:
        return "some"
return "none"
"""


def checked(text: str) -> Checked:
    return check(read_python(text))


def answered(text: str, toolbox: Stub | None = None, **bounds: Any) -> Value:
    return run(checked(text), toolbox or Stub(), Budget(**bounds))


def number(text: str, toolbox: Stub | None = None) -> Number:
    value = answered(text, toolbox)
    assert isinstance(value, Number)
    return value


@pytest.mark.parametrize(
    "text", [LONG, 'return exists(find("lake"))', "x = 1 - (2 - (3 + 4))\nreturn x * (2 // 3) % 5"]
)
def test_both_spellings_name_one_program(text: str) -> None:
    program = read_python(text)
    assert to_python(program) == text.rstrip("\n")
    assert read_json(to_json(program)) == program
    assert read_json(json.dumps(to_json(program))) == program


def test_both_spellings_of_any_program_are_read_back() -> None:
    for seed in range(150):
        program = Author(random.Random(seed)).program()
        plain = read_json(json.dumps(to_json(program)))
        assert read_python(to_python(plain)) == plain
        assert read_json(to_json(plain)) == plain
        assert to_python(read_python(to_python(plain))) == to_python(plain)


def test_json_is_as_the_docs_write_it() -> None:
    program = answer(call("compare", a=call("count", of=call("find", concept="lake")), op="more", b=2))
    lakes = {"call": "count", "with": {"of": {"call": "find", "with": {"concept": "lake"}}}}
    assert to_json(program) == {
        "program": [{"return": {"call": "compare", "with": {"a": lakes, "op": "more", "b": 2}}}]
    }
    assert to_python(program) == 'return compare(count(find("lake")), "more", 2)'
    assert check(program) == Checked(program, "truth", ("lake",))


def test_python_may_be_wrapped_abbreviated_and_end_in_a_value() -> None:
    plain = read_python("n = count(find('lake'))\nn = n + 1\nreturn n")
    assert read_python('def execute_command(image):\n    n = count(of=find("lake"))  # ñ\n    n += 1\n    n') == plain


def test_minus_a_constant_is_the_same_in_both_spellings() -> None:
    program = read_json({"program": [{"return": {"op": "neg", "of": [3]}}]})
    assert program == answer(Literal(-3)) == read_python("-3")
    assert read_python(to_python(read_python("return - -3"))) == read_python("return - -3")


def test_concepts_are_known_before_anything_is_looked_at() -> None:
    text = 'a = segment("b c")\nif exists(find("lake")):\n    return score("port")\nreturn score("lake") + area(a)'
    assert checked(text).concepts == ("b c", "lake", "port")
    assert checked('classify(["forest", "town"])').concepts == ("forest", "town")
    assert checked("rural_or_urban()").concepts == ("built-up area", "building")


GIVES = {
    "mask": 'union(segment("a"), segment("b"))',
    "objects": 'largest(filter(find("a"), size="small", larger_than_m2=20))',
    "number": 'area(segment("a")) / 2',
    "truth": 'exists(find("a")) and not False',
    "text": 'rural_or_urban() if count(find("a")) >= 2 else "x"',
}


@pytest.mark.parametrize("kind", GIVES)
def test_the_kind_of_the_answer_is_known_before_and_right(kind: str) -> None:
    program = checked(f"return {GIVES[kind]}")
    assert program.gives == kind
    kinds = {"mask": Mask, "objects": Objects, "number": Number, "truth": Truth, "text": Text}
    assert isinstance(run(program, Stub()), kinds[kind])


@pytest.mark.parametrize("relation", RELATIONS)
def test_every_relation_runs_with_what_it_takes(relation: str) -> None:
    toolbox, metres = Stub(), ", metres=200" if relation == "within" else ""
    answered(f'exists(where(find("a"), "{relation}", find("b"){metres}))', toolbox)
    given = dict(toolbox.calls)["where"]
    assert given["relation"] == relation
    assert given.get("metres") == (200.0 if metres else None)


def test_every_function_of_the_table_can_be_called() -> None:
    arguments = {"mask": 'segment("a")', "objects": 'find("a")', "number": "1", "text": '"a"', "list": '["a", "b"]'}
    for function in FUNCTIONS.values():
        given = [
            f'"{parameter.choices[0]}"' if parameter.choices else arguments[sorted(parameter.kinds)[0]]
            for parameter in function.parameters
            if parameter.required
        ]
        extra = ['size="small"'] if function.name == "filter" else []
        toolbox = Stub()
        answered(f"{function.name}({', '.join(given + extra)})", toolbox)
        assert toolbox.calls[-1][0] == function.name


CALCULATED = {
    "7 // 2 + 7 % 4 - 1": (5, ""),
    "-2 * 3 / 4": (-1.5, ""),
    'area(segment("a")) + area(segment("b"))': (3200, "m2"),
    'area(segment("a")) / area(segment("b"))': (1, ""),
    'area(segment("a")) / distance(find("a"), find("b"))': (1600 / 150, "m"),
    'distance(find("a"), find("b")) * distance(find("a"), find("b"))': (22500, "m2"),
    'fraction(segment("a")) / fraction(segment("b"))': (1, ""),
    'fraction(segment("a")) * area(segment("b"))': (400, "m2"),
    'fraction(segment("a")) * 100': (25, ""),
    '(fraction(segment("a")) + fraction(segment("b"))) / 2': (0.25, "share"),
    '0 + area(find("a"))': (600, "m2"),
}


@pytest.mark.parametrize("text", CALCULATED)
def test_numbers_are_calculated_with_their_units(text: str) -> None:
    value = number(text)
    assert (value.value, value.unit) == CALCULATED[text]


COMPARED = {"<": (True, False, False), "<=": (True, True, False), "==": (False, True, False)}
COMPARED |= {
    opposite: tuple(not holds for holds in COMPARED[op]) for opposite, op in ((">=", "<"), (">", "<="), ("!=", "=="))
}


@pytest.mark.parametrize("operator", COMPARED)
def test_numbers_are_compared_as_compare_does(operator: str) -> None:
    toolbox = Stub(there={"two": 2})
    for value, holds in zip((3, 2, 1), COMPARED[operator], strict=True):
        truth = answered(f'count(find("two")) {operator} {value}', toolbox)
        assert isinstance(truth, Truth)
        assert (truth.value, truth.confidence) == (holds, 0.9)
    assert toolbox.calls[-1][0] == "compare"


def test_words_and_truth_values_are_equal_or_not() -> None:
    for text, holds in (('"a" == "a"', True), ('"a" != "a"', False), ("True == False", False), ("True != False", True)):
        assert getattr(answered(text), "value", None) is holds


def test_reading_warns_of_nothing() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert read_python("return 1if True else 2") == read_python("return 1 if True else 2")
    assert seen == []


def test_a_unit_that_depends_on_a_condition_shows_when_it_runs() -> None:
    text = 'if exists(find("a")):\n    n = area(find("a"))\nelse:\n    n = distance(find("b"), find("c"))\n'
    text += 'return n + distance(find("b"), find("c"))'
    assert number(text, Stub(there={"a": 0})).value == 300
    with pytest.raises(Refused, match="square metres [+] metres"):
        number(text)


def test_a_result_is_as_sure_as_its_least_sure_part_and_keeps_every_step_once() -> None:
    toolbox = Stub(confidence={"area": 0.6, "count": 0.8})
    value = number('area(find("a")) * count(find("b")) + area(find("a"))', toolbox)
    assert value.confidence == 0.6
    assert [each.step for each in value.evidence] == ["area(a)", "count(b)"]


def test_an_answer_rests_on_the_conditions_that_led_to_it() -> None:
    toolbox = Stub(there={"lake": 0}, confidence={"exists": 0.55})
    text = 'if exists(find("lake")):\n    return "wet"\nreturn "dry"'
    value = answered(text, toolbox)
    assert isinstance(value, Text)
    assert (value.value, value.confidence) == ("dry", 0.55)
    assert [each.step for each in value.evidence] == ["exists(lake)"]


def test_an_answer_rests_on_the_number_of_objects_that_a_loop_went_through() -> None:
    value = number('n = 0\nfor x in find("lake"):\n    n += 1\nn', Stub(confidence={"count": 0.4}))
    assert (value.value, value.confidence) == (3, 0.4)
    assert [each.step for each in value.evidence] == ["count(lake)"]


def test_a_loop_goes_through_objects_one_by_one_and_can_return() -> None:
    text = 'for x in find("lake"):\n    if area(x) < 250:\n        return area(x)\nreturn 0'
    assert number(text).value == 200
    assert number("n = 0\nfor x in [1, 2, 3]:\n    n = n + x\nn").value == 6


@pytest.mark.parametrize(
    ("text", "value", "confidence"),
    [
        ('exists(find("lake")) and 1 < 2', True, 0.6),
        ('exists(find("none")) and count(find("lake")) > 0', False, 0.6),
        ('count(find("lake")) > 0 or exists(find("none"))', True, 0.9),
        ('exists(find("none")) or count(find("lake")) > 5', False, 0.6),
        ('not exists(find("none"))', True, 0.6),
    ],
)
def test_what_settles_and_or_says_how_sure_it_is(text: str, value: bool, confidence: float) -> None:
    truth = answered(text, Stub(there={"none": 0}, confidence={"exists": 0.6, "count": 0.9}))
    assert isinstance(truth, Truth)
    assert (truth.value, truth.confidence) == (value, confidence)


def test_what_is_settled_is_not_looked_at() -> None:
    toolbox = Stub(there={"lake": 0})
    text = 'exists(find("lake")) and distance(find("lake"), find("road")) < 100'
    assert getattr(answered(text, toolbox), "value", None) is False
    assert "distance" not in [name for name, _ in toolbox.calls]


def test_nothing_to_answer_about_is_an_answer() -> None:
    value = answered('distance(find("lake"), find("road")) < 100', Stub(there={"lake": 0}))
    assert isinstance(value, Text)
    assert (value.value, value.confidence) == ("there is no lake", 0.7)


def test_evidence_is_bounded_and_says_so() -> None:
    text = 'n = 0\nfor x in find("lake"):\n    n = n + area(x)\nn'
    value = number(text, Stub(there={"lake": 200}))
    assert len(value.evidence) == 64
    assert "further steps" in value.evidence[-1].step
    assert sum("further" in each.step for each in value.evidence) == 1


@pytest.mark.parametrize(
    ("text", "told", "bounds"),
    [
        ("return 1 / 0", "division by zero", {}),
        ("return 1 // (2 - 2)", "division by zero", {}),
        ("return 1 % 0.0", "division by zero", {}),
        ("x = 9000000000000000\nreturn x * x", "2**53", {}),
        ("n = 0\nfor x in [1, 2, 3]:\n    n = n + 1\nn", "loops more than 2 times", {"loops": 2}),
        ('count(find("a"))', "called vision functions more than 1", {"calls": 1}),
        ("1 + 2 + 3", "more than 4 steps", {"nodes": 4}),
        ("1 + 2 + 3", "nests deeper than 3", {"depth": 3}),
        ('exists(find("a"))', "holds 9 MB, more than 5", {"megabytes": 5}),
        ('exists(find("a"))', "more than 1e-09 s", {"seconds": 1e-9}),
    ],
)
def test_what_goes_wrong_while_it_runs_is_told(text: str, told: str, bounds: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"[.]$") as refused:
        answered(text, Stub(held_bytes=9_000_000), **bounds)
    assert told in str(refused.value)


def test_masks_that_a_program_makes_count_as_memory_while_it_keeps_them() -> None:
    kept = 'x = segment("a")\ny = [' + ", ".join(["union(x, x)"] * 20) + "]\nreturn 1"
    with pytest.raises(Refused, match="MB"):
        answered(kept, megabytes=300e-6)
    dropped = 'x = segment("a")\nfor n in [1, 2, 3, 4, 5, 6]:\n' + "    x = union(x, x)\n" * 5 + "return 1"
    assert answered(dropped, Stub(calls=deque(maxlen=0)), megabytes=300e-6)


def test_the_clock_is_looked_at_inside_the_toolbox_and_nowhere_else() -> None:
    class Slow(Stub):
        def find(self, concept: str) -> Objects:
            while True:
                tick()

    with pytest.raises(Refused, match=r"more than 0.05 s"):
        answered('exists(find("a"))', Slow(), seconds=0.05)
    tick()


def test_without_georeference_metres_are_refused_and_pixels_go_on() -> None:
    for text in (
        'area(find("a")) > 30000',
        'where(find("a"), "within", find("b"), metres=distance(find("a"), find("b")))',
    ):
        with pytest.raises(Refused, match="CRS"):
            answered(text, Stub(length="px"))
    with pytest.raises(Refused, match="georeference"):
        answered('compare(area(find("a")), "more", 30000)', Stub(length="px"))
    value = number('n = 0\nfor x in find("a"):\n    n = n + area(x)\nn', Stub(length="px"))
    assert (value.value, value.unit) == (600, "px2")


def test_a_toolbox_that_breaks_its_word_is_no_fault_of_the_user() -> None:
    class Wrong(Stub):
        def exists(self, of: Any) -> Any:
            return "yes"

    with pytest.raises(TypeError, match="promised"):
        answered('exists(find("a"))', Wrong())


def test_a_users_fault_in_the_toolbox_passes() -> None:
    class Faulty(Stub):
        def find(self, concept: str) -> Objects:
            raise GraftError(f"no words for {concept}")

    with pytest.raises(GraftError, match="no words for a"):
        answered('exists(find("a"))', Faulty())
