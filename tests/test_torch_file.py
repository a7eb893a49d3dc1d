"""Checkpoints are read as data: hostile ones run nothing and are told."""

import functools
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.cli import main
from graft.errors import GraftError
from graft.pickle_data import Record
from graft.torch_file import read_torch_file
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
    assert str(config.what) == "omegaconf.dictconfig.DictConfig"
    assert isinstance(config.state, dict)
    assert read["global_step"] == 1234


class Settings:
    """A class of somebody's project."""


@pytest.mark.parametrize(
    "value",
    [Settings(), {1, 2}, np.float64(0.5), np.zeros(2), b"ab", Path("x"), functools.partial(torch.optim.AdamW, lr=1e-5)],
    ids=lambda value: type(value).__name__,
)
def test_settings_in_good_faith_are_no_hindrance(tmp_path: Path, value: object) -> None:
    torch.save({"state_dict": {"w": torch.ones(2)}, "hyper_parameters": {"value": value}}, tmp_path / "x.ckpt")
    read = read_torch_file(tmp_path / "x.ckpt")
    assert isinstance(read["hyper_parameters"]["value"], Record)
    assert torch.equal(read["state_dict"]["w"], torch.ones(2))


def test_the_optimiser_s_numbers_are_not_read(tmp_path: Path) -> None:
    optimiser = {"state": {0: {"exp_avg": torch.ones(3)}}}
    torch.save({"state_dict": {"w": torch.ones(2)}, "optimizer": optimiser}, tmp_path / "x.pt")
    read = read_torch_file(tmp_path / "x.pt")
    assert isinstance(read["state_dict"]["w"], torch.Tensor)
    assert isinstance(read["optimizer"]["state"][0]["exp_avg"], Record)


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


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ"
    b"K\x00(K\x04t(K\x01t\x89}tR"
)
DAMAGED = {
    "state of a tensor": b"\x80\x02}U\x01x" + TENSOR + b"(" + TENSOR + b"K\x00(J@B\x0f\x00t(K\x01ttbs.",
    "state of a function": b"\x80\x02}U\x01xctorch._utils\n_rebuild_parameter\nN}U\x0c__defaults__U\x01y\x85s\x86bs.",
    "hash without end": b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.",
    "cut off": b"\x80\x02}U\x01x",
    "numbers missing": b"\x80\x02}U\x01x" + TENSOR.replace(b"U\x010", b"U\x011") + b"s.",
    "no mark": b"\x80\x02}t.",
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.timeout(10)
def test_opcodes_reach_no_real_object(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr(torch.Tensor, "__setstate__", lambda self, state: called.append(state))
    path = zipped(tmp_path / "x.pt", DAMAGED[name], **{"0": np.zeros(4, np.float32).tobytes()})
    if name == "state of a tensor":
        assert read_torch_file(path)["x"].shape == (4,)
    else:
        with pytest.raises(GraftError, match="damaged|no data"):
            read_torch_file(path)
    assert called == []


def test_compressed_and_program_files_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(zipped(tmp_path / "program.pt", pickled({})), "a") as archive:  # as torch.jit.save writes it
        archive.writestr("archive/constants.pkl", b"")
    with pytest.raises(GraftError, match="TorchScript"):
        read_torch_file(tmp_path / "program.pt")
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled({}))
        archive.writestr("archive/data/0", bytes(10**6))
    with pytest.raises(GraftError, match="compressed"):
        read_torch_file(tmp_path / "x.pt")


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
