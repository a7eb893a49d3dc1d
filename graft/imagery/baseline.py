"""Sentinel-2's baseline offset, decided for each image.

ESA adds 1000 to stored reflectance since processing baseline 04.00. Some archives take it off again, some keep it, and
some say the wrong thing; a wrong guess makes every tile too dark or too bright by a third of the display range.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.errors import GraftError
from graft.sensors import Sensor

SENTINEL2_BANDS = ("B04", "B03", "B02")
SHIFTED_SINCE = 4.0
SHIFT = -1000.0
DARK = 800.0
"""Stored number below which a whole per cent of red cannot be with 1000 added: reflectance would be under -0.02."""
BRIGHT = 1300.0
"""Above this the darkest ground says nothing: bright ground without the 1000 looks like dark ground with it."""

_QUANTIFICATION = 1e-4


class UnclearRadiometryError(GraftError):
    """Nothing tells whether an image's stored numbers hold the baseline offset."""


@dataclass(frozen=True)
class Radiometry:
    """A decision and its reason.

    Attributes:
        offset: added to stored numbers before scaling.
        note: the reason, in words.
    """

    offset: float
    note: str


@dataclass(frozen=True)
class Evidence:
    """What is written about an image's stored numbers.

    Attributes:
        baseline: processing baseline, e.g. 4.0.
        removed: whether the archive says that it has taken the offset off.
        stated: offset in stored units that the archive says is still to be added.
        keeps: whether the archive is known to store ESA's numbers as they are.
        eight_bit: whether the numbers are an 8-bit picture.
    """

    baseline: float | None = None
    removed: bool | None = None
    stated: float | None = None
    keeps: bool = False
    eight_bit: bool = False


def is_sentinel2(sensor: Sensor) -> bool:
    """Whether a sensor's stored numbers are Sentinel-2 reflectance, the ones with a baseline offset."""
    return sensor.bands == SENTINEL2_BANDS


def decide(evidence: Evidence, darkest: Callable[[], float]) -> Radiometry:
    """Decide the offset; only where what is written leaves a doubt are pixels looked at.

    Args:
        evidence: what is written.
        darkest: reads the dark end of the image's red band, as `dark_end` gives it.

    Raises:
        UnclearRadiometryError: the doubt remains.
    """
    if evidence.eight_bit:
        return Radiometry(0.0, "8-bit picture, never shifted")
    if evidence.removed:
        return Radiometry(0.0, "said to be taken off already (boa_offset_applied, or BOA_ADD_OFFSET of 0)")
    baseline, stated = evidence.baseline, evidence.stated
    named = "no processing baseline" if baseline is None else f"processing baseline {baseline:05.2f}"
    shifted = baseline is None or baseline >= SHIFTED_SINCE
    if evidence.keeps and baseline is not None:
        return Radiometry(SHIFT if shifted else 0.0, f"{named}; this archive keeps ESA's numbers")
    if stated and shifted and evidence.removed is None:
        return Radiometry(stated, f"{named}; the archive states an offset of {stated:+g}")
    if not shifted and not stated:
        return Radiometry(0.0, f"{named}, before 04.00")
    if baseline is None and stated == 0 and evidence.removed is None:
        return Radiometry(0.0, f"{named}; the archive states an offset of 0")
    return _look(named, expected=SHIFT if baseline is not None and shifted else 0.0, dark=darkest())


def _look(named: str, *, expected: float, dark: float) -> Radiometry:
    """Settle a doubt by the darkest ground."""
    if dark < DARK:
        return Radiometry(0.0, f"{named}, unclear if shifted; red goes down to {dark:.0f}, so it is not")
    if expected == SHIFT and dark <= BRIGHT:
        return Radiometry(SHIFT, f"{named}, unclear if shifted; red goes down to no less than {dark:.0f}, so it is")
    seen = "it holds no data" if np.isinf(dark) else f"red goes down to {dark:.0f}"
    raise UnclearRadiometryError(
        f"Nothing tells whether 1000 is added to the stored numbers ({named}; {seen}); expected a processing baseline "
        "that agrees with them. Write a tag BOA_ADD_OFFSET of -1000 or 0 into the file, or leave the image out."
    )


