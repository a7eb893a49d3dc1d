"""A picture of one sample: its tile with the places of its photos, and the photos."""

import io
import math
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from graft.errors import GraftError, first_line

_SIDE = 512
_PHOTO = 160
_GAP = 8
_COLOUR, _EDGE, _GROUND = (255, 230, 0), (0, 0, 0), (255, 255, 255)


def draw_sample(key: str, members: dict[str, bytes], meta: dict[str, Any]) -> Image.Image:
    """Draw a sample: photo k of its json is a ring numbered k on the tile, and has the same number beside it.

    Args:
        key: of the sample, for messages.
        members: field name -> bytes.
        meta: its json; positions in tile pixels, x right, y down, edges at integers.

    Returns:
        RGB picture, the tile at least 512 pixels wide.

    Raises:
        GraftError: tile or photo that does not decode, or a photo without a position.
    """
    try:
        tile = _open(members.get("tile.png") or members["tile.jpg"])
        photos = [
            _open(members[name]) for name in sorted(members) if name.startswith("ground") and name.endswith("jpg")
        ]
        places = [(float(photo["x"]), float(photo["y"])) for photo in meta["photos"]]
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError … for one fault
        raise GraftError(
            f"Sample {key!r} cannot be drawn ({type(error).__name__}: {first_line(error)}); graft audit lists what is "
            "wrong with it."
        ) from error
    scale = max(math.ceil(_SIDE / tile.width), 1)
    tile = tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.NEAREST)
    _mark(tile, [(x * scale, y * scale) for x, y in places])
    return _beside(tile, photos) if photos else tile


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _mark(tile: Image.Image, places: list[tuple[float, float]]) -> None:
    pen, font = ImageDraw.Draw(tile), ImageFont.load_default(16)
    for number, (x, y) in enumerate(places):
        pen.ellipse((x - 7, y - 7, x + 7, y + 7), outline=_EDGE, width=4)
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), outline=_COLOUR, width=2)
        right, below = x + 26 < tile.width, y + 18 < tile.height
        corner = (x + (9 if right else -26), y + (2 if below else -20))
        pen.text(corner, str(number), _COLOUR, font, stroke_width=2, stroke_fill=_EDGE)


def _beside(tile: Image.Image, photos: list[Image.Image]) -> Image.Image:
    """The photos in columns as high as the tile."""
    rows = max((tile.height + _GAP) // (_PHOTO + _GAP), 1)
    columns = math.ceil(len(photos) / rows)
    sheet = Image.new("RGB", (tile.width + columns * (_PHOTO + _GAP), tile.height), _GROUND)
    sheet.paste(tile)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for number, photo in enumerate(photos):
        column, row = divmod(number, rows)
        corner = (tile.width + _GAP + column * (_PHOTO + _GAP), row * (_PHOTO + _GAP))
        photo.thumbnail((_PHOTO, _PHOTO))
        sheet.paste(photo, corner)
        pen.text((corner[0] + 4, corner[1] + 2), str(number), _COLOUR, font, stroke_width=2, stroke_fill=_EDGE)
    return sheet
