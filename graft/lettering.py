"""Text in pictures."""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont


def fitted(text: str, face: ImageFont.FreeTypeFont, width: float) -> str:
    """The text, its end left out where it would not fit into `width` pixels."""
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"


@cache
def font(size: int, *, bold: bool = False, code: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib brings it along, in pixels."""
    name = "DejaVuSansMono.ttf" if code else "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
