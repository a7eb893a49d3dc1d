"""Sensors: the one place that knows how stored numbers become pictures (`sensors.yaml`).

A `sensors.yaml` in the working folder adds rows of your own; a model folder brings the row that its tiles were
rendered by.
"""

from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from graft.errors import GraftError, first_line

_EXAMPLE = "`mine: {bands: [B4, B3, B2], gsd_m: 10, scale: 0.0001, offset: 0, display: [0.0, 0.3]}`"


@dataclass(frozen=True)
class Sensor:
    """One row of `sensors.yaml`.

    Attributes:
        name: key of the row.
        bands: band descriptions in the order red, green, blue.
        gsd_m: ground sampling distance of a tile, metres per pixel.
        scale: reflectance per stored unit, after the offset is added.
        offset: added to a stored number before scaling.
        display: reflectance shown as 0 and as 255.
    """

    name: str
    bands: tuple[str, ...]
    gsd_m: float
    scale: float
    offset: float
    display: tuple[float, float]

    @property
    def radiometry(self) -> str:
        """The rendering in words, as recorded in shards and checkpoints."""
        low, high = self.display
        return f"({'+'.join(self.bands)} {self.offset:+g}) * {self.scale:g} -> [{low:g}, {high:g}]"

    def to_display(self, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        """Render stored numbers of any shape and numeric dtype as uint8 0..255."""
        low, high = self.display
        reflectance = (stored.astype(np.float32) + self.offset) * self.scale
        shown: npt.NDArray[np.uint8] = np.rint(np.clip((reflectance - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        return shown

    def from_display(self, shown: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Invert `to_display`: stored numbers (float32, not rounded) that render as `shown` (0..255)."""
        low, high = self.display
        reflectance = low + shown.astype(np.float32) / 255 * (high - low)
        return (reflectance / self.scale - self.offset).astype(np.float32)

    @property
    def plain(self) -> dict[str, object]:
        """The row in plain types, with its name."""
        return {**asdict(self), "bands": list(self.bands), "display": list(self.display)}


@cache
def _table() -> dict[str, Sensor]:
    table = _rows((files("graft") / "sensors.yaml").read_text(), "graft/sensors.yaml")
    own = Path("sensors.yaml")
    if own.is_file():
        for sensor in _rows(own.read_text(encoding="utf-8"), str(own.absolute())).values():
            _add(table, sensor, str(own.absolute()))
    return table


def _rows(text: str, where: str) -> dict[str, Sensor]:
    """Rows of a YAML file.

    Raises:
        GraftError: not YAML, or a row that lacks something.
    """
    try:
        return {
            str(name): Sensor(
                str(name),
                tuple(str(band) for band in row["bands"]),
                float(row["gsd_m"]),
                float(row["scale"]),
                float(row["offset"]),
                (float(row["display"][0]), float(row["display"][1])),
            )
            for name, row in yaml.safe_load(text).items()
        }
    except (yaml.YAMLError, AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
        raise GraftError(
            f"{where} is no table of sensors ({first_line(error)}); expected rows such as {_EXAMPLE}. Correct it."
        ) from error


def _add(table: dict[str, Sensor], sensor: Sensor, where: str) -> None:
    known = table.get(sensor.name)
    if known is not None and known != sensor:
        raise GraftError(
            f"{where} renders sensor {sensor.name} as {sensor.radiometry} at {sensor.gsd_m:g} m; here {sensor.name} is "
            f"{known.radiometry} at {known.gsd_m:g} m. Rename your own row of sensors.yaml."
        )
    table[sensor.name] = sensor


def add_sensor(sensor: Sensor) -> None:
    """Make a sensor known to this process.

    Raises:
        GraftError: another one has its name.
    """
    _add(_table(), sensor, "A model folder")


def sensor_names() -> tuple[str, ...]:
    """Names of all rows of `sensors.yaml`."""
    return tuple(_table())


def get_sensor(name: str) -> Sensor:
    """Look a sensor up by name.

    Raises:
        GraftError: the name is not in `sensors.yaml`.
    """
    try:
        return _table()[name]
    except KeyError:
        known = ", ".join(sensor_names())
        raise GraftError(
            f"Unknown sensor {name!r}. Known sensors: {known}. Write a row of your own to a file sensors.yaml in "
            f"the working folder, such as {_EXAMPLE}."
        ) from None
