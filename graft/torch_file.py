"""Tensors and plain values out of a file that `torch.save` wrote, without running what is pickled in it.

`torch.load(weights_only=True)` refuses any class that it does not know, such as the omegaconf settings in a published
checkpoint, and loading without it runs whatever the file says. Here a pickle can name classes, and gets inert records
in their place: no constructor, `__setstate__` or function of any library is ever called. A file that names something
that no checkpoint needs, such as `os.system`, is refused with that name.
"""

import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graft.errors import GraftError, first_line

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
_SETTINGS = ("omegaconf", "hydra", "argparse", "jsonargparse", "lightning", "pytorch_lightning", "typing", "pathlib")
"""Packages whose classes hold the settings of a run."""
_PLAIN_TYPES = {"dict", "list", "set", "frozenset", "tuple", "int", "float", "str", "bool", "bytes", "object"}
_COLLECTIONS = frozenset({"defaultdict", "deque", "Counter"})
_TORCH = {"Size", "device", *(str(dtype).removeprefix("torch.") for dtype in _STORAGES.values())}


class Record:
    """What stands for an object of a class that is not loaded: its name, and nothing that runs."""

    name = ""

    def __init__(self, *_: object) -> None:
        """Take any arguments and forget them."""

    def __setstate__(self, state: object) -> None:
        """Take any state and forget it."""

    def __setitem__(self, key: object, value: object) -> None:
        """Take any item and forget it."""

    def append(self, value: object) -> None:
        """Take any item and forget it."""

    def extend(self, values: object) -> None:
        """Take any items and forget them."""

    def add(self, value: object) -> None:
        """Take any item and forget it."""


class _Storage:
    """Bytes of a file that tensors look into."""

    def __init__(self, dtype: torch.dtype, key: str) -> None:
        self.dtype, self.key = dtype, key


class _Unpickler(pickle.Unpickler):
    """Reads data, tensors and records; refuses every other global."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(file)
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a global of the pickle stands for."""
        full = f"{module}.{name}"
        if full == "torch._utils._rebuild_tensor_v2":
            return self._tensor
        if full == "torch._utils._rebuild_parameter":
            return _parameter
        if full == "collections.OrderedDict":
            return OrderedDict
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        known = (
            module.partition(".")[0] in _SETTINGS
            or (module == "builtins" and name in _PLAIN_TYPES)
            or (module == "collections" and name in _COLLECTIONS)
            or (module == "torch" and name in _TORCH)
        )
        if not known:
            raise _Forbidden(full)
        return type("Record", (Record,), {"name": full})

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, by the reference that torch writes: ("storage", type, key, location, size)."""
        try:
            _, dtype, key = pid[:3]
        except (TypeError, ValueError):
            raise pickle.UnpicklingError("a reference to something that is no tensor") from None
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("a storage of an unknown type")
        return _Storage(dtype, key)

    def _tensor(self, storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
        whole = isinstance(offset, int) and all(
            isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)
            for values in (size, stride)
        )
        if not isinstance(storage, _Storage) or not whole:
            raise pickle.UnpicklingError("a tensor that is none")
        held = self._held(storage)
        if math.prod(size) > held.numel():  # type: ignore[call-overload]  # checked above
            raise pickle.UnpicklingError("a tensor beyond its data")
        try:
            return held.as_strided(size, stride, offset).clone()  # type: ignore[arg-type]  # checked above
        except RuntimeError as error:
            raise pickle.UnpicklingError(f"a tensor beyond its data ({first_line(error)})") from None

    def _held(self, storage: _Storage) -> Tensor:
        if storage.key not in self._storages:
            try:
                content = self._archive.read(f"{self._root}data/{storage.key}")
            except KeyError:
                raise pickle.UnpicklingError(f"no data for tensor {storage.key}") from None
            self._storages[storage.key] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return self._storages[storage.key].view(storage.dtype)


class _Forbidden(pickle.UnpicklingError):
    """The pickle names something that no checkpoint needs."""


def _parameter(value: object, *_: object) -> object:
    return value


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read the dictionary in a `.ckpt`, `.pt`, `.pth` or `.bin` file.

    Returns:
        Its entries: tensors on the CPU, plain values, and `Record`s for objects of other kinds.

    Raises:
        GraftError: no such file, not one of `torch.save` (1.6 or newer), damaged, no dictionary, or a pickle that names
            something that no checkpoint needs.
    """
    if not path.is_file():
        raise GraftError(f"No file at {path}. Give the checkpoint as it was published.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
            if len(names) != 1:
                raise pickle.UnpicklingError("it holds no data.pkl")
            if archive.getinfo(names[0]).file_size > _MOST_PICKLE:
                raise pickle.UnpicklingError("its data.pkl is larger than any checkpoint's")
            root = names[0].removesuffix("data.pkl")
            with archive.open(names[0]) as file:
                content = _Unpickler(file, archive, root).load()
    except _Forbidden as error:
        raise GraftError(
            f"{path} asks to run {error} when it is opened. Nothing of it was run. No checkpoint of weights "
            "needs that: do not open this file with anything else, and get it from its publisher."
        ) from error
    except zipfile.BadZipFile as error:
        raise GraftError(
            f"{path} is no file of torch.save of version 1.6 or newer ({first_line(error)}). If it is an older one, "
            "save its state dict again as .safetensors where you trust it."
        ) from error
    except Exception as error:  # a damaged pickle raises anything
        raise GraftError(f"{path} cannot be read ({first_line(error)}). Get it again from its publisher.") from error
    if not isinstance(content, Mapping):
        raise GraftError(f"{path} holds a {type(content).__name__}; expected a dictionary with weights.")
    return dict(content)
