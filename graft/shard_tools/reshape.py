"""The same samples in other shards: `graft shards reshard` and `merge`."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from graft.errors import GraftError
from graft.prepare.samples import ShardCard
from graft.shard_tools.copying import (
    SAMPLES_PER_SHARD,
    Index,
    carry_credits,
    check_apart,
    check_positive,
    provenance,
    shuffled,
    write_shards,
)
from graft.shard_tools.source import Catalogue, open_source


def reshard(
    shards: Path,
    *,
    out: Path,
    samples: int | None = None,
    mb: float | None = None,
    seed: int | None = None,
    overwrite: bool = False,
) -> Index:
    """Write the same samples to shards of another size.

    Args:
        shards: folder of shards.
        out: folder of the new ones.
        samples: samples in a shard; 1,000 if neither is given.
        mb: or megabytes of a shard, about: as many samples as fit on average.
        seed: shuffles the samples; left out, their order stays.
        overwrite: replace shards that are there already.

    Returns:
        The content of the new `index.json`.

    Raises:
        GraftError: no or damaged shards, both sizes or one that is not positive, or shards in `out`.
    """
    if samples is not None and mb is not None:
        raise GraftError("--samples and --mb both say how large a shard is; give one of them.")
    check_apart([shards], [out])
    catalogue = Catalogue(open_source(shards), verify=True)
    per_shard = SAMPLES_PER_SHARD if samples is None else samples
    if mb is not None:
        check_positive("mb", mb)
        per_shard = max(int(mb * 1e6 * len(catalogue) / catalogue.sizes.sum()), 1)
    check_positive("samples", per_shard)
    order = range(len(catalogue)) if seed is None else shuffled(catalogue.keys, seed)
    settings = {"samples_per_shard": per_shard, "seed": seed}
    index = write_shards(
        ((catalogue, number) for number in order),
        len(catalogue),
        out,
        catalogue.source.card,
        per_shard,
        provenance("reshard", settings, [catalogue]),
        overwrite=overwrite,
    )
    carry_credits([catalogue], out)
    return index


def merge(shards: list[Path], *, out: Path, samples: int = SAMPLES_PER_SHARD, overwrite: bool = False) -> Index:
    """Write the samples of several folders to one, in their order.

    Args:
        shards: folders of shards of the same sensor, radiometry, tile size and teacher, all with or all without stored
            photos. If their splits differ, the new shards and their samples belong to none.
        out: folder of the new ones.
        samples: samples in a shard.
        overwrite: replace shards that are there already.

    Returns:
        The content of the new `index.json`.

    Raises:
        GraftError: fewer than two folders, folders that do not go together, a key in two of them, damaged shards, or
            shards in `out`.
    """
    if len(shards) < 2:
        raise GraftError(f"There is nothing to merge in {len(shards)} folder; give two or more.")
    check_positive("samples", samples)
    check_apart(shards, [out])
    sources = [open_source(folder) for folder in shards]
    for source in sources[1:]:
        _check_alike(sources[0].where, sources[0].card, source.where, source.card)
    catalogues = [Catalogue(source, verify=True) for source in sources]
    owner: dict[str, Catalogue] = {}
    for catalogue in catalogues:
        for key in catalogue.keys:
            if owner.setdefault(key, catalogue) is not catalogue:
                raise GraftError(
                    f"The key {key!r} is in {owner[key].source.where} and in {catalogue.source.where}; a key names one "
                    "sample, so leave one of them out (graft shards split --keys)."
                )
    one_split = len({source.card.split for source in sources}) == 1
    index = write_shards(
        ((catalogue, number) for catalogue in catalogues for number in range(len(catalogue))),
        len(owner),
        out,
        sources[0].card if one_split else replace(sources[0].card, split=None),
        samples,
        provenance("merge", {"samples_per_shard": samples}, catalogues),
        overwrite=overwrite,
        relabel=not one_split,
    )
    carry_credits(catalogues, out)
    return index


def _check_alike(where: str, card: ShardCard, other_where: str, other: ShardCard) -> None:
    def of(card: ShardCard, name: str) -> Any:
        return card.teacher and card.teacher["identity"] if name == "teacher" else getattr(card, name)

    for field in fields(ShardCard):
        first, second = of(card, field.name), of(other, field.name)
        if first != second and field.name != "split":
            raise GraftError(
                f"{where} and {other_where} do not go together: {field.name} is {first} in the one and {second} in the "
                "other; merge shards of one build recipe."
            )
