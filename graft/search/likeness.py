"""A score that people can read: how much a tile is like a query, from 0 to 1.

A cosine of 0.27 says nothing by itself: what is high differs between models, words and sensors. So a tile's cosine with
the query is held against its cosines with a set of everyday descriptions of ground, the background. With scale k (of
the CLIP that reads the words) and tile vector x:

    words t     p = sigmoid(k (x.t - max_b x.b)), b over the background but for what means the same as the query
    photo g     p = sum_b sqrt(P(b | x) P(b | g)), P(b | v) = softmax_b(k v.b), the Bhattacharyya coefficient

For words 0.5 means that the query describes the tile as well as the best everyday description does; whether p >= 0.5
does not depend on k. For a photo 1 means that tile and photo are described alike. A mix of parts with weights w has
sum_i w_i p_i / sum_i w_i over what is wanted, times (1 - p_j) for each part that is unwanted. Tiles are ranked by the
cosine with the query and not by likeness, so likeness need not fall from rank to rank.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from graft.search.query import Query

SAME = 0.6
"""Cosine, after the mean of the background is taken from both, from which two phrases mean the same. Plain cosines do
not tell: CLIP ViT-B/32 puts different classes of WHU-RS19 at 0.77 to 0.92, and after it at -0.34 to 0.59 (bridge and
viaduct)."""


@dataclass(frozen=True)
class Background:
    """Everyday descriptions as vectors.

    Attributes:
        texts: M phrases.
        vectors: float32 [M, D] of unit length.
        scale: k, of cosines before a softmax.
    """

    texts: tuple[str, ...]
    vectors: Tensor
    scale: float


def likeness(tiles: Tensor, query: Query, background: Background | None) -> Tensor | None:
    """How much tiles are like a query.

    Args:
        tiles: float [n, D] of unit length.
        query: its parts are judged one by one.
        background: what they are held against.

    Returns:
        float32 [n], 0..1; None without a background, or where all of it means the query.
    """
    if background is None or len(background.texts) < 2:
        return None
    tiles = tiles.float()
    cosines = tiles @ background.vectors.T
    wanted = [number for number, wish in enumerate(query.wishes) if wish.weight > 0]
    other = ~_same([n for n in wanted if query.wishes[n].kind == "words"], query, background)
    summed, total, spared = torch.zeros(len(tiles)), 0.0, torch.ones(len(tiles))
    for number, wish in enumerate(query.wishes):
        vector = query.parts[number]
        rivals = other if wish.weight > 0 else ~_same([number], query, background)
        if wish.kind == "photo":
            share = _alike(cosines, background.vectors @ vector, background.scale)
        elif not rivals.any():
            return None
        else:
            best = cosines[:, rivals].amax(dim=1)
            share = torch.sigmoid(background.scale * (tiles @ vector - best))
        if wish.weight > 0:
            summed, total = summed + wish.weight * share, total + wish.weight
        else:
            spared = spared * (1 - share)
    return summed / total * spared


def _same(parts: list[int], query: Query, background: Background) -> Tensor:
    """Which background phrases mean the same as one of some parts: bool [M]."""
    if not parts:
        return torch.zeros(len(background.texts), dtype=torch.bool)
    middle = background.vectors.mean(dim=0)
    phrases = functional.normalize(background.vectors - middle, dim=-1)
    words = functional.normalize(query.parts[parts] - middle, dim=-1)
    return (phrases @ words.T).amax(dim=1) > SAME


def _alike(tiles: Tensor, photo: Tensor, scale: float) -> Tensor:
    """Bhattacharyya coefficient of descriptions: cosines [n, M] and [M] to [n]."""
    halves = 0.5 * (torch.log_softmax(scale * tiles, dim=-1) + torch.log_softmax(scale * photo, dim=-1))
    return halves.logsumexp(dim=-1).exp().clamp(max=1.0)
