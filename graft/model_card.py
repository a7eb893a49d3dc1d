"""What a model folder says of itself: `graft.json` for programs, `README.md` for people."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from graft.encoders import Level, Positions
from graft.errors import GraftError
from graft.results import HEADLINE, ResultRow
from graft.sensors import Sensor

FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """The content of `graft.json`, in plain types.

    Attributes:
        sensor: the row of `sensors.yaml` that the tiles were rendered by: name, bands, gsd_m, scale, offset, display.
        radiometry: that rendering in words.
        level: `image`, or `pixel` where there is a `patch_projector.safetensors`.
        temperature: of the training loss; 1 / CLIP's logit scale for what was not trained here.
        positions: how position embeddings are resized at other sizes than the window.
        teacher: `name`, `identity` and `dim` of the CLIP whose space this is; the folder holds its text tower.
        source: what the folder was made from: `format`, `file` and `sha256`.
        training: `step`, `code_version` and `config` of the run, as far as known.
        licence: of the weights, as an SPDX name or in words.
        hashes: sha256 of every other file of the folder.
    """

    sensor: dict[str, Any]
    radiometry: str
    level: Level
    temperature: float
    positions: Positions
    teacher: dict[str, Any]
    source: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    licence: str = "not stated"
    hashes: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """What is written as JSON."""
        return {"format": FORMAT, **asdict(self)}

    @property
    def sensor_row(self) -> Sensor:
        """The sensor, whether or not this installation knows it."""
        row = self.sensor
        return Sensor(
            str(row["name"]),
            tuple(row["bands"]),
            float(row["gsd_m"]),
            float(row["scale"]),
            float(row["offset"]),
            (float(row["display"][0]), float(row["display"][1])),
        )


def read_card(content: object, where: str) -> ModelCard:
    """Check a parsed `graft.json`.

    Raises:
        GraftError: of another format, or keys that are missing, unknown or of another type.
    """
    remedy = "Write the folder again with `graft export` or `graft convert`."
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise GraftError(f"{where} is of format {found}; this version of graft reads format {FORMAT}. {remedy}")
    given = {key: value for key, value in content.items() if key != "format"}
    names = {each.name for each in fields(ModelCard)}
    if given.keys() != names:
        odd = ", ".join(sorted(given.keys() ^ names))
        raise GraftError(f"{where} has missing or unknown entries: {odd}. {remedy}")
    try:
        card = ModelCard(**given)
        fits = (
            card.level in ("image", "pixel")
            and card.positions in ("open_clip", "huggingface")
            and 0 < float(card.temperature) < 1e6
            and all(isinstance(value, str) for value in card.hashes.values())
            and {"name", "identity", "dim"} <= card.teacher.keys()
            and card.sensor_row.gsd_m > 0
        )
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        fits = False
    if not fits:
        raise GraftError(f"{where} has entries that do not fit. {remedy}")
    return card


def model_readme(card: ModelCard, architecture: str, results: Sequence[ResultRow] = ()) -> str:
    """The model card for people: use, data, recipe, results, limits, licence; Markdown.

    Args:
        card: of the folder.
        architecture: in a few words.
        results: rows of a results file that are of this model.
    """
    sensor = card.sensor_row
    lines = [
        f"# Satellite encoder for {sensor.name} ({sensor.gsd_m:g} m)",
        "",
        f"{architecture[0].upper()}{architecture[1:]}, in the space of {card.teacher['name']}.",
        "",
        "```python",
        "import graft",
        "",
        'model = graft.load("THIS_FOLDER")',
        'model.classify("tile.png", ["forest", "lake", "town"])',
        "```",
        "",
        "Plain open_clip loads it too: `open_clip.create_model_and_transforms('local-dir:THIS_FOLDER')`"
        + (", without the patch projector." if card.level == "pixel" else "."),
        "",
        "## Data",
        "",
        f"Tiles are 8-bit RGB, rendered from stored numbers as `{card.radiometry}`, {sensor.gsd_m:g} m a pixel. Other",
        "renderings and pixel sizes were never seen.",
        "",
        "## Recipe",
        "",
        *_recipe(card),
        "",
        "## Results",
        "",
        *_table(results),
        "",
        "## Limits",
        "",
        "- RGB, one date a tile. A patch token covers a square of patches of the ground: maps are smooth, not sharp.",
        "- It knows what photos taken on the ground show. What nobody photographs, it does not know.",
        "- A score is a likeness, not a probability, until it is calibrated (`graft calibrate`).",
        "",
        "## Licence",
        "",
        f"{card.licence}. The teacher's weights, whose text tower is inside, keep their own licence.",
        "",
    ]
    return "\n".join(lines)


def _recipe(card: ModelCard) -> list[str]:
    made = f"Made from `{card.source['file']}` ({card.source['format']}, sha256 `{card.source['sha256'][:16]}`)."
    if not card.training:
        return [made, "How it was trained is not recorded in that file."]
    known = {key: card.training[key] for key in ("step", "code_version") if card.training.get(key)}
    told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in known.items())
    config = card.training.get("config")
    kept = " The run's configuration is in `graft.json`." if config else ""
    return [made, f"Trained with graft ({told}) at a temperature of {card.temperature:.4g}.{kept}"]


def _table(results: Sequence[ResultRow]) -> list[str]:
    if not results:
        return ["None were given to `graft export --results`."]
    rows = ["| task | data set | split | n | figure | commit |", "| --- | --- | --- | --- | --- | --- |"]
    for row in results:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in _headline(row).items())
        commit = row["code_version"][:12]
        rows.append(f"| {row['task']} | {row['dataset']} | {row['split']} | {row['n']} | {figures} | `{commit}` |")
    return [*rows, "", "Figures are fractions of 1; protocol and hashes are in the results file."]


def _headline(row: ResultRow) -> dict[str, float]:
    names = [name for name in HEADLINE.get(row["task"], ()) if name in row["metrics"]]
    return {name: row["metrics"][name] for name in names[:1]}
