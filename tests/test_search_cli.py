"""The command line of `graft search`: several values after an option, and searches from words to files."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from graft.cli import main
from graft.errors import GraftError
from graft.index.schema import SourceCard
from graft.prompts import PLAIN_FAMILIES, ensemble
from graft.search.arguments import spelt_out
from graft.search.output import heatmap_source
from graft.teacher import Teacher, square_photo
from tests.search_inputs import card_of, plant, tile, unit

# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("IDX|lake", "IDX|--words=lake"),
        ("IDX|wind|turbines", "IDX|--words=wind turbines"),
        ("IDX|lake|--near|-122.4|37.8|--top|5", "IDX|--words=lake|--near=[-122.4, 37.8]|--top=5"),
        ("IDX|lake|--near=[7,50]", "IDX|--words=lake|--near=[7,50]"),
        ("--near|7|50|IDX|lake", "IDX|--words=lake|--near=[7, 50]"),
        ("--top|5|IDX|lake", "IDX|--words=lake|--top=5"),
        ("IDX|--within|-10,40,5,50|lake", "IDX|--words=lake|--within=-10,40,5,50"),
        ("IDX|--ann|lake", "IDX|--words=lake|--ann"),
        ("IDX|lake|--not|sea|big river|--top|5", 'IDX|--words=lake|--top=5|--without=["sea", "big river"]'),
        ("IDX|lake|--not|a|--not=b|--without|c", 'IDX|--words=lake|--without=["a", "b", "c"]'),
        ("IDX|--photo|a b.jpg|c.jpg=0.5|--photo=d.jpg", 'IDX|--photo=["a b.jpg", "c.jpg=0.5", "d.jpg"]'),
        ("IDX|--photo|--top|5", "IDX|--top=5|--photo=[]"),
        ("IDX|lake|--near|7", "IDX|--words=lake|--near=[7]"),
        ("IDX|--near|nan|48", "IDX|--near=[.nan, 48]"),
        ("IDX|--max-cloud|NaN|--overlap=-inf", "IDX|--max-cloud=.nan|--overlap=-.inf"),
        ("IDX|--top", "IDX|--top"),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_arguments_are_spelt_out(given: str, expected: str) -> None:
    assert spelt_out([arg for arg in given.split("|") if arg]) == [arg for arg in expected.split("|") if arg]


# --- searches -------------------------------------------------------------------------------------


def words_vector(teacher: Teacher, words: str) -> Tensor:
    return ensemble(teacher.encode_text([template.replace("{}", words) for template in PLAIN_FAMILIES["ground"]]))


def picture(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (40, 40, 3)).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everyday descriptions are encoded once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return picture(tmp_path / "photo.png")


@pytest.fixture
def index(tmp_path: Path, teacher: Teacher, photo: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tiles that are exactly "lake", "forest", a photo, and noise; side by side at 9 degrees east."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    with Image.open(photo) as image:
        seen = teacher.encode_image(square_photo(image, teacher.image_size)[None])[0]
    noise = [unit(*np.random.default_rng(n).normal(size=32).tolist(), dim=32) for n in range(5)]
    vectors = [*noise, words_vector(teacher, "lake"), words_vector(teacher, "forest"), seen]
    rows = [tile(vector, column=64.0 * number) for number, vector in enumerate(vectors)]
    plant(tmp_path / "IDX", rows, card_of(teacher))
    return str(tmp_path / "IDX")


def run(*args: str) -> None:
    main(["search", *args])


def ranked(text: str) -> list[int]:
    """Columns of the hits in a GeoJSON, best first, in tiles."""
    return [int(feature["properties"]["column"]) // 64 for feature in json.loads(text)["features"]]


def test_words_find_the_planted_tile(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, "lake", "--top", "3")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '"lake"'
    assert lines[1] == f"8 of 8 tiles of {index} searched"
    first = next(line for line in lines if line.endswith("64 64]"))
    assert first.split()[:2] == ["1", "1.000"]
    assert first.endswith("[320 0 64 64]")
    assert len([line for line in lines if line.endswith("64 64]")]) == 3


@pytest.mark.parametrize("words", ["null", "true", "[a]", "1", "~", "{a: b}"])
def test_any_words_survive_the_parser(words: str, index: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, words, "--top", "1")
    assert capsys.readouterr().out.splitlines()[0] == f'"{words}"'


def test_negatives_move_what_they_name_down(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, "lake; forest", "--format", "geojson")
    both = ranked(capsys.readouterr().out)
    assert set(both[:2]) == {5, 6}
    run(index, "lake", "--not", "forest=0.9", "--format", "geojson")
    captured = capsys.readouterr()
    assert ranked(captured.out)[0] == 5
    assert ranked(captured.out).index(6) > both.index(6)
    assert captured.err.splitlines()[0] == '"lake", not "forest" (0.9)'


def test_a_photo_finds_the_planted_tile(index: str, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, "--photo", str(photo), "--format", "geojson")
    out = capsys.readouterr().out
    assert ranked(out)[0] == 7
    assert json.loads(out)["features"][0]["properties"]["likeness"] > 0.99


def test_place_and_time_on_the_command_line(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, "lake", "--near", "9.0", "50.54", "--radius-km", "1.5", "--format", "geojson")
    assert set(ranked(capsys.readouterr().out)) == {0, 1, 2}
    run(index, "lake", "--within=8,50,9.02,51", "--after", "2024-01-01", "--before", "2025-01-01", "--format=geojson")
    assert set(ranked(capsys.readouterr().out)) == {0, 1, 2}


def test_files_by_their_ending(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, "lake", "--out", str(tmp_path / "new" / "hits.geojson"))
    run(index, "lake", "--out", str(tmp_path / "hits.csv"), "--top", "2")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{tmp_path / 'hits.csv'}: 2 hits" in captured.err
    assert ranked((tmp_path / "new" / "hits.geojson").read_text())[0] == 5
    with (tmp_path / "hits.csv").open() as file:
        assert [row["rank"] for row in csv.DictReader(file)] == ["1", "2"]


def test_nothing_like_this_is_an_answer(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(index, "--within", "8,50,9.02,51", "lake", "--top", "2")
    out = capsys.readouterr().out
    assert "Nothing like this here: the largest likeness is 0." in out
    assert len([line for line in out.splitlines() if line.endswith("0 64 64]")]) == 2


def test_faults_are_one_sentence_each(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for args, message in (
        ([str(tmp_path / "absent"), "lake"], r"No index at .*absent"),
        ([index], r"Nothing to search for"),
        ([index, "lake", "--near", "7"], r"--near has 1 numbers"),
        ([index, "lake", "--near", "nan", "48"], r"--near nan 48 is no place"),
        ([index, "lake", "--max-cloud", "nan"], r"--max-cloud is nan; expected a share"),
        ([index, "lake", "--radius-km", "5"], r"--radius-km 5 without --near"),
        ([index, "--photo", str(tmp_path / "photo.png"), "--out", str(tmp_path / "photo.png")], r"--out .* replace"),
        ([index, "lake", "--after", "soon"], r"--after is 'soon'"),
        ([index, "lake", "--format", "html"], r"A page needs a file"),
        ([index, "lake", "--scene", "a"], r"--scene a without --heatmap"),
        ([index, "lake", "--heatmap", str(tmp_path / "h.tif")], r"holds no raster that a heat map could be laid over"),
        ([index, "lake", "--background", "nowhere"], r"No prompt set 'nowhere'"),
        ([index, "lake " * 2000], r"has 9,999 characters"),
        ([index, "湖"], r"reads English only"),
        ([index, "--photo", "absent.jpg"], r"No photo at absent\.jpg"),
    ):
        with pytest.raises(SystemExit) as exit_:
            run(*args)
        told = capsys.readouterr().err
        assert exit_.value.code == 1
        assert re.match(f"graft: .*{message}", told)
        assert (told.count("\n"), len(told) < 400) == (1, True)


def test_two_values_that_are_no_numbers_are_refused_by_the_parser(
    index: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(index, "lake", "--near", "here", "there")
    assert exit_.value.code == 2
    assert "near" in capsys.readouterr().err


def test_the_scene_of_a_heat_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = plant(tmp_path / "i", [tile(unit(1))])

    def source(name: str, number: int, kind: str = "raster") -> SourceCard:
        return SourceCard(f"{number:016x}", name, kind, "f", {})  # type: ignore[arg-type]

    both = [source("/a/one.tif", 1), source("/b/one.tif", 2), source("/b/two.tif", 3), source("/b/tiles", 4, "folder")]
    monkeypatch.setattr(index, "sources", lambda: both)
    for name in ("two", "two.tif", "/b/two.tif", f"{3:016x}"):
        assert heatmap_source(index, name, wanted=True) == both[2]
    for name, message in (
        (None, r"Which scene is --heatmap for\? Add --scene with one of: /a/one\.tif, /b/one\.tif, /b/two\.tif\."),
        ("one", r"--scene one names several rasters; give the whole name of one: /a/one\.tif, /b/one\.tif\."),
        ("tiles", r"--scene tiles is no raster of the index"),
    ):
        with pytest.raises(GraftError, match=message):
            heatmap_source(index, name, wanted=True)
    monkeypatch.setattr(index, "sources", lambda: both[2:])
    assert heatmap_source(index, None, wanted=True) == both[2]
    assert heatmap_source(index, None, wanted=False) is None


def test_the_same_search_gives_the_same_bytes(index: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(index, "lake", "--not", "forest", "--out", str(tmp_path / f"{name}.geojson"))
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()


def test_the_command_is_light_to_import() -> None:
    code = "import sys, graft.search, graft.search.arguments; print(set(sys.modules) & {'torch', 'pyarrow', 'lancedb'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
