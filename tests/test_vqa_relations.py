from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from graft.vqa.objects import find_objects, same
from graft.vqa.relations import DIRECTIONS, Relations, place_of
from graft.vqa.values import Thing
from tests.vqa_maps import PLACES, grid_at, lon_lat, mask_of, metres

SIZE = (60, 90)


def things_at(place: str, *boxes: tuple[int, int, int, int]) -> tuple[Thing, ...]:
    """One rectangle a box, each found on its own, in order."""
    grid = grid_at(place, *SIZE)
    found = []
    for top, left, bottom, right in boxes:
        pixels = np.zeros(SIZE, np.bool_)
        pixels[top:bottom, left:right] = True
        found += find_objects(mask_of(pixels), grid, 1).things
    return tuple(found)


@pytest.mark.parametrize("place", PLACES)
def test_edges_are_as_far_apart_as_the_geodesic_between_their_corners(place: str) -> None:
    grid = grid_at(place, *SIZE)
    one, beside, below, askew = things_at(place, (5, 5, 15, 20), (8, 50, 12, 60), (40, 3, 50, 30), (45, 70, 50, 75))
    relations = Relations(grid)
    gaps = [relations.gaps([one], [other])[0] for other in (beside, below, askew)]

    assert gaps[0] == pytest.approx(metres(grid, (10, 20), (10, 50)), rel=1e-3)
    assert gaps[1] == pytest.approx(metres(grid, (15, 10), (40, 10)), rel=1e-3)
    assert gaps[2] == pytest.approx(metres(grid, (15, 20), (45, 70)), rel=1e-3)
    assert relations.gaps([one], [askew, beside, below])[0] == min(gaps)
    assert relations.gaps([askew], [one])[0] == pytest.approx(gaps[2], rel=1e-12)


def test_edges_agree_with_the_distance_transform_on_random_masks() -> None:
    grid = grid_at("nowhere", *SIZE)
    dice = np.random.default_rng(5)
    for _ in range(5):
        masks = [ndimage.uniform_filter(dice.random(SIZE), 7) > 0.55 for _ in range(2)]
        of, reference = (find_objects(mask_of(mask), grid, 1).things for mask in masks)
        # At a third of a pixel, edges of pixels are half a step from the middles of its outermost parts.
        fine = np.kron(~masks[1], np.ones((3, 3), np.bool_))
        away = ndimage.distance_transform_edt(fine) / 3
        gaps = Relations(grid).gaps(of, reference)
        for thing, gap in zip(of, gaps, strict=True):
            if any(same(thing, other) for other in reference):
                continue
            pixels = np.zeros(SIZE, np.bool_)
            pixels[thing.box[0] : thing.box[2], thing.box[1] : thing.box[3]] = thing.pixels
            seen = away[np.kron(pixels, np.ones((3, 3), np.bool_))].min()
            assert gap == pytest.approx(max(seen - 1 / 3, 0), abs=0.15)


def test_touching_overlapping_and_surrounded_objects_are_nothing_apart() -> None:
    grid = grid_at("utm", *SIZE)
    relations = Relations(grid)
    one, side, corner, over, within = things_at(
        "utm", (10, 10, 30, 30), (10, 30, 20, 40), (30, 30, 40, 40), (25, 25, 45, 45), (15, 15, 20, 20)
    )

    assert [relations.gaps([one], [other])[0] for other in (side, corner, over, within)] == [0, 0, 0, 0]
    assert relations.gaps([within], [one])[0] == 0


def test_an_island_is_as_far_from_the_shore_as_its_hole_is_wide() -> None:
    grid = grid_at("nowhere", *SIZE)
    pixels = np.zeros(SIZE, np.bool_)
    pixels[5:45, 5:45] = True
    pixels[15:35, 15:35] = False
    lake = find_objects(mask_of(pixels), grid, 1).things
    island, far = things_at("nowhere", (22, 20, 28, 30), (10, 70, 20, 80))
    relations = Relations(grid)

    assert relations.gaps([island], lake)[0] == 5
    assert relations.inside([island, far], lake) == [island]
    assert relations.inside(lake, [island]) == []


def test_nothing_stands_in_a_relation_to_itself() -> None:
    relations = Relations(grid_at("utm", *SIZE))
    one, other = things_at("utm", (10, 10, 20, 20), (10, 60, 20, 70))
    again = things_at("utm", (10, 10, 20, 20))

    assert relations.gaps([one], again).tolist() == [np.inf]
    assert relations.within([one], [*again, other], 401) == [one]
    assert relations.within([one], [*again, other], 399) == []
    assert relations.inside([one], again) == []
    assert all(relations.beyond([one], direction, again) == [] for direction in DIRECTIONS)


