"""Which images show a place, best first."""

from collections.abc import Sequence
from datetime import UTC, datetime

import shapely

from graft.imagery.geometry import rings_shape, to_lonlat, to_pixel
from graft.imagery.image import Image

_OUTLINE_SLACK = 1e-4
"""Degrees: an outline drawn with straight lines between points may miss the true edge by metres."""


class ImageIndex:
    """A spatial index over footprints in degrees.

    Args:
        images: all images of a build, in any order.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        self.images = sorted(images, key=lambda image: image.slug)
        self._number = {image.slug: number for number, image in enumerate(self.images)}
        self._taken = [seconds(image.datetime) for image in self.images]
        self._shapes = [rings_shape(image.footprint).buffer(_OUTLINE_SLACK) for image in self.images]
        for shape in self._shapes:
            shapely.prepare(shape)
        self._tree = shapely.STRtree(self._shapes)

    def candidates(self, lon: float, lat: float, taken_at: str | None) -> list[Image]:
        """Images that hold a place, best first.

        An image whose data cover the place comes before one whose do not, then the one nearest in time, then the less
        cloudy, then by slug. Where a time is unknown all are as near.

        Args:
            lon: WGS 84 longitude, degrees.
            lat: WGS 84 latitude, degrees.
            taken_at: time to be near to, ISO 8601; a text that is no time counts as unknown.
        """
        wanted = seconds(taken_at)
        ranked = []
        for number in self._tree.query(shapely.Point(lon, lat)).tolist():
            image = self.images[number]
            x, y = (float(value) for value in to_pixel(image, lon, lat))
            if not (0 <= x < image.width and 0 <= y < image.height):
                continue
            covered = bool(shapely.intersects_xy(self._shapes[number], lon, lat))
            taken = self._taken[number]
            apart = 0.0 if wanted is None else float("inf") if taken is None else abs(taken - wanted)
            cloud = float("inf") if image.cloud is None else image.cloud
            ranked.append((not covered, apart, cloud, image.slug, image))
        return [entry[-1] for entry in sorted(ranked, key=lambda entry: entry[:-1])]

    def covers(self, image: Image, column: int, row: int, tile_size: int) -> bool:
        """Whether an image's footprint covers a window of its tile grid.

        Args:
            image: one of the index.
            column: of the window's upper left pixel.
            row: likewise.
            tile_size: side of the window in pixels.
        """
        right, bottom = column + tile_size, row + tile_size
        corners = to_lonlat(image, [column, right, right, column], [row, row, bottom, bottom])
        return bool(shapely.intersects_xy(self._shapes[self._number[image.slug]], *corners).all())


def seconds(time: str | None) -> float | None:
    """Seconds since 1970 of an ISO 8601 time, UTC where it names no zone; None for no time."""
    try:
        parsed = datetime.fromisoformat(time or "")
    except ValueError:
        return None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
