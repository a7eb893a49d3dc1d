"""Exports give the model's vectors, in other software and without this project."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.checkpoint import load_encoder
from graft.cli import main
from graft.encoders import Level, position_embedding
from graft.errors import GraftError
from graft.export import parity
from graft.export.positions import positions_by_matrices
from graft.teacher import Teacher
from tests.export_inputs import LEVELS, checkpoints

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, architecture: str) -> dict[Level, Path]:
    return checkpoints(tmp_path_factory, architecture)


def tiles(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("level", LEVELS)
def test_transformers_gives_the_same(tmp_path: Path, runs: dict[Level, Path], architecture: str, level: Level) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    main(["export", str(runs[level]), f"--out={tmp_path / 'm'}", "--format=transformers"])
    model = CLIPModel.from_pretrained(tmp_path / "m").eval()
    words = ["a lake", "a photo of the mountains, and a road between two very long words of a sentence that is cut"]
    token = CLIPTokenizer.from_pretrained(tmp_path / "m")(
        words, padding="max_length", truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        text = torch.nn.functional.normalize(model.text_projection(model.text_model(**token).pooler_output), dim=-1)
    torch.testing.assert_close(text, Teacher(architecture).encode_text(words), atol=1e-5, rtol=0)
    record = json.loads((tmp_path / "m" / "graft_export.json").read_text())
    assert [each["what"].split()[0] for each in record["parity"]] == [
        "words",
        "tiles" if level == "image" else "patches",
    ]
    assert (tmp_path / "m" / "patch_projector.safetensors").exists() == (level == "pixel")


@pytest.mark.parametrize("level", LEVELS)
def test_onnx_gives_the_same_at_any_number_and_size(tmp_path: Path, runs: dict[Level, Path], level: Level) -> None:
    import onnxruntime

    main(["export", str(runs[level]), f"--out={tmp_path / 'm'}", "--format=onnx", *(["--int8"] * (level == "image"))])
    session = onnxruntime.InferenceSession(tmp_path / "m" / "image.onnx", providers=["CPUExecutionProvider"])
    encoder = load_encoder(runs[level]).encoder
    for size in ((32, 32), (16, 72), (61, 40)):
        tile = torch.from_numpy(tiles(*size)).permute(0, 3, 1, 2).contiguous()
        for given in (tile, tile[:1]):
            seen = session.run(None, {"tile": given.numpy()})
            torch.testing.assert_close(torch.from_numpy(seen[0]), encoder(given), atol=1e-5, rtol=0)
            if level == "pixel":
                torch.testing.assert_close(torch.from_numpy(seen[1]), encoder.tokens(given), atol=1e-5, rtol=0)
    assert (tmp_path / "m" / "image.int8.onnx").exists() == (level == "image")


@pytest.mark.parametrize("positions", ["open_clip", "huggingface"])
@pytest.mark.parametrize("grid", [(4, 4), (1, 9), (3, 2), (12, 7)])
def test_positions_by_matrices(runs: dict[Level, Path], positions: str, grid: tuple[int, int]) -> None:
    tower = load_encoder(runs["image"]).encoder.tower
    expected = position_embedding(tower, grid, positions)  # type: ignore[arg-type]
    found = positions_by_matrices(tower.positional_embedding, *grid, positions)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["open_clip", "transformers", "onnx"])
def test_other_vectors_are_never_written(
    tmp_path: Path,
    runs: dict[Level, Path],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(parity, "MOST", -1.0)
    with pytest.raises(SystemExit):
        main(["export", str(runs["image"]), f"--out={tmp_path / 'm'}", f"--format={kind}"])
    assert "The export is not the model" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_int8_tower_that_is_too_far_off_is_refused(
    tmp_path: Path, runs: dict[Level, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graft.export.onnx_towers.INT8_COSINE", 1.1)
    with pytest.raises(SystemExit):
        main(["export", str(runs["image"]), f"--out={tmp_path / 'm'}", "--format=onnx", "--int8"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v + 2e-4, "differs by"),
        (lambda v: v[:1], "not"),
    ],
)
def test_parity_tells_a_difference(change: Callable[[torch.Tensor], torch.Tensor], told: str) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    assert parity.compare("tiles", vectors + 5e-5, vectors).largest < 1e-4
    with pytest.raises(GraftError, match=told):
        parity.compare("tiles", change(vectors), vectors)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--int8"], "--int8 is for ONNX"),
        (["--teacher=graft-atlas"], "another CLIP"),
        (["--results=nowhere.json"], "No results file"),
    ],
)
def test_faults_are_told(
    tmp_path: Path, runs: dict[Level, Path], capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    with pytest.raises(SystemExit):
        main(["export", str(runs["image"]), f"--out={tmp_path / 'm'}", *options])
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["open_clip", "transformers", "onnx"])
def test_without_this_project(tmp_path: Path, runs: dict[Level, Path], architecture: str, kind: str) -> None:
    main(["export", str(runs["image"]), f"--out={tmp_path / 'm'}", f"--format={kind}"])
    words = ["a lake", "a forest"]
    np.save(tmp_path / "t.npy", tiles(32, 32))
    (tmp_path / "w.json").write_text(json.dumps(words))
    given = [kind, tmp_path / "m", tmp_path / "t.npy", tmp_path / "w.json", tmp_path / "out.npz"]
    script = ROOT / "tests" / "plain_libraries.py"
    subprocess.run([sys.executable, "-I", script, *given], check=True, cwd=tmp_path, timeout=300)
    seen = np.load(tmp_path / "out.npz")
    ours = load_encoder(runs["image"]).encoder(torch.from_numpy(tiles(32, 32)).permute(0, 3, 1, 2))
    assert np.abs(seen["image"] - ours.numpy()).max() < 1e-4
    if "text" in seen:
        assert np.abs(seen["text"] - Teacher(architecture).encode_text(words).numpy()).max() < 1e-4
