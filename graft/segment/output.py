"""Names of the files that a segmentation makes, and how they appear: all whole, or none."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from graft.errors import GraftError, first_line
from graft.segment.engine import STATE


@dataclass(frozen=True)
class Output:
    """Files of one segmentation.

    Attributes:
        class_map: the class of each pixel, COG.
        score_map: the score of each class, COG.
        polygons: GeoJSON.
        quicklook: PNG.
        summary: JSON.
        work: hidden folder for what is not finished; it also lets a stopped run go on.
    """

    class_map: Path
    score_map: Path
    polygons: Path
    quicklook: Path
    summary: Path
    work: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """All files under their final names."""
        return self.class_map, self.score_map, self.polygons, self.quicklook, self.summary

    def unfinished(self, file: Path) -> Path:
        """Where one of `files` is written before it is complete."""
        return self.work / file.name

    def finished(self) -> tuple[Path, ...]:
        """Those of `files` that are complete in the work folder."""
        return tuple(path for path in self.files if self.unfinished(path).exists())


def name_output(out: Path | str, scene: Path) -> Output:
    """Names from `--out`.

    A folder (one that exists, or with a slash at the end) takes the scene's name; anything else is a prefix, of which
    an ending `.tif` is dropped.
    """
    target = Path(out)
    if target.is_dir() or str(out).endswith(("/", os.sep)):
        folder, name = target, scene.stem
    else:
        folder, name = target.parent, target.stem if target.suffix.lower() in (".tif", ".tiff") else target.name
    return Output(
        class_map=folder / f"{name}.classes.tif",
        score_map=folder / f"{name}.scores.tif",
        polygons=folder / f"{name}.geojson",
        quicklook=folder / f"{name}.quicklook.png",
        summary=folder / f"{name}.json",
        work=folder / f".{name}.segment",
    )


def check_target(output: Output, scene: Path, *, overwrite: bool) -> None:
    """Check what is there before any work.

    Raises:
        GraftError: files are in the way, or one of them is the scene.
    """
    there = [path for path in output.files if path.exists()]
    if any(path.samefile(scene) for path in there):
        raise GraftError(f"The output would replace the scene {scene} itself; choose another --out.")
    if there and not overwrite:
        raise GraftError(f"{there[0]} exists already; give --overwrite to replace it, or another --out.")


def clear_unfinished(output: Output, keep: Collection[str]) -> None:
    """Drop what an earlier run left half-written in the work folder, except for the files named."""
    for path in output.work.iterdir():
        if path.name not in keep:
            path.unlink()


def publish(output: Output) -> None:
    """Sync the finished files to disk, rename them, drop what an earlier run left, and remove the work folder."""
    finished = output.finished()
    for path in finished:
        with output.unfinished(path).open("rb+") as file:
            os.fsync(file.fileno())
    for path in output.files:
        if path in finished:
            output.unfinished(path).replace(path)
        else:
            path.unlink(missing_ok=True)  # scores of another run do not belong to this map
    shutil.rmtree(output.work)


@contextmanager
def working_folder(output: Output) -> Iterator[None]:
    """Have the work folder while the files are made; what a stopped run can go on from stays.

    Raises:
        GraftError: instead of an `OSError`, an error of GDAL or Ctrl-C, one sentence.
    """
    try:
        output.work.mkdir(parents=True, exist_ok=True)
        yield
    except KeyboardInterrupt:
        raise GraftError(f"Stopped before {output.class_map} was complete. The same command goes on.") from None
    except (OSError, RasterioError, CPLE_BaseError) as error:
        root: BaseException = error
        while root.__cause__ is not None:  # GDAL's own words lie under "see previous exception"
            root = root.__cause__
        reason = root.strerror if isinstance(root, OSError) and root.strerror else first_line(root)
        raise GraftError(
            f"Could not write {output.class_map} or the files beside it ({reason}). Make room, or choose another "
            "--out; the same command goes on from what is done."
        ) from error
    finally:
        if not (output.work / STATE).exists():  # nothing to go on from
            shutil.rmtree(output.work, ignore_errors=True)
