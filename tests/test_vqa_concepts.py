from pathlib import Path

import pytest
import yaml

from graft.atlas.classes import IDS
from graft.errors import GraftError
from graft.vqa.concepts import concept_set_names, load_concepts, meaning_of_atlas

# The objects of RSVQA's generator, evaluation.md 5.3.
GENERATED = (
    "building",
    "residential building",
    "commercial building",
    "road",
    "water area",
    "residential area",
    "grass area",
    "commercial area",
    "construction area",
    "industrial area",
    "retail area",
    "religious area",
    "allotment",
    "cemetery",
    "depot",
    "farmland",
    "farmyard",
    "forest",
    "garage",
    "greenfield",
    "landfill",
    "meadow",
    "military area",
    "orchard",
    "port",
    "railway",
    "recreation ground",
    "salt pond",
    "vineyard",
)
EVERYDAY = ("harbour", "airport", "bridge", "car park", "sports field", "solar panels", "wind turbine", "greenhouse")


def write(folder: Path, content: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


def test_the_sets_that_come_with_graft() -> None:
    assert concept_set_names() == ("atlas", "everyday", "rsvqa")
    everyday = load_concepts("everyday")
    assert len(everyday.names) >= 50
    assert {everyday.known(name) for name in EVERYDAY} == set(EVERYDAY)
    for name in concept_set_names():
        concepts = load_concepts(name)
        for concept in concepts:
            assert {concepts.known(form) for form in (concept.name, concept.plural, *concept.also)} == {concept.name}
            assert concepts.rivals(concept.name), f"{name} has nothing to tell {concept.name} from"


@pytest.mark.parametrize("name", GENERATED)
def test_every_object_of_rsvqa_with_its_plural(name: str) -> None:
    concepts = load_concepts("rsvqa")
    assert concepts.known(name) == concepts.known(f"{name}s") == name


def test_the_concepts_of_the_atlas_are_its_classes() -> None:
    meaning = meaning_of_atlas()
    single = [classes[0] for classes in meaning.values() if len(classes) == 1]
    assert sorted(single) == sorted(IDS)
    assert meaning["water area"] == ("River", "Lake")
    assert meaning["built-up area"] == ("Residential", "Industrial")
    assert set(meaning["green space"]) == {"Forest", "Meadow", "Orchard"}
    assert set(load_concepts("atlas").names) == set(meaning)
    assert load_concepts("atlas").known("beachs") == "beach"


@pytest.mark.parametrize(
    ("phrase", "name"),
    [
        ("Quarries", "quarry"),
        ("quarrys", "quarry"),
        ("Tree", "forest"),
        ("  parking   LOTS ", "car park"),
        ("built up areas", "built-up area"),
        ("wind-turbines", "wind turbine"),
        ("bodies of water", "water area"),
        ("churches", "church"),
        ("spaceship", None),
        ("lakeside hotel", None),
        ("", None),
        ("!!! %s {0.__class__}", None),
    ],
)
def test_what_a_phrase_means(phrase: str, name: str | None) -> None:
    assert load_concepts("everyday").known(phrase) == name


def test_families_and_rivals() -> None:
    concepts = load_concepts("everyday")
    family = concepts.family("water area")
    assert family[0] == "water area"
    assert {"lake", "reservoir", "river", "canal", "sea"} <= set(family)
    rivals = set(concepts.rivals("lake"))
    assert {"river", "sea", "forest"} <= rivals
    # What a lake is, and what is a lake, are not against it.
    assert not {"lake", "water area", "reservoir"} & rivals
    # Two that share a member are not against each other, though neither includes the other.
    assert "green space" not in concepts.rivals("vegetation")
    assert "vegetation" not in concepts.rivals("green space")
    for name in concepts.names:
        assert all(name in concepts.rivals(rival) for rival in concepts.rivals(name))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"name": "glacier", "also": ["ice field"], "includes": ["firn"]},
        {"name": "firn", "plural": "firn", "phrases": ["old snow"]},
    ]
    concepts = load_concepts(write(tmp_path, rows))
    assert concepts["glacier"].phrases == ("glacier", "ice field")
    assert concepts["glacier"].plural == "glaciers"
    assert concepts.known("Ice Fields") == "glacier"
    told = "# a comment\n" + yaml.safe_dump(rows)
    assert load_concepts(write(tmp_path, told)).sha256 == concepts.sha256
    rows[1]["phrases"] = ["new snow"]
    assert load_concepts(write(tmp_path, rows)).sha256 != concepts.sha256


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a: [", "not YAML"),
        ("forest", "a list of at least two concepts"),
        ([{"name": "lake"}], "at least two"),
        ([{"name": "lake"}, {"plural": "seas"}], "entry 2"),
        ([{"name": "lake"}, {"name": "sea", "colour": "blue"}], "colour"),
        ([{"name": "lake"}, {"name": False}], "entry 2, name: expected text"),
        ([{"name": "lake"}, {"name": "sea", "also": "ocean"}], "'also' to be a list"),
        ([{"name": "lake"}, {"name": "sea", "also": ["Lakes"]}], "found 'lakes' in 'lake' too"),
        ([{"name": "lake"}, {"name": "sea", "phrases": ["lake"]}], "every phrase once"),
        ([{"name": "lake"}, {"name": "sea", "includes": ["bay"]}], "'bay'"),
        ([{"name": "lake"}, {"name": "sea", "phrases": []}], "phrases or includes"),
        ([{"name": "lake", "includes": ["sea"]}, {"name": "sea", "includes": ["lake"]}], "no circle"),
    ],
)
def test_files_that_break_the_form(tmp_path: Path, content: object, told: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(GraftError, match=r"mine\.yaml") as fault:
        load_concepts(path)
    assert told in str(fault.value)


@pytest.mark.parametrize("name", ["nowhere", "x" * 5000, "no\0name"])
def test_no_such_concepts(name: str) -> None:
    with pytest.raises(GraftError, match="atlas, everyday, rsvqa"):
        load_concepts(name)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"- {name: \xff}")
    with pytest.raises(GraftError, match="not UTF-8"):
        load_concepts(path)
