"""SAT-4 and SAT-6 (DeepSat): 28 px tiles of NAIP in one MATLAB file, or in CSV files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from graft.errors import GraftError, first_line
from graft.fit import Fit
from graft.labelled import LabelledTiles

SIDE, BANDS = 28, 4
_CHUNK = 10_000


class LabelledArrays(LabelledTiles):
    """Tiles of `sat-4-full.mat` or `sat-6-full.mat`, or of `X_test_sat4.csv` and `y_test_sat4.csv`.

    `test_x` is uint8 [28, 28, 4, N], red, green, blue and near infrared, of which the first three are shown as stored;
    `test_y` is one-hot [C, N]. A row of the CSV files is a tile in the order row, column, band, and a one-hot label.
    """

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        *,
        split: Literal["train", "test"] = "test",
        fit: Fit = "pad_reflect",
        image_size: int = 224,
    ) -> None:
        """Read all tiles of the split into memory (SAT-4: 235 MB for test, 941 MB for train).

        Args:
            root: folder of the `.mat` file, or of the CSV files.
            ids: C class ids in the order of the one-hot labels.
            split: which tiles.
            fit: see `fit_tile`.
            image_size: see `fit_tile`.

        Raises:
            GraftError: no such files, or arrays of another shape.
        """
        super().__init__(root, fit=fit, image_size=image_size, photos=None, photo_size=0)
        matrix, table = sorted(root.glob("sat-*-full.mat")), sorted(root.glob(f"X_{split}_sat*.csv"))
        if len(matrix) + len(table) != 1:
            raise GraftError(
                f"{root} holds {len(matrix)} files sat-*-full.mat and {len(table)} files X_{split}_sat*.csv; expected "
                "one of them. Change data.init_args.root."
            )
        tiles, labels = _read_matrix(matrix[0], split) if matrix else _read_tables(table[0], split)
        if labels.shape != (len(tiles), len(ids)) or not (labels.sum(axis=1) == 1).all():
            raise GraftError(
                f"{(matrix or table)[0]} has labels of shape {labels.shape} for {len(tiles)} tiles; expected one of "
                f"{len(ids)} classes each ({', '.join(ids)}). Change data.init_args.classes or root."
            )
        self._tiles = tiles
        self.names = [f"{split}-{number:06d}" for number in range(len(tiles))]
        self.labels = torch.from_numpy(labels.argmax(axis=1))
        self._check_photos(None)

    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(self._tiles[index])


Arrays = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def _read_matrix(path: Path, split: str) -> Arrays:
    """Tiles uint8 [N, 28, 28, 3] and one-hot labels [N, C]."""
    from scipy.io import loadmat

    wanted = [f"{split}_x", f"{split}_y"]
    try:
        held = loadmat(path, variable_names=wanted)
        tiles, labels = (held[name] for name in wanted)
        if tiles.shape[:3] != (SIDE, SIDE, BANDS) or tiles.dtype != np.uint8 or labels.ndim != 2:
            raise ValueError(f"{wanted[0]} is {tiles.dtype} {tiles.shape}, expected uint8 (28, 28, 4, N)")
    except Exception as error:  # scipy raises many types for a damaged file
        raise GraftError(f"{path} cannot be read as SAT-4 or SAT-6 ({first_line(error)}). Get it again.") from error
    return np.ascontiguousarray(tiles[:, :, :3].transpose(3, 0, 1, 2)), labels.T.astype(np.uint8)


def _read_tables(path: Path, split: str) -> Arrays:
    import pandas as pd

    beside = path.with_name(path.name.replace(f"X_{split}", f"y_{split}"))
    if not beside.is_file():
        raise GraftError(f"{path} lies there without its labels, {beside.name}. Put both into one folder.")
    try:
        labels = pd.read_csv(beside, header=None, dtype=np.uint8).to_numpy()
        tiles = np.empty((len(labels), SIDE, SIDE, 3), np.uint8)
        first = 0
        with tqdm(total=len(labels), desc=path.name, unit="tile", leave=False) as progress:
            for chunk in pd.read_csv(path, header=None, dtype=np.uint8, chunksize=_CHUNK):
                part = chunk.to_numpy().reshape(-1, SIDE, SIDE, BANDS)
                if first + len(part) > len(labels):
                    raise ValueError(f"more tiles than the {len(labels)} labels")
                tiles[first : first + len(part)] = part[..., :3]
                first += len(part)
                progress.update(len(part))
        if first != len(labels):
            raise ValueError(f"{first} tiles and {len(labels)} labels")
    except (ValueError, OSError, OverflowError) as error:
        raise GraftError(f"{path} cannot be read as SAT-4 or SAT-6 ({first_line(error)}). Get it again.") from error
    return tiles, labels
