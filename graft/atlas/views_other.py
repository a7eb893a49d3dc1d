"""Photos that say nothing about the land: rooms, food, people, pets."""

from graft.atlas.light import Canvas, Colour, mix

_WALL: tuple[Colour, ...] = ((226, 214, 192), (196, 206, 210), (222, 196, 184), (206, 212, 190), (240, 236, 228))
_SKIN: tuple[Colour, ...] = ((240, 204, 176), (206, 158, 122), (150, 104, 74), (98, 66, 48))
_CLOTH: tuple[Colour, ...] = (
    (176, 40, 48),
    (40, 70, 130),
    (60, 120, 80),
    (230, 200, 80),
    (60, 60, 66),
    (236, 236, 232),
)


def _fill(c: Canvas, colour: Colour) -> None:
    c.draw.rectangle((0, 0, c.size, c.size), fill=c.ink(colour))


def indoor(c: Canvas) -> None:
    """A room: walls meeting in a corner, floor, a window or picture, table and lamp."""
    rng, s = c.rng, c.size
    wall = rng.choice(_WALL)
    _fill(c, wall)
    corner, floor = rng.uniform(0.25, 0.75) * s, rng.uniform(0.62, 0.75) * s
    side = mix(wall, (60, 56, 50), 0.22)
    c.draw.polygon([(0, 0), (corner, s * 0.1), (corner, floor), (0, s * 0.95)], fill=c.ink(side))
    c.draw.polygon([(0, s * 0.95), (corner, floor), (s, s * 0.88), (s, s), (0, s)], fill=c.ink((142, 98, 62)))
    c.draw.line((corner, s * 0.1, corner, floor), fill=c.ink(mix(wall, (40, 40, 40), 0.4)))
    x = min(corner + 6, s * 0.6)
    c.draw.rectangle((x, s * 0.2, x + s * 0.3, s * 0.45), fill=c.ink((120, 84, 56)))
    c.draw.rectangle(
        (x + 2, s * 0.2 + 2, x + s * 0.3 - 2, s * 0.45 - 2),
        fill=c.ink(rng.choice(((160, 200, 230), (210, 180, 120), (90, 120, 110)))),
    )
    t = rng.uniform(0.1, 0.5) * s
    wood = c.ink((110, 70, 42))
    c.draw.rectangle((t, s * 0.66, t + s * 0.42, s * 0.71), fill=wood)
    for leg in (t + 2, t + s * 0.42 - 4):
        c.draw.rectangle((leg, s * 0.7, leg + 2, s * 0.93), fill=wood)
    c.draw.line((t + 8, s * 0.66, t + 8, s * 0.5), fill=(40, 40, 40), width=2)
    c.draw.polygon(
        [(t, s * 0.52), (t + 16, s * 0.52), (t + 12, s * 0.4), (t + 4, s * 0.4)], fill=c.ink((250, 226, 150))
    )


def food(c: Canvas) -> None:
    """A plate on a table, seen from above."""
    rng, s = c.rng, c.size
    _fill(c, rng.choice(((140, 96, 60), (70, 60, 56), (200, 190, 176), (160, 40, 44))))
    x, y, r = s * rng.uniform(0.42, 0.58), s * rng.uniform(0.42, 0.58), s * rng.uniform(0.34, 0.44)
    c.draw.ellipse((x - r, y - r, x + r, y + r), fill=c.ink((244, 244, 240)))
    c.draw.ellipse((x - r * 0.75, y - r * 0.75, x + r * 0.75, y + r * 0.75), fill=c.ink((228, 228, 224)))
    for _ in range(rng.randint(4, 9)):
        u, v, q = x + rng.uniform(-0.45, 0.45) * r, y + rng.uniform(-0.45, 0.45) * r, r * rng.uniform(0.12, 0.3)
        c.draw.ellipse(
            (u - q, v - q, u + q, v + q),
            fill=c.ink(rng.choice(((196, 60, 40), (230, 180, 60), (90, 140, 50), (150, 90, 50), (240, 226, 190)))),
        )
    c.draw.rectangle((x + r + 3, y - r * 0.7, x + r + 5, y + r * 0.7), fill=c.ink((190, 194, 198)))


def people(c: Canvas) -> None:
    """Head and shoulders of one or two persons before a plain wall."""
    rng, s = c.rng, c.size
    _fill(c, rng.choice(_WALL))
    for x in (s * 0.5,) if rng.random() < 0.6 else (s * 0.3, s * 0.72):
        r, y = s * rng.uniform(0.15, 0.2), s * rng.uniform(0.36, 0.46)
        skin, hair = rng.choice(_SKIN), rng.choice(((40, 30, 26), (110, 70, 40), (210, 176, 110), (150, 146, 142)))
        c.draw.ellipse((x - r * 2.1, y + r * 1.2, x + r * 2.1, y + r * 6), fill=c.ink(rng.choice(_CLOTH)))
        c.draw.rectangle((x - r * 0.35, y + r * 0.6, x + r * 0.35, y + r * 1.6), fill=c.ink(skin))
        c.draw.ellipse((x - r * 1.1, y - r * 1.5, x + r * 1.1, y + r * 0.9), fill=c.ink(hair))
        c.draw.ellipse((x - r * 0.9, y - r * 1.1, x + r * 0.9, y + r * 1.2), fill=c.ink(skin))
        for eye in (-0.38, 0.38):
            c.draw.ellipse((x + r * (eye - 0.12), y - r * 0.2, x + r * (eye + 0.12), y + r * 0.05), fill=(36, 30, 30))
        c.draw.arc((x - r * 0.4, y + r * 0.2, x + r * 0.4, y + r * 0.75), 10, 170, fill=c.ink((150, 50, 50)), width=2)


def pet(c: Canvas) -> None:
    """A cat or dog that looks at the camera from a carpet."""
    rng, s = c.rng, c.size
    _fill(c, rng.choice(((150, 60, 60), (90, 100, 140), (190, 176, 150), (120, 130, 110))))
    fur = rng.choice(((96, 84, 74), (214, 150, 84), (236, 230, 220), (46, 42, 42), (150, 110, 70)))
    x, y, r = s * rng.uniform(0.42, 0.58), s * rng.uniform(0.4, 0.5), s * rng.uniform(0.2, 0.26)
    c.draw.ellipse((x - r * 1.5, y + r * 0.5, x + r * 1.5, y + r * 4), fill=c.ink(fur))
    for side in (-1, 1):
        ear = [(x + side * r * 0.2, y - r * 0.7), (x + side * r * 1.0, y - r * 1.5), (x + side * r * 0.95, y - r * 0.1)]
        c.draw.polygon(ear, fill=c.ink(mix(fur, (40, 30, 30), 0.2)))
    c.draw.ellipse((x - r, y - r, x + r, y + r), fill=c.ink(fur))
    for eye in (-0.4, 0.4):
        c.draw.ellipse((x + r * (eye - 0.17), y - r * 0.35, x + r * (eye + 0.17), y), fill=c.ink((206, 190, 70)))
        c.draw.ellipse((x + r * (eye - 0.06), y - r * 0.3, x + r * (eye + 0.06), y - r * 0.04), fill=(16, 16, 16))
    c.draw.polygon(
        [(x - r * 0.14, y + r * 0.2), (x + r * 0.14, y + r * 0.2), (x, y + r * 0.4)], fill=c.ink((190, 110, 110))
    )
    for side in (-1, 1):
        for dy in (0.3, 0.45):
            c.draw.line(
                (x + side * r * 0.2, y + r * dy, x + side * r * 1.1, y + r * (dy - 0.1)), fill=c.ink((240, 240, 240))
            )
