"""Where grid pixels lie on the ground: lengths, areas and true north, whatever the coordinate reference system."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyproj
import pyproj.exceptions
from affine import Affine
from rasterio.crs import CRS

from graft.errors import GraftError, first_line
from graft.imagery.geometry import compose

Units = Literal["metres", "epsg3857", "pixels"]
Floats = npt.NDArray[np.float64]
Box = tuple[int, int, int, int]
"""First row, first column, one past the last row, one past the last column."""

_CELLS = 16
_UNIFORM = 1e-3
_CHUNK_ROWS = 512
_AXIS_M, _FLATTENING = 6_378_137.0, 1 / 298.257223563


@dataclass(frozen=True)
class GroundGrid:
    """A grid of pixels on the ground. Places are rows and columns, pixel edges at integers.

    Lengths and areas are true ones on the WGS 84 ellipsoid, or counted in EPSG:3857 (longer than true by
    1 / cos(latitude)), or in pixels. They are computed on a lattice of 17 x 17 places over the grid and interpolated
    between: areas and distances are right to 0.1 % for scenes of up to ten degrees.

    Attributes:
        height: rows H.
        width: columns W.
        transform: grid pixel (column, row) to CRS coordinates; None where there is no georeference.
        crs: None where there is no georeference.
        units: what lengths and areas are counted in; "pixels" if and only if there is no georeference.
    """

    height: int
    width: int
    transform: Affine | None
    crs: CRS | None
    units: Units

    @classmethod
    def of_canvas(
        cls, crs: CRS | None, transform: Affine, size: tuple[int, int], grid: tuple[int, int], units: Units
    ) -> Self:
        """The grid that covers a raster exactly.

        Args:
            crs: of the raster; None gives a grid in pixels whatever `units` says.
            transform: of the raster, pixel to CRS coordinates.
            size: rows and columns of the raster.
            grid: rows and columns of the grid.
            units: of lengths and areas; "pixels" leaves the georeference aside.

        Raises:
            GraftError: PROJ finds no place on Earth for the raster.
        """
        if crs is None or units == "pixels":
            return cls(*grid, transform=None, crs=None, units="pixels")
        made = cls(*grid, compose(transform, Affine.scale(size[1] / grid[1], size[0] / grid[0])), crs, units)
        made.lon_lat(np.array([[0.0, 0.0], [grid[0], grid[1]]]))  # a raster that lies nowhere is told before any work
        return made

    @property
    def length_unit(self) -> Literal["m", "px"]:
        """Of lengths."""
        return "px" if self.units == "pixels" else "m"

    @property
    def area_unit(self) -> Literal["m2", "px2"]:
        """Of areas."""
        return "px2" if self.units == "pixels" else "m2"

    @property
    def pixel(self) -> tuple[float, float]:
        """Length across and down of a pixel at the centre of the grid."""
        across, down = self._lattice.steps[_CELLS // 2, _CELLS // 2]
        return math.hypot(*across), math.hypot(*down)

    @property
    def pixel_area(self) -> float:
        """Area of a pixel, the mean over the grid."""
        return float(self._lattice.areas.mean())

    @cached_property
    def north(self) -> tuple[float, float] | None:
        """Unit vector (row, column) on the grid towards true north at its centre; None without georeference."""
        if self.units == "pixels":
            return None
        steps = self._lattice.steps[_CELLS // 2, _CELLS // 2]
        column, row = np.linalg.solve(steps.T, [0.0, 1.0])
        length = math.hypot(row, column)
        return float(row / length), float(column / length)

    def area(self, pixels: npt.NDArray[np.bool_], box: Box | None = None) -> float:
        """Area of the True pixels.

        Args:
            pixels: bool [h, w] inside the box.
            box: where they are; the whole grid if None.
        """
        areas = self._lattice.areas
        if areas.max() <= areas.min() * (1 + _UNIFORM):
            return int(pixels.sum()) * self.pixel_area
        top, left, bottom, right = box or (0, 0, self.height, self.width)
        across = _hats((np.arange(left, right) + 0.5) / self.width).astype(np.float32)
        total = 0.0
        for first in range(top, bottom, _CHUNK_ROWS):
            last = min(first + _CHUNK_ROWS, bottom)
            down = _hats((np.arange(first, last) + 0.5) / self.height)
            held = down.T @ (pixels[first - top : last - top].astype(np.float32) @ across)
            total += float((held * areas).sum())
        return total

    def plane(self, places: Floats) -> Floats:
        """Places [N, 2] (row, column) as points [N, 2] of a plane (east, north) in which distances are straight."""
        if self.units == "pixels":
            return self._points(places)
        down, across = places[:, 0] / self.height * _CELLS, places[:, 1] / self.width * _CELLS
        upper = np.clip(down.astype(np.intp), 0, _CELLS - 1)
        left = np.clip(across.astype(np.intp), 0, _CELLS - 1)
        below, beside = (down - upper)[:, None], (across - left)[:, None]
        points = self._lattice.points
        top = points[upper, left] * (1 - beside) + points[upper, left + 1] * beside
        bottom = points[upper + 1, left] * (1 - beside) + points[upper + 1, left + 1] * beside
        found: Floats = top * (1 - below) + bottom * below
        return found

    def lon_lat(self, places: Floats) -> Floats:
        """Places [N, 2] (row, column) in degrees [N, 2], WGS 84.

        Raises:
            GraftError: no georeference, or places outside the area of the CRS.
        """
        if self.crs is None or self.transform is None:
            raise GraftError("The image has no georeference; expected a raster with a coordinate reference system.")
        a, b, c, d, e, f = self.transform[:6]
        row, column = places.T
        try:
            system = pyproj.CRS.from_wkt(self.crs.to_wkt())
            to_degrees = pyproj.Transformer.from_crs(system, "EPSG:4326", always_xy=True)
            lon, lat = to_degrees.transform(a * column + b * row + c, d * column + e * row + f)
        except pyproj.exceptions.ProjError as error:
            raise GraftError(
                f"The image lies nowhere on Earth that PROJ can find: {first_line(error)}; correct its coordinate "
                "reference system, e.g. with `rio edit-info --crs`."
            ) from error
        if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
            raise GraftError(
                "Parts of the image lie outside the area of its coordinate reference system; correct it with "
                "`rio edit-info --crs`, or cut those parts off, e.g. with `gdalwarp -te`."
            )
        return np.stack([lon, lat], axis=1)

    @cached_property
    def _lattice(self) -> "_Lattice":
        part = np.arange(_CELLS + 1) / _CELLS
        rows, columns = (axis.ravel() for axis in np.meshgrid(part * self.height, part * self.width, indexing="ij"))
        shape = (_CELLS + 1, _CELLS + 1, 2)
        steps = []
        for row, column in ((0.0, 0.5), (0.5, 0.0)):  # half a pixel to either side, as far as the grid reaches
            before = np.stack([np.maximum(rows - row, 0), np.maximum(columns - column, 0)], axis=1)
            after = np.stack([np.minimum(rows + row, self.height), np.minimum(columns + column, self.width)], axis=1)
            steps.append(self._step(before, after) / (after - before).sum(axis=1, keepdims=True))
        places = np.stack([rows, columns], axis=1)
        return _Lattice(self._points(places).reshape(shape), np.stack(steps, axis=1).reshape(*shape[:2], 2, 2))

    def _points(self, places: Floats) -> Floats:
        if self.units == "pixels":
            return np.stack([places[:, 1], -places[:, 0]], axis=1)
        lon, lat = self.lon_lat(places).T
        centre_lon, centre_lat = self.lon_lat(np.array([[self.height / 2, self.width / 2]]))[0]
        if self.units == "epsg3857":
            return _mercator(np.stack([centre_lon + _turn(lon - centre_lon), lat], axis=1))
        system = pyproj.Proj(proj="aeqd", lon_0=centre_lon, lat_0=centre_lat, ellps="WGS84")
        return np.stack(system(lon, lat), axis=1)

    def _step(self, before: Floats, after: Floats) -> Floats:
        if self.units == "pixels":
            return self._points(after) - self._points(before)
        first, second = self.lon_lat(before), self.lon_lat(after)
        if self.units == "metres":
            return _on_ground(first, second)
        second[:, 0] = first[:, 0] + _turn(second[:, 0] - first[:, 0])
        return _mercator(second) - _mercator(first)


@dataclass(frozen=True)
class _Lattice:
    """Places at equal steps over a grid.

    Attributes:
        points: float64 [17, 17, 2], see `GroundGrid.plane`.
        steps: float64 [17, 17, 2, 2]: east and north of one pixel across, and of one pixel down.
    """

    points: Floats
    steps: Floats

    @cached_property
    def areas(self) -> Floats:
        """Of a pixel, float64 [17, 17]."""
        found: Floats = np.abs(np.linalg.det(self.steps))
        return found


def _hats(part: Floats) -> Floats:
    """Weights [N, 17] that interpolate linearly between the places of the lattice at 0..1."""
    weights: Floats = np.clip(1 - np.abs(part[:, None] * _CELLS - np.arange(_CELLS + 1)), 0, 1)
    return weights


def _on_ground(before: Floats, after: Floats) -> Floats:
    """Short steps [N, 2] between places in degrees, metres east and north on the ellipsoid."""
    lat = np.radians((before[:, 1] + after[:, 1]) / 2)
    squared = _FLATTENING * (2 - _FLATTENING)
    bend = 1 - squared * np.sin(lat) ** 2
    east = _AXIS_M / np.sqrt(bend) * np.cos(lat) * np.radians(_turn(after[:, 0] - before[:, 0]))
    north = _AXIS_M * (1 - squared) / bend**1.5 * np.radians(after[:, 1] - before[:, 1])
    return np.stack([east, north], axis=1)


def _mercator(degrees: Floats) -> Floats:
    """EPSG:3857 without a seam at 180 degrees."""
    lon, lat = np.radians(degrees).T
    return _AXIS_M * np.stack([lon, np.arctanh(np.sin(lat))], axis=1)


def _turn(degrees: Floats) -> Floats:
    """Differences of longitude, the short way round."""
    turned: Floats = (degrees + 180) % 360 - 180
    return turned
