"""What lies in a benchmark folder: classes, patches, splits and photo tables."""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from graft.errors import GraftError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})
_NUMBERED = re.compile(r"(?P<label>.+?)[_-]?\d+")


def subfolders(folder: Path) -> list[Path]:
    """Folders inside `folder`, sorted; hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def descend(root: Path, ids: Sequence[str]) -> Path:
    """Go down while a folder holds nothing but one other folder that is no class (EuroSAT/2750, Images)."""
    while len(below := subfolders(root)) == 1 and below[0].name not in ids:
        root = below[0]
    return root


def list_by_folder(root: Path) -> dict[str, list[Path]]:
    """Class -> its files, where every class has a folder in `root`."""
    return {folder.name: [path for path in folder.iterdir() if path.is_file()] for folder in subfolders(root)}


def list_by_name(root: Path) -> dict[str, list[Path]]:
    """Class -> its images, where `airport_01.jpg` in `root` is of class `airport`."""
    found: dict[str, list[Path]] = {}
    for path in root.iterdir():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            match = _NUMBERED.fullmatch(path.stem)
            found.setdefault(match["label"] if match else path.stem, []).append(path)
    return found


def patch_folders(root: Path) -> list[Path]:
    """Folders that hold a label file, in `root` or in its only subfolder."""
    folders = subfolders(root)
    while len(folders) == 1 and not (folders[0] / f"{folders[0].name}_labels_metadata.json").exists():
        folders = subfolders(folders[0])
    if not folders:
        raise GraftError(f"{root} holds no patch folder (<patch>/<patch>_<band>.tif). Change data.init_args.root.")
    return folders


def compare_classes(root: Path, found: set[str], ids: Sequence[str]) -> None:
    """Raise a GraftError with both lists where the classes found in `root` are not exactly `ids`."""
    missing, extra = [i for i in ids if i not in found], sorted(found - set(ids))
    if missing or extra:
        raise GraftError(
            f"The classes of {root} are not those of the prompt set. Missing here: {', '.join(missing) or 'none'}; "
            f"unknown to the prompt set: {', '.join(extra) or 'none'}. "
            "Change data.init_args.root or classes (probe or probe_prompts in training)."
        )


def select_split(paths: Iterable[Path], split: Path) -> set[Path]:
    """The paths that a split file names, by `stem`, `file name` or `folder/file name`; endings do not matter."""
    if not split.is_file():
        raise GraftError(f"No split file at {split}. Change data.init_args.split.")
    by_name: dict[str, set[Path]] = {}
    for path in paths:
        for name in (path.stem, f"{path.parent.name}/{path.stem}"):
            by_name.setdefault(name, set()).add(path)
    lines = [line.split(",")[0].strip() for line in split.read_text(encoding="utf-8").splitlines()]
    wanted = {line: str(Path(*Path(line).parts[-2:]).with_suffix("")) for line in lines if line}
    absent = [line for line, name in wanted.items() if name not in by_name]
    double = [line for line, name in wanted.items() if len(by_name.get(name, ())) > 1]
    if not wanted or absent or double:
        raise GraftError(
            f"Split file {split} names {len(wanted)} images; {len(absent)} of them are not in the folder "
            f"({', '.join(absent[:3])}) and {len(double)} fit several files ({', '.join(double[:3])}): "
            "expected one file name a line, with its folder where names repeat."
        )
    return {path for name in wanted.values() for path in by_name[name]}


def read_photo_table(table: Path) -> dict[str, list[Path]]:
    """Tile name -> photos of its place, from a CSV with the columns `tile` and `path` (relative to the CSV)."""
    if not table.is_file():
        raise GraftError(f"No photo table at {table}. Change data.init_args.photos, or leave it out.")
    with table.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"tile", "path"} <= set(reader.fieldnames or ()):
            raise GraftError(f"{table} has the columns {reader.fieldnames}; expected at least tile and path.")
        photos: dict[str, list[Path]] = {}
        for row in reader:
            photos.setdefault(row["tile"], []).append(table.parent / row["path"])
    return photos
