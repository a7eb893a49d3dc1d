"""The `graft` command: each sub-command is a plain function that Python can call as well."""

import json
import re
import sys
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NoReturn

from jsonargparse import ArgumentParser, auto_cli

from graft.audit import audit
from graft.convert import convert
from graft.errors import fault_behind
from graft.export import export
from graft.index import index
from graft.index.verbs import VERBS as INDEX_VERBS
from graft.photos import photos
from graft.photos.download import download
from graft.prepare import prepare
from graft.search import search
from graft.search.arguments import spelt_out
from graft.segment import segment
from graft.shard_tools import VERBS as SHARD_VERBS
from graft.vqa.ask import ask
from graft.vqa.ask_arguments import spelt_out as spelt_out_questions
from graft.vqa.calibrate import calibrate


def atlas(*, out: Path, sensor: str = "sentinel", seed: int = 0, size: Literal["demo", "tiny"] = "demo") -> None:
    """Write the embedded world: scenes, geotagged photos, polygons and benchmarks, all from a seed.

    Args:
        out: folder of the world.
        sensor: sentinel (10 m) or naip (1 m).
        seed: another seed is another world.
        size: demo, or tiny for a quick look.
    """
    from graft.atlas import DEMO, TINY, build_world

    build_world(out, sensor=sensor, seed=seed, size=DEMO if size == "demo" else TINY)


def teacher(*, world: Path, out: Path, seed: int = 0) -> None:
    """Train a small CLIP on the captioned ground photos of an embedded world.

    Args:
        world: folder that `graft atlas` wrote.
        out: open_clip folder to write; graft prepare takes it as --teacher.architecture=local-dir:OUT.
        seed: of the initial weights and the order of photos.
    """
    from graft.atlas.teacher import train_teacher

    train_teacher(world, out, seed=seed)


class _DashedParser(ArgumentParser):
    """Spells options with dashes, takes a bool that is off by default as a bare flag, and tells a fault in one line."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the fault and exit with status 2, or 1 where a value was understood and does not fit."""
        fault = None if ex is None else fault_behind(ex)
        told = " ".join(message.split()) if fault is None else str(fault)
        more = f" ({self.prog.replace('[options] ', '')} --help lists the options)" if fault is None else ""
        print(f"graft: {told}{more}", file=sys.stderr)
        raise SystemExit(2 if fault is None else 1)

    def add_argument(self, *names: str, **settings: Any) -> Any:
        nested = "." in names[0]  # a key of a configuration: --shards.photos=true
        if not nested and settings.get("type") is bool and settings.get("default") is False:
            del settings["type"]
            settings["action"] = "store_true"
        return super().add_argument(*(_dashed(name) for name in names), **settings)


def _dashed(argument: str) -> str:
    """`--max_photos=5` as `--max-photos=5`; anything that is not an option stays."""
    option = re.match(r"--[^=]*", argument)
    return option[0].replace("_", "-") + argument[option.end() :] if option else argument


def commands() -> dict[str, Any]:
    """Sub-commands by name; those of a group under its name."""
    return {
        "photos": photos,
        "download": download,
        "prepare": prepare,
        "audit": audit,
        "shards": {"_help": "List, look into, divide and join shards.", **SHARD_VERBS},
        "segment": segment,
        "index": index,
        "indexes": {"_help": "Look into, export, tidy and speed up indexes.", **INDEX_VERBS},
        "search": search,
        "ask": ask,
        "calibrate": calibrate,
        "convert": convert,
        "export": export,
        "atlas": atlas,
        "teacher": teacher,
    }


def _spelt_out(args: list[str]) -> list[str]:
    """`prepare A B` as `prepare --config=A --config=B`; what other commands take as one list."""
    if args[:1] == ["search"]:
        return ["search", *spelt_out(args[1:])]
    if args[:1] == ["ask"]:
        return ["ask", *spelt_out_questions(args[1:])]
    command = 2 if args[:2] == ["shards", "merge"] else 1
    names = list(takewhile(lambda arg: not arg.startswith(("-", "[")), args[command:]))
    rest = args[command + len(names) :]
    if args[:1] == ["prepare"]:
        return ["prepare", *(f"--config={file}" for file in names), *rest]
    if names and (command == 2 or args[:1] in (["index"], ["calibrate"])):
        return [*args[:command], json.dumps(names), *rest]
    return args


def main(args: list[str] | None = None) -> None:
    """Run the `graft` command.

    Args:
        args: arguments without the program's name; `sys.argv` if None.

    Raises:
        SystemExit: with status 1 after one line on stderr for a fault in the input, 2 for a wrong option.
    """
    given = _spelt_out(sys.argv[1:] if args is None else args)
    try:
        auto_cli(
            commands(),
            args=[_dashed(arg) for arg in given],
            parser_class=_DashedParser,
            as_positional=True,  # `segment SCENE`; every other argument is keyword-only
            prog="graft",
        )
    except Exception as error:
        fault = fault_behind(error)
        if fault is None:
            raise
        print(f"graft: {fault}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
