"""Likeness: words against everyday descriptions, photos by what is said of both, mixes, and the verdict."""

import math

import pytest
import torch
from torch import Tensor

from graft.search.likeness import SAME, Background, likeness
from graft.search.query import Query, Wish, mix
from tests.search_inputs import towards, unit

SCALE = 20.0


def background(*vectors: Tensor) -> Background:
    return Background(tuple(f"phrase {number}" for number in range(len(vectors))), torch.stack(vectors), SCALE)


PLAIN = background(unit(0, 1), unit(0, 0, 1), unit(0, 0, 0, 1))


def words(vector: Tensor, weight: float = 1.0) -> tuple[Wish, Tensor]:
    return Wish("words", "words", weight), vector


def photo(vector: Tensor) -> tuple[Wish, Tensor]:
    return Wish("photo", "photo.jpg", 1.0), vector


def query(*parts: tuple[Wish, Tensor]) -> Query:
    return mix([wish for wish, _ in parts], torch.stack([vector for _, vector in parts]))


def like(tiles: Tensor, asked: Query, against: Background | None = PLAIN) -> list[float]:
    found = likeness(tiles, asked, against)
    assert found is not None
    return found.tolist()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_words_are_held_against_the_best_everyday_description() -> None:
    tiles = torch.stack([unit(1), towards(0.6), unit(1, 1), unit(0, 0, 1)])
    expected = [sigmoid(20), sigmoid(20 * (0.6 - 0.8)), 0.5, sigmoid(-20)]
    assert like(tiles, query(words(unit(1)))) == pytest.approx(expected, abs=1e-5)


def test_whether_it_is_half_does_not_depend_on_the_scale() -> None:
    tiles = torch.nn.functional.normalize(torch.randn(200, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    asked = query(words(unit(1)))
    sharp = like(tiles, asked, Background(PLAIN.texts, PLAIN.vectors, 100.0))
    flat = like(tiles, asked, Background(PLAIN.texts, PLAIN.vectors, 5.0))
    assert [share >= 0.5 for share in sharp] == [share >= 0.5 for share in flat]
    assert 20 < sum(share >= 0.5 for share in sharp) < 180


def test_descriptions_that_mean_the_query_do_not_compete() -> None:
    tile, asked = towards(0.9, 0, 5)[None], query(words(unit(1)))
    synonym = towards(0.95, 0, 5)  # nearer to the tile than the query is
    assert like(tile, asked, background(*PLAIN.vectors, synonym)) == pytest.approx([sigmoid(20 * 0.9)], abs=1e-4)
    # As near to the tile, and something else.
    rival = towards(0.4, 5, 1)
    against = background(*PLAIN.vectors, rival)
    middle = against.vectors.mean(dim=0)
    apart = torch.cosine_similarity(unit(1) - middle, rival - middle, dim=0)
    assert float(apart) < SAME
    best = float(tile[0] @ rival)
    assert like(tile, asked, against) == pytest.approx([sigmoid(20 * (0.9 - best))], abs=1e-4)


def test_what_all_vectors_share_says_nothing_of_meaning() -> None:
    # CLIP's text vectors have a large part in common; these lie at cosines of 0.8 and more and mean different things.
    common = 2 * unit(0, 0, 0, 0, 0, 0, 0, 1)
    vectors = [torch.nn.functional.normalize(common + vector, dim=0) for vector in torch.eye(8)[:5]]
    assert float(vectors[0] @ vectors[1]) > 0.79
    tile = vectors[1][None]
    assert like(tile, query(words(vectors[0])), background(*vectors[1:]))[0] < 0.05


def test_a_photo_is_like_a_tile_of_which_the_same_is_said() -> None:
    asked = query(photo(unit(0, 0.9, 0.1, 0, 0.4)))
    same, mixed, other = unit(0, 0.9, 0.1, 0, 0, 0.4), unit(0, 1, 0, 1), unit(0, 0, 0, 1)
    shares = like(torch.stack([same, mixed, other]), asked)
    assert shares[0] == pytest.approx(1, abs=1e-5)
    assert shares[0] > shares[1] > 0.5 > 0.05 > shares[2]
    p, q = (torch.softmax(SCALE * PLAIN.vectors @ vector, dim=0) for vector in (asked.parts[0], mixed))
    assert shares[1] == pytest.approx(float((p * q).sqrt().sum()), abs=1e-5)


def test_a_mix_is_the_weighted_mean_of_what_is_wanted() -> None:
    tile = unit(1)[None]
    assert like(tile, query(words(unit(1), 3.0), words(unit(0, 0, 0, 0, 1)))) == pytest.approx(
        [0.75 + 0.25 * 0.5], abs=1e-4
    )


def test_what_is_unwanted_takes_likeness_away() -> None:
    tile = unit(1, 0, 0, 0, 1)[None]
    wanted, unwanted = words(unit(1)), words(unit(0, 0, 0, 0, 1), -0.5)
    alone = sigmoid(SCALE * math.sqrt(0.5))
    assert like(tile, query(wanted)) == pytest.approx([alone], abs=1e-5)
    assert like(tile, query(wanted, unwanted)) == pytest.approx([alone * (1 - alone)], abs=1e-5)
    clean = unit(1)[None]
    assert like(clean, query(wanted, unwanted)) == pytest.approx([sigmoid(20) * 0.5], abs=1e-4)


def test_one_part_of_a_mix_does_not_compete_with_the_other() -> None:
    # "turbines; grassland" on a tile of more grass than turbines: the everyday "grass" is what is asked for.
    tile, asked = unit(0.7, 1)[None], query(words(unit(1)), words(unit(0, 1)))
    assert like(tile, asked)[0] > 0.99


def test_nothing_to_compare_with_gives_no_likeness() -> None:
    asked = query(words(unit(1)))
    assert likeness(unit(1)[None], asked, None) is None
    assert likeness(unit(1)[None], asked, background(unit(0, 1))) is None
    assert likeness(unit(1)[None], query(words(unit(1)), words(unit(0, 1))), background(unit(1), unit(0, 1))) is None
