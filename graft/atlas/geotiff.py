"""Scenes and patches as GeoTIFFs, as a data provider would hand them out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from graft.atlas.overhead import Scene
from graft.atlas.sizes import CRS, Region
from graft.sensors import Sensor

_STORED = {
    # bands in file order with their row in (red, green, blue, near infrared), and the type of a stored number
    "sentinel": ((("B02", 2), ("B03", 1), ("B04", 0), ("B08", 3)), "uint16"),
    "naip": ((("R", 0), ("G", 1), ("B", 2), ("N", 3)), "uint8"),
}
UNLABELLED = 255
_SHOWN_AS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined)


def stored_bands(sensor: Sensor, scene: Scene) -> dict[str, npt.NDArray[np.generic]]:
    """Bands by name as stored numbers; 0 is reserved for missing data."""
    bands, kind = _STORED[sensor.name]
    top = np.iinfo(kind).max
    stored = np.rint(sensor.from_display(scene.shown))
    stored = np.where(scene.valid, np.clip(stored, 1, top), 0).astype(kind)
    return {name: stored[row] for name, row in bands}


def write_scene(path: Path, region: Region, scene: Scene) -> None:
    """Write a tiled, deflated GeoTIFF with band descriptions, nodata 0 and the tags DATETIME and ITEM."""
    bands = stored_bands(region.sensor, scene)
    first = next(iter(bands.values()))
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=first.shape[0],
        width=first.shape[1],
        count=len(bands),
        dtype=first.dtype,
        crs=CRS,
        transform=region.transform(),
        nodata=0,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        compress="deflate",
        zlevel=1,
        predictor=2,
        photometric="MINISBLACK",  # else GDAL takes the fourth of four bytes for transparency
        alpha="NO",
    ) as file:
        for number, (name, values) in enumerate(bands.items(), start=1):
            file.write(values, number)
            file.set_band_description(number, name)
        file.colorinterp = [_SHOWN_AS[row] for _, row in _STORED[region.sensor.name][0]]
        file.update_tags(DATETIME=scene.datetime, ITEM=f"atlas-{region.world}-{region.sensor.name}-{region.name}")


def write_labels(path: Path, region: Region, scene: Scene) -> None:
    """Write the true land cover of a scene: one uint8 band of class indices, 255 under cloud or without data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_band(path, np.where(scene.clear, scene.land.cover, UNLABELLED).astype(np.uint8), region.transform())


def write_band(path: Path, values: npt.NDArray[np.generic], transform: Affine) -> None:
    """Write one band of one patch."""
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=CRS,
        transform=transform,
    ) as file:
        file.write(values, 1)
