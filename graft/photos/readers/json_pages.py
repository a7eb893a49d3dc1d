"""Answers of web services, kept in files: one JSON document a file, or one a line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from graft.errors import GraftError
from graft.photos.readers.files import byte_lines, files_of
from graft.tally import Tally


def dig(value: object, *keys: str | int) -> Any:
    """`value[key0][key1]…`, or None where the JSON at hand is not of that shape."""
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def json_entries(
    source: Path, entries: Callable[[object], list[object] | None], *, expected: str, skipped: Tally
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Photos of all pages, each with a name for the list of faults.

    Args:
        source: a file, or a folder of files *.json, *.jsonl, *.json.gz or *.geojson.
        entries: the photos of a document, None if it is not of the format.
        expected: what a document looks like, for the message.
        skipped: takes pages and photos that are left out.

    Raises:
        GraftError: no page is of the format.
    """
    files = files_of(source, "*.json", "*.jsonl", "*.json.gz", "*.geojson")
    pages = 0
    for file in tqdm(files, desc="pages", unit="file", disable=len(files) == 1):
        for name, document in _documents(file):
            found = entries(document)
            if found is None:
                skipped.add("page is damaged or not of the format", name)
                continue
            pages += 1
            for number, entry in enumerate(found):
                if isinstance(entry, dict):
                    yield f"{name}[{number}]", entry
                else:
                    skipped.add("entry is not an object", f"{name}[{number}]")
    if pages == 0:
        raise GraftError(
            f"{source} is not of this format: expected {expected}. Give the right files, or another --format."
        )


def _documents(file: Path) -> Iterator[tuple[str, object]]:
    lines = byte_lines(file, bar=False)
    first = next(lines, b"")
    document = _parsed(first)
    if document is not None:  # a document a line, or a single one
        yield file.name, document
        for number, line in enumerate(lines, start=2):
            if line.strip():
                yield f"{file.name}:{number}", _parsed(line)
    else:
        yield file.name, _parsed(first + b"".join(lines))


def _parsed(text: bytes) -> object:
    """The JSON value, None if it is none. Flickr wraps it into a call unless asked not to."""
    bare = text.removeprefix(b"\xef\xbb\xbf").strip().removeprefix(b"jsonFlickrApi(").removesuffix(b")")
    try:
        return json.loads(bare.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
