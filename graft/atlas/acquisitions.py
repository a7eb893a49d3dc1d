"""Further scene files of a few training regions, as an archive holds several dates of one place."""

from dataclasses import dataclass

from graft.atlas.sizes import Region


@dataclass(frozen=True)
class Acquisition:
    """One more scene file of a region, of another date: its own light, clouds and swath over the same land.

    Attributes:
        name: follows the region's in the file name.
        window: share of the region it covers: left, top, right, lower edge, 0..1.
        cloudy: whether a third of it lies under cloud.
        baseline: ESA processing baseline; since 04.00 its numbers are 1000 higher. "" for none; Sentinel-2 only.
    """

    name: str
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    cloudy: bool = False
    baseline: str = ""

    def pixels(self, scene: int) -> tuple[int, int, int, int]:
        """First column and row, end column and row (not included) in a region of `scene` pixels per side."""
        left, top, right, lower = (round(edge * scene) for edge in self.window)
        return left, top, right, lower

    def date(self, region: Region, first: str) -> str:
        """When it was taken (ISO 8601): years from `first`, the date of the region's first scene."""
        day, year = region.dice(f"date{self.name}"), int(first[:4])
        later = 2018 + (year - 2018 + 3) % 6
        if self.baseline:  # baseline 04.00 began in January 2022
            later = 2022 if year == 2023 else 2023
        return f"{later}-{day.randint(4, 10):02d}-{day.randint(1, 28):02d}T10:{day.randint(0, 59):02d}:00+00:00"


_LATER = (
    Acquisition("b", baseline="05.09"),
    Acquisition("b", window=(0.29, 0.17, 1.0, 0.93), cloudy=True),
    Acquisition("b", window=(0.0, 0.36, 0.71, 1.0)),
)


def later_acquisitions(region: Region) -> tuple[Acquisition, ...]:
    """The further scene files of a region: one for each of the first training regions, none for any other."""
    if region.role != "train" or region.index >= len(_LATER):
        return ()
    return (_LATER[region.index],)
