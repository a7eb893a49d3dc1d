"""Training through the real command line."""

import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pytest
import torch
import yaml
from lightning import Callback
from PIL import Image

from graft.checkpoint import load_encoder
from graft.dense import dense_features
from graft.encoders import encoder_from_clip
from graft.errors import GraftError
from lightning_modules import GraftAlignment
from main import main
from tests.conftest import TINY_MODEL, ShardFactory, write_clip_folder


def fit(config: Path, *flags: str) -> Any:
    return main(["fit", "--config", str(config), *flags])


def fails(capsys: pytest.CaptureFixture[str], config: Path, *flags: str) -> str:
    """The one message of a run that must stop with it."""
    with pytest.raises(SystemExit) as stop:
        fit(config, *flags)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    (message,) = [line for line in error.splitlines() if line.startswith("error: ")]
    return message


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(run / "last.ckpt", weights_only=True)["state_dict"])


def test_trains_logs_and_leaves_a_usable_encoder(fit_config: Path, tmp_path: Path) -> None:
    cli = fit(fit_config)
    run = tmp_path / "run"
    log = pd.concat(pd.read_csv(path) for path in run.glob("lightning_logs/*/metrics.csv"))
    for column in ("loss", "positive_similarity", "negative_similarity", "spread", "gradient_norm", "skipped"):
        assert log[f"train/{column}"].notna().any(), column
    assert log["train/tiles_per_second"].max() > 0
    assert log["train/data_wait_ms"].notna().any()
    assert log["val/top1_macro"].dropna().between(0, 1).all()
    with Image.open(run / "curves.png") as image:
        assert image.size[0] > 400

    loaded = load_encoder(run / "last.ckpt")
    assert (loaded.dim, loaded.sensor, loaded.step) == (32, "sentinel", 4)
    assert loaded.logit_scale == pytest.approx(1 / 0.07, rel=1e-4)
    assert loaded.teacher["name"] == cli.model.hparams["architecture"]
    tiles = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encoder(tiles), cli.model.eval().encoder(tiles))


def test_the_teacher_is_in_no_checkpoint(fit_config: Path, tmp_path: Path) -> None:
    fit(fit_config)
    names = set(weights(tmp_path / "run"))
    assert all(name.startswith("encoder.") or name == "log_scale" for name in names)
    assert not any("token_embedding" in name for name in names)


def test_the_loss_on_a_fixed_batch_falls(fit_config: Path) -> None:
    cli = fit(fit_config, "--trainer.limit_train_batches=20", "--trainer.max_epochs=1")
    batch = next(iter(cli.datamodule.train_dataloader()))
    cli.model.log = cli.model.log_dict = lambda *args, **kwargs: None
    after = cli.model.training_step(batch, 0).item()
    cli.model.encoder, cli.model._trainer = None, cli.trainer
    cli.model.configure_model()
    before = cli.model.training_step(batch, 0).item()
    assert after < before


