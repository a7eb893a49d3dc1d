"""What an index is made of: something that is cut into numbered windows, which are read and written in fixed groups."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from graft.errors import GraftError, first_line
from graft.fit import UNREADABLE
from graft.index.footprint import NOWHERE, Place
from graft.index.schema import SourceCard, SourceKind
from graft.sensors import Sensor
from graft.sliding import WindowGrid
from graft.tally import Tally

GROUP = 256
"""Windows read, encoded and written at one go: what a stopped run loses, and what one commit costs are both small."""

LEAST_VALID = 0.1
"""A window with less data than this share of its pixels says nothing about a place."""

FAULTS = (GraftError, *UNREADABLE, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError)
"""What a source may raise whose files are gone, locked or malformed."""

NO_DATA = f"less than {LEAST_VALID:.0%} data"


@dataclass(frozen=True)
class Look:
    """How a model looks at sources: all that vectors depend on besides model and content.

    Attributes:
        sensor: says how stored numbers become display values.
        model_gsd_m: metres a pixel that the model was trained on.
        patch: side of a patch token in pixels.
        window: side S of a window in pixels of the model's GSD.
        stride: between windows in pixels.
        display: rasters hold 8-bit display values already.
        bands: numbers (from 1) of red, green and blue where files do not say.
        gsd_m: metres a pixel of what has no coordinate reference system.
        any_gsd: resample however far a GSD is from the model's.
        precision: of the model's weights, bf16 or fp32.
    """

    sensor: Sensor
    model_gsd_m: float
    patch: int
    window: int
    stride: int
    display: bool = False
    bands: tuple[int, int, int] | None = None
    gsd_m: float | None = None
    any_gsd: bool = False
    precision: str = "bf16"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            GraftError: window and stride that do not fit the model, or a GSD that is none.
        """
        self.grid(self.window, self.window)
        if self.gsd_m is not None and not self.gsd_m > 0:
            raise GraftError(f"--gsd is {self.gsd_m:g}; it must be more than 0 metres.")

    def grid(self, height: int, width: int) -> WindowGrid:
        """The windows over a canvas in pixels of the model's GSD."""
        return WindowGrid(height, width, self.window, self.stride, self.patch)

    def settings(self, **changed: Any) -> dict[str, Any]:
        """As plain JSON types, for the card of a source.

        Args:
            changed: what a source knows better, or does not depend on.
        """
        return {
            "window": self.window,
            "stride": self.stride,
            "patch": self.patch,
            "group": GROUP,
            "sensor": self.sensor.name,
            "display": self.display,
            "bands": None if self.bands is None else list(self.bands),
            "gsd_m": self.gsd_m,
            "any_gsd": self.any_gsd,
            "precision": self.precision,
        } | changed


@dataclass(frozen=True)
class TileFacts:
    """All columns of a row but the vector; see `graft.index.schema.tile_schema`.

    Attributes:
        number: of the window in its source.
        path: file that holds the pixels.
        window: column, row, width and height in pixels of that file.
        item: sample in that file.
        taken: when, UTC.
        gsd_m: pixel on the ground as stored.
        valid: share of pixels with data.
        cloud: share of pixels under cloud.
        place: on the Earth.
    """

    number: int
    path: str
    window: tuple[float, float, float, float]
    item: str = ""
    taken: datetime | None = None
    gsd_m: float | None = None
    valid: float | None = None
    cloud: float | None = None
    place: Place = NOWHERE


@dataclass(frozen=True)
class Group:
    """What reading a group of windows gave.

    Attributes:
        pixels: uint8 [n, 3, S, S], display values.
        tiles: n, in the order of their numbers.
        skipped: windows left out.
        fault: why the source cannot be read at all now; the group is not to be written then.
    """

    pixels: Tensor
    tiles: tuple[TileFacts, ...]
    skipped: Tally = field(default_factory=Tally)
    fault: str = ""


@dataclass(frozen=True)
class Source(ABC):
    """A raster, a folder of tiles, or shards.

    Attributes:
        card: as it is stored when all tiles are in, but for `skipped`.
        look: how the model looks at it.
    """

    card: SourceCard
    look: Look

    @property
    @abstractmethod
    def groups(self) -> int:
        """Number of groups."""

    @abstractmethod
    def numbers(self, group: int) -> range:
        """Numbers of the windows of a group."""

    @abstractmethod
    def read(self, group: int) -> Group:
        """Read the windows of a group.

        Raises:
            GraftError: nothing of the source can be read now.
        """


def read_group(source: Source, group: int) -> Group:
    """`Source.read`, with a fault of the whole source in `Group.fault`."""
    try:
        return source.read(group)
    except FAULTS as error:
        return Group(stack([], source.look.window), (), fault=fault_of(source.card.name, error))


def fault_of(name: str, error: BaseException) -> str:
    """What is wrong with a source, as one sentence that names it."""
    if isinstance(error, GraftError):
        return str(error)
    return f"{name} cannot be read ({type(error).__name__}): {first_line(error)}"


def make_card(
    name: str, kind: SourceKind, fingerprint: str, settings: dict[str, Any], windows: int, **grid: Any
) -> SourceCard:
    """The card of a source.

    Its id is made of name, fingerprint and settings, so that tiles left by a stopped run are only ever joined by tiles
    of the same content, looked at in the same way.
    """
    content = json.dumps([name, fingerprint, settings], sort_keys=True)
    source_id = hashlib.sha256(content.encode()).hexdigest()[:16]
    return SourceCard(source_id, name, kind, fingerprint, settings, windows=windows, **grid)


def fingerprint_of(facts: Iterable[object]) -> str:
    """A hash of facts of plain types."""
    return hashlib.sha256(json.dumps(list(facts)).encode()).hexdigest()[:32]


def utc(time: str | None) -> datetime | None:
    """A time in ISO 8601 as UTC, which it is where it does not say; None where it is none."""
    try:
        moment = datetime.fromisoformat((time or "").strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def stack(tiles: list[Tensor], side: int) -> Tensor:
    """Tiles uint8 [3, S, S] as one tensor, empty where there is none."""
    return torch.stack(tiles) if tiles else torch.zeros(0, 3, side, side, dtype=torch.uint8)
