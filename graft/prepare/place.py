"""Where tiles may lie: greedy choice of windows around photos, at a least distance from one another."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from graft.imagery.geometry import to_lonlat, to_pixel
from graft.imagery.image import Image, Transform
from graft.imagery.index import ImageIndex
from graft.prepare.settings import TileSettings

EARTH_M = 6_371_000.0
SLACK_PX = 1.0
"""Images of one CRS may be a fraction of a pixel apart; tiles of two of them may share that much."""


@dataclass(frozen=True)
class Lattice:
    """Pixels of a CRS: all images that share CRS and pixel shape count columns and rows from its origin.

    Attributes:
        crs: of the images.
        shape: a, b, d, e of their transforms.
    """

    crs: str
    shape: tuple[float, float, float, float]

    @classmethod
    def of(cls, image: Image) -> "Lattice":
        """The lattice that an image's pixels lie on, up to a fraction of a pixel."""
        return _lattice(image.crs, image.transform)

    def origin(self, image: Image) -> tuple[float, float]:
        """Lattice column and row of an image's upper left corner."""
        return _origin(self.shape, image.transform[2], image.transform[5])


@cache
def _lattice(crs: str, transform: Transform) -> Lattice:
    a, b, _, d, e, _ = (round(value, 9) for value in transform)
    return Lattice(crs, (a, b, d, e))


@cache
def _origin(shape: tuple[float, float, float, float], east: float, north: float) -> tuple[float, float]:
    a, b, d, e = shape
    area = a * e - b * d
    return (e * east - b * north) / area, (a * north - d * east) / area


@dataclass(frozen=True)
class Window:
    """Ground to be cut into one tile.

    Attributes:
        lattice: whose columns and rows are counted.
        column: of its left edge.
        row: of its upper edge.
        images: numbers of images that hold all of it, best first.
        lon: of its centre, degrees.
        lat: of its centre, degrees.
    """

    lattice: Lattice
    column: float
    row: float
    images: tuple[int, ...]
    lon: float
    lat: float


def corner(image: Image, column: float, row: float) -> tuple[int, int]:
    """Column and row in an image of a place on its lattice."""
    across, down = Lattice.of(image).origin(image)
    return round(column - across), round(row - down)


@dataclass
class _Band:
    """Windows taken in one band of latitude: by place on their lattice, and by place on the globe."""

    seen: set[tuple[Lattice, float, float]] = field(default_factory=set)
    near: dict[tuple[Lattice, int, int], list[tuple[float, float]]] = field(default_factory=dict)
    around: dict[tuple[int, ...], list[tuple[Lattice, tuple[float, ...]]]] = field(default_factory=dict)


