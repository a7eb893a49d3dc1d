"""What is known of an image without reading a pixel."""

import json
import re
import unicodedata
from dataclasses import asdict, dataclass

SLUG_LENGTH = 64
"""A shard's tar stores names up to 100 characters plainly: slug, row, column and the name of a member fit."""

Transform = tuple[float, float, float, float, float, float]
Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Image:
    """One raster or STAC item whose tiles follow the sensor.

    Attributes:
        slug: name of the image in sample keys, `[a-z0-9_-]+`, unique within a build.
        bands: for red, green and blue: path or address of the file, and number (from 1) of the band in it.
        scl: path or address of Sentinel-2's scene classification, None without.
        crs: "EPSG:32633", or WKT where there is no code.
        transform: a, b, c, d, e, f: pixel of the tile grid (column, row, edges at integers) to CRS coordinates. The
            tile grid is the raster's own where its GSD is the sensor's, else one of the sensor's GSD from its origin.
        width: columns of the tile grid.
        height: rows of the tile grid.
        gsd_m: size of a pixel of the tile grid on the ground, metres.
        datetime: when it was taken (ISO 8601), None if nothing says.
        item: name of the product.
        cloud: share of the whole item under cloud, per cent, None if nothing says.
        offset: added to a stored number before it is scaled to reflectance.
        radiometry_note: why the offset is what it is.
        footprint: rings of (lon, lat) in degrees, none of which crosses the antimeridian.
        sign: whether its addresses are signed for Planetary Computer before they are read.
    """

    slug: str
    bands: tuple[tuple[str, int], tuple[str, int], tuple[str, int]]
    scl: str | None
    crs: str
    transform: Transform
    width: int
    height: int
    gsd_m: float
    datetime: str | None
    item: str
    cloud: float | None
    offset: float
    radiometry_note: str
    footprint: tuple[Ring, ...]
    sign: bool = False

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Image":
        """Invert `to_json`."""
        fields = json.loads(line)
        red, green, blue = ((file, band) for file, band in fields["bands"])
        a, b, c, d, e, f = fields["transform"]
        rings = tuple(tuple((lon, lat) for lon, lat in ring) for ring in fields["footprint"])
        return cls(**{**fields, "bands": (red, green, blue), "transform": (a, b, c, d, e, f), "footprint": rings})


def make_slug(name: str, used: set[str]) -> str:
    """A name of `[a-z0-9_-]+` that is not in `used`, which it joins."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9_]+", "-", plain).strip("-")[:SLUG_LENGTH] or "scene"
    slug, number = base, 1
    while slug in used:
        number += 1
        suffix = f"-{number}"
        slug = base[: SLUG_LENGTH - len(suffix)] + suffix
    used.add(slug)
    return slug
