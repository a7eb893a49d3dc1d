"""YFCC100M: the metadata of 100 million Flickr photos and videos."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from urllib.parse import unquote_plus

from graft.errors import GraftError
from graft.photos.readers.files import COLUMNS_FAULT, files_of, text_lines
from graft.photos.schema import NOT_UTF8, is_utf8
from graft.tally import Tally

# Columns by name, of the file of 2014 (23) and of the later one, which starts each line with a line number and puts
# a hash behind the id (25).
_OLD = """
    photo_id user_id nickname taken uploaded device title description user_tags machine_tags lon lat accuracy page_url
    url license license_url server farm secret original_secret extension marker
""".split()  # noqa: SIM905 (a list of strings would take 23 lines)
_NEW = ["line", "photo_id", "hash", *_OLD[1:]]
_LAYOUTS = {len(columns): {name: place for place, name in enumerate(columns)} for columns in (_OLD, _NEW)}
_LOOKED_AT = 100  # lines that decide on the layout


def read(source: Path, skipped: Tally) -> Iterator[dict[str, object]]:
    """Photos of a metadata file, or of a folder of files yfcc100m_dataset*, plain or packed.

    Args:
        source: file or folder.
        skipped: takes videos and lines that are no row.

    Raises:
        GraftError: the lines of a file have neither 23 nor 25 columns.
    """
    for file in files_of(source, "yfcc100m_dataset*"):
        lines = text_lines(file)
        head = list(islice(lines, _LOOKED_AT))
        width = _width(file, head)
        at = _LAYOUTS[width]
        for number, line in enumerate(chain(head, lines), start=1):
            cells = line.rstrip("\r\n").split("\t")
            if len(cells) != width:
                skipped.add(COLUMNS_FAULT, f"{file.name}:{number}")
            elif not is_utf8(line):
                skipped.add(NOT_UTF8, f"{file.name}:{number}")
            elif cells[at["marker"]] == "1":
                skipped.add("a video", cells[at["photo_id"]])
            else:
                yield _row({name: "" if cells[place] == "null" else cells[place] for name, place in at.items()})


def _width(file: Path, head: list[str]) -> int:
    seen = Counter(line.count("\t") + 1 for line in head)
    # A cut line of 25 may have 23: the file decides, not the line.
    width = max(_LAYOUTS, key=lambda columns: seen[columns])
    if not seen[width]:
        found = ", ".join(str(columns) for columns in sorted(seen)) or "no"
        raise GraftError(
            f"{file} is not YFCC100M metadata: its lines have {found} columns, expected 25 or 23 divided by tabs. "
            "Give the file yfcc100m_dataset, or another --format."
        )
    return width


def _row(cells: dict[str, str]) -> dict[str, object]:
    author = unquote_plus(cells["nickname"], errors="surrogateescape") or cells["user_id"]
    return {
        "photo_id": cells["photo_id"] and f"flickr-{cells['photo_id']}",
        "source": "yfcc100m",
        "url": cells["url"],
        "lon": cells["lon"],
        "lat": cells["lat"],
        "accuracy_level": cells["accuracy"],
        "taken_at": cells["taken"],
        "author": author,
        "license": cells["license"],
        "license_url": cells["license_url"],
        "page_url": cells["page_url"],
    }
