"""What an answer rests on as layers over a picture: one a concept, its objects numbered."""

import colorsys
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from graft.palette import Colour
from graft.vqa.values import Evidence, Mask, Objects, Thing

Bools = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]

MOST_NUMBERED = 99
_JOINED = ("union(", "intersection(", "difference(")
_FILL, _CASING = 0.38, (20, 20, 20)
_LEAST_PX = 14
"""Objects whose sides are shorter on the picture get a ring round them: they would not be seen."""

_EXPECTED: tuple[tuple[str, Colour], ...] = (
    ("water|lake|river|sea|ocean|pond|stream|canal|reservoir|harbour|port|bay", (0, 190, 255)),
    ("forest|tree|wood|vegetation|green|park|grass|meadow|shrub|wetland", (70, 255, 70)),
    ("building|house|residential|town|urban|settlement|built|village", (255, 60, 60)),
    ("farm|crop|field|agricultur|orchard|vineyard", (255, 221, 0)),
    ("industr|factory|commercial|quarry|mine", (255, 80, 255)),
    ("road|street|highway|railway|runway|path|bridge|parking|car park", (255, 150, 0)),
)
_OTHERS: tuple[Colour, ...] = (
    (255, 221, 0),
    (255, 80, 255),
    (255, 150, 0),
    (0, 190, 255),
    (255, 60, 60),
    (70, 255, 70),
)


@dataclass(frozen=True, eq=False)
class Layer:
    """One concept of an answer.

    Attributes:
        concept: in words.
        colour: of its outlines and fill.
        mask: bool [H, W] on the vision's grid, all that was segmented.
        things: the objects that the answer is about, the largest first; None where it is about the mask.
        faint: only outlined, because the answer is about a mask made of this one.
    """

    concept: str
    colour: Colour
    mask: Bools
    things: tuple[Thing, ...] | None
    faint: bool = False

    @property
    def chosen(self) -> Bools:
        """Bool [H, W], what the answer is about."""
        if self.things is None:
            return self.mask
        chosen = np.zeros_like(self.mask)
        for thing in self.things:
            top, left, bottom, right = thing.box
            chosen[top:bottom, left:right] |= thing.pixels
        return chosen


def layers_of(evidence: Sequence[Evidence]) -> tuple[Layer, ...]:
    """The last mask or objects of each concept, in the order in which concepts come up; steps without are passed over.

    Objects say more than the mask that they were found in, whichever comes later.
    """
    found: dict[str, Mask | Objects] = {}
    made = {step.shown.concept for step in evidence if isinstance(step.shown, Mask) and step.step.startswith(_JOINED)}
    for step in evidence:
        shown = step.shown
        if shown is not None and not (isinstance(shown, Mask) and isinstance(found.get(shown.concept), Objects)):
            found[shown.concept] = shown
    layers = []
    for (concept, shown), colour in zip(found.items(), colours(tuple(found)), strict=True):
        if isinstance(shown, Objects):
            layers.append(Layer(concept, colour, shown.mask.pixels, shown.things))
        else:
            layers.append(Layer(concept, colour, shown.pixels, None, bool(made) and concept not in made))
    return tuple(layers)


def colours(concepts: Sequence[str]) -> list[Colour]:
    """Bright colours that stand out of satellite images, all different; water is blue, forest green, and so on."""
    chosen: dict[int, Colour] = {}
    for number, concept in enumerate(concepts):
        for words, colour in _EXPECTED:
            if colour not in chosen.values() and re.search(rf"\b({words})", concept):
                chosen[number] = colour
                break
    rest = iter([colour for colour in _OTHERS if colour not in chosen.values()])
    return [chosen.get(number) or next(rest, None) or _further(number) for number in range(len(concepts))]


def draw_layers(picture: Image.Image, layers: Sequence[Layer], number_font: ImageFont.FreeTypeFont) -> Image.Image:
    """The picture with fills and outlines, and a number at each object, the same as in the legend.

    Args:
        picture: RGB, the whole grid of the layers, at any size.
        layers: as `layers_of` gives them.
        number_font: of the numbers.
    """
    pixels = np.asarray(picture, np.float32)
    for layer in (layer for layer in layers if not layer.faint):
        chosen = _resized(layer.chosen, picture.size)
        pixels = np.where(chosen[..., None], (1 - _FILL) * pixels + _FILL * np.array(layer.colour, np.float32), pixels)
    drawn = pixels.round().astype(np.uint8)
    for layer in layers:
        _outline(drawn, _resized(layer.mask, picture.size), layer.colour, thick=False)
        if not layer.faint:
            _outline(drawn, _resized(layer.chosen, picture.size), layer.colour, thick=True)
    made = Image.fromarray(drawn)
    draw = ImageDraw.Draw(made)
    taken: list[tuple[float, float]] = []
    for layer in layers:
        for number, thing in enumerate((layer.things or ())[:MOST_NUMBERED], start=1):
            _mark(draw, thing, number, layer, made.size, number_font, taken)
    return made


