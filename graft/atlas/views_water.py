"""River, lake, wetland and beach as seen by somebody who stands beside them."""

import math

from graft.atlas.light import Canvas, Colour, mix
from graft.atlas.views_green import specks, tree

_SAND: Colour = (222, 202, 156)


def ripples(c: Canvas, first: float, last: float, count: int, colour: Colour, strength: float) -> None:
    """Thin horizontal strokes on water between two rows, longer towards the viewer."""
    for _ in range(count):
        row = c.rng.uniform(first, last)
        near = (row - first) / max(last - first, 1)
        x, wide = c.rng.uniform(-10, c.size), 3 + 14 * near * c.rng.random()
        c.draw.line((x, row, x + wide, row), fill=c.ink(mix(c.water, colour, strength)))


def reeds(c: Canvas, x: float, base: float, height: float, far: float = 0.0) -> None:
    """A tuft of reed with its foot at (x, base)."""
    stem: Colour = (158, 140, 84) if c.season in ("autumn", "winter") else (112, 134, 66)
    for _ in range(7):
        u = x + c.rng.uniform(-0.28, 0.28) * height
        tip = (u + c.rng.uniform(-0.12, 0.12) * height, base - height * c.rng.uniform(0.6, 1))
        c.draw.line((u, base, *tip), fill=c.ink(stem, far, 16), width=1 + (height > 24))
        if height > 14:
            c.draw.line((*tip, tip[0], tip[1] + height * 0.18), fill=c.ink((86, 58, 38), far), width=2)


def river(c: Canvas) -> None:
    """Water that winds from the viewer to the vanishing point between two banks."""
    rng = c.rng
    c.ground(c.grass)
    specks(c, 50, (mix(c.grass, (30, 70, 20), 0.4),), length=4)
    phase, swing, wide = rng.uniform(0, 6.3), rng.uniform(0.5, 0.9) * c.size, rng.uniform(0.34, 0.5) * c.size
    left, right = [], []
    for i in range(25):
        t = (i / 24) ** 1.6
        row = c.horizon + 1 + (c.size - c.horizon) * t * 1.05
        middle = c.vanish + swing * t**0.8 * math.sin(phase + 5.5 * (1 - t) ** 1.2) * 0.6
        left.append((middle - wide * (t + 0.02), row))
        right.append((middle + wide * (t + 0.02), row))
    rim = 1.25
    bank = [
        ((x - m) * rim + m, y)
        for (x, y), m in zip(left, [(a[0] + b[0]) / 2 for a, b in zip(left, right, strict=True)], strict=True)
    ]
    other = [
        ((x - m) * rim + m, y)
        for (x, y), m in zip(right, [(a[0] + b[0]) / 2 for a, b in zip(left, right, strict=True)], strict=True)
    ]
    c.draw.polygon([*bank, *reversed(other)], fill=c.ink(mix(c.soil, (96, 78, 56), 0.6)))
    c.draw.polygon([*left, *reversed(right)], fill=c.ink(c.water))
    for share in (0.25, 0.5, 0.75):
        flow = [(a[0] + (b[0] - a[0]) * share, a[1]) for a, b in zip(left, right, strict=True)]
        c.draw.line(flow[rng.randint(0, 6) : rng.randint(14, 24)], fill=c.ink(mix(c.water, (236, 242, 246), 0.45)))
    for _ in range(rng.randint(2, 6)):
        i = rng.randint(3, 16)
        (x, row), away = rng.choice((left, right))[i], rng.uniform(2, 10)
        tree(c, x + (-away if x < c.vanish else away), row, 5 + 18 * (i / 24), far=0.4 * (1 - i / 24))


