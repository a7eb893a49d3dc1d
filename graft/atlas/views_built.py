"""Residential area, industrial area, highway and quarry as seen by somebody who stands in them."""

from graft.atlas.light import Canvas, Colour, mix
from graft.atlas.views_green import tree

_ROCK: Colour = (164, 152, 136)
_ASPHALT: Colour = (92, 92, 96)
_WALLS: tuple[Colour, ...] = ((232, 224, 206), (214, 190, 160), (240, 238, 232), (190, 150, 120), (206, 210, 200))
_ROOFS: tuple[Colour, ...] = ((168, 78, 56), (140, 64, 50), (96, 84, 82), (186, 104, 70))
_PAINT: tuple[Colour, ...] = ((190, 40, 36), (40, 70, 140), (240, 240, 240), (30, 32, 36), (200, 180, 60))


def house(c: Canvas, x: float, base: float, width: float, far: float = 0.0) -> None:
    """A house with a pitched roof, a door and windows."""
    wall, roof = c.rng.choice(_WALLS), c.rng.choice(_ROOFS)
    height = width * c.rng.uniform(0.5, 0.75)
    c.draw.rectangle((x, base - height, x + width, base), fill=c.ink(wall, far))
    peak = base - height - width * c.rng.uniform(0.4, 0.6)
    c.draw.polygon(
        [(x - width * 0.1, base - height), (x + width * 1.1, base - height), (x + width * 0.5, peak)],
        fill=c.ink(roof, far),
    )
    dark = c.ink((58, 66, 84), far)
    for column in (0.14, 0.64):
        c.draw.rectangle(
            (x + width * column, base - height * 0.8, x + width * (column + 0.2), base - height * 0.42), fill=dark
        )
    c.draw.rectangle((x + width * 0.42, base - height * 0.5, x + width * 0.57, base), fill=c.ink((98, 62, 42), far))


def residential(c: Canvas) -> None:
    """Houses with pitched roofs and gardens along a street."""
    c.ground(c.grass)
    if c.rng.random() < 0.7:
        c.lane(c.vanish - 22, c.vanish + 26, c.ink(_ASPHALT))
    for row, width, far in ((0.06, 13, 0.35), (0.22, 21, 0.18), (0.48, 33, 0.0)):
        base = c.horizon + (c.size - c.horizon) * row
        x = c.rng.uniform(-width, 0.0)
        while x < c.size:
            if far > 0.3 or abs(x + width / 2 - c.vanish) > width * 0.7:
                house(c, x, base, width * c.rng.uniform(0.85, 1.1), far)
                if c.rng.random() < 0.35:
                    tree(c, x + width * 1.2, base + 1, width * 0.9, far=far)
            x += width * c.rng.uniform(1.25, 1.6)
    if c.rng.random() < 0.4:
        for x in range(0, c.size, 5):
            c.draw.rectangle((x, c.size * 0.86, x + 2, c.size * 0.98), fill=c.ink((236, 232, 224)))


def industrial(c: Canvas) -> None:
    """Flat halls, chimneys with smoke and round tanks behind a paved yard."""
    rng = c.rng
    c.ground(mix(_ASPHALT, (160, 158, 150), 0.45))
    for _ in range(rng.randint(1, 3)):
        x, top, wide = rng.uniform(6, c.size - 10), rng.uniform(2, c.horizon * 0.5), rng.uniform(3, 5)
        for puff in range(4):
            r = 2.5 + puff * 1.7
            c.draw.ellipse(
                (x + puff * 4 - r, top - puff * 3 - r, x + puff * 4 + r, top - puff * 3 + r),
                fill=c.ink((216, 214, 212), 0.2),
            )
        c.draw.rectangle((x, top, x + wide, c.horizon + 4), fill=c.ink((176, 120, 104), 0.1))
        for band in range(3):
            c.draw.rectangle((x, top + 2 + band * 6, x + wide, top + 4 + band * 6), fill=c.ink((232, 228, 224)))
    x = rng.uniform(-16, 0)
    while x < c.size:
        wide, tall = rng.uniform(24, 46), rng.uniform(12, 22)
        base = c.horizon + rng.uniform(6, 12)
        wall: Colour = rng.choice(((178, 182, 186), (150, 166, 182), (204, 198, 186), (128, 134, 140)))
        c.draw.rectangle((x, base - tall, x + wide, base), fill=c.ink(wall))
        c.draw.rectangle((x, base - tall, x + wide, base - tall + 2), fill=c.ink(mix(wall, (40, 40, 44), 0.5)))
        for u in range(int(x) + 2, int(x + wide) - 3, 5):
            c.draw.rectangle((u, base - tall * 0.72, u + 2, base - tall * 0.5), fill=c.ink((60, 74, 92)))
        c.draw.rectangle((x + wide * 0.4, base - tall * 0.36, x + wide * 0.6, base), fill=c.ink((70, 72, 78)))
        x += wide + rng.uniform(1, 8)
    for _ in range(rng.randint(0, 3)):
        x, base, r = rng.uniform(0, c.size), c.horizon + rng.uniform(16, 34), rng.uniform(7, 11)
        c.draw.rectangle((x - r, base - r * 1.7, x + r, base), fill=c.ink((222, 222, 220)))
        c.draw.ellipse((x - r, base - r * 2, x + r, base - r * 1.4), fill=c.ink((240, 240, 238)))
        c.draw.ellipse((x - r, base - r * 0.3, x + r, base + r * 0.3), fill=c.ink((206, 206, 204)))


