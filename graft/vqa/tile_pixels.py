"""The pixels of an index's tiles as the model sees them, and where they lie."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from affine import Affine
from rasterio.crs import CRS

from graft.imagery.geometry import compose
from graft.index.schema import SourceCard
from graft.search.hits import Hit
from graft.search.thumbnails import thumbnails
from graft.tally import Tally
from graft.vqa.ground import GroundGrid

if TYPE_CHECKING:
    from graft.index.table import Index

Pixels = npt.NDArray[np.uint8]


def tile_grid(hit: Hit, source: SourceCard, height: int, width: int) -> GroundGrid:
    """The grid of a tile's pixels: of its raster's own transform, else by its footprint in its own CRS."""
    left, top, across, down = hit.window
    if source.kind == "raster" and source.crs:
        inner = Affine(across / width, 0, left, 0, down / height, top)
        crs, transform = CRS.from_user_input(source.crs), compose(Affine(*source.transform), inner)
        return GroundGrid.of_canvas(crs, transform, (height, width), (height, width), "metres")
    if hit.geometry is None or not isinstance(hit.geometry, shapely.Polygon):
        return GroundGrid.of_canvas(None, Affine.identity(), (height, width), (height, width), "pixels")
    crs = CRS.from_epsg(hit.epsg) if hit.epsg else CRS.from_epsg(4326)
    to_crs = pyproj.Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True)
    east_of, north_of = to_crs.transform(*shapely.get_coordinates(hit.geometry).T)
    west, south, east, north = min(east_of), min(north_of), max(east_of), max(north_of)
    transform = Affine((east - west) / width, 0, west, 0, (south - north) / height, north)
    return GroundGrid.of_canvas(crs, transform, (height, width), (height, width), "metres")


def tile_pixels(
    index: "Index", hits: Sequence[Hit], sources: Mapping[str, SourceCard], unseen: Tally
) -> Iterator[tuple[Hit, Pixels]]:
    """Tiles as the model saw them when they were indexed, in the order of the hits.

    Args:
        index: in which they were found.
        hits: any number; all their pixels are in memory at a time.
        sources: of the index, by id.
        unseen: counts what cannot be read, by reason.

    Yields:
        A tile and its pixels, uint8 [H, W, 3].
    """
    found: dict[str, Pixels] = {}
    sides: dict[int, list[Hit]] = {}
    for hit in hits:
        source = sources.get(hit.source_id)
        if source is not None and source.kind == "raster":
            side = int(source.settings["window"])
        else:
            side = round(max(hit.window[2:]))
        sides.setdefault(side, []).append(hit)
    for side, same in sides.items():
        pictures, missing = thumbnails(same, index, side)
        for reason, number in missing.counts.items():
            unseen.add(reason, missing.examples[reason][0] if missing.examples.get(reason) else "", number)
        for hit, picture in zip(same, pictures, strict=True):
            if picture is not None:
                found[hit.id] = _unframed(picture, hit)
    for hit in hits:
        if hit.id in found:
            yield hit, found[hit.id]


def _unframed(picture: Pixels, hit: Hit) -> Pixels:
    """A thumbnail at the tile's own size without the white that makes it square."""
    side, (wide, tall) = picture.shape[0], hit.window[2:]
    height, width = round(side * tall / max(wide, tall)), round(side * wide / max(wide, tall))
    top, left = round((side - height) / 2), round((side - width) / 2)
    return np.ascontiguousarray(picture[top : top + height, left : left + width])
