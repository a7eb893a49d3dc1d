"""Rasters in a scene's own grid, as Cloud-Optimised GeoTIFFs that are known to be whole."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter

from graft.errors import first_line
from graft.scene import SceneView

TILE = 256
"""Side of a tile of the files."""


def create_raster(
    path: Path, view: SceneView, bands: int, kind: npt.DTypeLike, no_data: float, predictor: int
) -> DatasetWriter:
    """Open a tiled GeoTIFF in a scene's own grid for writing.

    Args:
        path: file to write.
        view: the scene.
        bands: how many.
        kind: number type.
        no_data: what stands where there is no data.
        predictor: 2 for integers, 3 for floats.
    """
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=view.width,
        height=view.height,
        count=bands,
        dtype=kind,
        crs=view.crs,
        transform=view.transform,
        nodata=no_data,
        tiled=True,
        blockxsize=TILE,
        blockysize=TILE,
        compress="deflate",
        zlevel=1,
        predictor=predictor,
        BIGTIFF="IF_SAFER",
        SPARSE_OK="FALSE",
    )


def to_cog(raw: Path, cog: Path, overviews: str) -> None:
    """Write a raster again as a Cloud-Optimised GeoTIFF, and remove the first.

    Args:
        raw: from `create_raster`.
        cog: file to write.
        overviews: GDAL's name of the resampling of its overviews.

    Raises:
        OSError: the disk is full or not writable.
    """
    options = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "BIGTIFF": "IF_SAFER", "OVERVIEW_RESAMPLING": overviews}
    try:
        rasterio.shutil.copy(raw, cog, driver="COG", **options)
    except (RasterioError, CPLE_BaseError) as error:
        # GDAL may close a file on a full disk without a word, so that reading it back is what fails.
        raise OSError(f"the disk seems to be full: {first_line(error)}") from None
    raw.unlink()


def check_sums(path: Path, expected: npt.NDArray[np.float64]) -> None:
    """Read a raster back: GDAL may close a file on a full disk without a word.

    Args:
        path: the raster, NaN without data.
        expected: float64 [bands], the sum of the numbers of each.

    Raises:
        OSError: it holds something else.
    """
    found = np.zeros_like(expected)
    with rasterio.open(path) as dataset:
        for _, window in dataset.block_windows(1):
            found += np.nansum(dataset.read(window=window), axis=(1, 2), dtype=np.float64)
    if not np.allclose(found, expected, rtol=1e-6, atol=1e-3):
        raise OSError(f"{path.name} does not read back as it was written")
