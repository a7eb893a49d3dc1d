"""An area on the globe as the command line gives it: four edges in degrees, or polygons in a GeoJSON file."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape

from graft.errors import GraftError, first_line
from graft.imagery.geometry import rings_shape, split_rings

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]
"""West, south, east and north in degrees, west <= east."""

_FORM = "expected WEST,SOUTH,EAST,NORTH in degrees, such as 6.8,50.9,7.2,51.1, or a GeoJSON file with polygons"


def read_area(text: str) -> shapely.Geometry:
    """The area that `--within` names.

    Args:
        text: `WEST,SOUTH,EAST,NORTH` in degrees, where WEST > EAST crosses the antimeridian; or the path of a GeoJSON
            file (RFC 7946: WGS 84, longitude first) whose polygons together are the area.

    Returns:
        Polygon or MultiPolygon with longitudes in -180..180.

    Raises:
        GraftError: neither of them, no polygon, or no degrees.
    """
    if not _is_file(text):
        return _box(text)
    try:
        content = json.loads(Path(text).read_text(encoding="utf-8-sig"))
        features = content["features"] if content["type"] == "FeatureCollection" else [content]
        given = [each["geometry"] if each["type"] == "Feature" else each for each in features]
        with np.errstate(invalid="ignore"):
            shapes = [shape(each) for each in given if each is not None]
        if not np.isfinite(shapely.get_coordinates(shapes)).all():
            raise ValueError("it has coordinates that are no numbers")
        parts = shapely.get_parts(shapely.get_parts(shapes))
        polygons = [shapely.make_valid(part) for part in parts if part.geom_type == "Polygon" and not part.is_empty]
    except Exception as error:  # what shapely raises for a malformed geometry depends on what is malformed
        raise GraftError(f"--within {text} is not GeoJSON ({first_line(error)}); {_FORM}.") from error
    if len(shapes) < len(given):
        logger.warning("%s: %d features without a geometry are left out.", text, len(given) - len(shapes))
    if not polygons:
        raise GraftError(f"--within {text} holds no polygon; {_FORM}.")
    west, south, east, north = shapely.total_bounds(polygons)
    if not (-360 <= west <= east <= 360 and -90 <= south <= north <= 90):
        raise GraftError(
            f"--within {text} has x {west:g} to {east:g} and y {south:g} to {north:g}; expected longitude and latitude "
            "in degrees, WGS 84."
        )
    return _turned(shapely.union_all(polygons))


def boxes(area: shapely.Geometry) -> list[Box]:
    """Boxes that together hold an area: one for each part, or one for all of many."""
    parts = shapely.get_parts(area)
    boxes = shapely.bounds(parts) if len(parts) <= 16 else np.array([shapely.bounds(area)])
    return [(float(west), float(south), float(east), float(north)) for west, south, east, north in boxes]


def _turned(area: Any) -> shapely.Geometry:
    """With longitudes moved into -180..180, holes kept."""
    west, _, east, _ = area.bounds
    if west >= -180 and east <= 180:
        return area
    turns = (shapely.transform(area, lambda xy, turn=turn: xy + np.array([turn, 0])) for turn in (-360, 0, 360))
    return shapely.union_all([shapely.intersection(each, shapely.box(-180, -90, 180, 90)) for each in turns])


def _box(text: str) -> shapely.Geometry:
    try:
        west, south, east, north = (float(number) for number in text.strip("[] ").split(","))
    except ValueError:
        missing = "there is no such file, and it is" if Path(text).suffix else "it is"
        raise GraftError(f"--within is {text[:200]!r}: {missing} not four numbers; {_FORM}.") from None
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and west != east):
        raise GraftError(f"--within {text} is no area on the globe; {_FORM}, the south below the north.")
    return rings_shape(split_rings(shapely.box(west, south, east if west < east else east + 360, north)))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:  # too long for a name
        return False
