"""Land-use polygons in the manner of OpenStreetMap."""

from typing import Any

import rasterio.features
from rasterio.warp import transform_geom
from shapely.geometry import mapping, shape

from graft.atlas.classes import CLASSES
from graft.atlas.landcover import LandCoverMap
from graft.atlas.sizes import CRS, Region


def parcel_features(region: Region, land: LandCoverMap) -> list[dict[str, Any]]:
    """GeoJSON features (EPSG:4326) of a region's land cover, with the class and OSM-like tags."""
    features = []
    for outline, value in rasterio.features.shapes(land.cover, transform=region.transform()):
        polygon = shape(outline).simplify(0.7 * region.sensor.gsd_m)
        key, tag = CLASSES[int(value)].tags
        geometry = transform_geom(CRS, "EPSG:4326", mapping(polygon), precision=7)
        properties = {"class": CLASSES[int(value)].id, "region": region.name, key: tag}
        features.append({"type": "Feature", "properties": properties, "geometry": geometry})
    return features
