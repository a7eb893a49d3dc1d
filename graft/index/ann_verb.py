"""`graft indexes ann`: build the approximate index of an archive."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graft.index.ann import AnnReport


def ann(index: str, *, recall: float = 0.95, seed: int = 0) -> "AnnReport":
    """Build the approximate index that graft search --ann reads, and measure it against exact search.

    Worth it from some million tiles on: exact search takes about 0.1 s a million. Tiles that are added later are found
    too, at the speed of a plain scan; give the command again to take them in.

    Args:
        index: folder, or s3://bucket/prefix.
        recall: share of the exact 100 nearest tiles to be found, as a mean over queries drawn from the index.
        seed: of the queries drawn.

    Returns:
        Recall, times and size.

    Raises:
        GraftError: no index there, too few tiles, a recall that cannot be reached, or another process is writing to it.
    """
    from graft.index.ann import build_ann
    from graft.index.lock import writer_lock
    from graft.index.table import Index

    Index.open(index)  # the lock would make the folder
    with writer_lock(index):
        report = build_ann(Index.open(index), recall=recall, seed=seed)
    for line in report.lines():
        print(line)
    return report
