"""Tiles without labels, drawn from an archive, and what the scores of words usually are on them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from graft.checkpoint import LoadedEncoder
from graft.dense import DenseMode, dense_features
from graft.errors import GraftError
from graft.index.plan import open_sources
from graft.index.sources import Look, read_group
from graft.prompts import PLAIN_FAMILIES, TextTower, ensemble, load_prompts
from graft.tally import Tally
from graft.vqa.calibrate import SCALE, Calibration
from graft.vqa.concepts import Concepts

FAMILY = "ground"
_GROUPS = 32
"""Groups of windows that are read at least, if there are as many: neighbours are alike."""
_LEAST_VALID = 0.95
_TEXTS = 256


@dataclass(frozen=True)
class Sample:
    """Tiles that were drawn.

    Attributes:
        pixels: uint8 [n, 3, S, S].
        wanted: how many were asked for.
        sources: that could be opened.
        skipped: windows that were drawn and left out.
        faults: one sentence for each source that could not be read.
    """

    pixels: Tensor
    wanted: int
    sources: int
    skipped: Tally = field(default_factory=Tally)
    faults: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """What was drawn and what not, for a person to read."""
        short = "" if len(self.pixels) == self.wanted else f" of {self.wanted:,} wanted, as there are no more"
        yield f"{len(self.pixels):,} tiles{short}, from {self.sources:,} sources."
        if self.skipped.total:
            yield "Windows left out:"
            yield from self.skipped.lines()
        if self.faults:
            yield f"{len(self.faults):,} sources are left out:"
            yield from (f"  {fault}" for fault in self.faults)


def phrase_vectors(phrases: Sequence[str], tower: TextTower) -> Tensor:
    """Phrases as float32 [P, D] of unit length: the ensemble of the templates of `FAMILY`."""
    templates = PLAIN_FAMILIES[FAMILY]
    texts = [template.replace("{}", phrase) for template in templates for phrase in phrases]
    parts = [tower.encode_text(texts[first : first + _TEXTS]) for first in range(0, len(texts), _TEXTS)]
    return ensemble(torch.cat(parts).reshape(len(templates), len(phrases), -1))


def phrases_of(sets: Sequence[Concepts]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What is calibrated: the phrases of some vocabularies and everyday descriptions, each once.

    Returns:
        P phrases, and the numbers of those that are everyday descriptions.
    """
    everyday = load_prompts("background").names
    of_concepts = [phrase for concepts in sets for concept in concepts for phrase in concept.phrases]
    phrases = tuple(dict.fromkeys([*of_concepts, *everyday]))
    return phrases, tuple(phrases.index(phrase) for phrase in everyday)


def sample_tiles(places: Sequence[str], look: Look, tiles: int, seed: int) -> Sample:
    """Draw windows evenly from the sources at some places.

    Args:
        places: see `graft.index.plan.open_sources`.
        look: how the model looks at them.
        tiles: how many, at most.
        seed: of the draw.

    Raises:
        GraftError: there is no tile to be had.
    """
    sources, faults = open_sources(places, look)
    rng = np.random.default_rng(seed)
    jobs = [(source, group) for source in sources for group in range(source.groups)]
    drawn: list[Tensor] = []
    skipped = Tally()
    with tqdm(total=tiles, unit=" tiles", desc="Drawing tiles", delay=2) as bar:
        for done, number in enumerate(rng.permutation(len(jobs))):
            left = tiles - len(drawn)
            if not left:
                break
            source, group = jobs[number]
            found = read_group(source, group)
            if found.fault:
                faults.append(found.fault)
                continue
            skipped.merge(found.skipped)
            share = math.ceil(left / max(min(len(jobs), _GROUPS) - done, 1))
            for place in rng.permutation(len(found.tiles))[:share]:
                facts = found.tiles[place]
                if facts.valid is not None and facts.valid < _LEAST_VALID:
                    skipped.add(f"less than {_LEAST_VALID:.0%} with data", f"{facts.path}, window {facts.number}")
                else:
                    drawn.append(found.pixels[place])
                    bar.update()
    if not drawn:
        left_out = [f"{number} x {reason}." for reason, number in skipped.counts.items()]
        why = " ".join([*faults, *left_out][:3]) or "Nothing is there."
        raise GraftError(f"No tile to calibrate on in {', '.join(places)}. {why}")
    return Sample(torch.stack(drawn), tiles, len(sources), skipped, tuple(dict.fromkeys(faults)))


def measure_model(
    loaded: LoadedEncoder,
    tower: TextTower,
    sets: Sequence[Concepts],
    mode: DenseMode,
    pixels: Tensor,
    seed: int,
    batch_size: int,
) -> Calibration:
    """What the scores of a model usually are.

    Args:
        loaded: the model, on its device and in its precision.
        tower: the CLIP that it was aligned to.
        sets: vocabularies whose phrases are calibrated.
        mode: how patch tokens are made.
        pixels: uint8 [n, 3, S, S].
        seed: that the tiles were drawn by, for the record.
        batch_size: tiles at a time.

    Raises:
        GraftError: a model that sees no difference anywhere.
    """
    phrases, everyday = phrases_of(sets)
    mean, sd, token = measure(loaded.encoder, mode, pixels, phrase_vectors(phrases, tower), batch_size)
    spread = float(sd[list(everyday)].mean())
    if not spread > 0:
        raise GraftError(
            f"The scores of all words are the same everywhere on {len(pixels)} tiles: nothing to calibrate by. Give "
            "more ground, or a model that is trained."
        )
    card = {"model_sha256": loaded.sha256, "teacher": tower.identity, "mode": mode, "seed": str(seed)}
    usual = {p: (float(m), float(s)) for p, m, s in zip(phrases, mean, sd, strict=True)}
    return Calibration(SCALE, len(pixels), card, usual, spread, tuple(map(float, token)))


@torch.inference_mode()
def measure(
    encoder: nn.Module, mode: DenseMode, pixels: Tensor, vectors: Tensor, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and sd of the cosines of phrases over all patches of some tiles.

    Args:
        encoder: in eval mode, on any device.
        mode: how patch tokens are made.
        pixels: uint8 [n, 3, S, S].
        vectors: float32 [P, D] of unit length.
        batch_size: tiles at a time.

    Returns:
        Mean [P], sd [P] and the mean token [D], float64.
    """
    device = next(encoder.parameters()).device
    text = vectors.double()
    count, total, squares = 0, torch.zeros(text.shape[1], dtype=torch.float64), torch.zeros(len(text)).double()
    for batch in tqdm(torch.split(pixels, batch_size), unit=" batches", desc="Looking", delay=2):
        tokens = dense_features(encoder, batch.to(device), mode).tokens.flatten(0, -2).double().cpu()
        count += len(tokens)
        total += tokens.sum(0)
        squares += (tokens @ text.T).square().sum(0)
    token = total / count
    mean = text @ token
    return mean, (squares / count - mean.square()).clamp(min=0).sqrt(), token
