"""What is looked for: parts and weights, words and photos to vectors, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from graft.errors import GraftError
from graft.prompts import PLAIN_FAMILIES, TextVectors, ensemble, save_text_vectors
from graft.search import encode
from graft.search.encode import read_query
from graft.search.query import NOT_WEIGHT, Wish, mix, read_wishes
from graft.teacher import Teacher, square_photo
from tests.search_inputs import card_of, unit


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def photo(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)).save(path)
    return path


# --- parts ----------------------------------------------------------------------------------------


def test_words_alone_are_one_part() -> None:
    assert read_wishes("wind  turbines ") == (Wish("words", "wind turbines", 1.0),)


def test_semicolons_separate_and_equals_weighs() -> None:
    wishes = read_wishes("wind turbines=2; grassland;", ["forest", "lake = 0.3; sea"], ["a.jpg=0.5", "b.jpg"])
    assert [(wish.kind, wish.text, wish.weight) for wish in wishes] == [
        ("words", "wind turbines", 2.0),
        ("words", "grassland", 1.0),
        ("photo", "a.jpg", 0.5),
        ("photo", "b.jpg", 1.0),
        ("words", "forest", -NOT_WEIGHT),
        ("words", "lake", -0.3),
        ("words", "sea", -NOT_WEIGHT),
    ]
    assert str(mix(wishes, torch.eye(7))) == (
        '"wind turbines" (2), "grassland", photo a.jpg (0.5), photo b.jpg, not "forest", not "lake" (0.3), not "sea"'
    )


def test_a_photo_whose_name_has_an_equals_sign_is_a_file(tmp_path: Path) -> None:
    path = photo(tmp_path / "a=2.png")
    assert read_wishes("", photos=[str(path)]) == (Wish("photo", str(path), 1.0),)


@pytest.mark.parametrize(
    "text", ["turbines=", "turbines=two", "turbines=0", "turbines=-1", "turbines=inf", "=2", "a=1e39", "a=1e-9"]
)
def test_weights_that_are_none(text: str) -> None:
    with pytest.raises(GraftError, match=r"expected a number from 0.001 to 1000"):
        read_wishes(text)


@pytest.mark.parametrize("words", ["", " ; "])
def test_nothing_to_search_for(words: str) -> None:
    with pytest.raises(GraftError, match=r"Nothing to search for: expected words"):
        read_wishes(words)
    with pytest.raises(GraftError, match=r"Nothing to search for besides what is unwanted"):
        read_wishes(words, ["forest"])


def test_the_mix_is_the_weighted_sum_at_unit_length() -> None:
    query = mix(read_wishes("a=2; b", ["c"]), torch.eye(3))
    torch.testing.assert_close(query.vector, functional.normalize(torch.tensor([2.0, 1.0, -NOT_WEIGHT]), dim=0))


def test_parts_that_cancel_out_are_refused() -> None:
    with pytest.raises(GraftError, match=r'cancel out \("a", not "b" \(1\)\)'):
        mix(read_wishes("a", ["b=1"]), torch.ones(2, 4) / 2)


# --- vectors --------------------------------------------------------------------------------------


def test_words_become_the_ensemble_of_the_familys_templates(teacher: Teacher) -> None:
    query, _ = read_query(card_of(teacher), read_wishes("lake"), family="satellite", background="eurosat")
    sentences = [template.replace("{}", "lake") for template in PLAIN_FAMILIES["satellite"]]
    torch.testing.assert_close(query.vector, ensemble(teacher.encode_text(sentences)))
    ground, _ = read_query(card_of(teacher), read_wishes("lake"), background="eurosat")
    assert not torch.allclose(ground.vector, query.vector, atol=1e-3)


def test_photos_are_seen_as_the_teacher_sees_them_upright(tmp_path: Path, teacher: Teacher) -> None:
    with Image.open(photo(tmp_path / "plain.png")) as plain:
        exif = Image.Exif()
        exif[0x0112] = 6  # stored turned by 90 degrees
        plain.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
        expected = teacher.encode_image(square_photo(plain, teacher.image_size)[None])[0]
    wishes = read_wishes("", photos=[str(tmp_path / "turned.png")])
    query, _ = read_query(card_of(teacher), wishes, background="eurosat")
    torch.testing.assert_close(query.vector, expected, atol=1e-5, rtol=0)
    assert query.photos == (tmp_path / "turned.png",)


def test_the_background_is_made_once_a_teacher_and_family(
    cache: Path, teacher: Teacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first = read_query(card_of(teacher), read_wishes("lake"), background="eurosat")
    assert len(list((cache / "graft" / "words").iterdir())) == 1
    monkeypatch.setattr(encode, "text_vectors", None)  # would be called again without the file
    _, second = read_query(card_of(teacher), read_wishes("sea"), background="eurosat")
    torch.testing.assert_close(first.vectors, second.vectors)
    assert first.scale == teacher.logit_scale


def test_a_cache_that_cannot_be_written_is_no_fault(cache: Path, teacher: Teacher) -> None:
    cache.write_text("a file where a folder is to be")
    _, background = read_query(card_of(teacher), read_wishes("lake"), background="eurosat")
    assert len(background.texts) == 10


def test_text_vectors_are_looked_up_without_a_tower(tmp_path: Path) -> None:
    path = tmp_path / "words.safetensors"
    words = {"name": "mine", "family": "ground", "sha256": "0" * 64}
    save_text_vectors(path, TextVectors(("Sea Lake", "Forest"), torch.stack([unit(1), unit(0, 1)]), words, "cd" * 32))
    query, background = read_query(card_of(), read_wishes("sea lake", ["forest"]), text_vectors_file=path)
    torch.testing.assert_close(query.vector, unit(1, -NOT_WEIGHT))
    assert (background.texts, background.scale) == (("Sea Lake", "Forest"), 20.0)
    with pytest.raises(GraftError, match=r'has no class "town"; it has: Sea Lake, Forest\.'):
        read_query(card_of(), read_wishes("town"), text_vectors_file=path)
    for settings, message in (
        ({"background": "eurosat"}, r"--background eurosat with --text-vectors"),
        ({"teacher_weights": "laion2b"}, r"--teacher and --teacher-weights are for photos"),
    ):
        with pytest.raises(GraftError, match=message):
            read_query(card_of(), read_wishes("forest"), text_vectors_file=path, **settings)
    save_text_vectors(path, TextVectors(("a", "b"), torch.stack([unit(1), unit(0, 1)]), words, "ef" * 32))
    with pytest.raises(GraftError, match=r"but .*words\.safetensors is of efefefefefef \(D=8\)"):
        read_query(card_of(), read_wishes("a"), text_vectors_file=path)


# --- refused --------------------------------------------------------------------------------------


def refusal(teacher: Teacher, words: str = "", photos: tuple[str, ...] = ()) -> str:
    with pytest.raises(GraftError) as fault:
        read_query(card_of(teacher), read_wishes(words, photos=photos))
    return str(fault.value)


def test_more_words_than_the_tower_reads_are_refused_in_one_sentence(teacher: Teacher) -> None:
    told = refusal(teacher, "wind " * 2000)
    assert "has 9,999 characters; the text tower reads 16 tokens at most" in told
    assert len(told) < 300


def test_the_longest_words_that_are_read_whole_are_taken(teacher: Teacher) -> None:
    # 16 tokens: start, "a photo taken near a", the words, ".", end.
    read_query(card_of(teacher), read_wishes(" ".join(["lake"] * 8)), background="eurosat")
    assert "16 tokens" in refusal(teacher, " ".join(["lake"] * 9))


@pytest.mark.parametrize("words", ["風力発電", "ветряки", "طواحين", "lake και forest"])
def test_another_script_is_refused(teacher: Teacher, words: str) -> None:
    assert "reads English only. Translate it." in refusal(teacher, words)


@pytest.mark.parametrize(("words", "warned"), [("Windräder", True), ("São Paulo", False), ("wind turbines", False)])
def test_words_that_fall_to_pieces_are_warned_of(
    teacher: Teacher, words: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    read_query(card_of(teacher), read_wishes(words), background="eurosat")
    assert ("may not know" in caplog.text) is warned


def test_photos_that_cannot_be_read(tmp_path: Path, teacher: Teacher) -> None:
    assert refusal(teacher, photos=("absent.jpg",)).startswith("No photo at absent.jpg.")
    (tmp_path / "text.jpg").write_text("no picture")
    assert "text.jpg cannot be read: cannot identify image file" in refusal(teacher, photos=(f"{tmp_path}/text.jpg",))
    whole = photo(tmp_path / "whole.png", (200, 200)).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    assert "half.png cannot be read" in refusal(teacher, photos=(f"{tmp_path}/half.png",))


def test_a_teacher_of_another_index_is_refused(teacher: Teacher) -> None:
    card = card_of(teacher)
    card.teacher["identity"] = "ef" * 32
    with pytest.raises(
        GraftError, match=r"efefefefefef\), but the query would be read by local-dir:.*Give the --teacher"
    ):
        read_query(card, read_wishes("lake"))


def test_an_unknown_family_is_refused(teacher: Teacher) -> None:
    with pytest.raises(GraftError, match=r"--family is 'sky'; expected one of ground, satellite"):
        read_query(card_of(teacher), read_wishes("lake"), family="sky")
