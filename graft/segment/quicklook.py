"""A picture to look at first: the scene, its class map, and a legend with shares."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image, ImageDraw

from graft.lettering import fitted, font
from graft.palette import NO_DATA, palette
from graft.scene import SceneReader

LONGEST = 1600
_MARGIN, _GAP = 20, 20
_INK, _PALE, _PAPER = (25, 25, 25), (110, 110, 110), (255, 255, 255)
_TITLE, _TEXT, _SMALL = 22, 17, 15
_LINE = 28
_MAX_LEGEND = 40
_COLUMN = 300
_NICE = (1, 2, 5)


def write_quicklook(
    reader: SceneReader,
    class_map: Path,
    ids: Sequence[str],
    shares: Sequence[float],
    lines: Sequence[str],
    path: Path,
) -> None:
    """Write a PNG, its longest side at most 1600 pixels but for a long legend.

    Args:
        reader: of the scene.
        class_map: as `write_rasters` writes it.
        ids: C class names.
        shares: C shares of the area with data, 0..1.
        lines: title, and a line of facts under it.
        path: file to write.
    """
    view = reader.view
    # The ground's shape, not the grid's: pixels of a scene in degrees are not square.
    ground = view.width * view.gsd_m[0], view.height * view.gsd_m[1]
    beside = ground[0] <= 1.5 * ground[1]
    room = LONGEST - 2 * _MARGIN
    most = ((room - _GAP) // 2, room * 3 // 5) if beside else (room, room // 3)
    scale = min(most[0] / ground[0], most[1] / ground[1])
    panel = max(round(ground[0] * scale), 1), max(round(ground[1] * scale), 1)
    picture = _picture(reader, panel)
    classes = _class_picture(class_map, panel, ids)

    wide = max(panel[0] * (2 if beside else 1) + (_GAP if beside else 0), 2 * _COLUMN)
    columns = max(wide // _COLUMN, 1)
    entries = _legend(ids, shares)
    legend_rows = -(-len(entries) // columns)
    top = _MARGIN + _TITLE + 12 + (_SMALL + 8) * (len(lines) - 1) + 10
    panels = panel[1] if beside else 2 * panel[1] + _GAP
    size = (wide + 2 * _MARGIN, top + panels + 18 + legend_rows * _LINE + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(lines):
        place = (_MARGIN, _MARGIN + (_TITLE + 12 + (_SMALL + 8) * (number - 1) if number else 0))
        face = font(_SMALL if number else _TITLE, bold=not number)
        draw.text(place, fitted(line, face, wide), _PALE if number else _INK, face)
    second = (_MARGIN + panel[0] + _GAP, top) if beside else (_MARGIN, top + panel[1] + _GAP)
    for image, corner in ((picture, (_MARGIN, top)), (classes, second)):
        sheet.paste(image, corner)
        draw.rectangle((corner[0] - 1, corner[1] - 1, corner[0] + panel[0], corner[1] + panel[1]), outline=_PALE)
    _scale_bar(draw, (_MARGIN, top), panel, scale)
    for number, (colour, text) in enumerate(entries):
        x = _MARGIN + number % columns * _COLUMN
        y = top + panels + 18 + number // columns * _LINE
        if colour is not None:
            draw.rectangle((x, y + 2, x + 22, y + 20), fill=colour, outline=_PALE)
        face = font(_TEXT)
        draw.text((x + 32, y), fitted(text, face, _COLUMN - 40), _INK, face)
    sheet.save(path, "PNG")


def _picture(reader: SceneReader, panel: tuple[int, int]) -> Image.Image:
    width, height = min(panel[0], reader.view.width), min(panel[1], reader.view.height)
    return Image.fromarray(reader.thumbnail(width, height)).resize(panel, Image.Resampling.BICUBIC)


def _class_picture(class_map: Path, panel: tuple[int, int], ids: Sequence[str]) -> Image.Image:
    with rasterio.open(class_map) as dataset:
        shape = (min(panel[1], dataset.height), min(panel[0], dataset.width))
        labels: npt.NDArray[np.unsignedinteger] = dataset.read(1, out_shape=shape)
    colours = np.array([*palette(ids), NO_DATA], np.uint8)
    return Image.fromarray(colours[np.minimum(labels, len(ids))]).resize(panel, Image.Resampling.NEAREST)


def _legend(ids: Sequence[str], shares: Sequence[float]) -> list[tuple[tuple[int, int, int] | None, str]]:
    """Colour and text of each class, the largest first."""
    colours = palette(ids)
    order = sorted(range(len(ids)), key=lambda number: -shares[number])
    entries: list[tuple[tuple[int, int, int] | None, str]] = [
        (colours[number], f"{_percent(shares[number])}  {ids[number]}") for number in order[:_MAX_LEGEND]
    ]
    if len(order) > _MAX_LEGEND:
        entries.append((None, f"and {len(order) - _MAX_LEGEND} more classes"))
    return entries


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %")


def _scale_bar(draw: ImageDraw.ImageDraw, corner: tuple[int, int], panel: tuple[int, int], scale: float) -> None:
    """A bar of a round length, about a quarter of the picture wide; `scale` is in pixels a metre."""
    wanted = panel[0] / 4 / scale
    power = 10 ** int(np.floor(np.log10(wanted)))
    metres = max(step * power for step in _NICE if step * power <= wanted)
    length = round(metres * scale)
    text = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    face = font(_SMALL, bold=True)
    width = max(length, round(draw.textlength(text, face)))
    x, y = corner[0] + 12, corner[1] + panel[1] - 18
    if panel[0] < width + 30 or panel[1] < 60:
        return
    draw.rectangle((x - 8, y - 28, x + width + 8, y + 12), fill=_PAPER)
    draw.text((x, y - 25), text, _INK, face)
    draw.rectangle((x, y, x + length, y + 4), fill=_INK)
