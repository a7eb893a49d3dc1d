"""What a segmentation found, for people and for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from graft.scene import SceneView
from graft.segment.polygons import Regions
from graft.segment.rasters import Counts


@dataclass(frozen=True)
class ClassArea:
    """One class of a map.

    Attributes:
        id: its name.
        share: of the area with data, 0..1.
        area_m2: square metres on the WGS 84 ellipsoid; by the pixel size given where the scene has no CRS.
    """

    id: str
    share: float
    area_m2: float


@dataclass(frozen=True)
class Summary:
    """What a segmentation found and wrote; also in the JSON beside the map.

    Attributes:
        scene: the file.
        classes: in the order of the map's indices.
        no_data: share of pixels without data, 0..1.
        regions: polygons written and polygons dropped for their size; None without georeference.
        seconds: that this process took.
        files: what was written.
        settings: provenance, the same as in the tags of the maps.
    """

    scene: Path
    classes: tuple[ClassArea, ...]
    no_data: float
    regions: dict[str, int] | None
    seconds: float
    files: tuple[Path, ...]
    settings: dict[str, str]

    def lines(self) -> list[str]:
        """For people."""
        order = sorted(self.classes, key=lambda found: -found.share)
        large = sum(found.area_m2 for found in order) >= 1e7
        unit, metres, digits = ("km2", 1e6, 2) if large else ("m2", 1, 0)
        lines = [f"{found.share:7.1%}  {found.area_m2 / metres:12,.{digits}f} {unit}  {found.id}" for found in order]
        if self.no_data:
            lines.append(f"{self.no_data:7.1%} of all pixels hold no data")
        if self.regions is None:
            lines.append("No GeoJSON: the scene has no coordinate reference system.")
        elif self.regions["dropped"]:
            lines.append(
                f"{self.regions['dropped']} polygons below --min-area left out, {self.regions['written']} kept"
            )
        return [*lines, f"{self.seconds:.1f} s; wrote", *(f"  {file}" for file in self.files)]

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self) | {"scene": str(self.scene), "files": [str(file) for file in self.files]}


def measure(view: SceneView, ids: Sequence[str], counts: Counts, regions: Regions | None) -> tuple[ClassArea, ...]:
    """Areas of the classes: from the polygons, or by pixels where the scene has no CRS."""
    areas = counts.classes * (view.gsd_m[0] * view.gsd_m[1]) if regions is None else regions.area_m2
    total = float(areas.sum())
    return tuple(ClassArea(name, float(area) / total, float(area)) for name, area in zip(ids, areas, strict=True))
