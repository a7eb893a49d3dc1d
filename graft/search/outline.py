"""Maps without a map server: the outlines of land, and parts of the Earth as paths of an SVG."""

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import shapely
from shapely.affinity import translate

LAND_FROM_DEGREES = 3.0
"""Natural Earth's 1:110m outlines are some ten kilometres off: a map that is narrower than this shows none."""

_WORLD_DEGREES = 200.0
_SIMPLE_PX = 0.4
_METRES_A_DEGREE = 111_195.0
_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Frame:
    """A part of the Earth on a picture: degrees are straight, a degree of latitude is as long as on the ground.

    Attributes:
        west: degrees, -180..180.
        north: degrees.
        scale: pixels a degree of latitude.
        stretch: ground length of a degree of longitude, in degrees of latitude.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """

    west: float
    north: float
    scale: float
    stretch: float
    width: int
    height: int

    @property
    def east(self) -> float:
        """Degrees; beyond 180 across the antimeridian."""
        return self.west + self.width / (self.scale * self.stretch)

    @property
    def south(self) -> float:
        """Degrees; below -90 where the picture reaches beyond the pole."""
        return self.north - self.height / self.scale

    def turned(self, lon: float) -> float:
        """A longitude, by whole turns as near to the middle of the picture as it gets."""
        return lon + 360 * round(((self.west + self.east) / 2 - lon) / 360)

    def place(self, lon: float, lat: float) -> tuple[float, float]:
        """Pixel (x, y) of a position in degrees."""
        return (self.turned(lon) - self.west) * self.scale * self.stretch, (self.north - lat) * self.scale


def frame_around(box: tuple[float, float, float, float], size: tuple[int, int], least: float) -> Frame:
    """The smallest frame of a given shape around a box, with a margin of an eighth.

    Args:
        box: west, south, east, north in degrees; east is beyond 180 across the antimeridian.
        size: width and height of the picture in pixels; the whole Earth is as high as it has to be.
        least: height in degrees that it has at least.
    """
    west, south, east, north = box
    middle = (south + north) / 2
    stretch = max(math.cos(math.radians(middle)), 0.05)
    tall = max(1.25 * (north - south), least)
    scale = min(size[1] / tall, size[0] / (1.25 * (east - west) * stretch) if east > west else math.inf)
    if size[0] / scale / stretch >= _WORLD_DEGREES:  # the whole Earth once, Antarctica where it is needed
        lower, upper = (-60.0, 84.0) if south > -60 and north < 84 else (-90.0, 90.0)
        scale = size[0] / 360
        return Frame(-180.0, upper, scale, 1.0, size[0], round((upper - lower) * scale))
    half = size[1] / scale / 2
    upper = min(max(middle + half, -90 + 2 * half), 90.0)
    return Frame((west + east) / 2 - size[0] / scale / stretch / 2, upper, scale, stretch, *size)


def path(shape: shapely.Geometry, frame: Frame) -> str:
    """Polygons in degrees as the `d` of an SVG path, those of a footprint in two parts side by side.

    What lies outside the frame is cut away, and the rest simplified to what a pixel can show.
    """
    box = shapely.box(frame.west - 1e-9, frame.south, frame.east + 1e-9, frame.north)
    rings: list[str] = []
    for turn in (-360.0, 0.0, 360.0):
        seen = shapely.intersection(translate(shape, xoff=turn), box)
        seen = shapely.simplify(seen, _SIMPLE_PX / frame.scale)
        for part in shapely.get_parts(seen):
            if part.geom_type == "Polygon" and not part.is_empty:
                rings += [_ring(np.asarray(ring.coords), frame) for ring in (part.exterior, *part.interiors)]
    return "".join(rings)


def _ring(points: npt.NDArray[np.float64], frame: Frame) -> str:
    across, down = (points[:-1, 0] - frame.west) * frame.scale * frame.stretch, (frame.north - points[:-1, 1])
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(across, down * frame.scale, strict=True)) + "Z"


def land_path(frame: Frame) -> str:
    """Land within a frame as an SVG path; empty on a map too close for outlines as coarse."""
    if frame.east - frame.west < LAND_FROM_DEGREES:
        return ""
    return path(_land(), frame)


@cache
def _land() -> shapely.MultiPolygon:
    content = json.loads((files("graft.search") / "land.json").read_text(encoding="utf-8"))
    unit = content["unit_deg"]
    rings = [[np.array(ring).reshape(-1, 2) * unit for ring in polygon] for polygon in content["polygons"]]
    return shapely.MultiPolygon([shapely.Polygon(outer, inner) for outer, *inner in rings])


@dataclass(frozen=True)
class Line:
    """A line of the graticule: `at` in pixels across or down, and what is written at its end."""

    at: float
    text: str


def graticule(frame: Frame) -> tuple[list[Line], list[Line]]:
    """Meridians and parallels at round degrees, some four to a side."""
    across = frame.east - frame.west
    step = _round_degrees(across / 6)
    first = math.ceil(frame.west / step)
    meridians = [first * step + k * step for k in range(int((frame.east - first * step) / step) + 1)]
    high = _round_degrees((frame.north - frame.south) / 5)
    lowest = math.ceil(max(frame.south, -90) / high)
    parallels = [lowest * high + k * high for k in range(int((frame.north - lowest * high) / high + 1e-9) + 1)]
    return (
        [Line((lon - frame.west) * frame.scale * frame.stretch, degrees(lon, "EW", step)) for lon in meridians],
        [Line((frame.north - lat) * frame.scale, degrees(lat, "NS", high)) for lat in parallels],
    )


def scale_bar(frame: Frame) -> tuple[float, str]:
    """Length in pixels and text of a bar of round length, at most a quarter of the picture wide."""
    metres = nice(frame.width / 4 / frame.scale * _METRES_A_DEGREE)
    return metres / _METRES_A_DEGREE * frame.scale, f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"


def nice(value: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is no more than a value above 0."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step for step in _STEPS if step * power <= value * (1 + 1e-9)) * power


def _round_degrees(value: float) -> float:
    """The smallest round angle that is no less than a value above 0."""
    power = 10.0 ** math.floor(math.log10(value))
    rounds = [30.0, 60.0, 90.0] if value > 20 else [1 * power, 2 * power, 5 * power, 10 * power]
    return next(step for step in rounds if step >= value * (1 - 1e-9))


def degrees(value: float, letters: str, step: float = 1e-4) -> str:
    """An angle as people write it, with the digits that a step needs."""
    turned = (value + 180) % 360 - 180 if letters == "EW" and abs(value) != 180 else value
    digits = max(-math.floor(math.log10(step) + 1e-9), 0)
    text = f"{abs(turned):.{digits}f}°"
    if float(text[:-1]) == 0 or (letters == "EW" and float(text[:-1]) == 180):
        return text
    return f"{text} {letters[0] if turned > 0 else letters[1]}"
