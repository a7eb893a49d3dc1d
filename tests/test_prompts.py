"""Prompt files: their form, their spelling, their hash, and the vectors made of them."""

import gzip
import re
from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from safetensors.torch import save_file

from graft.errors import GraftError
from graft.prompts import (
    TextVectors,
    class_ids,
    ensemble,
    load_prompts,
    load_text_vectors,
    prompt_set_names,
    save_text_vectors,
    text_vectors,
)

MINIMAL = {
    "classes": [
        {"id": "A", "name": "apple", "described": ["a red fruit", "a fruit"]},
        {"id": "B", "name": "boat", "described": ["a vessel"]},
    ],
    "families": {"ground": ["a photo of {}.", "a {}."]},
}


def write(tmp_path: Path, content: object, name: str = "mine.yaml") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def changed(**changes: object) -> dict[str, object]:
    return {**MINIMAL, **changes}


# --- shipped files --------------------------------------------------------------------------------


def test_eurosat_is_in_torchvisions_order_with_openais_words() -> None:
    prompts = load_prompts("eurosat")
    assert " ".join(prompts.ids) == (
        "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential River SeaLake"
    )
    assert prompts.family_names == ("satellite", "ground", "described")
    assert prompts.sentences("satellite")[9] == [
        "a centered satellite photo of lake or sea.",
        "a centered satellite photo of a lake or sea.",
        "a centered satellite photo of the lake or sea.",
    ]


def test_every_shipped_set_loads_under_its_name() -> None:
    assert {"atlas", "eurosat", "whu_rs19"} <= set(prompt_set_names())
    for name in prompt_set_names():
        assert load_prompts(name).name == name


def common_words() -> set[str]:
    """Words that CLIP's tokenizer knows as one token: 30,000 frequent ones, and what the model itself can read."""
    vocabulary = Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    with gzip.open(vocabulary, "rt", encoding="utf-8") as file:
        merges = file.read().splitlines()[1 : 49152 - 256 - 2 + 1]
    return {"".join(merge.split()).removesuffix("</w>") for merge in merges if merge.endswith("</w>")} | {"a"}


# Looked up by a person; a new word that CLIP's tokenizer cuts to pieces is added here once it has been looked up too.
CORRECT_BUT_RARE = {
    *(
        "brushland",
        "bunkers",
        "chaparral",
        "chimneys",
        "cropland",
        "crosswalk",
        "furrows",
        "grassland",
        "helipad",
        "impervious",
        "impoverished",
        "lawns",
        "lichen",
        "mangroves",
        "moored",
        "parasols",
    ),
    *("ploughed", "reeds", "shrubland", "smokestack", "sowing", "sparse", "substation", "swampy", "warehouses"),
    "watercourse",
}


def misspelt(name_or_path: str | Path) -> set[str]:
    prompts = load_prompts(name_or_path)
    text = " ".join(
        sentence for family in prompts.family_names for row in prompts.sentences(family) for sentence in row
    )
    text += " " + " ".join(phrase for phrases in prompts.synonyms for phrase in phrases)
    return set(re.findall(r"[a-z]+", text.lower())) - common_words() - CORRECT_BUT_RARE


@pytest.mark.parametrize("name", prompt_set_names())
def test_spelling_of_shipped_sets(name: str) -> None:
    assert misspelt(name) == set()


def test_the_spelling_test_finds_known_misspellings(tmp_path: Path) -> None:
    families = {"bad": ["a sattelite image of {}.", "an arial veiw of {}."]}
    classes = [{"id": "A", "name": "apple", "synonyms": ["frouit"]}, {"id": "B", "name": "boat"}]
    content = changed(classes=classes, families=families)
    assert misspelt(write(tmp_path, content)) >= {"sattelite", "veiw", "frouit"}


# --- form -----------------------------------------------------------------------------------------


