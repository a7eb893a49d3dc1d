"""Edges by a guided filter (He, Sun, Tang, ECCV 2010 and TPAMI 2013) with the colour image as guide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GuidedFilter:
    """Scores become a linear function of colour within each box of the image, averaged over the boxes.

    Attributes:
        radius: of a box in pixels; its side is 2 radius + 1.
        epsilon: added to the variance of colour, which is taken on a range of 0 to 1: a smaller one follows fainter
            edges, and noise.
    """

    radius: int
    epsilon: float = 1e-4

    @property
    def halo(self) -> int:
        """Pixels of context with which a block gets what it gets within the whole scene."""
        return 2 * self.radius

    def __call__(
        self, scores: NDArray[np.float32], image: NDArray[np.uint8], valid: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Filter each class's scores; pixels that are not valid count nowhere and keep their scores."""
        count = self._box(valid.astype(np.float64))
        inside = count > 0.5 / (2 * self.radius + 1) ** 2  # running sums leave a trace of a pixel that has gone by
        share = np.divide(1.0, count, out=np.zeros_like(count), where=inside)

        def mean(values: Array) -> Array:
            return self._box(values) * share

        # float64: differences of means of products are divided by variances near epsilon.
        guide = np.where(valid, np.moveaxis(image, -1, 0) / 255.0, 0.0)
        centre = np.stack([mean(channel) for channel in guide])
        covariance = np.empty((*valid.shape, 3, 3))
        for i in range(3):
            for j in range(i, 3):
                covariance[..., i, j] = covariance[..., j, i] = mean(guide[i] * guide[j]) - centre[i] * centre[j]
        inverse = np.linalg.inv(covariance + self.epsilon * np.eye(3))
        refined = scores.copy()
        for number, plane in enumerate(scores):
            target = np.where(valid, plane, 0.0).astype(np.float64)
            level = mean(target)
            along = np.stack([mean(channel * target) for channel in guide]) - centre * level
            slope = np.einsum("hwij,jhw->ihw", inverse, along)
            offset = level - (slope * centre).sum(axis=0)
            filtered = mean(offset * valid)
            for channel, steepness in zip(guide, slope, strict=True):
                filtered += mean(steepness * valid) * channel
            refined[number, valid] = filtered[valid]
        return refined

    def _box(self, values: Array) -> Array:
        """Mean over the box round each pixel with zeros beyond the edge of the image."""
        filtered: Array = uniform_filter(values, 2 * self.radius + 1, mode="constant")
        return filtered