class Kill(Callback):
    """Dies in the middle of a step, as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_and_started_again_it_ends_with_the_same_weights(fit_config: Path, tmp_path: Path, step: int) -> None:
    straight = tmp_path / "straight"
    fit(fit_config, f"--trainer.default_root_dir={straight}")
    config = yaml.safe_load(fit_config.read_text())
    config["trainer"]["callbacks"].append({"class_path": "tests.test_alignment.Kill", "init_args": {"step": step}})
    killed = tmp_path / "killed.yaml"
    killed.write_text(yaml.safe_dump(config))
    with pytest.raises(BaseException) as stop:  # noqa: PT011  # Lightning turns an interrupt into its own exit
        fit(killed)
    assert not isinstance(stop.value, AssertionError)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == step
    fit(fit_config)
    ours, theirs = weights(tmp_path / "run"), weights(straight)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_workers_change_nothing(fit_config: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        root = f"--trainer.default_root_dir={tmp_path / str(workers)}"
        fit(fit_config, root, f"--data.init_args.num_workers={workers}")
    one, other = weights(tmp_path / "0"), weights(tmp_path / "2")
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "flags",
    [
        ["symmetric=true"],
        ["siblings=false"],
        ["photos=mean"],
        ["photos=attention"],
        ["learn_temperature=true"],
        ["patch_dropout=0.5"],
        ["encoder=mean-colour"],
        ["encoder=colour-histogram"],
        ["level=pixel"],
        ["level=pixel", "token_read=bilinear", "symmetric=true"],
        ["level=pixel", "token_read=soft", "photos=attention"],
        ["level=pixel", "encoder=token-colour"],
    ],
)
def test_every_switch_trains(fit_config: Path, tmp_path: Path, flags: list[str]) -> None:
    cli = fit(fit_config, *(f"--model.init_args.{flag}" for flag in flags))
    assert math.isfinite(cli.trainer.callback_metrics["train/loss"])
    assert load_encoder(tmp_path / "run" / "last.ckpt").dim == 32
    if flags == ["learn_temperature=true"]:
        assert cli.model.log_scale.item() != pytest.approx(math.log(1 / 0.07), abs=1e-6)


def test_pixel_level_leaves_an_encoder_of_tokens_that_also_classifies(fit_config: Path, tmp_path: Path) -> None:
    cli = fit(fit_config, "--model.init_args.level=pixel", "--data.init_args.crop=24")
    loaded = load_encoder(tmp_path / "run" / "last.ckpt")
    assert (loaded.level, loaded.patch, loaded.window) == ("pixel", 8, 32)
    tiles = torch.randint(0, 256, (2, 3, 32, 40), dtype=torch.uint8)
    with torch.no_grad():
        tokens = dense_features(loaded.encoder, tiles).tokens
        torch.testing.assert_close(tokens, cli.model.eval().encoder.tokens(tiles))
        pooled = torch.nn.functional.normalize(tokens.mean((1, 2)), dim=-1)
        torch.testing.assert_close(loaded.encoder(tiles), pooled)
    assert tokens.shape == (2, 4, 5, 32)
    assert cli.trainer.callback_metrics["val/top1"] >= 0
    before = encoder_from_clip(cli.model.hparams["architecture"], None, level="pixel")[0].state_dict()
    after = loaded.encoder.state_dict()
    assert not torch.equal(before["projector.linear.weight"], after["projector.linear.weight"])
    assert torch.equal(before["tower.proj"], after["tower.proj"])


def test_a_run_does_not_go_on_at_another_level(fit_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(fit_config)
    message = fails(capsys, fit_config, "--model.init_args.level=pixel")
    assert "at image level, output width 32, the configuration makes a ViT" in message


def test_what_does_not_fit_pixel_level_is_told(
    fit_config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    level = "--model.init_args.level=pixel"
    assert "set photos to each or attention" in fails(capsys, fit_config, level, "--model.init_args.photos=mean")
    assert "Tiles of 28 px are not whole patches of 8 px" in fails(
        capsys, fit_config, level, "--data.init_args.crop=28"
    )
    assert "does not fit level pixel" in fails(capsys, fit_config, level, "--model.init_args.encoder=mean-colour")


def test_an_online_teacher_gives_the_vectors_in_the_shards(fit_config: Path, tmp_path: Path) -> None:
    losses = []
    for number, flags in enumerate(
        [[], ["--model.init_args.online_teacher=true", "--data.init_args.online_photo_size=32"]]
    ):
        cli = fit(fit_config, *flags, f"--trainer.default_root_dir={tmp_path / str(number)}", "--trainer.max_epochs=1")
        losses.append(cli.trainer.callback_metrics["train/loss"].item())
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_evaluation_data_without_repeats_over_processes(fit_config: Path) -> None:
    cli = fit(fit_config, "--trainer.max_epochs=1")
    assert int(cli.model.probe_top1.tp.sum() + cli.model.probe_top1.fn.sum()) in (0, 12)


def test_no_shards_names_both_ways_on(fit_config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = fails(capsys, fit_config, f"--data.init_args.shards={tmp_path / 'none'}")
    assert "No shards at" in message
    assert "graft prepare" in message
    assert "make demo" in message


def test_faults_of_configuration_are_told(
    fit_config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, make_shards: ShardFactory
) -> None:
    assert "Unknown sensor 'landsat'. Known sensors: sentinel" in fails(
        capsys, fit_config, "--data.init_args.sensor=landsat"
    )
    assert "are of sensor sentinel, the configuration says naip" in fails(
        capsys, fit_config, "--data.init_args.sensor=naip"
    )
    assert "crop is 64 px" in fails(capsys, fit_config, "--data.init_args.crop=64")
    assert "No benchmark folder" in fails(capsys, fit_config, f"--data.init_args.probe={tmp_path / 'none'}")
    other = write_clip_folder(tmp_path / "other", TINY_MODEL, seed=2)
    assert "set model.init_args.architecture and weights to the shards' teacher" in fails(
        capsys, fit_config, f"--model.init_args.architecture=local-dir:{other}"
    )
    assert "could not be downloaded" in fails(
        capsys, fit_config, "--model.init_args.architecture=ViT-B-16-quickgelu", "--model.init_args.weights=openai"
    )


def test_a_misspelt_key_is_told(fit_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fit(fit_config, "--model.init_args.temprature=0.1")
    assert stop.value.code == 2
    (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "Option 'temprature' is not accepted; did you mean 'temperature'?" in message


def test_a_checkpoint_of_another_architecture_is_told(fit_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(fit_config)
    message = fails(capsys, fit_config, "--model.init_args.encoder=mean-colour")
    assert "holds a ViT (width 64" in message
    assert "mean-colour control" in message


def test_another_teacher_or_a_length_unknown_is_told(
    fit_config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fit(fit_config, "--trainer.max_epochs=1")
    path = tmp_path / "run" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["graft"]["teacher"]["identity"] = "0" * 64
    torch.save(content, path)
    assert "was trained with teacher {'name'" in fails(capsys, fit_config)
    fresh = f"--trainer.default_root_dir={tmp_path / 'fresh'}"
    assert "set trainer.limit_train_batches" in fails(
        capsys, fit_config, fresh, "--trainer.limit_train_batches=null", "--trainer.val_check_interval=2"
    )
    assert "is an address: download it" in fails(capsys, fit_config, fresh, "--ckpt_path=https://example.org/x.ckpt")


def test_another_order_than_the_checkpoints_is_told(fit_config: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit(fit_config, "--trainer.max_epochs=1")
    fit(fit_config)
    assert "order of samples" not in caplog.text
    fit(fit_config, "--trainer.max_epochs=3", "--data.init_args.window=2")
    assert "The order of samples is another one than before (window 16 -> 2)" in caplog.text


def test_resharded_samples_are_another_order(
    fit_config: Path, caplog: pytest.LogCaptureFixture, make_shards: ShardFactory, tmp_path: Path
) -> None:
    fit(fit_config, "--trainer.max_epochs=1")
    path = tmp_path / "run" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["GroundPairs"].pop("shards")
    torch.save(content, path)
    fit(fit_config, "--trainer.max_epochs=2")  # a checkpoint from before the shards were noted
    assert "order of samples" not in caplog.text
    other = make_shards(tmp_path / "other", samples=24, shards=4, stored=True)
    fit(fit_config, "--trainer.max_epochs=3", f"--data.init_args.shards={other}")
    assert re.search("The order of samples is another one than before .shards [0-9a-f]{16} -> ", caplog.text)


class Saved(Callback):
    """Notes the micro-batches done when a checkpoint is written."""

    done: ClassVar[list[int]] = []

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        self.done.append(trainer.fit_loop.epoch_loop.batch_progress.current.ready)


@pytest.mark.parametrize("flags", [[], ["--trainer.val_check_interval=2"]])
def test_no_checkpoint_falls_in_the_middle_of_accumulation(fit_config: Path, flags: list[str]) -> None:
    config = yaml.safe_load(fit_config.read_text())
    config["trainer"] |= {"accumulate_grad_batches": 4, "limit_train_batches": 14, "max_epochs": 1, "max_steps": 1}
    config["trainer"]["callbacks"].append({"class_path": "tests.test_alignment.Saved"})
    fit_config.write_text(yaml.safe_dump(config))
    Saved.done.clear()
    fit(fit_config, *flags)
    fit(fit_config, *flags, "--trainer.max_steps=-1")
    assert Saved.done == [4, 8, 12, 14]


def test_gradients_can_be_clipped_in_the_shipped_precision(fit_config: Path, tmp_path: Path) -> None:
    cli = fit(fit_config, "--trainer.precision=bf16-mixed", "--trainer.gradient_clip_val=0.01")
    assert cli.trainer.global_step == 4


def test_a_crash_leaves_its_curves(fit_config: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(fit_config.read_text())
    config["trainer"]["callbacks"].append({"class_path": "tests.test_alignment.Kill", "init_args": {"step": 3}})
    fit_config.write_text(yaml.safe_dump(config))
    with pytest.raises(BaseException):  # noqa: B017, PT011  # Lightning turns an interrupt into its own exit
        fit(fit_config)
    assert (tmp_path / "run" / "curves.png").is_file()


def test_nothing_is_configured_from_a_checkpoint(fit_config: Path, tmp_path: Path) -> None:
    fit(fit_config, "--trainer.max_epochs=1")
    path = tmp_path / "run" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"] |= {"_class_path": "tests.test_alignment.Kill", "temperature": 5.0}
    torch.save(content, path)
    cli = fit(fit_config, f"--ckpt_path={path}", "--model.init_args.learning_rate=0.5")
    assert isinstance(cli.model, GraftAlignment)
    assert (cli.model.hparams["learning_rate"], cli.model.hparams["temperature"]) == (0.5, 0.07)
    assert cli.trainer.global_step == 4


def test_a_foreign_checkpoint_is_told(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(GraftError, match="was not written by graft"):
        load_encoder(tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("hello")
    with pytest.raises(GraftError, match="not a checkpoint that loads safely"):
        load_encoder(tmp_path / "text.ckpt")
    with pytest.raises(GraftError, match="No model at"):
        load_encoder(tmp_path / "none.ckpt")


def test_weights_that_do_not_fit_their_card_are_told(fit_config: Path, tmp_path: Path) -> None:
    fit(fit_config, "--trainer.max_epochs=1")
    path = tmp_path / "run" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["graft"]["encoder"]["vision_cfg"]["width"] = 96
    torch.save(content, path)
    with pytest.raises(GraftError, match="do not fit the architecture it names"):
        load_encoder(path)


def test_module_is_thin() -> None:
    assert len(Path("lightning_modules/alignment.py").read_text().splitlines()) <= 230
    assert json.dumps(GraftAlignment(probe_prompts="eurosat").hparams["architecture"])
