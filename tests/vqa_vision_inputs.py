"""Words for colours: a text tower of width 3 beside the encoder of `tests.segment_inputs`, and a vocabulary."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from graft.sliding import DenseScorer
from graft.vqa.concepts import Concepts, load_concepts
from graft.vqa.scoring import ConceptWords, concept_scorer, plan_words
from tests.segment_inputs import COLOURS, PATCH, WINDOW, MeanColour

AWAY = np.full(3, -1.0)
MEANT = {"brick": COLOURS[0], "roof": COLOURS[0], "wood": COLOURS[1], "trees": COLOURS[1], "pond": COLOURS[2]}
CONCEPTS = [
    {"name": "house", "phrases": ["brick"]},
    {"name": "forest", "phrases": ["wood"]},
    {"name": "lake", "phrases": ["pond"]},
    {"name": "land", "includes": ["house", "forest"], "phrases": []},
]


class ColourTower:
    """Reads the words of `MEANT`; all others point away from every colour."""

    identity = "cd" * 32

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        rows = [next((MEANT[word] for word in MEANT if word in text), AWAY) for text in texts]
        return F.normalize(torch.from_numpy(np.stack(rows)).float(), dim=-1)


def colour_concepts(folder: Path) -> Concepts:
    path = folder / "colours.yaml"
    path.write_text(yaml.safe_dump(CONCEPTS))
    return load_concepts(path)


def colour_words(folder: Path, *asked: str) -> ConceptWords:
    return plan_words(colour_concepts(folder), asked, ColourTower())


def scorer_of(words: ConceptWords) -> DenseScorer:
    return concept_scorer(MeanColour().eval(), words, PATCH, WINDOW)