def lake(c: Canvas) -> None:
    """A calm sheet of water that mirrors a far shore."""
    rng = c.rng
    c.fade(c.ink(mix(c.water, c.haze, 0.55)), c.ink(mix(c.water, (20, 50, 74), 0.35)), int(c.horizon), c.size)
    shore = mix(c.leaves, (40, 56, 48), 0.35)
    x = -6.0
    while x < c.size:
        wide, tall = rng.uniform(6, 16), rng.uniform(4, 11)
        box = (x, c.horizon - tall, x + wide, c.horizon + tall)
        c.draw.pieslice(box, 180, 360, fill=c.ink(shore, 0.35, 12))
        c.draw.pieslice(
            (box[0], box[1], box[2], c.horizon + tall * 1.1), 0, 180, fill=c.ink(mix(shore, c.water, 0.55), 0.3, 6)
        )
        x += wide * 0.7
    c.draw.line((0, c.horizon, c.size, c.horizon), fill=c.ink(mix(c.grass, (210, 196, 150), 0.4), 0.25))
    ripples(c, c.horizon + 12, c.size, 26, (226, 236, 244), 0.3)
    if rng.random() < 0.5:
        x, row = rng.uniform(16, c.size - 24), c.horizon + rng.uniform(8, 30)
        size = 4 + (row - c.horizon) * 0.28
        c.draw.polygon(
            [(x - size, row - size * 0.3), (x + size, row - size * 0.3), (x + size * 0.7, row), (x - size * 0.7, row)],
            fill=c.ink((120, 60, 40)),
        )
        c.draw.polygon(
            [(x, row - size * 0.4), (x, row - size * 2.4), (x + size * 0.9, row - size * 0.5)],
            fill=c.ink((244, 242, 236)),
        )
    if rng.random() < 0.4:
        c.draw.polygon(
            [
                (c.size * 0.4, c.size),
                (c.size * 0.6, c.size),
                (c.size * 0.54, c.size * 0.72),
                (c.size * 0.48, c.size * 0.72),
            ],
            fill=c.ink((126, 98, 70)),
        )


def wetland(c: Canvas) -> None:
    """Shallow pools with tufts of reed everywhere."""
    rng = c.rng
    c.ground(mix(c.grass, (112, 104, 64), 0.55))
    for _ in range(rng.randint(10, 16)):
        row = c.horizon + 2 + (c.size - c.horizon) * rng.random() ** 1.3
        near = 1 - c.depth(row)
        x, wide = rng.uniform(0, c.size), 5 + 26 * near
        c.draw.ellipse(
            (x - wide, row - 1 - wide * 0.2, x + wide, row + 1 + wide * 0.2), fill=c.ink(c.water, 0.3 * (1 - near))
        )
    for row in sorted(c.horizon + 2 + (c.size - c.horizon) * rng.random() ** 1.2 for _ in range(rng.randint(24, 34))):
        near = 1 - c.depth(row)
        reeds(c, rng.uniform(0, c.size), row, 5 + 34 * near, 0.4 * (1 - near))


def beach(c: Canvas) -> None:
    """Sand in front, surf in curved lines, the sea up to the horizon."""
    rng = c.rng
    c.fade(
        c.ink(mix(c.water, (30, 90, 130), 0.4), 0.3), c.ink(mix(c.water, (110, 190, 190), 0.4)), int(c.horizon), c.size
    )
    tilt, shore = rng.uniform(-0.35, 0.35), c.horizon + (c.size - c.horizon) * rng.uniform(0.3, 0.55)

    def line(offset: float, swing: float) -> list[tuple[float, float]]:
        return [
            (x, shore + offset + tilt * (x - c.size / 2) + swing * math.sin(x / 9 + offset))
            for x in range(-2, c.size + 6, 6)
        ]

    ends = [(c.size + 6.0, c.size + 40.0), (-6.0, c.size + 40.0)]
    c.draw.polygon([*line(-3, 1.2), *ends], fill=c.ink((246, 248, 248), 0, 3))
    c.draw.polygon([*line(0, 1.2), *ends], fill=c.ink(mix(_SAND, (120, 100, 78), 0.35)))
    c.draw.polygon([*line(6, 1.0), *ends], fill=c.ink(_SAND))
    for offset in (-8, -14, -21):
        if shore + offset > c.horizon + 3:
            c.draw.line(line(offset, 0.8), fill=c.ink((240, 246, 248), 0.1), width=2 if offset > -15 else 1)
    for _ in range(60):
        x, y = rng.uniform(0, c.size), rng.uniform(shore + 12, c.size)
        if y > shore + 10 + tilt * (x - c.size / 2):
            c.draw.point((x, y), fill=c.ink(mix(_SAND, (120, 96, 70), 0.4), 0, 16))
    for _ in range(rng.choice((0, 1, 2, 3))):
        x = rng.uniform(6, c.size - 6)
        y = max(shore + 14 + tilt * (x - c.size / 2), rng.uniform(shore + 10, c.size - 8))
        r = 5 + (y - c.horizon) * 0.14
        c.draw.line((x, y, x, y - r * 1.4), fill=c.ink((240, 240, 236)))
        c.draw.pieslice(
            (x - r, y - r * 2, x + r, y - r * 0.4),
            180,
            360,
            fill=c.ink(rng.choice(((214, 60, 50), (240, 190, 50), (50, 110, 190)))),
        )
