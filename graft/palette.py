"""Colours of classes, the same in every map, colour table and legend."""

import colorsys
import re
from collections.abc import Sequence

Colour = tuple[int, int, int]

_COLOURS: dict[str, Colour] = {
    "blue": (67, 99, 216),
    "green": (60, 180, 75),
    "red": (230, 25, 75),
    "yellow": (255, 225, 25),
    "purple": (145, 30, 180),
    "orange": (245, 130, 49),
    "cyan": (66, 212, 244),
    "olive": (128, 128, 0),
    "magenta": (240, 50, 230),
    "brown": (154, 99, 36),
    "mint": (170, 255, 195),
    "navy": (0, 0, 117),
    "pink": (250, 190, 212),
    "teal": (70, 153, 144),
    "maroon": (128, 0, 0),
    "lavender": (220, 190, 255),
    "lime": (191, 239, 69),
    "grey": (169, 169, 169),
    "apricot": (255, 216, 177),
    "black": (0, 0, 0),
}
_EXPECTED = (
    (("wetland", "marsh", "swamp", "mangrove"), ("teal",)),
    (("water", "lake", "river", "sea", "ocean", "pond", "stream"), ("blue", "cyan", "navy")),
    (("forest", "tree", "wood"), ("green",)),
    (("grass", "meadow", "pasture", "vegetation"), ("lime",)),
    (("crop", "farm", "agricultur", "field"), ("yellow",)),
    (("orchard", "vineyard", "shrub"), ("olive",)),
    (("building", "house", "residential", "town", "urban", "settlement", "developed"), ("red", "maroon")),
    (("industr", "factory", "commercial"), ("purple",)),
    (("road", "highway", "street", "runway", "pavement", "impervious"), ("grey",)),
    (("beach", "sand", "desert", "bare", "barren"), ("apricot", "brown")),
    (("quarry", "rock", "soil", "mine"), ("brown",)),
    (("snow", "ice", "glacier"), ("mint",)),
)
"""What a reader of maps expects; the first of these colours that is free."""
_GOLDEN = 0.61803398875
NO_DATA: Colour = (255, 255, 255)


def palette(ids: Sequence[str]) -> list[Colour]:
    """RGB 0..255 of each class, different up to a thousand; the same names in the same order have the same colours.

    Water is blue, forest green and so on; other names take what is left of twenty that are easy to tell apart.
    """
    free = dict.fromkeys(_COLOURS)
    chosen: dict[int, Colour] = {}
    for number, name in enumerate(ids):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()  # AnnualCrop, low_vegetation
        for keywords, names in _EXPECTED:
            wanted = [colour for colour in names if colour in free]
            if wanted and re.search(rf"\b({'|'.join(keywords)})", words):
                chosen[number] = _COLOURS[wanted[0]]
                del free[wanted[0]]
                break
    rest = iter([_COLOURS[name] for name in free])
    return [chosen.get(number) or next(rest, None) or _further(number) for number in range(len(ids))]


def _further(number: int) -> Colour:
    """A hue that never repeats."""
    hue = number * _GOLDEN % 1
    red, green, blue = colorsys.hls_to_rgb(hue, (0.35, 0.55, 0.75)[number % 3], (0.5, 0.9)[number % 2])
    return round(red * 255), round(green * 255), round(blue * 255)
