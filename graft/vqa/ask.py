"""Questions about a raster, or about the tiles of an index (`graft ask`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from graft.vqa.answer import Answer
    from graft.vqa.asking import Unanswered
    from graft.vqa.tiles import TileAnswer


def ask(
    scene: str,
    *,
    model: Path,
    question: list[str] | None = None,
    questions: Path | None = None,
    program: str | None = None,
    out: str | None = None,
    json: bool = False,
    concepts: str = "everyday",
    units: Literal["metres", "epsg3857"] = "metres",
    urban: float = 0.2,
    llm: str | None = None,
    sensor: str | None = None,
    display: bool = False,
    bands: str | None = None,
    gsd: float | None = None,
    any_gsd: bool = False,
    mode: Literal["tokens", "vanilla", "maskclip", "sclip", "clearclip", "naclip", "segearth"] | None = None,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int = 16,
    precision: Literal["bf16", "fp32"] = "bf16",
    device: str = "auto",
    teacher: str | None = None,
    teacher_weights: str | None = None,
    top: int = 20,
    candidates: int = 200,
) -> "list[Answer | Unanswered] | TileAnswer":
    """Answer questions about a scene, with the evidence, or find the tiles of an index that answer yes.

    `graft ask scene.tif "Is there more forest than water?" "How many lakes are there?" --model runs/NAME/last.ckpt`.
    A question becomes a small program over what the model sees; the program is shown with the answer. All questions
    are read before the scene is looked at, and one look serves them all; one that cannot be read is told, and the
    others are answered. With an index: `graft ask IDX "Which tiles have a harbour next to a forest?" --model …`.

    Args:
        scene: raster with red, green and blue bands (GeoTIFF, JPEG 2000, VRT, PNG), or an index that `graft index`
            wrote. In a raster without coordinate reference system lengths and areas are counted in pixels.
        model: training checkpoint, runs/NAME/last.ckpt.
        question: one or more, in quotation marks; they stand after SCENE without `--question`.
        questions: text file with a question a line.
        program: a program in place of questions, as JSON or in its Python form, or a .json or .py file of it.
        out: write pictures with the evidence (NAME.q1.png, …), the objects (NAME.geojson) and all of it as NAME.json,
            replacing what is there: a folder (one that exists, or with a slash at the end), where NAME is the scene's;
            or a prefix, FOLDER/NAME.
        json: print one JSON document and nothing else.
        concepts: what the model tells apart: a set that comes with graft (everyday, rsvqa, atlas) or a YAML file.
        units: true metres, or EPSG:3857's, which grow with latitude and in which RSVQA's answers are counted.
        urban: an area is urban where built-up area covers more than this share of it, 0 to 1.
        llm: language model that writes programs where no grammar can; it is asked over the network, at OPENAI_BASE_URL
            with OPENAI_API_KEY.
        sensor: a row of sensors.yaml that says how stored numbers are shown, e.g. sentinel-04.00; the model's if not
            given.
        display: the bands are 8-bit display values already, such as a true-colour image.
        bands: numbers (from 1) of the red, green and blue band where the file does not say, e.g. 4,3,2.
        gsd: metres a pixel of a raster without coordinate reference system; the model's if not given.
        any_gsd: resample a scene whose pixels are more than 2 times larger or smaller than the model's.
        mode: how patch tokens are made; trained tokens for a pixel-level model, naclip for an image-level one.
        window: side of a window in pixels; the model's input size if not given.
        stride: pixels between windows, whole patches; half a window if not given.
        batch_size: windows at a time.
        precision: of the model's weights.
        device: auto, cpu, cuda or cuda:N.
        teacher: open_clip architecture whose text tower reads the concepts, or local-dir:FOLDER; the one that the model
            was aligned to if not given.
        teacher_weights: tag of open_clip or a file of weights.
        top: how many tiles of an index at most.
        candidates: how many tiles of an index are looked at, the likeliest by search.

    Returns:
        For a raster an answer a question, or why there is none; for an index the tiles.

    Raises:
        GraftError: input that is missing or does not fit; also after the other answers, where a question could not be
            answered.
    """
    from graft.errors import GraftError
    from graft.imagery.remote import is_remote
    from graft.segment.command import band_numbers, check_range
    from graft.vqa.asking import gather_questions, make_writers, read_program, read_questions
    from graft.vqa.concepts import load_concepts
    from graft.vqa.toolbox import UrbanRule

    check_range("batch-size", batch_size, 1)
    check_range("top", top, 1)
    check_range("candidates", candidates, 1)
    chosen_bands = band_numbers(bands)
    rule = UrbanRule("cover", urban)
    texts = gather_questions(question, questions)
    if bool(texts) == (program is not None):
        raise GraftError(
            'Nothing to ask: give one or more questions, such as "How many lakes are there?".'
            if program is None
            else "--program stands in place of questions: give one or the other."
        )
    vocabulary = load_concepts(concepts)
    asked = [read_program(program)] if program is not None else read_questions(texts, make_writers(vocabulary, llm))
    a_raster = Path(scene).suffix.lower() in (".tif", ".tiff", ".jp2", ".vrt", ".png")
    if Path(scene).is_dir() or (is_remote(scene) and not a_raster):
        from graft.vqa.tiles import ask_index

        return ask_index(
            scene,
            asked,
            vocabulary,
            rule,
            model=model,
            out=out,
            json=json,
            mode=mode,
            stride=stride,
            batch_size=batch_size,
            precision=precision,
            device=device,
            teacher=teacher,
            teacher_weights=teacher_weights,
            top=top,
            candidates=candidates,
        )
    from graft.vqa.ask_scene import SceneLook, ask_scene

    look = SceneLook(units, sensor, display, chosen_bands, gsd, any_gsd, stride, batch_size)
    return ask_scene(
        scene,
        asked,
        vocabulary,
        rule,
        look,
        model=model,
        out=out,
        json=json,
        inputs=[model, *([questions] if questions else [])],
        mode=mode,
        window=window,
        precision=precision,
        device=device,
        teacher=teacher,
        teacher_weights=teacher_weights,
    )
