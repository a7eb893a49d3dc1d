"""Colour must not tell the classes of a group apart; structure must."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from graft.atlas.classes import CLASSES, IDS
from graft.atlas.controls import ColourHistogram, MeanColour
from graft.atlas.overhead import Scene, paint_scene
from graft.atlas.sizes import Region
from graft.atlas.structure import STRUCTURES, uniform_structure
from graft.sensors import get_sensor


@pytest.fixture(scope="module", params=["sentinel", "naip"])
def scenes(request: pytest.FixtureRequest) -> list[Scene]:
    return [paint_scene(Region(9, get_sensor(request.param), "train", k, 640)) for k in range(3)]


def parcels(scenes: list[Scene]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Class and pixels [N, 3] of every large cloudless parcel."""
    for scene in scenes:
        for number in np.unique(scene.land.parcel):
            mask = (scene.land.parcel == number) & scene.clear
            if mask.sum() > 3000:
                yield IDS[int(scene.land.cover[mask][0])], scene.shown[:3, mask].T


@pytest.mark.parametrize("group", ["green", "built", "water"])
def test_classes_of_a_group_share_their_colours(scenes: list[Scene], group: str) -> None:
    members = [cover.id for cover in CLASSES if cover.group == group]
    means: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in members}
    spreads: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in members}
    for name, pixels in parcels(scenes):
        if name in means:
            means[name].append(pixels.mean(0))
            spreads[name].append(pixels.std(0))
    within = np.mean([np.std(values, axis=0) for values in means.values()])
    between = np.std([np.mean(values, axis=0) for values in means.values()], axis=0).mean()
    assert between < within  # what parcels of one class differ in hides what classes differ in
    contrast = np.stack([np.mean(values, axis=0) for values in spreads.values()])
    assert (contrast.max(0) / contrast.min(0)).max() < 1.2


def test_groups_do_differ_in_colour(scenes: list[Scene]) -> None:
    tone: dict[str, list[float]] = {"green": [], "built": [], "water": []}
    group_of = {cover.id: cover.group for cover in CLASSES}
    for name, pixels in parcels(scenes):
        red, green, blue = pixels.mean(0)
        tone[group_of[name]].append(float(green - blue) / float(red + green + blue))
    assert np.mean(tone["green"]) > np.mean(tone["built"]) + 0.05


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("name", IDS)
def test_structure_is_uniform_and_seeded(name: str, fine: bool) -> None:
    mask = np.zeros((90, 110), bool)
    mask[5:80, 10:100] = True
    first, again, other = (uniform_structure(name, np.random.default_rng(seed), mask, fine) for seed in (1, 1, 2))
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    share, _ = np.histogram(first[mask], bins=10, range=(0, 1))
    assert np.ptp(share) <= 1
    assert (first[~mask] == 0).all()


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 70), (5, 3)])
def test_slivers_can_be_painted(name: str, shape: tuple[int, int]) -> None:
    assert uniform_structure(name, np.random.default_rng(0), np.ones(shape, bool), True).shape == shape


def test_every_class_has_a_structure() -> None:
    assert tuple(STRUCTURES) == IDS


@pytest.mark.parametrize("control", [MeanColour(24), ColourHistogram(24)])
def test_controls_see_colour_and_nothing_else(control: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    tile = torch.randint(0, 256, (5, 3, 20, 30), dtype=torch.uint8, generator=generator)
    shuffled = tile.flatten(2)[:, :, torch.randperm(600, generator=generator)].reshape(tile.shape)
    vectors = control(tile)
    assert vectors.shape == (5, 24)
    assert vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(5))
    assert torch.allclose(vectors, control(shuffled), atol=1e-6)
    assert not torch.allclose(vectors, control(255 - tile), atol=1e-3)


def test_histogram_counts() -> None:
    tile = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    tile[0, 0, 0] = 255
    tile[0, 2] = 100
    red, green, blue, joint = ColourHistogram(8).histogram(tile)[0].split([16, 16, 16, 64])
    assert red[0] == 0.75
    assert red[15] == 0.25
    assert green[0] == 1
    assert blue[6] == 1
    assert joint[0 * 16 + 0 * 4 + 1] == 0.75
    assert joint[3 * 16 + 0 * 4 + 1] == 0.25
