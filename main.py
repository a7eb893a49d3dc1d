"""Command line of training and evaluation: fit, validate, test, predict, suite.

`python main.py fit --config configs/sentinel.yaml`; several `--config` files and later flags override earlier ones.
`python main.py suite --config configs/eval/suite.yaml --checkpoints M1 M2` runs many evaluations of many models.
"""

import argparse
import difflib
import re
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

import datamodules  # noqa: F401  # so that YAML may say `class_path: GroundPairs`
import lightning_modules  # noqa: F401
from graft.errors import GraftError, fault_behind
from graft.suite import run_suite
from lightning_modules.callbacks import WholeFiles


class OneLineParser(LightningArgumentParser):
    """Tells a bad argument in one line instead of the usage and every type it was tried as."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the fault and exit with status 2."""
        unknown = re.search(r"[Oo]ption '([\w.]+)'", message)
        known = [action.dest for action in self._actions]
        close = difflib.get_close_matches(unknown[1], known, n=1) if unknown else []
        message = f"{message}; did you mean {close[0]!r}?" if close else message
        print(f"error: {' '.join(message.split())} (python main.py fit --help lists the arguments)", file=sys.stderr)
        raise SystemExit(2)


class ConfigWithoutSecrets(SaveConfigCallback):
    """Writes `config.yaml` of a run without the values of `storage_options`: they may be passwords."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **settings: Any) -> None:
        options = config.get("data.init_args.storage_options")
        if options:
            config = config.clone()
            config["data.init_args.storage_options"] = dict.fromkeys(options, "(not saved)")
        super().__init__(parser, config, **settings)


class GraftCLI(LightningCLI):
    """LightningCLI that links what must agree and takes nothing from checkpoints."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """One seed and one set of probe prompts, given once."""
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("data.init_args.probe_prompts", "model.init_args.probe_prompts")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """One folder a run: log and checkpoints lie in `trainer.default_root_dir` unless they name their own."""
        settings = self.config_init[self.config.subcommand].trainer
        if settings.logger in (None, True):  # Lightning would log elsewhere where TensorBoard happens to be installed
            kwargs["logger"] = CSVLogger(settings.default_root_dir or ".")
        trainer = super().instantiate_trainer(**kwargs)
        trainer.strategy.checkpoint_io = WholeFiles()
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = trainer.default_root_dir
        return trainer

    def _parse_ckpt_path(self) -> None:
        """Leave class and arguments to the configuration: Lightning would take both from the file.

        Raises:
            GraftError: the checkpoint lies at an address: Lightning would unpickle it and so run what is in it.
        """
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path is not None and "://" in str(path):
            raise GraftError(f"The checkpoint {path} is an address: download it and give the file.")


def suite(args: list[str]) -> None:
    """Run every evaluation of a suite for every model, and write one table; see `graft.suite.run_suite`.

    Raises:
        SystemExit: status 1 after a fault in the user's input or a failed evaluation; 2 after a bad argument.
    """
    parser = argparse.ArgumentParser("main.py suite", description="Evaluate many models under many protocols.")
    parser.add_argument("--config", type=Path, required=True, help="the suite, e.g. configs/eval/suite.yaml")
    parser.add_argument("--checkpoints", nargs="+", required=True, help="PATH or NAME=PATH of each model")
    parser.add_argument("--out", type=Path, help="folder of results, instead of the suite's own")
    given = parser.parse_args(args)
    try:
        failed = run_suite(given.config, given.checkpoints, main, given.out)
    except GraftError as fault:
        print(f"error: {fault}", file=sys.stderr)
        raise SystemExit(1) from None
    if failed:
        raise SystemExit(1)


def main(args: ArgsType = None) -> GraftCLI:
    """Run the command line; `args` stand in for `sys.argv[1:]`.

    Raises:
        SystemExit: status 1 after a fault in the user's input, told in one message; 2 after a bad argument.
    """
    # GroundPairs keeps the position in its own state; Lightning looks at the loader alone.
    warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch")
    try:
        return GraftCLI(
            LightningModule,
            LightningDataModule,
            parser_class=OneLineParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_callback=ConfigWithoutSecrets,
            save_config_kwargs={"overwrite": True},
            args=args,
        )
    except Exception as error:
        fault = fault_behind(error)
        if fault is None:
            raise
        print(f"error: {fault}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    suite(sys.argv[2:]) if sys.argv[1:2] == ["suite"] else main()
