"""What a run of `graft index` has to do: which groups of which sources are not in the index yet."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from graft.errors import GraftError
from graft.imagery.folder import RASTER_SUFFIXES
from graft.index.rasters import open_raster_source
from graft.index.schema import SourceCard
from graft.index.shard_tiles import open_shard_source
from graft.index.sources import FAULTS, Look, Source, fault_of
from graft.index.table import Index, quoted
from graft.index.tile_folder import FolderSource, is_scene, list_images, open_folder_source
from graft.listing import IMAGE_SUFFIXES
from graft.remote import is_address
from graft.shards import INDEX_NAME

Opener = Callable[[], Source]


@dataclass(frozen=True)
class Found:
    """A source that is not open yet.

    Attributes:
        name: of the source.
        opener: opens it; of a folder, given the tiles that are its own.
        tiles: files of a folder; empty for other sources.
    """

    name: str
    opener: Callable[..., Source]
    tiles: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Job:
    """One group to read.

    Attributes:
        source: number of the source in the plan.
        group: of that source.
        fresh: whether its tiles are to be encoded; else they are in, and only what was left out is counted again.
    """

    source: int
    group: int
    fresh: bool


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        sources: those that are not in the index as they are now.
        jobs: in the order in which they are written.
        known: sources that are in already.
        faults: one sentence for each source that does not open.
        notes: what is to be told before the work begins.
        replaced: ids of sources that are to be removed as soon as those of these numbers are complete.
    """

    sources: tuple[Source, ...]
    jobs: tuple[Job, ...]
    known: int
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    replaced: tuple[tuple[str, frozenset[int]], ...] = ()


def open_sources(places: Sequence[str], look: Look, threads: int = 1) -> tuple[list[Source], list[str]]:
    """Sources at places, each once, in the order given; a file that an earlier one holds is not a later one's too.

    Args:
        places: rasters and shards by path or address; folders of shards, or of tiles and rasters, see `is_scene`.
        look: how the model looks at them.
        threads: that open at a time.

    Returns:
        The sources, and one sentence for each that does not open.
    """
    openers: dict[str, Opener] = {}
    faults = []
    held: set[str] = set()
    for place in places:
        try:
            found = _find(plain_name(place), look)
        except FAULTS as error:
            faults.append(fault_of(place, error))
            continue
        for each in found:
            tiles = [file for file in each.tiles if _key(file) not in held]
            if each.name in held or (each.tiles and not tiles):
                continue
            held.update(map(_key, tiles) if tiles else [each.name])
            openers[each.name] = partial(each.opener, tiles) if tiles else each.opener
    sources = []
    with ThreadPoolExecutor(threads) as pool:
        opened = pool.map(_unless_fault, openers, openers.values())
        for found in tqdm(opened, total=len(openers), desc="Opening sources", unit=" sources", delay=2):
            if isinstance(found, Source):
                sources.append(found)
            else:
                faults.append(found)
    return sources, faults


def plan_index(index: Index, sources: Sequence[Source], faults: Iterable[str] = ()) -> Plan:
    """Compare sources with an index, and remove from it what they no longer are.

    Args:
        index: whose lock is held.
        sources: as they are now.
        faults: of sources that do not open.
    """
    cards = index.sources()
    known = {(card.id, card.fingerprint) for card in cards}
    wanted = [source for source in sources if (source.card.id, source.card.fingerprint) not in known]
    notes, replaced = [], []
    for card, successors in _outdated(cards, sources):
        numbers = frozenset(number for number, source in enumerate(wanted) if source.card.id in successors)
        tiles = card.windows - sum(card.skipped.values())
        anew = "its {:,} tiles are written anew" if numbers else "its {:,} tiles are removed"
        notes.append(f"{card.name} is not as it was indexed: {anew.format(tiles)}.")
        if numbers and card.id not in {source.card.id for source in wanted}:
            replaced.append((card.id, numbers))
        else:
            index.remove_source(card.id)
    notes += _remove_outdated(index, sources)
    jobs = []
    for number, source in enumerate(wanted):
        done = index.done_groups(source.card.id)
        short = _short_groups(index, source) if done else set()
        jobs += [
            Job(number, group, group not in done)
            for group in range(source.groups)
            if group not in done or group in short
        ]
        if done:
            notes.append(f"Going on with {source.card.name} after {len(done)} of {source.groups} groups of windows.")
    known_already = len(sources) - len(wanted)
    return Plan(tuple(wanted), tuple(jobs), known_already, tuple(faults), tuple(notes), tuple(replaced))


def plain_name(place: str) -> str:
    """One name for an address, however it is spelt: /vsis3/b/a.tif is s3://b/a.tif."""
    if place.startswith("/vsis3/"):
        return f"s3://{place.removeprefix('/vsis3/')}"
    address = place.removeprefix("/vsicurl/")
    return address if address.startswith(("http://", "https://")) else place


