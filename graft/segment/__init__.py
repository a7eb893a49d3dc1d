"""Open-vocabulary segmentation of whole scenes (`graft segment`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from graft.segment.maps import Segmentation, segment_array, segment_scene
    from graft.segment.summary import Summary

__all__ = ["Segmentation", "segment", "segment_array", "segment_scene"]


def __getattr__(name: str) -> Any:
    # `graft --help` reads this file and stays quick: torch comes with the first use.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from graft.segment import maps

    return getattr(maps, name)


def segment(
    scene: Path,
    *,
    prompts: str,
    model: Path,
    out: str,
    family: str | None = None,
    sensor: str | None = None,
    display: bool = False,
    bands: str | None = None,
    gsd: float | None = None,
    any_gsd: bool = False,
    mode: Literal["tokens", "vanilla", "maskclip", "sclip", "clearclip", "naclip", "segearth"] | None = None,
    bias_removal: float = 0.0,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int = 16,
    precision: Literal["bf16", "fp32"] = "bf16",
    device: str = "auto",
    refine: Literal["none", "guided", "regions", "sam"] = "none",
    sam_checkpoint: Path | None = None,
    scores: bool = False,
    min_area: float = 0.0,
    teacher: str | None = None,
    teacher_weights: str | None = None,
    overwrite: bool = False,
) -> "Summary":
    """Segment a scene by words, into files in its own grid.

    Writes NAME.classes.tif (class map, COG with colour table), NAME.geojson (polygons with areas), NAME.quicklook.png
    and NAME.json (shares and areas), and on request NAME.scores.tif. They appear when all are complete; a run that was
    stopped goes on when the same command is given again.

    Args:
        scene: raster with red, green and blue bands (GeoTIFF, JPEG 2000, VRT, PNG).
        prompts: the classes: a list such as "water, forest, farmland", or "building, roof; road" with synonyms; a .txt
            file with a class and its synonyms a line; a prompt set, by name or YAML file; or a .safetensors file of
            text vectors.
        model: training checkpoint, runs/NAME/last.ckpt.
        out: a folder (one that exists, or with a slash at the end), where NAME is the scene's; or a prefix,
            FOLDER/NAME.
        family: prompt family of templates; ground if the prompts have it.
        sensor: a row of sensors.yaml that says how stored numbers are shown, e.g. sentinel-04.00; the model's if not
            given.
        display: the bands are 8-bit display values already, such as a true-colour image.
        bands: numbers (from 1) of the red, green and blue band where the file does not say, e.g. 4,3,2.
        gsd: metres a pixel of a raster without coordinate reference system.
        any_gsd: resample a scene whose pixels are more than 2 times larger or smaller than the model's.
        mode: how patch tokens are made; trained tokens for a pixel-level model, naclip for an image-level one.
        bias_removal: share of the window's own scores added to those of its tokens; -0.3 in SegEarth-OV.
        window: side of a window in pixels; the model's input size if not given.
        stride: pixels between windows, whole patches; half a window if not given.
        batch_size: windows at a time.
        precision: of the model's weights.
        device: auto, cpu, cuda or cuda:N.
        refine: how borders are sharpened.
        sam_checkpoint: weights of SAM for --refine sam.
        scores: also write the score (cosine) of each class, a float band each.
        min_area: polygons of fewer square metres are left out of the GeoJSON.
        teacher: open_clip architecture whose text tower reads the prompts, or local-dir:FOLDER; the one that the model
            was aligned to if not given.
        teacher_weights: tag of open_clip or a file of weights.
        overwrite: replace files that are there already.

    Returns:
        Shares and areas of the classes, and what was written.

    Raises:
        GraftError: input that is missing or does not fit, one sentence each.
    """
    from graft.checkpoint import load_encoder
    from graft.scene import view_scene
    from graft.segment.command import band_numbers, check_range, make_scorer
    from graft.segment.maps import segment_scene
    from graft.segment.output import check_target, name_output
    from graft.sensors import get_sensor

    check_range("batch-size", batch_size, 1)
    check_range("min-area", min_area, 0)
    chosen_bands = band_numbers(bands)
    loaded = load_encoder(model)
    view = view_scene(
        scene,
        get_sensor(sensor or loaded.sensor),
        get_sensor(loaded.sensor).gsd_m,
        gsd_m=gsd,
        bands=chosen_bands,
        display=display,
        any_gsd=any_gsd,
    )
    check_target(name_output(out, scene), scene, overwrite=overwrite)
    scorer = make_scorer(
        loaded,
        prompts,
        family=family,
        teacher=teacher,
        teacher_weights=teacher_weights,
        mode=mode,
        bias_removal=bias_removal,
        window=window,
        precision=precision,
        device=device,
    )
    summary = segment_scene(
        view,
        scorer,
        out,
        stride=stride,
        batch_size=batch_size,
        refine=refine,
        sam_checkpoint=sam_checkpoint,
        scores=scores,
        min_area_m2=min_area,
        overwrite=overwrite,
        provenance={
            "GRAFT_MODEL_SHA256": loaded.sha256,
            "GRAFT_MODEL_SENSOR": f"{loaded.sensor}: {loaded.radiometry}",
            "GRAFT_TEACHER": f"{loaded.teacher['name']} {loaded.teacher['identity']}",
            "GRAFT_PRECISION": precision,
        },
    )
    for line in summary.lines():
        print(line)
    return summary
