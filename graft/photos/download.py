"""`graft download`: fetch the photos of a table, politely, and write the table of those that came."""

import csv
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.errors import GraftError, first_line, import_extra
from graft.files import atomic_path
from graft.photos.download_run import WRONG_HASH, DownloadRun, Job
from graft.photos.fetch import Failure, Fetcher, host_of
from graft.photos.journal import Journal, key_of, place_of
from graft.photos.permission import OPEN_LICENSES, Permission
from graft.photos.polite import Schedule
from graft.photos.schema import PHOTO_COLUMNS, TEXTS, PhotoTableWriter
from graft.tally import Tally

TABLE, FAILED = "photos.parquet", "failed.csv"
_ROWS = 1024


@dataclass(frozen=True)
class Downloaded:
    """What a download brought.

    Attributes:
        table: photo table of the photos that came.
        photos: rows in it.
        left_out: rows that are not in it, by reason; `failed.csv` beside the table lists them.
    """

    table: Path
    photos: int
    left_out: Tally

    def lines(self) -> Iterator[str]:
        """A short table of all counts."""
        yield f"{self.photos:>10,}  photos in {self.table}"
        if self.left_out.total:
            yield f"{self.left_out.total:>10,}  left out, listed in {self.table.with_name(FAILED)}:"
            yield from ("  " + line for line in self.left_out.lines())


def download(
    table: Path,
    *,
    out: Path,
    contact: str,
    licenses: list[str] | None = None,
    takedown: Path | None = None,
    rate: float = 10.0,
    per_host: int = 8,
    workers: int = 32,
    attempts: int = 5,
    timeout: float = 30.0,
    max_mb: float = 30.0,
    seed: int = 0,
) -> Downloaded:
    """Fetch the photos of a table with addresses; the same command goes on where an earlier one stopped.

    Each host gets at most `rate` requests a second and `per_host` at once. Time-outs, broken connections, HTTP 408,
    425, 429 and 5xx are tried again, later each time and not before the host's Retry-After; the next run tries them
    once more. Photos whose answer has an X-Robots-Tag of noai, noimageai, noindex, noimageindex or none are left out.

    Args:
        table: photo table, as `graft photos` writes it.
        out: folder of the photos, of photos.parquet (the rows whose photo came) and of failed.csv (the others).
        contact: your mail or web address; it stands in the User-Agent, so that a host can complain.
        licenses: those allowed; a name without a version stands for all of its versions, "any" for every licence and
            none; CC0, PD, CC-BY and CC-BY-SA if left out.
        takedown: file with a photo id, author or address a line; these are not fetched, and deleted if they were.
        rate: requests a second to one host.
        per_host: requests to one host at once.
        workers: requests at once.
        attempts: at one photo, the first included.
        timeout: seconds for a connection and for each piece of an answer; ten times as long for a whole file.
        max_mb: size of the largest file taken, in megabytes.
        seed: of the jitter in the waits.

    Raises:
        GraftError: a table, list or setting that cannot be used, a folder that cannot be written, or none of the first
            hundred photos came for reasons such as a lost network.
    """
    numbers = (("rate", rate), ("per-host", per_host), ("workers", workers), ("attempts", attempts))
    for flag, value in (*numbers, ("timeout", timeout), ("max-mb", max_mb)):
        if not 0 < value < math.inf:
            raise GraftError(f"--{flag} is {value:g}; it must be above 0.")
    if table.resolve() == (out / TABLE).resolve():
        raise GraftError(f"{table} is what {out} is going to hold: give the table of graft photos, or another --out.")
    permission = Permission.read(OPEN_LICENSES if licenses is None else licenses, takedown)
    fetcher = Fetcher(contact=contact, timeout=timeout, max_bytes=round(max_mb * 1e6))
    rows = _Rows(table)
    try:
        with Journal(out) as journal:
            schedule = Schedule[Job](per_host=per_host, rate=rate)
            run = DownloadRun(journal, fetcher, schedule, attempts=attempts, workers=workers, seed=seed)
            run.work_off((_job_of(row, permission, journal) for row in rows), rows.number)
            result = _write(rows, out, permission, journal)
    except (OSError, sqlite3.Error) as error:  # a full disk is either
        raise GraftError(
            f"The folder {out} cannot be written: {first_line(error)}. Mend it; the same command goes on."
        ) from error
    for line in result.lines():
        print(line)
    return result


