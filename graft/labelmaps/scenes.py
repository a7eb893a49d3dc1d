"""Scenes with a label for each pixel as a map-style dataset: one scene out, whatever the layout it came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Subset

from graft.errors import GraftError
from graft.fit import UNREADABLE
from graft.labelmaps.profiles import LabelProfile


@dataclass(frozen=True)
class LabelledScene:
    """A picture and its truth.

    Attributes:
        name: of the scene.
        image: uint8 [H, W, 3], display values.
        label: uint8 [h, w], class indices or 255 where nothing is scored; covers the ground of `image` and has its
            size, or that of `image` divided by a whole number where the truth is coarser.
        gsd_m: width and height of a pixel of `image` on the ground in metres; None where unknown.
    """

    name: str
    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    gsd_m: tuple[float, float] | None


@dataclass(frozen=True)
class SceneSample:
    """One item of `LabelledScenes`.

    Attributes:
        name: of the scene.
        scene: None where it could not be read.
        fault: why `scene` is None.
    """

    name: str
    scene: LabelledScene | None
    fault: str = ""

    def to(self, device: torch.device | str, **_: Any) -> Self:
        """The same sample: a scene stays in the memory of the host, its windows go to the device one by one."""
        return self


class StoredScene(NamedTuple):
    """What a layout reads.

    Attributes:
        image: uint8 [H, W, 3], display values.
        label: any integers [H / factor, W / factor], as stored.
        gsd_m: width and height of a pixel of `image`, metres; None where unknown.
        factor: pixels of `image` along a side of a pixel of `label`.
    """

    image: npt.NDArray[np.uint8]
    label: npt.NDArray[np.integer[Any]]
    gsd_m: tuple[float, float] | None
    factor: int = 1


class Layout(Protocol):
    """A benchmark's files."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the scenes, all different, in a fixed order."""

    @property
    def left_out(self) -> Sequence[str]:
        """One reason for every picture without a label and every label without a picture."""

    def read(self, index: int) -> StoredScene:
        """Read scene `index`.

        Raises:
            GraftError: or one of `graft.fit.UNREADABLE`, where it cannot be read.
        """


class LabelledScenes(Dataset[SceneSample]):
    """The scenes of a layout; one that cannot be read costs itself and says why."""

    def __init__(self, layout: Layout, profile: LabelProfile) -> None:
        """Take a layout and how its numbers are meant.

        Args:
            layout: the files.
            profile: which number is which class.
        """
        self.layout, self.profile = layout, profile

    def __len__(self) -> int:
        """Number of scenes, readable or not."""
        return len(self.layout.names)

    def __getitem__(self, index: int) -> SceneSample:
        """Read scene `index`."""
        name = self.layout.names[index]
        try:
            image, stored, gsd_m, factor = self.layout.read(index)
            height, width = image.shape[:2]
            if (height, width) != (stored.shape[0] * factor, stored.shape[1] * factor):
                raise ValueError(
                    f"the picture has {width} x {height} px, its label {stored.shape[1]} x {stored.shape[0]}"
                    + (f" and not one for every {factor} x {factor} px" if factor > 1 else "")
                )
            return SceneSample(name, LabelledScene(name, image, self.profile.apply(stored), gsd_m))
        except (*UNREADABLE, GraftError) as error:
            return SceneSample(name, None, f"{name}: {error}")

    def share(self, rank: int, world: int) -> Subset[SceneSample]:
        """What process `rank` of `world` reads: every `world`-th scene from `rank` on, so that none is read twice.

        Raises:
            GraftError: fewer scenes than processes.
        """
        if len(self) < world:
            raise GraftError(f"{len(self)} scenes cannot be shared by {world} processes. Set trainer.devices to 1.")
        return Subset(self, range(rank, len(self), world))
