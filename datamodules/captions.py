"""Images with captions for retrieval: RSICD, RSITMD, UCM captions."""

from pathlib import Path

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from datamodules.benchmarks import labelled_loader
from graft.captions import CaptionedImages
from graft.fit import Fit
from graft.labelled import LabelledSample


class CaptionFolder(LightningDataModule):
    """A folder of images and a JSON file of their captions, as RSICD, RSITMD and UCM captions come.

    Attributes:
        captions: sentences of each image; `LabelledBatch.index` says which images are in a batch. Set by `setup`.
        preprocessing: how a stored image became a tile, for the result row.
        radiometry: None, images are 8-bit as stored.
    """

    captions: tuple[tuple[str, ...], ...] = ()
    radiometry: str | None = None

    def __init__(
        self,
        root: Path,
        captions: Path,
        split: str | None = "test",
        fit: Fit = "resize",
        image_size: int = 224,
        batch_size: int = 256,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of the images.
            captions: JSON file, see `graft.captions`.
            split: name of the split as the file has it; null takes all images.
            fit: `native`, `pad_reflect`, `pad_zero` or `resize`, see `graft.fit.fit_tile`.
            image_size: side in pixels of the fitted tile; without effect under `native`.
            batch_size: tiles a step.
            num_workers: decoding processes; 0 decodes in the main process.
        """
        super().__init__()
        self._root, self._captions, self._split = root, captions, split
        self._fit, self._image_size = fit, image_size
        self._batch_size, self._num_workers = batch_size, num_workers
        self.preprocessing = "8-bit RGB as stored, " + (
            "native size" if fit == "native" else f"{fit} to {image_size} px"
        )
        self._dataset: CaptionedImages | None = None

    def setup(self, stage: str) -> None:
        """Read the captions; every process does so for itself."""
        if self._dataset is not None:
            return
        self._dataset = CaptionedImages(
            self._root, self._captions, split=self._split, fit=self._fit, image_size=self._image_size
        )
        self.captions = self._dataset.captions
        rank_zero_info(f"{len(self._dataset)} images, {sum(map(len, self.captions))} captions")
        for line in self._dataset.left_out.lines():
            rank_zero_warn(f"Left out: {line.strip()}")

    def test_dataloader(self) -> DataLoader[LabelledSample]:
        """This process's share of the images, in their order; batches are `graft.batch.LabelledBatch`."""
        if self._dataset is None:
            raise RuntimeError("setup() has not run")
        return labelled_loader(self._dataset, self.trainer, self._batch_size, self._num_workers)
