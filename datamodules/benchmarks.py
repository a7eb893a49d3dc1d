"""Evaluation data by the shape of the task: labelled folders and patches, each tile read once, in order."""

from pathlib import Path
from typing import Literal, Protocol, TypeVar

from lightning import LightningDataModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset

from graft.bigearthnet import Nomenclature
from graft.fit import Fit
from graft.gallery import LabelledGallery
from graft.labelled import LabelledFolder, LabelledSample, LabelledTiles, collate_labelled
from graft.patches import LabelledPatches
from graft.prompts import class_ids
from graft.sensors import get_sensor

Sample = TypeVar("Sample", covariant=True)


class Shareable(Protocol[Sample]):
    """A dataset that says what each process reads."""

    def share(self, rank: int, world: int) -> Subset[Sample]:
        """What process `rank` of `world` reads."""


def own_share(dataset: Shareable[Sample], trainer: Trainer | None) -> Subset[Sample]:
    """What this process reads; everything without a trainer."""
    return dataset.share(0, 1) if trainer is None else dataset.share(trainer.global_rank, trainer.world_size)


def whole(share: Dataset[Sample]) -> DistributedSampler[Sample]:
    """A sampler of all of `share` in order.

    A distributed sampler of one process is a plain sequence that Lightning does not replace by its own, which would
    share the share out again.
    """
    return DistributedSampler(share, num_replicas=1, rank=0, shuffle=False)


def labelled_loader(
    dataset: Shareable[LabelledSample], trainer: Trainer | None, batch_size: int, num_workers: int
) -> DataLoader[LabelledSample]:
    """This process's share of a dataset, in its order; batches are `graft.batch.LabelledBatch`."""
    share = own_share(dataset, trainer)
    return DataLoader(
        share,
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate_labelled,
        sampler=whole(share),
        pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
    )


class LabelledTilesModule(LightningDataModule):
    """Loads one `LabelledTiles` dataset in test; subclasses make it.

    Attributes:
        multilabel: whether an image has several labels.
        has_photos: whether tiles come with photos of their place.
        classes: class ids in label order, checked against the model's words.
        preprocessing: how a stored image became a tile, for the result row.
        radiometry: rendering of stored numbers where a sensor row did it, else None.
        mixtures: float32 [N, C], share of each class in each tile (`LabelledBatch.index` is the row); None where nobody
            knows. Set by `setup`.
    """

    multilabel: bool
    has_photos: bool
    mixtures: Tensor | None = None

    def __init__(self, classes: str, fit: Fit, image_size: int, batch_size: int, num_workers: int) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            classes: prompt set (name or path) or text-vector file.
            fit: see `graft.fit.fit_tile`.
            image_size: side in pixels of the fitted tile; without effect under `native`.
            batch_size: tiles a step.
            num_workers: decoding processes; 0 decodes in the main process.
        """
        super().__init__()
        self.classes = class_ids(classes)
        self.preprocessing = "native size" if fit == "native" else f"{fit} to {image_size} px"
        self.radiometry: str | None = None
        self._batch_size, self._num_workers = batch_size, num_workers
        self._dataset: LabelledTiles | None = None

    def _make_dataset(self) -> LabelledTiles:
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """List the files; every process does so for itself."""
        if self._dataset is None:
            self._dataset = self._make_dataset()
            self.mixtures = self._dataset.mixtures
            rank_zero_info(
                f"{len(self._dataset)} tiles of {len(self.classes)} classes, {self._dataset.photo_count} photos, "
                f"{self._dataset.ignored} other files ignored" + "".join(f"; {note}" for note in self._dataset.notes)
            )

    def test_dataloader(self) -> DataLoader[LabelledSample]:
        """This process's share of the tiles, in their order; batches are `graft.batch.LabelledBatch`."""
        if self._dataset is None:
            raise RuntimeError("setup() has not run")
        return labelled_loader(self._dataset, self.trainer, self._batch_size, self._num_workers)


