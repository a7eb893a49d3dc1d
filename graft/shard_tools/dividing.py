"""Samples divided among several folders of shards: `graft shards split`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from graft.errors import GraftError, first_line
from graft.prepare.samples import KEY_PATTERN
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

REST = "rest"
_RANDOM_NOTE = (
    "Drawn at random by sample: neighbouring tiles may share ground and photos across these splits. "
    "graft prepare splits by cell, with a buffer."
)


def split(
    shards: Path,
    *,
    out: Path,
    shares: dict[str, float] | None = None,
    keys: dict[str, Path] | None = None,
    prefixes: dict[str, str] | None = None,
    samples: int = SAMPLES_PER_SHARD,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, Index]:
    """Divide the samples of a folder among several, OUT/NAME each; their order stays.

    Args:
        shards: folder of shards.
        out: folder in which each split gets one.
        shares: of each split, such as {train: 0.9, val: 0.1}; they are drawn by the seed and add up to 1.
        keys: or a text file with the keys of each split, one a line; all others go to OUT/rest.
        prefixes: or how the keys (tile ids) of each split begin; all others go to OUT/rest.
        samples: samples in a shard.
        seed: of the draw.
        overwrite: replace shards that are there already.

    Returns:
        The content of the new `index.json` of each split.

    Raises:
        GraftError: not exactly one of the three ways, shares that do not add up to 1, a key that is not there or in two
            splits, a split without samples, damaged shards, or shards in `out`.
    """
    names = [*(shares or {}), *(keys or {}), *(prefixes or {})]
    if [shares, keys, prefixes].count(None) != 2 or not names:
        raise GraftError("Say in one way how to split: --shares '{train: 0.9, val: 0.1}', --keys, or --prefixes.")
    for name in names:
        if not KEY_PATTERN.fullmatch(name) or (name == REST and shares is None):
            raise GraftError(f"A split cannot be called {name!r}; use lower-case letters, digits, '_' and '-'.")
    check_positive("samples", samples)
    check_apart([shards], [out / name for name in [*names, REST]])
    catalogue = Catalogue(open_source(shards), verify=True)
    if shares is not None:
        chosen = _by_share(catalogue.keys, shares, seed)
    elif keys is not None:
        chosen = _by_list(catalogue, {name: _read_keys(file) for name, file in keys.items()})
    else:
        chosen = _by_prefix(catalogue.keys, prefixes or {})
    settings = {"shares": shares, "keys": sorted(keys or {}), "prefixes": prefixes, "seed": seed}
    numbers: dict[str, list[int]] = {name: [] for name in sorted(set(chosen) | set(names), key=[*names, REST].index)}
    for number, name in enumerate(chosen):
        numbers[name].append(number)
    for name, members in numbers.items():
        if not members:
            raise GraftError(f"The split {name} would hold none of the {len(catalogue)} samples; change what it takes.")
    indices = {}
    for name, members in numbers.items():
        indices[name] = write_shards(
            ((catalogue, number) for number in members),
            len(members),
            out / name,
            replace(catalogue.source.card, split=name),
            samples,
            provenance("split", settings, [catalogue]),
            overwrite=overwrite,
            relabel=True,
        )
    carry_credits([catalogue], out)
    if shares is not None:
        print(_RANDOM_NOTE)
    return indices


def _by_share(keys: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    total = sum(shares.values())
    if not all(share > 0 for share in shares.values()) or abs(total - 1) > 1e-6:
        raise GraftError(f"--shares add up to {total:g}; expected shares above 0 that add up to 1.")
    chosen, edge, first = [""] * len(keys), 0.0, 0
    order = shuffled(keys, seed)
    for name, share in shares.items():
        edge += share
        last = round(edge / total * len(keys))
        for number in order[first:last]:
            chosen[number] = name
        first = last
    return chosen


def _read_keys(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GraftError(f"The list of keys {file} cannot be read: {first_line(error)}. Correct --keys.") from error
    return [line.strip() for line in lines if line.strip()]


def _by_list(catalogue: Catalogue, lists: Mapping[str, Sequence[str]]) -> list[str]:
    wanted: dict[str, str] = {}
    for name, keys in lists.items():
        for key in keys:
            if wanted.setdefault(key, name) != name:
                raise GraftError(f"The key {key!r} is listed for {wanted[key]} and for {name}; a sample has one split.")
    absent = sorted(wanted.keys() - set(catalogue.keys))
    if absent:
        raise GraftError(
            f"{len(absent)} of {len(wanted)} listed keys are not in {catalogue.source.where}, first {absent[0]!r}; "
            f"expected keys such as {catalogue.keys[0]}."
        )
    return [wanted.get(key, REST) for key in catalogue.keys]


def _by_prefix(keys: Sequence[str], prefixes: Mapping[str, str]) -> list[str]:
    chosen = []
    for key in keys:
        found = [name for name, prefix in prefixes.items() if key.startswith(prefix)]
        if len(found) > 1:
            raise GraftError(f"The key {key!r} begins as {found[0]} and as {found[1]} should; a sample has one split.")
        chosen.append(found[0] if found else REST)
    return chosen
