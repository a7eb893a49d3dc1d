"""Season, weather and time of day: the colours a photo of any place is painted with."""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]

_GRASS: dict[str, Colour] = {
    "spring": (98, 150, 62),
    "summer": (112, 138, 62),
    "autumn": (146, 130, 72),
    "winter": (216, 220, 224),
}
_LEAVES: dict[str, Colour] = {
    "spring": (92, 150, 66),
    "summer": (48, 98, 46),
    "autumn": (178, 106, 42),
    "winter": (112, 98, 88),
}
_SOIL: dict[str, Colour] = {
    "spring": (128, 96, 66),
    "summer": (196, 164, 84),
    "autumn": (116, 84, 58),
    "winter": (176, 170, 166),
}
# top of the sky, sky at the horizon, gain of the light per channel
_WEATHER: dict[str, tuple[Colour, Colour, Colour]] = {
    "clear": ((84, 140, 214), (190, 216, 240), (1.06, 1.03, 0.98)),
    "overcast": ((156, 162, 170), (200, 204, 208), (0.88, 0.90, 0.92)),
    "sunset": ((92, 90, 140), (244, 170, 108), (1.04, 0.86, 0.72)),
    "dusk": ((42, 52, 92), (136, 124, 150), (0.56, 0.58, 0.72)),
    "fog": ((196, 200, 202), (214, 216, 216), (0.98, 0.99, 1.0)),
}
SEASONS = tuple(_GRASS)
WEATHERS = tuple(_WEATHER)
SEASON_WORDS = {
    "spring": ("in spring",),
    "summer": ("in summer",),
    "autumn": ("in autumn",),
    "winter": ("in winter", "in the snow"),
}
WEATHER_WORDS = {
    "clear": ("on a sunny day", "under a blue sky"),
    "overcast": ("under a grey sky", "on a cloudy day"),
    "sunset": ("at sunset",),
    "dusk": ("at dusk", "in the evening"),
    "fog": ("in the fog",),
}


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with `share` (0..1) of `b` in it."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


@dataclass
class Canvas:
    """A photo being painted.

    Attributes:
        rng: every choice comes from it.
        size: pixels per side.
        image: RGB picture.
        draw: its pen.
        season: key of the seasonal colours.
        weather: key of sky and light.
        horizon: row of the horizon, pixels from the top.
        vanish: column of the vanishing point.
    """

    rng: random.Random
    size: int
    image: Image.Image
    draw: ImageDraw.ImageDraw
    season: str
    weather: str
    horizon: float
    vanish: float

    @property
    def grass(self) -> Colour:
        """Grass of the season."""
        return _GRASS[self.season]

    @property
    def leaves(self) -> Colour:
        """Foliage of the season."""
        return _LEAVES[self.season]

    @property
    def soil(self) -> Colour:
        """Bare or cropped soil of the season."""
        return _SOIL[self.season]

    @property
    def haze(self) -> Colour:
        """Colour of the sky at the horizon, into which distant things fade."""
        return _WEATHER[self.weather][1]

    @property
    def water(self) -> Colour:
        """Water reflecting the sky."""
        return mix((48, 84, 104), mix(*_WEATHER[self.weather][:2], 0.6), 0.45)

    def ink(self, colour: Colour, far: float = 0.0, spread: float = 8.0) -> tuple[int, int, int]:
        """A drawable colour in this light, jittered by `spread` and faded into the haze by `far` (0 near .. 1)."""
        gain = _WEATHER[self.weather][2]
        shift = self.rng.uniform(-spread, spread)
        fog = min(1.0, far * (1.3 if self.weather == "fog" else 0.75))
        r, g, b = (min(255.0, max(0.0, (value + shift) * k)) for value, k in zip(colour, gain, strict=True))
        r, g, b = mix((r, g, b), self.haze, fog)
        return int(r), int(g), int(b)

    def depth(self, row: float) -> float:
        """How far (1 at the horizon, 0 at the lower edge) a ground point on this row is."""
        return min(1.0, max(0.0, 1 - (row - self.horizon) / (self.size - self.horizon)))

    def ground(self, near: Colour, far: Colour | None = None) -> None:
        """Fill everything below the horizon, from `near` at the bottom to `far` at the horizon."""
        end = mix(far or near, self.haze, 0.35 if self.weather != "fog" else 0.7)
        top, bottom = np.array(self.ink(end)), np.array(self.ink(near))
        self.fade(top, bottom, int(self.horizon), self.size)

    def fade(self, top: npt.ArrayLike, bottom: npt.ArrayLike, first: int, last: int) -> None:
        """Paint a vertical gradient over the rows `first` to `last` (not included)."""
        if last <= first:
            return
        share = np.linspace(0, 1, last - first, dtype=np.float32)[:, None]
        column = np.asarray(top, np.float32) * (1 - share) + np.asarray(bottom, np.float32) * share
        strip = Image.fromarray(column.astype(np.uint8)[:, None, :]).resize((self.size, last - first))
        self.image.paste(strip, (0, first))

    def lane(
        self, left: float, right: float, colour: tuple[int, int, int], start: float = 1.0, end: float = 0.0
    ) -> None:
        """Draw a strip of ground that runs to the vanishing point.

        Args:
            left: column where the left edge meets the lower edge of the picture.
            right: the same for the right edge.
            colour: fill.
            start: depth fraction of the near end (1: lower edge).
            end: depth fraction of the far end (0: horizon).
        """

        def at(column: float, t: float) -> tuple[float, float]:
            return self.vanish + (column - self.vanish) * t, self.horizon + (self.size - self.horizon) * t

        self.draw.polygon([at(left, start), at(right, start), at(right, end), at(left, end)], fill=colour)


def open_canvas(rng: random.Random, size: int, season: str | None = None) -> Canvas:
    """A canvas with season (drawn if None), weather, sky, clouds and hills, nothing below the horizon yet."""
    image = Image.new("RGB", (size, size))
    season = season or rng.choice(SEASONS)
    weather = rng.choices(WEATHERS, weights=(5, 3, 1.5, 1, 1))[0]
    canvas = Canvas(
        rng,
        size,
        image,
        ImageDraw.Draw(image),
        season,
        weather,
        horizon=size * rng.uniform(0.34, 0.52),
        vanish=size * rng.uniform(0.3, 0.7),
    )
    top, low, _ = _WEATHER[weather]
    canvas.fade(mix(top, low, rng.uniform(0, 0.25)), low, 0, int(canvas.horizon) + 1)
    if weather in ("clear", "sunset") and rng.random() < 0.6:
        for _ in range(rng.randint(1, 4)):
            x, y, w = rng.uniform(0, size), rng.uniform(0, canvas.horizon * 0.8), rng.uniform(8, 26)
            canvas.draw.ellipse((x - w, y - w * 0.22, x + w, y + w * 0.22), fill=canvas.ink((246, 246, 248), 0.15, 4))
    if rng.random() < 0.5:
        hill = canvas.ink(mix(canvas.leaves, (90, 100, 120), 0.5), 0.6)
        for _ in range(rng.randint(1, 3)):
            x, w, h = rng.uniform(0, size), rng.uniform(0.3, 0.7) * size, rng.uniform(0.03, 0.1) * size
            canvas.draw.ellipse((x - w, canvas.horizon - h, x + w, canvas.horizon + h), fill=hill)
    return canvas
