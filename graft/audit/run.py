"""From folders of shards to checks and rows: all shards are looked at by worker processes, then held together."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from graft.audit.cards import SplitCard, read_card, split_folders
from graft.audit.check_files import check_alike, check_counted, check_strays
from graft.audit.check_photos import (
    check_copies,
    check_ids,
    check_licences,
    check_per_tile,
    check_positions,
    check_sizes,
    check_times,
)
from graft.audit.check_pixels import check_bands, check_constant, check_nodata, check_same_pixels
from graft.audit.check_places import check_overlaps, check_places
from graft.audit.check_splits import check_leakage
from graft.audit.findings import Check, Level, percent
from graft.audit.notes import Expected, Notes, Words
from graft.audit.rows import Table, TableWriter
from graft.audit.scan import Job, Scan, scan_shard
from graft.audit.view import check_view, load_words
from graft.errors import GraftError
from graft.sensors import get_sensor, sensor_names

_BY_DECODING = {
    *(("Samples", name) for name in ("tiles", "pictures", "privacy", "vectors")),
    *(("Pixels", name) for name in ("bands", "outliers", "nodata", "constant")),
    *(("Photos", name) for name in ("sizes", "teacher's view")),
    *(("Copies", name) for name in ("photos", "tiles")),
    *(("Splits", f"shared {name}") for name in ("vectors", "pictures", "tiles")),
}
"""Group and name of the checks that need pictures or vectors, which `--sample` may leave out."""


@dataclass(frozen=True)
class Settings:
    """What an audit looks at.

    Attributes:
        sample: share of samples whose pictures and vectors are decoded.
        workers: processes.
        buffer_m: least distance between footprints of two splits, metres.
        words: prompt set for the teacher's view.
        teacher: architecture, None for the one in the index.
        teacher_weights: of it.
    """

    sample: float
    workers: int
    buffer_m: float
    words: str
    teacher: str | None
    teacher_weights: str | None


@dataclass(frozen=True)
class Audit:
    """Everything that was found.

    Attributes:
        checks: in the order in which they are shown.
        cards: of the splits whose index can be used.
        table: rows of all tiles and photos.
        notes: sums over all shards.
        words: of the teacher's view, if there is one.
    """

    checks: list[Check]
    cards: list[SplitCard]
    table: Table
    notes: Notes
    words: Words | None


def run_audit(shards: Path, settings: Settings, work: Path) -> Audit:
    """Look at all shards.

    Args:
        shards: folder with `index.json`, or with folders that have one.
        settings: what to look at.
        work: empty folder for the rows, 160 bytes a tile and 80 a photo.

    Raises:
        GraftError: no shards there, or no such prompt set.
    """
    read = [read_card(folder) for folder in split_folders(shards)]
    checks = [check for _, check in read]
    cards = [card for card, _ in read if card is not None and card.sensor in sensor_names()]
    words, why_not = load_words(cards, settings.words, settings.teacher, settings.teacher_weights)
    notes = Notes()
    with TableWriter(work) as writer:
        jobs = list(_jobs(cards, settings, words))
        total = sum(job.card.samples for job in jobs)
        with tqdm(total=total, desc="auditing", unit="tile", disable=None) as bar:
            for scan in _scans(jobs, settings.workers):
                writer.add(scan.tiles, scan.photos)
                notes.merge(scan.notes)
                bar.update(len(scan.tiles))
        table = writer.table()
    if cards:
        made = _checks(table, notes, cards, settings, check_view(table, words, why_not))
        checks += [_of_sample(check, settings.sample) for check in made]
    return Audit(checks, cards, table, notes, words)


def _jobs(cards: Sequence[SplitCard], settings: Settings, words: Words | None) -> Iterator[Job]:
    for number, card in enumerate(cards):
        same_teacher = card.teacher is not None and words is not None and card.teacher["identity"] == words.teacher
        expected = Expected(
            number,
            card.split,
            card.tile_size,
            card.sensor,
            card.radiometry,
            get_sensor(card.sensor).gsd_m,
            card.teacher,
            card.photos_stored,
            words if same_teacher else None,
        )
        for place, shard in enumerate(card.shards):
            path = card.folder / shard.file
            yield Job(path, f"{card.name}/{shard.file}", place, shard, expected, settings.sample)


def _scans(jobs: list[Job], workers: int) -> Iterator[Scan]:
    """Results in the order of the jobs, whatever the number of processes."""
    if min(workers, len(jobs)) <= 1:
        yield from map(scan_shard, jobs)
        return
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(scan_shard, jobs)


def _of_sample(check: Check, share: float) -> Check:
    """Say so where a check saw no more than the samples that were decoded: it is blind to copies of the others."""
    if share == 1 or check.level is Level.UNCHECKED or (check.group, check.name) not in _BY_DECODING:
        return check
    return replace(check, says=f"{check.says} (of a sample of {percent(share)})")


def _checks(table: Table, notes: Notes, cards: list[SplitCard], settings: Settings, view: Check) -> Iterator[Check]:
    yield check_strays(cards)
    yield from check_counted(notes, cards, table, settings.sample)
    yield from check_bands(notes, table)
    yield from check_nodata(table, cards)
    yield check_constant(table, cards)
    yield check_per_tile(table)
    yield from check_positions(table, notes, cards)
    yield check_ids(table, notes, cards)
    yield check_times(table, notes)
    yield check_licences(notes)
    yield from filter(None, [check_sizes(table)])
    yield view
    yield from check_places(table, notes)
    yield from filter(None, [check_overlaps(table, len(cards))])
    yield check_copies(table, cards)
    yield check_same_pixels(table, cards)
    alike = check_alike(cards)
    if alike is not None:
        yield alike
        yield from check_leakage(table, cards, settings.buffer_m)


def default_workers() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def check_settings(settings: Settings) -> None:
    """Refuse numbers out of range.

    Raises:
        GraftError: with the flag to change.
    """
    if not 0 < settings.sample <= 1:
        raise GraftError(f"--sample is {settings.sample:g}; expected a share above 0 and up to 1.")
    if settings.workers < 1:
        raise GraftError(f"--workers is {settings.workers}; expected at least 1.")
    if not settings.buffer_m >= 0:
        raise GraftError(f"--buffer is {settings.buffer_m:g}; expected metres, 0 or more.")
