"""An index of tiles: two LanceDB tables in a folder or on S3, opened, appended to and read."""

import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from graft.errors import GraftError, import_extra
from graft.index.address import index_address, is_local, storage_options
from graft.index.faults import told
from graft.index.lock import guarded, has_lock
from graft.index.schema import CARD_KEY, ID_KEY, IndexCard, SourceCard, source_schema, tile_schema

if TYPE_CHECKING:
    import pyarrow as pa

_TILES, _SOURCES = "tiles", "sources"
_NESTED = ("settings", "transform", "skipped")
READERS_GRACE = timedelta(hours=1)
"""How long a version stays readable after a newer one."""

_COMPACT_EVERY = 1024
"""Commits; each lists all files so far, so that without merging them their cost grows with the square of the rows."""

_BUILD = "Build one with graft index."


class Index:
    """An open index.

    A handle reads one version of the table until it writes itself: searches that run while others append see what was
    there when they began. Writers hold `graft.index.lock.writer_lock`.

    Attributes:
        address: folder or s3:// prefix.
        card: whose vectors it holds.
    """

    def __init__(self, address: str, card: IndexCard, tiles: Any, sources: Any) -> None:
        """Meant for `open` and `open_or_create`."""
        self.address = address
        self.card = card
        self._tiles, self._sources = tiles, sources
        self._groups: dict[str, set[int]] | None = None
        self._commits = 0

    @classmethod
    def open(cls, address: str | Path) -> "Index":
        """Open an index that exists.

        Args:
            address: folder, or `s3://bucket/prefix`; endpoint and credentials come from the environment (AWS_*).

        Raises:
            GraftError: no index there, a LanceDB that graft did not write, another version, or no answer.
        """
        where = index_address(address)
        if is_local(where) and not Path(where).is_dir():
            raise GraftError(f"No index at {where}: there is no such folder. {_BUILD}")
        with told(where):
            database = connect(where)
            tiles, sources = _table(database, _TILES), _table(database, _SOURCES)
        if tiles is None or sources is None:
            raise GraftError(f"No index at {where}: it holds no LanceDB table {_TILES}. {_BUILD}")
        card = (tiles.schema.metadata or {}).get(CARD_KEY)
        if card is None:
            raise GraftError(f"The LanceDB at {where} was not written by graft: its table has no card. {_BUILD}")
        return cls(where, IndexCard.from_bytes(card), tiles, sources)

    @classmethod
    def open_or_create(cls, address: str | Path, card: IndexCard) -> "Index":
        """Open an index to append vectors of one model, made if there is none.

        Args:
            address: as for `open`.
            card: of the vectors to come.

        Raises:
            GraftError: an index of another model, teacher or width is there, or it cannot be written.
        """
        where = index_address(address)
        with told(where):
            if is_local(where):
                Path(where).mkdir(parents=True, exist_ok=True)
            database = connect(where)
            if _table(database, _TILES) is None:
                # Tiles last: they are what makes it an index, so that a stop in between leaves none.
                database.create_table(_SOURCES, schema=source_schema(), exist_ok=True)
                schema = tile_schema(card)
                schema = schema.with_metadata(schema.metadata | {ID_KEY: uuid4().hex.encode()})
                database.create_table(_TILES, schema=schema, exist_ok=True)
        index = cls.open(where)
        _check_same(where, index.card, card)
        return index

    @property
    def id(self) -> str:
        """32 hexadecimal digits drawn when the index was made: another one at the same address has others."""
        return bytes((self._tiles.schema.metadata or {}).get(ID_KEY, b"")).decode()

    @property
    def version(self) -> int:
        """Of the table `tiles` as this handle sees it; every commit counts up."""
        return int(self._tiles.version)

    @property
    def schema(self) -> "pa.Schema":
        """Columns of the table, the card in its metadata."""
        return self._tiles.schema

    def __len__(self) -> int:
        return int(self._tiles.count_rows())

    def add(self, rows: "pa.Table") -> None:
        """Append rows, all in one commit or none.

        Args:
            rows: with the columns of `tile_schema`; no rows are no commit.

        Raises:
            GraftError: the storage fails, or another writer took over.
        """
        if rows.num_rows == 0:
            return
        before = self.version
        with told(self.address), guarded(self.address):
            self._tiles.add(rows.cast(self._tiles.schema))
        if self._groups is not None and self.version == before + 1:
            _collect(self._groups, rows)
        else:
            self._groups = None  # others committed too
        self._commits += 1
        if self._commits % _COMPACT_EVERY == 0 and has_lock(self.address):
            self.compact()

    def sources(self) -> list[SourceCard]:
        """Sources whose tiles are all in the index, by name."""
        with told(self.address):
            rows = self._sources.to_arrow().to_pylist()
        return sorted((_source_card(row) for row in rows), key=lambda card: card.name)

    def add_source(self, card: SourceCard) -> None:
        """Note that all tiles of a source are in; replaces what was noted under that id."""
        pa = import_extra("pyarrow", "search")
        with told(self.address), guarded(self.address):
            row = pa.Table.from_pylist([_source_row(card)], schema=source_schema())
            merge = self._sources.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(row)

    def done_groups(self, source_id: str) -> set[int]:
        """Groups of a source that are in the table; the table is scanned once for all sources."""
        if self._groups is None:
            groups: dict[str, set[int]] = defaultdict(set)
            for batch in self.batches(["source_id", "group"]):
                _collect(groups, import_extra("pyarrow", "search").Table.from_batches([batch]))
            self._groups = groups
        return set(self._groups.get(source_id, ()))

    def remove_source(self, source_id: str) -> int:
        """Remove a source and its tiles.

        The source is first marked as unfinished, so that a stop leaves nothing that passes for complete: remove it, or
        index it, again.

        Returns:
            Rows removed.
        """
        where = f"source_id = {quoted(source_id)}"
        with told(self.address):
            with guarded(self.address):
                self._sources.update(where=f"id = {quoted(source_id)}", values={"fingerprint": ""})
            self._tiles.checkout_latest()
            found = int(self._tiles.count_rows(where))
            if found:  # a deletion of nothing would be a commit all the same
                with guarded(self.address):
                    self._tiles.delete(where)
            with guarded(self.address):
                self._sources.delete(f"id = {quoted(source_id)}")
        self._groups = None
        return found

    def batches(
        self, columns: Sequence[str], where: str | None = None, rows: int = 65536
    ) -> Iterator["pa.RecordBatch"]:
        """Scan the table in the order in which rows were added, the same for all readers of a version.

        Merging files after a removal may move rows of other sources, in parts of up to a million; within a part the
        order stays.

        Args:
            columns: to read; `_rowid` (uint64) comes with them.
            where: SQL over columns, with `bbox.xmin` for a field.
            rows: at most so many in a batch.
        """
        with told(self.address):
            query = self._tiles.search().select(list(columns)).with_row_id(True)
            yield from (query.where(where) if where else query).to_batches(rows)

    def row_ids(self, where: str) -> npt.NDArray[np.uint64]:
        """Ids (uint64) of the rows that satisfy an SQL condition, in the order of `batches`."""
        found = [batch["_rowid"].to_numpy() for batch in self.batches(["group"], where)]
        return np.concatenate(found) if found else np.empty(0, np.uint64)

    def take(self, row_ids: npt.NDArray[np.uint64], columns: Sequence[str]) -> "pa.Table":
        """Rows by id, in the order asked for, as often as asked for.

        Args:
            row_ids: uint64 [n], as `batches` and `row_ids` of this handle's version give them.
            columns: to read.

        Raises:
            GraftError: an id that is not in the table.
        """
        distinct, back = np.unique(np.asarray(row_ids, np.uint64), return_inverse=True)
        with told(self.address):
            found = self._tiles.take_row_ids(distinct.tolist()).select(list(columns)).with_row_id().to_arrow()
        order = np.argsort(found["_rowid"].to_numpy())
        if not np.array_equal(found["_rowid"].to_numpy()[order], distinct):
            raise GraftError(f"The index at {self.address} was changed while it was read: start again.")
        return found.drop_columns("_rowid").take(order[back])

    def compact(self, keep: timedelta = READERS_GRACE) -> None:
        """Merge small files, and drop old versions; the caller holds the writers' lock.

        The content of rows stays, so does their order unless sources were removed; row ids change. What an interrupted
        commit left is dropped when it is a week old, as only then no writer can be about to use it.

        Args:
            keep: age from which versions are dropped; a search that began longer ago fails.
        """
        with told(self.address), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "optimize", UserWarning)  # that readers of an old version fail
            for table in (self._tiles, self._sources):
                with guarded(self.address):
                    table.optimize(cleanup_older_than=keep)


