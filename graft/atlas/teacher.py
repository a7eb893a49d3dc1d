"""The atlas's teacher: a small CLIP trained on captioned ground photos and nothing else."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import open_clip
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from graft.clip import create_clip
from graft.encoders import normalise
from graft.errors import GraftError
from graft.files import atomic_path, write_json
from graft.optimisation import adamw, warmup_cosine_schedule
from graft.teacher import square_photo

ARCHITECTURE = "graft-atlas"


@dataclass(frozen=True)
class TeacherRecipe:
    """How the teacher is trained.

    Attributes:
        epochs: passes over the captioned photos.
        batch_size: photos a step.
        learning_rate: peak, AdamW; linear warm-up, then a cosine to zero.
        weight_decay: AdamW, on matrices.
        warmup: share of the steps that warm up.
    """

    epochs: int = 3
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.08


def train_teacher(world: Path, out: Path, *, seed: int = 0, recipe: TeacherRecipe | None = None) -> None:
    """Train a CLIP on `world/captions` and write it as an open_clip folder.

    Plain `open_clip.create_model_and_transforms("local-dir:OUT")` loads the result.

    Args:
        world: folder that `build_world` wrote.
        out: folder for `open_clip_config.json` and `open_clip_model.safetensors`.
        seed: of the initial weights and of the order of photos.
        recipe: how to train; None takes the tested one.

    Raises:
        GraftError: `world` holds no captions.
    """
    recipe = recipe or TeacherRecipe()
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_clip(ARCHITECTURE, None).train()
    preprocess = open_clip.get_model_preprocess_cfg(model)
    photos, captions = _load_captions(world, model.visual.image_size[0])
    tokens = open_clip.get_tokenizer(ARCHITECTURE)(captions)
    optimizer = adamw(model, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    batches = max(len(photos) // recipe.batch_size, 1)
    total = recipe.epochs * batches
    schedule = warmup_cosine_schedule(optimizer, warmup=max(round(total * recipe.warmup), 1), total=total)
    with tqdm(total=total * recipe.batch_size, desc="teacher", unit="photo", smoothing=0) as progress:
        for _ in range(recipe.epochs):
            order = torch.randperm(len(photos), generator=generator)
            for chosen in order[: batches * recipe.batch_size].chunk(batches):
                mirrored = torch.rand(len(chosen), generator=generator) < 0.5
                batch = torch.where(mirrored[:, None, None, None], photos[chosen].flip(-1), photos[chosen])
                image = normalise(batch, preprocess["mean"], preprocess["std"], torch.float32)
                loss = _step(model, image, tokens[chosen])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                progress.update(len(chosen))
                progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    _write_folder(out, model, preprocess)


def _step(model: open_clip.CLIP, image: Tensor, tokens: Tensor) -> Tensor:
    """Symmetric contrastive loss of CLIP over one batch, in which equal captions are not told apart."""
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):  # see graft.encoders.run_blocks
        seen = F.normalize(model.encode_image(image).float(), dim=-1)
        distinct, which = torch.unique(tokens, dim=0, return_inverse=True)
        read = F.normalize(model.encode_text(distinct).float(), dim=-1)[which]
    logits = model.logit_scale.exp().clamp(max=100) * seen @ read.T
    same = (which[:, None] == which[None, :]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _load_captions(world: Path, size: int) -> tuple[Tensor, list[str]]:
    """All captioned photos uint8 [N, 3, size, size] and their captions."""
    table = world / "captions" / "captions.csv"
    if not table.is_file():
        raise GraftError(
            f"{table} does not exist: the teacher learns from captioned photos. Write them with graft atlas."
        )
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise GraftError(f"{table} lists no photos. Write the world again with graft atlas.")
    photos = torch.empty(len(rows), 3, size, size, dtype=torch.uint8)
    for number, row in enumerate(tqdm(rows, desc="captioned photos", unit="photo")):
        with Image.open(table.parent / row["path"]) as image:
            photos[number] = square_photo(image, size)
    return photos, [row["caption"] for row in rows]


def _write_folder(out: Path, model: torch.nn.Module, preprocess: dict[str, object]) -> None:
    """Write weights and configuration as open_clip's hub and `local-dir:` expect them."""
    out.mkdir(parents=True, exist_ok=True)
    settings = {"model_cfg": open_clip.get_model_config(ARCHITECTURE), "preprocess_cfg": preprocess}
    write_json(out / "open_clip_config.json", json.loads(json.dumps(settings)))
    with atomic_path(out / "open_clip_model.safetensors") as partial:
        safetensors.torch.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, partial)
