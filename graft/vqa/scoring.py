"""Vision through an encoder: where concepts are, by the margin between a concept's words and all other words.

With z the scores of phrases, calibrated where the model is (`graft.vqa.calibrate`), at a patch token and then bilinear
between their centres:

    margin_c = max of z over the phrases of c's family - max of z over the phrases of its rivals
    c is where margin_c >= 0;  likeness = sigmoid(k margin_c)

The family of a concept is itself and all that it includes; its rivals are the concepts of the vocabulary that share no
ground with it. The margin is taken on tokens before anything is interpolated: the borders of masks are a little coarser
than those of `graft segment`, and one plane a concept is made in place of one a phrase.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from graft.dense import DenseMode, default_mode
from graft.errors import GraftError
from graft.prompts import TextTower, digest
from graft.scene import SceneReader
from graft.search.likeness import SAME
from graft.segment.engine import score_scene
from graft.sliding import (
    DenseScorer,
    WindowGrid,
    default_stride,
    score_array,
    token_data,
    upsample_data,
    weigh_by_data,
)
from graft.vqa.calibrate import Calibration
from graft.vqa.concepts import Concepts, fold
from graft.vqa.ground import GroundGrid, Units
from graft.vqa.unlabelled import FAMILY, phrase_vectors
from graft.vqa.values import Mask
from graft.words import ClassWords

LEAST_PATCHES = 6
"""Minimum mapping unit in patches. Counts of the atlas's val scenes are best from 5 to 10, presence from 4 to 8."""
_MOST_PIXELS = 16_000_000
_BAND = 1 << 22
_TOKEN_ROWS = 64


@dataclass(frozen=True)
class ConceptWords:
    """Concepts as vectors, encoded once for all images.

    Attributes:
        concepts: the vocabulary.
        words: a class for each phrase of the vocabulary, in its order, and then for each new phrase of the questions.
    """

    concepts: Concepts
    words: ClassWords

    def roles(self, phrase: str) -> tuple[list[int], list[int]]:
        """Classes of `words` that are for a phrase, and those that are against it.

        A phrase that the vocabulary does not know is held against all concepts but those that mean the same.

        Raises:
            GraftError: nothing is against it.
        """
        name = self.concepts.known(phrase)
        if name is not None:
            ours = [row for member in self.concepts.family(name) for row in self._rows[member]]
            against = [row for rival in self.concepts.rivals(name) for row in self._rows[rival]]
        else:
            ours = [self._row(phrase)]
            same = self._alike[ours[0]]
            rows = (rows for rows in self._rows.values() if not any(row == ours[0] or same[row] for row in rows))
            against = [row for each in rows for row in each]
        if not against:
            raise GraftError(
                f"The concepts {self.concepts.source} have nothing to tell {phrase!r} from, and it would be "
                "everywhere. Add what else there is on the ground, or choose other --concepts."
            )
        return ours, against

    def _row(self, phrase: str) -> int:
        folded = fold(phrase)
        if folded not in self._by_phrase:
            raise ValueError(f"{phrase!r} was not among the phrases that words were planned for")
        return self._by_phrase[folded]

    @cached_property
    def _by_phrase(self) -> dict[str, int]:
        return {fold(phrase): row for row, phrase in enumerate(self.words.ids)}

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        return {c.name: [self._by_phrase[fold(phrase)] for phrase in c.phrases] for c in self.concepts}

    @cached_property
    def _alike(self) -> Tensor:
        """Which phrases mean the same, bool [R, R], by the rule of `graft.search.likeness`."""
        known = sum(len(rows) for rows in self._rows.values())
        vectors = self.words.vectors.float().cpu()
        turned = functional.normalize(vectors - vectors[:known].mean(dim=0), dim=-1)
        return turned @ turned.T > SAME


def plan_words(concepts: Concepts, asked: Sequence[str], tower: TextTower) -> ConceptWords:
    """Turn a vocabulary, and the phrases of questions that it does not know, into vectors.

    Args:
        concepts: the vocabulary; all of it is among the rivals, whatever is asked.
        asked: the concepts of the questions' programs (`Checked.concepts`), in any words.
        tower: CLIP's, `graft.teacher.Teacher`.

    Raises:
        GraftError: a vocabulary with nothing to tell one of them from.
    """
    phrases = {fold(phrase): phrase for concept in concepts for phrase in concept.phrases}
    for phrase in asked:
        if concepts.known(phrase) is None:
            phrases.setdefault(fold(phrase), " ".join(phrase.split()))
    ids = tuple(phrases.values())
    card = {"name": concepts.source, "family": FAMILY, "sha256": digest([concepts.sha256, ids])}
    words = ClassWords(ids, phrase_vectors(ids, tower), torch.arange(len(ids)), card, tower.identity)
    planned = ConceptWords(concepts, words)
    for phrase in asked:
        planned.roles(phrase)
    return planned


