"""Every configuration, and every command a document shows, goes through the real parsers."""

import functools
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import graft.cli
import main
from graft.suite import read_suite

ROOT = Path(__file__).parent.parent
TRAINING = ("sentinel", "naip", "sentinel_pixel", "naip_pixel")
OVERLAYS = ("atlas",)
PREPARE = ("sentinel", "naip", "atlas")
PREDICTION = ("index",)
SUITES = ("suite", "suite_atlas")
EVALUATION = tuple(sorted({path.stem for path in (ROOT / "configs" / "eval").glob("*.yaml")} - set(SUITES)))

# What the paper could have said: such a line says where its value is from, or that nobody knows.
RECIPE = frozenset(
    {
        *("architecture", "level", "learning_rate", "weight_decay", "warmup_steps", "temperature", "learn_temperature"),
        *("siblings", "symmetric", "photos", "patch_dropout", "probe_family", "batch_size", "photos_per_tile", "crop"),
        *("max_epochs", "limit_train_batches", "precision"),
    }
)
PIXEL_RECIPE = frozenset({"token_read"})
# What only says where things lie and how they run. A new key belongs to one of the two sets.
TECHNICAL = frozenset(
    {
        *("seed_everything", "ckpt_path", "class_path", "weights", "shards", "sensor", "num_workers"),
        *("probe", "probe_prompts", "probe_fit", "probe_size"),
        *("default_root_dir", "val_check_interval", "check_val_every_n_epoch"),
        *("use_distributed_sampler", "log_every_n_steps", "init_args"),
    }
)
SOURCE = re.compile(r"\[P\]|\[C\]|\[P:|unconfirmed|\bours\b")


class Parsed(Exception):
    """Raised where parsing ends and work would begin."""


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a `main.py` command line up to the point where classes would be made; returns the configuration."""

    def stop(cli: main.GraftCLI) -> None:
        raise Parsed(cli.config)

    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # LightningCLI sets it; undone after the test
    monkeypatch.setattr(main.GraftCLI, "before_instantiate_classes", stop)

    def run(*args: str) -> Any:
        with pytest.raises(Parsed) as end:
            main.main(list(args))
        (config,) = end.value.args
        return config[args[0]]

    return run


def test_every_file_is_covered() -> None:
    names = {
        *TRAINING,
        *OVERLAYS,
        *PREDICTION,
        *(f"eval/{name}" for name in (*EVALUATION, *SUITES)),
        *(f"prepare/{name}" for name in PREPARE),
    }
    found = (ROOT / "configs").rglob("*.yaml")
    assert {path.relative_to(ROOT / "configs").with_suffix("").as_posix() for path in found} == names


@pytest.mark.parametrize("name", TRAINING)
def test_training_configs_parse(parse: Any, name: str) -> None:
    config = parse("fit", f"--config=configs/{name}.yaml", "--seed_everything=7")
    assert config.data.init_args.sensor == name.removesuffix("_pixel")
    assert config.model.init_args.level == ("pixel" if name.endswith("_pixel") else "image")
    assert config.data.init_args.seed == 7
    assert config.model.init_args.probe_prompts == config.data.init_args.probe_prompts


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("name", TRAINING)
def test_overlays_parse_on_every_training_config(parse: Any, name: str, overlay: str) -> None:
    config = parse("fit", f"--config=configs/{name}.yaml", f"--config=configs/{overlay}.yaml")
    assert config.data.init_args.sensor == name.removesuffix("_pixel")
    assert config.model.init_args.probe_prompts == "atlas"
    assert config.model.init_args.temperature == 0.07


@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation_configs_parse(parse: Any, name: str) -> None:
    config = parse("test", f"--config=configs/eval/{name}.yaml")
    assert config.model.init_args.get("prompts") == config.data.init_args.get("classes")
    assert config.trainer.use_distributed_sampler is False


@pytest.mark.parametrize("name", SUITES)
def test_suites_list_evaluations_that_parse(parse: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, evaluations = read_suite(Path("configs/eval") / f"{name}.yaml")
    assert len({each.key for each in evaluations}) == len(evaluations)
    for each in evaluations:
        config = parse("test", f"--config={each.config}", *(f"--{key}={value}" for key, value in each.settings.items()))
        assert bool(config.model.init_args.get("baseline")) == each.baseline


@pytest.mark.parametrize("name", PREDICTION)
def test_prediction_configs_parse(parse: Any, name: str) -> None:
    config = parse("predict", f"--config=configs/{name}.yaml")
    assert config.return_predictions is False  # an archive does not fit into memory
    assert config.trainer.use_distributed_sampler is False


@pytest.mark.parametrize(
    "place",
    [["model", "init_args"], ["data", "init_args"], ["trainer"], ["trainer", "callbacks", 3, "init_args"], []],
)
def test_a_misspelt_key_fails(capsys: pytest.CaptureFixture[str], tmp_path: Path, place: list[Any]) -> None:
    content = yaml.safe_load((ROOT / "configs" / "sentinel.yaml").read_text())
    functools.reduce(lambda node, key: node[key], place, content)["misspelt"] = 1
    path = tmp_path / "misspelt.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as end:
        main.main(["fit", f"--config={path}"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "misspelt" in error
    assert "Traceback" not in error


def commented_values(path: Path) -> list[tuple[str, str]]:
    """Key and comment of every line with a value; lines of nothing but comment below it belong to it."""
    found: list[tuple[str, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        code, _, comment = line.partition("#")
        key = re.match(r"[\s-]*(\w+):\s*\S", code)
        if key:
            found.append((key[1], comment))
        elif not code.strip() and found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {comment}")
    return found


@pytest.mark.parametrize("name", TRAINING)
def test_every_recipe_value_names_its_source(name: str) -> None:
    values = commented_values(ROOT / "configs" / f"{name}.yaml")
    recipe = RECIPE | PIXEL_RECIPE if name.endswith("_pixel") else RECIPE
    assert {key for key, _ in values} >= recipe
    assert [key for key, _ in values if key not in recipe | TECHNICAL] == []
    assert [key for key, comment in values if key in recipe and not SOURCE.search(comment)] == []


def shown_commands() -> list[str]:
    """Command lines in ```bash blocks of the documents, continued lines joined."""
    commands = set()
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]):
        for block in re.findall(r"^```bash\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            commands |= {line.strip() for line in lines if re.match(r"\s*(python main\.py|graft|make)\b", line)}
    return sorted(commands)


