"""Labelled benchmark folders as map-style datasets: one image in, one tile, its label and its photos out.

A file that cannot be read costs itself: the sample then says why, `collate_labelled` leaves it out and passes the
reason on in `LabelledBatch.skipped`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from graft.batch import LabelledBatch
from graft.catalogue import advice
from graft.errors import GraftError
from graft.fit import UNREADABLE, Fit, fit_tile, read_photo, read_rgb
from graft.listing import (
    IMAGE_SUFFIXES,
    compare_classes,
    descend,
    list_by_folder,
    list_by_name,
    read_photo_table,
    select_split,
)
from graft.sensors import Sensor


@dataclass(frozen=True)
class LabelledSample:
    """One item of a dataset here.

    Attributes:
        name: file or patch name.
        label: int64 [] or bool [C].
        tile: uint8 [3, H, W]; None where it could not be read.
        photos: uint8 [3, S, S] each.
        fault: why `tile` is None.
        photo_faults: one reason for every photo left out.
        index: place of the item in the dataset.
        photo_labels: what each of `photos` shows; empty where nobody knows.
    """

    name: str
    label: Tensor
    tile: Tensor | None
    photos: tuple[Tensor, ...] = ()
    fault: str = ""
    photo_faults: tuple[str, ...] = ()
    index: int = 0
    photo_labels: tuple[int, ...] = ()


class LabelledTiles(Dataset[LabelledSample], ABC):
    """What the benchmark folders have in common: fitting, photos, and faults that cost one sample.

    Attributes:
        names: N file or patch names.
        labels: int64 [N] or bool [N, C].
        photo_count: photos listed for these tiles.
        ignored: files in the class folders that are no images by their ending.
        mixtures: float32 [N, C], share of each class in each tile; None where nobody knows.
        notes: what a person should know of the tiles.
    """

    names: list[str]
    labels: Tensor
    photo_count = 0
    ignored = 0
    mixtures: Tensor | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, root: Path, *, fit: Fit, image_size: int, photos: Path | None, photo_size: int) -> None:
        """Keep the settings and read the photo table.

        Args:
            root: the benchmark's folder.
            fit: see `fit_tile`.
            image_size: see `fit_tile`.
            photos: CSV with the columns `tile` (file stem or patch name) and `path` (relative to the CSV), or None.
            photo_size: side S of the decoded photos in pixels.

        Raises:
            GraftError: no such folder or table.
        """
        if not root.is_dir():
            raise GraftError(f"No benchmark folder at {root}. {advice(root)}")
        self._fit, self._image_size, self._photo_size = fit, image_size, photo_size
        self._photos = read_photo_table(photos) if photos is not None else {}
        self._photo_labels: dict[str, list[int]] = {}
        self._expected_shape: tuple[int, ...] | None = None

    def _check_photos(self, table: Path | None) -> None:
        self.photo_count = sum(len(self._photos.get(name, ())) for name in self.names)
        if table is not None and not self.photo_count:
            raise GraftError(
                f"None of the tiles named in {table} is in the benchmark, e.g. {next(iter(self._photos), '')}."
            )
        if self._fit == "native" and self.names:
            try:
                self._expected_shape = self._read_tile(0).shape
            except UNREADABLE:  # reported when its turn comes
                self._expected_shape = None

    @abstractmethod
    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        """Decode tile `index` as uint8 [H, W, 3] display values."""

    def __len__(self) -> int:
        """Number of tiles, readable or not."""
        return len(self.names)

    def share(self, rank: int, world: int) -> Subset[LabelledSample]:
        """What process `rank` of `world` reads: every `world`-th tile from `rank` on, so that none is read twice.

        Lightning's own sampler repeats tiles until every process has equally many, and counts them twice.

        Raises:
            GraftError: fewer tiles than processes.
        """
        if len(self) < world:
            raise GraftError(f"{len(self)} tiles cannot be shared by {world} processes. Set trainer.devices to 1.")
        return Subset(self, range(rank, len(self), world))

    def __getitem__(self, index: int) -> LabelledSample:
        """Decode tile `index` and the photos of its place."""
        name, label = self.names[index], self.labels[index]
        try:
            tile = fit_tile(self._read_tile(index), self._fit, self._image_size)
            if self._expected_shape is not None and tile.shape != self._expected_shape:
                raise ValueError(
                    f"is {tile.shape[1]} x {tile.shape[0]} px, the first tile {self._expected_shape[1]} x "
                    f"{self._expected_shape[0]}; use fit: resize"
                )
        except UNREADABLE as error:
            return LabelledSample(name, label, None, fault=f"{name}: {error}", index=index)
        photos, faults = [], []
        kept: list[int] = []
        known = self._photo_labels.get(name, ())
        for number, path in enumerate(self._photos.get(name, ())):
            try:
                photos.append(read_photo(path, self._photo_size))
                kept += known[number : number + 1]
            except UNREADABLE as error:
                faults.append(f"{path}: {error}")
        pixels = torch.from_numpy(np.array(tile)).permute(2, 0, 1).contiguous()
        return LabelledSample(name, label, pixels, tuple(photos), "", tuple(faults), index, tuple(kept))


class LabelledFolder(LabelledTiles):
    """Single-label benchmark: one folder per class (EuroSAT, AID, UC Merced), or the class in the file's name."""

    def __init__(
        self,
        root: Path,
        ids: Sequence[str],
        *,
        fit: Fit = "native",
        image_size: int = 224,
        split: Path | None = None,
        photos: Path | None = None,
        photo_size: int = 224,
        layout: Literal["folders", "names"] = "folders",
        sensor: Sensor | None = None,
        bands: Sequence[int] = (1, 2, 3),
    ) -> None:
        """List the images; nothing is decoded yet but the first tile's size.

        Args:
            root: folder of the class folders, or one above it (`2750/` is found).
            ids: C class ids; their order is the label index.
            fit: see `fit_tile`.
            image_size: see `fit_tile`.
            split: text file that names the images of a split, one a line; None takes all.
            photos: see `LabelledTiles`.
            photo_size: see `LabelledTiles`.
            layout: `folders`, or `names` where `airport_01.jpg` in one folder is of class `airport`.
            sensor: renders the stored numbers of rasters; None takes pictures of 8 bits as they are.
            bands: numbers (from 1) of the red, green and blue band in these rasters.

        Raises:
            GraftError: no such folder, classes that differ from `ids`, or a split that names no image or another's.
        """
        super().__init__(root, fit=fit, image_size=image_size, photos=photos, photo_size=photo_size)
        found = list_by_name(root) if layout == "names" else list_by_folder(descend(root, ids))
        compare_classes(root, set(found), ids)
        files = [(path, index) for index, label in enumerate(ids) for path in sorted(found[label])]
        self.ignored = sum(path.suffix.lower() not in IMAGE_SUFFIXES for path, _ in files)
        files = [(path, index) for path, index in files if path.suffix.lower() in IMAGE_SUFFIXES]
        if split is not None:
            chosen = select_split([path for path, _ in files], split)
            files = [(path, index) for path, index in files if path in chosen]
        if not files:
            raise GraftError(
                f"{root} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}). Change data.init_args.root (probe)."
            )
        self._paths, self._sensor, self._bands = [path for path, _ in files], sensor, list(bands)
        self.names = [path.stem for path in self._paths]
        self.labels = torch.tensor([index for _, index in files])
        self._check_photos(photos)

    def _read_tile(self, index: int) -> npt.NDArray[np.uint8]:
        if self._sensor is None:
            return read_rgb(self._paths[index])
        with rasterio.open(self._paths[index]) as raster:
            if raster.count < max(self._bands):
                raise ValueError(f"has {raster.count} bands; expected at least {max(self._bands)}")
            return self._sensor.to_display(raster.read(self._bands).transpose(1, 2, 0))


