"""Segmentation of a scene from dense features: megapixels a second, and the memory that blending takes.

Ours is `graft.segment.segment_array` with bf16 weights. The peer is what one writes without a library: a loop over
windows one by one in fp32, scores upsampled for each window and summed at full resolution. It is spared a dense encoder
of its own: both use graft's, with random weights. The limit of speed is the bare tower in bf16 on the same batches of
windows; that of memory holds the class map, one row of windows and its scores, and nothing else.
"""

import gc
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.memory import status_mb
from benchmarks.rows import BenchmarkRow, measure
from graft.encoders import SatelliteEncoder, encoder_from_clip, tower_tokens
from graft.segment.blocks import score_blocks
from graft.segment.engine import score_scene
from graft.segment.maps import segment_array
from graft.sliding import DenseScorer, WindowGrid
from graft.words import ClassWords

WINDOW, STRIDE, PATCH, DIM, CLASSES = 224, 112, 16, 512, 8
SIDE, WIDE, TALL = 672, 4096, 8192
BATCH = 16
Scene = npt.NDArray[np.uint8]


def _scene(height: int, width: int) -> Scene:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _words() -> ClassWords:
    vectors = F.normalize(torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(0)), dim=-1)
    return ClassWords(tuple(map(str, range(CLASSES))), vectors, torch.arange(CLASSES), {}, None)


def _scorer(encoder: nn.Module) -> DenseScorer:
    return DenseScorer(encoder, _words(), "tokens", PATCH, WINDOW)


def _grid(scene: Scene) -> WindowGrid:
    return WindowGrid(scene.shape[0], scene.shape[1], WINDOW, STRIDE, PATCH)


@torch.inference_mode()
def naive(encoder: nn.Module, text: Tensor, scene: Scene) -> Scene:
    """A class map as tutorials make it.

    Args:
        encoder: has `tokens`, uint8 [1, 3, S, S] to float32 [1, h, w, D].
        text: float32 [C, D].
        scene: uint8 [H, W, 3].

    Returns:
        uint8 [H, W].
    """
    grid = _grid(scene)
    sums = torch.zeros(len(text), *scene.shape[:2])
    counts = torch.zeros(scene.shape[:2])
    for y in grid.rows:
        for x in grid.columns:
            here = slice(y, y + WINDOW), slice(x, x + WINDOW)
            window = torch.from_numpy(scene[here]).permute(2, 0, 1)[None]
            tokens = encoder.tokens(window) @ text.T  # type: ignore[operator]  # a module's own method
            sums[:, *here] += F.interpolate(tokens.permute(0, 3, 1, 2), (WINDOW, WINDOW), mode="bilinear")[0]
            counts[here] += 1
    return (sums / counts).argmax(dim=0).to(torch.uint8).numpy()


# --- speed ----------------------------------------------------------------------------------------


def _megapixels_a_second(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return SIDE * SIDE / 1e6 / (time.perf_counter() - began)


def dense() -> BenchmarkRow:
    """Measure dense inference of a ViT-B/16, warm."""
    torch.manual_seed(0)
    scene = _scene(SIDE, SIDE)
    full = _pixel_encoder()
    half = _pixel_encoder()
    half.load_state_dict(full.state_dict())
    scorer = _scorer(half.to(torch.bfloat16))
    grid = _grid(scene)
    batch = torch.randn(len(grid.columns), 3, WINDOW, WINDOW, dtype=torch.bfloat16)

    def ours() -> object:
        return segment_array(scene, scorer, stride=STRIDE, batch_size=BATCH)

    def peer() -> object:
        return naive(full, scorer.words.vectors, scene)

    @torch.inference_mode()
    def limit() -> object:
        return [tower_tokens(half.tower, part) for _ in grid.rows for part in torch.split(batch, BATCH)]

    for run in (ours, limit):
        run()
    return measure(
        "dense",
        "Mpx/s",
        ours=lambda: _megapixels_a_second(ours),
        peer=lambda: _megapixels_a_second(peer),
        limit=lambda: _megapixels_a_second(limit),
        rounds=3,
    )


def _pixel_encoder() -> SatelliteEncoder:
    encoder, _ = encoder_from_clip("ViT-B-16-quickgelu", None, level="pixel")
    if not isinstance(encoder, SatelliteEncoder):
        raise TypeError("expected a tower")
    return encoder.eval().requires_grad_(requires_grad=False)


# --- memory ---------------------------------------------------------------------------------------


class Stub(nn.Module):
    """Stands for a pixel-level encoder and takes no memory of its own."""

    level = "pixel"

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1), requires_grad=False)

    def tokens(self, tile: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] to float32 [B, S / 16, S / 16, D]."""
        side = tile.shape[-1] // PATCH
        return self.one.expand(len(tile), side, side, DIM)


@dataclass(frozen=True)
class InMemory:
    """Stands for the reader of a scene on disk, so that GDAL's cache is not measured."""

    scene: Scene

    def canvas_rows(self, first: int, last: int) -> tuple[Scene, npt.NDArray[np.bool_]]:
        """Rows of the scene, all of them with data."""
        return self.block((first, last), (0, self.scene.shape[1]))

    def block(self, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[Scene, npt.NDArray[np.bool_]]:
        """A part of the scene, all of it with data."""
        part = self.scene[slice(*rows), slice(*columns)]
        return part, np.ones(part.shape[:2], bool)


def _stream(scene: Scene) -> None:
    """What `graft segment` does between reading and writing: rows of windows in, blocks of the class map out."""
    scorer, grid, reader = _scorer(Stub()), _grid(scene), InMemory(scene)
    with tempfile.TemporaryDirectory(prefix="graft-benchmark-") as folder:
        tokens = score_scene(reader, scorer, grid, Path(folder), {}, BATCH)  # type: ignore[arg-type]  # a stand-in
        for block in score_blocks(tokens, grid, (grid.height, grid.width), reader.block, None):
            block.labels(np.uint8)


def _sum_up(scene: Scene) -> None:
    naive(Stub(), _words().vectors, scene)


def _hold(scene: Scene) -> None:
    """Touch the class map, one row of windows and its scores."""
    columns = len(_grid(scene).columns)
    held = (
        np.ones(scene.shape[:2], np.uint8),
        np.ones((columns, 3, WINDOW, WINDOW), np.uint8),
        np.ones((columns, WINDOW // PATCH, WINDOW // PATCH, CLASSES), np.float32),
    )
    del held


_CONTENDERS = {"ours": _stream, "peer": _sum_up, "limit": _hold}


def _extra_peak(contender: str, height: int) -> float:
    """Megabytes that a contender takes beyond the scene and what was there; in a process of its own."""
    run = _CONTENDERS[contender]
    run(_scene(2 * WINDOW, 2 * WINDOW))
    scene = _scene(height, WIDE)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    before = status_mb("VmRSS")
    run(scene)
    return status_mb("VmHWM") - before


def _in_child(contender: str, height: int) -> float:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_extra_peak, (contender, height))


def dense_memory(name: str = "dense_memory", height: int = WIDE) -> BenchmarkRow:
    """Measure the memory of blending a scene 4,096 pixels wide, encoder left out; Linux only."""
    return measure(
        name,
        "MB",
        ours=lambda: _in_child("ours", height),
        peer=lambda: _in_child("peer", height),
        limit=lambda: _in_child("limit", height),
        better="lower",
        rounds=2,
    )


def dense_memory_tall() -> BenchmarkRow:
    """The same on a scene of twice the height: ours should not grow."""
    return dense_memory("dense_memory_tall", TALL)
