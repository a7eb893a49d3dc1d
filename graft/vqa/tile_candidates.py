"""Which tiles of an index are worth looking at for a question: the likeliest, by search."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graft.prompts import PLAIN_FAMILIES, TextTower, ensemble
from graft.search.engine import MOST_HITS, search_index
from graft.search.hits import Hit
from graft.search.query import Wish, mix
from graft.vqa.check import Checked
from graft.vqa.concepts import Concepts
from graft.vqa.tree import Call, Choice, Expression, For, If, Items, Let, Literal, Operation, Return, Statement

if TYPE_CHECKING:
    from graft.index.table import Index

_RRF = 60
"""Of reciprocal rank fusion, sum of 1 / (60 + rank) over the concepts (Cormack et al., SIGIR 2009)."""

_ANYTHING = "land"
"""Searched for where a program looks for no concept: the order does not matter then."""


def find_candidates(index: "Index", program: Checked, concepts: Concepts, tower: TextTower, number: int) -> list[Hit]:
    """The tiles that are likeliest to answer yes, by reciprocal rank fusion of a search for each concept.

    Concepts that a program only denies (`not exists(…)`) are not searched for.

    Args:
        index: open.
        program: of the question.
        concepts: the vocabulary; a concept is searched for by the mean of its phrases and those of what it includes.
        tower: the index's CLIP.
        number: how many at most.

    Raises:
        GraftError: an index without tiles.
    """
    wanted = wanted_concepts(program.program.statements) or program.concepts
    scores: dict[str, float] = {}
    hits: dict[str, Hit] = {}
    for concept in wanted or (_ANYTHING,):
        known = concepts.known(concept)
        names = [concept] if known is None else concepts.family(known)
        phrases = [phrase for name in names for phrase in (concepts[name].phrases if known else (name,))]
        templates = PLAIN_FAMILIES["ground"]
        vectors = tower.encode_text([t.replace("{}", phrase) for phrase in phrases for t in templates])
        query = mix([Wish("words", concept, 1.0)], ensemble(vectors)[None].float())
        for hit in search_index(index, query, top=min(number, MOST_HITS), overlap=1.0).hits:
            scores[hit.id] = scores.get(hit.id, 0.0) + 1 / (_RRF + hit.rank)
            hits.setdefault(hit.id, hit)
    best = sorted(hits, key=lambda name: (-scores[name], hits[name].rank, name))
    return [hits[name] for name in best[:number]]


def wanted_concepts(statements: Sequence[Statement]) -> tuple[str, ...]:
    """Concepts of a program that stand under no `not`, in order."""
    found: dict[str, None] = {}

    def expression(each: Expression) -> None:
        match each:
            case Call(function, arguments):
                for name, value in arguments:
                    if name == "concept" and isinstance(value, Literal):
                        found[str(value.value)] = None
                    elif function == "classify" and isinstance(value, Items):
                        found.update((str(item.value), None) for item in value.items if isinstance(item, Literal))
                    else:
                        expression(value)
            case Operation(operator, operands) if operator != "not":
                for operand in operands:
                    expression(operand)
            case Items(items):
                for item in items:
                    expression(item)
            case Choice(test, then, otherwise):
                for part in (test, then, otherwise):
                    expression(part)

    def block(several: Sequence[Statement]) -> None:
        for each in several:
            match each:
                case If(test, then, otherwise):
                    expression(test)
                    block(then)
                    block(otherwise)
                case For(_, items, body):
                    expression(items)
                    block(body)
                case Let(_, value):
                    expression(value)
                case Return(value):
                    expression(value)

    block(statements)
    return tuple(found)
