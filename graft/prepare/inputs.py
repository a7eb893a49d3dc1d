"""What decides the bytes of a build's shards: a change of any of it is another build."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft.errors import GraftError
from graft.files import sha256_file
from graft.imagery.folder import find_files
from graft.prepare.looks import load_teacher
from graft.prepare.settings import BuildSettings


def build_inputs(settings: BuildSettings) -> dict[str, Any]:
    """Settings, and the content of all files that they name; of scenes and areas name, size and time.

    Raises:
        GraftError: a file that is named and is not there.
    """
    scenes, takedown = settings.imagery.scenes, settings.filters.takedown
    for path in [*settings.filters.exclude, *([takedown] if takedown else [])]:
        if not path.exists():
            raise GraftError(f"No file or folder at {path}: correct filters.exclude or filters.takedown.")
    inputs: dict[str, Any] = {
        **settings.deciding(),
        "photo table": sha256_file(settings.photos),
        "scene files": None if scenes is None else _stamps(find_files(scenes)),
        "excluded areas": _stamps(_files_below(settings.filters.exclude)),
        "take-down list": sha256_file(takedown) if takedown else None,
    }
    if settings.teacher is not None:
        teacher, judge = load_teacher(settings.teacher, settings.content.scene_prompts)
        inputs |= {"teacher's weights": teacher.identity, "scene words": judge.card["sha256"]}
    return inputs


def _files_below(places: Sequence[Path]) -> list[Path]:
    return [file for place in places for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]


def _stamps(files: Sequence[Path]) -> list[list[Any]]:
    return [[str(file.absolute()), stat.st_size, stat.st_mtime_ns] for file in sorted(files) if (stat := file.stat())]
