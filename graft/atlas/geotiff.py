"""Scenes and patches as GeoTIFFs, as a data provider would hand them out."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from graft.atlas.acquisitions import Acquisition
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


_RAISED = 1000
"""What ESA adds to the stored numbers since processing baseline 04.00."""


def write_scene(path: Path, region: Region, scene: Scene, again: Acquisition | None = None) -> None:
    """Write a tiled, deflated GeoTIFF with band descriptions, nodata 0 and tags as providers have them.

    Tags: DATETIME, ITEM; for `sentinel` also CLOUD_COVERAGE_ASSESSMENT (percent), and PROCESSING_BASELINE where `again`
    has one: then the stored numbers are 1000 higher.

    Args:
        path: file to write.
        region: the place.
        scene: what was seen of it.
        again: the acquisition that `scene` is, where it is not the first.
    """
    bands = stored_bands(region.sensor, scene)
    tags = {"DATETIME": scene.datetime, "ITEM": f"atlas-{region.world}-{region.sensor.name}-{path.stem}"}
    column = row = 0
    valid, clear = scene.valid, scene.clear
    if again is not None:
        column, row, right, lower = again.pixels(region.scene)
        bands = {name: values[row:lower, column:right] for name, values in bands.items()}
        valid, clear = valid[row:lower, column:right], clear[row:lower, column:right]
    if region.sensor.name == "sentinel":
        tags["CLOUD_COVERAGE_ASSESSMENT"] = f"{100 * (1 - clear.sum() / max(valid.sum(), 1)):.2f}"
        if again is not None and again.baseline:
            tags["PROCESSING_BASELINE"] = again.baseline
            bands = {
                name: np.where(values == 0, 0, values.astype(np.uint16) + _RAISED) for name, values in bands.items()
            }
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
        transform=region.transform(column, row),
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
        file.update_tags(**tags)


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
