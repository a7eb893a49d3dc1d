"""Two real gloo processes against one process on the joint batch (the table of docs/method.md)."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from graft.gather import gather_candidates
from graft.losses import Candidates, alignment_loss

TILES, PLACES, DIM = 6, 3, 8
Gather = Callable[..., Candidates]


def joint_batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    tile = torch.randn(2 * TILES, 10, generator=draw)
    ground = F.normalize(torch.randn(2 * TILES, PLACES, DIM, generator=draw), dim=-1)
    mask = torch.rand(2 * TILES, PLACES, generator=draw) < 0.6
    mask[:, 0] = True
    mask[1] = False  # one rank has a tile less: the ranks' batches are uneven
    photo_id = torch.arange(2 * TILES * PLACES).reshape(2 * TILES, PLACES)
    photo_id[0, 0] = photo_id[TILES, 0]  # a photo shared across ranks
    ground[0, 0] = ground[TILES, 0]
    return tile, ground, mask, photo_id


def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(10, 16), nn.GELU(), nn.Linear(16, DIM))


def plain_gather(ground: Tensor, mask: Tensor, photo_id: Tensor, satellite: Tensor | None = None) -> Candidates:
    """The wrong gather: the satellite side loses its gradient."""
    gathered = gather_candidates(ground, mask, photo_id, satellite)
    if satellite is None or gathered.satellite is None:
        return gathered
    everywhere = gathered.satellite.detach().clone()
    everywhere[gathered.offset : gathered.offset + len(satellite)] = satellite
    return Candidates(gathered.ground, gathered.mask, gathered.photo_id, everywhere, gathered.offset, gathered.world)


def no_gather(ground: Tensor, mask: Tensor, photo_id: Tensor, satellite: Tensor | None = None) -> Candidates:
    """The other wrong gather: negatives of this rank only."""
    return Candidates(ground, mask, photo_id, satellite)


GATHERS: dict[str, Gather] = {"gather": gather_candidates, "plain": plain_gather, "none": no_gather}


def gradient(module: nn.Module, rows: slice, gather: Gather, *, symmetric: bool, siblings: bool, pixel: bool) -> Tensor:
    tile, ground, mask, photo_id = (value[rows] for value in joint_batch())
    if pixel:  # another token for each photo
        tile = torch.stack([tile.roll(photo, -1) for photo in range(PLACES)], 1)
    satellite = F.normalize(module(tile), dim=-1)
    candidates = gather(ground, mask, photo_id, satellite if symmetric else None)
    scale = torch.tensor(1 / 0.07)
    alignment_loss(
        satellite, ground, mask, candidates, logit_scale=scale, symmetric=symmetric, siblings=siblings
    ).backward()
    return torch.cat([parameter.grad.flatten() for parameter in module.parameters() if parameter.grad is not None])


def worker(rank: int, store: str, folder: str, cases: list[tuple[str, bool, bool, bool]]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    rows = slice(rank * TILES, (rank + 1) * TILES)
    for number, (name, symmetric, siblings, pixel) in enumerate(cases):
        ddp = DistributedDataParallel(model())
        found = gradient(ddp, rows, GATHERS[name], symmetric=symmetric, siblings=siblings, pixel=pixel)
        torch.save(found, Path(folder) / f"{number}-{rank}.pt")
    dist.barrier()  # neither rank leaves while the other still talks to it
    dist.destroy_process_group()


CASES = [
    ("gather", False, True, False),
    ("gather", False, False, False),
    ("gather", True, True, False),
    ("plain", False, True, False),
    ("gather", False, True, True),
    ("gather", True, False, True),
    ("plain", True, True, False),
    ("none", False, True, False),
    ("none", False, True, True),
]


@pytest.fixture(scope="module")
def gradients(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, float]]:
    """Per case: length of the two-process gradient over that of one process, and their cosine."""
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(worker, (str(folder / "store"), str(folder), CASES), nprocs=2)
    results = []
    for number, (_, symmetric, siblings, pixel) in enumerate(CASES):
        one = gradient(model(), slice(None), no_gather, symmetric=symmetric, siblings=siblings, pixel=pixel)
        two = torch.load(folder / f"{number}-0.pt", weights_only=True)
        assert torch.equal(two, torch.load(folder / f"{number}-1.pt", weights_only=True))
        results.append(((two.norm() / one.norm()).item(), F.cosine_similarity(one, two, dim=0).item()))
    return results


@pytest.mark.parametrize("case", [0, 1, 2, 3, 4, 5])
def test_two_processes_equal_one(gradients: list[tuple[float, float]], case: int) -> None:
    assert gradients[case] == (pytest.approx(1, abs=1e-5), pytest.approx(1, abs=1e-5))


@pytest.mark.parametrize("case", [6, 7, 8])
def test_the_wrong_gather_shows(gradients: list[tuple[float, float]], case: int) -> None:
    length, cosine = gradients[case]
    assert abs(length - 1) > 0.1 or cosine < 0.99