class _Rows:
    """The rows of a photo table, one after another; text is never None."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._parquet = import_extra("pyarrow.parquet", "prepare")
        self._compute = import_extra("pyarrow.compute", "prepare")
        types = import_extra("pyarrow.types", "prepare")
        try:
            with self._parquet.ParquetFile(table) as file:
                self.number = int(file.metadata.num_rows)
                schema = file.schema_arrow
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
            raise GraftError(
                f"{table} cannot be read as a photo table: {first_line(error)}. `graft photos` writes one."
            ) from error
        kinds = (types.is_string, types.is_large_string)
        text = {name for name in schema.names if any(is_kind(schema.field(name).type) for is_kind in kinds)}
        wrong = [name for name in PHOTO_COLUMNS if name not in (text if name in TEXTS else schema.names)]
        if wrong:
            raise GraftError(
                f"{table} is no photo table: {', '.join(wrong)} missing or of another type. "
                "`graft photos` makes one of it."
            )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        columns = [name for name in PHOTO_COLUMNS if name != "geometry"]
        with self._parquet.ParquetFile(self._table) as file:
            for batch in file.iter_batches(_ROWS, columns=columns):
                for name in TEXTS:
                    whole = self._compute.fill_null(batch.column(name), "")
                    batch = batch.set_column(batch.schema.get_field_index(name), name, whole)
                yield from batch.to_pylist()


def _not_asked_for(row: dict[str, Any], permission: Permission) -> Failure | None:
    """Why a row needs no request, if it does not."""
    if not row["photo_id"]:
        return Failure("no photo_id")
    if permission.is_taken_down(row):
        return Failure("on the take-down list")
    if not permission.has_license(row):
        return Failure("licence not allowed", row["license"] or "unknown")
    if not row["url"]:
        return Failure("no address")
    if host_of(row["url"]) is None:
        return Failure("not an http(s) address")
    return None


def _job_of(row: dict[str, Any], permission: Permission, journal: Journal) -> Job | None:
    """The request that a row needs, if it needs one; deletes a photo that has been taken down since."""
    if _not_asked_for(row, permission):
        if permission.is_taken_down(row):
            journal.forget(key_of(row["photo_id"], row["url"]))
        return None
    return Job(key_of(row["photo_id"], row["url"]), row["url"], row["sha256"])


def _write(rows: _Rows, out: Path, permission: Permission, journal: Journal) -> Downloaded:
    """Write the table of photos that came and the list of the others, both in the order of the rows."""
    left_out = Tally()
    with (
        atomic_path(out / FAILED) as partial,
        partial.open("w", newline="", encoding="utf-8") as file,
        PhotoTableWriter(out / TABLE) as writer,
    ):
        failed = csv.writer(file)
        failed.writerow(("photo_id", "url", "reason", "detail"))
        for row in rows:
            outcome = _outcome(row, permission, journal, writer)
            if outcome is not None:
                left_out.add(outcome.reason, row["photo_id"])
                failed.writerow((row["photo_id"], row["url"], outcome.reason, outcome.detail))
    return Downloaded(out / TABLE, writer.written, left_out)


def _outcome(row: dict[str, Any], permission: Permission, journal: Journal, writer: PhotoTableWriter) -> Failure | None:
    """Write a row whose photo came; why not, of another one."""
    key = key_of(row["photo_id"], row["url"])
    known = _not_asked_for(row, permission) or journal.find(key)
    if known is None:  # by another row of it that is taken down, or by hand
        return Failure("deleted during the download")
    if isinstance(known, Failure):
        return known
    if row["sha256"].lower() not in ("", known.sha256):  # the table may have got it after the photo came
        return Failure(WRONG_HASH, known.sha256)
    before = writer.skipped.counts.copy()
    found = {"sha256": known.sha256, "width": known.width, "height": known.height}
    writer.add({**row, "path": place_of(key, known.suffix), **found})
    return next((Failure(reason) for reason in writer.skipped.counts - before), None)
