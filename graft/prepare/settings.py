"""What a build is asked for: the YAML keys of `graft prepare`."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graft.errors import GraftError
from graft.imagery.settings import ImagerySettings
from graft.prepare.samples import MAX_SAMPLE_PHOTOS
from graft.select.settings import ContentFilters, MetadataFilters, Splits, Thinning


@dataclass(frozen=True)
class TeacherSettings:
    """The frozen CLIP whose vectors are stored, and whose words filter the photos.

    Attributes:
        architecture: open_clip name, or local-dir:FOLDER.
        weights: a tag of open_clip (openai), a file, or None for a folder.
    """

    architecture: str
    weights: str | None = None

    def __post_init__(self) -> None:
        """Refuse a teacher that knows nothing."""
        if self.weights is None and not self.architecture.startswith("local-dir:"):
            raise GraftError(
                f"The teacher {self.architecture} without weights is random and teaches nothing: "
                "set teacher.weights to a tag (openai) or a file."
            )


@dataclass(frozen=True)
class TileSettings:
    """How ground is cut into tiles.

    Attributes:
        size: side of a tile in pixels.
        spacing: least distance of two tiles' centres, in sides of a tile along rows and columns. At 1 tiles touch and
            do not overlap, above they are spread out, below they overlap.
        max_photos: photos kept in a tile, the first in the build's seeded order.
    """

    size: int = 224
    spacing: float = 1.0
    max_photos: int = 25

    def __post_init__(self) -> None:
        """Check ranges."""
        for name, value, low, high in (
            ("size", self.size, 1, 4096),
            ("spacing", self.spacing, 0.1, 100),
            ("max_photos", self.max_photos, 1, MAX_SAMPLE_PHOTOS),
        ):
            if not low <= value <= high:
                raise GraftError(f"tiles.{name} is {value}; it must be between {low} and {high}.")


@dataclass(frozen=True)
class ShardSettings:
    """What is written.

    Attributes:
        samples: tiles in one tar file.
        photos: keep the photos as well, small and without metadata, for a teacher that runs during training.
        quality: JPEG quality of stored photos.
    """

    samples: int = 1000
    photos: bool = False
    quality: int = 90

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.samples < 1 or not 1 <= self.quality <= 95:
            raise GraftError(
                f"shards.samples is {self.samples}, shards.quality {self.quality}; expected 1 or more, and 1 to 95."
            )


@dataclass(frozen=True)
class ClusterSettings:
    """Where the work is done; no result depends on it.

    Attributes:
        workers: processes; None takes one per core that this process may use. 1 works without Dask.
        address: of a running Dask scheduler, instead of processes of this machine.
        slurm: arguments of `dask_jobqueue.SLURMCluster` (cores, memory, queue, walltime …), instead of either;
            `workers` jobs are asked for. All machines must see the same files under the same names.
    """

    workers: int | None = None
    address: str | None = None
    slurm: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what excludes what."""
        if self.workers is not None and self.workers < 1:
            raise GraftError(f"cluster.workers is {self.workers}; it must be at least 1.")
        if self.slurm and (self.address is not None or self.workers is None):
            raise GraftError("cluster.slurm needs cluster.workers, the number of jobs, and no cluster.address.")


@dataclass(frozen=True)
class BuildSettings:
    """All of them; see `graft.prepare.prepare`."""

    photos: Path
    imagery: ImagerySettings
    sensor: str
    out: Path
    teacher: TeacherSettings | None
    filters: MetadataFilters
    content: ContentFilters
    thinning: Thinning
    splits: Splits
    tiles: TileSettings
    shards: ShardSettings
    cluster: ClusterSettings
    memory: str
    seed: int

    def deciding(self) -> dict[str, Any]:
        """What decides the shards' bytes, in plain types: where files lie and who does the work does not."""
        everything = asdict(self)
        for name in ("photos", "out", "cluster", "memory"):
            del everything[name]
        del everything["imagery"]["scenes"]
        plain: dict[str, Any] = json.loads(json.dumps(everything, default=str))
        return plain