def highway(c: Canvas) -> None:
    """A broad road with lane markings, guard rails and cars, running to the vanishing point."""
    rng = c.rng
    c.ground(c.grass)
    wide = c.size * rng.uniform(0.75, 1.0)
    left, right = c.vanish - wide * rng.uniform(0.4, 0.9), c.vanish + wide * rng.uniform(0.4, 0.9)
    c.lane(left, right, c.ink(_ASPHALT), start=1.15)
    white = c.ink((244, 244, 240), 0.05)
    c.lane(left + 4, left + 8, white, start=1.15)
    c.lane(right - 8, right - 4, white, start=1.15)
    lanes = rng.randint(2, 4)
    for i in range(1, lanes):
        middle = left + (right - left) * i / lanes
        t = rng.uniform(1.0, 1.3)
        while t > 0.06:
            c.lane(middle - 2.5, middle + 2.5, white, start=t, end=t * 0.72)
            t *= 0.52
    rail = c.ink((176, 180, 184), 0.1)
    for column in (left - 8, right + 8):
        foot = c.vanish + (column - c.vanish), c.size * 1.0
        c.draw.polygon([(c.vanish, c.horizon), (foot[0], foot[1] - 14), (foot[0], foot[1] - 9)], fill=rail)
    for t in sorted(rng.uniform(0.12, 0.75) for _ in range(rng.randint(2, 5))):
        lane = rng.randrange(lanes) + 0.5
        x = c.vanish + (left + (right - left) * lane / lanes - c.vanish) * t
        base, half = c.horizon + (c.size - c.horizon) * t, 15 * t
        body = c.ink(rng.choice(_PAINT), 0.3 * (1 - t))
        c.draw.rectangle((x - half, base - half * 0.95, x + half, base - half * 0.15), fill=body)
        c.draw.rectangle(
            (x - half * 0.75, base - half * 1.6, x + half * 0.75, base - half * 0.9), fill=c.ink((60, 70, 84), 0.1)
        )
        for wheel in (-0.75, 0.75):
            c.draw.rectangle(
                (x + half * (wheel - 0.2), base - half * 0.3, x + half * (wheel + 0.2), base), fill=(24, 24, 26)
            )
    if rng.random() < 0.35:
        top, x = c.horizon - 22, c.vanish
        c.draw.rectangle((x - 30, top, x + 30, top + 2), fill=rail)
        c.draw.rectangle((x - 18, top - 4, x + 10, top + 7), fill=c.ink((30, 80, 160)))
        c.draw.line((x - 30, top, x - 30, c.horizon + 4), fill=rail, width=2)
        c.draw.line((x + 30, top, x + 30, c.horizon + 4), fill=rail, width=2)


def quarry(c: Canvas) -> None:
    """A pit of rock cut into steps, with rubble and sometimes a digger."""
    rng = c.rng
    c.ground(mix(_ROCK, (120, 110, 100), 0.3), _ROCK)
    steps = rng.randint(4, 6)
    top, foot = c.horizon * rng.uniform(0.15, 0.4), c.horizon + (c.size - c.horizon) * rng.uniform(0.2, 0.4)
    dip, tilt = rng.uniform(0.15, 0.4) * c.size, rng.uniform(-0.12, 0.12)
    middle = rng.uniform(0.3, 0.7) * c.size
    columns = [c.size * i / 12 for i in range(13)]
    for k in range(steps):
        row = top + (foot - top) * k / steps
        edge = [
            (
                x,
                row
                + dip * (1 - abs(x - middle) / c.size * 1.6) * (1 - k / steps) * 0.5
                + tilt * x
                + rng.uniform(-1.2, 1.2),
            )
            for x in columns
        ]
        height = (foot - top) / steps
        face = mix(_ROCK, (74, 64, 56), 0.25 + 0.3 * rng.random())
        ledge = mix(_ROCK, (238, 230, 214), 0.45)
        c.draw.polygon([*edge, (c.size, foot + 8), (0, foot + 8)], fill=c.ink(face, 0.15))
        c.draw.polygon([*edge, *[(x, y + height * 0.32) for x, y in reversed(edge)]], fill=c.ink(ledge, 0.1))
    for _ in range(rng.randint(14, 26)):
        t = rng.random()
        x, y, r = rng.uniform(0, c.size), foot + (c.size - foot) * t, 1.2 + 4 * t * rng.random()
        c.draw.polygon(
            [(x - r, y), (x - r * 0.3, y - r), (x + r, y - r * 0.2), (x + r * 0.4, y + r * 0.4)],
            fill=c.ink(mix(_ROCK, (60, 54, 50), rng.random() * 0.6), 0, 14),
        )
    if rng.random() < 0.4:
        x, y = rng.uniform(14, c.size - 26), foot + rng.uniform(2, 10)
        yellow = c.ink((226, 176, 40))
        c.draw.rectangle((x, y - 9, x + 12, y - 3), fill=yellow)
        c.draw.line((x + 11, y - 8, x + 18, y - 15, x + 22, y - 5), fill=yellow, width=2)
        c.draw.rectangle((x - 1, y - 3, x + 13, y), fill=c.ink((36, 36, 38)))
