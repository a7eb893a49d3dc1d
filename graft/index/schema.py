"""What an index stores: one row a tile, one row a source, and a card that says whose vectors they are."""

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from graft.errors import GraftError, import_extra

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
CARD_KEY = b"graft"
ID_KEY = b"graft.id"
"""Of what tells an index from others with the same card."""

SourceKind = Literal["raster", "folder", "shards"]


@dataclass(frozen=True)
class IndexCard:
    """Whose vectors an index holds; written once, into the metadata of the table's schema.

    Attributes:
        model: `name`, `sha256`, `sensor`, `radiometry`, `dim` (D), `window` (pixels), `gsd_m` and `logit_scale` of the
            encoder.
        teacher: `name`, `identity` and `dim` of the CLIP whose words and photos it can be searched with.
        version: of this layout.
    """

    model: dict[str, Any]
    teacher: dict[str, Any]
    version: int = VERSION

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return int(self.model["dim"])

    def to_bytes(self) -> bytes:
        """For the metadata of an Arrow schema."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> "IndexCard":
        """Invert `to_bytes`.

        Raises:
            GraftError: written by a later graft, or damaged.
        """
        try:
            content = json.loads(stored)
            if content["version"] != VERSION:
                raise GraftError(
                    f"The index has version {content['version']}, this graft reads {VERSION}. Install the graft that "
                    "wrote it, or build the index again."
                )
            return cls(content["model"], content["teacher"], content["version"])
        except (ValueError, KeyError, TypeError) as error:
            raise GraftError(f"The index's card cannot be read ({error}). Build the index again.") from error


@dataclass(frozen=True)
class SourceCard:
    """Something whose tiles are in the index: a raster, a folder of tiles, or shards.

    Attributes:
        id: 16 hexadecimal digits, made of `name`, `fingerprint` and `settings`.
        name: absolute path, or address.
        kind: raster, folder or shards.
        fingerprint: of its content as far as that is cheap: sizes and times of change, or the shards' own hashes.
        settings: all that its vectors depend on besides model and content, in plain JSON types.
        crs: WKT of the raster's coordinate reference system; "" without one or for folders and shards.
        transform: a, b, c, d, e, f of the raster's grid; empty for folders and shards.
        width: columns of the raster; 0 for folders and shards.
        height: rows of the raster; 0 for folders and shards.
        windows: tiles it was cut into, those left out included.
        skipped: how many were left out, by reason.
    """

    id: str
    name: str
    kind: SourceKind
    fingerprint: str
    settings: dict[str, Any]
    crs: str = ""
    transform: tuple[float, ...] = ()
    width: int = 0
    height: int = 0
    windows: int = 0
    skipped: dict[str, int] = field(default_factory=dict)


def tile_schema(card: IndexCard) -> "pa.Schema":
    """Columns of the table `tiles`.

    `id` is unique: the source's id, a dash, and the number of the window in it. `path` is the file that holds the
    pixels and `item` the sample in it where it is a shard (else ""). `window` is in pixels of that file, edges at
    integers. `group` is the part of the source that was written at one go. `datetime` is UTC. `gsd_m` is the pixel on
    the ground as stored. `valid` is the share of pixels with data, `cloud` that under cloud, 0..1. `lon`, `lat` are of
    the middle, `geometry` (WKB) is the footprint in degrees, its edges densified, in two parts across the antimeridian,
    and `bbox` its bounds, xmin > xmax across the antimeridian as in RFC 7946. What is unknown is null;
    tiles without georeference have no place. `vector` has unit length.
    """
    pa = import_extra("pyarrow", "search")
    box = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
    window = pa.struct([(name, pa.float64()) for name in ("column", "row", "width", "height")])
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("source_id", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("item", pa.string(), nullable=False),
            pa.field("group", pa.int32(), nullable=False),
            pa.field("window", window, nullable=False),
            pa.field("datetime", pa.timestamp("us", tz="UTC")),
            pa.field("epsg", pa.int32()),
            pa.field("gsd_m", pa.float32()),
            pa.field("valid", pa.float32()),
            pa.field("cloud", pa.float32()),
            pa.field("lon", pa.float64()),
            pa.field("lat", pa.float64()),
            pa.field("bbox", box),
            pa.field("geometry", pa.binary()),
            pa.field("vector", pa.list_(pa.float16(), card.dim), nullable=False),
        ],
        metadata={CARD_KEY: card.to_bytes()},
    )


def source_schema() -> "pa.Schema":
    """Columns of the table `sources`, a row for each source whose tiles are all there; JSON where nested."""
    pa = import_extra("pyarrow", "search")
    names = ("id", "name", "kind", "fingerprint", "settings", "crs", "transform", "skipped")
    numbers = ("width", "height", "windows")
    return pa.schema(
        [pa.field(name, pa.string(), nullable=False) for name in names]
        + [pa.field(name, pa.int64(), nullable=False) for name in numbers]
    )
