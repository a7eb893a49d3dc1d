"""The twelve kinds of land of the atlas, the colour group each belongs to, and the words a person has for them."""

from dataclasses import dataclass
from typing import Literal

Group = Literal["green", "built", "water"]


@dataclass(frozen=True)
class LandCover:
    """One class.

    Attributes:
        id: label in benchmark folders, polygons and prompt sets.
        group: classes of one group share their colours seen from above.
        nouns: what a person calls it.
        sentences: what a person says who describes it.
        distant: what it is called when it stands behind something else.
        tags: OSM-like key and value of its polygons.
    """

    id: str
    group: Group
    nouns: tuple[str, ...]
    sentences: tuple[str, ...]
    distant: tuple[str, ...]
    tags: tuple[str, str]


CLASSES: tuple[LandCover, ...] = (
    LandCover(
        "Forest",
        "green",
        ("forest", "a forest", "woodland", "a wood"),
        ("a dense wood of tall trees", "many tall trees standing close together", "a path under a closed canopy"),
        ("a wood", "trees", "the edge of a forest"),
        ("landuse", "forest"),
    ),
    LandCover(
        "Meadow",
        "green",
        ("meadow", "a meadow", "grassland", "a pasture"),
        ("open grassland with wild flowers", "soft green grass", "a pasture with flowers in the grass"),
        ("a meadow", "grassland"),
        ("landuse", "meadow"),
    ),
    LandCover(
        "Orchard",
        "green",
        ("orchard", "an orchard", "a fruit garden", "fruit trees"),
        ("fruit trees planted in straight rows", "a plantation of small round trees", "apple trees in a row"),
        ("an orchard", "rows of fruit trees"),
        ("landuse", "orchard"),
    ),
    LandCover(
        "Cropland",
        "green",
        ("cropland", "a ploughed field", "farmland", "fields"),
        ("a field with long furrows", "rows of crops", "a wheat field ready for harvest"),
        ("fields", "farmland"),
        ("landuse", "farmland"),
    ),
    LandCover(
        "Residential",
        "built",
        ("residential area", "a residential area", "a village", "a suburb"),
        ("houses with pitched roofs and gardens", "family houses along a street", "small homes with windows and doors"),
        ("a village", "houses"),
        ("landuse", "residential"),
    ),
    LandCover(
        "Industrial",
        "built",
        ("industrial area", "an industrial area", "a factory", "warehouses"),
        ("factory halls with chimneys", "large flat warehouses", "a plant with storage tanks"),
        ("a factory", "chimneys"),
        ("landuse", "industrial"),
    ),
    LandCover(
        "Highway",
        "built",
        ("highway", "a highway", "a motorway", "a broad road"),
        ("a wide motorway with lanes and cars", "traffic on an asphalt road", "a road with white lane markings"),
        ("a highway", "a road with cars"),
        ("highway", "motorway"),
    ),
    LandCover(
        "Quarry",
        "built",
        ("quarry", "a quarry", "a gravel pit", "an open mine"),
        ("an open pit with stone terraces", "steep rock steps", "a mine cut into bare rock"),
        ("a quarry", "a wall of rock"),
        ("landuse", "quarry"),
    ),
    LandCover(
        "River",
        "water",
        ("river", "a river", "a stream", "a watercourse"),
        ("a winding stream between two banks", "flowing water with banks on both sides", "a bend of a river"),
        ("a river", "a stream"),
        ("waterway", "river"),
    ),
    LandCover(
        "Lake",
        "water",
        ("lake", "a lake", "a wide pond", "still water"),
        ("a calm sheet of water with a far shore", "still water that mirrors the hills", "a boat on quiet water"),
        ("a lake", "a sheet of water"),
        ("natural", "water"),
    ),
    LandCover(
        "Wetland",
        "water",
        ("wetland", "a wetland", "a marsh", "a swamp"),
        ("a marsh with reeds and pools", "swampy ground with small ponds", "reed beds standing in shallow water"),
        ("a marsh", "reeds"),
        ("natural", "wetland"),
    ),
    LandCover(
        "Beach",
        "water",
        ("beach", "a beach", "the seaside", "a sandy shore"),
        ("sand beside the sea with surf", "waves breaking on the sand", "parasols on the sand"),
        ("a beach", "a sandy shore"),
        ("natural", "beach"),
    ),
)

IDS: tuple[str, ...] = tuple(cover.id for cover in CLASSES)

IRRELEVANT: dict[str, tuple[str, ...]] = {
    "indoor": (
        "a room indoors",
        "a living room with furniture",
        "the inside of a house",
        "a room with a table and a lamp",
    ),
    "food": ("food on a plate", "a meal", "a plate of lunch", "breakfast on a table"),
    "people": ("a portrait of a person", "a selfie", "a friend smiling", "people"),
    "pet": ("a cat", "a dog looking at the camera", "a pet", "our cat"),
    "screen": ("a screenshot", "text on a screen", "a page of text", "a screenshot of an app"),
    "scan": ("an old photograph", "a scanned old print", "an old black and white picture", "a scan of a faded print"),
    "close_up": ("a close-up", "a close-up of a flower", "a beetle close up", "a macro shot of a small thing"),
}
