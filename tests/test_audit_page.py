"""The command: exit codes, the printed table, the page, the JSON, and the same result whatever the processes."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from graft.audit import audit
from graft.errors import GraftError
from graft.teacher import Teacher, architecture_and_weights
from tests.audit_inputs import Sample, look, make_sample, with_pictures, write_split
from tests.conftest import ShardFactory


class Page(HTMLParser):
    """Collects sources of pictures, headings and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("img", "image"):
            self.pictures.append(given.get("src") or given.get("href") or "")
        elif {"src", "href"} & set(given):
            self.links.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def shards_of(tmp_path: Path, samples: list[Sample], **index: object) -> Path:
    return write_split(tmp_path / "train", samples, per_shard=4, **index)  # type: ignore[arg-type]


def test_sound_shards_pass_and_get_a_page_that_needs_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [with_pictures(make_sample(number)) for number in range(12)]
    out = tmp_path / "report" / "a.html"
    audit(shards_of(tmp_path, samples, stored=True), out=out, workers=1)
    page = Page(out)
    assert "No fault, no warning" in page.text
    assert {picture.split(";")[0] for picture in page.pictures} == {"data:image/png", "data:image/jpeg"}
    assert page.links == []
    assert re.findall(r"https?://", out.read_text()) == []
    assert "train-0003" in page.text
    content = json.loads(out.with_suffix(".json").read_text())
    assert content["level"] == "ok"
    assert content["splits"]["train"]["tiles"] == 12
    printed = capsys.readouterr().out
    assert {f"{check['group']}, {check['name']}" in printed for check in content["checks"]} == {True}


def test_a_fault_exits_with_1_after_the_page_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = [make_sample(number) for number in range(4)]
    samples[2].meta["photos"][0]["x"] = -5.0
    samples[2].meta["photos"][0]["id"] = "<script>alert(1)</script>"
    out = tmp_path / "a.html"
    with pytest.raises(SystemExit) as stopped:
        audit(shards_of(tmp_path, samples), out=out, workers=1)
    assert stopped.value.code == 1
    assert "1 fault, 0 warnings: do not train" in Page(out).text
    assert "<script>" not in out.read_text()
    assert json.loads((tmp_path / "a.json").read_text())["level"] == "fault"
    assert re.search(r"fault +Photos, positions +photos lie outside their tile: 1\n", capsys.readouterr().out)


def test_a_warning_fails_only_when_strict(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(4)]
    samples[2].meta["photos"][0]["license"] = None
    shards = shards_of(tmp_path, samples)
    audit(shards, out=tmp_path / "a.html", workers=1)
    with pytest.raises(SystemExit):
        audit(shards, out=tmp_path / "a.html", workers=1, strict=True)


def test_nothing_readable_still_gets_a_page(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, [make_sample(0)])
    (shards / "shard-000000.tar").write_bytes(b"gone")
    with pytest.raises(SystemExit):
        audit(shards, out=tmp_path / "a.html", workers=1)
    (shards / "index.json").write_text("{")
    with pytest.raises(SystemExit):
        audit(shards, out=tmp_path / "b.html", workers=1)
    assert "do not train" in Page(tmp_path / "b.html").text


def test_the_same_page_on_one_process_and_on_two(tmp_path: Path) -> None:
    samples = [make_sample(number) for number in range(12)]
    samples[7].meta["photos"][0]["license"] = None
    samples[9].meta["photos"][0]["taken_at"] = "yesterday"
    shards = shards_of(tmp_path, samples)
    for workers in (1, 2):
        audit(shards, out=tmp_path / f"{workers}" / "a.html", workers=workers)
    for name in ("a.html", "a.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"sample": 0.0}, "--sample is 0"), ({"workers": -1}, "--workers is -1"), ({"buffer": -1.0}, "--buffer is -1")],
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, float], message: str) -> None:
    with pytest.raises(GraftError, match=message):
        audit(tmp_path, **options)  # type: ignore[arg-type]


