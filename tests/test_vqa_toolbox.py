import numpy as np
import numpy.typing as npt
import pytest
from affine import Affine

from graft.errors import GraftError
from graft.vqa.budget import Budget, Spent, running
from graft.vqa.functions import FUNCTIONS, RELATIONS, SHAPES
from graft.vqa.functions import SIZES as SIZE_WORDS
from graft.vqa.ground import GroundGrid
from graft.vqa.oracle import OracleVision
from graft.vqa.refusal import NothingThere, Refused
from graft.vqa.toolbox import SIZES, Toolbox, UrbanRule
from graft.vqa.values import Number, Objects, Text, Truth
from tests.vqa_maps import CLASSES, MEANING, PLACES, ask, blank, draw, grid_at, metres, read_map, square_metres, tools

VILLAGE = """
    LLLL......FFFF
    LLLL......FFFF
    LLLL..H...FFFF
    ..............
    ..LL..H.H...RR
    ..LL........RR
    F...........RR
"""


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ('exists(find("lake"))', True),
        ('exists(segment("river"))', True),
        ('exists(where(find("lake"), "north of", find("forest")))', True),
        ('exists(where(find("river"), "west of", find("lake")))', False),
        ('count(find("lake"))', 2),
        ('count(find("water area"))', 3),
        ('count(find("house"))', 3),
        ('count(where(find("house"), "within", find("lake"), metres=21))', 2),
        ('count(where(find("house"), "within", find("lake"), metres=19))', 0),
        ('count(where(find("house"), "next to", find("lake")))', 2),
        ('count(where(find("house"), "next to", find("lake"), metres=50))', 3),
        ('count(where(find("forest"), "left of", find("house")))', 1),
        ('count(where(find("forest"), "top of", find("house")))', 1),
        ('count(where(find("lake"), "touching", find("forest")))', 0),
        ('fraction(segment("lake"))', 16 / 98),
        ('fraction(find("forest"))', 13 / 98),
        ('fraction(union(segment("lake"), segment("river")))', 22 / 98),
        ('fraction(intersection(segment("water area"), segment("river")))', 6 / 98),
        ('fraction(difference(segment("water area"), segment("river")))', 16 / 98),
        ('position(find("lake"))', "north-west"),
        ('position(find("river"))', "south-east"),
        ('position(segment("forest"))', "north-east"),
        ('classify(["lake", "forest", "river"])', "lake"),
        ('score("meadow")', 60 / 98),
        ("rural_or_urban()", "rural"),
        ('compare(count(find("house")), "more", count(find("lake")))', True),
        ('compare(area(find("lake")), "less", area(find("forest")))', False),
        ('compare(count(find("lake")), "equal", count(find("forest")))', True),
        ('position(smallest(find("lake")))', "south-west"),
        ('position(nearest(find("lake"), find("house")))', "north-west"),
        ('n = 0\nfor lake in find("lake"):\n    if fraction(lake) > 0.05:\n        n = n + 1\nn', 1),
    ],
)
def test_programs_on_a_map_drawn_by_hand(program: str, answer: float | bool | str) -> None:
    value = ask(program, tools(VILLAGE))

    assert isinstance(value, Number | Truth | Text)
    assert value.value == (pytest.approx(answer) if isinstance(answer, float) else answer)
    assert value.evidence
    assert value.confidence == 1 or "classify" in program or "score" in program


@pytest.mark.parametrize("place", PLACES)
def test_lengths_and_areas_are_true_on_every_grid(place: str) -> None:
    labels = blank(120, 160)
    draw(labels, "L", (10, 40), (20, 60))
    draw(labels, "F", (70, 100), (110, 150))
    eye = tools(labels, place)
    grid = eye.vision.grid
    gap = metres(grid, (40, 60), (70, 110))

    area = ask('area(find("lake"))', eye)
    assert (area.value, area.unit) == (pytest.approx(square_metres(grid, (10, 40), (20, 60)), rel=2e-3), "m2")
    assert ask('area(segment("lake"))', eye).value == pytest.approx(area.value)
    distance = ask('distance(find("lake"), find("forest"))', eye)
    assert (distance.value, distance.unit) == (pytest.approx(gap, rel=1e-3), "m")
    for factor, near in ((1.01, True), (0.99, False)):
        program = f'exists(where(find("forest"), "within", find("lake"), metres={gap * factor}))'
        assert ask(program, eye).value is near
    program = f'count(filter(find("lake"), larger_than_m2={0.99 * area.value}, smaller_than_m2={1.01 * area.value}))'
    assert ask(program, eye).value == 1
    assert ask(f'count(filter(find("lake"), larger_than_m2={1.01 * area.value}))', eye).value == 0


