"""Geotagged photos: a table or a folder becomes one table of positions."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from graft.errors import GraftError
from graft.prepare.exif import NoPositionError, read_geotag
from graft.prepare.tally import Tally

REQUIRED = ("photo_id", "path", "lon", "lat")
NUMBERS = ("lon", "lat", "accuracy_m", "heading")
TEXTS = ("photo_id", "path", "taken_at", "license", "source")
JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class PhotoTable:
    """Photos with a usable position and a file that exists.

    Attributes:
        frame: one row a photo. `photo_id` and `path` (absolute) str; `lon`, `lat` float64 degrees, WGS 84;
            `accuracy_m` float64 metres and `heading` float64 degrees, NaN where unknown; `taken_at` (ISO 8601),
            `license` and `source` str, "" where unknown.
        listed: photos found before any was left out.
        skipped: photos left out, by reason.
    """

    frame: pd.DataFrame
    listed: int
    skipped: Tally


def read_photos(photos: Path) -> PhotoTable:
    """Read a photo table (CSV) or a folder of geotagged JPEG files.

    A CSV needs the columns `photo_id`, `path` (absolute, or relative to the CSV), `lon` and `lat`; it may have
    `accuracy_m`, `taken_at`, `heading`, `license` and `source`. A folder is searched recursively; a photo's id is
    its path below the folder.

    Raises:
        GraftError: nothing there, not a table, a column missing, or no usable photo at all.
    """
    skipped = Tally()
    if photos.is_dir():
        frame = _read_folder(photos, skipped)
    elif photos.is_file():
        frame = _read_table(photos)
    else:
        raise GraftError(
            f"No photos at {photos}. Give --photos a CSV with the columns {', '.join(REQUIRED)} "
            "or a folder of JPEG files with GPS in their EXIF."
        )
    listed = len(frame) + skipped.total
    for reason, bad in _faults(frame):
        for name in frame["photo_id"][bad]:
            skipped.add(reason, name)
        frame = frame[~bad]
    if frame.empty:
        reasons = "; ".join(f"{number} {reason}" for reason, number in skipped.counts.items()) or "it lists none"
        raise GraftError(f"{photos} has no usable photo among {listed}: {reasons}.")
    return PhotoTable(frame.reset_index(drop=True), listed, skipped)


def _read_table(table: Path) -> pd.DataFrame:
    try:
        raw = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise GraftError(f"{table} is not a CSV table in UTF-8: {str(error).strip()}") from error
    missing = [name for name in REQUIRED if name not in raw.columns]
    if missing:
        raise GraftError(
            f"The photo table {table} lacks the column(s) {', '.join(missing)}; it has {', '.join(raw.columns)}. "
            f"Required are {', '.join(REQUIRED)}."
        )
    columns = {name: raw[name].str.strip() if name in raw else pd.Series("", raw.index) for name in (*TEXTS, *NUMBERS)}
    frame = pd.DataFrame(columns)
    for name in NUMBERS:
        frame[name] = pd.to_numeric(frame[name], errors="coerce").astype(np.float64)
    frame["path"] = [str(table.parent.absolute() / path) if path else "" for path in frame["path"]]
    return frame


def _read_folder(folder: Path, skipped: Tally) -> pd.DataFrame:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in JPEG_SUFFIXES)
    rows = []
    for file in tqdm(files, desc="reading geotags", unit="photo"):
        name = file.relative_to(folder).as_posix()
        try:
            geotag = read_geotag(file)
        except NoPositionError as reason:
            skipped.add(str(reason), name)
            continue
        rows.append({"photo_id": name, "path": str(file.absolute()), "license": "", "source": "", **asdict(geotag)})
    return pd.DataFrame(rows, columns=[*TEXTS, *NUMBERS])


def _faults(frame: pd.DataFrame) -> Iterator[tuple[str, "pd.Series[bool]"]]:
    """Reasons to leave a row out, each with a mask over the rows that no earlier reason took."""
    lon, lat = frame["lon"], frame["lat"]
    checks = {
        "without a photo_id": frame["photo_id"] == "",
        "photo_id listed before": frame["photo_id"].duplicated(),
        "lon or lat is not a number": lon.isna() | lat.isna(),
        "lon or lat out of range": (lon.abs() > 180) | (lat.abs() > 90),
        "position is (0, 0)": (lon == 0) & (lat == 0),
        "file missing": ~frame["path"].map(lambda path: Path(path).is_file()).astype(bool),
    }
    taken = pd.Series(False, frame.index)
    for reason, bad in checks.items():
        yield reason, (bad & ~taken)[~taken]
        taken |= bad
