"""Kinds and units of what names stand for, followed through branches and loops."""

from dataclasses import dataclass, replace
from typing import Literal

from graft.vqa.functions import Kind
from graft.vqa.refusal import Refused

_NAMES = {
    "mask": "a mask",
    "objects": "objects",
    "number": "a number",
    "truth": "a yes or no",
    "text": "text",
    "list": "a list",
}


@dataclass(frozen=True)
class Known:
    """What an expression gives.

    Attributes:
        kind: of value.
        unit: of a number; None where it shows only when the program runs.
        item: of a list, what it holds.
    """

    kind: Kind
    unit: Literal["", "m", "m2", "share", "px", "px2"] | None = ""
    item: "Known | None" = None

    def __str__(self) -> str:
        return _NAMES[self.kind]

    def of_any_unit(self) -> "Known":
        """The same, of a unit that shows only when the program runs."""
        return replace(self, unit=None) if self.kind == "number" else self


Type = Known | str
"""A kind, or a phrase that says why the name cannot be used."""

Names = dict[str, Type]


def joined(a: Type, b: Type, why: str) -> Type:
    """What is known of a value that is one of two; `why` where they do not fit together."""
    if not isinstance(a, Known) or not isinstance(b, Known):
        return a if isinstance(a, str) else b
    if a.kind == "list" == b.kind and a.item is not None and b.item is not None:
        item = joined(a.item, b.item, why)
        return replace(a, item=item) if isinstance(item, Known) else why
    if a.kind != b.kind:
        return why
    return a if a.unit == b.unit else a.of_any_unit()


def joined_names(a: Names, b: Names, why: str) -> Names:
    """Names after two branches: what both know; the others cannot be used, because it `why`."""
    return {name: joined(a[name], b[name], why) if name in a and name in b else why for name in {**a, **b}}


def named_type(where: str, name: str, names: Names) -> Known:
    """What a name stands for.

    Raises:
        Refused: nothing was given this name, or not on every way here.
    """
    found = names.get(name)
    if found is None:
        raise Refused(f"{where}: {name} was never given a value. Write {name} = ... first, or text in quotation marks.")
    if isinstance(found, str):
        raise Refused(f"{where}: what {name} stands for {found}. Give it a value on every way before.")
    return found
