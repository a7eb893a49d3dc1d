"""Zero-shot classification of real AID tiles, where the sample folder is there.

Weights are random, so figures say nothing; what is shown is that real pictures go through the shipped configuration.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graft.clip import create_clip
from graft.teacher import Teacher
from main import main
from tests.test_classification import ARCHITECTURE
from tests.test_metrics import SAMPLE_DATA
from tests.test_segmentation import rows_of, save_checkpoint

AID = SAMPLE_DATA / "aid_sample"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not AID.is_dir(), reason="no sample data (GRAFT_SAMPLE_DATA or ../shared/data)"),
]


def test_real_tiles_of_aid(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(create_clip(ARCHITECTURE, None).state_dict(), tmp_path / "teacher.safetensors")
    save_checkpoint(tmp_path / "last.ckpt", Teacher(ARCHITECTURE, str(tmp_path / "teacher.safetensors")))
    settings = {
        "model.init_args.checkpoint": tmp_path / "last.ckpt",
        "model.init_args.results": tmp_path / "results.json",
        "model.init_args.teacher": ARCHITECTURE,
        "model.init_args.teacher_weights": tmp_path / "teacher.safetensors",
        "data.init_args.root": AID,
        "data.init_args.image_size": 64,
        "data.init_args.num_workers": 0,
        "trainer.accelerator": "cpu",
        "trainer.default_root_dir": tmp_path,
        "trainer.enable_progress_bar": False,
    }
    config = Path(__file__).parents[1] / "configs" / "eval" / "aid.yaml"
    main(["test", "--config", str(config), *(f"--{key}={value}" for key, value in settings.items())])
    rows = rows_of(tmp_path)
    assert list(rows) == ["aligned", "clip_baseline", "chance"]
    assert (rows["aligned"]["n"], rows["aligned"]["skipped"]) == (720, 0)
    assert rows["chance"]["metrics"]["top1"] == pytest.approx(1 / 30)
    assert rows["aligned"]["metrics"]["top1"] < 0.3
