"""Multi-label patches in the BigEarthNet v1 layout as a map-style dataset."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from graft.bigearthnet import Nomenclature, parents, read_patch
from graft.errors import GraftError
from graft.fit import Fit
from graft.labelled import LabelledTiles
from graft.listing import patch_folders, select_split
from graft.sensors import Sensor


class LabelledPatches(LabelledTiles):
    """Multi-label benchmark in the BigEarthNet v1 layout: a folder per patch, a GeoTIFF per band, labels as JSON."""

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        sensor: Sensor,
        *,
        fit: Fit = "native",
        image_size: int = 224,
        split: Path | None = None,
        photos: Path | None = None,
        photo_size: int = 224,
        nomenclature: Nomenclature = "43",
    ) -> None:
        """List the patches and read their labels.

        Args:
            root: folder of the patch folders, or one above it (`BigEarthNet-v1.0/` is found).
            ids: C class ids; a patch's label is bool [C].
            sensor: which bands make the picture and how stored numbers become display values.
            fit: see `fit_tile`.
            image_size: see `fit_tile`.
            split: text or CSV file whose first column names the patches of a split; None takes all.
            photos: see `LabelledTiles`.
            photo_size: see `LabelledTiles`.
            nomenclature: `43`, the labels as stored, or the `19` that they are grouped to.

        Raises:
            GraftError: no such folder, no patch, labels that are not among `ids`, or a split that names other patches.
        """
        super().__init__(root, fit=fit, image_size=image_size, photos=photos, photo_size=photo_size)
        self._sensor = sensor
        folders = patch_folders(root)
        if split is not None:
            folders = sorted(select_split(folders, split))
        self._folders = folders
        self.names = [folder.name for folder in folders]
        self._broken: dict[int, str] = {}
        labels = [self._read_labels(i) for i in tqdm(range(len(folders)), desc="labels", unit="patch", leave=False)]
        if nomenclature == "19":
            labels = [parents(row) for row in labels]
            self.notes = (f"{sum(not row for row in labels)} patches have none of the 19 classes",)
        unknown = sorted({label for row in labels for label in row} - set(ids))
        if unknown:
            raise GraftError(
                f"{root} has labels that are no class ids: {', '.join(unknown)}. The ids are {', '.join(ids)}. "
                "Give a prompt set whose ids are the labels."
            )
        self.labels = torch.tensor([[label in row for label in ids] for row in labels])
        self._check_photos(photos)

    def _read_labels(self, index: int) -> list[str]:
        folder = self._folders[index]
        try:
            labels = json.loads((folder / f"{folder.name}_labels_metadata.json").read_text(encoding="utf-8"))["labels"]
            if not isinstance(labels, list):
                raise ValueError("'labels' is no list")
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._broken[index] = f"labels cannot be read ({error!r})"
            return []
        return [str(label) for label in labels]

    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        if index in self._broken:
            raise ValueError(self._broken[index])
        return read_patch(self._folders[index], self._sensor)