class ClassificationFolder(LabelledTilesModule):
    """Single-label benchmark, one folder per class: EuroSAT, AID, UC Merced, NWPU-RESISC45, the embedded world."""

    multilabel = False

    def __init__(
        self,
        root: Path,
        classes: str,
        fit: Fit = "native",
        image_size: int = 224,
        split: Path | None = None,
        photos: Path | None = None,
        photo_size: int = 224,
        layout: Literal["folders", "names"] = "folders",
        sensor: str | None = None,
        bands: tuple[int, int, int] = (1, 2, 3),
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of the class folders, or one above it.
            classes: prompt set (name or path) or text-vector file; its ids are the folders, its order the labels.
            fit: `native`, `pad_reflect`, `pad_zero` or `resize`, see `graft.fit.fit_tile`.
            image_size: side in pixels of the fitted tile; without effect under `native`.
            split: text file naming the images of a split, one a line; all images without it.
            photos: CSV (tile, path) of ground photos of the same places, for the ceiling.
            photo_size: side in pixels that photos are decoded to: the teacher's.
            layout: `folders`, or `names` where the class is the stem of the file name (WHU-RS19's `airport_01.jpg`).
            sensor: row of `sensors.yaml` that renders rasters of stored numbers (EuroSAT's 13 bands); null takes
                pictures of 8 bits as they are.
            bands: numbers (from 1) of the red, green and blue band in such rasters.
            batch_size: tiles a step.
            num_workers: decoding processes; 0 decodes in the main process.
        """
        super().__init__(classes, fit, image_size, batch_size, num_workers)
        self._root, self._fit, self._image_size, self._split = root, fit, image_size, split
        self._photos, self._photo_size, self._layout = photos, photo_size, layout
        self._sensor, self._bands = None if sensor is None else get_sensor(sensor), bands
        self.has_photos = photos is not None
        self.radiometry = None if self._sensor is None else self._sensor.radiometry
        self.preprocessing = f"{self.radiometry or '8-bit RGB as stored'}, {self.preprocessing}"

    def _make_dataset(self) -> LabelledTiles:
        return LabelledFolder(
            self._root,
            self.classes,
            fit=self._fit,
            image_size=self._image_size,
            split=self._split,
            photos=self._photos,
            photo_size=self._photo_size,
            layout=self._layout,
            sensor=self._sensor,
            bands=self._bands,
        )


class BigEarthNetFolder(LabelledTilesModule):
    """Multi-label benchmark in the BigEarthNet v1 layout, bands rendered by a row of `sensors.yaml`."""

    multilabel = True

    def __init__(
        self,
        root: Path,
        classes: str,
        sensor: str,
        fit: Fit = "native",
        image_size: int = 224,
        split: Path | None = None,
        photos: Path | None = None,
        photo_size: int = 224,
        nomenclature: Nomenclature = "43",
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of the patch folders, or one above it.
            classes: prompt set (name or path) or text-vector file; its ids are the labels.
            sensor: row of `sensors.yaml` that renders the bands.
            fit: `native`, `pad_reflect`, `pad_zero` or `resize`, see `graft.fit.fit_tile`.
            image_size: side in pixels of the fitted tile; without effect under `native`.
            split: text or CSV file, the first column naming the patches of a split; all patches without it.
            photos: CSV (tile, path) of ground photos of the same places, for the ceiling.
            photo_size: side in pixels that photos are decoded to: the teacher's.
            nomenclature: `43`, the labels as stored, or `19`, their published groups (prompts `bigearthnet19`).
            batch_size: tiles a step.
            num_workers: decoding processes; 0 decodes in the main process.
        """
        super().__init__(classes, fit, image_size, batch_size, num_workers)
        self._root, self._fit, self._image_size, self._split = root, fit, image_size, split
        self._photos, self._photo_size, self._sensor = photos, photo_size, get_sensor(sensor)
        self._nomenclature = nomenclature
        self.has_photos = photos is not None
        self.radiometry = self._sensor.radiometry
        self.preprocessing = f"{self.radiometry}, {self.preprocessing}"

    def _make_dataset(self) -> LabelledTiles:
        return LabelledPatches(
            self._root,
            self.classes,
            self._sensor,
            fit=self._fit,
            image_size=self._image_size,
            split=self._split,
            photos=self._photos,
            photo_size=self._photo_size,
            nomenclature=self._nomenclature,
        )


class GalleryFolder(LabelledTilesModule):
    """Gallery to search, with the mixture of classes in each tile and the class of each photo: the embedded world's."""

    multilabel = True

    def __init__(
        self,
        root: Path,
        classes: str,
        fit: Fit = "native",
        image_size: int = 224,
        photos: Path | None = None,
        photo_size: int = 224,
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of `tiles` and `mixtures.csv`.
            classes: prompt set (name or path) or text-vector file; its ids are the columns of `mixtures.csv`.
            fit: `native`, `pad_reflect`, `pad_zero` or `resize`, see `graft.fit.fit_tile`.
            image_size: side in pixels of the fitted tile; without effect under `native`.
            photos: CSV (tile, path, subject) of ground photos taken in the tiles.
            photo_size: side in pixels that photos are decoded to: the teacher's.
            batch_size: tiles a step.
            num_workers: decoding processes; 0 decodes in the main process.
        """
        super().__init__(classes, fit, image_size, batch_size, num_workers)
        self._root, self._fit, self._image_size = root, fit, image_size
        self._photos, self._photo_size = photos, photo_size
        self.has_photos = photos is not None
        self.preprocessing = f"8-bit RGB as stored, {self.preprocessing}"

    def _make_dataset(self) -> LabelledTiles:
        return LabelledGallery(
            self._root,
            self.classes,
            fit=self._fit,
            image_size=self._image_size,
            photos=self._photos,
            photo_size=self._photo_size,
        )
