from dataclasses import replace

import pytest

from graft.vqa.check import check
from graft.vqa.limits import NODES, STATEMENT_NODES
from graft.vqa.python_form import read_python
from graft.vqa.refusal import Refused
from graft.vqa.tree import Literal, Program, Return, answer, call

REFUSED_BY_THE_CHECK = {
    "return x": "never given a value",
    "x = 1": "can end without an answer",
    'if exists(find("a")):\n    return 1': "can end without an answer",
    "return 1\nreturn 2": "comes after a return",
    'if exists(find("a")):\n    return 1\nreturn "no"': "where an earlier return gives a number",
    'if exists(find("a")):\n    x = 1\nreturn x': "depends on the condition of statement 1",
    'if exists(find("a")):\n    x = 1\nelse:\n    x = "a"\nreturn x': "depends on the condition",
    "for x in [1]:\n    y = x\nreturn y": "which may have no rounds",
    'y = 1\nfor x in [1]:\n    y = "a"\nreturn y': "before the loop",
    "for x in [1]:\n    y = y + 1\nreturn 1": "y was never given a value",
    "for x in 3:\n    y = 1\nreturn 1": "a loop over a number",
    'return find("a") + 1': "takes numbers",
    'return "a" + "b"': "takes numbers",
    'return "a" * 3': "takes numbers",
    'return "a" % 3': "takes numbers",
    'return "a" < "b"': "takes numbers",
    "return True + 1": "takes numbers",
    'return find("a") == find("a")': "texts or truth values",
    'return 1 if find("a") else 2': "Ask exists(...)",
    "return 1 if True else False": "Use one kind",
    "return [1, 2]": "a list is no answer",
    "x = []\nreturn 1": "an empty list",
    'x = [1, "a"]\nreturn 1': "different kinds",
    "x = [[1]]\nreturn 1": "a list inside a list",
    'c = "lake"\nreturn exists(find(c))': "must be written out",
    'for c in ["a", "b"]:\n    x = find(c)\nreturn 1': "must be written out",
    'return classify(["a"])': "two or more different words",
    'return classify(["lake", " Lake"])': "two or more different words",
    'return score("123")': "names nothing",
    'return count("lake")': 'Write find("...")',
    'return count(segment("a"))': "of must be objects",
    'return find(find("a"))': "concept must be text",
    'return filter(find("a"))': "no criterion",
    'return filter(find("a"), size="huge")': "expected one of small, medium, large",
    's = "small"\nreturn filter(find("a"), size=s)': "worked out",
    'return filter(find("a"), larger_than_m2=-2)': "expected a number from 0",
    'return filter(find("a"), larger_than_m2=distance(find("a"), find("b")))': "must be in m2",
    'return where(find("a"), "above", find("b"))': "expected one of next to",
    'return where(find("a"), "within", find("b"))': "needs metres",
    'return where(find("a"), "north of", find("b"), metres=3)': "takes no metres",
    'return compare(1, "<", 2)': "expected one of less, more, equal",
    'return compare(area(find("a")), "more", distance(find("a"), find("b")))': "square metres == metres",
    'return area(find("a")) < fraction(find("a"))': "has no meaning",
    'return count(find("a")) / area(find("a"))': "has no meaning",
    "x = " + " + ".join(["1"] * 20) + "\n" + "y = " + "-" * 22 + "x\nreturn " + "not " * 25 + "True": "nested deeper",
    "\n".join(f"x = {k}" for k in range(NODES)) + "\nreturn 1": "more than 400",
    'return area(find("a")) * area(find("a"))': "has no meaning",
    "\n".join(f'x{k} = "{k}{"a" * 95}"' for k in range(43)) + "\nreturn 1": "all texts together",
    f"x = [{', '.join(['1'] * (STATEMENT_NODES + 1))}]\nreturn 1": "more than 100 expressions",
}


@pytest.mark.parametrize("text", REFUSED_BY_THE_CHECK)
def test_the_check_says_what_is_wrong_and_where(text: str) -> None:
    with pytest.raises(Refused, match=r"(?s)^[A-Z].*[.]$") as refused:
        check(read_python(text))
    assert REFUSED_BY_THE_CHECK[text] in str(refused.value)


def test_the_check_does_not_trust_trees_that_code_built() -> None:
    for program in (
        Program(()),
        answer(call("find", concept="a", more=1)),
        answer(call("eval", concept="a")),
        answer(Literal(10**30)),
        answer(Literal("x" * 101)),
        Program((Return(replace(call("find", concept="a"), arguments=(("concept", Literal("a")),) * 2)),)),
    ):
        with pytest.raises(Refused):
            check(program)
