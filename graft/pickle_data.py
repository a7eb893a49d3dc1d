"""A pickle read as data: its opcodes make plain values and inert records; nothing is imported, called or built.

Python's own unpickler reaches real objects however its `find_class` is overridden: an opcode calls the
`__setstate__` of whatever is on its stack, sets attributes of it, and hashes tuples without bound.
"""

import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graft.errors import GraftError

_MARK = object()
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_MAPPINGS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
# What checkpoints of Lightning, Hydra and NumPy call in good faith; described here, and not called either.
_MODULES = {"omegaconf", "hydra", "argparse", "jsonargparse", "lightning", "lightning_fabric", "pytorch_lightning"}
_MODULES |= {"typing", "pathlib", "datetime"}
_CALLED = {f"builtins.{name}" for name in ("list", "set", "frozenset", "tuple", "bytearray", "complex", "slice")}
_CALLED |= {"collections.deque", "functools.partial", "_codecs.encode", "copyreg._reconstructor"}
_CALLED |= {"torch.Size", "torch.device", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"}
_CALLED |= {"numpy.dtype", "numpy.ndarray"}
_CALLED |= {f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")}


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle names; never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An object that the pickle describes; never made.

    Attributes:
        what: its class, or the function that would have made it.
        args: what that would have been called with.
        state: what its attributes would have been set from.
        items: what would have been appended, or (key, value) pairs that would have been set.
    """

    what: Name
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Stored:
    """A reference to something beside the pickle, such as the numbers of a tensor."""

    key: Any


def read_pickle(data: bytes, origin: str) -> Any:
    """Read a pickle without running anything of it.

    Numbers, text, lists, tuples, sets and dictionaries come out as themselves (ordered and default dictionaries as
    plain ones); every other object as a `Record`, every class or function as a `Name`.

    Args:
        data: the pickle's bytes, of any protocol.
        origin: where it is from, for messages.

    Raises:
        GraftError: it calls something that no checkpoint needs, or is broken.
    """
    reader = _Reader(origin)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            reader.step(opcode.name, argument)
    except (ValueError, LookupError, TypeError, OverflowError, AttributeError) as error:
        raise GraftError(f"{origin} cannot be read: its pickle is damaged. Get it again from its publisher.") from error
    return reader.result


class _Reader:
    """The pickle machine with values for objects: a stack, a memo, and no way to reach Python's own."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self.result: Any = None

    def step(self, opcode: str, argument: Any) -> None:
        """Take one opcode."""
        if opcode in _VALUES:
            self._stack.append(argument)
        elif opcode in _FRESH:
            self._stack.append(_FRESH[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if opcode == "MEMOIZE" else argument] = self._stack[-1]
        elif opcode in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        elif opcode not in ("PROTO", "FRAME"):
            raise self._refused(f"the opcode {opcode}")

    def _refused(self, what: str) -> GraftError:
        return GraftError(
            f"{self._origin} asks to run {what} when it is opened. Nothing of it was run. No checkpoint of weights "
            "needs that: do not open this file with anything else, and get it from its publisher."
        )

    def _marked(self) -> list[Any]:
        """Everything above the topmost mark, taken off with it."""
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:
            place -= 1
        items = self._stack[place + 1 :]
        del self._stack[place:]
        return items

    def _top(self, count: int) -> list[Any]:
        """The topmost items, taken off."""
        items = self._stack[-count:]
        if len(items) != count:
            raise ValueError
        del self._stack[-count:]
        return items

    def _name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._stack.append(Name(_OLD_NAMES.get(module, module), name))

    def _stack_name(self, _: Any) -> None:
        module, name = self._top(2)
        self._name(f"{module} {name}")

    def _call(self, _: Any) -> None:
        what, args = self._top(2)
        self._describe(what, args)

    def _new(self, _: Any) -> None:
        # A bare object of a class, as settings of a project's own have; a function cannot be called so.
        what, args = self._top(2)
        self._describe(what, args, foreign=True)

    def _new_by_keyword(self, argument: Any) -> None:
        self._stack.pop()
        self._new(argument)

    def _old_object(self, _: Any) -> None:
        what, *args = self._marked()
        self._describe(what, tuple(args))

    def _old_instance(self, argument: str) -> None:
        args = self._marked()
        self._name(argument)
        self._describe(self._stack.pop(), tuple(args))

    def _describe(self, what: Any, args: Any, *, foreign: bool = False) -> None:
        if not isinstance(what, Name):
            raise self._refused("something that it has put together itself")
        if not isinstance(args, tuple):
            raise TypeError
        package = what.module.partition(".")[0]
        known = str(what) in _CALLED | _MAPPINGS or package in _MODULES
        if not known and not (foreign and package not in sys.stdlib_module_names):
            raise self._refused(str(what))
        if str(what) in _MAPPINGS:
            self._stack.append({})
            pairs = args[0] if args and isinstance(args[0], list) else []
            self._set([part for key, value in pairs for part in (key, value)])
        else:
            self._stack.append(Record(what, args))

    def _build(self, _: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not isinstance(target, dict):  # a state dict has attributes of its own, which hold versions only
            raise TypeError

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        (target.items if isinstance(target, Record) else target).extend(items)

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(target, Record):
                target.items.append((key, value))
            elif isinstance(target, dict):
                target[_key(key)] = value
            else:
                raise TypeError

    def _add(self, _: Any) -> None:
        items, target = self._marked(), self._stack[-1]
        if isinstance(target, Record):
            target.items.extend(items)
        else:
            target.update(_key(item) for item in items)

    def _frozen(self, _: Any) -> None:
        self._stack.append(frozenset(_key(item) for item in self._marked()))

    def _dict(self, _: Any) -> None:
        items = self._marked()
        self._stack.append({})
        self._set(items)

    def _drop(self, _: Any) -> None:
        self._stack.pop()

    def _drop_marked(self, _: Any) -> None:
        self._marked()

    def _stop(self, _: Any) -> None:
        self.result = self._stack.pop()


def _key(value: Any) -> Any:
    """A key of a dictionary. The hash of tuples in tuples takes time without bound, so those are none."""
    if any(isinstance(part, tuple | frozenset) for part in (value if isinstance(value, tuple) else ())):
        raise TypeError
    return value


_VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"}
_VALUES |= {"SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "BINUNICODE"}
_VALUES |= {"SHORT_BINUNICODE", "BINUNICODE8"}
_FRESH: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}
_STEPS: dict[str, Callable[[_Reader, Any], None]] = {
    "GLOBAL": _Reader._name,
    "STACK_GLOBAL": _Reader._stack_name,
    "REDUCE": _Reader._call,
    "NEWOBJ": _Reader._new,
    "NEWOBJ_EX": _Reader._new_by_keyword,
    "OBJ": _Reader._old_object,
    "INST": _Reader._old_instance,
    "BUILD": _Reader._build,
    "APPEND": lambda reader, _: reader._append(reader._top(1)),
    "APPENDS": lambda reader, _: reader._append(reader._marked()),
    "SETITEM": lambda reader, _: reader._set(reader._top(2)),
    "SETITEMS": lambda reader, _: reader._set(reader._marked()),
    "ADDITEMS": _Reader._add,
    "FROZENSET": _Reader._frozen,
    "TUPLE": lambda reader, _: reader._stack.append(tuple(reader._marked())),
    "TUPLE1": lambda reader, _: reader._stack.append(tuple(reader._top(1))),
    "TUPLE2": lambda reader, _: reader._stack.append(tuple(reader._top(2))),
    "TUPLE3": lambda reader, _: reader._stack.append(tuple(reader._top(3))),
    "LIST": lambda reader, _: reader._stack.append(reader._marked()),
    "DICT": _Reader._dict,
    "BINPERSID": lambda reader, _: reader._stack.append(Stored(reader._stack.pop())),
    "PERSID": lambda reader, argument: reader._stack.append(Stored(argument)),
    "DUP": lambda reader, _: reader._stack.append(reader._stack[-1]),
    "POP": _Reader._drop,
    "POP_MARK": _Reader._drop_marked,
    "STOP": _Reader._stop,
}