def test_looking_needs_no_torch(tmp_path: Path) -> None:
    shards = write_split(tmp_path / "train", [make_sample(0)], teacher=None, stored=True)
    code = (
        "import sys; from pathlib import Path; from graft.audit import audit\n"
        f"try: audit(Path({str(shards)!r}), out=Path({str(tmp_path / 'a.html')!r}), workers=1)\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'webdataset', 'lightning') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_shards_of_prepare_with_their_teacher(shards: Path, prompts: Path, teacher: Teacher, tmp_path: Path) -> None:
    found = look(shards, tmp_path / "work", words=str(prompts))
    view = found["teacher's view"]
    assert view.level == "ok"
    assert sum(view.numbers["classes"].values()) == view.numbers["photos"] == 72
    words, photos = found.audit.words, found.audit.table.photos
    assert words is not None
    assert words.phrases == ("forest", "lake", "town")
    assert words.teacher == teacher.identity
    assert np.isfinite(photos["probability"]).all()
    assert ((photos["probability"] > 1 / 3 - 1e-6) & (photos["probability"] <= 1)).all()
    assert "Samples, json" not in found.bad


def test_the_teacher_sees_what_the_vectors_hold(
    make_shards: ShardFactory, teacher: Teacher, prompts: Path, tmp_path: Path
) -> None:
    """Vectors that are the words' own go to their words, and the page shows them."""
    import io

    from graft.prompts import load_prompts, text_vectors

    text = text_vectors(teacher.encode_text, load_prompts(prompts), "ground").numpy().astype(np.float16)

    def speak(members: dict[str, bytes], number: int) -> None:
        stream = io.BytesIO()
        np.save(stream, text[[number % 2] * 3])
        members["ground.npy"] = stream.getvalue()

    shards = make_shards(tmp_path / "shards", samples=6, shards=1, change=speak)
    found = look(shards, tmp_path / "work", words=str(prompts))["teacher's view"]
    assert found.numbers["classes"] == {"Forest": 9, "Lake": 9, "Town": 0}
    audit(shards, out=tmp_path / "a.html", words=str(prompts), workers=1)
    text_of_page = Page(tmp_path / "a.html").text
    assert "What the teacher sees in the photos" in text_of_page
    assert "Surest, class by class" in text_of_page


def test_photos_that_are_no_scenes_are_a_warning(shards: Path, tmp_path: Path) -> None:
    found = look(shards, tmp_path / "work", words="scene, a forest; noise, random dots, a test pattern")[
        "teacher's view"
    ]
    other = found.numbers["classes"]["noise"] / found.numbers["photos"]
    assert (found.level == "warning") == (other > 0.2)


def test_a_teacher_that_is_another_one(shards: Path, tmp_path: Path, clip_folder: Path) -> None:
    from tests.conftest import TINY_MODEL, write_clip_folder

    other = write_clip_folder(tmp_path / "other", TINY_MODEL, seed=9)
    found = look(shards, tmp_path / "work", teacher=f"local-dir:{other}")["teacher's view"]
    assert found.level == "not checked"
    assert "has other weights than the teacher of the shards" in found.says


def test_words_that_are_not_there(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="No file of words"):
        look(shards, tmp_path / "work", words="nowhere.yaml")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("folder.html", r"--out .*folder\.html is a folder; give the name of the page"),
        ("a.json", r"--out .*a\.json does not end in \.html"),
        ("a", r"does not end in \.html"),
        ("file/a.html", r"--out .*file/a\.html cannot be written: .*Choose another --out"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_before_the_shards_are_read(
    tmp_path: Path, out: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "a.json").write_text("mine")
    monkeypatch.setattr("graft.audit.run.run_audit", lambda *_: pytest.fail("read the shards first"))
    with pytest.raises(GraftError, match=message):
        audit(shards_of(tmp_path, [make_sample(0)]), out=tmp_path / out, workers=1)
    assert (tmp_path / "a.json").read_text() == (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("ViT-B-16/laion2b_s34b_b88k", ("ViT-B-16", "laion2b_s34b_b88k")),
        ("ViT-B-16//data/teacher.safetensors", ("ViT-B-16", "/data/teacher.safetensors")),
        ("ViT-B-16", ("ViT-B-16", None)),
        ("local-dir:/data/clip", ("local-dir:/data/clip", None)),
    ],
)
def test_the_name_of_a_teacher_says_what_to_load(name: str, parts: tuple[str, str | None]) -> None:
    assert architecture_and_weights(name) == parts
