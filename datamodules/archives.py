"""Evaluation data in archives of their own kind: SAT-4 and SAT-6, fMoW, BigEarthNet v2."""

from pathlib import Path
from typing import Literal

from datamodules.benchmarks import LabelledTilesModule
from graft.bigearthnet import LabelledPatchesV2, SplitV2
from graft.deepsat import LabelledArrays
from graft.fit import Fit
from graft.fmow import LabelledCrops
from graft.labelled import LabelledTiles
from graft.sensors import get_sensor


class DeepSat(LabelledTilesModule):
    """Single-label benchmark SAT-4 or SAT-6: 28 px tiles of NAIP in a MATLAB file or CSV files."""

    multilabel, has_photos = False, False

    def __init__(
        self,
        root: Path,
        classes: str,
        split: Literal["train", "test"] = "test",
        fit: Fit = "pad_reflect",
        image_size: int = 224,
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; the tiles are read in `setup`, into memory.

        Args:
            root: folder of `sat-4-full.mat` (`sat-6-full.mat`), or of `X_test_sat4.csv` and `y_test_sat4.csv`.
            classes: prompt set (name or path) or text-vector file; its ids are in the order of the one-hot labels.
            split: which tiles.
            fit: `native`, `pad_reflect`, `pad_zero` or `resize`, see `graft.fit.fit_tile`.
            image_size: side in pixels of the fitted tile; without effect under `native`.
            batch_size: tiles a step.
            num_workers: processes; 0 works in the main process.
        """
        super().__init__(classes, fit, image_size, batch_size, num_workers)
        self._root, self._split = root, split
        self._fit, self._image_size = fit, image_size
        self.preprocessing = f"8-bit RGB as stored, {self.preprocessing}"

    def _make_dataset(self) -> LabelledTiles:
        split: Literal["train", "test"] = self._split
        return LabelledArrays(self._root, self.classes, split=split, fit=self._fit, image_size=self._image_size)


class FunctionalMap(LabelledTilesModule):
    """Single-label benchmark fMoW-rgb: the square around each bounding box."""

    multilabel, has_photos = False, False

    def __init__(
        self,
        root: Path,
        classes: str,
        fit: Fit = "resize",
        image_size: int = 224,
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of the class folders: `val` of fMoW-rgb.
            classes: prompt set (name or path) or text-vector file; its ids are the folders, its order the labels.
            fit: see `graft.fit.fit_tile`; boxes differ in size, so `resize`.
            image_size: side in pixels of the fitted tile.
            batch_size: tiles a step.
            num_workers: decoding processes; 0 decodes in the main process.
        """
        super().__init__(classes, fit, image_size, batch_size, num_workers)
        self._root, self._fit, self._image_size = root, fit, image_size
        self.preprocessing = f"8-bit RGB as stored, the square around the box, {self.preprocessing}"

    def _make_dataset(self) -> LabelledTiles:
        return LabelledCrops(self._root, self.classes, fit=self._fit, image_size=self._image_size)


class BigEarthNetV2(LabelledTilesModule):
    """Multi-label benchmark BigEarthNet v2 (reBEN), 19 classes, bands rendered by a row of `sensors.yaml`."""

    multilabel, has_photos = True, False

    def __init__(
        self,
        root: Path,
        classes: str,
        sensor: str,
        split: SplitV2 = "test",
        fit: Fit = "native",
        image_size: int = 224,
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; labels are read in `setup`.

        Args:
            root: folder of `metadata.parquet` and `BigEarthNet-S2`.
            classes: prompt set (name or path) or text-vector file; its ids are the labels.
            sensor: row of `sensors.yaml` that renders the bands.
            split: of the metadata: train, validation or test.
            fit: `native`, `pad_reflect`, `pad_zero` or `resize`, see `graft.fit.fit_tile`.
            image_size: side in pixels of the fitted tile; without effect under `native`.
            batch_size: tiles a step.
            num_workers: decoding processes; 0 decodes in the main process.
        """
        super().__init__(classes, fit, image_size, batch_size, num_workers)
        self._root, self._split, self._sensor = root, split, get_sensor(sensor)
        self._fit, self._image_size = fit, image_size
        self.radiometry = self._sensor.radiometry
        self.preprocessing = f"{self.radiometry}, {self.preprocessing}"

    def _make_dataset(self) -> LabelledTiles:
        split: SplitV2 = self._split
        return LabelledPatchesV2(
            self._root, self.classes, self._sensor, split=split, fit=self._fit, image_size=self._image_size
        )
