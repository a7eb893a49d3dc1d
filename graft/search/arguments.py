"""The command line of `graft search`, which takes several values after one option."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable

_SEVERAL = {"--not": "without", "--without": "without", "--photo": "photo"}
_NUMBERS = frozenset({"--near", "--radius-km", "--min-valid", "--max-cloud", "--overlap"})
_FLAGS = frozenset({"--ann", "-h", "--help"})


def spelt_out(args: list[str]) -> list[str]:
    """Arguments after `search` as the parser takes them: one value an option.

    `IDX wind turbines --near -122.4 37.8 --not grassland lake --photo a.jpg b.jpg` becomes
    `IDX --words=wind turbines --near=[-122.4, 37.8] --without=["grassland", "lake"] --photo=["a.jpg", "b.jpg"]`.
    Values go on to the next argument that starts with two dashes; options given twice add up where they take several.
    """
    plain: list[str] = []
    options: list[str] = []
    several: dict[str, list[str]] = defaultdict(list)
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        name, equals, value = arg.partition("=")
        if not _is_option(arg):
            plain.append(arg)
        elif name in _SEVERAL:
            several[_SEVERAL[name]] += [value] if equals else _values(rest)
        elif name == "--near" and not equals:
            options.append(f"--near={_as_list(_values(rest, at_most=2))}")
        elif name in _NUMBERS and (equals or (rest and not _is_option(rest[0]))):
            options.append(f"{name}={_as_yaml(value if equals else rest.pop(0))}")
        elif equals or name in _FLAGS or not rest or rest[0].startswith("--"):
            options.append(arg)
        else:
            options.append(f"{name}={rest.pop(0)}")  # a value that starts with a minus stays one
    words = [f"--words={' '.join(plain[1:])}"] if len(plain) > 1 else []
    lists = [f"--{name}={json.dumps(values)}" for name, values in several.items()]
    return [*plain[:1], *words, *options, *lists]


def _is_option(arg: str) -> bool:
    return arg.startswith("--") or arg == "-h"


def _values(rest: list[str], at_most: int | None = None) -> list[str]:
    """Take the values at the head of `rest` off it."""
    taken: list[str] = []
    while rest and not _is_option(rest[0]) and len(taken) != at_most:
        taken.append(rest.pop(0))
    return taken


def _as_list(values: Iterable[str]) -> str:
    """Numbers as a list of the parser; anything else stays as it is, to be refused by name."""
    return f"[{', '.join(map(_as_yaml, values))}]"


def _as_yaml(number: str) -> str:
    """What is no finite number as YAML spells it, so that the filters refuse it and not the parser."""
    return re.sub(r"\b(nan|inf)\b", lambda word: f".{word[0].lower()}", number, flags=re.IGNORECASE)
