"""An answer as a picture: the image with the evidence drawn on it, the question, the answer and the program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from graft.lettering import fitted, font
from graft.palette import Colour
from graft.vqa.answer import Answer, confidence_word, quantity
from graft.vqa.ground import GroundGrid
from graft.vqa.overlay import MOST_NUMBERED, Layer, draw_gap, draw_layers, layers_of
from graft.vqa.python_form import to_python

Look = Callable[[int, int], npt.NDArray[np.uint8]]
"""The whole image in display values, uint8 [height, width, 3], at a width and height."""

PANEL, SIDE = 940, 400
"""Longest side of the image on the sheet and width of the column beside it, pixels."""

_MARGIN, _GAP = 24, 24
_INK, _PALE, _PAPER, _LINE = (25, 25, 25), (105, 105, 105), (255, 255, 255), (210, 210, 210)
_TITLE, _ANSWER, _TEXT, _SMALL, _CODE = 25, 38, 17, 14, 13
_MOST_LISTED = 8
_LEAST_PANEL, _FOOT = 420, 48
_NICE = (1, 2, 5)


def draw_answer(answer: Answer, grid: GroundGrid, look: Look, caption: str) -> Image.Image:
    """One sheet, RGB: the question above, the image at the left, answer, legend and program at the right.

    Args:
        answer: whose evidence lies on `grid`.
        grid: of the evidence; covers the image exactly.
        look: reads the image.
        caption: under the image, e.g. the scene's name.
    """
    layers = layers_of(answer.evidence)
    size = _panel(grid)
    image = Image.fromarray(look(min(size[0], grid.width), min(size[1], grid.height)))
    image = draw_layers(image.resize(size, Image.Resampling.BICUBIC), layers, font(13, bold=True))
    pair = [layer for layer in layers if layer.things is not None]
    if answer.type == "distance" and len(pair) == 2:
        draw_gap(image, *pair)
    column = _column(answer, grid, layers)
    across = max(size[0], _LEAST_PANEL)
    wide = across + _GAP + SIDE
    title = _wrapped(answer.question, font(_TITLE, bold=True), wide)[:3]
    top = _MARGIN + len(title) * (_TITLE + 9) + 12
    body = max(size[1] + _FOOT, sum(entry.height for entry in column))
    sheet = Image.new("RGB", (wide + 2 * _MARGIN, top + body + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(title):
        draw.text((_MARGIN, _MARGIN + number * (_TITLE + 9)), line, _INK, font(_TITLE, bold=True))
    sheet.paste(image, (_MARGIN, top))
    draw.rectangle((_MARGIN - 1, top - 1, _MARGIN + size[0], top + size[1]), outline=_PALE)
    # Under the image and not on it: nothing hides what the answer rests on.
    right, foot = _MARGIN + across, top + size[1] + 8
    right -= _north(draw, (right, foot), grid, size)
    right -= _scale_bar(draw, (right, foot), grid, size[0])
    told = fitted(caption, font(_SMALL), right - _MARGIN - _GAP)
    draw.text((_MARGIN, foot + 2), told, _PALE, font(_SMALL))
    y = top - 6
    for entry in column:
        entry.draw(draw, _MARGIN + across + _GAP, y)
        y += entry.height
    return sheet


def write_picture(answer: Answer, grid: GroundGrid, look: Look, caption: str, path: Path) -> None:
    """Write `draw_answer` as a PNG; the same answer gives the same bytes. Not atomic."""
    draw_answer(answer, grid, look, caption).save(path, "PNG")


@dataclass(frozen=True)
class _Entry:
    """A line of the column beside the image; with a swatch where `colour` is given, a bar where `share` is."""

    text: str
    size: int
    bold: bool = False
    ink: Colour = _INK
    code: bool = False
    colour: Colour | None = None
    badge: str = ""
    share: float | None = None
    before: int = 0

    @property
    def height(self) -> int:
        return self.before + (10 if self.share is not None else self.size + (5 if self.code else 8))

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float) -> None:
        y += self.before
        if self.share is not None:
            draw.rectangle((x, y, x + SIDE - 1, y + 5), fill=_LINE)
            draw.rectangle((x, y, x + max(round(self.share * (SIDE - 1)), 1), y + 5), fill=_PALE)
            return
        indent = 0
        if self.badge and self.colour is not None:
            middle = (x + 11, y + self.size * 0.6)
            radius = 4 + 0.5 * draw.textlength(self.badge, font(12, bold=True))
            radius = max(radius, 9)
            draw.ellipse(
                (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius),
                fill=self.colour,
                outline=_INK,
            )
            draw.text(middle, self.badge, _INK, font(12, bold=True), anchor="mm")
            indent = 30
        elif self.colour is not None:
            draw.rectangle((x, y + 1, x + 21, y + self.size + 2), fill=self.colour, outline=_INK)
            indent = 30
        draw.text((x + indent, y), self.text, self.ink, font(self.size, bold=self.bold, code=self.code))


def _column(answer: Answer, grid: GroundGrid, layers: Sequence[Layer]) -> list[_Entry]:
    size = next((size for size in (_ANSWER, 26, 20) if font(size, bold=True).getlength(answer.answer) <= SIDE), 18)
    entries = [_Entry(line, size, bold=True) for line in _wrapped(answer.answer, font(size, bold=True), SIDE)[:6]]
    word = confidence_word(answer.confidence)
    entries.append(_Entry(f"confidence {answer.confidence:.2f}, {word}", _TEXT, ink=_PALE, before=4))
    entries.append(_Entry("", 0, share=answer.confidence, before=4))
    for layer in layers:
        entries += _legend(layer, grid)
    if not layers and answer.evidence:
        for name, share in sorted(answer.evidence[-1].figures.items(), key=lambda each: -each[1])[:_MOST_LISTED]:
            entries.append(_Entry(fitted(f"{name} {share:.2f}", font(_TEXT), SIDE), _TEXT, before=12))
            entries.append(_Entry("", 0, share=min(max(share, 0.0), 1.0)))
    for number, note in enumerate(answer.notes):
        for line_number, line in enumerate(_wrapped(note, font(_SMALL), SIDE)):
            entries.append(_Entry(line, _SMALL, ink=_PALE, before=14 if not (number or line_number) else 0))
    entries.append(_Entry(f"Program (writer: {answer.writer})", _SMALL, bold=True, before=18))
    code = font(_CODE, code=True)
    lines = [part for line in to_python(answer.program).splitlines() for part in _wrapped(line, code, SIDE)]
    entries += [_Entry(line, _CODE, code=True) for line in lines[:24]]
    if len(lines) > 24:
        entries.append(_Entry(f"and {len(lines) - 24} more lines", _SMALL, ink=_PALE))
    return entries


def _legend(layer: Layer, grid: GroundGrid) -> list[_Entry]:
    """What a layer shows, and its objects by number, each with its size."""
    if layer.things is None:
        told = f"{layer.concept}: {quantity(grid.area(layer.mask), grid.area_unit)}"
        return [_Entry(fitted(told, font(_TEXT), SIDE - 30), _TEXT, colour=layer.colour, before=14)]
    number = len(layer.things)
    told = f"{layer.concept}: {number if number else 'none'}"
    entries = [_Entry(fitted(told, font(_TEXT), SIDE - 30), _TEXT, colour=layer.colour, before=14)]
    for place, thing in enumerate(layer.things[:_MOST_LISTED], start=1):
        text = f"{quantity(thing.area, grid.area_unit)}, likeness {thing.likeness:.2f}"
        entries.append(_Entry(text, 15, colour=layer.colour, badge=str(place)))
    if number > _MOST_LISTED:
        beyond = f"; {number - MOST_NUMBERED} of them without a number" if number > MOST_NUMBERED else ""
        entries.append(_Entry(f"and {number - _MOST_LISTED} more{beyond}", 15, ink=_PALE))
    return entries


def _panel(grid: GroundGrid) -> tuple[int, int]:
    """Width and height of the image on the sheet: the ground's shape, not the grid's."""
    wide, tall = grid.width * grid.pixel[0], grid.height * grid.pixel[1]
    scale = PANEL / max(wide, tall)
    return max(round(wide * scale), 1), max(round(tall * scale), 1)


def _scale_bar(draw: ImageDraw.ImageDraw, corner: tuple[float, float], grid: GroundGrid, wide: int) -> int:
    """A bar of a round length, about a fifth of the image wide, ending at a right upper corner; returns its width."""
    scale = wide / (grid.width * grid.pixel[0])
    wanted = wide / 5 / scale
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in _NICE if step * power <= wanted * 1.0001)
    text = quantity(length, grid.length_unit) + (" (EPSG:3857)" if grid.units == "epsg3857" else "")
    bold, long = font(_SMALL, bold=True), round(float(length * scale))
    room = max(long, round(bold.getlength(text)))
    left, top = corner[0] - room, corner[1]
    draw.text((left, top), text, _INK, bold)
    draw.rectangle((left, top + 21, left + long, top + 25), fill=_INK)
    return room


def _north(draw: ImageDraw.ImageDraw, corner: tuple[float, float], grid: GroundGrid, size: tuple[int, int]) -> int:
    """An arrow towards true north, ending at a right upper corner; returns its width, 0 if north is unknown."""
    if grid.north is None:
        return 0
    down, across = grid.north[0] * size[1] / grid.height, grid.north[1] * size[0] / grid.width
    towards = np.array([across, down]) / np.hypot(across, down)
    aside = np.array([-towards[1], towards[0]])
    centre = np.array([corner[0] - 18.0, corner[1] + 18.0])
    tip, tail = centre + 18 * towards, centre - 1 * towards
    left, right = centre - 6 * towards + 8 * aside, centre - 6 * towards - 8 * aside
    draw.polygon([tuple(point) for point in (tip, left, tail, right)], fill=_INK)
    draw.text(tuple(centre - 13 * towards), "N", _INK, font(12, bold=True), anchor="mm")
    return 52


def _wrapped(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Lines that fit, broken at spaces, or anywhere in a word that is too long; spaces at the start stay."""
    lines, indent = [], text[: len(text) - len(text.lstrip())]
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else indent + word
        if face.getlength(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
            indent = indent or "    "
        line = (indent if lines else "") + word
        while face.getlength(line) > width:
            fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or face.getlength(line[:n]) <= width)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line else lines