def test_lengths_and_areas_can_be_counted_in_epsg_3857() -> None:
    labels = blank(120, 160)
    draw(labels, "L", (10, 40), (20, 60))
    draw(labels, "F", (70, 100), (110, 150))
    true, inflated = tools(labels, "degrees"), tools(labels, "degrees", "epsg3857")
    programs = {'area(find("lake"))': 2, 'distance(find("lake"), find("forest"))': 1}

    for program, power in programs.items():
        ratio = ask(program, inflated).value / ask(program, true).value
        assert ratio == pytest.approx(np.cos(np.radians(60.1)) ** -power, rel=5e-3)
        assert ask(program, inflated).unit == ask(program, true).unit


def test_sizes_are_those_of_rsvqa() -> None:
    labels = blank(20, 60)
    for column, width in ((2, 9), (20, 10), (40, 11)):
        draw(labels, "H", (2, 12), (column, column + width))
    for metre, counts in ((1.0, [1, 2, 0]), (3.0, [0, 0, 3]), (2.2, [0, 2, 1])):
        grid = GroundGrid.of_canvas(
            grid_at("utm", 1, 1).crs, Affine(metre, 0, 5e5, 0, -metre, 5.5e6), (20, 60), (20, 60), "metres"
        )
        eye = Toolbox(OracleVision(labels, [*CLASSES.values()], {"house": ("House",)}, grid))
        assert [len(eye.filter(eye.find("house"), size=size).things) for size in SIZE_WORDS] == counts
    assert tuple(SIZES) == SIZE_WORDS


def test_every_function_and_every_choice_of_the_table_is_there() -> None:
    eye = tools(VILLAGE)
    lakes, houses = eye.find("lake"), eye.find("house")

    assert all(callable(getattr(eye, name)) for name in FUNCTIONS)
    for relation in RELATIONS:
        assert isinstance(
            eye.where(houses, relation, lakes, **({"metres": 9.0} if "within" in relation else {})), Objects
        )
    for shape in SHAPES:
        assert isinstance(eye.filter(lakes, shape=shape), Objects)


def test_objects_below_the_least_size_are_left_out_and_counted() -> None:
    eye = tools(VILLAGE, least_px=4)
    count = ask('count(find("house"))', eye)

    assert count.value == 0
    assert eye.find("house").left_out == {"smaller than 4 px2": 3}
    assert any(step.figures.get("smaller than 4 px2") == 3 for step in count.evidence)
    assert ask('exists(segment("house"))', eye).value is False
    assert ask('fraction(segment("house"))', eye).value == pytest.approx(3 / 98)
    assert ask('count(find("lake"))', eye).value == 2


def test_pixels_without_labels_have_no_say() -> None:
    eye = tools("LL??\nLL??\n..??")

    assert ask('fraction(segment("lake"))', eye).value == pytest.approx(4 / 6)
    assert ask('score("meadow")', eye).value == pytest.approx(2 / 6)
    with pytest.raises(NothingThere, match="there is no data"):
        tools("??\n??").fraction(tools("??\n??").segment("lake"))


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ('distance(find("lake"), find("house"))', "there is no house"),
        ('distance(find("forest"), find("forest"))', "there is no other forest"),
        ('position(find("river"))', "there is no river"),
        ('position(segment("river"))', "there is no river"),
        ('position(filter(find("lake"), size="small"))', "there is no such lake"),
        ('distance(nearest(find("house"), find("lake")), find("lake"))', "there is no house"),
    ],
)
def test_what_there_is_none_of_is_the_answer(program: str, answer: str) -> None:
    value = ask(program, tools("LL..FF\nLL..FF\nLL..FF", "mercator"))

    assert isinstance(value, Text)
    assert value.value == answer
    assert value.evidence


def test_without_georeference_the_answer_is_in_pixels_or_a_clear_refusal() -> None:
    eye = tools(VILLAGE, "nowhere")

    area, distance = ask('area(find("lake"))', eye), ask('distance(find("lake"), find("forest"))', eye)
    assert (area.value, area.unit, distance.value, distance.unit) == (16, "px2", 1, "px")
    assert ask('position(find("lake"))', eye).value == "top left"
    assert ask('compare(area(find("lake")), "more", area(find("forest")))', eye).value is True
    assert (
        ask('count(where(find("house"), "next to", find("lake")))', tools(VILLAGE, "nowhere", next_to_m=2)).value == 2
    )
    for program in (
        'where(find("lake"), "within", find("forest"), metres=200)',
        'where(find("lake"), "next to", find("forest"), metres=20)',
        'where(find("lake"), "north of", find("forest"))',
        'filter(find("lake"), size="small")',
        'filter(find("lake"), larger_than_m2=100)',
        'filter(find("lake"), smaller_than_m2=100)',
    ):
        with pytest.raises(Refused, match="without georeference"):
            ask(f"count({program})", eye)


