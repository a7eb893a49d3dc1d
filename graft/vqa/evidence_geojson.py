"""What answers rest on as GeoJSON: the objects and areas of each question, by RFC 7946."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import shapely.affinity
from affine import Affine
from rasterio.features import shapes
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from graft.vqa.answer import Answer
from graft.vqa.ground import Box, GroundGrid
from graft.vqa.overlay import Layer, layers_of

_LONGEST_PX = 256
"""A side of the grid is no straight line in degrees; longer ones get corners between."""


def evidence_collection(answers: Mapping[int, Answer], grid: GroundGrid) -> dict[str, Any]:
    """A FeatureCollection: longitude and latitude in degrees, WGS 84.

    A feature is an object that an answer is about (`concept`, `object`: its number in the picture, `area_m2`,
    `likeness`), or a connected part of an area (no `object`). Questions and answers are foreign members of the
    collection; `question` says which one a feature belongs to.

    Args:
        answers: by the number of their question.
        grid: of the evidence, with georeference.

    Raises:
        GraftError: parts of the image lie outside the area of its coordinate reference system.
    """
    return {
        "type": "FeatureCollection",
        "questions": [
            {"number": number, "question": each.question, "answer": each.answer} for number, each in answers.items()
        ],
        "features": [
            feature
            for number, each in answers.items()
            for layer in layers_of(each.evidence)
            for feature in _features(number, layer, grid)
        ],
    }


def outline(pixels: npt.NDArray[np.bool_], box: Box, grid: GroundGrid) -> dict[str, Any]:
    """The True pixels of a part of the grid as a geometry in degrees, cut at the antimeridian.

    Args:
        pixels: bool [h, w], one connected object.
        box: where they are.
        grid: with georeference.
    """
    moved = Affine.translation(box[1], box[0])
    parts = [
        part
        for shape, _ in shapes(pixels.astype(np.uint8), mask=pixels, connectivity=4, transform=moved)
        for part in _in_degrees(shape["coordinates"], grid)
    ]
    return _geometry(parts)


def _features(question: int, layer: Layer, grid: GroundGrid) -> Iterator[dict[str, Any]]:
    about = {"question": question, "concept": layer.concept}
    if layer.things is not None:
        for number, thing in enumerate(layer.things, start=1):
            told = {"object": number, "area_m2": round(thing.area, 2), "likeness": round(thing.likeness, 4)}
            yield _feature(outline(thing.pixels, thing.box, grid), about | told)
        return
    found = shapes(layer.mask.astype(np.uint8), mask=layer.mask, connectivity=4)
    for shape, _ in found:
        yield _feature(_geometry(_in_degrees(shape["coordinates"], grid)), about)


def _feature(geometry: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _in_degrees(rings: Sequence[Sequence[tuple[float, float]]], grid: GroundGrid) -> list[shapely.Polygon]:
    """A polygon of the grid (column, row) in degrees, in parts where it crosses 180 degrees."""
    around = []
    for ring in rings:
        dense = shapely.get_coordinates(shapely.segmentize(shapely.LinearRing(ring), _LONGEST_PX))
        degrees = grid.lon_lat(dense[:, ::-1])
        around.append(np.stack([np.unwrap(degrees[:, 0], period=360), degrees[:, 1]], axis=1))
    for inner in around[1:]:
        inner[:, 0] += 360 * np.round((around[0][:, 0].mean() - inner[:, 0].mean()) / 360)
    whole = shapely.Polygon(around[0], around[1:])
    west, _, east, _ = whole.bounds
    if west >= -180 and east <= 180:
        return [whole]
    cut = []
    for turn in range(-2, 3):
        part = shapely.make_valid(whole).intersection(shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        cut += [
            shapely.affinity.translate(each, -360 * turn)
            for each in shapely.get_parts(part)
            if isinstance(each, shapely.Polygon) and not each.is_empty
        ]
    return cut


def _geometry(parts: Sequence[shapely.Polygon]) -> dict[str, Any]:
    turned = [orient(shapely.Polygon(_rounded(p.exterior), [_rounded(r) for r in p.interiors])) for p in parts]
    made: dict[str, Any] = mapping(turned[0] if len(turned) == 1 else shapely.MultiPolygon(turned))
    return made


def _rounded(ring: shapely.LinearRing) -> npt.NDArray[np.float64]:
    corners: npt.NDArray[np.float64] = np.round(shapely.get_coordinates(ring), 7)
    return corners
