"""What a class looks like from above: one structure field per class and sensor.

A field only says where a parcel is low and where it is high. The fields of one colour group are later replaced by
their ranks and sent through one palette, so the classes of a group have the same colours and differ in nothing but
spatial structure. Shapes are in pixels: 10 m for `sentinel`, 1 m for `naip`.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from graft.atlas.fields import Field, as_field, cell_hash, crowns, dots, lit, noise, ranks, rotated, saw, triangle

Structure = Callable[[np.random.Generator, tuple[int, int], bool], Field]
"""(rng, (rows, columns), fine) -> field; `fine` is True for the 1 m sensor."""


def forest(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Mottled canopy at 10 m; single crowns, lit from one side, at 1 m."""
    if not fine:
        return as_field(noise(rng, shape, 1.1) + 0.35 * noise(rng, shape, 4))
    height = crowns(rng, shape, rng.uniform(7.5, 10))
    return as_field(height + 2.2 * lit(height, rng.uniform(0, 2 * np.pi)) + 0.12 * noise(rng, shape, 0.7))


def meadow(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Soft patches of grass, with a few winding paths at 1 m."""
    field = noise(rng, shape, rng.uniform(7, 10)) + 0.12 * noise(rng, shape, 0.8)
    if fine:
        _, across = rotated(rng, shape, wobble=9)
        field = np.where(triangle(across, 70) > 0.955, field + 1.6, field)
    return as_field(field)


def orchard(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Trees on a square grid over grass."""
    pitch = rng.uniform(8.5, 10.5) if fine else rng.uniform(5.5, 6.5)
    along, across = rotated(rng, shape, wobble=0.5)
    trees = dots(along, across, pitch, 0.52 * pitch)
    gaps = cell_hash(along, across, pitch, rng) < 0.05
    return as_field(np.where(gaps, 0, -2.2 * np.sqrt(trees)) + 0.22 * noise(rng, shape, 1.2 if fine else 1.0))


def cropland(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """A patchwork of fields at 10 m; furrows and tramlines at 1 m."""
    along, across = rotated(rng, shape, wobble=0.8, scale=30)
    if fine:
        furrows = np.sin(across * (2 * np.pi / rng.uniform(4.2, 5.5)))
        tram = triangle(across, 32) > 0.93
        return as_field(np.where(tram, 2.0, furrows) + 0.35 * noise(rng, shape, 1) + 0.3 * noise(rng, shape, 12))
    long, short = rng.uniform(24, 32), rng.uniform(13, 18)
    shifted = as_field(along + 0.5 * long * ((across // short) % 2))
    tone = cell_hash(as_field(shifted / long), as_field(across / short), 1.0, rng)
    ditch = (triangle(shifted, long) > 0.93) | (triangle(across, short) > 0.9)
    return as_field(2.4 * tone - 2.5 * ditch + 0.12 * noise(rng, shape, 1))


def residential(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Houses in rows along a grid of streets, gardens between."""
    along, across = rotated(rng, shape, wobble=0.6 if fine else 0.3, scale=30)
    grain = 0.1 * noise(rng, shape, 1.0)
    if fine:
        plot = rng.uniform(17, 20)
        u, v = (saw(along, plot) - 0.5) * plot, (saw(across, plot * 1.15) - 0.5) * plot * 1.15
        house = (np.abs(u) < 0.37 * plot) & (np.abs(v) < 0.35 * plot)
        street = triangle(across, plot * 2.3) > 0.75
        field = np.where(street, 1.0, 0.25 * noise(rng, shape, 2))
        return as_field(np.where(house & ~street, np.where(v > 0, 3.0, 2.3), field) + grain)
    block = rng.uniform(13, 16)
    street = (triangle(along, block) > 0.86) | (triangle(across, block * 0.8) > 0.84)
    houses = dots(along, across, block / 4, 2.6) > 0.36
    return as_field(np.where(street, 1.0, np.where(houses, 2.4, 0.0)) + grain)


def industrial(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Large halls with flat roofs on paved yards; roof lights and tanks at 1 m."""
    along, across = rotated(rng, shape)
    pitch = rng.uniform(42, 50) if fine else rng.uniform(22, 28)
    stretch = rng.uniform(1.0, 1.5)
    u, v = saw(along, pitch * stretch) - 0.5, saw(across, pitch) - 0.5
    size = 0.30 + 0.13 * cell_hash(along / stretch, across, pitch, rng)
    hall = (np.abs(u) < size) & (np.abs(v) < 0.36)
    tone = 2.2 + 0.9 * cell_hash(along / stretch, across, pitch, rng)
    if fine:
        tone = tone + 1.2 * (triangle(along, 9) > 0.72)
    verge = noise(rng, shape, 8 if fine else 4) > 0.1
    return as_field(np.where(hall, tone, np.where(verge, 0.0, 1.0)) + 0.1 * noise(rng, shape, 1))


def highway(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Two carriageways and a barrier between verges, in long bends; lane dashes and cars at 1 m."""
    along, across = rotated(rng, shape, wobble=4 if fine else 3, scale=40)
    period = rng.uniform(48, 56) if fine else rng.uniform(22, 27)
    side = np.abs((saw(across, period) - 0.5) * period)
    zones = (side < 0.06 * period, side < 0.26 * period, side < 0.35 * period)  # barrier, carriageway, shoulder, verge
    field = np.select(zones, (3.0, 1.0, 2.0), as_field(0.22 * noise(rng, shape, 3)))
    if fine:
        lane = (np.abs(side - 0.16 * period) < 0.8) & (saw(along, 12) < 0.5)
        place = (np.abs(saw(along, 11) - 0.5) < 0.24) & (np.abs(saw(across, 8) - 0.5) < 0.22)
        cars = (cell_hash(along, across, 11, rng) < 0.3) & place
        field = np.where((field == 1.0) & (lane | cars), 3.2, field)
    return as_field(field + 0.1 * noise(rng, shape, 1))


def quarry(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Terraces: closed contour steps down into pits."""
    depth = noise(rng, shape, 16 if fine else 11)
    step = rng.uniform(0.28, 0.36)
    return as_field(2.0 * saw(depth, step) + 0.35 * noise(rng, shape, 0.8) + 0.4 * np.clip(depth, -2, 2))


def river(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """A winding channel with two banks; the water is low and lines of flow follow the bends."""
    along, across = rotated(rng, shape, wobble=2.5, scale=14)
    period, length = rng.uniform(44, 54), rng.uniform(70, 95)
    bend = across + 9 * np.sin(along * (2 * np.pi / length))
    channel = triangle(bend, period)
    flow = 0.16 * np.sin(bend * (2 * np.pi / 7)) if fine else 0.0
    return as_field(channel + flow * (channel < 0.6) + 0.06 * noise(rng, shape, 1))


def lake(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """Broad smooth basins with rounded shores and islands."""
    return as_field(noise(rng, shape, rng.uniform(9, 12)) + 0.07 * noise(rng, shape, 0.8 if fine else 1.0))


def wetland(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """A fine mosaic of pools and reed."""
    return as_field(noise(rng, shape, 2.6 if fine else 2.0) + 0.3 * noise(rng, shape, 0.7))


def beach(rng: np.random.Generator, shape: tuple[int, int], fine: bool) -> Field:
    """A straight shore: sea with lines of surf along it, then wet and dry sand."""
    _, across = rotated(rng, shape, wobble=1.2, scale=16)
    slope = triangle(across, rng.uniform(90, 110))
    surf = (
        0.42
        * (slope < 0.66)
        * np.sin(across * (2 * np.pi / (rng.uniform(6.0, 7.5) if fine else rng.uniform(4.5, 5.5))))
    )
    return as_field(slope + surf + 0.05 * noise(rng, shape, 1))


STRUCTURES: dict[str, Structure] = {
    "Forest": forest,
    "Meadow": meadow,
    "Orchard": orchard,
    "Cropland": cropland,
    "Residential": residential,
    "Industrial": industrial,
    "Highway": highway,
    "Quarry": quarry,
    "River": river,
    "Lake": lake,
    "Wetland": wetland,
    "Beach": beach,
}


def uniform_structure(name: str, rng: np.random.Generator, mask: npt.NDArray[np.bool_], fine: bool) -> Field:
    """Structure of class `name` over a parcel, as exact ranks 0..1 under `mask` (bool [H, W])."""
    rows, columns = mask.shape
    whole = STRUCTURES[name](rng, (max(rows, 8), max(columns, 8)), fine)  # slivers have no slope of their own
    return ranks(whole[:rows, :columns], mask)
