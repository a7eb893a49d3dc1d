"""Label profiles: which stored number of a label map means which class (`label_profiles.yaml`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from graft.errors import GraftError
from graft.segmentation_metrics import IGNORED

_VALUES = 1 << 16


@dataclass(frozen=True)
class LabelProfile:
    """Stored numbers and the classes they mean.

    Attributes:
        name: row of `label_profiles.yaml`, or the file.
        classes: stored number -> class index.
        ignore: stored numbers that are not scored.
    """

    name: str
    classes: dict[int, int]
    ignore: frozenset[int]

    def apply(self, stored: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
        """Stored numbers to class indices.

        Args:
            stored: any integers [H, W].

        Returns:
            uint8 [H, W], class indices or `IGNORED`.

        Raises:
            ValueError: a number that the profile does not know.
        """
        known = np.zeros(_VALUES, bool)
        table = np.full(_VALUES, IGNORED, np.uint8)
        for value, index in self.classes.items():
            table[value] = index
        known[[*self.classes, *self.ignore]] = True
        inside = (stored >= 0) & (stored < _VALUES)
        fits = inside & known[np.where(inside, stored, 0)]
        if not fits.all():
            unknown = np.unique(stored[~fits])
            listed = ", ".join(map(str, unknown[:5].tolist()))
            raise ValueError(
                f"the label holds {listed}{', …' if len(unknown) > 5 else ''}, but profile {self.name} knows "
                f"{', '.join(map(str, sorted((*self.classes, *self.ignore))))}"
            )
        mapped: npt.NDArray[np.uint8] = table[stored]
        return mapped


def index_profile(ids: Sequence[str]) -> LabelProfile:
    """The profile of label maps that store the class index itself, and 255 for what is not scored."""
    return LabelProfile("index", {index: index for index in range(len(ids))}, frozenset({IGNORED}))


def profile_names() -> tuple[str, ...]:
    """Names of all rows of `label_profiles.yaml`."""
    return tuple(_table())


def _table() -> dict[str, Any]:
    rows: dict[str, Any] = yaml.safe_load((files("graft") / "label_profiles.yaml").read_text(encoding="utf-8"))
    return rows


def load_profile(name_or_path: str | Path, ids: Sequence[str]) -> LabelProfile:
    """Load a label profile by name, or a YAML file with `values` and `ignore`, by path.

    Args:
        name_or_path: `index` for label maps that store the class index, a row of `label_profiles.yaml`, or a file.
        ids: C class ids of the prompt set, in label order.

    Raises:
        GraftError: unknown name, a file that breaks the form, or classes that the prompt set does not have.
    """
    name = str(name_or_path)
    if name == "index":
        return index_profile(ids)
    row = _table().get(name)
    if row is None:
        row = _read(Path(name_or_path))
    match row:
        case {"values": dict(values), "ignore": list(ignore), **rest} if not rest:
            pass
        case _:
            raise GraftError(f"Label profile {name}: expected the keys values (number: class id) and ignore (a list).")
    numbers = [*values, *ignore]
    if not all(isinstance(n, int) and 0 <= n < _VALUES for n in numbers) or len(set(numbers)) < len(numbers):
        raise GraftError(f"Label profile {name}: expected whole numbers, each of them once, found {numbers}.")
    meant = {value: str(label) for value, label in values.items()}  # YAML reads a bare 1 as a number
    missing = sorted(set(meant.values()) - set(ids))
    if missing:
        raise GraftError(
            f"Label profile {name} means the classes {', '.join(missing)}, which the prompt set lacks: it has "
            f"{', '.join(ids)}. Change data.init_args.profile or classes."
        )
    return LabelProfile(name, {value: ids.index(label) for value, label in meant.items()}, frozenset(ignore))


def _read(path: Path) -> object:
    if not path.is_file():
        raise GraftError(
            f"No label profile {str(path)!r}: expected the path of a YAML file, index, or one of "
            f"{', '.join(profile_names())}."
        )
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise GraftError(f"Label profile {path} is not YAML: {' '.join(str(error).split())}") from error
