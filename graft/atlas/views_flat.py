"""Pictures that show no place although people geotag them: screens and pages, scans of old prints, close-ups."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from graft.atlas import views_built, views_green, views_water
from graft.atlas.light import Canvas, Colour, mix
from graft.atlas.views_other import people

_PAPER: tuple[Colour, ...] = ((250, 250, 248), (244, 240, 228), (236, 240, 246), (26, 28, 34))
_ACCENT: tuple[Colour, ...] = ((40, 110, 220), (20, 150, 110), (210, 60, 70), (120, 70, 190), (60, 66, 76))
_PETAL: tuple[Colour, ...] = (
    (236, 220, 70),
    (224, 70, 90),
    (244, 240, 246),
    (150, 90, 200),
    (244, 150, 60),
    (230, 130, 190),
)
_SHELL: tuple[Colour, ...] = ((190, 40, 34), (40, 60, 40), (60, 44, 36), (30, 60, 120), (210, 150, 40))
_PRINTED: tuple[Callable[[Canvas], None], ...] = (
    people,
    views_built.residential,
    views_water.river,
    views_green.forest,
    views_water.lake,
)


def screen(c: Canvas) -> None:
    """A screenshot or a page of text: a bar, lines of words, a picture box or buttons."""
    rng, s = c.rng, c.size
    paper = rng.choice(_PAPER)
    word: Colour = (228, 230, 234) if sum(paper) < 300 else (44, 46, 52)
    c.draw.rectangle((0, 0, s, s), fill=_flat(paper))
    top = 4.0
    if rng.random() < 0.75:
        accent = rng.choice(_ACCENT)
        top = rng.uniform(9, 14)
        c.draw.rectangle((0, 0, s, top), fill=_flat(accent))
        for k in range(3):
            c.draw.ellipse(
                (5 + 8 * k, top / 2 - 2, 9 + 8 * k, top / 2 + 2), fill=_flat(mix(accent, (255, 255, 255), 0.7))
            )
        top += 5
    pitch, left, right = rng.uniform(4.5, 7), rng.uniform(6, 12), s - rng.uniform(6, 12)
    picture = rng.random() < 0.4
    while top < s - 4:
        if picture and top > s * 0.3:
            c.draw.rectangle((left, top, right, top + 20), fill=_flat(mix(paper, rng.choice(_ACCENT), 0.35)))
            top, picture = top + 24, False
        x, end = left, right if rng.random() < 0.8 else left + (right - left) * rng.uniform(0.3, 0.7)
        while x < end - 3:
            wide = min(rng.uniform(3, 13), end - x)
            c.draw.rectangle((x, top, x + wide, top + pitch * 0.38), fill=_flat(mix(word, paper, rng.uniform(0, 0.3))))
            x += wide + 2.5
        top += pitch * (1.9 if rng.random() < 0.15 else 1)


def _flat(colour: Colour) -> tuple[int, int, int]:
    """A colour that no daylight falls on."""
    return int(colour[0]), int(colour[1]), int(colour[2])


def scan(c: Canvas) -> None:
    """An old print laid on a scanner: grey or sepia, faded, scratched, with a pale border."""
    rng, s = c.rng, c.size
    rng.choice(_PRINTED)(c)
    grey = np.asarray(c.image.convert("L"), np.float32) / 255
    ink, paper = rng.choice((((20, 20, 22), (226, 226, 224)), ((58, 38, 22), (234, 212, 172))))
    faded = np.clip((grey - 0.5) * rng.uniform(0.7, 1.0) + rng.uniform(0.45, 0.6), 0, 1)[..., None]
    tone = np.array(ink, np.float32) * (1 - faded) + np.array(paper, np.float32) * faded
    margin = rng.randint(9, 15)
    base = rng.randint(margin, margin + 8)
    inner = Image.fromarray(tone.astype(np.uint8)).resize((s - 2 * margin, s - margin - base))
    border = mix(paper, (255, 255, 255), rng.uniform(0.3, 0.8))
    c.draw.rectangle((0, 0, s, s), fill=_flat(border))
    c.image.paste(inner, (margin, margin))
    for _ in range(rng.randint(2, 6)):
        x, y = rng.uniform(0, s), rng.uniform(0, s)
        c.draw.line((x, y, x + rng.uniform(-9, 9), y + rng.uniform(8, 40)), fill=_flat(mix(border, paper, 0.4)))
    if rng.random() < 0.5:
        x = rng.uniform(0.3, 0.7) * s
        c.draw.line((0, x, s, x + rng.uniform(-6, 6)), fill=_flat(mix(ink, paper, 0.6)))


def close_up(c: Canvas) -> None:
    """One thing that fills the frame before a blur: a flower, a beetle on a leaf, or a key."""
    rng, s = c.rng, c.size
    back = rng.choice(((70, 110, 52), (44, 70, 44), (120, 128, 78), (150, 132, 104), (60, 60, 70)))
    c.fade(c.ink(mix(back, (235, 235, 220), 0.25)), c.ink(mix(back, (20, 26, 20), 0.35)), 0, s)
    for _ in range(rng.randint(4, 8)):
        x, y, r = rng.uniform(0, s), rng.uniform(0, s), rng.uniform(9, 22)
        c.draw.ellipse((x - r, y - r, x + r, y + r), fill=c.ink(mix(back, rng.choice(_PETAL), 0.15)))
    x, y, r = s * rng.uniform(0.42, 0.58), s * rng.uniform(0.42, 0.58), s * rng.uniform(0.36, 0.46)
    rng.choice((_flower, _flower, _beetle, _key))(c, x, y, r)


def _flower(c: Canvas, x: float, y: float, r: float) -> None:
    rng, petal = c.rng, c.rng.choice(_PETAL)
    count, turn = rng.randint(5, 13), rng.uniform(0, 6.3)
    c.draw.line((x, y, x + rng.uniform(-14, 14), c.size + 4), fill=c.ink((70, 120, 50)), width=5)
    half = r * min(0.34, 1.7 / count)
    for k in range(count):
        angle = turn + 2 * math.pi * k / count
        u, v = math.cos(angle), math.sin(angle)
        outline = [
            (x + r * t * u - side * v, y + r * t * v + side * u)
            for t, side in ((0.1, 0), (0.5, half), (0.85, half * 0.9), (1.0, 0), (0.85, -half * 0.9), (0.5, -half))
        ]
        c.draw.polygon(outline, fill=c.ink(petal, 0, 14), outline=c.ink(mix(petal, (60, 30, 40), 0.35)))
    q = r * rng.uniform(0.2, 0.32)
    c.draw.ellipse((x - q, y - q, x + q, y + q), fill=c.ink(rng.choice(((210, 160, 40), (90, 58, 30), (240, 210, 80)))))
    for _ in range(14):
        u, v = x + rng.uniform(-0.7, 0.7) * q, y + rng.uniform(-0.7, 0.7) * q
        c.draw.point((u, v), fill=c.ink((80, 50, 20)))


def _beetle(c: Canvas, x: float, y: float, r: float) -> None:
    rng, shell = c.rng, c.rng.choice(_SHELL)
    leaf = c.ink((96, 150, 62))
    c.draw.polygon([(-6, y + r * 0.9), (x, y - r * 1.3), (c.size + 6, y), (x + r * 0.2, y + r * 1.4)], fill=leaf)
    c.draw.line((0, y + r * 0.9, c.size, y - r * 0.2), fill=c.ink((140, 180, 96)), width=2)
    black = c.ink((24, 22, 24), 0, 4)
    for leg in (-0.35, 0.05, 0.45):
        for side in (-1, 1):
            knee = (x + side * r * 0.75, y + r * (leg - 0.12))
            c.draw.line((x, y + r * leg, *knee), fill=black, width=3)
            c.draw.line((*knee, x + side * r * 0.95, y + r * (leg + 0.18)), fill=black, width=2)
    for side in (-1, 1):
        c.draw.line((x, y - r * 0.7, x + side * r * 0.45, y - r * 1.1), fill=black, width=2)
    c.draw.ellipse((x - r * 0.3, y - r * 0.95, x + r * 0.3, y - r * 0.4), fill=black)
    c.draw.ellipse((x - r * 0.52, y - r * 0.6, x + r * 0.52, y + r * 0.85), fill=c.ink(shell))
    c.draw.line((x, y - r * 0.6, x, y + r * 0.85), fill=black, width=2)
    for _ in range(rng.randint(0, 4)):
        v, q = y + r * rng.uniform(-0.35, 0.6), r * rng.uniform(0.07, 0.11)
        for side in (-1, 1):
            u = x + side * r * 0.25
            c.draw.ellipse((u - q, v - q, u + q, v + q), fill=black)


def _key(c: Canvas, x: float, y: float, r: float) -> None:
    metal = c.rng.choice(((200, 170, 90), (186, 190, 196), (150, 110, 76)))
    side = c.rng.choice((-1, 1))
    head = x - side * r * 0.6
    for reach, colour in ((0.46, metal), (0.24, mix(metal, (30, 30, 30), 0.7))):
        c.draw.ellipse((head - r * reach, y - r * reach, head + r * reach, y + r * reach), fill=c.ink(colour))
    end = x + side * r
    first, last = sorted((head + side * r * 0.4, end))
    c.draw.rectangle((first, y - r * 0.1, last, y + r * 0.1), fill=c.ink(metal))
    for tooth in (0.95, 0.75, 0.55):
        u = x + side * r * tooth
        c.draw.rectangle((u - 3, y, u + 2, y + r * c.rng.uniform(0.2, 0.36)), fill=c.ink(metal))
