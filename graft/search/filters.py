"""Which tiles may be found at all: by place, time, and share of data and cloud."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

from graft.errors import GraftError
from graft.search.area import Box, boxes, read_area

if TYPE_CHECKING:
    from graft.index.table import Index

_DEGREE_KM = 110.574
"""The shortest degree of latitude on the ellipsoid: a box made with it is never too small."""
_FARTHEST_KM = 10_000.0
_EDGE_DEGREES = 1.0


@dataclass(frozen=True)
class Filters:
    """Conditions that a tile meets to be found; each may be left out.

    Attributes:
        near: longitude and latitude in degrees.
        radius_km: a footprint nearer than this to `near`, along the ground, passes.
        within: area as `graft.search.area.read_area` takes it; a footprint that meets it passes.
        after: from this moment on, UTC.
        before: earlier than this moment, UTC.
        min_valid: least share of pixels with data, 0..1.
        max_cloud: largest share of pixels under cloud, 0..1.
    """

    near: tuple[float, float] | None = None
    radius_km: float = 25.0
    within: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    min_valid: float | None = None
    max_cloud: float | None = None

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            GraftError: one is out of range, or no moment is left between `after` and `before`.
        """
        if self.near is not None and not (abs(self.near[0]) <= 180 and abs(self.near[1]) <= 90):
            raise GraftError(
                f"--near {self.near[0]:g} {self.near[1]:g} is no place; expected longitude (-180 to 180) and latitude "
                "(-90 to 90) in degrees, longitude first."
            )
        if not 0 < self.radius_km <= _FARTHEST_KM:
            raise GraftError(f"--radius-km is {self.radius_km:g}; expected more than 0 and at most {_FARTHEST_KM:g}.")
        for flag, share in (("min-valid", self.min_valid), ("max-cloud", self.max_cloud)):
            if share is not None and not 0 <= share <= 1:
                raise GraftError(f"--{flag} is {share:g}; expected a share from 0 to 1.")
        if self.after is not None and self.before is not None and self.after >= self.before:
            raise GraftError(f"No time lies after {told(self.after)} and before {told(self.before)}: swap them.")

    def conditions(self) -> tuple[str, ...]:
        """The conditions in words."""
        return tuple(
            text
            for given, text in (
                (self.near, self.near and f"within {self.radius_km:g} km of {self.near[0]:g}, {self.near[1]:g}"),
                (self.within, f"within {self.within}"),
                (self.after, self.after and f"from {told(self.after)}"),
                (self.before, self.before and f"before {told(self.before)}"),
                (self.min_valid, self.min_valid is not None and f"data share at least {self.min_valid:g}"),
                (self.max_cloud, self.max_cloud is not None and f"cloud share at most {self.max_cloud:g}"),
            )
            if given is not None and isinstance(text, str)
        )


def read_place(values: Sequence[float] | None, radius_km: float | None) -> tuple[float, float] | None:
    """The longitude and latitude of `--near`.

    Raises:
        GraftError: not two numbers, or a radius without a place.
    """
    if values is None:
        if radius_km is not None:
            raise GraftError(f"--radius-km {radius_km:g} without --near: add --near LON LAT, or leave it out.")
        return None
    if len(values) != 2:
        raise GraftError(f"--near has {len(values)} numbers; expected longitude and latitude: --near 7.1 50.7.")
    return values[0], values[1]


