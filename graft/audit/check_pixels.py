"""Checks of what the tiles show: bands, outliers, nodata, clouds, constant tiles, the same tile twice."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.audit.cards import SplitCard
from graft.audit.findings import NOTHING, Check, Level, percent, share
from graft.audit.names import SHOWN, pair_names, tile_name
from graft.audit.notes import Notes
from graft.audit.repeats import repeated
from graft.audit.rows import Table

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_FAR = 8.0
_DARK, _SATURATED = 12, 0.05
_FEW = 0.01
_NODATA, _CLOUDY, _DISAGREE = 0.1, 0.2, 0.05
_FLAT = 1.0


def check_bands(notes: Notes, table: Table) -> list[Check]:
    """Display values of each band over all tiles, and tiles that are far from the rest."""
    if not notes.decoded:
        return [Check("Pixels", "bands", Level.UNCHECKED, "no tile was decoded")]
    bands = {name: _statistics(counts) for name, counts in zip(("red", "green", "blue"), notes.histogram, strict=True)}
    says = ", ".join(f"{name} {band['mean']:.0f} ± {band['std']:.0f}" for name, band in bands.items())
    problems = []
    if all(band["percentiles"]["50"] < _DARK for band in bands.values()):
        problems.append(f"half of all pixels are below {_DARK} of 255 in every band: too dark for this sensor row")
    for name, band in bands.items():
        if band["saturated"] > _SATURATED:
            problems.append(f"{percent(band['saturated'])} of {name} is saturated")
    means = table.tiles["mean"]
    grey = share(int((np.ptp(np.asarray(means), axis=1) < 1e-3).sum()), notes.decoded)
    if grey > _FEW:
        problems.append(f"{percent(grey)} of the tiles have three equal bands")
    checks = [
        Check(
            "Pixels",
            "bands",
            Level.WARNING if problems else Level.OK,
            "; ".join(problems) or f"of 255: {says}",
            {"bands": bands, "grey": grey},
            remedy="Check --sensor: offset, scale and display range of sensors.yaml, and the order of bands.",
        )
    ]
    far = np.flatnonzero(outlyingness(table) > _FAR)
    many = share(len(far), notes.decoded) > _FEW
    checks.append(
        Check(
            "Pixels",
            "outliers",
            Level.WARNING if many else Level.OK,
            f"{len(far):,} tiles ({percent(share(len(far), notes.decoded))}) lie far from the rest in brightness, "
            "colour or contrast",
            {"tiles": len(far)},
            remedy="Look at the oddest tiles below: clouds, snow, stripes or a scene rendered by another row.",
        )
    )
    return checks


def _statistics(counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Mean, deviation, percentiles, and the shares at 0 and at 255, out of counts per display value."""
    total, values = max(float(counts.sum()), 1.0), np.arange(256)
    mean = float(counts @ values / total)
    below = np.cumsum(counts)
    return {
        "mean": mean,
        "std": math.sqrt(max(float(counts @ values**2) / total - mean**2, 0.0)),
        "percentiles": {str(p): int(np.searchsorted(below, p / 100 * total)) for p in PERCENTILES},
        "black": float(counts[0] / total),
        "saturated": float(counts[255] / total),
    }


def outlyingness(table: Table) -> npt.NDArray[np.float64]:
    """How far each tile is from the rest, in robust deviations of its oddest feature: float64 [tiles], 0 if unknown.

    The features are brightness, the two colour differences, and the logarithm of contrast.
    """
    means, deviations = np.asarray(table.tiles["mean"], np.float64), np.asarray(table.tiles["std"], np.float64)
    brightness = means.mean(axis=1)
    contrast = np.log1p(deviations.mean(axis=1))
    features = np.stack([brightness, means[:, 0] - means[:, 1], means[:, 2] - means[:, 1], contrast], axis=1)
    known = np.isfinite(features).all(axis=1)
    if not known.any():
        return np.zeros(len(features))
    middle = np.median(features[known], axis=0)
    # The floor keeps tiles of one scene, which hardly differ, from being odd by a display value or two.
    spread = np.maximum(1.4826 * np.median(np.abs(features[known] - middle), axis=0), [3.0, 1.0, 1.0, 0.1])
    far = np.abs((features - middle) / spread).max(axis=1)
    return np.where(known, far, 0.0)