def collate_labelled(samples: Sequence[LabelledSample]) -> LabelledBatch:
    """Join samples to a batch; those without a tile are left out and named in `skipped`.

    Photos are padded with zeros to the most photos of a tile; without any photo `photo` is None.
    """
    good = [(sample, sample.tile) for sample in samples if sample.tile is not None]
    most = max((len(sample.photos) for sample, _ in good), default=0)
    photo = mask = label = None
    if most:
        size = next(photo.shape for sample, _ in good for photo in sample.photos)
        photo = torch.zeros(len(good), most, *size, dtype=torch.uint8)
        mask = torch.zeros(len(good), most, dtype=torch.bool)
        for row, (sample, _) in enumerate(good):
            for column, pixels in enumerate(sample.photos):
                photo[row, column], mask[row, column] = pixels, True
        if any(sample.photo_labels for sample, _ in good):
            label = torch.full((len(good), most), -1)
            for row, (sample, _) in enumerate(good):
                label[row, : len(sample.photo_labels)] = torch.tensor(sample.photo_labels, dtype=torch.int64)
    return LabelledBatch(
        tile=torch.stack([tile for _, tile in good]) if good else torch.zeros(0, 3, 1, 1, dtype=torch.uint8),
        label=torch.stack([sample.label for sample, _ in good]) if good else samples[0].label[None][:0],
        name=tuple(sample.name for sample, _ in good),
        photo=photo,
        photo_mask=mask,
        photo_label=label,
        index=torch.tensor([sample.index for sample, _ in good], dtype=torch.int64),
        skipped=tuple(sample.fault for sample in samples if sample.tile is None),
        skipped_photos=tuple(fault for sample in samples for fault in sample.photo_faults),
    )
