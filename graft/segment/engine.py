"""Windows over a whole scene, in bounded memory and resumable: finished token rows lie in a file beside the output."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from graft.errors import GraftError
from graft.files import atomic_path
from graft.scene import SceneReader
from graft.sliding import DenseScorer, ScoreAccumulator, WindowGrid, score_windows, token_data, weigh_by_data

SAVE_EVERY_S = 2.0
TOKENS, STATE = "tokens.f32", "state.safetensors"


def score_scene(
    reader: SceneReader,
    scorer: DenseScorer,
    grid: WindowGrid,
    folder: Path,
    settings: Mapping[str, object],
    batch_size: int,
) -> Tensor:
    """Score every window of a scene.

    Args:
        reader: of the scene, whose canvas is that of `grid`.
        scorer: see `DenseScorer`.
        grid: the windows.
        folder: existing folder for token rows and state. A run that was stopped goes on from there.
        settings: all that the scores depend on, in plain JSON types; a stopped run of others is started over.
        batch_size: windows at a time.

    Returns:
        float32 [h, w, C + 1], the blended scores on the token grid as `graft.sliding.weigh_by_data` makes them, mapped
        from the file in `folder`.

    Raises:
        GraftError: the scene is damaged, or the user stopped the run.
    """
    tokens, state = folder / TOKENS, folder / STATE
    classes = len(scorer.words.ids)
    shape = (*grid.token_shape, classes + 1)
    accumulator = ScoreAccumulator(grid, classes)
    row_bytes = shape[1] * shape[2] * 4
    done = _resume(tokens, state, settings, accumulator, row_bytes)
    rows, columns = grid.rows, grid.columns
    saved = time.monotonic()
    windows = tqdm(
        total=len(rows) * len(columns),
        initial=accumulator.next_row * len(columns),
        unit=" windows",
        desc="Scoring",
        disable=accumulator.next_row == len(rows),
    )
    try:
        with windows, tokens.open("r+b" if done else "wb") as file:
            for number in range(accumulator.next_row, len(rows)):
                row, seen = _row_of_windows(reader, grid, rows[number])
                finished = accumulator.add(score_windows(scorer, row, grid, batch_size, seen))
                finished = weigh_by_data(finished, token_data(seen, grid.patch)[: len(finished)])
                file.seek(done * row_bytes)
                file.write(finished.numpy().tobytes())
                done += len(finished)
                if time.monotonic() - saved > SAVE_EVERY_S or number + 1 == len(rows):
                    file.flush()
                    os.fsync(file.fileno())
                    _save(state, accumulator, done, settings)
                    saved = time.monotonic()
                windows.update(len(columns))
    except KeyboardInterrupt:
        raise GraftError(
            f"Stopped after {accumulator.next_row} of {len(rows)} rows of windows. The same command goes on from there."
        ) from None
    return torch.from_numpy(np.memmap(tokens, np.float32, "c", shape=shape))


def _row_of_windows(
    reader: SceneReader, grid: WindowGrid, first: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """The padded canvas under a row of windows: uint8 [window, padded width, 3], and where it has data."""
    last = min(first + grid.window, grid.height)
    shown, seen = reader.canvas_rows(first, last)
    below, right = grid.window - (last - first), grid.padded[1] - grid.width
    return np.pad(shown, ((0, below), (0, right), (0, 0)), mode="edge"), np.pad(seen, ((0, below), (0, right)))


def _save(state: Path, accumulator: ScoreAccumulator, done: int, settings: Mapping[str, object]) -> None:
    content = {**accumulator.state(), "done": torch.tensor(done)}
    with atomic_path(state) as partial:
        save_file(content, partial, metadata={"settings": json.dumps(settings, sort_keys=True)})


def _resume(
    tokens: Path, state: Path, settings: Mapping[str, object], accumulator: ScoreAccumulator, row_bytes: int
) -> int:
    """Load what a stopped run left into `accumulator`; returns its number of finished token rows."""
    if not state.is_file() or not tokens.is_file():
        return 0
    try:
        with safe_open(state, framework="pt") as file:
            theirs = json.loads(file.metadata()["settings"])
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        print(f"The state of an earlier run in {state} cannot be read ({error}): starting over.")
        return 0
    ours = json.loads(json.dumps(settings))
    if theirs != ours:
        changed = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        print(f"An earlier run was stopped that differs in {', '.join(changed)}: starting over.")
        return 0
    done = int(content["done"])
    if tokens.stat().st_size < done * row_bytes:
        print(f"The token rows of an earlier run in {tokens} are cut short: starting over.")
        return 0
    accumulator.load_state(content)
    print(f"Going on after {accumulator.next_row} of {len(accumulator.grid.rows)} rows of windows.")
    return done
