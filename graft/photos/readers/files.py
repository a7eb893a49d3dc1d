"""Text files of any size, line by line; what cannot be read costs its own row."""

import bz2
import csv
import gzip
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from graft.errors import GraftError, first_line
from graft.photos.schema import NOT_UTF8, is_utf8
from graft.tally import Tally

COLUMNS_FAULT = "wrong number of columns"
_LONGEST_LINE = 1 << 26  # bytes; a longer one is cut, so that a file without line ends does not fill the memory
_BAR_EVERY = 1024  # lines


def files_of(source: Path, *patterns: str) -> list[Path]:
    """`source` itself, or the files of that folder that match a pattern, in order of name.

    Raises:
        GraftError: there is none.
    """
    if source.is_file():
        return [source]
    found = {file for pattern in patterns for file in source.glob(pattern) if file.is_file() and file.name[0] != "."}
    if not found:
        raise GraftError(f"No photos at {source}: give a file, or a folder that holds {' or '.join(patterns)}.")
    return sorted(found)


def byte_lines(path: Path, *, bar: bool = True) -> Generator[bytes]:
    """Lines of a file that may be packed with gzip or bzip2.

    Args:
        path: the file.
        bar: show how much of it is read.

    Raises:
        GraftError: the file cannot be unpacked to its end.
    """
    shown = {"desc": path.name, "unit": "B", "unit_scale": True, "disable": not bar}
    with path.open("rb") as raw, tqdm(total=path.stat().st_size, **shown) as progress:
        stream = _unpacked(raw)
        number = 0
        try:
            while line := stream.readline(_LONGEST_LINE):
                if number % _BAR_EVERY == 0:
                    progress.update(raw.tell() - progress.n)
                number += 1
                yield line
        except (EOFError, OSError, zlib.error) as error:
            raise GraftError(
                f"{path} is damaged after line {number:,} ({first_line(error)}); it was expected to unpack to its end. "
                "Fetch it again."
            ) from error
        progress.update(raw.tell() - progress.n)


def _unpacked(raw: BinaryIO) -> BinaryIO | gzip.GzipFile | bz2.BZ2File:
    magic = raw.read(3)
    raw.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(raw)
    return bz2.open(raw) if magic == b"BZh" else raw


def text_lines(path: Path, *, bar: bool = True) -> Generator[str]:
    """Lines of a file as text; bytes that are not UTF-8 become lone surrogates, which `is_utf8` finds."""
    for number, line in enumerate(byte_lines(path, bar=bar)):
        yield (line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).decode("utf-8", "surrogateescape")


class DelimitedFile:
    """A table with a header line, its cells divided by comma, semicolon or tab.

    Attributes:
        path: the file.
        header: names of the columns.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Args:
            path: the file, plain or packed.

        Raises:
            GraftError: its first line is not a header in UTF-8.
        """
        self.path = path
        self._lines = text_lines(path)
        first = next(self._lines, "")
        delimiter = max(",\t;", key=first.count)
        self._rows = csv.reader(self._lines, delimiter=delimiter, strict=True)
        try:
            self.header = [name.strip() for name in next(csv.reader([first], delimiter=delimiter), [])]
        except csv.Error:
            self.header = []
        if len(self.header) < 2 or not is_utf8(first) or "\0" in first:
            raise GraftError(
                f"{path} is not a table in UTF-8: its first line was expected to name columns, divided by comma, "
                "semicolon or tab. Give the right file, or another --format."
            )

    def rows(self, skipped: Tally) -> Iterator[dict[str, str]]:
        """Rows as column -> cell; lines that are no row are counted.

        Args:
            skipped: takes the lines that are left out.
        """
        while True:
            before = self._rows.line_num
            try:
                cells = next(self._rows, None)
            except csv.Error:  # a quote that nothing closes, or that closes one of another line
                cells = [""]
            if cells is None:
                return
            # A stray quote swallows the lines up to the next one: each is lost, each is counted.
            lines, name = self._rows.line_num - before, f"{self.path.name}:{before + 2}"
            if len(cells) == len(self.header):
                if all(map(is_utf8, cells)):
                    yield dict(zip(self.header, cells, strict=True))
                else:
                    skipped.add(NOT_UTF8, name)
            elif cells:
                skipped.add(COLUMNS_FAULT, name, lines)
