"""The shard builder: geotagged photos and satellite scenes become training shards (`graft prepare`)."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graft.prepare.summary import Summary


def prepare(
    *,
    photos: Path,
    scenes: list[Path] | Path,
    sensor: str,
    out: Path,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    store_photos: bool = False,
    tile_size: int = 224,
    stride: int | None = None,
    max_photos: int = 25,
    max_nodata: float = 0.1,
    samples_per_shard: int = 1000,
    seed: int = 0,
    limit: int | None = None,
    overwrite: bool = False,
) -> "Summary":
    """Build shards from geotagged photos and satellite scenes.

    Prints its plan, then what it wrote and left out. The same input gives the same bytes. An existing OUT is
    untouched until the build is complete.

    Args:
        photos: a CSV with photo_id, path, lon, lat (and accuracy_m, taken_at, heading, license, source), or a folder
            of JPEG files with GPS in their EXIF.
        scenes: a raster, a folder of rasters, or a list in brackets.
        sensor: a row of sensors.yaml, e.g. sentinel or naip.
        out: folder for the shards.
        teacher: open_clip architecture whose image tower turns photos into vectors, or local-dir:FOLDER.
        teacher_weights: tag of open_clip (openai) or a file of weights.
        store_photos: keep the photos, small and without metadata, for a teacher that runs during training.
        tile_size: side of a tile in pixels.
        stride: pixels from one tile to the next; the tile size if not given.
        max_photos: photos kept in a tile.
        max_nodata: tiles with a larger share of pixels without data are left out (0..1).
        samples_per_shard: tiles in one tar file.
        seed: of the choice of photos and the order of tiles.
        limit: look at no more than this many tiles.
        overwrite: replace shards that are there already.

    Returns:
        Counts of what was written and left out.

    Raises:
        GraftError: input that is missing or does not fit, one sentence each.
    """
    from graft.errors import GraftError
    from graft.prepare.build import build_shards
    from graft.prepare.photos import read_photos
    from graft.prepare.plan import Settings, make_plan
    from graft.prepare.scenes import open_scenes
    from graft.prepare.shards import MAX_SAMPLE_PHOTOS, check_destination
    from graft.prepare.vectors import stored_side
    from graft.sensors import get_sensor

    stride = tile_size if stride is None else stride
    limits = (
        ("tile-size", tile_size, 1, None),
        ("stride", stride, 1, None),
        ("max-photos", max_photos, 1, MAX_SAMPLE_PHOTOS),
        ("max-nodata", max_nodata, 0, 1),
        ("samples-per-shard", samples_per_shard, 1, None),
        ("limit", 1 if limit is None else limit, 1, None),
    )
    for flag, value, low, high in limits:
        if value < low or (high is not None and value > high):
            allowed = f"at least {low}" if high is None else f"between {low} and {high}"
            raise GraftError(f"--{flag} is {value}; it must be {allowed}.")
    if teacher is None and not store_photos:
        raise GraftError(
            "Nothing of the photos would be kept: name the --teacher whose vectors to store "
            "(e.g. --teacher ViT-B-16-quickgelu --teacher-weights openai), or pass --store-photos."
        )
    if teacher is not None and teacher_weights is None and not teacher.startswith("local-dir:"):
        raise GraftError(
            f"The teacher {teacher} without weights is random and teaches nothing: "
            "add --teacher-weights with a tag (openai) or a file."
        )
    row = get_sensor(sensor)
    check_destination(out, overwrite=overwrite)
    settings = Settings(tile_size, stride, max_photos, max_nodata, seed, limit)
    plan = make_plan(read_photos(photos), open_scenes(scenes, row), row, settings)
    loaded = None
    if teacher is not None:
        import torch

        from graft.teacher import Teacher

        loaded = Teacher(teacher, teacher_weights, device="cuda" if torch.cuda.is_available() else "cpu")
    for line in plan.lines(out, loaded.dim if loaded else 0, stored_side(loaded) if store_photos else 0):
        print(line)
    summary = build_shards(
        plan,
        out,
        teacher=loaded,
        store_photos=store_photos,
        samples_per_shard=samples_per_shard,
        overwrite=overwrite,
    )
    for line in summary.lines():
        print(line)
    return summary
