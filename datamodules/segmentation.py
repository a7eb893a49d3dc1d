"""Evaluation data with a label for each pixel: one scene a step, each read once, in order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.utils.data import DataLoader

from datamodules.benchmarks import own_share, whole
from graft.labelmaps import LabelledScenes, Layout, SceneSample, folder_pairs, load_profile
from graft.labelmaps.landcover import open_chesapeake, open_openearthmap
from graft.labelmaps.official import open_loveda, open_potsdam, open_vaihingen
from graft.labelmaps.satlas import Product, SatlasLandCover
from graft.prompts import class_ids
from graft.sensors import get_sensor

_SHOWN = 5


def only(samples: Sequence[SceneSample]) -> SceneSample:
    """The sample of a batch of one: scenes differ in size."""
    (sample,) = samples
    return sample


class SegmentationModule(LightningDataModule):
    """Loads the scenes of one layout in test; subclasses say which.

    Attributes:
        classes: class ids in label order, checked against the model's words.
        preprocessing: how a stored picture became display values, for the result row.
        radiometry: rendering of stored numbers where a sensor row did it, else None.
        has_photos: never; ground photos of a scene make no ceiling of its label map.
    """

    has_photos = False

    def __init__(self, classes: str, profile: str, sensor: str | None, num_workers: int) -> None:
        super().__init__()
        self.classes = class_ids(classes)
        self.sensor = None if sensor is None else get_sensor(sensor)
        self.radiometry = None if self.sensor is None else self.sensor.radiometry
        self.preprocessing = self.radiometry or "8-bit RGB as stored"
        self._profile, self._num_workers = profile, num_workers
        self._dataset: LabelledScenes | None = None

    def make_layout(self) -> Layout:
        """List the files.

        Raises:
            GraftError: the folder does not hold the layout.
        """
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """List the files; every process does so for itself."""
        if self._dataset is not None:
            return
        layout = self.make_layout()
        self._dataset = LabelledScenes(layout, load_profile(self._profile, self.classes))
        rank_zero_info(f"{len(self._dataset)} scenes of {len(self.classes)} classes")
        if layout.left_out:
            shown = "; ".join(layout.left_out[:_SHOWN]) + ("; …" if len(layout.left_out) > _SHOWN else "")
            rank_zero_warn(f"{len(layout.left_out)} files are left out, they have no partner: {shown}")

    def test_dataloader(self) -> DataLoader[SceneSample]:
        """This process's share of the scenes, in their order; batches are `graft.labelmaps.SceneSample`."""
        if self._dataset is None:
            raise RuntimeError("setup() has not run")
        share = own_share(self._dataset, self.trainer)
        return DataLoader(share, batch_size=1, num_workers=self._num_workers, collate_fn=only, sampler=whole(share))


class AtlasScenes(SegmentationModule):
    """Whole scenes of the embedded world: `scenes/*.tif` and `labels/*.tif`."""

    def __init__(self, root: Path, classes: str, sensor: str, num_workers: int = 0) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: `benchmarks/<split>` of a world.
            classes: prompt set (name or path) or text-vector file; its order is the label index.
            sensor: row of `sensors.yaml` that renders the bands.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, "index", sensor, num_workers)
        self._root = root

    def make_layout(self) -> Layout:
        """List the files."""
        return folder_pairs(self._root, "scenes", "labels", sensor=self.sensor)


class PairedScenes(SegmentationModule):
    """Pictures in one folder, label maps in another: one's own, or crops as mmsegmentation stores them."""

    def __init__(
        self,
        root: Path,
        classes: str,
        profile: str = "index",
        images: str = "img_dir",
        labels: str = "ann_dir",
        sensor: str | None = None,
        gsd_m: float | None = None,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder that holds the two.
            classes: prompt set (name or path) or text-vector file.
            profile: which stored number is which class: `index`, a row of `graft/label_profiles.yaml`, or a YAML file.
            images: folder of the pictures (PNG, JPEG, TIFF) in `root`; the same names as the label maps.
            labels: folder of the label maps (PNG or TIFF of class numbers) in `root`.
            sensor: row of `sensors.yaml` that renders the bands of rasters; null takes three bands of 8 bits.
            gsd_m: metres a pixel of pictures that do not say it themselves.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, profile, sensor, num_workers)
        self._root, self._images, self._labels, self._gsd_m = root, images, labels, gsd_m

    def make_layout(self) -> Layout:
        """List the files."""
        return folder_pairs(self._root, self._images, self._labels, sensor=self.sensor, gsd_m=self._gsd_m)


