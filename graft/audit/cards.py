"""`index.json`, read with every fault listed instead of stopping at the first."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.audit.findings import Check, Level
from graft.errors import GraftError
from graft.sensors import get_sensor

INDEX_NAME = "index.json"
INDEX_VERSION = 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "sensor": str,
    "radiometry": str,
    "tile_size": int,
    "teacher": (dict, type(None)),
    "photos_stored": bool,
    "shards": list,
}
_TEACHER: dict[str, type] = {"name": str, "identity": str, "dim": int}
_SHARD: dict[str, type] = {"file": str, "samples": int, "photos": int, "bytes": int, "sha256": str}


@dataclass(frozen=True)
class ShardRow:
    """What the index says of one shard."""

    file: str
    samples: int
    photos: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SplitCard:
    """What the index says of the shards of one folder.

    Attributes:
        name: of the split: the folder's.
        folder: of the shards.
        sensor: name in `sensors.yaml`.
        radiometry: how stored numbers became display values.
        tile_size: side of a tile in pixels.
        teacher: `name`, `identity`, `dim`; None without vectors.
        photos_stored: whether samples hold photo files.
        split: as the index states it; None where it does not.
        shards: those with a usable row.
        build: how the shards came about; empty where the index does not say.
    """

    name: str
    folder: Path
    sensor: str
    radiometry: str
    tile_size: int
    teacher: dict[str, Any] | None
    photos_stored: bool
    split: str | None
    shards: tuple[ShardRow, ...]
    build: dict[str, Any]


def split_folders(shards: Path) -> list[Path]:
    """The folders with an `index.json`: the given one, or its sub-folders.

    Raises:
        GraftError: there is none.
    """
    if (shards / INDEX_NAME).is_file():
        return [shards]
    found = sorted(path.parent for path in shards.glob(f"*/{INDEX_NAME}")) if shards.is_dir() else []
    found = [folder for folder in found if not folder.name.startswith(".")]
    if not found:
        raise GraftError(
            f"No shards at {shards}: neither it nor a folder in it holds an {INDEX_NAME}. "
            "Give the folder that graft prepare wrote."
        )
    return found


def read_card(folder: Path) -> tuple[SplitCard | None, Check]:
    """Read and check `folder/index.json`.

    Returns:
        The card, None if the index cannot be used at all; and the check of its schema.
    """
    path = folder / INDEX_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return None, _check(folder, [f"is not readable as JSON ({error})"], [])
    faults = list(_faults(content))
    warnings = list(_radiometry(content)) if not faults else []
    usable = isinstance(content, dict) and not any(_typed(content, _FIELDS)) and content["tile_size"] > 0
    if not usable or content.get("version") != INDEX_VERSION or (content["teacher"] and any(_teacher(content))):
        return None, _check(folder, faults, warnings)
    rows = [row for row in content["shards"] if isinstance(row, dict) and not any(_typed(row, _SHARD))]
    build, split = content.get("build"), content.get("split")
    card = SplitCard(
        folder.name,
        folder,
        content["sensor"],
        content["radiometry"],
        content["tile_size"],
        content["teacher"],
        content["photos_stored"],
        split if isinstance(split, str) else None,
        tuple(ShardRow(**{key: row[key] for key in _SHARD}) for row in rows if _plain_name(row["file"])),
        build if isinstance(build, dict) else {},
    )
    return card, _check(folder, faults, warnings)


def _check(folder: Path, faults: list[str], warnings: list[str]) -> Check:
    level = Level.FAULT if faults else Level.WARNING if warnings else Level.OK
    problems = [*faults, *warnings]
    says = f"{folder.name}/{INDEX_NAME} {problems[0]}" if problems else f"{folder.name}/{INDEX_NAME} is whole"
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return Check(
        "Files",
        "index",
        level,
        says + more,
        {"faults": len(faults), "warnings": len(warnings)},
        problems[:10] if len(problems) > 1 else [],
        "Build the shards again with this version of graft prepare.",
    )


def _typed(content: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:
    for key, kind in wanted.items():
        if key not in content:
            yield f"lacks {key!r}"
        elif not isinstance(content[key], kind) or (kind is int and isinstance(content[key], bool)):
            yield f"has {key} {str(content[key])[:60]!r}, which is not of the right type"
        elif kind is int and content[key] < 0:
            yield f"has {key} {content[key]}, which is below 0"


def _teacher(content: dict[str, Any]) -> Iterator[str]:
    yield from (f"teacher: {fault}" for fault in _typed(content["teacher"], _TEACHER))


def _plain_name(file: str) -> bool:
    return file == Path(file).name and file not in ("", ".", "..")


def _faults(content: Any) -> Iterator[str]:
    """Everything that breaks the schema of `docs/data.md`."""
    if not isinstance(content, dict):
        yield "is not a JSON object"
        return
    if content.get("version") != INDEX_VERSION:
        yield f"has schema version {content.get('version')!r}, this graft reads {INDEX_VERSION}"
    yield from _typed(content, _FIELDS)
    if isinstance(content.get("tile_size"), int) and content["tile_size"] < 1:
        yield f"has tile_size {content['tile_size']}"
    if isinstance(content.get("teacher"), dict):
        yield from _teacher(content)
        if not _SHA256.fullmatch(str(content["teacher"].get("identity"))):
            yield "names a teacher whose identity is not a sha256"
    elif content.get("photos_stored") is False:
        yield "names no teacher and stores no photos: there is nothing to learn from"
    try:
        get_sensor(str(content.get("sensor")))
    except GraftError as error:
        yield f"names a sensor that is not in sensors.yaml ({error})"
    rows = content.get("shards")
    if not isinstance(rows, list):
        return
    if not rows:
        yield "lists no shards"
    files = [row.get("file") for row in rows if isinstance(row, dict)]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            yield f"shards[{number}] is not an object"
            continue
        yield from (f"shards[{number}]: {fault}" for fault in _typed(row, _SHARD))
        if isinstance(row.get("sha256"), str) and not _SHA256.fullmatch(row["sha256"]):
            yield f"shards[{number}] has a sha256 that is none"
        if isinstance(row.get("file"), str) and not _plain_name(row["file"]):
            yield f"shards[{number}] has the file {row['file']!r}, which is not a plain name"
    if len(set(map(str, files))) < len(files):
        yield "lists a shard twice"


def _radiometry(content: dict[str, Any]) -> Iterator[str]:
    ours = get_sensor(content["sensor"]).radiometry
    if content["radiometry"] != ours:
        yield f"was rendered as {content['radiometry']!r}; sensors.yaml now says {ours!r}"
