"""The truth instead of an encoder: a label map behind the same programs."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from graft.errors import GraftError
from graft.vqa.ground import GroundGrid
from graft.vqa.values import Mask


class OracleVision:
    """A `Vision` over a label map: masks are exact, and confidence is 1.

    Attributes:
        grid: of the label map.
        data: bool [H, W], where it is labelled.
        least_px: minimum mapping unit.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.uint8],
        classes: Sequence[str],
        meaning: Mapping[str, Sequence[str]],
        grid: GroundGrid,
        least_px: int = 1,
        unlabelled: int = 255,
    ) -> None:
        """Say what the labels mean.

        Args:
            labels: uint8 [H, W], indices of `classes`, or `unlabelled`.
            classes: their names.
            meaning: the classes that each concept consists of; `{"water area": ("River", "Lake")}`.
            grid: of the labels.
            least_px: objects of fewer pixels do not count.
            unlabelled: pixels without truth, which count as no data.

        Raises:
            GraftError: labels of another size than the grid, indices beyond the classes, or a meaning that names
                no class.
        """
        if labels.shape != (grid.height, grid.width):
            raise GraftError(
                f"The label map has {labels.shape[0]} x {labels.shape[1]} pixels, its image {grid.height} x "
                f"{grid.width}; expected the same. Give the label map of this image."
            )
        self.grid, self.least_px = grid, least_px
        self.data = labels != unlabelled
        beyond = int(labels.max(initial=0, where=self.data))
        if beyond >= len(classes):
            raise GraftError(
                f"The label map holds the index {beyond}; expected 0 to {len(classes) - 1} ({', '.join(classes)}), or "
                f"{unlabelled} for unlabelled. Give a map of these classes."
            )
        self._labels, self._of = labels, {}
        for concept, names in meaning.items():
            for name in names:
                if name not in classes:
                    raise GraftError(
                        f"{concept!r} is said to be {name!r}, which is no class of the label map; it has "
                        f"{', '.join(classes)}. Correct the classes of that concept."
                    )
            self._of[_folded(concept)] = tuple(list(classes).index(name) for name in names)

    def segment(self, concept: str) -> Mask:
        """Where the classes of a concept are.

        Raises:
            GraftError: a concept without meaning in this label map.
        """
        if _folded(concept) not in self._of:
            raise GraftError(
                f"The label map cannot say what {concept!r} is; it knows {', '.join(self._of)}. Ask for one of these, "
                "or add its classes to the concepts."
            )
        meant = np.zeros(256, np.bool_)
        meant[list(self._of[_folded(concept)])] = True
        return Mask(concept, meant[self._labels] & self.data, None, None)

    def likeness(self, concept: str) -> float:
        """Share of the labelled pixels, 0..1."""
        return self._share(concept)

    def classify(self, options: Sequence[str]) -> dict[str, float]:
        """Each option's share of the pixels that belong to any of them; all the same where none does."""
        shares = {option: self._share(option) for option in options}
        total = sum(shares.values())
        return {option: share / total if total else 1 / len(shares) for option, share in shares.items()}

    def _share(self, concept: str) -> float:
        return float(self.segment(concept).pixels.sum() / max(int(self.data.sum()), 1))


def _folded(concept: str) -> str:
    return " ".join(concept.split()).casefold()
