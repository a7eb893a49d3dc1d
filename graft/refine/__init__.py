"""Sharper borders for score maps: a patch token is far larger than a pixel, the image knows where things end.

On label maps of LoveDA, Potsdam and Vaihingen reduced to noisy tokens, `guided` and `regions` raised mIoU where scores
were noisy and lowered it where they were exact, `regions` more so; a border off by half a patch moves back with both.
"""

from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from graft.errors import GraftError
from graft.refine.guided import GuidedFilter

RefineName = Literal["none", "guided", "regions", "sam"]
_WIDEST = 128
"""Pixels of context at most: a scene far finer than the model has patches of any width, and memory stays bounded."""


class Refiner(Protocol):
    """Moves the borders of classes to edges of the image.

    Attributes:
        halo: pixels of context that a block should bring on each side. Without a neighbour's context, `guided` alone
            gives exactly what it gives on the whole scene; `regions` and `sam` look at each block on its own.
    """

    @property
    def halo(self) -> int:
        """Pixels of context round a block."""

    def __call__(
        self, scores: NDArray[np.float32], image: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Refine the scores of a block.

        Args:
            scores: float32 [C, H, W], before any softmax, finite where valid.
            image: uint8 [H, W, 3], display values of the same pixels.
            valid: bool [H, W], false where the image has no data. Such pixels have no influence on others and keep
                their scores.

        Returns:
            float32 [C, H, W], a new array.
        """


def make_refiner(
    name: RefineName, *, patch_px: float, sam_checkpoint: Path | None = None, device: str = "cpu"
) -> Refiner | None:
    """A refiner for maps whose patch tokens are `patch_px` wide.

    Args:
        name: `none`; `guided`, a guided filter; `regions`, means over regions of like colour; `sam`, masks of Segment
            Anything at the best patches.
        patch_px: side of a patch token in pixels of the image that is refined.
        sam_checkpoint: the user's own SAM weights, for `sam` alone.
        device: where SAM runs; the others run on the CPU.

    Returns:
        The refiner; None for `none`.

    Raises:
        GraftError: unknown name, a missing extra, no SAM checkpoint for `sam` or one for another refiner, or a file
            that holds no SAM.
    """
    if sam_checkpoint is not None and name != "sam":
        raise GraftError(f"A SAM checkpoint is given for the refinement {name!r}, which has no use for it. Choose sam.")
    match name:
        case "none":
            return None
        case "guided":
            return GuidedFilter(radius=round(min(max(patch_px, 1), _WIDEST)))
        case "regions":
            return _regions(patch_px)
        case "sam":
            return _sam(patch_px, sam_checkpoint, device)
    raise GraftError(f"No refinement {name!r}; there is: none, guided, regions, sam.")


def _regions(patch_px: float) -> Refiner:
    try:
        from graft.refine.regions import RegionPooling
    except ImportError as error:
        raise _missing("regions", "scikit-image", "refine") from error
    # A region has to outvote the half patch by which a border can be off; the rest was tuned on real tiles.
    halo = round(min(max(4 * patch_px, 1), 2 * _WIDEST))
    return RegionPooling(halo=halo, min_size=max(2, round(patch_px**2 / 2)), scale=25.0, sigma=0.8)


def _sam(patch_px: float, checkpoint: Path | None, device: str) -> Refiner:
    if checkpoint is None:
        raise GraftError(
            "The refinement sam needs Segment Anything's weights, which graft does not bring: give --sam-checkpoint a "
            "file such as sam_vit_b_01ec64.pth, or choose guided or regions."
        )
    try:
        from graft.refine.sam import SamMasks, load_predictor
    except ImportError as error:
        raise _missing("sam", "segment-anything", "sam") from error
    return SamMasks(load_predictor(checkpoint, device), patch_px)


def _missing(name: str, package: str, extra: str) -> GraftError:
    return GraftError(f'The refinement {name} needs {package}: pip install "graft[{extra}]".')