class LoveDAScenes(SegmentationModule):
    """LoveDA in its official layout, 0.3 m."""

    def __init__(
        self,
        root: Path,
        classes: str = "loveda",
        split: Literal["train", "val"] = "val",
        scenes: list[Literal["urban", "rural"]] | None = None,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of `Train` and `Val`.
            classes: prompt set (name or path) or text-vector file.
            split: `val` is what is published; masks of the test split are not public.
            scenes: which halves; null takes both.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, "loveda", None, num_workers)
        self._root, self._split, self._scenes = root, split, scenes

    def make_layout(self) -> Layout:
        """List the files."""
        return open_loveda(self._root, self._split, self._scenes or ["urban", "rural"])


class PotsdamScenes(SegmentationModule):
    """ISPRS Potsdam in its official layout, 0.05 m, whole tiles of 6000 x 6000 px."""

    def __init__(
        self, root: Path, classes: str = "potsdam", split: Literal["train", "test"] = "test", num_workers: int = 0
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder that holds `4_Ortho_RGBIR`, the masks beside it.
            classes: prompt set (name or path) or text-vector file.
            split: of the contest.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, "isprs-torchgeo", None, num_workers)
        self._root, self._split = root, split

    def make_layout(self) -> Layout:
        """List the files."""
        return open_potsdam(self._root, self._split)


class VaihingenScenes(SegmentationModule):
    """ISPRS Vaihingen in its official layout, 0.09 m; its pictures are infrared, red, green."""

    def __init__(
        self, root: Path, classes: str = "potsdam", split: Literal["train", "test"] = "test", num_workers: int = 0
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder that holds `top`, the masks beside it.
            classes: prompt set (name or path) or text-vector file.
            split: of the contest.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, "isprs-torchgeo", None, num_workers)
        self._root, self._split = root, split
        self.preprocessing = "8-bit infrared, red, green as stored"

    def make_layout(self) -> Layout:
        """List the files."""
        return open_vaihingen(self._root, self._split)


class OpenEarthMapScenes(SegmentationModule):
    """OpenEarthMap, 0.25 to 0.5 m, a folder a region."""

    def __init__(
        self,
        root: Path,
        classes: str = "openearthmap",
        split: str | None = "val",
        gsd_m: float | None = None,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of the regions and of the split lists.
            classes: prompt set (name or path) or text-vector file.
            split: name of a list in `root` without its ending; null takes every pair.
            gsd_m: metres a pixel of pictures without a coordinate reference system.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, "openearthmap", None, num_workers)
        self._root, self._split, self._gsd_m = root, split, gsd_m

    def make_layout(self) -> Layout:
        """List the files."""
        return open_openearthmap(self._root, self._split, self._gsd_m)


class ChesapeakeScenes(SegmentationModule):
    """Chesapeake land cover on NAIP, 1 m."""

    def __init__(self, root: Path, classes: str = "chesapeake", num_workers: int = 0) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: a folder of tiles such as `md_1m_2013_extended-debuffered-test_tiles`, or one above several.
            classes: prompt set (name or path) or text-vector file.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, "chesapeake", None, num_workers)
        self._root = root

    def make_layout(self) -> Layout:
        """List the files."""
        return open_chesapeake(self._root)


class SatlasScenes(SegmentationModule):
    """Land cover of SatlasPretrain on Sentinel-2 (about 9.5 m) or NAIP (about 0.6 m)."""

    def __init__(
        self,
        root: Path,
        classes: str = "satlas_landcover",
        product: Product = "sentinel2",
        scene: str = "newest",
        split: str | None = None,
        num_workers: int = 0,
    ) -> None:
        """Take the settings; files are listed in `setup`.

        Args:
            root: folder of `static`, `sentinel2`, `naip` and `metadata`.
            classes: prompt set (name or path) or text-vector file.
            product: `sentinel2` (labels at the same zoom level) or `naip` (a part of the label of the parent tile).
            scene: name of one scene, or `newest` of those that show a tile.
            split: name of a list of tiles in `metadata`, such as `test_lowres`; null takes all.
            num_workers: reading processes; 0 reads in the main process.
        """
        super().__init__(classes, "satlas-landcover", None, num_workers)
        self._settings = (root, product, scene, split)
        self.preprocessing = f"8-bit RGB as stored, {scene} {product}"

    def make_layout(self) -> Layout:
        """List the files."""
        return SatlasLandCover(*self._settings)
