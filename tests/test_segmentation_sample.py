"""The evaluator on real tiles of LoveDA, Potsdam and Vaihingen, where the sample folder is there.

Weights are random, so figures say nothing; what is shown is that real pictures and label maps go through.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from graft.clip import create_clip
from graft.teacher import Teacher
from main import main
from tests.test_classification import ARCHITECTURE
from tests.test_metrics import SAMPLE_DATA
from tests.test_segmentation import rows_of, save_checkpoint

TILES = SAMPLE_DATA / "segmentation_tiles"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not TILES.is_dir(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)"),
]
# Folder, prompt set, profile, metres a pixel, scenes, classes in the truth.
SETS = [
    ("pseudo_loveda_dataset", "loveda", "loveda", 0.3, 3, 6),
    ("pseudo_potsdam_dataset", "potsdam", "isprs-mmseg", 0.05, 1, 5),
    ("pseudo_vaihingen_dataset", "potsdam", "isprs-mmseg", 0.09, 1, 5),
]


@pytest.mark.parametrize("resample", ["model", "native"])
@pytest.mark.parametrize(("folder", "prompts", "profile", "gsd_m", "scenes", "classes"), SETS)
def test_real_tiles(
    tmp_path: Path, folder: str, prompts: str, profile: str, gsd_m: float, scenes: int, classes: int, resample: str
) -> None:
    torch.manual_seed(0)
    save_file(create_clip(ARCHITECTURE, None).state_dict(), tmp_path / "teacher.safetensors")
    save_checkpoint(tmp_path / "last.ckpt", Teacher(ARCHITECTURE, str(tmp_path / "teacher.safetensors")), level="pixel")
    settings = {
        "model.init_args.checkpoint": tmp_path / "last.ckpt",
        "model.init_args.dataset": folder,
        "model.init_args.results": tmp_path / "results.json",
        "model.init_args.prompts": prompts,
        "model.init_args.teacher": ARCHITECTURE,
        "model.init_args.teacher_weights": tmp_path / "teacher.safetensors",
        "model.init_args.resample": resample,
        "data": "datamodules.PairedScenes",
        "data.init_args.root": TILES / folder,
        "data.init_args.classes": prompts,
        "data.init_args.profile": profile,
        "data.init_args.gsd_m": gsd_m,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": tmp_path,
        "trainer.enable_progress_bar": False,
    }
    config = Path(__file__).parents[1] / "configs" / "eval" / "segmentation_atlas.yaml"
    arguments = [f"--{key}={value}" for key, value in settings.items()]
    main(["test", "--config", str(config), *arguments])
    rows = rows_of(tmp_path)
    assert list(rows) == ["pixel", "clip_baseline", "ceiling", "chance"]
    assert (rows["pixel"]["n"], rows["pixel"]["skipped"]) == (scenes, 0)
    in_truth = [name for name in rows["pixel"]["metrics"] if name.startswith("ap_")]
    assert len(in_truth) == classes
    assert rows["ceiling"]["metrics"]["miou"] > (0.4 if resample == "model" else 0.7)
    drawn = list(tmp_path.glob("*_scene.png"))
    assert len(drawn) == scenes
    for path in drawn:
        with Image.open(path) as picture:
            assert np.asarray(picture).std() > 20
    print(f"{folder}, {resample}: ceiling {rows['ceiling']['metrics']['miou']:.3f}")
