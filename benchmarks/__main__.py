"""Run benchmarks by name, print a table, write `benchmarks/results.json`."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.dense import dense, dense_memory, dense_memory_tall
from benchmarks.loader import loader
from benchmarks.prepare import prepare_memory, prepare_photos, prepare_photos_small, prepare_tiles
from benchmarks.retrieval import retrieval_ann, retrieval_ann_uniform, retrieval_exact
from graft.files import write_json

BENCHMARKS = {
    "loader": loader,
    "dense": dense,
    "dense_memory": dense_memory,
    "dense_memory_tall": dense_memory_tall,
    "prepare_photos": prepare_photos,
    "prepare_photos_small": prepare_photos_small,
    "prepare_tiles": prepare_tiles,
    "prepare_memory": prepare_memory,
    "retrieval_exact": retrieval_exact,
    "retrieval_ann": retrieval_ann,
    "retrieval_ann_uniform": retrieval_ann_uniform,
}
RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(BENCHMARKS)}; all if none")
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    rows = [BENCHMARKS[name]() for name in names]
    write_json(RESULTS, rows)
    figures = f"{'ours':>10}{'peer':>10}{'limit':>10}  {'unit':<8}"
    print(f"{'name':<22}{figures}{'ours/peer':>10}{'ours/limit':>11}  better")
    for row in rows:
        figures = f"{row['ours']:>10,}{row['peer']:>10,}{row['limit']:>10,}  {row['unit']:<8}"
        ratios = f"{row['ratio_to_peer']:>10.2f}{row['ratio_to_limit']:>11.2f}"
        print(f"{row['name']:<22}{figures}{ratios}  {row['better']}")
        details: Any = dict(row).get("details", {})  # only some rows have them
        for key, value in details.items():
            print(f"    {key:<26} {value}")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
