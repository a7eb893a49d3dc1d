"""Satellite images: found in a folder or a STAC archive, looked up by place and time, read as tiles."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graft.imagery.image import Image
    from graft.imagery.settings import ImagerySettings
    from graft.sensors import Sensor


def find_images(
    settings: "ImagerySettings", sensor: "Sensor", areas: Sequence[tuple[float, float, float, float]]
) -> list["Image"]:
    """All images that a build may cut tiles from.

    Args:
        settings: where to look.
        sensor: the row of `sensors.yaml` that the tiles are to follow.
        areas: (west, south, east, north) in degrees around the photos; a folder is taken whole.

    Raises:
        GraftError: settings that contradict, no image, or a raster of the folder that does not fit.
    """
    from graft.imagery.folder import open_folder
    from graft.imagery.settings import check_settings
    from graft.imagery.stac import search_stac

    check_settings(settings)
    if settings.stac is not None:
        return search_stac(settings.stac, sensor, areas)
    return open_folder(settings.scenes or [], sensor)