def read_moment(flag: str, text: str | None) -> datetime | None:
    """A date or time of the command line; without a zone it is UTC, and a date is its first moment.

    Raises:
        GraftError: it is none.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # in UTC it may be of the year 0
        raise GraftError(
            f"--{flag} is {text[:100]!r}; expected a date such as 2024-06-30, or a time such as 2024-06-30T12:00:00Z."
        ) from None


@dataclass(frozen=True)
class Allowed:
    """What filters leave of an index.

    Attributes:
        rows: uint64 row ids in the order of the table; None for all.
        where: SQL that all of them meet, and perhaps others near by; None for all.
        left_out: number of tiles left out, by reason.
    """

    rows: npt.NDArray[np.uint64] | None
    where: str | None
    left_out: dict[str, int]


def allowed_rows(index: "Index", filters: Filters) -> Allowed:
    """The rows that meet the conditions, and how many each condition leaves out.

    SQL over columns comes first (time, shares, boxes around areas), then what is left is judged by its footprint:
    `near` by the distance along the ground (azimuthal equidistant projection about the place), `within` by whether
    footprint and area meet. A tile of which a condition cannot be judged, because its time, cloud or place is unknown,
    does not meet it and is counted apart.

    Raises:
        GraftError: an area that cannot be read, or no tile is left.
    """
    area = None if filters.within is None else read_area(filters.within)
    clauses = list(_clauses(filters, area))
    if not clauses:
        return Allowed(None, None, {})
    left_out: Counter[str] = Counter()
    rows = np.empty(0, np.uint64)
    standing = len(index)
    for number, (reason, _) in enumerate(clauses, start=1):
        rows = index.row_ids(_all(clauses[:number]))
        left_out[reason] += standing - len(rows)
        standing = len(rows)
    tests = list(_tests(filters, area))
    if tests:
        kept = [np.empty(0, np.uint64)]
        for batch in index.batches(["geometry"], _all(clauses)):
            ids = batch["_rowid"].to_numpy()
            shapes = shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))
            for reason, test in tests:
                passed = test(shapes)
                left_out[reason] += int((~passed).sum())
                ids, shapes = ids[passed], shapes[passed]
            kept.append(ids)
        rows = np.concatenate(kept)
    if not len(rows):
        raise GraftError(_none_left(index, filters, left_out))
    return Allowed(rows, _all(clauses), {reason: number for reason, number in left_out.items() if number})


def _all(clauses: Sequence[tuple[str, str]]) -> str:
    return " AND ".join(f"({sql})" for _, sql in clauses)


def _clauses(filters: Filters, area: shapely.Geometry | None) -> Iterator[tuple[str, str]]:
    """Reasons to leave a tile out, and the SQL that a tile meets which stays."""
    if filters.after is not None or filters.before is not None:
        yield "without a time", "datetime IS NOT NULL"
    if filters.after is not None:
        yield f"before {told(filters.after)}", f"datetime >= TIMESTAMP '{told(filters.after)}'"
    if filters.before is not None:
        yield f"not before {told(filters.before)}", f"datetime < TIMESTAMP '{told(filters.before)}'"
    if filters.min_valid is not None:
        yield "with an unknown share of data", "valid IS NOT NULL"
        yield f"with less data than {filters.min_valid:g}", f"valid >= {filters.min_valid!r}"
    if filters.max_cloud is not None:
        yield "with an unknown share of cloud", "cloud IS NOT NULL"
        yield f"with more cloud than {filters.max_cloud:g}", f"cloud <= {filters.max_cloud!r}"
    if filters.near is not None or area is not None:
        yield "without a place", "bbox.xmin IS NOT NULL"
    if filters.near is not None:
        yield _too_far(filters), _meets(_around(*filters.near, filters.radius_km))
    if area is not None:
        yield _outside(filters), _meets(boxes(area))


def _tests(
    filters: Filters, area: shapely.Geometry | None
) -> Iterator[tuple[str, Callable[[npt.NDArray[np.object_]], npt.NDArray[np.bool_]]]]:
    """Reasons to leave a tile out, and what tells from footprints which stay."""
    if filters.near is not None:
        lon, lat = filters.near
        local = pyproj.Proj(proj="aeqd", lon_0=lon, lat_0=lat, ellps="WGS84")

        def close(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
            # A cap around a pole has four corners in degrees, which the projection would lay on a line.
            fine = shapely.segmentize(shapes, _EDGE_DEGREES)
            metres = shapely.transform(fine, lambda xy: np.column_stack(local(xy[:, 0], xy[:, 1])))
            near: npt.NDArray[np.bool_] = shapely.distance(metres, shapely.Point(0, 0)) <= 1000 * filters.radius_km
            holding: npt.NDArray[np.bool_] = shapely.intersects(shapes, shapely.Point(lon, lat))
            return near | holding

        yield _too_far(filters), close
    if area is not None:
        shapely.prepare(area)

        def meets(shapes: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
            met: npt.NDArray[np.bool_] = shapely.intersects(area, shapes)
            return met

        yield _outside(filters), meets


def _too_far(filters: Filters) -> str:
    return f"farther than {filters.radius_km:g} km"


def _outside(filters: Filters) -> str:
    return f"outside {filters.within}"


def _around(lon: float, lat: float, radius_km: float) -> list[Box]:
    """Boxes that hold all within a distance of a place, split at the antimeridian."""
    high = 1.01 * radius_km / _DEGREE_KM
    south, north = max(lat - high, -90.0), min(lat + high, 90.0)
    sine = math.sin(math.radians(min(high, 90))) / max(math.cos(math.radians(lat)), 1e-9)
    if sine >= 1:  # it holds a pole
        return [(-180.0, south, 180.0, north)]
    wide = 1.01 * math.degrees(math.asin(sine))
    west, east = lon - wide, lon + wide
    if west < -180:
        return [(west + 360, south, 180.0, north), (-180.0, south, east, north)]
    if east > 180:
        return [(west, south, 180.0, north), (-180.0, south, east - 360, north)]
    return [(west, south, east, north)]


def _meets(areas: Sequence[Box]) -> str:
    """SQL: the tile's box meets one of some. Across the antimeridian xmin is larger than xmax, and either side does."""
    return " OR ".join(
        f"(bbox.ymin <= {north!r} AND bbox.ymax >= {south!r} AND "
        f"((bbox.xmin <= bbox.xmax AND bbox.xmin <= {east!r} AND bbox.xmax >= {west!r}) OR "
        f"(bbox.xmin > bbox.xmax AND (bbox.xmin <= {east!r} OR bbox.xmax >= {west!r}))))"
        for west, south, east, north in areas
    )


