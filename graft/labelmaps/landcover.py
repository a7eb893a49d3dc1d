"""OpenEarthMap and the Chesapeake land cover: pairs of rasters, each under names of its own."""

from pathlib import Path

from graft.errors import GraftError
from graft.labelmaps.pairs import PairedFiles, existing_folder, match_names

_PICTURE, _LABEL = "_naip-new.tif", "_lc.tif"


def open_openearthmap(root: Path, split: str | None, gsd_m: float | None) -> PairedFiles:
    """OpenEarthMap: `<region>/images/<region>_<n>.tif`, `<region>/labels/<region>_<n>.tif`.

    The pictures of its xBD regions are shipped by xBD alone, so a split names some that are not there.

    Args:
        root: folder of the regions and of `train.txt`, `val.txt`, `test.txt`.
        split: name of such a list without its ending; None takes every pair.
        gsd_m: metres a pixel (0.25 to 0.5) of pictures without a coordinate reference system.

    Raises:
        GraftError: no such folder or list, or no pair.
    """
    existing_folder(root)
    pairs, left_out = match_names(
        ((path.stem, path) for path in root.glob("*/images/*.tif")),
        ((path.stem, path) for path in root.glob("*/labels/*.tif")),
    )
    if split is not None:
        names = _read_split(root / f"{split}.txt")
        pairs = [pair for pair in pairs if pair.name in names]
        known = {pair.name for pair in pairs} | {reason.split(":")[0] for reason in left_out}
        left_out = [reason for reason in left_out if reason.split(":")[0] in names]
        left_out += [f"{name}: in {split}.txt, without picture and label" for name in sorted(names - known)]
    return PairedFiles(pairs, left_out, where=root, gsd_m=gsd_m)


def _read_split(path: Path) -> set[str]:
    if not path.is_file():
        raise GraftError(
            f"No split file at {path}. Set data.init_args.split to the name of a list in the root, e.g. val, or null."
        )
    return {Path(line.strip()).stem for line in path.read_text(encoding="utf-8").splitlines() if line.strip()}


def open_chesapeake(root: Path) -> PairedFiles:
    """Chesapeake land cover: `<state>…_tiles/<tile>_naip-new.tif` (1 m, R, G, B, NIR) and `<tile>_lc.tif`.

    GDAL takes a fourth band of 8 bits for alpha: water that is black in NIR would have no data.

    Args:
        root: one folder of tiles (one state and split), or several above them.

    Raises:
        GraftError: no such folder, or no pair.
    """
    existing_folder(root)

    def named(ending: str) -> list[tuple[str, Path]]:
        found = root.rglob(f"*{ending}")
        return [(path.relative_to(root).as_posix().removesuffix(ending), path) for path in found]

    pairs, left_out = match_names(named(_PICTURE), named(_LABEL))
    return PairedFiles(pairs, left_out, where=root, alpha=False)
