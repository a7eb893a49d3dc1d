"""How often one's own is among the first k found: photos or captions and tiles, both ways, in bounded memory."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from graft.errors import GraftError

RECALL_CUTS = (1, 5, 10)
_SCORES = 2**26  # held at a time, 4 bytes each
_ROWS = 2**15  # of the gallery in double precision at a time


def recall_at(
    queries: Tensor, query_owner: Tensor, gallery: Tensor, gallery_owner: Tensor, cuts: Sequence[int] = RECALL_CUTS
) -> list[float]:
    """Share of the queries that find one of their own among the first k, ranked by scalar product.

    Equal scores have no order: a query counts with the probability that a random order of the tied puts one of its own
    among the first k. With g better scores than its best own one, e equal to it and r of these its own, and
    j = min(k - g, e) of the tied above the cut, that is 1 - C(e - r, j) / C(e, j). So constant vectors give exactly
    what chance does. Queries without their own in the gallery are misses.

    Scores are summed in double precision and rounded to single: equal vectors get equal scores wherever they stand, so
    neither order nor number of processes matters. Beside the vectors this takes about 1 GB, whatever N and Q.

    Args:
        queries: float [Q, D].
        query_owner: int64 [Q]; items of equal owners belong together.
        gallery: float [N, D].
        gallery_owner: int64 [N].
        cuts: the values of k, each at least 1.

    Returns:
        One share for each cut, 0..1.

    Raises:
        GraftError: nothing to search for or in, or a vector that is not finite.
    """
    if not len(queries) or not len(gallery):
        raise GraftError("There is nothing to search for, or nothing to search in. Check the data folder.")
    for vectors in (queries, gallery):
        if not bool(vectors.isfinite().all()):
            raise GraftError(
                "Vectors hold values that are not finite, so they cannot be ranked. The weights are probably damaged "
                "or their training diverged: give another checkpoint."
            )
    if gallery.device.type == "mps":  # knows no double precision
        queries, query_owner, gallery, gallery_owner = (x.cpu() for x in (queries, query_owner, gallery, gallery_owner))
    found = torch.zeros(len(cuts), dtype=torch.float64)
    step = max(1, _SCORES // len(gallery))
    scores = torch.empty(min(step, len(queries)), len(gallery), device=gallery.device)
    for start in range(0, len(queries), step):
        part = queries[start : start + step].double()
        rows = scores[: len(part)]
        for first in range(0, len(gallery), _ROWS):
            rows[:, first : first + _ROWS] = part @ gallery[first : first + _ROWS].double().T
        own = query_owner[start : start + step, None] == gallery_owner
        best = rows.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
        tied = rows == best
        better, equal, theirs = ((x).sum(dim=1) for x in (rows > best, tied, tied & own))
        found += torch.stack([_probability(k, better, equal, theirs).sum() for k in cuts]).cpu()
    return (found / len(queries)).tolist()


def _probability(k: int, better: Tensor, equal: Tensor, own: Tensor) -> Tensor:
    """Probability of at least one own item among the first k: float64 [Q] of int64 [Q] counts."""
    drawn = (k - better).clamp(min=0).minimum(equal)
    missed = torch.ones_like(better, dtype=torch.float64)
    for i in range(k):
        others = (equal - own - i).clamp(min=0).double() / (equal - i).clamp(min=1)
        missed = torch.where(i < drawn, missed * others, missed)
    return 1 - missed


def recall_both_ways(
    queries: Tensor, query_owner: Tensor, tiles: Tensor, tile_owner: Tensor, what: str
) -> dict[str, float]:
    """Recall of tiles by what belongs to them (photos, captions), and of that by tiles.

    Args:
        queries: float [Q, D], in the space of the tiles' vectors.
        query_owner: int64 [Q], the tile that each belongs to; every one of them is in the gallery.
        tiles: float [N, D]; all of them are searched, those that own a query also search.
        tile_owner: int64 [N], all different.
        what: the queries are called in the names.

    Returns:
        For k of `RECALL_CUTS`, `recall_at_<k>` (the share of queries whose own tile is among the first k) and
        `tile_to_<what>_recall_at_<k>` (the share of tiles with any of their own among the first k), 0..1.
    """
    there = recall_at(queries, query_owner, tiles, tile_owner)
    asking = torch.isin(tile_owner, query_owner)
    back = recall_at(tiles[asking], tile_owner[asking], queries, query_owner)
    return {
        **{f"recall_at_{k}": value for k, value in zip(RECALL_CUTS, there, strict=True)},
        **{f"tile_to_{what}_recall_at_{k}": value for k, value in zip(RECALL_CUTS, back, strict=True)},
    }


class VectorBank(Metric):
    """Keeps vectors and whose they are; processes are joined.

    A vector takes 4 D bytes, twice that while processes are joined.
    """

    full_state_update = False
    vectors: list[Tensor]
    owners: list[Tensor]

    def __init__(self, dim: int) -> None:
        """Set up empty states.

        Args:
            dim: D.
        """
        super().__init__()
        self.dim = dim
        # Flat and of one dtype: a process that saw nothing then still joins the gathering. float32 counts exactly to
        # 2^24, more vectors than memory holds.
        self.add_state("vectors", default=[], dist_reduce_fx="cat")
        self.add_state("owners", default=[], dist_reduce_fx="cat")

    def update(self, vectors: Tensor, owners: Tensor) -> None:
        """Add float [B, D] vectors of int64 [B] owners, 0 <= owner < 2^24."""
        self.vectors.append(vectors.detach().float().flatten())
        self.owners.append(owners.float())

    def compute(self) -> tuple[Tensor, Tensor]:
        """Vectors float32 [N, D] and owners int64 [N] of all processes, in ascending order of owners."""
        if isinstance(self.vectors, list) and not self.vectors:
            return torch.zeros(0, self.dim), torch.zeros(0, dtype=torch.int64)
        vectors, owners = dim_zero_cat(self.vectors).view(-1, self.dim), dim_zero_cat(self.owners).long()
        order = owners.argsort(stable=True)
        return vectors[order], owners[order]
