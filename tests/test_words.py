"""Words of a segmentation: files and lists of classes with synonyms, and the vectors made of them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional

from graft.errors import GraftError
from graft.prompts import PLAIN_FAMILIES, TextVectors, ensemble, load_prompts, save_text_vectors, text_vectors
from graft.teacher import Teacher
from graft.words import ClassWords, read_class_words

SET = {
    "classes": [
        {"id": "A", "name": "apple", "synonyms": ["red fruit", "pome"], "described": ["a round fruit", "it is sweet"]},
        {"id": "B", "name": "boat", "described": ["a vessel"]},
    ],
    "families": {"satellite": ["an aerial photo of {}."], "ground": ["a photo of {}.", "a {}."]},
}
SEGEARTH = "background\nbuilding,roof,house\n\n# a comment\nroad, parking  lot # another\n"


class Recorder:
    """A tower that notes what it is asked and answers with a vector a sentence."""

    identity = "recorder"

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        self.asked.append(list(texts))
        seeds = [sum(text.encode()) for text in texts]
        drawn = torch.stack([torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        return functional.normalize(drawn, dim=-1)


def write_set(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def write_text(tmp_path: Path, text: str | bytes, name: str = "loveda.txt") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def filled(phrase: str, family: str = "ground") -> list[str]:
    return [template.replace("{}", phrase) for template in PLAIN_FAMILIES[family]]


# --- prompt sets ----------------------------------------------------------------------------------


def test_a_set_gives_one_vector_for_each_name_and_synonym(tmp_path: Path) -> None:
    tower = Recorder()
    words = read_class_words(write_set(tmp_path, SET), tower)
    assert tower.asked == [
        ["a photo of apple.", "a apple."],
        ["a photo of red fruit.", "a red fruit."],
        ["a photo of pome.", "a pome."],
        ["a photo of boat.", "a boat."],
    ]
    assert words.ids == ("A", "B")
    assert words.owner.tolist() == [0, 0, 0, 1]
    assert words.owner.dtype == torch.int64
    assert words.card == load_prompts(tmp_path / "mine.yaml").card("ground")
    assert words.teacher == "recorder"
    torch.testing.assert_close(words.vectors[1], ensemble(Recorder().encode_text(tower.asked[1])))


def test_the_family_is_ground_where_there_is_one_and_else_the_first(tmp_path: Path) -> None:
    assert read_class_words("eurosat", Recorder()).card["family"] == "ground"
    assert read_class_words("eurosat", Recorder(), "satellite").card["family"] == "satellite"
    without = {**SET, "families": {"satellite": ["an aerial photo of {}."]}}
    assert read_class_words(write_set(tmp_path, without), Recorder()).card["family"] == "satellite"


def test_described_gives_one_vector_a_class_of_its_sentences(tmp_path: Path) -> None:
    tower = Recorder()
    words = read_class_words(write_set(tmp_path, SET), tower, "described")
    assert tower.asked == [["a round fruit", "it is sweet"], ["a vessel"]]
    assert words.owner.tolist() == [0, 1]


def test_without_synonyms_the_vectors_are_those_of_classification(teacher: Teacher, prompts: Path) -> None:
    words = read_class_words(prompts, teacher)
    expected = text_vectors(teacher.encode_text, load_prompts(prompts), "ground")
    torch.testing.assert_close(words.vectors, expected)
    assert words.teacher == teacher.identity


def test_synonyms_change_the_hash_of_a_set_and_classification_ignores_them(tmp_path: Path) -> None:
    with_synonyms = load_prompts(write_set(tmp_path, SET))
    plain_classes = [{k: v for k, v in row.items() if k != "synonyms"} for row in SET["classes"]]
    without = load_prompts(write_set(tmp_path, {**SET, "classes": plain_classes}))
    assert with_synonyms.synonyms == (("red fruit", "pome"), ())
    assert without.synonyms == ((), ())
    assert with_synonyms.sha256 != without.sha256
    assert with_synonyms.sentences("ground") == without.sentences("ground")


def test_the_hash_of_a_set_without_synonyms_is_as_it_always_was() -> None:
    assert load_prompts("eurosat").sha256 == "f25a3dd5e20e4bd5136f15680d297981c93f16f1a6b7bd14155c0ecf4ac0901f"


@pytest.mark.parametrize("synonyms", ["pome", [], [3], [""]])
def test_synonyms_that_are_no_list_of_words_are_named(tmp_path: Path, synonyms: object) -> None:
    rows = [{"id": "A", "name": "apple", "synonyms": synonyms}, {"id": "B", "name": "boat"}]
    with pytest.raises(GraftError, match=r"classes\[0\]\.synonyms"):
        read_class_words(write_set(tmp_path, {**SET, "classes": rows}), Recorder())


# --- text files and lists -------------------------------------------------------------------------


def test_a_file_in_the_segearth_form_gives_a_class_a_line(tmp_path: Path) -> None:
    tower = Recorder()
    words = read_class_words(write_text(tmp_path, SEGEARTH), tower)
    assert words.ids == ("background", "building", "road")
    assert words.owner.tolist() == [0, 1, 1, 1, 2, 2]
    assert tower.asked == [filled(p) for p in ("background", "building", "roof", "house", "road", "parking lot")]
    assert (words.card["name"], words.card["family"]) == ("loveda", "ground")


def test_a_file_with_windows_line_ends_and_a_byte_order_mark_reads_the_same(tmp_path: Path) -> None:
    plain = read_class_words(write_text(tmp_path, SEGEARTH), Recorder())
    windows = "\ufeff" + SEGEARTH.replace("\n", "\r\n")
    assert read_class_words(write_text(tmp_path, windows), Recorder()).card == plain.card


def test_a_list_gives_a_class_a_word_or_with_semicolons_synonyms(tmp_path: Path) -> None:
    plain = read_class_words("water, forest,bare   soil", Recorder(), "satellite")
    assert plain.ids == ("water", "forest", "bare soil")
    assert plain.card["name"] == "inline"
    assert plain.card["family"] == "satellite"
    grouped = read_class_words("background; building, roof, house; road, parking lot;", Recorder())
    assert grouped.ids == ("background", "building", "road")
    assert grouped.owner.tolist() == [0, 1, 1, 1, 2, 2]
    assert grouped.card["sha256"] == read_class_words(write_text(tmp_path, SEGEARTH), Recorder()).card["sha256"]
    assert grouped.card["sha256"] != plain.card["sha256"]


def test_a_list_longer_than_any_file_name_is_a_list() -> None:
    names = [f"class number {number}" for number in range(300)]
    assert read_class_words(", ".join(names), Recorder()).ids == tuple(names)


def test_a_file_without_a_known_ending_is_read_as_text(tmp_path: Path) -> None:
    path = write_text(tmp_path, "water\nforest\n", "classes")
    assert read_class_words(str(path), Recorder()).ids == ("water", "forest")


def test_stored_vectors_need_no_tower(tmp_path: Path) -> None:
    card = {"name": "x", "family": "ground", "sha256": "0" * 64}
    vectors = functional.normalize(torch.randn(3, 8), dim=-1)
    save_text_vectors(tmp_path / "text.safetensors", TextVectors(("a", "b", "c"), vectors, card, "clip"))
    words = read_class_words(tmp_path / "text.safetensors", None)
    torch.testing.assert_close(words.vectors, vectors)
    assert (words.ids, words.owner.tolist(), words.card, words.teacher) == (("a", "b", "c"), [0, 1, 2], card, "clip")
    with pytest.raises(GraftError, match="'satellite'.*there is: ground"):
        read_class_words(tmp_path / "text.safetensors", None, "satellite")


# --- faults ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no words"),
        ("\n # only a comment\n\n", "holds no words"),
        ("water\n", "names one class, 'water'.*something else"),
        ("water\n, ,\nroad", "line 2: commas and no word"),
        ("water\nroad\n\nlake, Water", "'Water' in line 1 and in line 4"),
        ("water\nbare soil, bare  Soil", "'bare Soil' twice in line 2"),
        ("water\nfôret".encode("latin-1"), "not UTF-8"),
        ("water\nforest".encode("utf-16"), "not UTF-8"),
    ],
)
def test_faults_of_a_text_file_are_told_in_one_sentence(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(GraftError, match=message) as fault:
        read_class_words(write_text(tmp_path, text), Recorder())
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "holds no words"),
        (" ; ,", "holds no words"),
        ("water", "names one class"),
        ("water, road, WATER", "'WATER' in class 1 and in class 3"),
        ("water; road, lake, road", "'road' twice in class 2"),
        ("gone.txt", "No file of words at gone.txt"),
        ("loveda.yaml", "No file of words at loveda.yaml.*eurosat"),
        (Path("gone"), "No file of words at gone"),
        ("gone.safetensors", "No file of words at gone.safetensors"),
    ],
)
def test_faults_of_a_list_are_told_in_one_sentence(source: str | Path, message: str) -> None:
    with pytest.raises(GraftError, match=message):
        read_class_words(source, Recorder())


def test_equal_phrases_in_a_set_are_named_with_their_classes(tmp_path: Path) -> None:
    rows = [{"id": "A", "name": "apple"}, {"id": "B", "name": "boat", "synonyms": ["Apple"]}]
    with pytest.raises(GraftError, match="'Apple' in class A and in class B"):
        read_class_words(write_set(tmp_path, {**SET, "classes": rows}), Recorder())


def test_an_unknown_family_and_a_missing_tower_are_told(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="'sattelite' for eurosat; there is: satellite, ground, described"):
        read_class_words("eurosat", Recorder(), "sattelite")
    with pytest.raises(GraftError, match="'described' for a list of words; there is: ground, satellite"):
        read_class_words("water, road", Recorder(), "described")
    with pytest.raises(GraftError, match="need a CLIP text tower.*safetensors"):
        read_class_words("water, road", None)


# --- scores ---------------------------------------------------------------------------------------


def test_a_class_scores_as_its_best_synonym() -> None:
    words = ClassWords(("a", "b", "c"), torch.eye(6), torch.tensor([0, 1, 1, 1, 2, 2]), {}, None)
    scores = torch.tensor([[0.1, 0.3, -0.5, 0.2, -0.9, -0.8], [0.0, -1.0, 0.4, 0.2, 0.7, 0.1]])
    torch.testing.assert_close(words.class_scores(scores), torch.tensor([[0.1, 0.3, -0.8], [0.0, 0.4, 0.7]]))
    stacked = scores.expand(5, 4, 2, 6)
    assert words.class_scores(stacked).shape == (5, 4, 2, 3)


def test_without_synonyms_scores_pass_through() -> None:
    words = ClassWords(("a", "b"), torch.eye(2), torch.tensor([0, 1]), {}, None)
    scores = torch.rand(3, 2)
    assert words.class_scores(scores) is scores
