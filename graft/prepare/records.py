"""What a sample's `json` says of its tile and photos."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoRecord:
    """One photo of a sample.

    Attributes:
        id: equal ids are the same photo.
        x: position in tile pixels, rightwards, pixel edges at integers.
        y: likewise, downwards.
        taken_at: ISO 8601.
        heading: direction of view, degrees clockwise from north.
        license: as its source states it.
        source: where it is from.
        accuracy_m: error of its position in metres.
    """

    id: str
    x: float
    y: float
    taken_at: str | None = None
    heading: float | None = None
    license: str | None = None
    source: str | None = None
    accuracy_m: float | None = None


@dataclass(frozen=True)
class TileRecord:
    """What a sample says of its tile, besides what all samples of a build share.

    Attributes:
        photos: at least one, in the order of the sample's vectors and photo files.
        gsd_m: ground sampling distance, metres per pixel.
        crs: "EPSG:32633" or WKT; None for a tile without a place.
        transform: rasterio's a, b, c, d, e, f of the tile, pixel to CRS.
        datetime: ISO 8601, when the scene was taken.
        item: name of the product.
        nodata: share of its pixels without data, 0..1.
        cloudy: share of its pixels under cloud or cloud shadow, 0..1; None where nothing says.
        offset: added to the item's stored numbers before scaling.
    """

    photos: tuple[PhotoRecord, ...]
    gsd_m: float
    crs: str | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    datetime: str | None = None
    item: str | None = None
    nodata: float | None = None
    cloudy: float | None = None
    offset: float | None = None
