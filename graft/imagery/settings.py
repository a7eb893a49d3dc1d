"""Where images come from and which of their windows are good enough; these become the keys of a configuration."""

from dataclasses import dataclass
from pathlib import Path

from graft.errors import GraftError


@dataclass(frozen=True)
class StacSearch:
    """A collection of a STAC archive.

    Attributes:
        url: landing page of an API, or address or path of a static catalog.json or collection.json.
        collection: its name, e.g. sentinel-2-l2a or naip.
        datetime: a time or an interval as STAC writes it, e.g. 2019-04/2021-09; None for all.
        max_cloud: items whose eo:cloud_cover is higher are left out, per cent; None asks for none.
        assets: names of one asset that holds red, green and blue, or of one asset for each; None to find them.
        sign: whether addresses on Azure are signed when they are read, as Planetary Computer demands.
    """

    url: str
    collection: str
    datetime: str | None = None
    max_cloud: float | None = None
    assets: list[str] | None = None
    sign: bool = False


@dataclass(frozen=True)
class ImagerySettings:
    """One source of images, and what a tile must satisfy.

    Attributes:
        scenes: raster files, or folders searched for them.
        stac: an archive; this or `scenes`.
        max_cloudy: largest share of a tile that the scene classification calls cloud, shadow or unusable, 0..1.
        max_nodata: largest share of a tile without data, 0..1.
        max_candidates: images tried for one tile before it is given up.
    """

    scenes: list[Path] | None = None
    stac: StacSearch | None = None
    max_cloudy: float = 0.05
    max_nodata: float = 0.1
    max_candidates: int = 3


def check_settings(settings: ImagerySettings) -> None:
    """Refuse settings that name no source, two sources or impossible limits.

    Raises:
        GraftError: naming the key.
    """
    if (settings.scenes is None) == (settings.stac is None):
        found = "neither" if settings.scenes is None else "both"
        raise GraftError(f"The imagery has {found} of scenes and stac; give it one: a list of rasters, or an archive.")
    for key, share in (("max_cloudy", settings.max_cloudy), ("max_nodata", settings.max_nodata)):
        if not 0 <= share <= 1:
            raise GraftError(f"The imagery's {key} is {share}; it is a share of a tile, from 0 to 1.")
    if settings.max_candidates < 1:
        raise GraftError(f"The imagery's max_candidates is {settings.max_candidates}; it must be at least 1.")
    stac = settings.stac
    if stac is not None and stac.max_cloud is not None and not 0 <= stac.max_cloud <= 100:
        raise GraftError(f"The archive's max_cloud is {stac.max_cloud}; it is per cent of an item, from 0 to 100.")
    if stac is not None and stac.assets is not None and len(stac.assets) not in (1, 3):
        raise GraftError(
            f"The archive's assets are {', '.join(stac.assets) or 'none'}; name one asset that holds red, green and "
            "blue, or three in that order."
        )
