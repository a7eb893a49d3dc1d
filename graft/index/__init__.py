"""An archive's tiles as vectors that can be searched (`graft index`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from graft.checkpoint import LoadedEncoder
    from graft.index.sources import Look


def index(
    sources: list[str],
    *,
    model: Path,
    out: str,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int = 64,
    num_workers: int = 2,
    sensor: str | None = None,
    display: bool = False,
    bands: str | None = None,
    gsd: float | None = None,
    any_gsd: bool = False,
    precision: Literal["bf16", "fp32"] = "bf16",
    device: str = "auto",
) -> None:
    """Put the vectors of an archive's tiles into an index that graft search reads.

    A raster is cut into windows; a folder of small images holds a tile a file; shards hold tiles. Sources that are in
    already are passed over, one that has changed is written anew, and a run that was stopped goes on when the same
    command is given again.

    Args:
        sources: rasters (path, s3://, https://, /vsi…), folders of tiles or rasters, and shards (folder or address).
            A georeferenced file of a folder that is twice as large as a window or more is cut like a raster.
        model: training checkpoint, runs/NAME/last.ckpt.
        out: folder of the index, or s3://BUCKET/PREFIX; made if it is not there, else added to.
        window: side of a window in pixels of the model's GSD; the model's input size if not given.
        stride: pixels between windows, whole patches; a window if not given.
        batch_size: windows at a time.
        num_workers: threads that read ahead.
        sensor: a row of sensors.yaml that says how stored numbers are shown, e.g. sentinel-04.00; the model's if not
            given.
        display: the bands of rasters are 8-bit display values already, such as a true-colour image.
        bands: numbers (from 1) of the red, green and blue band where files do not say, e.g. 4,3,2.
        gsd: metres a pixel of what has no coordinate reference system.
        any_gsd: resample sources whose pixels are more than 2 times larger or smaller than the model's.
        precision: of the model's weights.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        GraftError: input that is missing or does not fit; also after the work, where a source could not be read at all.
    """
    from graft.checkpoint import load_encoder
    from graft.errors import GraftError
    from graft.index.build import build_index
    from graft.segment.command import band_numbers, check_range

    check_range("batch-size", batch_size, 1)
    check_range("num-workers", num_workers, 1)
    if not sources:
        raise GraftError("Nothing to index: give rasters, folders of tiles or rasters, or shards.")
    loaded = load_encoder(model)
    look = make_look(
        loaded,
        window=window,
        stride=stride,
        sensor=sensor,
        display=display,
        bands=band_numbers(bands),
        gsd_m=gsd,
        any_gsd=any_gsd,
        precision=precision,
    )
    report = build_index(
        sources, model, loaded, out, look, batch_size=batch_size, num_workers=num_workers, device=device
    )
    for line in report.lines():
        print(line)
    if report.faults:
        raise GraftError(f"{len(report.faults)} of the sources are not in the index; the list above says why.")


def make_look(
    loaded: "LoadedEncoder",
    *,
    window: int | None = None,
    stride: int | None = None,
    sensor: str | None = None,
    display: bool = False,
    bands: list[int] | None = None,
    gsd_m: float | None = None,
    any_gsd: bool = False,
    precision: str = "bf16",
) -> "Look":
    """How a model looks at sources; see `index` for the arguments.

    Raises:
        GraftError: numbers that do not fit the model.
    """
    from graft.errors import GraftError
    from graft.index.sources import Look
    from graft.sensors import get_sensor

    if bands is not None and len(bands) != 3:
        raise GraftError(f"--bands is {','.join(map(str, bands))}; expected three numbers such as 4,3,2.")
    side = loaded.window if window is None else window
    return Look(
        sensor=get_sensor(sensor or loaded.sensor),
        model_gsd_m=get_sensor(loaded.sensor).gsd_m,
        patch=loaded.patch,
        window=side,
        stride=side if stride is None else stride,
        display=display,
        bands=None if bands is None else (bands[0], bands[1], bands[2]),
        gsd_m=gsd_m,
        any_gsd=any_gsd,
        precision=precision,
    )
