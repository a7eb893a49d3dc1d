"""Questions about images in RSVQA's layout: one image a step with all that is asked about it."""

from pathlib import Path
from typing import Literal

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from datamodules.benchmarks import own_share, whole
from graft.errors import GraftError
from graft.prompts import class_ids
from graft.rsvqa import KnownAnswers, Question, known_answers, read_split
from graft.rsvqa_images import ImageQuestions, RSVQAImages, only
from graft.sensors import get_sensor


class RSVQAFolder(LightningDataModule):
    """RSVQA-LR, RSVQA-HR, or questions in the layout of one of them.

    Attributes:
        layout: which answer classes are official.
        questions: of all images, readable or not; `ImageQuestions.first` is a place in it. Set by `setup`.
        known: answers of the training split, for the majority; None where there is no other split. Set by `setup`.
        label_classes: what the numbers of the label maps mean; empty where there are none.
        preprocessing: how a stored picture became display values, for the result row.
        radiometry: rendering of stored numbers where a sensor row did it, else None.
    """

    def __init__(
        self,
        root: Path,
        layout: Literal["lr", "hr"],
        split: str = "test",
        sensor: str | None = None,
        gsd_m: float | None = None,
        labels: str | None = None,
        label_classes: str | None = None,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of the JSON files and of `Images_LR` (lr) or `Data` (hr).
            layout: `lr` or `hr`.
            split: `train`, `val`, `test`, or `test_phili` of RSVQA-HR.
            sensor: row of `sensors.yaml` that renders the bands; null takes three bands of 8 bits as display values.
            gsd_m: metres a pixel of images without a coordinate reference system.
            labels: folder of label maps in `root`, for the oracle: `<id>.tif` of class numbers, 255 unknown.
            label_classes: prompt set (name or path) whose order is the number; needed with `labels`.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__()
        if (labels is None) != (label_classes is None):
            raise GraftError("data.init_args.labels and label_classes belong together: give both, or neither.")
        self.layout, self.split = layout, split
        self.sensor = None if sensor is None else get_sensor(sensor)
        self.radiometry = None if self.sensor is None else self.sensor.radiometry
        self.preprocessing = self.radiometry or "8-bit RGB as stored"
        self.label_classes = () if label_classes is None else class_ids(label_classes)
        self.questions: tuple[Question, ...] = ()
        self.known: KnownAnswers | None = None
        self._root, self._gsd_m, self._labels, self._num_workers = root, gsd_m, labels, num_workers
        self._dataset: RSVQAImages | None = None

    def setup(self, stage: str) -> None:
        """Read the questions; every process does so for itself."""
        if self._dataset is not None:
            return
        asked = read_split(self._root, self.layout, self.split)
        self._dataset = RSVQAImages(
            self._root, self.layout, asked, sensor=self.sensor, gsd_m=self._gsd_m, labels=self._labels
        )
        self.questions = asked.questions
        self.known = known_answers(self._root, self.layout, self.split)
        rank_zero_info(f"{len(asked.images)} images, {len(asked.questions)} questions")
        for line in asked.left_out.lines():
            rank_zero_warn(f"Left out: {line.strip()}")
        if self.known is None:
            rank_zero_warn(f"{self._root} has no other split than {self.split}: there is no majority row.")
        elif self.known.split != "train":
            rank_zero_warn(f"{self._root} has no training split: the majority is that of {self.known.split}.")

    def test_dataloader(self) -> DataLoader[ImageQuestions]:
        """This process's share of the images, in their order; batches are `graft.rsvqa_images.ImageQuestions`."""
        if self._dataset is None:
            raise RuntimeError("setup() has not run")
        share = own_share(self._dataset, self.trainer)
        return DataLoader(share, batch_size=1, num_workers=self._num_workers, collate_fn=only, sampler=whole(share))
