"""Images of a STAC archive: an API that is searched, or a static catalogue that is walked."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from graft.errors import GraftError, first_line, import_extra
from graft.imagery.image import Image, make_slug
from graft.imagery.index import seconds
from graft.imagery.settings import StacSearch
from graft.imagery.stac_item import LeftOutError, image_of_item
from graft.sensors import Sensor
from graft.tally import Tally

if TYPE_CHECKING:
    import pystac

Area = tuple[float, float, float, float]

PAGE = 200
TIMEOUT_S = 60


def search_stac(search: StacSearch, sensor: Sensor, areas: Sequence[Area]) -> list[Image]:
    """Find the items of some areas and check each against the sensor.

    Prints what it found, and what it left out by reason.

    Args:
        search: the archive.
        sensor: the row of `sensors.yaml` that the tiles are to follow.
        areas: (west, south, east, north) in degrees; west is larger than east across the antimeridian.

    Returns:
        Images in the order of their items' names.

    Raises:
        GraftError: the archive does not answer, or no item is left.
    """
    errors = import_extra("pystac_client.exceptions", "prepare"), import_extra("pystac", "prepare")
    tally = Tally()
    try:
        items = _find_items(search, [box for area in areas for box in _boxes(area)], tally)
    except (OSError, ValueError, KeyError, errors[0].APIError, errors[1].STACError, errors[1].STACTypeError) as error:
        raise GraftError(
            f"The archive {search.url} does not answer as STAC does: {first_line(error)}. Give stac.url the landing "
            "page of an API, or a catalog.json."
        ) from error
    found = len(items) + tally.total
    images = []
    used: set[str] = set()
    for item in tqdm(items, desc="checking items", unit="item", delay=2):
        try:
            images.append(image_of_item(item, make_slug(item.id, used), sensor, search))
        except LeftOutError as reason:
            tally.add(str(reason), item.id)
    print(f"archive {found:,} items of {search.url}; {len(images):,} of {search.collection} fit")
    for line in tally.lines():
        print(line)
    if not images:
        reasons = "; ".join(f"{number} {reason}" for reason, number in tally.counts.items())
        raise GraftError(
            f"No item of {search.collection} in {search.url} fits: {reasons or 'it has none there'}. "
            "Change the areas, or the archive's collection, datetime, max_cloud or assets."
        )
    return images


def _boxes(area: Area) -> list[Area]:
    west, south, east, north = area
    if west <= east:
        return [area]
    return [(west, south, 180.0, north), (-180.0, south, east, north)]


def _find_items(search: StacSearch, boxes: Sequence[Area], tally: Tally) -> list["pystac.Item"]:
    """Each item once, sorted by name; those of a static catalogue that were not asked for go into the tally."""
    import_extra("requests", "prepare")
    from pystac_client.stac_api_io import StacApiIO
    from urllib3 import Retry

    busy = Retry(total=5, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None)
    reader = StacApiIO(timeout=TIMEOUT_S, max_retries=busy)
    content = reader.read_json(search.url)
    if content.get("type") not in ("Catalog", "Collection"):
        raise ValueError(f"its type is {content.get('type')}, expected Catalog or Collection")
    if any(uri.endswith("/item-search") for uri in content.get("conformsTo", ())):
        found = _ask(reader, search, boxes)
    else:
        found = _walk(_catalogue(search.url, content["type"], busy), search, boxes, tally)
    unique = {item.id: item for item in found}
    return [unique[name] for name in sorted(unique)]


def _ask(reader: Any, search: StacSearch, boxes: Sequence[Area]) -> Iterator["pystac.Item"]:
    """Search an API, one area after the other, page by page."""
    from pystac_client import Client, ConformanceClasses

    client = Client.open(search.url, stac_io=reader)
    query = None
    if search.max_cloud is not None and client.conforms_to(ConformanceClasses.QUERY):
        query = {"eo:cloud_cover": {"lte": search.max_cloud}}
        print(
            f"archive asked for items with at most {search.max_cloud:g} per cent of cloud; it does not count the rest"
        )
    for box in tqdm(boxes, desc="asking the archive", unit="area", delay=2):
        yield from client.search(
            collections=[search.collection], bbox=box, datetime=search.datetime, query=query, limit=PAGE
        ).items()


def _catalogue(url: str, kind: str, busy: Any) -> Iterator["pystac.Item"]:
    """All items of a static catalogue or collection."""
    import pystac
    from pystac.stac_io import RetryStacIO

    try:
        yield from getattr(pystac, kind).from_file(url, stac_io=RetryStacIO(retry=busy)).get_items(recursive=True)
    except Exception as error:  # pystac raises the bare class where a file does not read
        raise OSError(first_line(error)) from error


def _walk(
    items: Iterator["pystac.Item"], search: StacSearch, boxes: Sequence[Area], tally: Tally
) -> Iterator["pystac.Item"]:
    """Those items of a static catalogue that an API would return."""
    begin, end = _interval(search.datetime)
    for item in tqdm(items, desc="reading the catalogue", unit="item", delay=2):
        taken = item.datetime or item.common_metadata.start_datetime
        at = None if taken is None else seconds(taken.isoformat())
        if item.collection_id not in (search.collection, None):
            tally.add("of another collection", item.id)
        elif at is None or not begin <= at <= end:
            tally.add("outside the times asked for", item.id)
        elif not any(_meets(item.bbox, box) for box in boxes):
            tally.add("outside the areas", item.id)
        else:
            yield item


def _interval(datetime: str | None) -> tuple[float, float]:
    """First and last second of STAC's way to write a time, as an API would read it."""
    if datetime is None:
        return float("-inf"), float("inf")
    from pystac_client import ItemSearch

    written = ItemSearch("https://", datetime=datetime).get_parameters()["datetime"]
    begin, _, end = written.partition("/")
    first, last = seconds(begin), seconds(end or begin)
    return float("-inf") if first is None else first, float("inf") if last is None else last


def _meets(bbox: Sequence[float] | None, box: Area) -> bool:
    if bbox is None:
        return False
    half = len(bbox) // 2  # three dimensions where it has six numbers
    parts = _boxes((bbox[0], bbox[1], bbox[half], bbox[half + 1]))
    return any(w <= box[2] and e >= box[0] and s <= box[3] and n >= box[1] for w, s, e, n in parts)
