"""Shapes of outlines: square, rectangular, circular.

Measured on the ground, holes filled, so that neither a rotated raster nor oblong pixels nor an island change a shape:

    rectangular  area / area of the smallest rectangle around it >= 0.85
    square       rectangular, and its longer side at most 1.25 times the shorter
    circular     area / area of the smallest circle around it >= 0.8

A disk fills 0.79 of a rectangle, a square 0.64 of a circle, a hexagon 0.83; an ellipse is circular up to 1.25 : 1.
A square is rectangular, too.
"""

import math

import numpy as np
import shapely
from scipy import ndimage

from graft.vqa.ground import GroundGrid
from graft.vqa.values import Thing

RECTANGLE, SIDES, CIRCLE = 0.85, 1.25, 0.8


def shapes_of(thing: Thing, grid: GroundGrid) -> frozenset[str]:
    """Those of "square", "rectangular" and "circular" that an object is."""
    filled = ndimage.binary_fill_holes(thing.pixels)
    area = grid.area(filled, thing.box)
    rows, columns = np.nonzero(filled & ~ndimage.binary_erosion(filled))
    places = np.stack([rows + thing.box[0], columns + thing.box[1]], axis=1).astype(np.float64) + 0.5
    hull = shapely.convex_hull(shapely.multipoints(grid.plane(places)))
    # The hull joins the middles of pixels, half a pixel inside of the outline.
    side = math.sqrt(area / int(filled.sum()))
    shorter, longer = (length + side for length in _sides(hull))
    round_ = math.pi * (float(shapely.minimum_bounding_radius(hull)) + side / 2) ** 2
    fitting = set()
    if area >= RECTANGLE * shorter * longer:
        fitting.add("rectangular")
        if longer <= SIDES * shorter:
            fitting.add("square")
    if area >= CIRCLE * round_:
        fitting.add("circular")
    return frozenset(fitting)


def _sides(hull: shapely.Geometry) -> tuple[float, float]:
    """Shorter and longer side of the smallest rectangle around a shape."""
    if shapely.get_type_id(hull) != shapely.GeometryType.POLYGON:
        return 0.0, float(shapely.length(hull))
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(hull))
    first, second = np.hypot(*np.diff(corners[:3], axis=0).T)
    return float(min(first, second)), float(max(first, second))
