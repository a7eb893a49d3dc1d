"""The shape of the project: who may import whom, how long a file may be, what the wheel holds."""

import ast
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("graft", "datamodules", "lightning_modules", "scripts", "benchmarks", "tests")
MODULE_LINES, FILE_LINES = 230, 400


def imported(path: Path) -> Iterator[str]:
    """Top-level names of everything a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").split(".")[0]


def offenders(package: str, *forbidden: str) -> list[str]:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return [
        f"{path.relative_to(ROOT)} imports {name}" for path in files for name in imported(path) if name in forbidden
    ]


def too_long(package: str, limit: int) -> dict[str, int]:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / package).rglob("*.py")}
    return {str(path.relative_to(ROOT)): length for path, length in lengths.items() if length > limit}


def test_the_library_knows_nothing_of_lightning_or_of_the_template_around_it() -> None:
    around = ("datamodules", "lightning_modules", "scripts", "benchmarks", "tests", "main")
    assert offenders("graft", "lightning", "pytorch_lightning", "lightning_fabric", *around) == []


def test_data_and_model_modules_do_not_know_each_other() -> None:
    assert offenders("datamodules", "lightning_modules", "main", "tests") == []
    assert offenders("lightning_modules", "datamodules", "main", "tests") == []


def test_files_stay_short() -> None:
    assert too_long("graft", FILE_LINES) == {}
    assert too_long("lightning_modules", MODULE_LINES) == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in a wheel built from a copy: setuptools writes its own files beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        if (ROOT / package).is_dir():
            shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "main.py"):
        shutil.copy(ROOT / name, source / name)
    out = source / "dist"
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_library_alone(wheel: list[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"graft"}
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


def test_the_wheel_holds_every_source_and_data_file(wheel: list[str]) -> None:
    files = [path for path in (ROOT / "graft").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.suffix for path in files} >= {".py", ".yaml", ".json", ".j2"}
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(wheel)