def told(moment: datetime) -> str:
    """A moment as people and SQL read it: a date where it is the first of its day, UTC."""
    return moment.replace(tzinfo=None).isoformat().removesuffix("T00:00:00")


def _none_left(index: "Index", filters: Filters, left_out: Counter[str]) -> str:
    """Why nothing is left, and what there is."""
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in left_out.items() if number)
    there = []
    if filters.near is not None or filters.within is not None:
        there.append(_extent(index))
    if filters.after is not None or filters.before is not None:
        there.append(_times(index))
    return (
        f"None of the {len(index):,} tiles of {index.address} is left to search: {reasons}."
        f"{' Its tiles ' if there else ''}{' and '.join(there)}{'.' if there else ''}"
    )


def _extent(index: "Index") -> str:
    edges = [np.empty((0, 2))]
    for batch in index.batches(["lon", "lat"], "lon IS NOT NULL"):
        edges.append(np.column_stack([batch["lon"].to_numpy(), batch["lat"].to_numpy()]))
    places = np.concatenate(edges)
    if not len(places):
        return "have no place"
    (west, south), (east, north) = places.min(axis=0), places.max(axis=0)
    return f"lie at longitude {west:.4g} to {east:.4g}, latitude {south:.4g} to {north:.4g}"


def _times(index: "Index") -> str:
    moments = [
        moment
        for batch in index.batches(["datetime"], "datetime IS NOT NULL")
        for moment in batch["datetime"].to_pylist()
    ]
    return f"are of {min(moments):%Y-%m-%d} to {max(moments):%Y-%m-%d}" if moments else "have no time"