def dark_end(red: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> float:
    """Stored number that one valid pixel in a hundred lies below; infinite where fewer than a hundred are valid.

    Args:
        red: stored numbers of the red band, or of an overview of it.
        valid: same shape, False where there is no data.
    """
    values = np.sort(red[valid], axis=None)
    return float(values[len(values) // 100]) if len(values) >= 100 else float("inf")


def evidence_of_item(
    item_id: str, properties: Mapping[str, Any], asset: str, fields: Mapping[str, Any], href: str
) -> Evidence:
    """Read what a STAC item writes about one of its assets.

    Args:
        item_id: of the item.
        properties: of the item.
        asset: key of the asset.
        fields: the asset's own fields.
        href: the asset's address.

    Raises:
        UnclearRadiometryError: the asset is scaled otherwise than Sentinel-2 reflectance is.
    """
    baseline = _baseline(properties.get("s2:processing_baseline"))
    if baseline is None:
        names = [str(properties.get(key, "")) for key in ("s2:product_uri", "sentinel:product_id")]
        found = re.search(r"_(N\d{4})_", " ".join([item_id, *names]))
        baseline = _baseline(found[1]) if found else None
    band: Mapping[str, Any] = next(iter(fields.get("raster:bands") or fields.get("bands") or []), {})
    data_type = band.get("data_type", fields.get("data_type"))
    scale = _number(band.get("scale", band.get("raster:scale", fields.get("raster:scale"))))
    offset = _number(band.get("offset", band.get("raster:offset", fields.get("raster:offset"))))
    eight_bit = data_type == "uint8" or asset.lower().split("_")[0] in ("visual", "tci")
    if scale is not None and not eight_bit and abs(scale / _QUANTIFICATION - 1) > 1e-6:
        raise UnclearRadiometryError(
            f"The item {item_id} scales its numbers by {scale:g}; expected {_QUANTIFICATION:g} of Sentinel-2. "
            "Choose the --sensor whose scale fits this collection."
        )
    removed = properties.get("earthsearch:boa_offset_applied", properties.get("sentinel:boa_offset_applied"))
    # Earth Search's first collection goes on stating -0.1 where the offset is off: only its flag counts there.
    unreliable = removed is None and "sentinel-cogs" in href
    return Evidence(
        baseline=baseline,
        removed=False if unreliable else removed,
        stated=None if offset is None else round(offset / (scale or _QUANTIFICATION), 6),
        keeps="//sentinel2l2a01.blob.core.windows.net/" in href,
        eight_bit=eight_bit,
    )


def evidence_of_tags(
    tags: Mapping[str, str], scale: float, offset: float, dtype: npt.DTypeLike, sensor: Sensor
) -> Evidence | None:
    """Read what a local raster's tags write; None where they are silent and the sensor's row decides.

    Args:
        tags: of the file, names in upper case.
        scale: of the red band, 1 if not set.
        offset: of the red band, 0 if not set.
        dtype: of the red band.
        sensor: its row may state the offset that a processing baseline leaves open.
    """
    baseline = _baseline(tags.get("PROCESSING_BASELINE"))
    stated = _number(tags.get("BOA_ADD_OFFSET", "").replace(",", " ").partition(" ")[0])
    if stated is None and offset != 0:
        stated = round(offset / scale, 6)
    if baseline is None and stated is None:
        return None
    if stated == 0:
        return Evidence(baseline, removed=True)
    if stated is None and sensor.offset != 0:
        stated = sensor.offset if baseline is not None and baseline >= SHIFTED_SINCE else None
    return Evidence(baseline, stated=stated, eight_bit=np.dtype(dtype) == np.uint8)


def _baseline(value: object) -> float | None:
    """Of "04.00", "N0400" or 4.0; a version of any other form is some software's."""
    found = re.fullmatch(r"N?(\d\d)\.?(\d\d)|(\d)\.(\d{1,2})", str(value))
    return float(f"{found[1] or found[3]}.{found[2] or found[4]}") if found else None


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
