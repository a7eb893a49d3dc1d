"""Checking shards before a GPU is rented (`graft audit`)."""

from pathlib import Path
from tempfile import TemporaryDirectory


def audit(
    shards: Path,
    *,
    out: Path = Path("audit.html"),
    strict: bool = False,
    sample: float = 1.0,
    buffer: float = 0.0,
    words: str = "photo_filter",
    teacher: str | None = None,
    teacher_weights: str | None = None,
    workers: int | None = None,
) -> None:
    """Check shards: print a table, write a page with map, histograms and contact sheets, and the same as JSON.

    Exits with status 1 if there is a fault. Nothing is sent anywhere and nothing is changed.

    Args:
        shards: folder with index.json, or a folder of such folders (train, val, ...), which are then checked for
            leakage too.
        out: page to write, .html; the JSON has its name and ends in .json.
        strict: exit with status 1 on a warning too.
        sample: share of samples whose pictures and vectors are decoded, drawn by their keys; the rest is always read.
        buffer: metres; footprints of two splits that are nearer are a fault, as those that overlap are anyway.
        words: prompt set, file or list of words for the teacher's view of the photos.
        teacher: whose text tower reads them; the one named in the index if not given.
        teacher_weights: tag or file.
        workers: processes; as many as there are cores if not given.

    Raises:
        GraftError: no shards there, an option out of range, or a page that cannot be written.
        SystemExit: with status 1 after a fault.
    """
    from graft.audit.findings import Level, worst
    from graft.audit.page import check_out, write_page
    from graft.audit.run import Settings, check_settings, default_workers, run_audit

    settings = Settings(sample, workers or default_workers(), buffer, words, teacher, teacher_weights)
    check_settings(settings)
    check_out(out)
    with TemporaryDirectory(prefix="graft-audit-") as work:
        found = run_audit(shards, settings, Path(work))
        for check in found.checks:
            print(f"{check.level:<11}  {check.group + ', ' + check.name:<24}  {check.says}")
            for example in check.examples if check.level is not Level.OK else ():
                print(f"{'':39}{example}")
        write_page(found, out, shards, sample)
    level = worst(found.checks)
    print(f"{out} and {out.with_suffix('.json').name}: {level}")
    if level is Level.FAULT or (strict and level is Level.WARNING):
        raise SystemExit(1)