def test_inside_is_half_or_more() -> None:
    relations = Relations(grid_at("utm", *SIZE))
    field, half, less = things_at("utm", (10, 10, 40, 40), (20, 35, 25, 45), (20, 36, 25, 46))

    assert relations.inside([half, less], [field]) == [half]


def test_an_object_is_beyond_another_in_the_image_where_all_of_it_is_beyond_the_centre_of_its_box() -> None:
    relations = Relations(grid_at("nowhere", *SIZE))
    (other,) = things_at("nowhere", (20, 20, 40, 40))
    beyond, across = things_at("nowhere", (31, 10, 50, 20), (30, 10, 50, 20))

    assert relations.beyond([beyond, across], "bottom of", [other]) == [beyond]
    assert relations.beyond([across], "left of", [other]) == [across]


@pytest.mark.parametrize("place", PLACES)
def test_directions_of_the_compass_are_those_of_longitude_and_latitude(place: str) -> None:
    grid = grid_at(place, *SIZE)
    relations = Relations(grid)
    boxes = [(4, 4, 10, 12), (4, 70, 12, 80), (28, 40, 34, 50), (50, 6, 58, 10), (50, 74, 54, 86)]
    things = things_at(place, *boxes)
    degrees = lon_lat(grid, *(thing.centre for thing in things))
    east, north = ((degrees - degrees[2] + 180) % 360 - 180).T
    middle = [things[2]]

    for relation, along in (("north of", north), ("south of", -north), ("east of", east), ("west of", -east)):
        expected = [thing for thing, beyond in zip(things, along, strict=True) if beyond > 1e-9]
        assert relations.beyond(things, relation, middle) == expected, relation
        assert len(expected) == 2


def test_directions_in_the_image_are_along_its_axes() -> None:
    for place in ("rotated", "south up", "nowhere"):
        relations = Relations(grid_at(place, *SIZE))
        up, left, down, right = things_at(place, (0, 40, 6, 50), (25, 0, 35, 10), (50, 40, 60, 50), (25, 80, 35, 90))
        middle = things_at(place, (27, 42, 33, 48))
        everything = [up, left, down, right]

        assert relations.beyond(everything, "top of", middle) == [up]
        assert relations.beyond(everything, "bottom of", middle) == [down]
        assert relations.beyond(everything, "left of", middle) == [left]
        assert relations.beyond(everything, "right of", middle) == [right]
        assert relations.beyond(everything, "top of", [*middle, down]) == [up, left, right]
        assert relations.beyond([], "top of", middle) == relations.beyond(middle, "top of", []) == []


@pytest.mark.parametrize("place", PLACES)
def test_places_in_the_image_have_the_names_of_the_compass(place: str) -> None:
    grid = grid_at(place, 90, 90)
    corners = lon_lat(grid, (0, 0), (0, 90), (90, 0), (90, 90))
    corners[:, 0] = (corners[:, 0] - corners[0, 0] + 180) % 360 - 180 + corners[0, 0]
    low, high = corners.min(axis=0), corners.max(axis=0)
    seen = set()
    for row in (7, 45, 83):
        for column in (7, 45, 83):
            pixels = np.zeros((90, 90), np.bool_)
            pixels[row - 3 : row + 4, column - 3 : column + 4] = True
            thing = find_objects(mask_of(pixels), grid, 1).things[0]
            lon, lat = lon_lat(grid, thing.centre)[0]
            lon = (lon - low[0] + 180) % 360 - 180 + low[0]
            across, up = (np.array([lon, lat]) - low) / (high - low) * 3
            words = [("south", "", "north")[int(up)], ("west", "", "east")[int(across)]]
            seen.add(place_of(thing, grid))
            assert place_of(thing, grid) == ("-".join(word for word in words if word) or "centre")
    assert "centre" in seen
    assert len(seen) == (9 if place != "rotated" else 5)


def test_places_without_georeference_are_those_of_the_image() -> None:
    grid = grid_at("nowhere", *SIZE)
    boxes = [(0, 0, 4, 4), (0, 43, 4, 47), (28, 0, 32, 4), (28, 43, 32, 47), (50, 80, 60, 90)]

    assert [place_of(thing, grid) for thing in things_at("nowhere", *boxes)] == [
        "top left",
        "top",
        "left",
        "centre",
        "bottom right",
    ]


def test_chains_of_neighbours() -> None:
    boxes = [(10, 10 * step, 15, 10 * step + 4) for step in range(9)]
    things = things_at("nowhere", *boxes)
    gaps = Relations(grid_at("nowhere", *SIZE)).gaps(things, things)

    assert gaps.tolist() == [6.0] * 9
    assert all(Relations(grid_at("nowhere", *SIZE)).gaps([a], [b])[0] == 6 for a, b in pairwise(things))
