"""Photo tables: from any collection of geotagged photos to one table (`graft photos`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from graft.errors import GraftError
from graft.photos.schema import PhotoTableWriter, printable
from graft.tally import Tally

if TYPE_CHECKING:
    from graft.photos.readers import Reader

PhotoFormat = Literal["exif", "yfcc100m", "flickr", "inaturalist", "lucas", "mapillary", "wikimedia", "table"]
_SHOWN_LICENSES = 10


@dataclass(frozen=True)
class PhotoSummary:
    """What a photo table holds.

    Attributes:
        table: the file.
        photos: rows in it.
        bounds: west, south, east, north of all photos, degrees.
        licenses: licence -> photos, the most frequent first; "" where none is stated.
        skipped: rows of the source that are not in it, by reason.
    """

    table: Path
    photos: int
    bounds: tuple[float, float, float, float]
    licenses: dict[str, int]
    skipped: Tally

    def lines(self) -> Iterator[str]:
        """The summary as text."""
        west, south, east, north = self.bounds
        box = f"lon {west:.4f} to {east:.4f}, lat {south:.4f} to {north:.4f}"
        yield f"{self.photos:>10,}  photos in {self.table}, {box}"
        for number, (name, photos) in enumerate(self.licenses.items()):
            if number == _SHOWN_LICENSES:
                yield f"{'':>10}  … and {len(self.licenses) - number} licences more"
                break
            yield f"{photos:>10,}  {name or 'no licence stated'}"
        if self.skipped.total:
            yield f"{self.skipped.total:>10,}  left out:"
            yield from ("  " + printable(line) for line in self.skipped.lines())


def photos(
    source: Path,
    *,
    format: PhotoFormat,
    out: Path,
    columns: dict[str, str] | None = None,
    constants: dict[str, str] | None = None,
) -> PhotoSummary:
    """Make a photo table, the input of `graft prepare` and `graft download`, of any collection of geotagged photos.

    Rows that cannot be used are left out and counted by reason. The table is GeoParquet; it appears when it is whole.

    Args:
        source: file or folder, as the format has it: the folder of photos (exif); the metadata file or files, plain
            or packed (yfcc100m); the folder of observations.csv and photos.csv (inaturalist); the harmonised CSV
            (lucas); one answer of the service or a folder of them (flickr, mapillary, wikimedia); a CSV, TSV or
            Parquet file (table).
        format: what the source is.
        out: the table to write, FILE.parquet.
        columns: "{OURS: THEIRS, …}" for columns of a table that have other names than ours.
        constants: "{license: CC-BY-4.0, author: NAME, …}" for what the source does not say.

    Raises:
        GraftError: the source is not of this format, or has no usable photo.
    """
    if out.is_dir():
        raise GraftError(f"--out {out} is a folder; expected a file, such as {out / 'photos.parquet'}.")
    read, fixed = _reader(format, _spelt(columns)), _constants(_spelt(constants))
    with PhotoTableWriter(out) as writer:
        for row in read(source, writer.skipped):
            writer.add(
                fixed | {name: value for name, value in row.items() if value not in (None, "")} if fixed else row
            )
        if writer.written == 0:
            reasons = "; ".join(f"{number:,} {reason}" for reason, number in writer.skipped.counts.items())
            raise GraftError(
                f"{source} has no usable photo among {writer.skipped.total:,}: {reasons or 'it lists none'}. "
                "Give another source, or another --format."
            )
    licenses = dict(sorted(writer.licenses.items(), key=lambda item: (-item[1], item[0])))
    summary = PhotoSummary(out, writer.written, writer.bounds, licenses, writer.skipped)
    print(*summary.lines(), sep="\n")
    return summary


def _spelt(names: dict[str, str] | None) -> dict[str, str]:
    """`--columns.photo_id ID` reaches Python with the dash of an option."""
    return {name.replace("-", "_"): value for name, value in (names or {}).items()}


def _reader(format: PhotoFormat, columns: dict[str, str]) -> "Reader":
    from graft.photos.readers import READERS, table

    if format == "table":
        return partial(table.read, columns=columns)
    if columns:
        raise GraftError(f"--columns goes with --format table, not with {format}, whose columns are known.")
    return READERS[format]


def _constants(constants: dict[str, str]) -> dict[str, object]:
    from graft.photos.readers.table import GIVEN

    if unknown := [name for name in constants if name not in GIVEN or name in ("photo_id", "lon", "lat")]:
        raise GraftError(
            f"--constants names {', '.join(unknown)}, which cannot be the same for all photos or is no column of a "
            f"photo table; it has {', '.join(GIVEN)}."
        )
    return dict(constants)