@pytest.mark.parametrize("command", shown_commands())
def test_every_command_shown_parses(command: str, parse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *arguments = shlex.split(command, comments=True)
    if program == "python" and arguments[1] == "suite":
        monkeypatch.setattr(main, "run_suite", lambda config, checkpoints, run, out: read_suite(config) and 0)
        main.suite(arguments[2:])
    elif program == "python":
        parse(*arguments[1:])
    elif program == "make":
        assert_make_knows(*arguments)
    elif "--help" not in arguments:
        prepared(monkeypatch, arguments)


def stopping(command: Any) -> Any:
    """A command, or a group of them, with the same arguments, that ends where its work would begin."""
    if isinstance(command, dict):
        return {name: value if name == "_help" else stopping(value) for name, value in command.items()}

    @functools.wraps(command)
    def stop(*_: Any, **settings: Any) -> None:
        raise Parsed(settings)

    return stop


def prepared(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> Any:
    """What a `graft` command would be called with."""
    commands = stopping(graft.cli.commands())
    monkeypatch.setattr(graft.cli, "commands", lambda: commands)
    with pytest.raises(Parsed) as end:
        graft.cli.main(arguments)
    return end.value.args[0]


@pytest.mark.parametrize("overlay", [None, "atlas"])
@pytest.mark.parametrize("sensor", ["sentinel", "naip"])
def test_configurations_of_shards_parse(sensor: str, overlay: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    files = [f"configs/prepare/{name}.yaml" for name in (sensor, overlay) if name]
    more = [] if overlay is None else ["--imagery.scenes=[scenes]", "--teacher.architecture=local-dir:teacher"]
    settings = prepared(monkeypatch, ["prepare", *files, *more])
    assert settings["sensor"] == sensor
    assert (settings["imagery"].stac is None) == (overlay is not None)
    assert settings["tiles"].spacing == 1.0, "no overlap unless asked for"
    training = yaml.safe_load((ROOT / "configs" / f"{sensor}.yaml").read_text())
    if overlay is None:
        assert f"{settings['out']}/train" == training["data"]["init_args"]["shards"]
        assert settings["teacher"].architecture == training["model"]["init_args"]["architecture"]


def make(*arguments: str) -> str:
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_make_knows(*arguments: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for variable in (argument.split("=")[0] for argument in arguments if "=" in argument):
        assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE), f"the Makefile takes no {variable}"
    # A dry run finds a missing target and a missing file, and does nothing.
    dry = subprocess.run(
        ["make", "--no-print-directory", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, dry.stderr


def test_documents_name_only_targets_that_exist() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
    targets = sorted(set(re.findall(r"`make ([a-z][a-z-]*)", text)))
    assert targets
    for target in targets:
        assert_make_knows(target)


def test_the_makefile_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()
    listed = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[0] for line in listed.splitlines()} == set(phony)
