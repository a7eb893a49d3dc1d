"""Sensors: the one place that knows how stored numbers become pictures (`sensors.yaml`)."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import yaml

from graft.errors import GraftError


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


@cache
def _table() -> dict[str, Sensor]:
    rows = yaml.safe_load((files("graft") / "sensors.yaml").read_text())
    return {
        name: Sensor(name, tuple(row["bands"]), row["gsd_m"], row["scale"], row["offset"], tuple(row["display"]))
        for name, row in rows.items()
    }


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
            f"Unknown sensor {name!r}. Known sensors: {known}. A new sensor is a new row of graft/sensors.yaml."
        ) from None
