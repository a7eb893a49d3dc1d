"""Edges by regions of like colour (Felzenszwalb and Huttenlocher, IJCV 2004): each takes the mean of its scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb

from graft.refine.valid import fill_invalid


@dataclass(frozen=True)
class RegionPooling:
    """Scores become their mean over the region of the image they lie in.

    Regions are made for each block on its own, so the blocks of a scene need not meet exactly.

    Attributes:
        halo: pixels of context, so that a region is seldom cut by the edge of a block.
        min_size: smallest region in pixels; it has to exceed what one token covers wrongly at an edge.
        scale: larger merges more colours into a region.
        sigma: of the Gaussian that smooths the image first, in pixels.
    """

    halo: int
    min_size: int
    scale: float
    sigma: float

    def __call__(
        self, scores: NDArray[np.float32], image: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Pool each class's scores; pixels that are not valid belong to no region and keep their scores."""
        refined = scores.copy()
        if not valid.any():
            return refined
        regions = felzenszwalb(
            fill_invalid(image, valid), scale=self.scale, sigma=self.sigma, min_size=self.min_size, channel_axis=-1
        )[valid]
        share = 1.0 / np.maximum(np.bincount(regions), 1)
        for number, plane in enumerate(scores):
            refined[number, valid] = (np.bincount(regions, weights=plane[valid]) * share)[regions]
        return refined
