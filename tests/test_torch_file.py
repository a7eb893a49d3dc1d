"""Checkpoints are read as data: hostile ones run nothing and are told."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.cli import main
from graft.errors import GraftError
from graft.torch_file import Record, read_torch_file
from tests.official_inputs import Bomb, make_official, pickled, small_teacher, write_official


def zipped(path: Path, content: bytes, **data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for name, value in data.items():
            archive.writestr(f"archive/data/{name}", value)
    return path


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_are_those_of_torch_load(tmp_path: Path, dtype: torch.dtype) -> None:
    base = torch.arange(60).to(dtype).reshape(3, 4, 5)
    saved = {"a": base, "view": base[1:, :, 2], "turned": base.mT, "scalar": torch.tensor(3).to(dtype), "n": [1, "x"]}
    torch.save(saved, tmp_path / "x.pt")
    read = read_torch_file(tmp_path / "x.pt")
    expected = torch.load(tmp_path / "x.pt", weights_only=True)
    assert read["n"] == expected["n"]
    for name in ("a", "view", "turned", "scalar"):
        assert read[name].dtype == dtype
        assert torch.equal(read[name], expected[name])


def test_parameters_and_settings(tmp_path: Path) -> None:
    torch.save({"p": torch.nn.Parameter(torch.ones(2)), "path": Path("x"), "none": None}, tmp_path / "x.pt")
    read = read_torch_file(tmp_path / "x.pt")
    assert torch.equal(read["p"], torch.ones(2))
    assert isinstance(read["path"], Record)
    assert read["none"] is None


def test_settings_of_a_run_are_inert(tmp_path: Path) -> None:
    path = write_official(tmp_path / "x.ckpt", make_official())
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)  # which is why this reader is here
    read = read_torch_file(path)
    config = read["hyper_parameters"]["config"]
    assert isinstance(config, Record)
    assert config.name == "omegaconf.dictconfig.DictConfig"
    assert read["global_step"] == 1234


HOSTILE = {
    "system": b"cos\nsystem\n(S'touch MARK'\ntR.",
    "posix": b"cposix\nsystem\n(S'touch MARK'\ntR.",
    "eval": b'cbuiltins\neval\n(S\'open("MARK", "w")\'\ntR.',
    "getattr": b"cbuiltins\ngetattr\n(cbuiltins\nstr\nS'mro'\ntR.",
    "import": b"cbuiltins\n__import__\n(S'os'\ntR.",
    "torch": b"ctorch\nload\n(S'MARK'\ntR.",
    "hub": b"ctorch.hub\nload\n(S'a'\nS'b'\ntR.",
    "dotted": b"\x80\x04\x8c\x05torch\x8c\x0bos.system.x\x93)R.",
    "numpy": b"cnumpy.f2py.diagnose\nrun_command\n(S'x'\ntR.",
    "subprocess": b"csubprocess\nPopen\n(S'touch MARK'\ntR.",
    "codecs": b"c_codecs\nencode\n(S'x'\nS'y'\ntR.",
    "own": b"cgraft.torch_file\nread_torch_file\n(S'x'\ntR.",
    "extension": b"\x82\x01.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_run_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = zipped(tmp_path / "x.ckpt", HOSTILE[name].replace(b"MARK", b"mark"))
    with pytest.raises(GraftError, match="asks to run|cannot be read"):
        read_torch_file(path)
    assert [file.name for file in tmp_path.iterdir()] == ["x.ckpt"]


def test_a_bomb_inside_a_real_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "mark"
    path = write_official(tmp_path / "x.ckpt", make_official(), callbacks=Bomb(f"touch {mark}"))
    teacher = small_teacher(tmp_path / "teacher")
    with pytest.raises(SystemExit):
        main(
            [
                "convert",
                str(path),
                f"--out={tmp_path / 'm'}",
                "--layout=graft",
                "--sensor=naip",
                f"--architecture={teacher}",
                "--level=image",
            ]
        )
    assert "asks to run posix.system" in capsys.readouterr().err
    assert not mark.exists()
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("reference", "size", "stride", "told"),
    [
        (("storage", torch.FloatStorage, "0", "cpu", 1), (10**12,), (0,), "beyond its data"),
        (("storage", torch.FloatStorage, "0", "cpu", 1), (4,), (100,), "beyond its data"),
        (("storage", torch.FloatStorage, "../x", "cpu", 1), (1,), (1,), "no data for tensor"),
        (("storage", "x", "0", "cpu", 1), (1,), (1,), "unknown type"),
        (("storage", torch.FloatStorage, "0", "cpu", 1), (-1,), (1,), "a tensor that is none"),
    ],
)
def test_tensors_beyond_their_data(
    tmp_path: Path, reference: tuple[object, ...], size: tuple[int, ...], stride: tuple[int, ...], told: str
) -> None:
    class Reference:
        pass

    held = Reference()

    class Writer(pickle.Pickler):
        def persistent_id(self, value: object) -> object:
            return reference if value is held else None

    class Rebuilt:
        def __reduce__(self) -> object:
            return torch._utils._rebuild_tensor_v2, (held, 0, size, stride, False, {})

    with (tmp_path / "p").open("wb") as file:
        Writer(file, protocol=2).dump({"x": Rebuilt()})
    path = zipped(tmp_path / "x.pt", (tmp_path / "p").read_bytes(), **{"0": np.zeros(4, np.float32).tobytes()})
    with pytest.raises(GraftError, match=told):
        read_torch_file(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"not a zip", pickled([1, 2])])
def test_other_files_are_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(GraftError, match="torch.save"):
        read_torch_file(tmp_path / "x.pt")
    zipped(tmp_path / "y.pt", content)
    with pytest.raises(GraftError, match=r"cannot be read|expected a dictionary"):
        read_torch_file(tmp_path / "y.pt")
    with pytest.raises(GraftError, match="No file"):
        read_torch_file(tmp_path / "z.pt")
