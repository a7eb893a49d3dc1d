"""Scalar fields that the overhead view is made of: noise, stripes, grids, cells. All float32 [H, W]."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

Field = npt.NDArray[np.float32]


def as_field(values: npt.ArrayLike) -> Field:
    """The values as float32."""
    return np.asarray(values, np.float32)


def coordinates(shape: tuple[int, int]) -> tuple[Field, Field]:
    """Pixel-centre coordinates (x right, y down) in pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return x + 0.5, y + 0.5


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float | Sequence[float]) -> Field:
    """Smooth Gaussian noise of unit variance with features about `scale` pixels across (0: white).

    Args:
        rng: source of the noise.
        shape: rows and columns.
        scale: standard deviation of the smoothing in pixels, one number or (rows, columns).
    """
    white = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, scale, mode="wrap", truncate=3.0) if np.any(scale) else white
    return as_field((smooth - smooth.mean()) / (smooth.std() + 1e-6))


def rotated(
    rng: np.random.Generator, shape: tuple[int, int], wobble: float = 0.0, scale: float = 24.0
) -> tuple[Field, Field]:
    """A coordinate pair (along, across) turned by a random angle, shifted at random and bent by smooth noise.

    Args:
        rng: source of angle, shift and bend.
        shape: rows and columns.
        wobble: standard deviation of the bend in pixels.
        scale: length over which the bend changes, pixels.
    """
    x, y = coordinates(shape)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 512)
    across = -x * np.sin(angle) + y * np.cos(angle) + rng.uniform(0, 512)
    if wobble:
        across = across + wobble * noise(rng, shape, scale)
    return as_field(along), as_field(across)


def triangle(position: Field, period: float) -> Field:
    """Triangle wave 0..1..0 of the given period."""
    return as_field(np.abs((position / period) % 1.0 * 2 - 1))


def saw(position: Field, period: float) -> Field:
    """Saw-tooth 0..1 of the given period."""
    return as_field((position / period) % 1.0)


def dots(along: Field, across: Field, pitch: float, radius: float) -> Field:
    """Round bumps (1 in the middle, 0 from `radius` on) on a square grid of the given pitch, all in pixels."""
    a = (saw(along, pitch) - 0.5) * pitch
    b = (saw(across, pitch) - 0.5) * pitch
    return as_field(np.clip(1 - np.hypot(a, b) / radius, 0, 1))


def cell_hash(along: Field, across: Field, pitch: float, rng: np.random.Generator) -> Field:
    """One random number in [0, 1) per cell of a square grid of the given pitch."""
    table = rng.random((64, 64), dtype=np.float32)
    return as_field(table[(along // pitch).astype(int) % 64, (across // pitch).astype(int) % 64])


def crowns(rng: np.random.Generator, shape: tuple[int, int], pitch: float) -> Field:
    """Crowns of trees side by side: 1 at each centre falling to 0 at the edge, `pitch` pixels apart on average."""
    rows, columns = int(shape[0] / pitch) + 3, int(shape[1] / pitch) + 3
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 2)
    centres = (grid - 1 + rng.uniform(-0.4, 0.4, grid.shape)) * pitch
    x, y = coordinates(shape)
    distance, _ = cKDTree(centres).query(np.stack([y, x], -1).reshape(-1, 2), distance_upper_bound=2 * pitch)
    return as_field(np.clip(1 - np.asarray(distance, np.float32).reshape(shape) / (0.75 * pitch), 0, 1))


def lit(height: Field, sun: float) -> Field:
    """Shade a height field by a sun at the given azimuth (radians): the slope towards the sun."""
    rise, run = np.gradient(height)
    return as_field(run * np.cos(sun) + rise * np.sin(sun))


def ranks(field: Field, mask: npt.NDArray[np.bool_]) -> Field:
    """Replace the values under `mask` by their rank in [0, 1): exactly uniform whatever the field was; 0 elsewhere."""
    values = field[mask]
    order = np.empty(values.size, np.float32)
    order[np.argsort(values, kind="stable")] = np.arange(values.size, dtype=np.float32) / max(values.size, 1)
    result = np.zeros(field.shape, np.float32)
    result[mask] = order
    return result