class Placer:
    """Accepts windows that keep their distance from those accepted before.

    Windows lie on a regular grid, so that every photo is in one and tiles can touch without gaps; it starts at the
    corner of the image with the first slug among those of the place, so that all images of a place share one. A window
    that no image holds wholly is moved inwards until one does. Windows of one lattice are compared by columns
    and rows; windows of two (another UTM zone, say) by the distance of their centres, lengthened by the diagonal.
    """

    def __init__(self, images: Sequence[Image], settings: TileSettings, *, max_candidates: int) -> None:
        """Start with no tile.

        Args:
            images: that tiles may be read from; windows name them by number.
            settings: size and spacing of tiles.
            max_candidates: images kept for a window, in case the first turns out to be cloudy or without data.
        """
        self._images, self._size, self._most = images, settings.size, max_candidates
        self._number = {image.slug: number for number, image in enumerate(images)}
        self._index = ImageIndex(images)
        self._least = settings.spacing * settings.size
        self._stride = min(settings.spacing, 1.0) * settings.size
        self._far_m = self._least * math.sqrt(2) * max((image.gsd_m for image in images), default=1.0)
        self._several = len({Lattice.of(image) for image in images}) > 1
        self._bands = [_Band(), _Band()]

    @property
    def band_degrees(self) -> float:
        """Height of a band of latitude: tiles two bands apart cannot get in each other's way."""
        return max(0.25, 4 * math.degrees(self._far_m / EARTH_M))

    def next_band(self) -> None:
        """Go on to the next band of latitude; only the last one is remembered."""
        self._bands = [self._bands[1], _Band()]

    def windows(self, lon: float, lat: float, taken_at: str) -> list[Window] | None:
        """Take up the free windows that hold a photo; None where no image holds it."""
        candidates = self._index.candidates(lon, lat, taken_at or None)
        if not candidates:
            return None
        return [
            window
            for column, row, images in self._around(candidates, lon, lat)
            if (window := self._take(column, row, images)) is not None
        ]

    def _around(
        self, candidates: Sequence[Image], lon: float, lat: float
    ) -> Sequence[tuple[float, float, tuple[int, ...]]]:
        """Column, row and images of the windows round a photo.

        They lie on the lattice of the best image whose data cover a window; where none do, of the best that holds one.
        """
        groups: dict[Lattice, list[Image]] = {}
        for image in candidates:
            groups.setdefault(Lattice.of(image), []).append(image)
        for inwards in (False, True):
            fallback: Sequence[tuple[float, float, tuple[int, ...]]] = ()
            for lattice, alike in groups.items():
                found, covered = [], False
                for column, row in self._on_lattice(lattice, alike, lon, lat, inwards=inwards):
                    holding = [image for image in alike if self._holds(image, column, row)]
                    ends = {image.slug: not self._covers(image, column, row) for image in holding}
                    holding.sort(key=lambda image: ends[image.slug])
                    covered = covered or not ends[holding[0].slug]
                    found.append((column, row, tuple(self._number[image.slug] for image in holding[: self._most])))
                if covered:
                    return found
                fallback = fallback or found
            if fallback:
                return fallback
        return ()

    def _on_lattice(
        self, lattice: Lattice, alike: Sequence[Image], lon: float, lat: float, *, inwards: bool
    ) -> Iterator[tuple[float, float]]:
        """Grid windows round a photo that an image holds; with `inwards` those that had to be moved into one."""
        large = [image for image in alike if min(image.width, image.height) >= self._size]
        if not large:
            return
        anchor = lattice.origin(min(alike, key=lambda image: image.slug))
        across, down = lattice.origin(large[0])
        x, y = to_pixel(large[0], lon, lat)
        for row in self._lines(float(y) + down, anchor[1]):
            for column in self._lines(float(x) + across, anchor[0]):
                if inwards:
                    left = min(max(round(column - across), 0), large[0].width - self._size)
                    top = min(max(round(row - down), 0), large[0].height - self._size)
                    yield left + across, top + down
                elif any(self._holds(image, column, row) for image in large):
                    yield column, row

    def _covers(self, image: Image, column: float, row: float) -> bool:
        """Whether an image that holds a window has data in all of it, as far as its footprint says."""
        return self._index.covers(image, *corner(image, column, row), self._size)

    def _lines(self, place: float, anchor: float) -> list[float]:
        """Left edges of the grid's windows that hold a place along one axis."""
        last = math.floor((place - anchor) / self._stride)
        first = math.floor((place - anchor - self._size) / self._stride) + 1
        return [anchor + number * self._stride for number in range(first, last + 1)]

    def _holds(self, image: Image, column: float, row: float) -> bool:
        left, top = corner(image, column, row)
        return 0 <= left <= image.width - self._size and 0 <= top <= image.height - self._size

    def _take(self, column: float, row: float, images: tuple[int, ...]) -> Window | None:
        """The window, if it was not looked at before and is free."""
        image = self._images[images[0]]
        lattice = Lattice.of(image)
        key = (lattice, round(column, 3), round(row, 3))
        if any(key in band.seen for band in self._bands):
            return None
        self._bands[1].seen.add(key)
        across, down = lattice.origin(image)
        half = self._size / 2
        lon, lat = (float(value) for value in to_lonlat(image, column - across + half, row - down + half))
        place = _on_sphere(lon, lat)
        if not self._is_free(lattice, column, row, place):
            return None
        band = self._bands[1]
        band.near.setdefault((lattice, *self._box(column, row)), []).append((column, row))
        if self._several:
            band.around.setdefault(self._globe_box(place), []).append((lattice, place))
        return Window(lattice, column, row, images, lon, lat)

    def _box(self, column: float, row: float) -> tuple[int, int]:
        return math.floor(column / self._least), math.floor(row / self._least)

    def _globe_box(self, place: tuple[float, ...]) -> tuple[int, ...]:
        return tuple(math.floor(axis / self._far_m) for axis in place)

    def _is_free(self, lattice: Lattice, column: float, row: float, place: tuple[float, ...]) -> bool:
        across, down = self._box(column, row)
        least = self._least - SLACK_PX
        for band in self._bands:
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    for other in band.near.get((lattice, across + i, down + j), ()):
                        if max(abs(other[0] - column), abs(other[1] - row)) < least:
                            return False
        return not self._several or not self._is_crowded(lattice, place)

    def _is_crowded(self, lattice: Lattice, place: tuple[float, ...]) -> bool:
        """Whether a window of another lattice is too close."""
        a, b, c = self._globe_box(place)
        boxes = [(a + i, b + j, c + k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)]
        return any(
            other != lattice and math.dist(there, place) < self._far_m
            for band in self._bands
            for box in boxes
            for other, there in band.around.get(box, ())
        )


def _on_sphere(lon: float, lat: float) -> tuple[float, float, float]:
    """Metres from the Earth's centre: distances without a seam at the antimeridian or the poles."""
    east, north = math.radians(lon), math.radians(lat)
    flat = math.cos(north) * EARTH_M
    return flat * math.cos(east), flat * math.sin(east), math.sin(north) * EARTH_M