def check_nodata(table: Table, cards: Sequence[SplitCard]) -> list[Check]:
    """Pixels without data, from the json and from black pixels; and clouds, from the json."""
    black, stated = table.tiles["black"], table.tiles["nodata"]
    known, both = np.isfinite(black), np.isfinite(black) & np.isfinite(stated)
    allowed = max((_allowed(card) for card in cards), default=_NODATA)
    worst = np.fmax(np.asarray(black), np.asarray(stated))
    looked = int(np.isfinite(worst).sum())
    over = int((worst > allowed + 1e-6).sum())
    differ = int((np.abs(black[both] - stated[both]) > _DISAGREE).sum())
    problems = []
    if over:
        problems.append(f"{over:,} tiles ({percent(share(over, looked))}) have more than {allowed:.0%} without data")
    if differ:
        problems.append(f"{differ:,} tiles state another share without data than they have black pixels")
    some = share(int((black[known] > 0).sum()), int(known.sum()))
    mean = float(black[known].mean()) if known.any() else 0.0
    fine = f"{percent(mean)} of all pixels are black, in {percent(some)} of the tiles"
    if not known.any():
        fine = "no tile was decoded; by the json none has too much" if looked else NOTHING
    checks = [
        Check(
            "Pixels",
            "nodata",
            Level.WARNING if problems else Level.OK if known.any() else Level.UNCHECKED,
            "; ".join(problems) or fine,
            {"over": over, "allowed": allowed, "black_pixels": mean, "tiles_with_black": some, "disagree": differ},
            remedy="Lower the share without data that prepare accepts, and build again.",
        )
    ]
    cloudy = table.tiles["cloudy"][np.isfinite(table.tiles["cloudy"])]
    if not len(cloudy):
        return [*checks, Check("Pixels", "clouds", Level.UNCHECKED, "no json states a share of clouds")]
    many = int((cloudy > _CLOUDY).sum())
    return [
        *checks,
        Check(
            "Pixels",
            "clouds",
            Level.WARNING if share(many, len(cloudy)) > _FEW else Level.OK,
            f"{percent(float(cloudy.mean()))} of the ground is cloudy; {many:,} tiles are over {_CLOUDY:.0%}",
            {"mean": float(cloudy.mean()), "over": many, "stated": len(cloudy)},
            remedy="Lower the share of clouds that prepare accepts." if share(many, len(cloudy)) > _FEW else "",
        ),
    ]


def _allowed(card: SplitCard) -> float:
    settings = card.build.get("settings")
    value = settings.get("max_nodata") if isinstance(settings, dict) else None
    return float(value) if isinstance(value, int | float) else _NODATA


def check_constant(table: Table, cards: Sequence[SplitCard]) -> Check:
    """Tiles that show nothing: hardly any contrast in any band."""
    contrast = np.asarray(table.tiles["std"]).max(axis=1)
    decoded = int(np.isfinite(contrast).sum())
    if not decoded:
        return Check("Pixels", "constant", Level.UNCHECKED, "no tile was decoded")
    flat = np.flatnonzero(contrast < _FLAT)
    part = share(len(flat), decoded)
    level = Level.OK if not len(flat) else Level.FAULT if part > _FEW else Level.WARNING
    return Check(
        "Pixels",
        "constant",
        level,
        f"{len(flat):,} tiles ({percent(part)}) are of one colour" if len(flat) else "no tile is of one colour",
        {"tiles": len(flat)},
        [tile_name(table, cards, int(row)) for row in flat[:SHOWN]],
        remedy="Such tiles teach nothing: look for a damaged scene, or open water.",
    )


def check_same_pixels(table: Table, cards: Sequence[SplitCard]) -> Check:
    """The same picture under two keys."""
    decoded = int(np.count_nonzero(table.tiles["pixels"]))
    if not decoded:
        return Check("Copies", "tiles", Level.UNCHECKED, "no tile was decoded")
    copies = repeated(table.tiles["pixels"])
    part = share(copies.extra, decoded)
    return Check(
        "Copies",
        "tiles",
        Level.WARNING if copies.extra else Level.OK,
        f"{copies.extra:,} tiles ({percent(part)}) show the same pixels as another one"
        if copies.extra
        else "no two tiles show the same pixels",
        {"extra": copies.extra},
        pair_names(table, cards, copies.pairs, photos=False),
        remedy="Two copies of a scene were among the input, or a scene was cut twice: keep one.",
    )
