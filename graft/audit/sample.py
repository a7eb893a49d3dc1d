"""One sample: everything that can be wrong with it, and the numbers that are kept of it."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from graft.audit.decode import BadMemberError, look_at_pictures, look_at_tile, look_at_vectors
from graft.audit.ground import NowhereError, lonlat, side_m
from graft.audit.notes import Expected, Notes
from graft.audit.rows import NO_PHRASE, NO_TIME, PHOTO, TILE, Rows, digest
from graft.raster import GSD_TOLERANCE

MAX_SAMPLE_PHOTOS = 100
_FAR = 1e6  # positions beyond are as wrong, and do not fit every number type
_TEXTS = ("crs", "datetime", "item", "teacher", "radiometry", "sensor", "split")
_PHOTO_TEXTS = ("taken_at", "license", "source")


def look_at(
    members: Mapping[str, bytes], name: str, expected: Expected, notes: Notes, *, decode: bool
) -> tuple[Rows, Rows]:
    """Check one sample.

    Args:
        members: field -> content, e.g. `tile.png`.
        name: shard and key, for examples.
        expected: what the index promises.
        notes: what is found is added here.
        decode: whether to decode pictures and vectors too.

    Returns:
        One row of `TILE` without shard, offset and key, and a row of `PHOTO` a photo.
    """
    tile = np.zeros(1, TILE)
    for column in ("mean", "std", "black", "saturated", "nodata", "cloudy", "corners"):
        tile[column] = np.nan
    tile["split"], tile["time"] = expected.split, NO_TIME
    notes.looked.update(("keys", "json"))
    try:
        meta = _read_json(members)
    except BadMemberError as reason:
        notes.add("json", str(reason), name)
        meta = {"photos": []}
    photos = _photo_rows(meta["photos"], notes, name)
    tile["photos"] = len(photos)
    if "tile_id" in meta:
        _check_meta(meta, tile, expected, notes, name)
        _place(meta, tile, photos, expected, notes, name)
        _check_photos(meta["photos"], photos, expected, notes, name)
    if not decode:
        return tile, photos
    look_at_tile(members, tile, expected, notes, name)
    if expected.photos_stored:
        look_at_pictures(members, photos, notes, name)
    if expected.teacher is not None and len(photos):
        look_at_vectors(members, photos, expected, notes, name)
    return tile, photos


def _number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value) and low <= value <= high
    except OverflowError:  # an integer beyond every float
        return False


def _hash(text: str) -> int:
    return digest(text.encode("utf-8", "surrogatepass"))


def _read_json(members: Mapping[str, bytes]) -> dict[str, Any]:
    """The json member, with what every reader needs in it."""
    if "json" not in members:
        raise BadMemberError("without a json")
    try:
        meta = json.loads(members["json"])
    except (ValueError, RecursionError):
        raise BadMemberError("whose json does not parse") from None
    if not isinstance(meta, dict):
        raise BadMemberError("whose json is not an object")
    if not isinstance(meta.get("tile_id"), str) or not meta["tile_id"]:
        raise BadMemberError("without a tile_id")
    photos = meta.get("photos")
    if not isinstance(photos, list) or not all(isinstance(photo, dict) for photo in photos):
        raise BadMemberError("without a list of photos")
    if not 1 <= len(photos) <= MAX_SAMPLE_PHOTOS:
        raise BadMemberError(f"with no photo or more than {MAX_SAMPLE_PHOTOS}")
    for photo in photos:
        if not isinstance(photo.get("id"), str) or not photo["id"]:
            raise BadMemberError("with a photo without an id")
        if not (_number(photo.get("x")) and _number(photo.get("y"))):
            raise BadMemberError("with a photo whose x or y is not a number")
    return meta


def _check_meta(meta: dict[str, Any], tile: Rows, expected: Expected, notes: Notes, name: str) -> None:
    """The optional fields of the tile: of their type where they are there, and what the index says."""
    for key in _TEXTS:
        if not isinstance(meta.get(key), str | None):
            notes.add("json", f"with {key} that is not text", name)
    for key in ("nodata", "cloudy"):
        if _number(meta.get(key), 0, 1):
            tile[key] = meta[key]
        elif meta.get(key) is not None:
            notes.add("json", f"with {key} outside 0 to 1", name)
    promised = {"sensor": expected.sensor, "radiometry": expected.radiometry, "split": expected.stated_split}
    for key, value in promised.items():
        if value is not None and isinstance(meta.get(key), str) and meta[key] != value:
            notes.add("json", f"with another {key} than the index", f"{name}: {meta[key][:60]}")
    gsd = meta.get("gsd_m")
    if gsd is not None and not _number(gsd, 1e-6):
        notes.add("json", "with gsd_m that is not a number above 0", name)
    elif gsd is not None and abs(gsd / expected.gsd_m - 1) > GSD_TOLERANCE:
        notes.add("places", f"with a gsd_m that is not the sensor's {expected.gsd_m:g} m", f"{name}: {gsd:g} m")
    if expected.teacher is not None:
        notes.looked["teacher"] += 1
        stated = meta.get("teacher")
        if not isinstance(stated, str) or not stated:
            notes.add("teacher", "name no teacher", name)
        elif not expected.teacher["identity"].startswith(stated):
            notes.add("teacher", "name another teacher than the index", f"{name}: {stated[:16]}")
    tile["tile_id"] = _hash(meta["tile_id"])
    if isinstance(meta.get("item"), str) and meta["item"]:
        tile["item"] = _hash(meta["item"])
    tile["time"] = _seconds(meta.get("datetime"), "tiles", notes, name)


def _seconds(value: object, what: str, notes: Notes, name: str) -> int:
    """ISO 8601 as seconds since 1970; a time without a zone is taken as UTC."""
    if not isinstance(value, str) or not value:
        return NO_TIME
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        notes.add("times", f"{what} whose time is not ISO 8601", f"{name}: {value[:40]}")
        return NO_TIME
    if not 1900 <= moment.year <= 2100:
        notes.add("times", f"{what} before 1900 or after 2100", f"{name}: {value[:40]}")
        return NO_TIME
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _photo_rows(photos: list[dict[str, Any]], notes: Notes, name: str) -> Rows:
    rows = np.zeros(len(photos), PHOTO)
    rows["lon"] = rows["lat"] = rows["accuracy"] = rows["probability"] = rows["cosine"] = np.nan
    rows["phrase"] = NO_PHRASE
    for row, photo in zip(rows, photos, strict=True):
        row["id"] = _hash(photo["id"])
        row["x"], row["y"] = (max(min(photo[key], _FAR), -_FAR) for key in ("x", "y"))
        row["time"] = _seconds(photo.get("taken_at"), "photos", notes, f"{name}, photo {photo['id']}")
    return rows


def _place(meta: dict[str, Any], tile: Rows, photos: Rows, expected: Expected, notes: Notes, name: str) -> None:
    """Footprint and photo positions in degrees, and the size of a pixel on the ground."""
    crs, transform = meta.get("crs"), meta.get("transform")
    if not crs or transform is None or not isinstance(crs, str):
        return
    if not isinstance(transform, list) or len(transform) != 6 or not all(_number(value) for value in transform):
        notes.add("places", "whose transform is not six numbers", name)
        return
    side = expected.tile_size
    pixels = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float64)
    # A photo outside is told elsewhere; its place might lie outside the crs.
    inside = np.clip(np.stack([photos["x"], photos["y"]], axis=1), 0, side)
    try:
        found = lonlat(crs, transform, np.concatenate([pixels, inside]))
    except NowhereError as reason:
        notes.add("places", f"whose {str(reason).removeprefix('its ')}", name)
        return
    tile["corners"] = found[:4]
    photos["lon"], photos["lat"] = found[4:].T
    gsd = side_m(found[:4]) / side
    if abs(gsd / expected.gsd_m - 1) > GSD_TOLERANCE:
        notes.add("places", f"whose pixels are not {expected.gsd_m:g} m on the ground", f"{name}: {gsd:.3g} m")


def _check_photos(photos: list[dict[str, Any]], rows: Rows, expected: Expected, notes: Notes, name: str) -> None:
    """Positions inside the tile, ids once, optional fields of their type; licences and sources are counted."""
    notes.looked["positions"] += len(photos)
    outside = ((rows["x"] < 0) | (rows["x"] > expected.tile_size)) | (
        (rows["y"] < 0) | (rows["y"] > expected.tile_size)
    )
    for photo in (photos[k] for k in np.flatnonzero(outside)):
        notes.add(
            "positions", "lie outside their tile", f"{name}, photo {photo['id']}: ({photo['x']:g}, {photo['y']:g})"
        )
    if len(np.unique(rows["id"])) < len(rows):
        notes.add("photo ids", "tiles with the same photo twice", name)
    for row, photo in zip(rows, photos, strict=True):
        for key in _PHOTO_TEXTS:
            if not isinstance(photo.get(key), str | None):
                notes.add("json", f"with a photo whose {key} is not text", name)
        if _number(photo.get("accuracy_m"), 0):
            row["accuracy"] = photo["accuracy_m"]
        elif photo.get("accuracy_m") is not None:
            notes.add("json", "with a photo whose accuracy_m is not a length", name)
        if photo.get("heading") is not None and not _number(photo["heading"], -360, 360):
            notes.add("json", "with a photo whose heading is not in degrees", name)
        for counted, key in ((notes.licences, "license"), (notes.sources, "source")):
            counted[str(photo.get(key) or "")[:80].encode("utf-8", "replace").decode()] += 1
