"""LoveDA, Potsdam and Vaihingen as their makers ship them, read through torchgeo."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from graft.errors import GraftError, first_line
from graft.labelmaps.pairs import existing_folder
from graft.labelmaps.scenes import StoredScene

LOVEDA_GSD_M, POTSDAM_GSD_M, VAIHINGEN_GSD_M = 0.3, 0.05, 0.09


class TorchgeoScenes:
    """Scenes of a torchgeo dataset that have both picture and mask.

    Attributes:
        names: see `graft.labelmaps.scenes.Layout`.
        left_out: see `graft.labelmaps.scenes.Layout`.
    """

    def __init__(self, dataset: Any, scenes: dict[str, int], left_out: Sequence[str], gsd_m: float, root: Path) -> None:
        """Take a dataset.

        Args:
            dataset: gives `image` float [3 or more, H, W] (red, green, blue first, 0..255) and `mask` int64 [H, W].
            scenes: name -> index in `dataset`.
            left_out: reasons for files without a partner.
            gsd_m: metres a pixel.
            root: the benchmark's folder, for messages.

        Raises:
            GraftError: no scene.
        """
        if not scenes:
            reasons = f" ({len(left_out)} files without a partner, e.g. {left_out[0]})" if left_out else ""
            raise GraftError(f"{root} holds no picture with its mask{reasons}. Change data.init_args.root or split.")
        self.names, self.left_out = sorted(scenes), list(left_out)
        self._dataset, self._scenes, self._gsd_m = dataset, scenes, gsd_m

    def read(self, index: int) -> StoredScene:
        """Read scene `index`."""
        sample = self._dataset[self._scenes[self.names[index]]]
        image = sample["image"][:3].permute(1, 2, 0).to("cpu").numpy().astype(np.uint8)
        return StoredScene(np.ascontiguousarray(image), sample["mask"].numpy(), (self._gsd_m, self._gsd_m))


def _open(name: str, root: Path, **settings: Any) -> Any:
    """Make a torchgeo dataset; importing torchgeo takes seconds and is asked for here alone."""
    existing_folder(root)
    try:
        from torchgeo import datasets
    except ImportError as error:
        raise GraftError(
            f"{name} is read through torchgeo, which cannot be imported ({first_line(error)}). "
            'Install it with `pip install "graft[benchmarks]"`.'
        ) from error
    try:
        return getattr(datasets, name)(root=str(root), **settings)
    except datasets.DatasetNotFoundError as error:
        raise GraftError(
            f"{root} does not hold {name} in its official layout (see docs/evaluation.md). Change data.init_args.root."
        ) from error


def open_loveda(root: Path, split: str, scenes: Sequence[Literal["urban", "rural"]]) -> TorchgeoScenes:
    """LoveDA: `{Train,Val}/{Urban,Rural}/{images_png,masks_png}/*.png`.

    Args:
        root: folder of `Train` and `Val`.
        split: `train` or `val`; masks of `test` are not public.
        scenes: which of the two halves.

    Raises:
        GraftError: no torchgeo, another layout, or no mask.
    """
    dataset = _open("LoveDA", root, split=split, scene=list(scenes))
    found, left_out = {}, []
    for index, files in enumerate(dataset.files):
        picture, mask = Path(files["image"]), Path(files["mask"])
        name = f"{picture.parent.parent.name}/{picture.stem}"
        if mask.is_file():
            found[name] = index
        else:
            left_out.append(f"{name}: picture without label")
    for folder in dataset.scene_paths:
        masks = sorted((Path(folder) / "masks_png").glob("*.png"))
        names = (f"{Path(folder).name}/{mask.stem}" for mask in masks)
        left_out += [f"{name}: label without picture" for name in names if name not in found]
    return TorchgeoScenes(dataset, found, left_out, LOVEDA_GSD_M, root)


def open_potsdam(root: Path, split: str) -> TorchgeoScenes:
    """ISPRS Potsdam: `4_Ortho_RGBIR/<name>_RGBIR.tif` and, beside that folder, `<name>_label.tif`.

    Args:
        root: folder that holds `4_Ortho_RGBIR`.
        split: `train` or `test`.

    Raises:
        GraftError: no torchgeo, another layout, or no pair.
    """
    return _open_isprs("Potsdam2D", root, split, "_RGBIR.tif", POTSDAM_GSD_M)


def open_vaihingen(root: Path, split: str) -> TorchgeoScenes:
    """ISPRS Vaihingen: `top/<name>.tif` and, beside that folder, the mask `<name>.tif`.

    Its three bands are infrared, red and green, although torchgeo calls them RGB: vegetation is red.

    Args:
        root: folder that holds `top`.
        split: `train` or `test`.

    Raises:
        GraftError: no torchgeo, another layout, or no pair.
    """
    return _open_isprs("Vaihingen2D", root, split, ".tif", VAIHINGEN_GSD_M)


def _open_isprs(dataset_name: str, root: Path, split: str, ending: str, gsd_m: float) -> TorchgeoScenes:
    dataset = _open(dataset_name, root, split=split)
    # torchgeo drops a scene with one of its two files missing, and says nothing.
    found = {Path(files["image"]).name.removesuffix(ending): index for index, files in enumerate(dataset.files)}
    wanted = (name.removesuffix(".tif") for name in dataset.splits[split])
    left_out = []
    for name in wanted:
        if name not in found:
            missing = "label" if (root / dataset.image_root / f"{name}{ending}").is_file() else "picture"
            left_out.append(f"{name}: of the {split} split, without {missing}")
    return TorchgeoScenes(dataset, found, left_out, gsd_m, root)
