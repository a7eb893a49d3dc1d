"""Training on real images, where the sample folder is there (GRAFT_SAMPLE_DATA or ../shared/data).

Neither is ground alignment: pseudo pairs match by class alone, and the vectors of WHU-RS19 are what CLIP sees in the
tile itself (distillation).
"""

import csv
import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from graft.cli import main as graft_command
from graft.prepare.records import PhotoRecord, TileRecord
from graft.prepare.samples import ShardCard, encode_png
from graft.prepare.shards import ShardBuilder
from graft.prompts import TextVectors, save_text_vectors
from graft.results import read_rows
from graft.sensors import get_sensor
from main import main
from tests.conftest import write_clip_folder
from tests.test_metrics import SAMPLE_DATA

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not SAMPLE_DATA.is_dir(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)"),
]

PSEUDO_PAIRS = {
    "sea": ("Beach", "Port"),
    "forest": ("Forest",),
    "mountain": ("Mountain",),
    "buildings": ("Commercial", "DenseResidential", "Center"),
    "street": ("Commercial", "DenseResidential", "Center"),
}
WHU_MODEL = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 4, "width": 256, "head_width": 64, "patch_size": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def test_pseudo_pairs_train_the_full_tower_with_an_online_teacher(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shard_card = ShardCard("naip", get_sensor("naip").radiometry, 144, None, photos_stored=True)
    with ShardBuilder(tmp_path / "shards", shard_card, samples_per_shard=40) as shards:
        for scene, classes in PSEUDO_PAIRS.items():
            photos = sorted((SAMPLE_DATA / "ground_photos" / scene).iterdir())
            for name in classes:
                for path in sorted((SAMPLE_DATA / "aid_sample" / name).iterdir())[:8]:
                    tile = np.array(Image.open(path).convert("RGB"))[:144, :144]
                    chosen = rng.choice(len(photos), 2, replace=False)
                    records = tuple(PhotoRecord(photos[k].stem, *rng.uniform(0, 144, 2)) for k in chosen)
                    key = f"{scene}-{path.stem}".lower()
                    stored = [photos[k].read_bytes() for k in chosen]
                    shards.write_sample(key, encode_png(tile), TileRecord(photos=records, gsd_m=1.0), photos=stored)
        shards.finish({"why": "pseudo pairs, by class"})
    probe = {folder.name: [next(folder.iterdir())] for folder in (SAMPLE_DATA / "aid_sample").iterdir()}
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(open_clip.create_model("ViT-B-16-quickgelu").state_dict(), weights)
    cli = main(
        [
            "fit",
            "--config=configs/naip.yaml",
            f"--model.init_args.weights={weights}",
            "--model.init_args.warmup_steps=2",
            "--model.init_args.online_teacher=true",
            "--data.init_args.online_photo_size=224",
            f"--data.init_args.shards={tmp_path / 'shards'}",
            f"--data.init_args.probe={link_probe(tmp_path / 'probe', probe)}",
            f"--data.init_args.probe_prompts={aid_prompts(tmp_path)}",
            "--data.init_args.batch_size=8",
            "--data.init_args.photos_per_tile=2",
            "--data.init_args.num_workers=1",
            f"--trainer.default_root_dir={tmp_path / 'run'}",
            "--trainer.max_epochs=1",
            "--trainer.limit_train_batches=20",
            "--trainer.val_check_interval=20",
        ]
    )
    assert cli.trainer.global_step == 20
    assert cli.trainer.callback_metrics["train/skipped"] == 0
    print(f"pseudo pairs: loss {cli.trainer.callback_metrics['train/loss']:.3f} after 20 steps")


def link_probe(folder: Path, classes: dict[str, list[Path]]) -> Path:
    """A labelled folder of links."""
    for name, paths in classes.items():
        (folder / name).mkdir(parents=True)
        for path in paths:
            (folder / name / path.name).symlink_to(path)
    return folder


def shows(word: str, path: Path) -> bool:
    """Whether a tile of WHU-RS19 (class in its name) or AID (class in its folder's) is of a class of WHU-RS19."""
    if path.parent.parent.name == "aid_sample":
        return path.parent.name.lower().endswith({"footballfield": "playground"}.get(word, word))
    return path.stem.rsplit("_", 1)[0] == word


def aid_prompts(folder: Path) -> Path:
    names = sorted(path.name for path in (SAMPLE_DATA / "aid_sample").iterdir())
    content = {"classes": [{"id": n, "name": n} for n in names], "families": {"ground": ["a photo of {}."]}}
    path = folder / "aid.yaml"
    path.write_text(json.dumps(content))
    return path


def test_whu_trains_on_real_clip_vectors(tmp_path: Path) -> None:
    with np.load(SAMPLE_DATA / "whu_rs19" / "clip_vit_b_32.npz", allow_pickle=False) as file:
        images = F.normalize(torch.from_numpy(file["CLIP__ViT-B-32__image"]).float(), dim=-1)
        text = F.normalize(torch.from_numpy(file["CLIP__ViT-B-32__text"]).float(), dim=-1)
        names, labels, files = file["class_names"].tolist(), file["labels"], file["files"].tolist()
    stems = {int(label): Path(name).stem.rsplit("_", 1)[0] for name, label in zip(files, labels, strict=True)}
    ids = tuple(stems[label] for label in range(len(names)))
    identity = "0123456789abcdef" * 4
    words = TextVectors(
        ids,
        F.normalize(text.mean(0), dim=-1),
        {"name": "whu", "family": "templates", "sha256": "-"},
        identity,
    )
    save_text_vectors(tmp_path / "text.safetensors", words)
    card = {"name": "ViT-B-32-quickgelu/openai", "identity": identity, "dim": 512}

    held_out = []
    shard_card = ShardCard("naip", get_sensor("naip").radiometry, 224, card, photos_stored=False)
    with ShardBuilder(tmp_path / "shards", shard_card, samples_per_shard=200) as shards:
        for number, name in enumerate(files):
            path = SAMPLE_DATA / "whu_rs19" / "images" / Path(name).name
            if number % 5 == 0:
                held_out.append(path.name)
                continue
            record = TileRecord(photos=(PhotoRecord(path.stem, 112.0, 112.0),), gsd_m=1.0)
            tile = np.array(Image.open(path).convert("RGB"))
            shards.write_sample(path.stem.lower(), encode_png(tile), record, ground=images[number : number + 1].numpy())
        shards.finish({"why": "CLIP's own view of each tile: distillation"})
    (tmp_path / "held_out.txt").write_text("\n".join(held_out))
    small = write_clip_folder(tmp_path / "small", WHU_MODEL, seed=0)
    probe: dict[str, list[Path]] = {name: [] for name in ids}
    for name in held_out:
        probe[name.rsplit("_", 1)[0]].append(SAMPLE_DATA / "whu_rs19" / "images" / name)

    main(
        [
            "fit",
            "--config=configs/naip.yaml",
            f"--model.init_args.architecture=local-dir:{small}",
            "--model.init_args.weights=null",
            "--model.init_args.learning_rate=5e-4",
            "--model.init_args.warmup_steps=20",
            f"--data.init_args.shards={tmp_path / 'shards'}",
            f"--data.init_args.probe={link_probe(tmp_path / 'probe', probe)}",
            f"--data.init_args.probe_prompts={tmp_path / 'text.safetensors'}",
            "--data.init_args.batch_size=64",
            "--data.init_args.num_workers=1",
            f"--trainer.default_root_dir={tmp_path / 'run'}",
            "--trainer.max_epochs=1",
            "--trainer.limit_train_batches=300",
            "--trainer.val_check_interval=300",
        ]
    )
    main(
        [
            "test",
            "--config=configs/eval/eurosat.yaml",
            f"--model.init_args.checkpoint={tmp_path / 'run' / 'last.ckpt'}",
            "--model.init_args.dataset=whu-rs19",
            "--model.init_args.prompts=null",
            "--model.init_args.families=null",
            "--model.init_args.teacher=null",
            "--model.init_args.teacher_weights=null",
            "--model.init_args.baseline=false",
            f"--model.init_args.text_vectors={tmp_path / 'text.safetensors'}",
            f"--model.init_args.results={tmp_path / 'results.json'}",
            f"--data.init_args.root={SAMPLE_DATA / 'whu_rs19' / 'images'}",
            f"--data.init_args.classes={tmp_path / 'text.safetensors'}",
            "--data.init_args.layout=names",
            f"--data.init_args.split={tmp_path / 'held_out.txt'}",
            "--data.init_args.fit=native",
        ]
    )
    (row,) = (row for row in read_rows(tmp_path / "results.json") if row["model"] == "aligned")
    print(f"WHU-RS19, distilled, {row['n']} held-out tiles: top-1 {row['metrics']['top1']:.3f}, chance {1 / 19:.3f}")
    assert row["n"] == len(held_out)
    assert row["metrics"]["top1"] > 3 / 19

    # The archive: the tiles held out above, and another data set's, searched by CLIP's real text vectors.
    held = tmp_path / "held_out"
    held.mkdir()
    for name in held_out:
        (held / name).symlink_to(SAMPLE_DATA / "whu_rs19" / "images" / name)
    aid = [str(path) for path in sorted((SAMPLE_DATA / "aid_sample").iterdir())]
    model = tmp_path / "run" / "last.ckpt"
    command = ["index", str(held), *aid, f"--model={model}", f"--out={tmp_path / 'idx'}", "--gsd=1", "--any-gsd"]
    graft_command([*command, "--window=224"])
    graft_command(["indexes", "show", str(tmp_path / "idx")])
    shares, right = [], []
    for word in ids:
        out = tmp_path / "hits.csv"
        text_file = f"--text-vectors={tmp_path / 'text.safetensors'}"
        graft_command(["search", str(tmp_path / "idx"), word, text_file, f"--out={out}", "--top=20"])
        with out.open(encoding="utf-8") as file:
            hits = [Path(row["path"]) for row in csv.DictReader(file)]
        right.append(np.mean([shows(word, path) for path in hits]))
        shares.append(np.mean([shows(word, path) for path in [*held.iterdir(), *SAMPLE_DATA.glob("aid_sample/*/*")]]))
    print(f"WHU-RS19 held out and AID: {np.mean(right):.3f} of the first 20 right, {np.mean(shares):.3f} by chance")
    assert np.mean(right) > 3 * np.mean(shares)
