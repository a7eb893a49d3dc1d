"""One STAC item as an image, or the reason why it is none."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyproj
import pyproj.exceptions
import shapely
from affine import Affine

from graft.errors import GraftError
from graft.imagery.baseline import Radiometry, UnclearRadiometryError, decide, evidence_of_item, is_sentinel2
from graft.imagery.folder import read_dark_end
from graft.imagery.geometry import MAX_FINER, grid_rings, split_rings, tile_grid
from graft.imagery.image import Image, Ring
from graft.imagery.remote import open_raster, persist
from graft.imagery.settings import StacSearch
from graft.raster import COLOURS, GSD_TOLERANCE, ground_pixel
from graft.sensors import Sensor

if TYPE_CHECKING:
    import pystac

NO_PICTURES = {"thumbnail", "overview", "visual", "metadata"}
"""Roles of assets that are not searched for bands."""


class LeftOutError(Exception):
    """An item is no image of this search; the message is the reason, worded to be counted."""


def image_of_item(item: "pystac.Item", slug: str, sensor: Sensor, search: StacSearch) -> Image:
    """Check an item against the sensor; its files are opened only if its baseline offset is in doubt.

    Args:
        item: with absolute asset addresses.
        slug: name of the image.
        sensor: the row of `sensors.yaml` that the tiles are to follow.
        search: names the assets, if the item does not.

    Raises:
        LeftOutError: it is too cloudy, lacks something or does not fit.
    """
    cloud = item.properties.get("eo:cloud_cover")
    if search.max_cloud is not None and cloud is not None and cloud > search.max_cloud:
        raise LeftOutError(f"too cloudy (more than {search.max_cloud:g} per cent of the item)")
    bands = _find_bands(item, sensor, search.assets)
    crs, native, width, height = _projection(item, [key for key, _ in bands])
    try:
        ground_m = ground_pixel(pyproj.CRS.from_user_input(crs), native, width, height)
    except pyproj.exceptions.ProjError as error:
        raise LeftOutError("a projection that PROJ does not know") from error
    if not all(1 / MAX_FINER <= side / sensor.gsd_m <= 1 + GSD_TOLERANCE for side in ground_m):
        raise LeftOutError(f"other GSD ({ground_m[0]:.3g} m for {sensor.gsd_m:g} m)")
    grid, columns, rows = tile_grid(native, width, height, ground_m, sensor.gsd_m)
    radiometry = _radiometry(item, bands[0], sensor, sign=search.sign)
    red, green, blue = ((_address(item, key), number) for key, number in bands)
    classes = next((key for key in sorted(item.assets) if key.lower() in ("scl", "scl_20m")), None)
    return Image(
        slug=slug,
        bands=(red, green, blue),
        scl=_address(item, classes) if classes and is_sentinel2(sensor) else None,
        crs=crs,
        transform=grid[:6],
        width=columns,
        height=rows,
        gsd_m=round(ground_m[0] * grid.a / native.a, 2),
        datetime=_taken(item),
        item=item.id,
        cloud=None if cloud is None else float(cloud),
        offset=radiometry.offset,
        radiometry_note=radiometry.note,
        footprint=_footprint(item) or grid_rings(crs, grid, columns, rows),
        sign=search.sign,
    )


def _address(item: "pystac.Item", key: str) -> str:
    return item.assets[key].get_absolute_href() or item.assets[key].href


def _find_bands(item: "pystac.Item", sensor: Sensor, named: Sequence[str] | None) -> list[tuple[str, int]]:
    """Asset and band number of red, green and blue."""
    if named is not None:
        if missing := [key for key in named if key not in item.assets]:
            raise LeftOutError(f"missing assets ({', '.join(missing)})")
        if len(named) == len(COLOURS):
            return [(key, 1) for key in named]
        return [(named[0], number) for number in _listed(item, named[0], sensor) or (1, 2, 3)]
    own = {re.sub(r"_\d+m$", "", key.lower()): key for key in sorted(item.assets, reverse=True)}
    names = [(band.lower(), colour) for band, colour in zip(sensor.bands, COLOURS, strict=True)]
    for style in (0, 1):
        if all(pair[style] in own for pair in names):
            return [(own[pair[style]], 1) for pair in names]
    for key in sorted(item.assets):
        if not NO_PICTURES & set(item.assets[key].roles or ()) and key.lower() not in ("visual", "thumbnail"):
            if numbers := _listed(item, key, sensor):
                return [(key, number) for number in numbers]
            if key == "image" and not _band_names(item, key):
                return [(key, number) for number in (1, 2, 3)]
    raise LeftOutError(f"missing assets ({', '.join(sensor.bands)}, or red, green and blue)")


def _band_names(item: "pystac.Item", key: str) -> list[set[str]]:
    """All names of each band of an asset, in lower case."""
    fields = item.assets[key].extra_fields
    listed = fields.get("bands") or fields.get("eo:bands") or []
    names = ("name", "common_name", "eo:common_name")
    return [{str(band[name]).lower() for name in names if name in band} for band in listed]


def _listed(item: "pystac.Item", key: str, sensor: Sensor) -> list[int] | None:
    """Numbers of red, green and blue in an asset that lists its bands."""
    found = []
    for band, colour in zip(sensor.bands, COLOURS, strict=True):
        wanted = {band.lower(), colour}
        found += [number for number, names in enumerate(_band_names(item, key), start=1) if names & wanted][:1]
    return found if len(found) == len(COLOURS) else None


def _projection(item: "pystac.Item", keys: Sequence[str]) -> tuple[str, Affine, int, int]:
    """CRS, transform, columns and rows of the assets' common grid."""
    grids = set()
    for key in keys:
        fields = {**item.properties, **item.assets[key].extra_fields}
        crs = _crs(fields)
        transform, shape = fields.get("proj:transform"), fields.get("proj:shape")
        if crs is None or not transform or not shape:
            raise LeftOutError("no projection (proj:code, proj:transform and proj:shape)")
        grids.add((crs, tuple(map(float, transform[:6])), int(shape[1]), int(shape[0])))
    if len(grids) > 1:
        raise LeftOutError("red, green and blue on different grids")
    crs, transform, width, height = grids.pop()
    return crs, Affine(*transform), width, height


