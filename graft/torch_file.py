"""Tensors and plain values out of a file that `torch.save` wrote, without running what is pickled in it.

`torch.load(weights_only=True)` refuses any class that it does not know, such as the omegaconf settings in a published
checkpoint, and loading without it runs whatever the file says. Here the pickle is read as data
(`graft.pickle_data`), and tensors are made from its numbers after they were checked. A file that calls something that
no checkpoint needs, such as `os.system`, is refused with that name.
"""

import math
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graft.errors import GraftError, first_line
from graft.pickle_data import Name, Record, Stored, read_pickle

_MOST_PICKLE = 256 << 20
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Damaged(Exception):
    """The file is not what torch.save writes; its message says how."""


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read the dictionary in a `.ckpt`, `.pt`, `.pth` or `.bin` file.

    Tensors are read at its top and one dictionary down, where weights lie; those deeper, such as an optimiser's, stay
    records, and their numbers are not read.

    Returns:
        Its entries: tensors on the CPU, plain values, and `Record`s for objects of other kinds.

    Raises:
        GraftError: no such file, not one of `torch.save` (1.6 or newer), damaged, no dictionary, or a pickle that calls
            something that no checkpoint needs.
    """
    if not path.is_file():
        raise GraftError(f"No file at {path}. Give the checkpoint as it was published.")
    try:
        with zipfile.ZipFile(path) as archive:
            root, content = _pickled(archive, path)
            if not isinstance(content, dict):
                kind = content.what if isinstance(content, Record) else type(content).__name__
                raise GraftError(f"{path} holds a {kind}; expected a dictionary with weights.")

            @cache  # windows of one storage, such as tied weights
            def numbers(key: str) -> bytearray:
                try:
                    return bytearray(archive.read(f"{root}data/{key}"))
                except KeyError:
                    raise _Damaged(f"no data for tensor {key}") from None

            return {
                name: {inner: _read(each, numbers) for inner, each in value.items()}
                if isinstance(value, dict)
                else _read(value, numbers)
                for name, value in content.items()
            }
    except zipfile.BadZipFile as error:
        raise GraftError(
            f"{path} is no file of torch.save of version 1.6 or newer ({first_line(error)}). If it is an older one, "
            "save its state dict again as .safetensors where you trust it."
        ) from error
    except (_Damaged, OSError, EOFError) as error:
        raise GraftError(f"{path} cannot be read ({first_line(error)}). Get it again from its publisher.") from error


def _pickled(archive: zipfile.ZipFile, path: Path) -> tuple[str, Any]:
    """The folder inside the archive, and what its pickle says."""
    names = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(names) != 1:
        raise _Damaged("it holds no data.pkl")
    root = names[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in archive.namelist():
        raise GraftError(
            f"{path} is a TorchScript archive, a program with weights in it, and no program is run. Save its state "
            "dict again as .safetensors where you trust it."
        )
    if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in archive.infolist()):
        raise _Damaged("it is compressed or encrypted, which torch.save never does")
    if archive.getinfo(names[0]).file_size > _MOST_PICKLE:
        raise _Damaged("its data.pkl is larger than any checkpoint's")
    return root, read_pickle(archive.read(names[0]), str(path))


def _read(value: Any, numbers: Callable[[str], bytearray]) -> Any:
    """A tensor, also where it is wrapped as a parameter; any other value as it is."""
    if isinstance(value, Record) and str(value.what) == "torch._utils._rebuild_parameter" and value.args:
        value = value.args[0]
    if not isinstance(value, Record) or str(value.what) != "torch._utils._rebuild_tensor_v2":
        return value
    return _tensor(value, numbers)


def _tensor(record: Record, numbers: Callable[[str], bytearray]) -> Tensor:
    """A tensor out of its record (storage, offset, shape, strides, ...), a window inside the storage's numbers."""
    if len(record.args) < 4 or not isinstance(record.args[0], Stored):
        raise _Damaged("a tensor that is none")
    stored, (offset, shape, stride) = record.args[0].key, record.args[1:4]
    whole = (offset, *shape, *stride) if isinstance(shape, tuple) and isinstance(stride, tuple) else (None,)
    if not all(type(number) is int and number >= 0 for number in whole) or len(shape) != len(stride):
        raise _Damaged("a tensor that is none")
    if not isinstance(stored, tuple) or len(stored) < 3 or not isinstance(stored[2], str):
        raise _Damaged("a reference to something that is no tensor")
    kind, key = stored[1:3]
    if not isinstance(kind, Name) or kind.name not in _STORAGES:
        raise _Damaged("a storage of an unknown type")
    content = numbers(key)
    dtype = _STORAGES[kind.name]
    held = len(content) // dtype.itemsize
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if math.prod(shape) > held or (math.prod(shape) and last >= held):
        raise _Damaged("a tensor beyond its data")
    if not math.prod(shape):
        return torch.empty(shape, dtype=dtype)
    flat = torch.frombuffer(content, dtype=dtype, count=held)
    # A tensor that is its whole storage needs no copy; a window would keep all of the storage in memory.
    view = flat.as_strided(shape, stride, offset)
    return view if view.numel() == held else view.clone()
