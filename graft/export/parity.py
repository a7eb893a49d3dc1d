"""Whether what was exported gives the vectors of what was trained."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from graft.errors import GraftError

RECORD = "graft_export.json"
"""File of an export that is no model folder: its card, and what was compared."""
MOST = 1e-4
"""Largest difference of a component of unit vectors that an export may have."""
INT8_COSINE = 0.97
"""Least cosine between the vectors of an 8-bit tower and the original's."""
_TILES = 4
_TEXTS = ("a photo of a forest.", "a satellite photo of a lake", "houses, and a road between them")


@dataclass(frozen=True)
class Parity:
    """One comparison.

    Attributes:
        what: in words.
        largest: difference of a component of unit vectors.
        cosine: least, between vectors that should be the same.
    """

    what: str
    largest: float
    cosine: float

    def plain(self) -> dict[str, object]:
        """What is written as JSON."""
        return asdict(self)


def probe_tiles(side: int) -> Tensor:
    """Tiles to compare on: uint8 [4, 3, side, side], noise at several scales, always the same."""
    generator = torch.Generator().manual_seed(side)
    noise = [torch.rand(_TILES, 3, side // step or 1, side // step or 1, generator=generator) for step in (1, 4, 16)]
    mixed = sum(F.interpolate(part, (side, side), mode="bilinear") for part in noise)
    return (torch.as_tensor(mixed) * 85).round().to(torch.uint8)


def probe_texts() -> Sequence[str]:
    """Sentences to compare on."""
    return _TEXTS


def compare(what: str, theirs: Tensor, ours: Tensor, *, least_cosine: float | None = None) -> Parity:
    """Compare unit vectors [..., D].

    Args:
        what: in words, for the report and the fault.
        theirs: of the export.
        ours: of the original.
        least_cosine: bound on the cosine instead of on components.

    Raises:
        GraftError: they differ by more than the bound.
    """
    if theirs.shape != ours.shape:
        raise GraftError(f"The export is not the model: {what} is {tuple(theirs.shape)}, not {tuple(ours.shape)}.")
    difference = float((theirs.float() - ours.float()).abs().max())
    cosine = float(F.cosine_similarity(theirs.float(), ours.float(), dim=-1).min())
    good = difference <= MOST if least_cosine is None else cosine >= least_cosine
    if not good:
        bound = f"{MOST:g} is allowed" if least_cosine is None else f"a cosine of {least_cosine:g} is asked"
        raise GraftError(
            f"The export is not the model: {what} differs by {difference:.2g} (cosine {cosine:.4f}); {bound}. Nothing "
            "was written. Report this with the versions of the libraries."
        )
    return Parity(what, difference, cosine)


def compare_all(pairs: Sequence[tuple[str, Callable[[], Tensor], Callable[[], Tensor]]]) -> list[Parity]:
    """`compare` of several, each made when its turn comes."""
    with torch.inference_mode():
        return [compare(what, theirs(), ours()) for what, theirs, ours in pairs]


def parity_lines(parity: Sequence[Parity]) -> Iterator[str]:
    """What was compared, for a person to read."""
    for each in parity:
        yield f"  {each.what}: largest difference {each.largest:.1e}, least cosine {each.cosine:.6f}"
