"""Hits as GeoJSON, by RFC 7946."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from graft.search.hits import Hit, SearchResult


def feature_collection(result: SearchResult) -> dict[str, Any]:
    """The hits as a FeatureCollection: longitude and latitude in degrees, WGS 84, which is why it has no `crs`.

    Outer rings run counter-clockwise, footprints across the antimeridian are MultiPolygons cut there, and the west of
    such a `bbox` is larger than its east. A tile without place has a null geometry. Query, filters and verdict are
    foreign members of the collection.
    """
    content: dict[str, Any] = {
        "type": "FeatureCollection",
        "query": str(result.query),
        "conditions": list(result.conditions),
        "verdict": result.verdict,
        "index": result.address,
        "tiles": result.rows,
        "tiles_searched": result.searched,
        "tiles_left_out": result.left_out,
        "features": [_feature(hit) for hit in result.hits],
    }
    shapes = [hit.geometry for hit in result.hits if hit.geometry is not None]
    return content | ({"bbox": bounding_box(shapes)} if shapes else {})


def properties(hit: Hit) -> dict[str, Any]:
    """What a table says of a hit, in order; empty `item` and what is unknown are None."""
    names = ("column", "row", "width", "height")
    return {
        "rank": hit.rank,
        "score": round(hit.score, 6),
        "likeness": None if hit.likeness is None else round(hit.likeness, 4),
        "id": hit.id,
        "path": hit.path,
        "item": hit.item or None,
        "source": hit.source_id,
        **dict(zip(names, hit.window, strict=True)),
        **{name: getattr(hit, name) for name in ("datetime", "epsg", "gsd_m", "valid", "cloud", "lon", "lat")},
    }


def bounding_box(shapes: Sequence[shapely.Geometry]) -> list[float]:
    """West, south, east, north of shapes in degrees; west > east where the shortest way round crosses 180 degrees."""
    edges = shapely.bounds(shapely.get_parts(shapes))
    west, east = _span(edges[:, [0, 2]])
    return [west, float(edges[:, 1].min()), east, float(edges[:, 3].max())]


def _span(edges: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """The shortest arc of longitude that holds some: [n, 2] of west and east, each within -180..180."""
    spans: list[list[float]] = []
    for west, east in sorted(edges.tolist()):
        if spans and west <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], east)
        else:
            spans.append([west, east])
    gaps = [following[0] - span[1] for span, following in pairwise(spans)]
    around = spans[0][0] + 360 - spans[-1][1]
    if not gaps or around >= max(gaps):
        return spans[0][0], spans[-1][1]
    widest = int(np.argmax(gaps))
    return spans[widest + 1][0], spans[widest][1]


def _feature(hit: Hit) -> dict[str, Any]:
    feature = {"type": "Feature", "id": hit.id, "geometry": None, "properties": properties(hit)}
    if hit.geometry is None:
        return feature
    return feature | {"geometry": _oriented(hit.geometry), "bbox": bounding_box([hit.geometry])}


def _oriented(shape: shapely.Geometry) -> dict[str, Any]:
    parts = [orient(part) for part in shapely.get_parts(shape)]
    found: dict[str, Any] = mapping(parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts))
    return found