def test_next_to_is_as_near_as_can_be_seen_but_at_least_25_metres() -> None:
    assert tools(VILLAGE).next_to == 25
    assert tools(VILLAGE, least_px=400).next_to == pytest.approx(200, rel=1e-3)
    assert tools(VILLAGE, "nowhere", least_px=400).next_to == 20
    assert tools(VILLAGE, least_px=400, next_to_m=70).next_to == 70


def test_touching_allows_for_half_a_patch() -> None:
    labels = blank(60, 100)
    draw(labels, "L", (10, 40), (10, 40))
    draw(labels, "F", (10, 40), (43, 80))
    program = 'exists(where(find("lake"), "touching", find("forest")))'

    assert ask(program, tools(labels, least_px=384)).value is True  # six patches of 8 pixels: 4 pixels
    assert ask(program, tools(labels, least_px=96)).value is False  # of 4 pixels: 2


def test_urban_by_buildings_or_by_cover() -> None:
    for rule, answer in (
        (UrbanRule("count", 2), "urban"),
        (UrbanRule("count", 3), "rural"),
        (UrbanRule("cover", 0.03), "urban"),
        (UrbanRule("cover", 0.04), "rural"),
    ):
        assert tools(VILLAGE, urban=rule).rural_or_urban().value == answer
    with pytest.raises(GraftError, match="urban rule is cover 20; expected a share"):
        UrbanRule("cover", 20)


def test_evidence_tells_each_step_once_in_order() -> None:
    eye = tools(VILLAGE)
    value = ask('count(where(find("house"), "within", find("lake"), metres=21))', eye)

    assert [(step.step, step.figures) for step in value.evidence] == [
        ('segment("house")', {}),
        ('find("house")', {"count": 3}),
        ('segment("lake")', {}),
        ('find("lake")', {"count": 2}),
        ('where(find("house"), "within", find("lake"), metres=21)', {"count": 2, "of": 3, "m": 21}),
        ('count(where(find("house"), "within", find("lake"), metres=21))', {"count": 2}),
    ]
    assert [len(step.shown.things) for step in value.evidence if isinstance(step.shown, Objects)] == [3, 2, 2, 2]
    loop = ask('n = 0\nfor lake in find("lake"):\n    n = n + area(lake)\nn', eye)
    told = {step.step: step.figures for step in loop.evidence}
    assert told['find("lake") #1'] == {"count": 1}
    assert told['area(find("lake") #2)'] == {"m2": pytest.approx(400, rel=1e-2)}


def test_evidence_and_its_words_stay_bounded() -> None:
    eye = tools(VILLAGE)
    mask = eye.segment("lake")
    for _ in range(200):
        mask = eye.union(mask, mask)
    area = eye.area(mask)

    assert len(area.evidence) <= 64
    assert max(len(step.step) for step in area.evidence) < 400


@pytest.mark.parametrize(
    ("labels", "meaning", "message"),
    [
        (np.zeros((3, 4), np.uint8), {}, "3 x 4 pixels, its image 5 x 6; expected the same"),
        (np.full((5, 6), 9, np.uint8), {}, "holds the index 9; expected 0 to 4"),
        (np.zeros((5, 6), np.uint8), {"lake": ("Sea",)}, "'lake' is said to be 'Sea', which is no class"),
    ],
)
def test_a_label_map_that_does_not_fit_is_told(
    labels: npt.NDArray[np.uint8], meaning: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(GraftError, match=message):
        OracleVision(labels, [*CLASSES.values()], meaning, grid_at("utm", 5, 6))


def test_the_oracle_says_what_it_does_not_know() -> None:
    assert ask('count(find("  Water   AREA"))', tools(VILLAGE)).value == 3
    with pytest.raises(GraftError, match="cannot say what 'harbour' is; it knows meadow, lake"):
        ask('exists(find("harbour"))', tools(VILLAGE))
    zero = OracleVision(read_map("L.."), [*CLASSES.values()], MEANING, grid_at("utm", 1, 3), unlabelled=0)
    assert zero.segment("meadow").pixels.tolist() == [[False] * 3]
    assert tools("....").vision.classify(["lake", "forest"]) == {"lake": 0.5, "forest": 0.5}


def test_the_map_reader_of_these_tests_reads() -> None:
    assert read_map("L.\n?F").tolist() == [[1, 0], [255, 2]]


def test_long_work_looks_at_the_clock() -> None:
    eye = tools(VILLAGE)
    lakes, houses = eye.find("lake"), eye.find("house")
    with running(Spent(Budget(seconds=0))):
        for work in (
            lambda: eye.find("forest"),
            lambda: eye.distance(lakes, houses),
            lambda: eye.where(lakes, "inside", houses),
        ):
            with pytest.raises(Refused, match="ran for more than 0 s"):
                work()
