"""Forest, meadow, orchard and cropland as seen by somebody who stands in them."""

from graft.atlas.light import Canvas, Colour, mix


def tree(c: Canvas, x: float, base: float, height: float, *, round_crown: bool = True, far: float = 0.0) -> None:
    """One tree with its foot at (x, base), `height` pixels tall."""
    width = height * (0.44 if round_crown else 0.26)
    c.draw.line((x, base, x, base - height * 0.5), fill=c.ink((92, 70, 52), far), width=max(1, int(height * 0.08)))
    leaves = c.ink(c.leaves, far, 14)
    if round_crown:
        c.draw.ellipse((x - width, base - height, x + width, base - height * 0.28), fill=leaves)
        light = c.ink(mix(c.leaves, (220, 220, 140), 0.25), far)
        c.draw.ellipse((x - width * 0.6, base - height * 0.94, x + width * 0.3, base - height * 0.6), fill=light)
    else:
        c.draw.polygon(
            [(x - width, base - height * 0.15), (x + width, base - height * 0.15), (x, base - height)], fill=leaves
        )


def specks(c: Canvas, count: int, colours: tuple[Colour, ...], *, length: float = 0.0) -> None:
    """Scatter short upright strokes or dots over the ground, smaller with distance."""
    for _ in range(count):
        row = c.horizon + (c.size - c.horizon) * c.rng.random() ** 0.7
        near = 1 - c.depth(row)
        x = c.rng.uniform(0, c.size)
        tall = max(1.0, near * (length or 2.0))
        colour = c.ink(c.rng.choice(colours), 0.5 * (1 - near), 14)
        c.draw.line((x, row, x + c.rng.uniform(-1, 1), row - tall), fill=colour, width=1 + (near > 0.6))


def forest(c: Canvas) -> None:
    """Trunks all around under a canopy that hides most of the sky."""
    rng = c.rng
    floor = mix(c.grass, (84, 66, 44), 0.6) if c.season != "winter" else c.grass
    c.ground(floor, mix(c.leaves, (30, 40, 30), 0.5))
    c.draw.rectangle((0, 0, c.size, c.horizon + 2), fill=c.ink(mix(c.leaves, (24, 40, 24), 0.45), 0.15))
    for _ in range(rng.randint(36, 48)):
        x, y, r = rng.uniform(0, c.size), rng.uniform(-4, c.horizon * 0.95), rng.uniform(4, 11)
        c.draw.ellipse(
            (x - r, y - r * 0.8, x + r, y + r * 0.8),
            fill=c.ink(mix(c.leaves, (20, 30, 20), rng.random() * 0.5), 0.1, 18),
        )
    for i in range(rng.randint(12, 18)):
        near = (i / 18) ** 1.5
        x, wide = rng.uniform(0, c.size), 1.2 + near * rng.uniform(4, 7)
        foot = c.horizon + 3 + near * (c.size - c.horizon) * 0.8
        bark = c.ink(mix((84, 64, 48), (150, 140, 126), rng.random() * 0.5), 0.4 * (1 - near), 10)
        c.draw.rectangle((x - wide / 2, 0 if near > 0.3 else c.horizon * 0.3, x + wide / 2, foot), fill=bark)


def meadow(c: Canvas) -> None:
    """Open grass to the horizon with flowers, sometimes a lone tree or a fence."""
    c.ground(c.grass, mix(c.grass, (170, 170, 110), 0.3))
    blades = (mix(c.grass, (30, 70, 20), 0.45), mix(c.grass, (235, 235, 150), 0.35))
    specks(c, 170, blades, length=5)
    if c.season != "winter":
        specks(c, c.rng.randint(40, 90), ((244, 220, 70), (244, 244, 244), (206, 80, 150), (214, 60, 50)))
    if c.rng.random() < 0.3:
        tree(c, c.rng.uniform(8, c.size - 8), c.horizon + 5, c.rng.uniform(12, 20), far=0.2)
    if c.rng.random() < 0.3:
        row = c.horizon + 8
        for x in range(0, c.size, 9):
            c.draw.line((x, row, x, row - 6), fill=c.ink((120, 96, 70)))
        c.draw.line((0, row - 4, c.size, row - 4), fill=c.ink((120, 96, 70)))


def orchard(c: Canvas) -> None:
    """Rows of small round trees that run to the vanishing point over mown grass."""
    c.ground(c.grass)
    spacing = c.size * c.rng.uniform(0.62, 0.8)
    shift = c.rng.uniform(0.2, 0.8)
    for step in range(7, 0, -1):
        t = 1.25 / (1 + 0.55 * (step - 1) + c.rng.uniform(0, 0.02))
        base = c.horizon + (c.size - c.horizon) * min(t, 1.2) * 0.82
        for side in range(-3, 4):
            x = c.vanish + (side + shift - 0.5) * spacing * t
            tree(c, x, base, c.size * 0.44 * t, far=0.45 * (step / 7))
            if c.season == "autumn" or (c.season == "summer" and step < 4):
                for _ in range(3):
                    u, v = x + c.rng.uniform(-6, 6) * t, base - c.size * c.rng.uniform(0.18, 0.36) * t
                    c.draw.ellipse((u - t, v - t, u + t, v + t), fill=c.ink((206, 50, 40), 0.2))


def cropland(c: Canvas) -> None:
    """Furrows or rows of a crop that run to the vanishing point."""
    ridge = c.rng.choice((c.soil, c.soil, mix(c.grass, (60, 110, 40), 0.4), (206, 176, 92)))
    furrow = mix(ridge, (52, 38, 26), 0.5)
    c.ground(ridge)
    pitch = c.size * c.rng.uniform(0.13, 0.2)
    dark = c.ink(furrow, 0.05)
    for i in range(-40, 41):
        left = c.vanish + i * pitch
        c.lane(left, left + pitch * 0.45, dark, end=0.04)
    if c.rng.random() < 0.2:
        x, row = c.rng.uniform(10, c.size - 20), c.horizon + 6
        c.draw.rectangle((x, row - 6, x + 8, row), fill=c.ink((180, 50, 36)))
        c.draw.ellipse((x + 5, row - 4, x + 11, row + 2), fill=c.ink((34, 34, 34)))
