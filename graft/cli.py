"""The `graft` command: each sub-command is a plain function that Python can call as well."""

import re
import sys
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, auto_cli

from graft.errors import GraftError
from graft.prepare import prepare
from graft.segment import segment


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
        out: open_clip folder to write; `graft prepare --teacher local-dir:OUT` uses it.
        seed: of the initial weights and the order of photos.
    """
    from graft.atlas.teacher import train_teacher

    train_teacher(world, out, seed=seed)


class _DashedParser(ArgumentParser):
    """Spells options with dashes, and takes a bool that is off by default as a bare flag."""

    def add_argument(self, *names: str, **settings: Any) -> Any:
        if settings.get("type") is bool and settings.get("default") is False:
            del settings["type"]
            settings["action"] = "store_true"
        return super().add_argument(*(_dashed(name) for name in names), **settings)


def _dashed(argument: str) -> str:
    """`--max_photos=5` as `--max-photos=5`; anything that is not an option stays."""
    option = re.match(r"--[^=]*", argument)
    return option[0].replace("_", "-") + argument[option.end() :] if option else argument


def main(args: list[str] | None = None) -> None:
    """Run the `graft` command.

    Args:
        args: arguments without the program's name; `sys.argv` if None.

    Raises:
        SystemExit: with status 1 after one line on stderr for a fault in the input, 2 for a wrong option.
    """
    given = sys.argv[1:] if args is None else args
    commands: dict[str, Any] = {"prepare": prepare, "segment": segment, "atlas": atlas, "teacher": teacher}
    try:
        auto_cli(
            commands,
            args=[_dashed(arg) for arg in given],
            parser_class=_DashedParser,
            as_positional=True,  # `segment SCENE`; every other argument is keyword-only
            prog="graft",
        )
    except GraftError as error:
        print(f"graft: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
