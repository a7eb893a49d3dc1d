"""A folder of photos that carry their position in their EXIF block."""

import os
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from graft.errors import GraftError
from graft.exif import NoPositionError, read_geotag
from graft.tally import Tally

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def read(source: Path, skipped: Tally) -> Iterator[dict[str, object]]:
    """Photos of a folder and the folders in it; a photo's id is its path below the folder.

    Args:
        source: folder.
        skipped: takes photos without a position.

    Raises:
        GraftError: no folder, or no photo in it.
    """
    number = sum(1 for _ in _photos(source))
    if number == 0:
        raise GraftError(f"No photos at {source}: give a folder with {', '.join(SUFFIXES)} files.")
    for file in tqdm(_photos(source), total=number, desc="reading geotags", unit="photo"):
        name = file.relative_to(source).as_posix()
        try:
            tag = read_geotag(file)
        except NoPositionError as reason:
            skipped.add(str(reason), name)
            continue
        yield {
            "photo_id": name,
            "path": str(file.absolute()),
            "lon": tag.lon,
            "lat": tag.lat,
            "accuracy_m": tag.accuracy_m,
            "heading": tag.heading,
            "taken_at": tag.taken_at,
            "author": tag.author,
            "width": tag.width,
            "height": tag.height,
        }


def _photos(folder: Path) -> Iterator[Path]:
    """In order, one folder's names in memory at a time."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names) if name.lower().endswith(SUFFIXES) and name[0] != ".")