def draw_gap(picture: Image.Image, one: Layer, other: Layer) -> None:
    """Draw the shortest line between what two layers are about into their picture; none where they meet."""
    here, there = _resized(one.chosen, picture.size), _resized(other.chosen, picture.size)
    if not (here.any() and there.any()) or (here & there).any():
        return
    away, nearest = ndimage.distance_transform_edt(~there, return_indices=True)
    row, column = np.unravel_index(int(np.where(here, away, np.inf).argmin()), here.shape)
    ends = [(float(column), float(row)), (float(nearest[1, row, column]), float(nearest[0, row, column]))]
    draw = ImageDraw.Draw(picture)
    draw.line(ends, fill=_CASING, width=6)
    draw.line(ends, fill=(255, 255, 255), width=3)
    for end in ends:
        _circle(draw, end, 5, (255, 255, 255), _CASING, 2)


def _mark(
    draw: ImageDraw.ImageDraw,
    thing: Thing,
    number: int,
    layer: Layer,
    size: tuple[int, int],
    font: ImageFont.FreeTypeFont,
    taken: list[tuple[float, float]],
) -> None:
    """The number of one object: inside it where there is room, else beside it."""
    down, across = size[1] / layer.mask.shape[0], size[0] / layer.mask.shape[1]
    row, column = _inside(thing)
    x, y = column * across, row * down
    tall, wide = (thing.box[2] - thing.box[0]) * down, (thing.box[3] - thing.box[1]) * across
    text, radius = str(number), 3 + 0.5 * draw.textlength(str(number), font)
    radius = max(radius, 0.62 * font.size)
    middle = (thing.box[1] * across + wide / 2, thing.box[0] * down + tall / 2)
    if max(tall, wide) < _LEAST_PX:
        ring = 0.5 * math.hypot(tall, wide) + 5
        _circle(draw, middle, ring, None, _CASING, 4)
        _circle(draw, middle, ring, None, layer.colour, 2)
    if min(tall, wide) < 3.2 * radius:
        edge = 0.5 * max(min(tall, wide), _LEAST_PX) + radius
        x, y = x + 0.8 * edge, y - 0.8 * edge
    x = min(max(x, radius + 1), size[0] - radius - 2)
    y = min(max(y, radius + 1), size[1] - radius - 2)
    while any(math.hypot(x - left, y - top) < 1.5 * radius for left, top in taken) and y + radius < size[1] - 2:
        y += 1.5 * radius
    taken.append((x, y))
    _circle(draw, (x, y), radius, layer.colour, _CASING, 1)
    draw.text((x, y), text, _CASING, font, anchor="mm")


def _inside(thing: Thing) -> tuple[float, float]:
    """Row and column of the place in an object that is farthest from its edge: a centroid may lie outside."""
    step = max(1, math.isqrt(thing.pixels.size) // 512)
    deep = ndimage.distance_transform_edt(np.pad(thing.pixels[::step, ::step], 1))
    row, column = np.unravel_index(int(deep.argmax()), deep.shape)
    return thing.box[0] + (float(row) - 0.5) * step, thing.box[1] + (float(column) - 0.5) * step


def _circle(
    draw: ImageDraw.ImageDraw,
    centre: tuple[float, float],
    radius: float,
    fill: Colour | None,
    outline: Colour,
    width: int,
) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=outline, width=width)


def _outline(drawn: Pixels, inside: Bools, colour: Colour, *, thick: bool) -> None:
    """Draw the border of an area in place, on a dark casing where it is thick."""
    edge = inside & ~ndimage.binary_erosion(inside, border_value=1)
    if thick:
        edge = ndimage.binary_dilation(edge)
        drawn[ndimage.binary_dilation(edge) & ~edge] = _CASING
    drawn[edge] = colour


def _resized(area: Bools, size: tuple[int, int]) -> Bools:
    """An area at the picture's size, its steps smoothed; what is thinner than a pixel stays in view."""
    if not area.any():
        return np.zeros((size[1], size[0]), bool)
    smooth = np.asarray(Image.fromarray(area.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR))
    return smooth > 127 if size[0] >= area.shape[1] else smooth > 90


def _further(number: int) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(number * 0.61803398875 % 1, 0.65, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
