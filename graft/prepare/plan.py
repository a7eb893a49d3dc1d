"""What a build is going to read and write, told before the first photo is opened."""

from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage

from graft.errors import GraftError
from graft.tally import Tally, in_bytes

PNG_BYTES_PER_PIXEL = 2.2  # of 3; what lossless compression leaves of overhead pictures
JPEG_BYTES_PER_PIXEL = 0.35  # quality 90, photographs
TABLE_BYTES = 900  # of a photo in the tables between the stages


def plan_lines(
    *,
    listed: int,
    left_out: Tally,
    images: int,
    sensor: str,
    tiles: int,
    tile_size: int,
    outside: int,
    teacher_dim: int,
    stored_side: int,
    out: Path,
) -> Iterator[str]:
    """The plan in words, with an estimate of the disk it takes.

    Args:
        listed: photos in the table.
        left_out: by the filters that look at the table alone.
        images: scenes or items that tiles may be read from.
        sensor: of the tiles.
        tiles: that would be cut if every photo left passed the filters that look at it.
        tile_size: pixels.
        outside: photos in no image.
        teacher_dim: width of the vectors, 0 without a teacher.
        stored_side: side of stored photos in pixels, 0 without.
        out: where the shards go.

    Raises:
        GraftError: no tile would be cut, or the disk is too small.
    """
    photos = listed - left_out.total
    yield f"photos  {listed:,} in the table, {photos:,} left by its columns, {photos - outside:,} of them in an image"
    yield from ("  " + line for line in left_out.lines())
    yield f"images  {images:,} ({sensor})"
    yield f"tiles   at most {tiles:,} of {tile_size} px"
    if tiles == 0:
        raise GraftError(
            f"None of {photos:,} photos lies in a tile that any of {images:,} images holds: check that the images are "
            f"of the photos' places, that lon and lat are not swapped, and tiles.size ({tile_size} px)."
        )
    pngs = tiles * tile_size**2 * PNG_BYTES_PER_PIXEL
    per_photo = teacher_dim * 2 + stored_side**2 * 4 / 3 * JPEG_BYTES_PER_PIXEL
    shards, work = pngs + photos * (200 + per_photo), pngs + photos * (TABLE_BYTES + per_photo)
    folder = next(parent for parent in (out, *out.absolute().parents) if parent.exists())
    free = disk_usage(folder).free
    yield f"disk    at most {in_bytes(shards)} of shards, {in_bytes(work)} more while building; {in_bytes(free)} free"
    if shards + work > free:
        raise GraftError(
            f"The disk of {folder} has {in_bytes(free)} free, the build may take {in_bytes(shards + work)}: choose "
            "another folder (out), or build a part of the photos."
        )
