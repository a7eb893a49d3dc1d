"""The contract between data and model: two batch types, every field with its shape and unit."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from graft.skips import Skip


class _Movable:
    """Moves every tensor field of a dataclass together."""

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return a copy with every tensor on `device`."""
        moved = {
            field.name: value.to(device, non_blocking=non_blocking)
            for field in fields(self)  # type: ignore[arg-type]  # every subclass is a dataclass
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)  # type: ignore[type-var]

    def pin_memory(self) -> Self:
        """Return a copy with every tensor in pinned memory; called by `DataLoader(pin_memory=True)`."""
        pinned = {
            field.name: value.pin_memory()
            for field in fields(self)  # type: ignore[arg-type]
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **pinned)  # type: ignore[type-var]


@dataclass(frozen=True)
class PairBatch(_Movable):
    """Tiles and the photos inside them.

    A row whose tile could not be read keeps its place: its `mask` is False throughout, so it adds nothing to the
    loss, and the batch order stays a pure function of the plan.

    Attributes:
        tile: uint8 [B, C, H, W], display values 0..255.
        ground: float [B, K, D], unit vectors of the frozen teacher; zeros where `mask` is False. None until an
            online teacher has looked at `photo`.
        mask: bool [B, K], which of the K places hold a photo.
        xy: float32 [B, K, 2], photo position (x right, y down) in tile pixels, pixel edges at integers.
        photo_id: int64 [B, K], hash of the photo's id; equal ids are the same photo.
        tile_id: B names.
        photo: uint8 [B, K, 3, h, w], only for an online teacher.
        position: samples of the endless training stream consumed by all ranks once this batch is done.
        skipped: every sample or photo that had to be left out, and why.
    """

    tile: Tensor
    ground: Tensor | None
    mask: Tensor
    xy: Tensor
    photo_id: Tensor
    tile_id: tuple[str, ...]
    photo: Tensor | None = None
    position: int = 0
    skipped: tuple[Skip, ...] = ()


@dataclass(frozen=True)
class LabelledBatch(_Movable):
    """Tiles with labels, for evaluation.

    Attributes:
        tile: uint8 [B, C, H, W], display values 0..255.
        label: int64 [B] (single label) or bool [B, N] (multi-label).
        name: B file or patch names.
        photo: uint8 [B, K, 3, h, w], photos of the same place where the benchmark has them; zeros past the last.
        photo_mask: bool [B, K], which photos are real.
        photo_label: int64 [B, K], class that each photo shows where the benchmark knows; -1 past the last.
        index: int64 [B], place of each tile in the benchmark, whichever process reads it.
        skipped: one reason for every tile left out; B is that much smaller than asked for.
        skipped_photos: one reason for every photo left out.
    """

    tile: Tensor
    label: Tensor
    name: tuple[str, ...]
    photo: Tensor | None = None
    photo_mask: Tensor | None = None
    photo_label: Tensor | None = None
    index: Tensor | None = None
    skipped: tuple[str, ...] = ()
    skipped_photos: tuple[str, ...] = ()
