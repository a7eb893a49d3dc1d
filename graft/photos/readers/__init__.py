"""One reader a source: each yields the rows of a photo table, unchecked, and counts what it leaves out."""

from collections.abc import Callable, Iterator
from pathlib import Path

from graft.photos.readers import exif, flickr, inaturalist, lucas, mapillary, wikimedia, yfcc100m
from graft.tally import Tally

Reader = Callable[[Path, Tally], Iterator[dict[str, object]]]
READERS: dict[str, Reader] = {
    "exif": exif.read,
    "yfcc100m": yfcc100m.read,
    "flickr": flickr.read,
    "inaturalist": inaturalist.read,
    "lucas": lucas.read,
    "mapillary": mapillary.read,
    "wikimedia": wikimedia.read,
}
