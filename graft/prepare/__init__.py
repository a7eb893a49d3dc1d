"""The shard builder: geotagged photos and satellite images become training shards (`graft prepare`)."""

from pathlib import Path
from typing import TYPE_CHECKING

from graft.imagery.settings import ImagerySettings, check_settings
from graft.prepare.settings import BuildSettings, ClusterSettings, ShardSettings, TeacherSettings, TileSettings
from graft.select.settings import ContentFilters, MetadataFilters, Splits, Thinning

if TYPE_CHECKING:
    from graft.prepare.summary import Summary


def prepare(
    *,
    photos: Path,
    imagery: ImagerySettings,
    sensor: str,
    out: Path,
    teacher: TeacherSettings | None = None,
    filters: MetadataFilters = MetadataFilters(),  # noqa: B008  # frozen
    content: ContentFilters = ContentFilters(),  # noqa: B008
    thinning: Thinning = Thinning(),  # noqa: B008
    splits: Splits = Splits(),  # noqa: B008
    tiles: TileSettings = TileSettings(),  # noqa: B008
    shards: ShardSettings = ShardSettings(),  # noqa: B008
    cluster: ClusterSettings = ClusterSettings(),  # noqa: B008
    memory: str = "2GB",
    seed: int = 0,
    plan: bool = False,
    restart: bool = False,
    overwrite: bool = False,
) -> "Summary | None":
    """Build shards from a photo table and satellite images: graft prepare CONFIG, e.g. configs/prepare/sentinel.yaml.

    Prints its plan, then works in OUT/.building, where a killed build is taken up again by the same command. Shards
    appear in OUT/SPLIT all at once at the end. The same inputs give the same bytes, on any number of processes.

    Args:
        photos: photo table, as `graft photos` or `graft download` writes it.
        imagery: where images come from, and which of their windows are good enough.
        sensor: a row of sensors.yaml, e.g. sentinel or naip.
        out: folder of the shards, one folder a split in it.
        teacher: the CLIP whose vectors are stored and whose words filter photos; none with shards.photos alone.
        filters: by what the table says of a photo.
        content: by what a photo shows.
        thinning: caps, and less of what is photographed most.
        splits: shares of the ground, cell by cell, with a buffer between them.
        tiles: how ground is cut.
        shards: what is written.
        cluster: where the work is done.
        memory: that each process's database may take before it uses the disk, e.g. 2GB.
        seed: of every choice among photos and tiles.
        plan: print the plan and stop before the first photo is opened.
        restart: drop the work of an unfinished build.
        overwrite: replace shards that are there already.

    Returns:
        Counts of what was written and left out; None after `plan`.

    Raises:
        GraftError: input that is missing or does not fit, one sentence each.
    """
    from graft.errors import GraftError
    from graft.prepare.build import Build
    from graft.prepare.inputs import build_inputs
    from graft.prepare.publish import REPORT
    from graft.prepare.shards import check_destination, only_builder
    from graft.prepare.work import begin, is_publishing
    from graft.sensors import get_sensor

    check_settings(imagery)
    row = get_sensor(sensor)
    if teacher is None and not shards.photos:
        raise GraftError(
            "Nothing of the photos would be kept: name the teacher whose vectors to store (teacher.architecture, "
            "teacher.weights), or set shards.photos to true."
        )
    if not photos.is_file():
        raise GraftError(f"No photo table at {photos}. Make one with graft photos, or set photos.")
    for path in (photos, out):
        if set("*?[") & set(str(path.absolute())):
            raise GraftError(
                f"The path {path.absolute()} holds *, ? or [, which databases read as a pattern: rename it."
            )
    if not overwrite and not is_publishing(out / ".building"):
        if (out / REPORT).exists():
            raise GraftError(
                f"{out} already holds shards ({REPORT}). Choose another out, or replace them: --overwrite."
            )
        for split in splits.shares:
            check_destination(out / split, overwrite=False)
    settings = BuildSettings(
        photos.absolute(), imagery, sensor, out.absolute(), teacher, filters, content, thinning, splits, tiles, shards,
        cluster, memory, seed,
    )  # fmt: skip
    building = settings.out / ".building"
    with only_builder(building):
        work, begun = begin(building, build_inputs(settings), restart=restart)
        if begun:
            print("going on with the work of an earlier session")
        build = Build(settings, row, work)
        for line in build.plan():
            print(line)
        if plan:
            return None
        summary = build.run(overwrite=overwrite)
    for line in summary.lines():
        print(line)
    return summary
