"""The command line of `graft ask`, which takes questions after the scene."""

import json

_FLAGS = frozenset({"--json", "--display", "--any-gsd", "-h", "--help"})


def spelt_out(args: list[str]) -> list[str]:
    """Arguments after `ask` as the parser takes them: the questions as one list.

    `scene.tif "Is there a lake?" "How many?" --model M` becomes
    `scene.tif --question=["Is there a lake?", "How many?"] --model=M`. Words without quotation marks make one question.
    """
    plain: list[str] = []
    options: list[str] = []
    given: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        name, equals, value = arg.partition("=")
        if not (arg.startswith("--") or arg == "-h"):
            plain.append(arg)
        elif name == "--question" and (equals or rest):
            given.append(value if equals else rest.pop(0))
        elif equals or name in _FLAGS or not rest or rest[0].startswith("--"):
            options.append(arg)
        else:
            options.append(f"{name}={rest.pop(0)}")
    questions = plain[1:]
    if len(questions) > 1 and not any(" " in question.strip() for question in questions):
        questions = [" ".join(questions)]
    questions += given
    return [*plain[:1], *([f"--question={json.dumps(questions)}"] if questions else []), *options]