def _crs(fields: Mapping[str, Any]) -> str | None:
    if fields.get("proj:code"):
        return str(fields["proj:code"])
    if fields.get("proj:epsg"):
        return f"EPSG:{fields['proj:epsg']}"
    return fields.get("proj:wkt2") or None


def _radiometry(item: "pystac.Item", red: tuple[str, int], sensor: Sensor, *, sign: bool) -> Radiometry:
    if not is_sentinel2(sensor):
        return Radiometry(sensor.offset, f"row {sensor.name} of sensors.yaml")
    key, number = red
    address = _address(item, key)

    def look() -> float:
        with open_raster(address, sign=sign) as dataset:
            return read_dark_end(dataset, number)

    try:
        evidence = evidence_of_item(item.id, item.properties, key, item.assets[key].extra_fields, address)
        return decide(evidence, lambda: persist([address], look))
    except UnclearRadiometryError as error:
        raise LeftOutError("radiometry in doubt: " + re.sub(r"[^;(]*\(|;.*", "", str(error))) from error
    except OSError as error:
        raise LeftOutError("red band does not read") from error
    except GraftError as error:
        raise LeftOutError(str(error)) from error


def _taken(item: "pystac.Item") -> str | None:
    time = item.datetime or item.common_metadata.start_datetime
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _footprint(item: "pystac.Item") -> tuple[Ring, ...] | None:
    """The area of data as the item draws it; None where it draws none, or one around the whole Earth."""
    if not item.geometry:
        return None
    shape = shapely.make_valid(shapely.geometry.shape(item.geometry))
    west, _, east, _ = shape.bounds
    # Where a writer forgot to split at the antimeridian the polygon spans the other 350 degrees.
    widest = max((part.bounds[2] - part.bounds[0] for part in shapely.get_parts(shape)), default=360.0)
    return split_rings(shape) or None if widest < 180 and east > west else None
