"""The view from above: a scene painted parcel by parcel, then clouds and missing data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from graft.atlas.acquisitions import Acquisition
from graft.atlas.classes import CLASSES
from graft.atlas.fields import Field, as_field, noise
from graft.atlas.landcover import LandCoverMap, land_cover
from graft.atlas.sizes import Region
from graft.atlas.structure import uniform_structure

# Display values 0..255 of red, green, blue and near infrared, from the lowest rank of a structure to the highest.
_PALETTES: dict[str, list[tuple[int, int, int, int]]] = {
    "green": [(28, 52, 28, 120), (52, 86, 40, 170), (92, 118, 58, 190), (142, 148, 84, 180), (176, 158, 110, 150)],
    "built": [
        (58, 76, 44, 150),
        (84, 96, 62, 130),
        (104, 104, 104, 96),
        (128, 124, 120, 104),
        (178, 128, 100, 124),
        (214, 196, 168, 160),
        (242, 240, 236, 190),
    ],
    "water": [
        (18, 44, 66, 14),
        (28, 72, 92, 18),
        (60, 112, 116, 30),
        (104, 124, 88, 110),
        (190, 174, 132, 150),
        (226, 212, 174, 170),
    ],
}
_HAY = np.array([164, 140, 92, 130], np.float32)
"""What vegetation fades to in a dry season."""


@dataclass(frozen=True)
class Scene:
    """A scene before it is stored.

    Attributes:
        land: its map.
        shown: float32 [4, H, W], display values 0..255 of red, green, blue, near infrared.
        valid: bool [H, W], False where there is no data.
        clear: bool [H, W], valid and free of clouds.
        datetime: ISO 8601, when it was taken.
    """

    land: LandCoverMap
    shown: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    clear: npt.NDArray[np.bool_]
    datetime: str


def paint_scene(region: Region) -> Scene:
    """Paint the first scene of a region; see `paint_scenes`."""
    return paint_scenes(region, ())[0]


def paint_scenes(region: Region, later: Sequence[Acquisition]) -> list[Scene]:
    """Paint the first scene of a region and, after it, further acquisitions of the same land.

    Light and season change from scene to scene, tone from parcel to parcel, in the same way for every class: what is
    left to tell the classes of a group apart is spatial structure.

    Args:
        region: the place.
        later: acquisitions of other dates. Each scene shows the whole region, whatever window of it will be stored.
    """
    rng = region.rng("overhead")
    land = land_cover(region)
    shown = _paint_land(region, land, rng)
    others = []
    day = region.dice("date")
    date = f"20{day.randint(18, 23)}-{day.randint(4, 10):02d}-{day.randint(1, 28):02d}"
    taken = f"{date}T10:{day.randint(0, 59):02d}:00+00:00"
    for again in later:
        dice = region.rng(f"overhead{again.name}")
        tone = dice.uniform(0.93, 1.07, (4, 1, 1)).astype(np.float32)
        others.append(_look(land, shown * tone, dice, again.date(region, taken), cloudy=again.cloudy))
    return [_look(land, shown, rng, taken), *others]


def _paint_land(region: Region, land: LandCoverMap, rng: np.random.Generator) -> Field:
    """The land as it would show under even light, float32 [4, H, W]."""
    fine = region.sensor.gsd_m < 5
    shown: Field = np.zeros((4, *land.cover.shape), np.float32)
    dry = rng.uniform(0, 0.3)
    for number, box in enumerate(ndimage.find_objects(land.parcel + 1)):
        if box is None:
            continue
        mask = land.parcel[box] == number
        cover = CLASSES[int(land.cover[box][mask][0])]
        ranks = uniform_structure(cover.id, rng, mask, fine) ** rng.uniform(0.85, 1.18)
        fresh = np.array(_PALETTES[cover.group], np.float32)
        season = fresh + dry * (_HAY - fresh) if cover.group == "green" else fresh
        palette = season * rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 4)
        steps = np.linspace(0, 1, len(palette))
        for band in range(4):
            shown[band][box][mask] = np.interp(ranks[mask], steps, palette[:, band])
    _lanes(shown, land, rng, fine)
    return shown


def _look(land: LandCoverMap, shown: Field, rng: np.random.Generator, taken: str, *, cloudy: bool = False) -> Scene:
    """Look at the land on one day, in place: light, sensor noise, clouds, swath."""
    shown *= rng.uniform(0.85, 1.1)
    shown += 2.0 * rng.standard_normal(shown.shape, dtype=np.float32)
    cloud = _clouds(shown, rng, (0.2, 0.5) if cloudy else (1.5, 3.0))
    valid = _swath(land.cover.shape, rng)
    return Scene(land, np.clip(shown, 1, 255), valid, valid & (cloud < 0.25), taken)


def _lanes(shown: Field, land: LandCoverMap, rng: np.random.Generator, fine: bool) -> None:
    """Hedges or lanes along the borders of parcels, in place."""
    border = np.zeros(land.parcel.shape, bool)
    border[1:] |= land.parcel[1:] != land.parcel[:-1]
    border[:, 1:] |= land.parcel[:, 1:] != land.parcel[:, :-1]
    if fine:
        border = ndimage.binary_dilation(border)
    tone = ((44, 66, 38, 150), (150, 144, 134, 120))[int(rng.integers(2))]
    for band in range(4):
        shown[band][border] = tone[band]


def _clouds(shown: Field, rng: np.random.Generator, above: tuple[float, float]) -> Field:
    """Lay clouds and their shadows over a scene, in place, where noise of unit variance exceeds a number in `above`.

    Returns:
        Their opacity 0..1 [H, W].
    """
    shape = shown.shape[1:]
    coarse = noise(rng, (shape[0] // 4, shape[1] // 4), 7)
    field = as_field(ndimage.zoom(coarse, 4, order=1))
    opacity = as_field(np.clip((field - rng.uniform(*above)) * 2, 0, 0.95))
    shadow = 1 - 0.45 * np.roll(opacity, (14, -10), axis=(0, 1))
    shown *= shadow
    shown += opacity * (246 - shown)
    return opacity


def _swath(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Where the satellite's or aircraft's swath has data: everywhere, or all but a slanted strip at one side."""
    valid = np.ones(shape, bool)
    if rng.random() < 0.3:
        y, x = np.mgrid[: shape[0], : shape[1]]
        edge = rng.uniform(10, 45) + y * rng.uniform(-0.03, 0.03)
        valid = x > edge if rng.random() < 0.5 else x < shape[1] - edge
    return np.asarray(valid, bool)