def connect(address: str) -> Any:
    """A LanceDB connection to a folder or an s3:// prefix."""
    lancedb = import_extra("lancedb", "search")
    return lancedb.connect(address, storage_options=storage_options(address))


def quoted(text: str) -> str:
    """A text as a literal in SQL."""
    return "'" + text.replace("'", "''") + "'"


def _table(database: Any, name: str) -> Any | None:
    try:
        return database.open_table(name)
    except ValueError as error:
        if "was not found" in str(error):
            return None
        raise


def _check_same(address: str, there: IndexCard, given: IndexCard) -> None:
    remedy = "Give another --out, or the model it was built with."
    for what, old, new in (
        ("vectors of width", there.dim, given.dim),
        ("vectors of the model", _named(there.model, "sha256"), _named(given.model, "sha256")),
        ("the teacher", _named(there.teacher, "identity"), _named(given.teacher, "identity")),
    ):
        if old != new:
            raise GraftError(f"The index at {address} has {what} {old}, this would add {new}. {remedy}")


def _named(card: dict[str, Any], key: str) -> str:
    return f"{card['name']} ({key} {card[key]})"


def _collect(groups: dict[str, set[int]], rows: "pa.Table") -> None:
    pairs = rows.select(["source_id", "group"]).group_by(["source_id", "group"]).aggregate([])
    for source_id, group in zip(pairs["source_id"].to_pylist(), pairs["group"].to_pylist(), strict=True):
        groups[source_id].add(group)


def _source_row(card: SourceCard) -> dict[str, Any]:
    return {
        name: json.dumps(value, sort_keys=True) if name in _NESTED else value for name, value in asdict(card).items()
    }


def _source_card(row: dict[str, Any]) -> SourceCard:
    known = {each.name: row[each.name] for each in fields(SourceCard)}
    nested = {name: json.loads(known[name]) for name in _NESTED}
    return SourceCard(**known | nested | {"transform": tuple(nested["transform"])})
