"""BigEarthNet's two nomenclatures, and version 2 of the set (reBEN)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import rasterio
import torch

from graft.errors import GraftError, first_line, import_extra
from graft.fit import Fit
from graft.labelled import LabelledTiles
from graft.sensors import Sensor

Nomenclature = Literal["43", "19"]
SplitV2 = Literal["train", "validation", "test"]

GROUPS: dict[str, tuple[str, ...]] = {
    "Urban fabric": ("Continuous urban fabric", "Discontinuous urban fabric"),
    "Industrial or commercial units": ("Industrial or commercial units",),
    "Arable land": ("Non-irrigated arable land", "Permanently irrigated land", "Rice fields"),
    "Permanent crops": (
        "Vineyards",
        "Fruit trees and berry plantations",
        "Olive groves",
        "Annual crops associated with permanent crops",
    ),
    "Pastures": ("Pastures",),
    "Complex cultivation patterns": ("Complex cultivation patterns",),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
    ),
    "Agro-forestry areas": ("Agro-forestry areas",),
    "Broad-leaved forest": ("Broad-leaved forest",),
    "Coniferous forest": ("Coniferous forest",),
    "Mixed forest": ("Mixed forest",),
    "Natural grassland and sparsely vegetated areas": ("Natural grassland", "Sparsely vegetated areas"),
    "Moors, heathland and sclerophyllous vegetation": ("Moors and heathland", "Sclerophyllous vegetation"),
    "Transitional woodland, shrub": ("Transitional woodland/shrub",),
    "Beaches, dunes, sands": ("Beaches, dunes, sands",),
    "Inland wetlands": ("Inland marshes", "Peatbogs"),
    "Coastal wetlands": ("Salt marshes", "Salines"),
    "Inland waters": ("Water courses", "Water bodies"),
    "Marine waters": ("Coastal lagoons", "Estuaries", "Sea and ocean"),
}
"""The 19 classes and the CORINE classes (version 1's 43 labels) that each is made of (Sumbul et al., 2021).

Eleven of the 43 are in none: a patch may be left without any label.
"""
_PARENT = {child: parent for parent, children in GROUPS.items() for child in children}


def parents(labels: Iterable[str]) -> list[str]:
    """The 19-class labels of a patch with these of the 43; those without one are left out."""
    return list(dict.fromkeys(_PARENT[label] for label in labels if label in _PARENT))


def read_patch(folder: Path, sensor: Sensor) -> npt.NDArray[np.uint8]:
    """A patch of either version, `<patch>/<patch>_<band>.tif`, rendered as uint8 [H, W, 3].

    Raises:
        rasterio.errors.RasterioError: a band that is missing or damaged.
    """
    bands = []
    for band in sensor.bands:
        with rasterio.open(folder / f"{folder.name}_{band}.tif") as raster:
            bands.append(raster.read(1))
    return sensor.to_display(np.stack(bands, axis=-1))


class LabelledPatchesV2(LabelledTiles):
    """BigEarthNet v2: `BigEarthNet-S2/<tile>/<patch>/<patch>_<band>.tif`, labels and splits in `metadata.parquet`."""

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        sensor: Sensor,
        *,
        split: SplitV2 = "test",
        fit: Fit = "native",
        image_size: int = 224,
    ) -> None:
        """Read labels; nothing is decoded yet.

        Args:
            root: folder of `metadata.parquet` and `BigEarthNet-S2`.
            ids: the 19 class ids; a patch's label is bool [19].
            sensor: which bands make the picture and how stored numbers become display values.
            split: of the column of that name.
            fit: see `fit_tile`.
            image_size: see `fit_tile`.

        Raises:
            GraftError: no such folder or table, no patch of the split, or labels that are not among `ids`.
        """
        super().__init__(root, fit=fit, image_size=image_size, photos=None, photo_size=0)
        self._sensor, self._root = sensor, root / "BigEarthNet-S2"
        if not self._root.is_dir():
            raise GraftError(f"{root} holds no folder BigEarthNet-S2. Unpack BigEarthNet-S2.tar.zst there.")
        table = _read_metadata(root / "metadata.parquet")
        chosen = table[table["split"] == split].sort_values("patch_id")
        if chosen.empty:
            raise GraftError(
                f"{root / 'metadata.parquet'} names no patch of split {split}. Change data.init_args.split."
            )
        self.names = [str(name) for name in chosen["patch_id"]]
        unknown = sorted({label for row in chosen["labels"] for label in row} - set(ids))
        if unknown:
            raise GraftError(
                f"{root / 'metadata.parquet'} has labels that are no class ids: {', '.join(unknown)}. Give a prompt "
                "set whose ids are the 19 labels, such as bigearthnet19."
            )
        self.labels = torch.tensor([[label in set(row) for label in ids] for row in chosen["labels"]])
        self._check_photos(None)

    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        name = self.names[index]
        return read_patch(self._root / name.rsplit("_", 2)[0] / name, self._sensor)


def _read_metadata(path: Path) -> Any:
    import_extra("pyarrow", "benchmarks")
    import pandas as pd

    if not path.is_file():
        raise GraftError(f"No {path.name} in {path.parent}. Put BigEarthNet v2's metadata.parquet there.")
    try:
        return pd.read_parquet(path, columns=["patch_id", "labels", "split"])
    except Exception as error:  # pandas and pyarrow raise many types for one fault
        raise GraftError(
            f"{path} cannot be read ({first_line(error)}); expected patch_id, labels and split. Get it again."
        ) from error
