"""Pixels without data, kept out of what their neighbours become."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt


def fill_invalid(image: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Give pixels without data the colour of the nearest valid one, so that a nodata border is no edge.

    Args:
        image: uint8 [H, W, 3].
        valid: bool [H, W], at least one of them true.
    """
    if valid.all():
        return image
    rows, columns = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    filled: NDArray[np.uint8] = image[rows, columns]
    return filled
