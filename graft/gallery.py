"""A gallery to search: tiles with the mixture of classes in each, and photos with the class that each shows.

A folder of `tiles/<tile>.jpg`, `mixtures.csv` (tile, then a share 0..1 for each class) and `photos.csv` (tile, path,
subject), as the embedded world writes it.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from graft.errors import GraftError
from graft.fit import Fit, read_rgb
from graft.labelled import LabelledTiles
from graft.listing import IMAGE_SUFFIXES

PRESENT = 0.12
"""Share of a tile from which on a class is present: that of the embedded world's other benchmarks."""


class LabelledGallery(LabelledTiles):
    """Tiles with known mixtures; the labels are the classes present.

    Unlike the multi-label benchmark it leaves no tile out whose labels are in doubt: photos are searched among all
    tiles. A class with a share below `PRESENT` counts as absent.

    Attributes:
        mixtures: float32 [N, C], share of each class in each tile.
    """

    mixtures: Tensor

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        *,
        fit: Fit = "native",
        image_size: int = 224,
        photos: Path | None = None,
        photo_size: int = 224,
    ) -> None:
        """Read the tables; nothing is decoded yet but the first tile's size.

        Args:
            root: folder of `tiles` and `mixtures.csv`.
            ids: C class ids, the columns of `mixtures.csv`; their order is the label index.
            fit: see `fit_tile`.
            image_size: see `fit_tile`.
            photos: CSV with the columns tile, path (relative to the CSV) and subject (a class id), or None.
            photo_size: see `LabelledTiles`.

        Raises:
            GraftError: no such folder or table, tiles that differ from the table's, other classes, a share that is
                none, or a subject that is no class.
        """
        super().__init__(root, fit=fit, image_size=image_size, photos=photos, photo_size=photo_size)
        table = root / "mixtures.csv"
        mixtures = _read_mixtures(table, ids)
        files = sorted(path for path in (root / "tiles").glob("*") if not path.name.startswith("."))
        self._paths = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
        self.ignored = len(files) - len(self._paths)
        self.names = [path.stem for path in self._paths]
        if not self.names or len(set(self.names)) < len(self.names) or set(self.names) != set(mixtures):
            odd = sorted(set(self.names) ^ set(mixtures))
            raise GraftError(
                f"{root / 'tiles'} holds {len(self.names)} images, {table.name} has {len(mixtures)} rows; expected one "
                f"image for each row (the first without the other: {', '.join(odd[:3]) or 'none'}). Unpack it again."
            )
        self.mixtures = torch.tensor([mixtures[name] for name in self.names], dtype=torch.float32)
        self.labels = self.mixtures >= PRESENT
        if photos is not None:
            self._photo_labels = _read_subjects(photos, ids)
        self._check_photos(photos)

    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        return read_rgb(self._paths[index])


def _read_mixtures(table: Path, ids: Sequence[str]) -> dict[str, list[float]]:
    """Tile -> share of each class, in the order of `ids`."""
    if not table.is_file():
        raise GraftError(
            f"No table of mixtures at {table}. Change data.init_args.root, or build the world again (graft atlas)."
        )
    mixtures: dict[str, list[float]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or ()) - {"tile"}
        if columns != set(ids) or "tile" not in (reader.fieldnames or ()):
            raise GraftError(
                f"{table} has the columns {', '.join(reader.fieldnames or ()) or 'none'}; expected tile and the "
                f"classes {', '.join(ids)}. Change data.init_args.classes."
            )
        for row in reader:
            try:
                shares = [float(row[name]) for name in ids]
            except (TypeError, ValueError):
                shares = [float("nan")]
            if row["tile"] in mixtures or not all(0 <= share <= 1 for share in shares):
                raise GraftError(
                    f"{table}, line {reader.line_num}: expected a tile that no other line has and a share 0..1 for "
                    "each class. Build the world again (graft atlas), or mend the line."
                )
            mixtures[row["tile"]] = shares
    return mixtures


def _read_subjects(table: Path, ids: Sequence[str]) -> dict[str, list[int]]:
    """Tile -> label of each of its photos, in the order of the table."""
    labels = {name: number for number, name in enumerate(ids)}
    subjects: dict[str, list[int]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            if row.get("subject") not in labels:
                raise GraftError(
                    f"{table}, line {reader.line_num}: the subject is {row.get('subject')!r}; expected one of the "
                    f"classes {', '.join(ids)}. Change data.init_args.classes, or leave photos out."
                )
            subjects.setdefault(row["tile"], []).append(labels[row["subject"]])
    return subjects