def concept_scorer(
    encoder: nn.Module, words: ConceptWords, patch: int, window: int, mode: DenseMode | None = None
) -> DenseScorer:
    """A scorer of windows for these words.

    Args:
        encoder: in eval mode, on its device and in its precision.
        words: see `plan_words`.
        patch: side of a patch in pixels.
        window: side of a window in pixels.
        mode: how patch tokens are made; see `graft.dense.default_mode`.
    """
    return DenseScorer(encoder, words.words, mode or default_mode(encoder), patch, window)


@dataclass(frozen=True, eq=False)
class SceneVision:
    """`graft.vqa.vision.Vision` by an encoder.

    Attributes:
        grid: covers the canvas exactly: its pixels, coarsened by a whole factor where there are more than 16 million.
        data: bool [H, W] on that grid.
        least_px: minimum mapping unit in pixels of that grid.
        notes: what the user should know, e.g. that the grid was coarsened.
        weighed: float32 [h, w, R + 1], scores of all phrases as `graft.sliding.weigh_by_data` makes them.
        windows: whose canvas they cover.
        words: the R phrases.
        calibration: of the model.
    """

    grid: GroundGrid
    data: npt.NDArray[np.bool_]
    least_px: int
    notes: tuple[str, ...]
    weighed: Tensor
    windows: WindowGrid
    words: ConceptWords
    calibration: Calibration

    def segment(self, concept: str) -> Mask:
        """Where a concept is; False where there is no data."""
        ours, against = self.words.roles(concept)
        margins = [z[..., ours].amax(-1) - z[..., against].amax(-1) for z in self._scores()]
        plane = weigh_by_data(torch.cat(margins)[..., None], self.weighed[..., -1])
        height, width = self.data.shape
        likeness = np.empty((height, width), np.float16)
        pixels = np.empty((height, width), np.bool_)
        step = max(_BAND // width, 1)
        for first in range(0, height, step):
            rows = first, min(first + step, height)
            margin = upsample_data(plane, self.windows, (height, width), rows, (0, width))[0]
            likeness[slice(*rows)] = torch.sigmoid(self.calibration.scale * margin).numpy()
            pixels[slice(*rows)] = (margin >= 0).numpy()
        return Mask(concept, pixels & self.data, likeness, 0.0)

    def likeness(self, concept: str) -> float:
        """How like a concept the image as a whole is, 0..1: the likeness of its mean token; 0 without data."""
        ours, against = self.words.roles(concept)
        share = self.weighed[..., -1]
        if not bool(share.any()):
            return 0.0
        sums = sum(part.double().sum((0, 1)) for part in torch.split(self.weighed[..., :-1], _TOKEN_ROWS))
        z = self._calibrated(sums / share.double().sum())
        return float(torch.sigmoid(self.calibration.scale * (z[ours].amax() - z[against].amax())))

    def classify(self, options: Sequence[str]) -> dict[str, float]:
        """Score of each option for the whole image, 0..1; they sum to 1.

        The mean over the patches with data of softmax(k z), z of an option being the best of its family: the share of
        the image in which an option is the likeliest of them, with doubts shared out.
        """
        families = [self.words.roles(option)[0] for option in options]
        shares = torch.split(self.weighed[..., -1], _TOKEN_ROWS)
        total = torch.zeros(len(options), dtype=torch.float64)
        for z, share in zip(self._scores(), shares, strict=True):
            best = torch.stack([z[..., rows].amax(-1) for rows in families], dim=-1)
            total += (torch.softmax(self.calibration.scale * best, dim=-1) * share[..., None]).double().sum((0, 1))
        if not bool(total.any()):
            total += 1
        found = (total / total.sum()).tolist()
        return dict(zip(options, found, strict=True))

    def _scores(self) -> Iterator[Tensor]:
        """Calibrated scores of some rows of tokens at a time, float32 [<= 64, w, R]."""
        for part in torch.split(self.weighed, _TOKEN_ROWS):
            share = part[..., -1:]
            yield self._calibrated(part[..., :-1] / torch.where(share > 0, share, 1))

    def _calibrated(self, cosines: Tensor) -> Tensor:
        mean, width = self._usual
        return (cosines - mean.to(cosines)) / width.to(cosines)

    @cached_property
    def _usual(self) -> tuple[Tensor, Tensor]:
        """What is taken off a cosine, and what it is divided by, float64 [R] each."""
        ids, vectors, calibration = self.words.words.ids, self.words.words.vectors.cpu().double(), self.calibration
        if not calibration.tiles:
            return torch.zeros(len(ids), dtype=torch.float64), torch.ones(len(ids), dtype=torch.float64)
        means = (vectors @ torch.tensor(calibration.token, dtype=torch.float64)).tolist()
        usual = [
            calibration.phrases.get(phrase, (mean, calibration.spread)) for phrase, mean in zip(ids, means, strict=True)
        ]
        mean, sd = torch.tensor(usual, dtype=torch.float64).T
        return mean, sd + calibration.spread


def vision_of_array(
    pixels: npt.NDArray[np.uint8],
    scorer: DenseScorer,
    words: ConceptWords,
    calibration: Calibration,
    *,
    grid: GroundGrid | None = None,
    seen: npt.NDArray[np.bool_] | None = None,
    batch_size: int = 16,
    stride: int | None = None,
    least_px: int | None = None,
) -> SceneVision:
    """Look at an image in memory.

    Args:
        pixels: uint8 [H, W, 3], display values at the model's GSD.
        scorer: with `words.words`; see `concept_scorer`.
        words: what will be asked.
        calibration: of the same model; `no_calibration(k)` for scores as they are.
        grid: of the H x W pixels; pixels without georeference if None.
        seen: bool [H, W], where there is data; everywhere if None.
        batch_size: windows at a time.
        stride: between windows in pixels; half a window if None.
        least_px: minimum mapping unit in pixels; `LEAST_PATCHES` patches if None.

    Raises:
        GraftError: a calibration of another dense mode.
    """
    _check_mode(calibration, scorer)
    height, width = pixels.shape[:2]
    stride = default_stride(scorer.window, scorer.patch) if stride is None else stride
    windows = WindowGrid(height, width, scorer.window, stride, scorer.patch)
    seen = np.ones((height, width), np.bool_) if seen is None else seen
    below, right = (padded - side for padded, side in zip(windows.padded, seen.shape, strict=True))
    share = token_data(np.pad(seen, ((0, below), (0, right))), scorer.patch)
    weighed = weigh_by_data(score_array(pixels, scorer, stride=stride, batch_size=batch_size), share)
    ground = GroundGrid(height, width, None, None, "pixels") if grid is None else grid
    least = LEAST_PATCHES * scorer.patch**2 if least_px is None else least_px
    return SceneVision(ground, seen, least, (), weighed, windows, words, calibration)


def vision_of_scene(
    reader: SceneReader,
    scorer: DenseScorer,
    words: ConceptWords,
    calibration: Calibration,
    *,
    units: Units = "metres",
    batch_size: int = 16,
    stride: int | None = None,
    least_px: int | None = None,
) -> SceneVision:
    """Look at a raster, open with `graft.scene.read_scene`, in bounded memory; scores lie in a temporary file.

    Args:
        reader: of the raster.
        scorer: see `vision_of_array`, and so for the rest.
        words: what will be asked.
        calibration: of the same model.
        units: of lengths and areas; always pixels where the raster has no georeference.
        batch_size: windows at a time.
        stride: between windows in pixels.
        least_px: minimum mapping unit in canvas pixels.

    Raises:
        GraftError: a calibration of another dense mode, a damaged raster, or one that lies nowhere on Earth.
    """
    _check_mode(calibration, scorer)
    view = reader.view
    height, width = view.canvas
    factor = min(max(math.ceil(math.sqrt(height * width / _MOST_PIXELS)), 1), scorer.patch)
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    grid = GroundGrid.of_canvas(view.crs, view.transform, (view.height, view.width), (rows, columns), units)
    stride = default_stride(scorer.window, scorer.patch) if stride is None else stride
    windows = WindowGrid(height, width, scorer.window, stride, scorer.patch)
    with tempfile.TemporaryDirectory(prefix="graft-ask-") as folder:
        weighed = score_scene(reader, scorer, windows, Path(folder), {"words": words.words.card}, batch_size)
    least = LEAST_PATCHES * scorer.patch**2 if least_px is None else least_px
    notes = (
        ()
        if factor == 1
        else (
            f"The image has {height * width / 1e6:.0f} million pixels; answers are worked out on a grid of {rows} x "
            f"{columns}, {factor} pixels a side each.",
        )
    )
    data = _data_on_grid(reader, (rows, columns))
    least_on_grid = max(round(least * rows * columns / (height * width)), 1)
    return SceneVision(grid, data, least_on_grid, notes, weighed, windows, words, calibration)


def _check_mode(calibration: Calibration, scorer: DenseScorer) -> None:
    made_for = calibration.card.get("mode", scorer.mode)
    if made_for != scorer.mode:
        raise GraftError(
            f"The model is calibrated for dense mode {made_for}, and would look with {scorer.mode}. Give --mode "
            f"{made_for}, or run `graft calibrate` with --mode {scorer.mode}."
        )


def _data_on_grid(reader: SceneReader, grid: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Where the canvas has data at the centres of grid pixels, bool [H, W], a band at a time."""
    height, width = reader.view.canvas
    rows = ((np.arange(grid[0]) + 0.5) * height / grid[0]).astype(np.intp)
    columns = ((np.arange(grid[1]) + 0.5) * width / grid[1]).astype(np.intp)
    data = np.empty(grid, np.bool_)
    step = max(_BAND // width, 1)
    for first in range(0, height, step):
        last = min(first + step, height)
        here = (rows >= first) & (rows < last)
        data[here] = reader.canvas_rows(first, last)[1][rows[here] - first][:, columns]
    return data