def _outdated(cards: Iterable[SourceCard], sources: Sequence[Source]) -> list[tuple[SourceCard, set[str]]]:
    """Known sources that are none any more, each with the ids of those that hold now what it held.

    A file of a folder is a tile or a scene, depending on the window, so that a folder may have become rasters, a raster
    a tile of a folder, and a folder part of one above it.
    """
    current = {(source.card.id, source.card.fingerprint) for source in sources}
    by_name = {source.card.name: source.card.id for source in sources}
    holders = {key: source.card.id for source in sources for key in _files(source)}
    folders = {str(above) for folder in {Path(key).parent for key in holders} for above in (folder, *folder.parents)}
    found = []
    for card in cards:
        if (card.id, card.fingerprint) in current:
            continue
        heir = by_name.get(plain_name(card.name))
        if heir is not None:
            found.append((card, {heir}))
        elif card.kind == "raster" and card.name in holders:
            found.append((card, {holders[card.name]}))
        elif card.kind == "folder" and card.name in folders:
            files = {_key(file) for file in list_images(Path(card.name))}
            if files and files <= holders.keys():
                found.append((card, {holders[file] for file in files}))
    return found


def _files(source: Source) -> Iterable[str]:
    if isinstance(source, FolderSource):
        return map(_key, source.files)
    return [source.card.name] if source.card.kind == "raster" and not is_address(source.card.name) else []


def _key(file: Path) -> str:
    """The file itself, behind a link; folders are resolved already, and links to folders are not followed."""
    return str(file.resolve() if file.is_symlink() else file)


def _find(place: str, look: Look) -> list[Found]:
    """The sources at a place.

    Raises:
        GraftError: nothing is there.
    """
    address = is_address(place)
    suffix = Path(urlsplit(place).path if address else place).suffix.lower()
    raster = suffix in IMAGE_SUFFIXES.union(RASTER_SUFFIXES)
    if place.startswith("/vsi") or (raster and address):
        return [Found(place, partial(open_raster_source, place, look))]
    if address:
        where = place.removesuffix(INDEX_NAME).rstrip("/")
        return [Found(where, partial(open_shard_source, where, look))]
    path = Path(place).resolve()
    if path.is_file() and path.name != INDEX_NAME:
        return [Found(str(path), partial(open_raster_source, str(path), look))]
    folder = path.parent if path.is_file() else path
    if (folder / INDEX_NAME).is_file():
        return [Found(str(folder), partial(open_shard_source, str(folder), look))]
    if not folder.is_dir():
        raise GraftError(f"No source at {place}: give rasters, folders of tiles or rasters, or shards.")
    return _find_in_folder(folder, look)


def _find_in_folder(folder: Path, look: Look) -> list[Found]:
    files = list_images(folder)
    if not files:
        endings = ", ".join(sorted(IMAGE_SUFFIXES.union(RASTER_SUFFIXES)))
        raise GraftError(f"No source in {folder}: it holds no image ({endings}) and no {INDEX_NAME} of shards.")
    scenes = {
        file for file in tqdm(files, desc=f"Looking into {folder.name}", unit=" files", delay=2) if is_scene(file, look)
    }
    found = [Found(key, partial(open_raster_source, key, look)) for key in map(_key, sorted(scenes))]
    tiles = {_key(file): file for file in reversed(files) if file not in scenes}  # of several links, the first one
    if tiles:
        own = tuple(sorted(tiles.values()))
        found.append(Found(str(folder), partial(_open_folder, folder, look), own))
    return found


def _open_folder(folder: Path, look: Look, tiles: Sequence[Path]) -> Source:
    return open_folder_source(folder, tiles, look)


def _unless_fault(name: str, opener: Opener) -> Source | str:
    try:
        return opener()
    except FAULTS as error:
        return fault_of(name, error)


def _remove_outdated(index: Index, sources: Sequence[Source]) -> list[str]:
    """Remove what stopped runs left of the sources as they were then."""
    cards = index.sources()
    if len(index) == sum(card.windows - sum(card.skipped.values()) for card in cards):
        return []  # all tiles are those of complete sources
    held: set[str] = set()
    for batch in index.batches(["source_id"]):
        held.update(batch["source_id"].unique().to_pylist())
    names = {source.card.name for source in sources}
    notes = []
    for source_id in sorted(held - {card.id for card in cards} - {source.card.id for source in sources}):
        batch = next(index.batches(["path"], f"source_id = {quoted(source_id)}", rows=1))
        path = plain_name(batch["path"][0].as_py())
        if any(path == name or path.startswith(f"{name.rstrip('/')}/") for name in names):
            removed = index.remove_source(source_id)
            notes.append(f"{removed:,} tiles of a stopped run are removed: {path} is not as it was, or seen otherwise.")
    return notes


def _short_groups(index: Index, source: Source) -> set[int]:
    """Groups in the table that lack windows: a stopped run did not leave why."""
    found: Counter[int] = Counter()
    for batch in index.batches(["group"], f"source_id = {quoted(source.card.id)}"):
        found.update(batch["group"].to_pylist())
    return {group for group, rows in found.items() if rows < len(source.numbers(group))}
