"""What decides which photos a build takes; the YAML keys of `graft prepare`."""

from dataclasses import dataclass, field
from pathlib import Path

from graft.errors import GraftError


def _check(name: str, value: float | None, low: float, high: float = float("inf")) -> None:
    if value is not None and not low <= value <= high:
        allowed = f"at least {low:g}" if high == float("inf") else f"between {low:g} and {high:g}"
        raise GraftError(f"{name} is {value}; it must be {allowed}.")


@dataclass(frozen=True)
class MetadataFilters:
    """What a photo's row in the table must satisfy. A row that does not say is not held against it.

    Attributes:
        max_accuracy_m: largest stated error of the position, metres; None for any. 50 m is a third of a 16-pixel token
            at 10 m and three tokens at 1 m, and as far off as a phone between houses or under trees says it is.
        min_accuracy_level: smallest level on Flickr's scale of 1 (world) to 16 (street); None for any. Level 15 and
            below were placed on a map that shows no streets.
        min_decimals: decimals that lon or lat must have; 0 for any. At 4, positions that both end at the third, 111 m
            apart, are left out: rounded for privacy, or centres of places. Of positions with seven decimals one in
            10^8 ends so by chance.
        max_repeats: authors that may share one position to the last digit; photos instead, where the author is
            unknown. None for any number. Beyond it the position is a geocoder's, of a town or a park: ten photographers
            do not stand on the same decimetre.
        min_side: pixels on a photo's shorter side. 64 lets the small preview sizes of archives pass and stops
            thumbnails and icons. Applied to the table where it knows, and to the file when it is decoded.
        licenses: licences that may be used; CC-BY stands for all its versions, CC-BY-4.0 for one. None for all, which
            is for photos that are yours. With a list, a photo of unknown licence is left out.
        takedown: text file with one photo id, author or address a line (the same that `graft download` takes); photos
            that match are left out.
        exclude: benchmark areas. GeoJSON files, GeoTIFF files, folders of them (footprints), and tables (CSV or
            Parquet) of points with the columns lon and lat.
        exclude_buffer_m: distance kept from those areas, metres. 5 km is more than the diagonal of a tile of 224
            pixels at 10 m, 3.2 km, so no tile with a kept photo reaches into them.
    """

    max_accuracy_m: float | None = 50.0
    min_accuracy_level: int | None = 16
    min_decimals: int = 4
    max_repeats: int | None = 10
    min_side: int = 64
    licenses: list[str] | None = None
    takedown: Path | None = None
    exclude: list[Path] = field(default_factory=list)
    exclude_buffer_m: float = 5000.0

    def __post_init__(self) -> None:
        """Check ranges."""
        _check("max_accuracy_m", self.max_accuracy_m, 0)
        _check("min_accuracy_level", self.min_accuracy_level, 1, 16)
        _check("min_decimals", self.min_decimals, 0, 9)
        _check("max_repeats", self.max_repeats, 1)
        _check("min_side", self.min_side, 1)
        _check("exclude_buffer_m", self.exclude_buffer_m, 0, 500_000)


@dataclass(frozen=True)
class ContentFilters:
    """What a photo's picture must satisfy.

    Attributes:
        scene_prompts: words of the teacher's zero-shot filter: a prompt set that comes with graft, by name, or a file
            of that form. The class `scene` is kept.
        min_scene: smallest probability of being a scene, 0..1; 0 keeps everything. A half asks for as much evidence
            for a scene as against it; a little below, doubtful photos stay. On two atlas worlds, each with its own
            teacher, 0.35 removed 97 % of the irrelevant photos and kept 99 % of the others.
        min_colour: smallest mean saturation, 0..1; 0 keeps everything. Black-and-white photographs and scans have 0,
            fog and snow 0.03 and more.
        near_duplicates: leave out copies of a photo, re-encoded, resized or slightly cropped. Files that are the same
            byte for byte are left out anyway.
    """

    scene_prompts: str = "photo_filter"
    min_scene: float = 0.35
    min_colour: float = 0.01
    near_duplicates: bool = True

    def __post_init__(self) -> None:
        """Check ranges."""
        _check("min_scene", self.min_scene, 0, 1)
        _check("min_colour", self.min_colour, 0, 1)


@dataclass(frozen=True)
class Thinning:
    """How many photos of one author and of one place are taken; which ones is the seeded order's choice.

    A cell with n photos keeps all of them up to `full_cell`, and `full_cell * (n / full_cell) ** alpha` of more: the
    number kept grows with the number there is, but slower, so that famous places weigh less. No cell's number depends
    on another cell's, so adding a region to an archive changes nothing in the others.

    Attributes:
        cell_km: side of a cell, kilometres. 5 km is about two tiles of 224 pixels at 10 m, and a town quarter.
        max_per_author_cell: photos of one author in one cell; None for any number. 100 keeps a day's walk and stops a
            dashboard camera. Photos of unknown author are not capped.
        max_per_author: photos of one author altogether; None for any number, as in a collection of one's own.
        full_cell: photos of a cell that are kept before the power law begins: 25 for each of 20 tiles.
        alpha: exponent, 0..1. 1 keeps every photo, 0 at most `full_cell`; a half, of a cell with a hundred times as
            many photos, ten times as many.
        max_per_cell: photos of one cell, whatever the power law allows; None for any number.
    """

    cell_km: float = 5.0
    max_per_author_cell: int | None = 100
    max_per_author: int | None = None
    full_cell: int = 500
    alpha: float = 0.5
    max_per_cell: int | None = None

    def __post_init__(self) -> None:
        """Check ranges."""
        _check("thinning.cell_km", self.cell_km, 0.1, 1000)
        _check("max_per_author_cell", self.max_per_author_cell, 1)
        _check("max_per_author", self.max_per_author, 1)
        _check("full_cell", self.full_cell, 1)
        _check("alpha", self.alpha, 0, 1)
        _check("max_per_cell", self.max_per_cell, 1)


@dataclass(frozen=True)
class Splits:
    """Which ground belongs to which split.

    Attributes:
        shares: name -> share of the ground, summing to 1. One split by default: benchmarks are elsewhere.
        cell_km: side of the squares of ground that go to one split together, kilometres. At 50 km the buffer of a
            10 m sensor (a tile's diagonal, 3.2 km) costs at most a quarter of the photos, where all neighbours differ.
    """

    shares: dict[str, float] = field(default_factory=lambda: {"train": 1.0})
    cell_km: float = 50.0

    def __post_init__(self) -> None:
        """Check names and ranges."""
        _check("splits.cell_km", self.cell_km, 0.1, 1000)
        wrong = [name for name in self.shares if not name.replace("-", "").replace("_", "").isalnum()]
        if wrong or not self.shares:
            raise GraftError(
                f"splits.shares names {wrong or 'no split'}; expected letters, digits, - and _, as it names a folder."
            )
        if min(self.shares.values()) <= 0 or abs(sum(self.shares.values()) - 1) > 1e-6:
            raise GraftError(f"splits.shares is {self.shares}; expected shares above 0 that sum to 1.")