def test_hash_covers_content_and_nothing_else(tmp_path: Path) -> None:
    plain = load_prompts(write(tmp_path, MINIMAL)).sha256
    assert load_prompts(write(tmp_path, "# a comment\n" + yaml.safe_dump(MINIMAL), "other.yaml")).sha256 == plain
    reordered = changed(classes=MINIMAL["classes"][::-1])
    reworded = changed(families={"ground": ["a photo of {}", "a {}."]})
    renamed = changed(families={"earth": MINIMAL["families"]["ground"]})
    hashes = [load_prompts(write(tmp_path, content)).sha256 for content in (reordered, reworded, renamed)]
    assert len({plain, *hashes}) == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("classes: [", r"mine\.yaml is not YAML"),
        ([], r"mine\.yaml, key \(top\): expected the keys"),
        (changed(famlies={}), r"key \(top\).*famlies"),
        (changed(classes=[]), r"key classes: expected a list"),
        (changed(classes=[{"id": "A", "nmae": "a"}]), r"key classes\[0\].*nmae"),
        (changed(classes=[{"id": False, "name": "no"}]), r"key classes\[0\]\.id.*found False"),
        (changed(classes=[{"id": "A", "name": "a"}, {"id": "A", "name": "b"}]), r"found twice: \['A'\]"),
        (changed(classes=[{"id": "A", "name": "a", "described": "text"}]), r"classes\[0\]\.described.*list"),
        (changed(classes=[*MINIMAL["classes"], {"id": "C", "name": "c"}]), r"for none, missing for C"),
        (changed(families={"ground": ["a photo."]}), r"families\.ground\[0\].*one \{\}"),
        (changed(families={"ground": []}), r"families\.ground.*list"),
        (changed(families={"described": ["{}"]}), r"families\.described"),
        (changed(families={"a b": ["{}"]}), r"families\.a b"),
        (changed(classes=[{"id": "A", "name": "a"}], families={}), r"key families"),
    ],
)
def test_faults_name_file_and_key(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(GraftError, match=message):
        load_prompts(write(tmp_path, content))


def test_unknown_set_lists_the_known_ones() -> None:
    with pytest.raises(GraftError, match=r"'eurosta'.*eurosat"):
        load_prompts("eurosta")


def test_unknown_family_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match=r"no family 'satellite'; it has: ground, described"):
        load_prompts(write(tmp_path, MINIMAL)).sentences("satellite")


# --- vectors --------------------------------------------------------------------------------------


def test_text_vectors_are_renormalised_means_of_unit_vectors(tmp_path: Path) -> None:
    table = {
        "a photo of apple.": [10.0, 0.0],
        "a apple.": [0.0, 1.0],
        "a photo of boat.": [0.0, 2.0],
        "a boat.": [0.0, 5.0],
    }
    vectors = text_vectors(
        lambda s: torch.tensor([table[x] for x in s]), load_prompts(write(tmp_path, MINIMAL)), "ground"
    )
    torch.testing.assert_close(vectors, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))


def test_described_family_uses_each_classs_own_sentences(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def encode(sentences: list[str]) -> torch.Tensor:
        seen.append(list(sentences))
        return torch.ones(len(sentences), 3)

    text_vectors(encode, load_prompts(write(tmp_path, MINIMAL)), "described")
    assert seen == [["a red fruit", "a fruit"], ["a vessel"]]


CARD = {"name": "mine", "family": "ground", "sha256": "0" * 64}


def test_text_vectors_survive_a_file(tmp_path: Path) -> None:
    before = TextVectors(("A", "B"), ensemble(torch.randn(5, 2, 8)), CARD, "teacher-hash")
    save_text_vectors(tmp_path / "text.safetensors", before)
    after = load_text_vectors(tmp_path / "text.safetensors")
    torch.testing.assert_close(after.vectors, before.vectors)
    assert (after.ids, after.card, after.teacher) == (before.ids, before.card, before.teacher)
    assert class_ids(tmp_path / "text.safetensors") == ("A", "B")


def test_templates_in_a_file_are_ensembled_and_the_file_hashed(tmp_path: Path) -> None:
    raw = torch.randn(4, 2, 8).half()
    save_file({"text": raw}, tmp_path / "foreign.safetensors", metadata={"classes": '["A", "B"]'})
    text = load_text_vectors(tmp_path / "foreign.safetensors")
    torch.testing.assert_close(text.vectors, ensemble(raw.float()))
    assert (text.card["name"], text.card["family"], text.teacher) == ("foreign", "file", None)
    assert len(text.card["sha256"]) == 64


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"words": torch.ones(2, 4)}, {"classes": '["A", "B"]'}, "holds no text vectors"),
        ({"text": torch.ones(2, 4)}, {}, "holds no text vectors"),
        ({"text": torch.ones(2, 4)}, {"classes": '["A"'}, "holds no text vectors"),
        ({"text": torch.ones(3, 4)}, {"classes": '["A", "B"]'}, r"\[3, 4\] for the classes"),
        ({"text": torch.ones(2, 4)}, {"classes": '["A", "A"]'}, "different ids"),
        ({"text": torch.ones(2, 4).int()}, {"classes": '["A", "B"]'}, "int32"),
        ({"text": torch.zeros(2, 4)}, {"classes": '["A", "B"]'}, "zero or not finite"),
        ({"text": torch.full((2, 4), torch.nan)}, {"classes": '["A", "B"]'}, "zero or not finite"),
        ({"text": torch.ones(2, 4)}, {"classes": '["A", "B"]', "prompts": '["x"]'}, "metadata 'prompts'"),
    ],
)
def test_faulty_vector_files_are_told_apart(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str], message: str
) -> None:
    save_file(tensors, tmp_path / "t.safetensors", metadata=metadata)
    with pytest.raises(GraftError, match=message):
        load_text_vectors(tmp_path / "t.safetensors")


def test_a_file_that_is_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(b"garbage")
    with pytest.raises(GraftError, match="holds no text vectors"):
        load_text_vectors(tmp_path / "t.safetensors")
    with pytest.raises(GraftError, match="No text-vector file"):
        load_text_vectors(tmp_path / "absent.safetensors")
